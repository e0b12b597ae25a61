//! One attempt at one signature, as one member of S sees it. All members run the same machine; the leader only
//! proposed it.
//!
//! ```text
//! Hello -> Offline -> (vote durable) -> Voting -> (partial durable) -> Combining -> (result durable) -> done
//! ```

mod stage;
mod votes;

use crate::boot::BootIdentity;
use crate::claims::{self, Ballot, Binding, Claimed};
use crate::freeze::unless_frozen;
use crate::result::{self, SignResult};
use crate::session::{Action, Failure, Members, PersistId, Trouble, ban};
use crate::veto::while_active;
use crate::wire::{self, Message};
use prost::Message as _;
use rand_core::CryptoRng;
use stage::{Early, Stage};
use std::collections::BTreeMap;
use std::sync::Arc;
use tally_audit::event::What;
use tally_domain::boot::Statement;
use tally_domain::digest::TaggedHash;
use tally_domain::ports::store::{AttemptId, Step, Write};
use tally_domain::vote::Abandonment;
use tally_domain::{Attempt, Digest, KeyName, NodeName, PartyIndex, Refusal, SignerSet, UnixMillis};
use tally_mpc::{KeyShare, Offline, Progress, Protocol, SessionContext};
use tally_policy::Bundle;
use votes::Answer;
pub use votes::Quorum;

/// What happens to a session.
#[derive(Debug)]
pub enum Event<'a> {
    /// A member sent bytes over its authenticated channel.
    Message {
        /// Who, as the channel says.
        from: &'a NodeName,
        /// What.
        bytes: &'a [u8],
    },
    /// A step is durable.
    Persisted(PersistId),
    /// A voter outside S has voted.
    Vote(Statement),
    /// A voter outside S will not vote.
    NoVote {
        /// Who.
        voter: NodeName,
        /// Why.
        why: Refusal,
    },
}

/// What a session is started with.
pub struct Start {
    /// This node's own permit, with what it takes of limits.
    pub claimed: Claimed,
    /// This node's share.
    pub share: Arc<KeyShare>,
    /// This start of this node.
    pub boot: Arc<BootIdentity>,
    /// The bundle that permitted; its roster is what votes are checked against.
    pub bundle: Arc<Bundle>,
    /// S, with names.
    pub members: Members,
    /// S.
    pub signers: SignerSet,
    /// Which try.
    pub attempt: Attempt,
    /// Who leads. It asks voters outside S, when a limit applies.
    pub leader: NodeName,
}

/// One member's view of one attempt.
pub struct SignSession {
    start: Start,
    stage: Stage,
    early: Early,
    next_persist: u32,
    voted: bool,
    released: bool,
    answers: Vec<Answer>,
}

impl SignSession {
    /// Begins: draws fresh randomness and greets the other members.
    pub fn start<R: CryptoRng>(start: Start, rng: &mut R) -> (Self, Vec<Action<SignResult>>) {
        let mut nonce = [0; 32];
        rng.fill_bytes(&mut nonce);
        let hello = Message::Hello { nonce, about: about(&start).0 }.encode();
        let actions = start.members.to_all(&hello);
        let stage = Stage::Hello { hellos: BTreeMap::from([(start.members.me(), nonce)]) };
        let (early, answers) = (Early::default(), Vec::new());
        (Self { start, stage, early, next_persist: 0, voted: false, released: false, answers }, actions)
    }

