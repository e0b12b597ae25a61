//! What the store's tests share: waiting without a runtime, and short ways to name things.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use tally_domain::ports::Pending;
use tally_domain::ports::store::{AttemptId, ClaimRequest, Committed, Conflict, Step, Store, StoreError, Write};
use tally_domain::{Action, Attempt, ClientId, Digest, KeyName, NodeName, RequestId, Tenant, UnixMillis};
use tally_store::SqliteStore;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Blocks until the future is ready.
pub fn wait<T>(mut future: Pending<T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Commits writes without leaves.
pub fn commit(s: &SqliteStore, writes: Vec<Write>) -> Result<Committed, StoreError> {
    wait(s.commit(Step { writes, leaves: vec![] }))
}

/// Commits one write and demands success.
pub fn fits(s: &SqliteStore, write: Write) {
    commit(s, vec![write]).unwrap();
}

/// Commits one write and demands a conflict.
pub fn clashes(s: &SqliteStore, write: Write, conflict: Conflict) {
    assert_eq!(commit(s, vec![write]), Err(StoreError::Conflict(conflict)));
}

pub fn tenant() -> Tenant {
    Tenant::parse("acme").unwrap()
}

pub fn key(name: &str) -> KeyName {
    KeyName::parse(name).unwrap()
}

pub fn node(name: &str) -> NodeName {
    NodeName::parse(name).unwrap()
}

/// Request number `n`, from 0.
pub fn request(n: u64) -> RequestId {
    let mut id = [0xee; 16];
    id[..8].copy_from_slice(&n.to_be_bytes());
    RequestId(id)
}

pub fn attempt(n: u64) -> AttemptId {
    AttemptId { tenant: tenant(), request: request(n), attempt: Attempt(1) }
}

pub fn claim_of(n: u64, digest: &[u8]) -> ClaimRequest {
    ClaimRequest {
        tenant: tenant(),
        request: request(n),
        intent_digest: Digest::of(digest),
        client: ClientId::parse("payouts").unwrap(),
        key: key("hot"),
        action: Action::Sign,
        at: UnixMillis(1_000 + n),
    }
}

pub fn claim(n: u64) -> Write {
    Write::ClaimRequest(claim_of(n, b"intent"))
}

pub fn vote(n: u64, statement: &[u8]) -> Write {
    Write::Vote { attempt: attempt(n), statement: statement.to_vec(), body: b"body".to_vec() }
}

pub fn release(n: u64, partial: &[u8]) -> Write {
    Write::Release { attempt: attempt(n), partial: partial.to_vec(), certificate: b"certificate".to_vec() }
}

pub fn abandon(n: u64, statement: &[u8]) -> Write {
    Write::Abandon { attempt: attempt(n), statement: statement.to_vec() }
}

pub fn refuse(n: u64, reason: &str) -> Write {
    Write::Refuse { tenant: tenant(), request: request(n), reason: reason.into(), at: UnixMillis(5_000) }
}

pub fn complete(n: u64, result: &[u8]) -> Write {
    Write::Complete { tenant: tenant(), request: request(n), result: result.to_vec(), at: UnixMillis(9_000) }
}
