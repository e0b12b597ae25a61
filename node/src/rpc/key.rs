//! The client's intent key, as its profile has it: one line in a file that only its owner can read.

use crate::tls::check_private;
use anyhow::{Context as _, bail};
use std::path::Path;
use tally_domain::dsse::SigningKey;
use zeroize::Zeroizing;

/// Largest file: a word, a colon, 64 digits and the end of the line.
const FILE_MAX_BYTES: u64 = 128;

/// Reads the key.
///
/// # Errors
/// A sentence for the operator.
pub fn read(path: &Path) -> anyhow::Result<SigningKey> {
    check_private(path)?;
    let shown = path.display();
    if path.metadata().with_context(|| format!("cannot read {shown}"))?.len() > FILE_MAX_BYTES {
        bail!("{shown} is too large for an intent key");
    }
    let text = Zeroizing::new(std::fs::read(path).with_context(|| format!("cannot read the intent key {shown}"))?);
    parse(&text).with_context(|| format!("{shown} must hold one line: `ed25519:` or `p256:` and 64 hex digits"))
}

/// The key in such a line.
pub(crate) fn parse(bytes: &[u8]) -> Option<SigningKey> {
    let (kind, digits) = std::str::from_utf8(bytes).ok()?.trim_end_matches(['\n', '\r']).split_once(':')?;
    let mut secret = Zeroizing::new([0_u8; 32]);
    hex::decode_to_slice(digits, secret.as_mut_slice()).ok()?;
    match kind {
        "ed25519" => Some(SigningKey::ed25519(&secret)),
        "p256" => SigningKey::p256(&secret),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_key_is_one_line_that_only_its_owner_reads() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("intent.key");
        let put = |text: &str, mode: u32| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            read(&path).map(|key| key.verifying_key()).map_err(|e| format!("{e:#}"))
        };
        let (ed, p256) = (format!("ed25519:{}\n", "0b".repeat(32)), format!("p256:{}", "0c".repeat(32)));
        assert_eq!(put(&ed, 0o600).unwrap(), SigningKey::ed25519(&[11; 32]).verifying_key());
        assert_eq!(put(&p256, 0o600).unwrap(), SigningKey::p256(&[12; 32]).unwrap().verifying_key());
        assert!(put(&ed, 0o640).unwrap_err().contains("chmod 0400"));
        for bad in ["", "ed25519:", "rsa:00", &ed.replacen("0b", "", 1), &format!("p256:{}", "00".repeat(32))] {
            assert!(put(bad, 0o600).unwrap_err().contains("one line"), "{bad}");
        }
        assert!(put(&"0".repeat(200), 0o600).unwrap_err().contains("too large"));
    }
}