    /// Takes an event.
    ///
    /// # Errors
    /// [`Trouble`]; the session is over, and [`SignSession::fail`] says what to do.
    pub fn handle<R: CryptoRng>(
        &mut self,
        event: Event<'_>,
        now: UnixMillis,
        rng: &mut R,
    ) -> Result<Vec<Action<SignResult>>, Trouble> {
        let mut actions = match event {
            Event::Message { from, bytes } => {
                let stage = self.stage.name();
                let violation = |what: &str| Trouble::Violation { from: from.clone(), stage, what: what.into() };
                let party = self.start.members.party(from).ok_or_else(|| violation("not a member of this session"))?;
                let message = Message::decode(bytes).ok_or_else(|| violation("malformed message"))?;
                self.take(party, from, message, now, rng)?
            }
            Event::Persisted(id) => {
                let mut actions = self.persisted(id);
                for answer in std::mem::take(&mut self.answers) {
                    actions.extend(self.answered(answer, now)?);
                }
                actions
            }
            Event::Vote(vote) => self.answered(Answer::Vote(vote), now)?,
            Event::NoVote { voter, why } => self.answered(Answer::NoVote { voter, why }, now)?,
        };
        // A stage that has just begun may find its messages waiting.
        while let Some((party, message)) = self.early.next_for(self.stage.expects()) {
            let Some(from) = self.start.members.name(party) else { continue };
            actions.extend(self.take(party, &from, message, now, rng)?);
        }
        Ok(actions)
    }

    /// What the session waits for, and from whom: for time-outs.
    pub fn waiting_for(&self) -> (&'static str, Vec<NodeName>) {
        let missing: Vec<PartyIndex> = match &self.stage {
            Stage::Hello { hellos } => self.start.signers.iter().filter(|p| !hellos.contains_key(p)).collect(),
            Stage::Offline { machine, .. } => machine.missing(),
            Stage::Voting { ballot, .. } => return self.waiting_for_votes(ballot),
            Stage::Combining { received, .. } => self.start.signers.iter().filter(|p| !received.contains(p)).collect(),
            Stage::PersistingVote { .. }
            | Stage::PersistingRelease { .. }
            | Stage::PersistingResult { .. }
            | Stage::Ended => Vec::new(),
        };
        (self.stage.name(), missing.into_iter().filter_map(|p| self.start.members.name(p)).collect())
    }

    /// Ends the session: what must be durable before anyone hears of it, and what to tell.
    pub fn fail(self, trouble: &Trouble, now: UnixMillis) -> Failure {
        let Start { claimed, boot, members, attempt, .. } = &self.start;
        let permit = claimed.permit();
        let record = permit.subject().record();
        let name = |p| members.name(p);
        let mut step = ban(trouble, &record.name, record.epoch, name, boot, now).unwrap_or_default();
        let intent = permit.subject().intent();
        if self.voted && !self.released {
            let abandonment =
                Abandonment { tenant: intent.tenant.clone(), request_id: intent.request_id, attempt: *attempt };
            let abandon = abandon_step(&abandonment, boot, now);
            step.writes.extend(abandon.writes);
            step.leaves.extend(abandon.leaves);
        }
        let refusal = trouble.refusal(name);
        let (culprits, missing) = (trouble.culprits(name), trouble.missing());
        step.leaves.push(boot.leaf(
            now,
            What::SessionFailed {
                request_id: Some(intent.request_id),
                what: refusal.reason.as_str().into(),
                culprit: culprits.first().cloned(),
                missing: missing.clone(),
            },
        ));
        Failure { step, refusal, culprits, missing }
    }

    /// The message that tells the other members that this node has left.
    pub fn abort_message(failure: &Failure) -> Vec<u8> {
        Message::Abort(failure.refusal.reason.as_str().into()).encode()
    }

    fn take<R: CryptoRng>(
        &mut self,
        party: PartyIndex,
        from: &NodeName,
        message: Message,
        now: UnixMillis,
        rng: &mut R,
    ) -> Result<Vec<Action<SignResult>>, Trouble> {
        let stage = self.stage.name();
        if let Message::Abort(reason) = message {
            return Err(Trouble::PeerAborted { from: from.clone(), reason: reason.chars().take(32).collect() });
        }
        match self.stage.order_of(&message) {
            std::cmp::Ordering::Equal => {}
            std::cmp::Ordering::Greater => {
                return self.early.keep(party, message).map(|()| Vec::new()).map_err(|what| Trouble::Violation {
                    from: from.clone(),
                    stage,
                    what,
                });
            }
            std::cmp::Ordering::Less => {
                let what = "message of an earlier stage".into();
                return Err(Trouble::Violation { from: from.clone(), stage, what });
            }
        }
        match message {
            Message::Hello { nonce, about } => self.hello(party, from, nonce, Digest(about), rng),
            Message::Protocol { echo, bytes } => self.offline(party, Digest(echo), &bytes, now, rng),
            Message::Statement(bytes) => self.vote(from, &bytes, now),
            Message::Partial(bytes) => self.partial(party, from, &bytes, now),
            Message::Votes(votes) => self.passed_on(from, &votes, now),
            Message::Abort(_) => Ok(Vec::new()),
        }
    }

