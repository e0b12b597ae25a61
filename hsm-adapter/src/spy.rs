//! Modules that write down what passes through them, the PIN included (S-4.5).

use crate::config::configuration;
use std::path::Path;
use tally_domain::ports::hsm::HsmError;

/// OpenSC's `pkcs11-spy`, as its file is called.
const NAME: &str = "pkcs11-spy";

/// The variable that tells it which module is behind it. It passes `C_GetInfo` on, so that only its inside gives it away when
/// it is called something else.
const VARIABLE: &[u8] = b"PKCS11SPY";

/// Whether the file is called like one.
pub fn is_named(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().to_ascii_lowercase().contains(NAME))
}

/// Whether the file has what one must have inside. One that cannot be read cannot be loaded either.
pub fn is_inside(path: &Path) -> bool {
    std::fs::read(path).is_ok_and(|bytes| bytes.windows(VARIABLE.len()).any(|part| part == VARIABLE))
}

/// Whether a module says of itself that it is one.
pub fn says_so(manufacturer: &str, description: &str) -> bool {
    let word = |text: &str| text.to_ascii_lowercase().split(|c: char| !c.is_alphanumeric()).any(|word| word == "spy");
    word(manufacturer) || word(description)
}

/// What the operator is told.
pub fn refused(path: &Path) -> HsmError {
    configuration(format!(
        "the module `{}` writes down what passes through it, the PIN too: it is refused in production mode",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s_4_5_a_spy_is_known_by_its_name_and_by_what_it_says() {
        for name in ["/usr/lib/pkcs11-spy.so", "pkcs11-spy.so.0", "/opt/PKCS11-SPY.SO"] {
            assert!(is_named(Path::new(name)), "{name}");
        }
        assert!(!is_named(Path::new("/usr/lib/pkcs11-spy/libsofthsm2.so")));
        assert!(says_so("OpenSC Project", "PKCS#11 Spy"));
        assert!(!says_so("Spyrus", "PKCS#11 module"));
    }
}
