//! Drives a session: gives it events, does what it asks for, in order, and ends it when it is silent for too long.

use crate::failpoint::{self, Moment};
use crate::limits;
use crate::metrics::names;
use crate::node::{Node, fresh_rng, now};
use crate::peers::PEER_MESSAGE_MAX_BYTES;
use crate::reply;
use crate::sessions::{Inbound, Seat, SessionKey};
use crate::stages::Stages;
use crate::turn::Turn;
use rand::rngs::StdRng;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use tally_domain::boot::Statement;
use tally_domain::ports::hsm::HsmError;
use tally_domain::ports::store::{BanRow, Step, Write};
use tally_domain::{Digest, NodeName, Reason, Refusal, UnixMillis};
use tally_proto::v1;
use tally_signer::claims::InTheWay;
use tally_signer::keygen_session::{self, Created, KeygenSession, SealRequest};
use tally_signer::result::SignResult;
use tally_signer::session::{Action, Failure, Trouble};
use tally_signer::sign_session::{Event, Quorum, SignSession};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::Instrument as _;

/// A session machine of `tally-signer`.
pub trait Machine: Send + 'static {
    /// For those who watch.
    const NAME: &'static str;
    /// What it ends with.
    type Output: Send + 'static;
    /// Longest silence before the members that are waited for count as gone.
    const SILENCE_MAX: Duration;

    /// Longest time for the whole of the present stage, however many are heard meanwhile; nothing where only silence counts.
    fn stage_max(&self) -> Option<Duration> {
        None
    }

    /// An event in, actions out.
    fn handle(
        &mut self,
        event: Event<'_>,
        now: UnixMillis,
        rng: &mut StdRng,
    ) -> Result<Vec<Action<Self::Output>>, Trouble>;
    /// The share that it asked to seal is sealed.
    fn sealed(&mut self, sealed: Vec<u8>, now: UnixMillis) -> Vec<Action<Self::Output>>;
    /// What it waits for.
    fn waiting_for(&self) -> (&'static str, Vec<NodeName>);
    /// Ends it early.
    fn fail(self, trouble: &Trouble, now: UnixMillis) -> Failure;
    /// What the other members are told then.
    fn abort_message(failure: &Failure) -> Vec<u8>;
}

/// Longest time for voters outside S to answer. Each admits the request and waits for its disk once, which takes
/// milliseconds; who has not answered by then is away, and another round would wait for the same ones.
const VOTERS_MAX: Duration = Duration::from_secs(4);

/// How much longer members wait for the leader's word on the voters, so that it is the leader who ends it and says why.
const LEADER_GRACE: Duration = Duration::from_secs(1);

impl Machine for SignSession {
    const NAME: &'static str = "sign";
    type Output = SignResult;
    /// A signing round takes milliseconds of computing; this leaves room for a busy machine and a slow network.
    const SILENCE_MAX: Duration = Duration::from_secs(4);

    fn stage_max(&self) -> Option<Duration> {
        match self.awaits_quorum()? {
            Quorum::OfVoters => Some(VOTERS_MAX),
            Quorum::FromLeader => Some(VOTERS_MAX + LEADER_GRACE),
        }
    }

    fn handle(
        &mut self,
        event: Event<'_>,
        now: UnixMillis,
        rng: &mut StdRng,
    ) -> Result<Vec<Action<SignResult>>, Trouble> {
        Self::handle(self, event, now, rng)
    }
    fn sealed(&mut self, _: Vec<u8>, _: UnixMillis) -> Vec<Action<SignResult>> {
        Vec::new()
    }
    fn waiting_for(&self) -> (&'static str, Vec<NodeName>) {
        Self::waiting_for(self)
    }
    fn fail(self, trouble: &Trouble, now: UnixMillis) -> Failure {
        Self::fail(self, trouble, now)
    }
    fn abort_message(failure: &Failure) -> Vec<u8> {
        Self::abort_message(failure)
    }
}

