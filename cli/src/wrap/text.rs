//! Wrapped data as one line of text that pipes, pastes and greps well; and secrets that go to a private file or nowhere.

use crate::input;
use crate::output::{Out, Usage};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use tally_domain::SecretBytes;

/// What wrapped data begins with as text.
const PREFIX: &str = "tally-wrap:v1:";

/// Wrapped data as text.
pub fn of_blob(blob: &[u8]) -> String {
    format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(blob))
}

/// Reads wrapped data out of a file; `-` is standard input.
pub fn blob(path: &Path) -> anyhow::Result<Vec<u8>> {
    let bytes = input::read(path)?;
    let text = std::str::from_utf8(&bytes).map(str::trim).unwrap_or_default();
    let blob = text.strip_prefix(PREFIX).and_then(|text| BASE64_URL_SAFE_NO_PAD.decode(text).ok());
    blob.ok_or_else(|| {
        Usage(format!("{} holds no wrapped data: that is one line, which begins with `{PREFIX}`", path.display()))
            .into()
    })
}

/// Reads what is to be wrapped, byte for byte.
pub fn plaintext(path: &Path) -> anyhow::Result<SecretBytes> {
    Ok(SecretBytes::new(input::read(path)?))
}

/// Writes wrapped data, which is no secret, to a new file: what was there may be the only form of another key.
pub fn write_blob(path: &Path, blob: &[u8]) -> anyhow::Result<()> {
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(path);
    file.and_then(|mut f| writeln!(f, "{}", of_blob(blob)))
        .map_err(|e| anyhow::anyhow!("cannot write {}: {e}", path.display()))
}

/// Refuses a place for wrapped data before anything is asked for: a file that is there already, or one that cannot be.
pub fn check_new(path: Option<&Path>) -> Result<(), Usage> {
    let Some(path) = path.filter(|path| !is_stdout(path)) else { return Ok(()) };
    if path.exists() {
        return Err(Usage(format!("{} is there already; what is wrapped goes into a new file", path.display())));
    }
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if dir.is_dir() { Ok(()) } else { Err(Usage(format!("there is no directory {}", dir.display()))) }
}

/// Refuses a place for a plaintext before anything is asked for: a file that is there already, or, beside a JSON document,
/// standard output.
pub fn check_place(path: &Path, printed: Out) -> Result<(), Usage> {
    if is_stdout(path) {
        let what = "a plaintext on standard output does not go with --json: give it a file";
        return if printed.is_json() { Err(Usage(what.into())) } else { Ok(()) };
    }
    if path.exists() {
        return Err(Usage(format!("{} is there already; a plaintext goes into a new file", path.display())));
    }
    check_new(Some(path))
}

/// Whether a file means standard output.
pub fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

/// Writes a plaintext byte for byte to a new file that only its owner can read, or to standard output.
pub fn write_plaintext(path: &Path, plaintext: &SecretBytes) -> anyhow::Result<()> {
    if is_stdout(path) {
        let mut out = std::io::stdout().lock();
        return Ok(out.write_all(plaintext.expose()).and_then(|()| out.flush())?);
    }
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut f| f.write_all(plaintext.expose()))
        .map_err(|e| anyhow::anyhow!("cannot write {}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapped_data_reads_back_with_or_without_a_line_end_and_nothing_else_is_taken_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("blob");
        let of = |text: &str| {
            std::fs::write(&path, text).unwrap();
            blob(&path).ok()
        };
        write_blob(&path, &[0, 255, 7]).unwrap();
        assert!(write_blob(&path, &[1]).is_err() && check_new(Some(&path)).is_err());
        assert!(check_new(Some(&dir.path().join("no/blob"))).is_err());
        check_new(Some(&dir.path().join("new"))).unwrap();
        assert_eq!(blob(&path).unwrap(), [0, 255, 7]);
        assert_eq!(of("  tally-wrap:v1:AP8H\r\n"), Some(vec![0, 255, 7]));
        for bad in ["", "AP8H", "tally-wrap:v2:AP8H", "tally-wrap:v1:AP8=", "tally-wrap:v1:AP+H"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_plaintext_goes_into_a_new_private_file() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        check_place(&path, Out::new(true)).unwrap();
        write_plaintext(&path, &SecretBytes::new(vec![1, 2])).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(check_place(&path, Out::new(false)).is_err());
        assert!(write_plaintext(&path, &SecretBytes::new(vec![3])).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), [1, 2]);
        assert!(check_place(Path::new("-"), Out::new(true)).is_err());
    }
}
