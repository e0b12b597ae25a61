//! Sessions that this node takes part in, and the inbox of each. Everything is bounded.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tally_domain::boot::Statement;
use tally_domain::{NodeName, Reason, Refusal};
use tally_signer::claims::InTheWay;
use tally_signer::session::Members;
use tokio::sync::mpsc;

/// Most sessions at once (DESIGN 10). One costs some 5 ms of processor and 200 KiB; more would only make all slower.
pub const SESSIONS_MAX: usize = 64;

/// Most undelivered messages of one session: 15 peers, each at most a round, a vote and what the leader passes on ahead.
const INBOX_MAX: usize = 48;

/// A greeting may overtake the proposal that it belongs to. It is kept this long and in this number, and only if it is
/// no larger than a greeting.
const STRAY_AGE_MAX: Duration = Duration::from_secs(5);
const STRAYS_MAX: usize = 256;
const STRAY_BYTES_MAX: usize = 256;

/// Names a session: 16 random bytes drawn by the proposer.
pub type SessionKey = [u8; 16];

/// What arrives for a session.
#[derive(Debug)]
pub enum Inbound {
    /// A member's message.
    Message(NodeName, Vec<u8>),
    /// A message to this member could not be delivered.
    Unreachable(NodeName),
    /// A voter outside S has voted.
    Vote(Statement),
    /// A voter outside S will not vote, and what is in the way.
    NoVote(NodeName, Refusal, Vec<InTheWay>),
}

/// All sessions of this node.
#[derive(Default)]
pub struct Sessions(Mutex<State>);

#[derive(Default)]
struct State {
    open: HashMap<SessionKey, Open>,
    strays: Vec<Stray>,
}

struct Open {
    members: Members,
    inbox: mpsc::Sender<Inbound>,
}

impl Open {
    /// Takes a message from a member. The index that it claims must be the one of the node on the channel (S-3.20).
    fn take(&self, from: NodeName, claimed: u32, bytes: Vec<u8>) -> Result<(), Refusal> {
        let index = self.members.party(&from).ok_or(Reason::UnknownNode)?;
        if u32::from(index.get()) != claimed {
            return Err(Refusal::new(Reason::ProtocolViolation)
                .with("node", from.as_str())
                .with("round", "deliver")
                .with("detail", format!("the sender claims index {claimed} and has index {index}")));
        }
        self.inbox.try_send(Inbound::Message(from, bytes)).map_err(|_| Reason::Overloaded.into())
    }
}

struct Stray {
    session: SessionKey,
    from: NodeName,
    index: u32,
    bytes: Vec<u8>,
    since: Instant,
}

/// A place among the sessions; given back on drop.
pub struct Seat {
    sessions: Arc<Sessions>,
    /// Which session.
    pub key: SessionKey,
    /// What arrives for it.
    pub inbox: mpsc::Receiver<Inbound>,
    /// For the session's own driver to report to itself.
    pub outbox: mpsc::Sender<Inbound>,
}

impl Sessions {
    /// Opens a session among `members`.
    ///
    /// # Errors
    /// `OVERLOADED` when there are too many, `MALFORMED` when the id is taken.
    pub fn open(self: &Arc<Self>, key: SessionKey, members: &Members) -> Result<Seat, Refusal> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.open.len() >= SESSIONS_MAX {
            return Err(Reason::Overloaded.into());
        }
        if state.open.contains_key(&key) {
            return Err(Refusal::new(Reason::Malformed).with("field", "session"));
        }
        let (outbox, inbox) = mpsc::channel(INBOX_MAX);
        let (mine, others) = std::mem::take(&mut state.strays).into_iter().partition(|s| s.session == key);
        state.strays = others;
        let open = Open { members: members.clone(), inbox: outbox.clone() };
        for stray in mine as Vec<Stray> {
            // A greeting that does not fit is refused here as it would have been on arrival; nobody waits for the answer.
            let _ = open.take(stray.from, stray.index, stray.bytes);
        }
        state.open.insert(key, open);
        Ok(Seat { sessions: self.clone(), key, inbox, outbox })
    }

    /// Delivers a member's message.
    ///
    /// # Errors
    /// `OVERLOADED` when the inbox is full, `UNKNOWN_NODE` when the sender is not a member, `PROTOCOL_VIOLATION` when it
    /// claims another's index. A message for a session that
    /// is not open is kept if it can be a greeting, and dropped otherwise: it is late, or of a session that has ended.
    pub fn deliver(&self, key: SessionKey, from: NodeName, index: u32, bytes: Vec<u8>) -> Result<(), Refusal> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = state.open.get(&key) {
            return open.take(from, index, bytes);
        }
        let now = Instant::now();
        state.strays.retain(|s| now.duration_since(s.since) < STRAY_AGE_MAX);
        if bytes.len() <= STRAY_BYTES_MAX && state.strays.len() < STRAYS_MAX {
            state.strays.push(Stray { session: key, from, index, bytes, since: now });
        }
        Ok(())
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).open.len()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.sessions.0.lock().unwrap_or_else(PoisonError::into_inner).open.remove(&self.key);
    }
}
