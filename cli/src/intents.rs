//! Signed intents, kept beside the profile while their outcome is not known. A request id names one intent for ever, its
//! times included, so that a command that is given an id again must send the very bytes that it sent before.

use anyhow::Context as _;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tally_client::{Client, ClientError, Exit, Order, SealedIntent};
use tally_domain::intent::ENVELOPE_MAX_BYTES;
use tally_domain::{Reason, RequestId, UnixMillis};

/// Beside the profile.
const DIR: &str = "intents";

/// How long an intent is kept after it has expired: no node takes it any more, but its result can still be asked for by
/// whoever comes back to it the next morning.
const KEPT_EXPIRED: Duration = Duration::from_secs(24 * 60 * 60);

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
            self.prune(client);
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
        self.prune(client);
        self.keep(&intent)?;
        Ok(Asked { intent, named: true })
    }

    /// Notes an outcome. A final one needs no repeating, unless the user named the id in order to. What was signed for too
    /// long a time nodes never take: with its id another is signed.
    pub fn settle<T>(&self, asked: &Asked, outcome: Result<T, ClientError>) -> Result<T, Failed> {
        let request_id = asked.intent.request_id();
        // What waits for persons is asked for again once they have approved.
        let waits = |e: &ClientError| e.is_transient() || e.exit() == Exit::NeedsApproval;
        let open = outcome.as_ref().is_err_and(waits);
        let path = self.path(request_id);
        let too_long =
            outcome.as_ref().is_err_and(|e| e.refused().is_some_and(|r| r.reason == Reason::ValidityTooLong));
        if too_long || (!asked.named && !open) {
            // Left behind, it does no harm.
            let _ = std::fs::remove_file(&path);
        }
        outcome.map_err(|error| Failed { request_id, can_be_sent_again: open && path.exists(), error })
    }

    /// Written and on the disk before anything is sent.
    fn keep(&self, intent: &SealedIntent) -> anyhow::Result<()> {
        let path = self.path(intent.request_id());
        let write = || {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
            let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all(&intent.to_bytes())?;
            file.sync_all()
        };
        write().with_context(|| format!("cannot keep the signed intent in {}", path.display()))
    }

    /// Removes intents that expired long ago. What cannot be read as one of this profile's stays.
    fn prune(&self, client: &Client) {
        let Ok(entries) = std::fs::read_dir(&self.dir) else { return };
        let now = SystemTime::now();
        let long_ago = UnixMillis(since_epoch(now)).minus(KEPT_EXPIRED.as_secs() * 1_000);
        for path in entries.flatten().map(|entry| entry.path()) {
            // A file that is younger cannot hold one that expired before that; it need not be opened.
            let written = path.metadata().and_then(|m| m.modified());
            if !written.is_ok_and(|at| at + KEPT_EXPIRED < now) {
                continue;
            }
            let read = crate::input::file(&path, ENVELOPE_MAX_BYTES as u64).ok();
            let kept = read.and_then(|bytes| SealedIntent::from_bytes(&bytes, client.profile()).ok());
            if kept.is_some_and(|kept| kept.intent().expires_at < long_ago) {
                // Left behind, it does no harm.
                let _ = std::fs::remove_file(&path);
            }
        }
    }

    fn path(&self, id: RequestId) -> PathBuf {
        self.dir.join(id.to_string())
    }
}

fn since_epoch(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use tally_client::{Code, Profile, Refused};
    use tally_domain::KeyName;

    fn profile(dir: &Path) -> Profile {
        let text = "tenant = \"acme\"\nclient = \"payouts-1\"\ncluster = \"prod\"\nendpoints = [\"https://127.0.0.1:1\"]\n\
                    ca = \"ca\"\ncert = \"cert\"\nkey = \"key\"\nintent_key = \"intent.key\"\n";
        let intent_key = format!("ed25519:{}\n", "11".repeat(32));
        for (name, text) in
            [("profile.toml", text), ("ca", "-"), ("cert", "-"), ("key", "-"), ("intent.key", &intent_key)]
        {
            std::fs::write(dir.join(name), text).unwrap();
            std::fs::set_permissions(dir.join(name), std::fs::Permissions::from_mode(0o400)).unwrap();
        }
        Profile::load(&dir.join("profile.toml")).unwrap()
    }

    fn refused(reason: Reason) -> Result<(), ClientError> {
        let (endpoint, metadata) = ("https://127.0.0.1:1".to_owned(), Default::default());
        let (code, retry_after) = (Code::InvalidArgument, None);
        Err(ClientError::Refused(Box::new(Refused { endpoint, reason, code, metadata, retry_after })))
    }

    #[test]
    fn what_was_signed_for_too_long_is_not_sent_again_and_all_else_under_a_named_id_is() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::beside(&dir.path().join("profile.toml"));
        let order = Order::sign_message(KeyName::parse("fast").unwrap(), b"hello".to_vec());
        let intent = order.seal(&profile(dir.path())).unwrap();
        let path = kept.path(intent.request_id());
        kept.keep(&intent).unwrap();
        let asked = Asked { intent, named: true };
        for reason in [Reason::Voters, Reason::ApprovalsRequired, Reason::PolicyDenied] {
            assert!(kept.settle(&asked, refused(reason)).is_err() && path.exists(), "{reason:?}");
        }
        let failed = kept.settle(&asked, refused(Reason::ValidityTooLong)).unwrap_err();
        assert!(!path.exists() && !failed.can_be_sent_again);
    }
}
