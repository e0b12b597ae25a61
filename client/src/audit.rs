//! Reading a node's log.

use crate::client::{Client, READ};
use crate::error::ClientError;
use std::time::Duration;
use tally_proto::v1;
use tally_proto::v1::audit_service_client::AuditServiceClient;
use tokio::time::timeout;

/// Longest wait for the next part of a log.
const PART_TIMEOUT: Duration = Duration::from_secs(15);

/// Largest part of a log that is taken: the transport's own limit for a message is 4 MiB, a leaf may have 1 MiB.
const PART_MAX_BYTES: usize = 8 * 1024 * 1024;

/// A signed statement of how long a node's log is and what its root is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogCheckpoint {
    /// C2SP tlog-checkpoint, to be checked by whoever reads it.
    pub note: String,
    /// Leaves covered, as the node says beside the note.
    pub size: u64,
}

impl Client {
    /// A checkpoint over all that is in the log of the first node that answers. Use [`Client::only`] to ask a certain one.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn checkpoint(&self) -> Result<LogCheckpoint, ClientError> {
        let send = |c, r: v1::GetCheckpointRequest| async move { AuditServiceClient::new(c).get_checkpoint(r).await };
        let read = |r: v1::GetCheckpointResponse| Ok(LogCheckpoint { note: r.note, size: r.size });
        self.call(READ, v1::GetCheckpointRequest {}, send, read).await
    }

    /// Gives the first `size` leaves of the first endpoint's log to `take`, in order and without gaps. One attempt at
    /// one node: a log that changes hands half-way would be nobody's.
    ///
    /// # Errors
    /// [`ClientError`]; some leaves may have been given by then.
    pub async fn read_log(&self, size: u64, mut take: impl FnMut(Vec<u8>)) -> Result<(), ClientError> {
        let Some(link) = self.first() else { return Ok(()) };
        if size == 0 {
            return Ok(());
        }
        let status = |s: tonic::Status| ClientError::from_status(&link.endpoint, &s);
        let mut service = AuditServiceClient::new(link.channel.clone()).max_decoding_message_size(PART_MAX_BYTES);
        let opening = service.read_entries(v1::ReadEntriesRequest { from: 0, limit: size });
        let opened = timeout(PART_TIMEOUT, opening).await.map_err(|_| link.deadline())?;
        let mut parts = opened.map_err(status)?.into_inner();
        let mut taken = 0_u64;
        loop {
            let part = timeout(PART_TIMEOUT, parts.message()).await.map_err(|_| link.deadline())?;
            let Some(part) = part.map_err(status)? else { break };
            if part.first != taken {
                return Err(link.wrong("first"));
            }
            for leaf in part.leaves {
                if taken == size {
                    return Err(link.wrong("leaves"));
                }
                taken += 1;
                take(leaf);
            }
        }
        if taken == size { Ok(()) } else { Err(link.wrong("leaves")) }
    }
}
