//! Signed intents, kept beside the profile while their outcome is not known. A request id names one intent for ever, its
//! times included, so that a command that is given an id again must send the very bytes that it sent before.

use anyhow::Context as _;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use tally_client::{Client, ClientError, Order, SealedIntent};
use tally_domain::RequestId;
use tally_domain::intent::ENVELOPE_MAX_BYTES;

/// Beside the profile.
const DIR: &str = "intents";

/// Where a profile's intents are kept.
pub struct Kept {
    dir: PathBuf,
}

/// A request that did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Failed {
    /// Its id.
    pub request_id: RequestId,
    /// Whether giving the id again sends the same intent again.
    pub can_be_sent_again: bool,
    /// Why.
    #[source]
    pub error: ClientError,
}

/// An intent, and whether the user named its id.
pub struct Asked {
    /// What to send.
    pub intent: SealedIntent,
    named: bool,
}

impl Kept {
    /// Those of a profile.
    pub fn beside(profile: &Path) -> Self {
        Self { dir: profile.with_file_name(DIR) }
    }

    /// The intent for an order: the one that was kept under the id if it asks for the same, a new one otherwise.
    pub fn seal(&self, client: &Client, order: Order, id: Option<RequestId>) -> anyhow::Result<Asked> {
        let Some(id) = id else {
            let intent = client.seal(order)?;
            // Without it this command cannot be repeated, but no one has said that it will be.
            let _ = self.keep(&intent);
            return Ok(Asked { intent, named: false });
        };
        let order = order.request_id(id);
        if self.path(id).exists() {
            let bytes = crate::input::file(&self.path(id), ENVELOPE_MAX_BYTES as u64)?;
            let intent = SealedIntent::from_bytes(&bytes, client.profile())?;
            let intent = if order.is_asked_by(&intent) { intent } else { client.seal(order)? };
            return Ok(Asked { intent, named: true });
        }
        let intent = client.seal(order)?;
        self.keep(&intent)?;
        Ok(Asked { intent, named: true })
    }

    /// Notes an outcome. A final one needs no repeating, unless the user named the id in order to.
    pub fn settle<T>(&self, asked: &Asked, outcome: Result<T, ClientError>) -> Result<T, Failed> {
        let request_id = asked.intent.request_id();
        let open = outcome.as_ref().is_err_and(ClientError::is_transient);
        let path = self.path(request_id);
        if !asked.named && !open {
            // Left behind, it does no harm.
            let _ = std::fs::remove_file(&path);
        }
        outcome.map_err(|error| Failed { request_id, can_be_sent_again: open && path.exists(), error })
    }

    /// Written and on the disk before anything is sent.
    fn keep(&self, intent: &SealedIntent) -> anyhow::Result<()> {
        let path = self.path(intent.request_id());
        let write = || {
            std::fs::create_dir_all(&self.dir)?;
            let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all(&intent.to_bytes())?;
            file.sync_all()
        };
        write().with_context(|| format!("cannot keep the signed intent in {}", path.display()))
    }

    fn path(&self, id: RequestId) -> PathBuf {
        self.dir.join(id.to_string())
    }
}
