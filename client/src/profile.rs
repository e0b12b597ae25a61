//! A profile: where the nodes are and who this client is.

use crate::error::ClientError;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use tally_domain::dsse::SigningKey;
use tally_domain::{ClientId, ClusterId, SecretBytes, Tenant};
use zeroize::Zeroizing;

/// Most endpoints of a profile: as many as a key has share-holders.
pub const ENDPOINTS_MAX: usize = 16;

/// Largest file that a profile names; certificates and keys are a few kilobytes.
const FILE_MAX_BYTES: u64 = 256 * 1024;

/// Modes that a file with a private key may have: readable by its owner alone.
const SECRET_MODES: [u32; 2] = [0o400, 0o600];

/// Endpoints, certificates and keys of one client.
pub struct Profile {
    /// Whose requests it makes.
    pub tenant: Tenant,
    /// Who it is.
    pub client: ClientId,
    /// The cluster that it calls.
    pub cluster: ClusterId,
    /// `https://host:port` of nodes; the first one is asked first.
    pub endpoints: Vec<String>,
    pub(crate) ca: Vec<u8>,
    pub(crate) cert: Vec<u8>,
    pub(crate) key: SecretBytes,
    pub(crate) intent_key: Option<SigningKey>,
}

/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// A file cannot be read.
    #[error("cannot read `{}`: {source}", .path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is larger than any profile's.
    #[error("`{}` is larger than {} bytes; it is not a certificate, key or profile", .path.display(), FILE_MAX_BYTES)]
    TooLarge {
        /// Which file.
        path: PathBuf,
    },
    /// A private key that others can read.
    #[error(
        "`{}` holds a private key but has mode {mode:04o}; make it yours alone: chmod 0400 {}",
        .path.display(), .path.display()
    )]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Not TOML, or a field that is unknown, missing or not valid.
    #[error("`{}` is not a profile: {message}", .path.display())]
    Toml {
        /// Which file.
        path: PathBuf,
        /// What the TOML reader says.
        message: String,
    },
    /// No endpoint, too many, or one that is not `https`.
    #[error("`{}`: endpoints must be 1 to {} addresses such as \"https://127.0.0.1:7101\"", .path.display(), ENDPOINTS_MAX)]
    Endpoints {
        /// Which file.
        path: PathBuf,
    },
    /// The file of an intent key or another private key does not hold one key.
    #[error("`{}` must hold one line: `ed25519:` or `p256:` and 64 hex digits", .path.display())]
    IntentKey {
        /// Which file.
        path: PathBuf,
    },
    /// Certificates or key are not what TLS needs.
    #[error("the profile's `ca`, `cert` and `key` do not make a TLS identity: {what}")]
    Tls {
        /// What is wrong.
        what: String,
    },
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProfileToml {
    tenant: Tenant,
    client: ClientId,
    cluster: ClusterId,
    endpoints: Vec<String>,
    ca: PathBuf,
    cert: PathBuf,
    key: PathBuf,
    /// Whoever only looks and approves has none.
    intent_key: Option<PathBuf>,
}

impl Profile {
    /// Reads a profile and the files that it names; their paths are relative to the profile.
    ///
    /// # Errors
    /// [`ProfileError`]; a private key that others can read is one.
    pub fn load(path: &Path) -> Result<Self, ProfileError> {
        let file = parse(&read(path, Secrecy::Public)?, path)?;
        let beside = |named: &Path| beside(path, named);
        Ok(Self {
            tenant: file.tenant,
            client: file.client,
            cluster: file.cluster,
            endpoints: file.endpoints,
            ca: read(&beside(&file.ca), Secrecy::Public)?.to_vec(),
            cert: read(&beside(&file.cert), Secrecy::Public)?.to_vec(),
            key: SecretBytes::new(read(&beside(&file.key), Secrecy::Secret)?.to_vec()),
            intent_key: file.intent_key.map(|key| signing_key(&beside(&key))).transpose()?,
        })
    }
}

impl Profile {
    /// The key that signs intents.
    ///
    /// # Errors
    /// [`ClientError::Order`] when the profile has none.
    pub(crate) fn intent_key(&self) -> Result<&SigningKey, ClientError> {
        let want = "`intent_key` in the profile; whoever has none can look and approve, not ask";
        self.intent_key.as_ref().ok_or(ClientError::Order { field: "profile", want })
    }
}

/// Reads a profile's text, and none of the files that it names.
pub(crate) fn parse(text: &[u8], path: &Path) -> Result<ProfileToml, ProfileError> {
    let toml_error = |message: String| ProfileError::Toml { path: path.into(), message };
    let text = std::str::from_utf8(text).map_err(|_| toml_error("it is not UTF-8 text".into()))?;
    let file: ProfileToml = toml::from_str(text).map_err(|e| toml_error(e.to_string().trim_end().to_owned()))?;
    let fits = (1..=ENDPOINTS_MAX).contains(&file.endpoints.len());
    if !fits || file.endpoints.iter().any(|e| !e.starts_with("https://")) {
        return Err(ProfileError::Endpoints { path: path.into() });
    }
    Ok(file)
}

/// Paths in a profile are relative to it.
fn beside(path: &Path, named: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).join(named)
}

#[cfg(feature = "testing")]
impl ProfileToml {
    /// Which files it names.
    pub(crate) fn files(&self, path: &Path) -> Vec<PathBuf> {
        let named = [&self.ca, &self.cert, &self.key].into_iter().chain(&self.intent_key);
        named.map(|named| beside(path, named)).collect()
    }
}

enum Secrecy {
    Public,
    Secret,
}

fn read(path: &Path, secrecy: Secrecy) -> Result<Zeroizing<Vec<u8>>, ProfileError> {
    let failed = |source| ProfileError::Read { path: path.into(), source };
    let file = File::open(path).map_err(failed)?;
    // The mode of the opened file, not of whatever the path names a moment later.
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
    if matches!(secrecy, Secrecy::Secret) && !SECRET_MODES.contains(&mode) {
        return Err(ProfileError::Exposed { path: path.into(), mode });
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_MAX_BYTES {
        return Err(ProfileError::TooLarge { path: path.into() });
    }
    Ok(bytes)
}

/// Reads a private key that signs intents, approvals or bundles: one line in a file that only its owner can read.
///
/// # Errors
/// [`ProfileError`].
pub fn signing_key(path: &Path) -> Result<SigningKey, ProfileError> {
    let bytes = read(path, Secrecy::Secret)?;
    signing_key_in(&bytes).ok_or_else(|| ProfileError::IntentKey { path: path.into() })
}

/// The key in such a line.
pub(crate) fn signing_key_in(bytes: &[u8]) -> Option<SigningKey> {
    let (kind, digits) = std::str::from_utf8(bytes).ok()?.trim_end_matches(['\n', '\r']).split_once(':')?;
    let mut secret = Zeroizing::new([0_u8; 32]);
    hex::decode_to_slice(digits, secret.as_mut_slice()).ok()?;
    match kind {
        "ed25519" => Some(SigningKey::ed25519(&secret)),
        "p256" => SigningKey::p256(&secret),
        _ => None,
    }
}
