//! Reading the log, for clients of the group `auditors`.

use super::{client, is_auditor, refused};
use crate::node::Node;
use crate::reply::{self, status};
use std::sync::Arc;
use tally_domain::Reason;
use tally_proto::v1;
use tally_proto::v1::audit_service_server::{AuditService, AuditServiceServer};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// Leaves read from the store at once; and most bytes of one message of the stream.
const READ_BATCH: u32 = 256;
const MESSAGE_MAX_BYTES: usize = 1024 * 1024;

/// Messages that wait for a slow reader.
const READ_AHEAD: usize = 2;

/// The log of one node.
pub struct Audit(Arc<Node>);

/// `AuditService`.
pub fn service(node: Arc<Node>, limit: usize) -> AuditServiceServer<Audit> {
    AuditServiceServer::new(Audit(node)).max_decoding_message_size(limit)
}

fn auditor<T>(node: &Node, request: &Request<T>) -> Result<(), Status> {
    let client = client(node, request)?;
    if is_auditor(&client) { Ok(()) } else { Err(refused(Reason::Acl)) }
}

#[tonic::async_trait]
impl AuditService for Audit {
    type ReadEntriesStream = ReceiverStream<Result<v1::ReadEntriesResponse, Status>>;

    async fn read_entries(
        &self,
        request: Request<v1::ReadEntriesRequest>,
    ) -> Result<Response<Self::ReadEntriesStream>, Status> {
        auditor(&self.0, &request)?;
        let wanted = *request.get_ref();
        let size = self.0.store.log_size().map_err(|e| status(&reply::of_store(&e)))?;
        let end = match wanted.limit {
            0 => size,
            n => size.min(wanted.from.saturating_add(n)),
        };
        let (out, stream) = mpsc::channel(READ_AHEAD);
        let node = self.0.clone();
        tokio::spawn(async move {
            let mut next = wanted.from;
            while next < end {
                let batch = read(&node, next, end);
                let count = batch.as_ref().map(|b| b.leaves.len() as u64).unwrap_or_default();
                // The reader has gone, or there is nothing more to say.
                if out.send(batch).await.is_err() || count == 0 {
                    return;
                }
                next += count;
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn get_checkpoint(
        &self,
        request: Request<v1::GetCheckpointRequest>,
    ) -> Result<Response<v1::GetCheckpointResponse>, Status> {
        auditor(&self.0, &request)?;
        let (size, note) = self.0.checkpoints.note(&self.0).await.map_err(|r| status(&r))?;
        Ok(Response::new(v1::GetCheckpointResponse { note, size }))
    }
}

/// Leaves from `first`, before `end`, as many as fit into one message.
fn read(node: &Node, first: u64, end: u64) -> Result<v1::ReadEntriesResponse, Status> {
    let limit = u32::try_from(end - first).unwrap_or(READ_BATCH).min(READ_BATCH);
    let leaves = node.store.leaves(first, limit).map_err(|e| status(&reply::of_store(&e)))?;
    let mut room = MESSAGE_MAX_BYTES;
    let fitting = leaves.into_iter().enumerate().take_while(|(i, leaf)| {
        let fits = leaf.len() <= room || *i == 0;
        room = room.saturating_sub(leaf.len());
        fits
    });
    Ok(v1::ReadEntriesResponse { first, leaves: fitting.map(|(_, leaf)| leaf).collect() })
}
