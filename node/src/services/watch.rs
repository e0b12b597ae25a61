//! A tenant's requests as they change. What has changed is read from this node's own log, so that a cursor holds across restarts
//! and nothing is missed between two streams; how a request stands is read from the store.

use crate::approve;
use crate::caller::Caller;
use crate::convert;
use crate::node::Node;
use crate::reply::{self, status};
use crate::serve::stop_signal;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tally_audit::event::Event;
use tally_domain::{Reason, Refusal, RequestId, Tenant};
use tally_proto::v1;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Watchers at one node: each reads the whole log as it grows.
const WATCHERS_MAX: usize = 64;
static WATCHERS: Semaphore = Semaphore::const_new(WATCHERS_MAX);

/// How often a log that has not grown is looked at again: what a person does not notice.
const PAUSE: Duration = Duration::from_millis(200);

/// Leaves read at once.
const LEAVES_MAX: u32 = 256;

/// Messages that wait for a slow watcher: the log waits, not memory.
const TOLD_AHEAD: usize = 2;

/// What a watcher is told.
pub type Told = ReceiverStream<Result<v1::WatchRequestsResponse, Status>>;

/// Begins at a cursor.
///
/// # Errors
/// `PARAMETER_RANGE` when this node has given no such cursor; `OVERLOADED`.
pub fn watch(node: Arc<Node>, caller: Caller, tenant: Tenant, cursor: &str) -> Result<Told, Refusal> {
    let next = begin(&node, cursor)?;
    let place = WATCHERS.try_acquire().map_err(|_| Reason::Overloaded)?;
    let (out, told) = mpsc::channel(TOLD_AHEAD);
    tokio::spawn(Watcher { node, caller, tenant, next, out, _place: place }.run());
    Ok(ReceiverStream::new(told))
}

fn begin(node: &Node, cursor: &str) -> Result<u64, Refusal> {
    let size = node.store.log_size().map_err(|e| reply::of_store(&e))?;
    place(node.name().as_str(), cursor, size).ok_or_else(|| {
        let detail = format!(
            "the cursor is none that {0} has given; ask the node that it names, or begin anew without one or with {0}/0",
            node.name()
        );
        Refusal::new(Reason::ParameterRange).with("detail", detail)
    })
}

/// The leaf that a cursor of this node points at; without one the next that is written.
pub fn place(node: &str, cursor: &str, size: u64) -> Option<u64> {
    if cursor.is_empty() {
        return Some(size);
    }
    let (_, at) = cursor.rsplit_once('/').filter(|(name, _)| *name == node)?;
    at.parse().ok().filter(|at| *at <= size)
}

/// Each request once, with the last leaf that is about it, in the order of those leaves: whoever goes on from after one has
/// heard of all before it, and hears of all after it.
fn last_of_each(named: Vec<(u64, RequestId)>) -> Vec<(u64, RequestId)> {
    let last: HashMap<RequestId, u64> = named.iter().map(|(at, id)| (*id, *at)).collect();
    named.into_iter().filter(|(at, id)| last.get(id) == Some(at)).collect()
}

struct Watcher {
    node: Arc<Node>,
    caller: Caller,
    tenant: Tenant,
    /// The first leaf that has not been looked at.
    next: u64,
    out: mpsc::Sender<Result<v1::WatchRequestsResponse, Status>>,
    _place: SemaphorePermit<'static>,
}

impl Watcher {
    async fn run(mut self) {
        let mut stop = std::pin::pin!(stop_signal());
        drop(self.out.send(Ok(v1::WatchRequestsResponse { request: None, cursor: self.cursor() })).await);
        loop {
            let batch = tokio::select! {
                () = &mut stop => return,
                batch = self.batch() => batch,
            };
            let pause = match batch {
                Ok(0) => PAUSE,
                Ok(_) => Duration::ZERO,
                Err(refusal) => {
                    drop(self.out.send(Err(status(&refusal))).await);
                    return;
                }
            };
            tokio::select! {
                () = &mut stop => return,
                () = self.out.closed() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Tells what the next leaves are about; gives their number.
    async fn batch(&mut self) -> Result<usize, Refusal> {
        // The roster of this moment: a stream outlives a bundle.
        let client = self.caller.client(self.node.bundle().roster()).map(|client| client.tenant.clone());
        if client.as_ref() != Some(&self.tenant) {
            return Err(Reason::UnknownClient.into());
        }
        let leaves = self.node.store.leaves(self.next, LEAVES_MAX).map_err(|e| reply::of_store(&e))?;
        let end = self.next.saturating_add(leaves.len() as u64);
        let mut named = Vec::new();
        for (at, leaf) in (self.next..).zip(&leaves) {
            let event = Event::from_leaf(leaf).map_err(|_| Reason::Tampered)?;
            let ours = event.request().filter(|(tenant, _)| tenant.as_ref().is_none_or(|t| *t == self.tenant));
            named.extend(ours.map(|(_, id)| (at, id)));
        }
        for (at, id) in last_of_each(named) {
            if let Some(request) = self.request(id).await? {
                self.next = at.saturating_add(1);
                self.tell(request).await;
            }
        }
        self.next = end;
        Ok(leaves.len())
    }

    async fn request(&self, id: RequestId) -> Result<Option<v1::Request>, Refusal> {
        let row = self.node.store.request(&self.tenant, &id).map_err(|e| reply::of_store(&e))?;
        let here =
            row.filter(|row| super::clients::is_told_here(&self.node, row) || approve::is_known(&self.node, row));
        match here {
            Some(row) => approve::of_request(&self.node, convert::request_out(row), &self.tenant).await.map(Some),
            None => Ok(None),
        }
    }

    async fn tell(&self, request: v1::Request) {
        let told = v1::WatchRequestsResponse { request: Some(request), cursor: self.cursor() };
        // Whether anyone listens is looked at after each batch.
        drop(self.out.send(Ok(told)).await);
    }

    fn cursor(&self) -> String {
        format!("{}/{}", self.node.name(), self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cursor_in_a_page_is_after_what_has_been_told_and_before_what_has_not() {
        let id = |n: u8| RequestId([n; 16]);
        let named: Vec<_> = [1, 2, 1, 3, 2, 1].into_iter().map(id).zip(10..).map(|(id, at)| (at, id)).collect();
        let told = last_of_each(named.clone());
        assert_eq!(told, [(13, id(3)), (14, id(2)), (15, id(1))]);
        for (nth, (at, _)) in told.iter().enumerate() {
            let rest = named.iter().filter(|(leaf, _)| leaf > at).copied().collect();
            assert_eq!(last_of_each(rest), told[nth + 1..], "going on from a cursor tells the rest, and only that");
        }
    }
}
