//! A bundle from a directory, or from the file of a signed one.

use crate::bundle;
use crate::input;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use tally_domain::UnixMillis;
use tally_policy::{Bundle, Files, SIGNED_BUNDLE_MAX_BYTES, SignedBundle, Trust};

/// A bundle, its files, and the envelope where it has one.
pub struct Read {
    pub bundle: Bundle,
    pub files: Files,
    pub signed: Option<SignedBundle>,
}

/// Reads a directory or a file. Of a signed bundle, signatures and time are left to whoever relies on them.
pub fn any(path: &Path) -> anyhow::Result<Read> {
    if path.is_dir() {
        let files = bundle::files(path)?;
        let bundle = bundle::of(path, &files)?;
        return Ok(Read { bundle, files, signed: None });
    }
    let bytes = input::file(path, SIGNED_BUNDLE_MAX_BYTES as u64)?;
    of_bytes(&bytes, &path.display().to_string())
}

/// A signed bundle from its bytes, of which `name` says where they are from.
pub fn of_bytes(bytes: &[u8], name: &str) -> anyhow::Result<Read> {
    let named = |e| anyhow::anyhow!("{name}: {e}");
    let signed = SignedBundle::from_bytes(bytes).map_err(named)?;
    let bundle = signed.open(Trust::Reopened(signed.digest()), UnixMillis(0)).map_err(named)?;
    Ok(Read { bundle, files: signed.files().map_err(named)?, signed: Some(signed) })
}

/// Reads the file of a signed bundle.
pub fn signed(path: &Path) -> anyhow::Result<SignedBundle> {
    let bytes = input::file(path, SIGNED_BUNDLE_MAX_BYTES as u64)?;
    SignedBundle::from_bytes(&bytes).map_err(|e| anyhow::anyhow!("{}: {e}", path.display()))
}

/// This machine's clock.
pub fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