impl Machine for KeygenSession {
    const NAME: &'static str = "key";
    type Output = Created;
    /// A round of DKLs23 key generation takes up to a second of computing for each of up to 16 nodes.
    const SILENCE_MAX: Duration = Duration::from_secs(20);

    fn handle(&mut self, event: Event<'_>, now: UnixMillis, rng: &mut StdRng) -> Result<Vec<Action<Created>>, Trouble> {
        Self::handle(self, event, now, rng)
    }
    fn sealed(&mut self, sealed: Vec<u8>, now: UnixMillis) -> Vec<Action<Created>> {
        Self::sealed(self, sealed, now)
    }
    fn waiting_for(&self) -> (&'static str, Vec<NodeName>) {
        Self::waiting_for(self)
    }
    fn fail(self, trouble: &Trouble, now: UnixMillis) -> Failure {
        Self::fail(self, trouble, now)
    }
    fn abort_message(failure: &Failure) -> Vec<u8> {
        keygen_session::abort_message(failure)
    }
}

/// How a session ended without a result.
#[derive(Debug)]
pub struct Failed {
    /// For the caller.
    pub refusal: Refusal,
    /// Whom to leave out next time.
    pub left_out: Vec<NodeName>,
    /// The other members, if nobody could be named.
    pub members: Vec<NodeName>,
    /// What voters outside S found in the way of its claims.
    pub in_the_way: Vec<InTheWay>,
}

/// The name under which a session's pending check is kept.
pub fn check_id(key: SessionKey) -> Digest {
    Digest::of(&key)
}

/// A session on its way, with what it needs from the node.
struct Drive<M: Machine> {
    node: Arc<Node>,
    seat: Seat,
    members: Vec<NodeName>,
    my_index: u8,
    machine: M,
    rng: StdRng,
    in_the_way: Vec<InTheWay>,
    stages: Stages,
    /// When the present stage is over, where it has an end.
    stage_ends: Option<Instant>,
    /// Whether a test has made this node fall silent here.
    silent: bool,
}

/// Runs a session to its end. Whatever must be durable is durable before anyone hears of it.
///
/// # Errors
/// [`Failed`].
pub async fn drive<M: Machine>(
    node: &Arc<Node>,
    seat: Seat,
    my_index: u8,
    members: Vec<NodeName>,
    machine: M,
    first: Vec<Action<M::Output>>,
) -> Result<M::Output, Failed> {
    let (in_the_way, stages) = (Vec::new(), Stages::begin(node, M::NAME, machine.waiting_for().0));
    let (node, rng) = (node.clone(), fresh_rng());
    let mut drive =
        Drive { node, seat, members, my_index, machine, rng, in_the_way, stages, stage_ends: None, silent: false };
    let mut actions = VecDeque::from(first);
    loop {
        let trouble = match drive.next(&mut actions).await {
            Ok(Next::Done(output)) => return Ok(output),
            Ok(Next::Event(event)) => {
                let (after, outcome) = drive.step(event).await?;
                drive = after;
                match outcome {
                    Ok(more) => {
                        actions.extend(more);
                        continue;
                    }
                    Err(trouble) => trouble,
                }
            }
            Err(trouble) => trouble,
        };
        return Err(drive.end(&trouble).await);
    }
}

enum Owned {
    Message(NodeName, Vec<u8>),
    Persisted(tally_signer::PersistId),
    Vote(Statement),
    NoVote(NodeName, Refusal),
}

enum Next<O> {
    Event(Owned),
    Done(O),
}