    fn leads(&self) -> bool {
        self.start.members.name(self.start.members.me()).as_ref() == Some(&self.start.leader)
    }

    fn hello<R: CryptoRng>(
        &mut self,
        party: PartyIndex,
        from: &NodeName,
        nonce: [u8; 32],
        theirs: Digest,
        rng: &mut R,
    ) -> Result<Vec<Action<SignResult>>, Trouble> {
        let Stage::Hello { hellos } = &mut self.stage else { return Ok(Vec::new()) };
        if theirs != about(&self.start) {
            return Err(Trouble::Mismatch { stage: "hello" });
        }
        if hellos.insert(party, nonce).is_some() {
            let what = "second hello".into();
            return Err(Trouble::Violation { from: from.clone(), stage: "hello", what });
        }
        if hellos.len() < self.start.signers.len() {
            return Ok(Vec::new());
        }
        let echo = wire::echo(hellos);
        let session = context(&self.start, std::mem::take(hellos)).id();
        let (machine, out) =
            Offline::start(&self.start.share, &self.start.signers, session, rng).map_err(Trouble::Fault)?;
        self.stage = Stage::Offline { session, echo, machine };
        Ok(self.start.members.protocol(&echo, out))
    }

    fn offline<R: CryptoRng>(
        &mut self,
        party: PartyIndex,
        their_echo: Digest,
        bytes: &[u8],
        now: UnixMillis,
        rng: &mut R,
    ) -> Result<Vec<Action<SignResult>>, Trouble> {
        let Stage::Offline { session, echo, machine } = &mut self.stage else { return Ok(Vec::new()) };
        if their_echo != *echo {
            return Err(Trouble::Mismatch { stage: "offline" });
        }
        let (session, echo) = (*session, *echo);
        match machine.message(&self.start.share, party, bytes, rng).map_err(Trouble::Fault)? {
            Progress::Wait(out) => Ok(self.start.members.protocol(&echo, out)),
            Progress::Done(out, presignature) => {
                let mut actions = self.start.members.protocol(&echo, out);
                let binding = Binding {
                    attempt: self.start.attempt,
                    signers: self.start.members.names(),
                    nonce: presignature.binding(),
                    session: session.digest(),
                };
                let body = claims::vote_body(&self.start.claimed, &binding);
                let (statement, step) = claims::vote(&body, &self.start.boot, now);
                let step = while_active(unless_frozen(step, self.key()), body.bundle);
                // At once with the write: what they answer waits for it.
                actions.extend(self.canvass(&body));
                let id = self.persist_id();
                self.stage = Stage::PersistingVote { id, body, statement, presignature };
                actions.push(Action::Persist { id, step });
                Ok(actions)
            }
        }
    }

    fn partial(
        &mut self,
        party: PartyIndex,
        from: &NodeName,
        bytes: &[u8],
        now: UnixMillis,
    ) -> Result<Vec<Action<SignResult>>, Trouble> {
        let Stage::Combining { combiner, received, certificate } = &mut self.stage else { return Ok(Vec::new()) };
        if !received.insert(party) {
            let what = "second partial".into();
            return Err(Trouble::Violation { from: from.clone(), stage: "combine", what });
        }
        let Some(signature) = combiner.add(party, bytes).map_err(Trouble::Fault)? else { return Ok(Vec::new()) };
        let subject = self.start.claimed.permit().subject();
        let result = result::build(subject, self.start.claimed.permit().rule(), &signature, certificate.clone())
            .map_err(Trouble::Own)?;
        let step = unless_frozen(result::complete_step(subject, &result, &self.start.boot, now), self.key());
        let id = self.persist_id();
        self.stage = Stage::PersistingResult { id, result };
        Ok(vec![Action::Persist { id, step }])
    }

