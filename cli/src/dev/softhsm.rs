//! SoftHSM tokens: one for each node, in its own directory.

use crate::output::Usage;
use anyhow::{Context as _, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use zeroize::Zeroizing;

/// What to do when it is not there.
const MISSING: &str = "SoftHSM is missing: run `apt-get install softhsm2`";

/// Where distributions put the module.
const MODULES: [&str; 6] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
];

/// Bytes of randomness in a PIN.
const PIN_BYTES: usize = 16;

/// The PKCS#11 module.
pub fn module() -> anyhow::Result<PathBuf> {
    let found = MODULES.iter().map(PathBuf::from).find(|path| path.exists());
    found.ok_or_else(|| Usage(MISSING.into()).into())
}

/// A new token.
pub struct Token {
    /// Its serial number, which the module chose.
    pub serial: String,
    /// Its user PIN.
    pub pin: Zeroizing<String>,
}

/// The configuration of a module whose tokens are in `tokens`.
pub fn configuration(tokens: &Path) -> String {
    format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n",
        tokens.display()
    )
}

/// Initialises a token. Its security officer's PIN is forgotten: a development token is thrown away, not reset.
pub fn init_token(conf: &Path, label: &str) -> anyhow::Result<Token> {
    let (so_pin, pin) = (random_pin()?, random_pin()?);
    // The tool takes PINs as arguments only; for the moment that it runs, other users of this machine may see them.
    let pins = ["--so-pin", so_pin.as_str(), "--pin", pin.as_str()];
    run(conf, &[&["--init-token", "--free", "--label", label], pins.as_slice()].concat())?;
    let shown = run(conf, &["--show-slots"])?;
    let serial = serial_of(&String::from_utf8_lossy(&shown.stdout), label);
    Ok(Token { serial: serial.with_context(|| format!("softhsm2-util shows no token `{label}`"))?, pin })
}

fn random_pin() -> anyhow::Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new([0_u8; PIN_BYTES]);
    getrandom::fill(bytes.as_mut_slice()).context("the operating system gives no randomness")?;
    Ok(Zeroizing::new(hex::encode(bytes.as_slice())))
}

fn run(conf: &Path, arguments: &[&str]) -> anyhow::Result<Output> {
    let output = Command::new("softhsm2-util").args(arguments).env("SOFTHSM2_CONF", conf).output();
    let output = output.map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => anyhow::Error::from(Usage(MISSING.into())),
        _ => anyhow::Error::from(e).context("cannot run softhsm2-util"),
    })?;
    if !output.status.success() {
        bail!("softhsm2-util failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output)
}

/// The serial number in the slot whose token has this label.
fn serial_of(slots: &str, label: &str) -> Option<String> {
    let mut serial = None;
    for line in slots.lines() {
        if line.starts_with("Slot ") {
            serial = None;
        }
        let Some((name, value)) = line.trim().split_once(':') else { continue };
        match name {
            "Serial number" => serial = Some(value.trim().to_owned()),
            "Label" if value.trim() == label => return serial.filter(|s| !s.is_empty()),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_serial_is_that_of_the_token_with_the_label() {
        let slot = |label: &str, serial: &str| {
            format!(
                "Slot 1\n    Slot info:\n        Description: SoftHSM slot ID 0x1\n    Token info:\n        \
                 Serial number:    {serial}\n        Initialized:      yes\n        Label:            {label}   \n"
            )
        };
        let slots = format!("Available slots:\n{}{}{}", slot("a", "01"), slot("b", "02"), slot("", ""));
        assert_eq!(serial_of(&slots, "b").as_deref(), Some("02"));
        assert_eq!(serial_of(&slots, "c"), None);
        assert_eq!(serial_of(&slots, ""), None);
    }
}