impl<M: Machine> Drive<M> {
    /// Does what the session asked for, in order, until there is an event for it or it is done.
    async fn next(&mut self, actions: &mut VecDeque<Action<M::Output>>) -> Result<Next<M::Output>, Trouble> {
        while let Some(action) = actions.pop_front() {
            match action {
                Action::Send { to, bytes } => self.send(to, bytes),
                Action::Persist { id, mut step } => {
                    if step.writes.iter().any(|w| matches!(w, Write::Complete { .. })) {
                        step.writes.push(Write::CheckDone { session: check_id(self.seat.key) });
                    }
                    let place = failpoint::Place::of(&step);
                    place.pass(Moment::Before);
                    self.node.commit(step).await.map_err(Trouble::Own)?;
                    place.pass(Moment::After);
                    return Ok(Next::Event(Owned::Persisted(id)));
                }
                Action::Canvass { voters, envelope, approvals, body } => {
                    let request = limits::vote_request(&self.node, &envelope, &approvals, body);
                    limits::ask(&self.node, &self.seat.outbox, voters, &request);
                }
                Action::Seal(request) => {
                    let sealed = seal(&self.node, *request).await.map_err(Trouble::Own)?;
                    actions.extend(self.machine.sealed(sealed, now()));
                }
                Action::Done(output) => return Ok(Next::Done(output)),
            }
        }
        self.next_inbound().await.map(Next::Event)
    }

    fn patience(&mut self) -> Instant {
        let now = Instant::now();
        match self.machine.stage_max() {
            Some(longest) => *self.stage_ends.get_or_insert(now + longest),
            None => {
                self.stage_ends = None;
                now + M::SILENCE_MAX
            }
        }
    }

    /// The next member's message or voter's answer, or the end of patience.
    async fn next_inbound(&mut self) -> Result<Owned, Trouble> {
        let patience = self.patience();
        loop {
            let (stage, missing) = self.machine.waiting_for();
            match tokio::time::timeout_at(patience, self.seat.inbox.recv()).await {
                Ok(Some(Inbound::Message(from, bytes))) => return Ok(Owned::Message(from, bytes)),
                Ok(Some(Inbound::Vote(vote))) => return Ok(Owned::Vote(vote)),
                Ok(Some(Inbound::NoVote(voter, why, found))) => {
                    self.in_the_way.extend(found);
                    return Ok(Owned::NoVote(voter, why));
                }
                Ok(Some(Inbound::Unreachable(peer))) if missing.contains(&peer) => {
                    return Err(Trouble::Silent { missing: vec![peer], stage });
                }
                Ok(Some(Inbound::Unreachable(_))) => {}
                Ok(None) | Err(_) => return Err(Trouble::Silent { missing, stage }),
            }
        }
    }

    /// Gives the machine an event on a thread for computing, and contains a crash of the protocol libraries.
    async fn step(self, event: Owned) -> Result<(Self, Result<Vec<Action<M::Output>>, Trouble>), Failed> {
        let (span, turn) = (tracing::Span::current(), Turn::begin());
        let turn = tokio::task::spawn_blocking(move || {
            let _entered = span.entered();
            let (mut this, turn) = (self, turn.runs());
            let stage = this.machine.waiting_for().0;
            let outcome = {
                let (machine, rng) = (&mut this.machine, &mut this.rng);
                let event = match &event {
                    Owned::Message(from, bytes) => Event::Message { from, bytes },
                    Owned::Persisted(id) => Event::Persisted(*id),
                    Owned::Vote(vote) => Event::Vote(vote.clone()),
                    Owned::NoVote(voter, why) => Event::NoVote { voter: voter.clone(), why: why.clone() },
                };
                catch_unwind(AssertUnwindSafe(|| machine.handle(event, now(), rng)))
            };
            let from = match event {
                Owned::Message(from, _) => Some(from),
                Owned::Persisted(_) | Owned::Vote(_) | Owned::NoVote(..) => None,
            };
            this.node.admission.turn_took(turn.ends());
            this.stages.at(this.machine.waiting_for().0);
            (this, outcome.unwrap_or(Err(Trouble::Crashed { from, stage })))
        });
        // Only a runtime that is shutting down cancels; the handle itself does not unwind.
        turn.await.map_err(|_| Failed {
            refusal: Reason::SessionAborted.into(),
            left_out: Vec::new(),
            members: Vec::new(),
            in_the_way: Vec::new(),
        })
    }