    fn persisted(&mut self, done: PersistId) -> Vec<Action<SignResult>> {
        match std::mem::replace(&mut self.stage, Stage::Ended) {
            Stage::PersistingVote { id, body, statement, presignature } if id == done => {
                // Only now can a promise be owed: a vote whose write failed has not left, and a promise for an attempt
                // without a vote would take its number away for ever. One that is on the disk after all is given up
                // by recovery.
                self.voted = true;
                let bytes = Message::Statement(statement.encode_to_vec()).encode();
                let ballot = Ballot::open(body, self.start.boot.node.clone(), statement, self.electorate());
                self.stage = Stage::Voting { ballot, presignature };
                self.start.members.to_all(&bytes)
            }
            Stage::PersistingRelease { id, unreleased } if id == done => {
                let released = unreleased.persisted();
                let bytes = Message::Partial(released.partial).encode();
                self.stage = Stage::Combining {
                    combiner: released.combiner,
                    received: [self.start.members.me()].into(),
                    certificate: released.certificate,
                };
                self.start.members.to_all(&bytes)
            }
            Stage::PersistingResult { id, result } if id == done => vec![Action::Done(result)],
            other => {
                self.stage = other;
                Vec::new()
            }
        }
    }

    fn key(&self) -> &KeyName {
        &self.start.claimed.permit().subject().intent().key
    }

    fn persist_id(&mut self) -> PersistId {
        self.next_persist += 1;
        PersistId(self.next_persist)
    }
}

/// The step that makes a promise never to release durable, with its leaf.
pub fn abandon_step(abandonment: &Abandonment, boot: &BootIdentity, now: UnixMillis) -> Step {
    let statement = abandonment.sign(boot.key(), boot.cert());
    let write = Write::Abandon {
        attempt: AttemptId {
            tenant: abandonment.tenant.clone(),
            request: abandonment.request_id,
            attempt: abandonment.attempt,
        },
        statement: statement.encode_to_vec(),
    };
    Step { writes: vec![write], leaves: vec![boot.leaf(now, What::Abandoned { statement })] }
}

/// What this member believes the session is for: the session's context before anyone's randomness.
fn about(start: &Start) -> Digest {
    context(start, BTreeMap::new()).id().digest()
}

fn context(start: &Start, nonces: BTreeMap<PartyIndex, [u8; 32]>) -> SessionContext {
    let subject = start.claimed.permit().subject();
    let (intent, record) = (subject.intent(), subject.record());
    SessionContext {
        protocol: Protocol::Sign,
        scheme: record.scheme,
        cluster: record.cluster.clone(),
        key: record.name.clone(),
        epoch: record.epoch,
        threshold: record.threshold,
        parties: start.members.pairs(),
        tenant: intent.tenant.clone(),
        request: intent.request_id,
        attempt: start.attempt,
        digest: subject.digest_to_sign(),
        path: intent.path.clone(),
        bundle: decision(&start.claimed),
        nonces,
    }
}

/// The bundle and the rule of it that decided, and what is claimed of limits. Around a full hour two honest clocks may
/// find two rules; members whose results would differ in the rule find out before they vote.
fn decision(claimed: &Claimed) -> Digest {
    let permit = claimed.permit();
    let hash = TaggedHash::new("tally/v1/decision").field(&permit.bundle().0).field(permit.rule().as_bytes());
    match claimed.claims() {
        Some(claims) => hash.field(&claims.to_bytes()).finish(),
        None => hash.finish(),
    }
}