    fn send(&mut self, to: NodeName, bytes: Vec<u8>) {
        self.silent |= failpoint::falls_silent(self.machine.waiting_for().0);
        if self.silent {
            return;
        }
        let (node, session, from) = (self.node.clone(), self.seat.key, self.my_index);
        let report = self.seat.outbox.clone();
        let work = async move {
            if deliver(&node, &to, session, from, bytes).await.is_err() {
                // The session may have ended meanwhile; then nobody has to know.
                let _ = mpsc::Sender::try_send(&report, Inbound::Unreachable(to));
            }
        };
        tokio::spawn(work.in_current_span());
    }

    /// Ends the session: first what must be durable, then the word to the others.
    async fn end(self, trouble: &Trouble) -> Failed {
        let failure = self.machine.fail(trouble, now());
        let Failure { step, refusal, culprits, missing } = &failure;
        tracing::warn!(reason = refusal.reason.as_str(), facts = ?refusal.metadata, ?culprits, ?missing, "session failed");
        self.node.metrics.count(&names::SESSION_FAILURES, &[M::NAME, refusal.reason.as_str()]);
        culprits.iter().for_each(|peer| self.node.metrics.count(&names::BLAME, &[peer.as_str()]));
        missing.iter().for_each(|peer| self.node.metrics.count(&names::MISSING, &[peer.as_str()]));
        let bans: Vec<BanRow> = step.writes.iter().filter_map(ban_row).collect();
        let mut step = Step { writes: step.writes.clone(), leaves: step.leaves.clone() };
        step.writes.push(Write::CheckDone { session: check_id(self.seat.key) });
        if let Err(refusal) = self.node.commit(step).await {
            // What could not be written down must not be seen either: the others run into their time-out (S-3.15).
            return Failed { refusal, left_out: Vec::new(), members: Vec::new(), in_the_way: self.in_the_way };
        }
        self.node.keys.note_bans(bans);
        let bytes = M::abort_message(&failure);
        for to in self.members.iter().filter(|m| !self.silent && *m != self.node.name()) {
            let (node, session, from, to, bytes) =
                (self.node.clone(), self.seat.key, self.my_index, to.clone(), bytes.clone());
            tokio::spawn(async move { deliver(&node, &to, session, from, bytes).await });
        }
        let left_out = failure.left_out();
        let unnamed = left_out.is_empty();
        let members = self.members.iter().filter(|m| unnamed && *m != self.node.name()).cloned().collect();
        Failed { refusal: failure.refusal, left_out, members, in_the_way: self.in_the_way }
    }
}

/// Delivers one message of a session.
///
/// # Errors
/// When the peer cannot be reached or does not take it.
pub async fn deliver(
    node: &Arc<Node>,
    to: &NodeName,
    session: SessionKey,
    from: u8,
    message: Vec<u8>,
) -> Result<(), Refusal> {
    if message.len() > PEER_MESSAGE_MAX_BYTES {
        return Err(Reason::Oversized.into());
    }
    let request = v1::DeliverRequest { session: session.to_vec(), from: u32::from(from), message };
    node.peers.call(to, |mut peer| async move { peer.deliver(request).await }).await.map(|_| ())
}

async fn seal(node: &Arc<Node>, request: SealRequest) -> Result<Vec<u8>, Refusal> {
    match node.hsm.create_sealing_key(request.id).await {
        // Left by an earlier try of the same request that failed before all had signed; its share is worth nothing.
        Ok(()) | Err(HsmError::KeyExists { .. }) => {}
        Err(error) => return Err(reply::of_hsm(&error)),
    }
    node.hsm.seal(request.id, request.aad.0.to_vec(), request.share).await.map_err(|e| reply::of_hsm(&e))
}

fn ban_row(write: &Write) -> Option<BanRow> {
    match write {
        Write::Ban { key, epoch, peer, what } => {
            Some(BanRow { key: key.clone(), epoch: *epoch, peer: peer.clone(), what: what.clone() })
        }
        _ => None,
    }
}
