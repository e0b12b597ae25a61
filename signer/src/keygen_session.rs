//! Creation of one key, as one of its n nodes sees it. It succeeds only when all n have signed the same record (S-3.24).
//!
//! ```text
//! Hello -> Rounds -> (share sealed, durable as pending) -> Signing -> (certificate durable) -> done
//! ```

use crate::admit::CreatePermit;
use crate::boot::BootIdentity;
use crate::session::{Action, Failure, Members, PersistId, Trouble};
use crate::sign_session::Event;
use crate::wire::{self, Message};
use prost::Message as _;
use rand_core::CryptoRng;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use tally_audit::event::What;
use tally_domain::boot::Statement;
use tally_domain::key::{KEY_TYPE, KeyCertificate, KeyRecord};
use tally_domain::ports::hsm::SealingKeyId;
use tally_domain::ports::store::{Step, Write};
use tally_domain::{Attempt, DerivationPath, Digest, Epoch, NodeName, PartyIndex, SecretBytes, UnixMillis};
use tally_mpc::{Fault, Keygen, KeygenOutput, Progress, Protocol, SessionContext};
use tally_policy::Bundle;

/// Most messages of later stages kept for one member: one protocol round and its statement.
const EARLY_MAX: usize = 3;

/// A share that the driver seals under a new key of this node's token.
pub struct SealRequest {
    /// Id for the new sealing key.
    pub id: SealingKeyId,
    /// What the sealed share is bound to.
    pub aad: Digest,
    /// The share.
    pub share: SecretBytes,
}

impl std::fmt::Debug for SealRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealRequest").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What a key generation is started with.
pub struct Start {
    /// This node's own permit.
    pub permit: CreatePermit,
    /// This start of this node.
    pub boot: Arc<BootIdentity>,
    /// The bundle that permitted.
    pub bundle: Arc<Bundle>,
    /// All share-holders, with names.
    pub members: Members,
}

/// The key, certified by all, and durable here.
#[derive(Debug)]
pub struct Created {
    /// What it is.
    pub record: KeyRecord,
    /// The statements of all n.
    pub certificate: KeyCertificate,
}

enum Stage {
    Hello { hellos: BTreeMap<PartyIndex, [u8; 32]> },
    Rounds { echo: Digest, machine: Box<Keygen> },
    Sealing { record: Box<KeyRecord> },
    PersistingPending { id: PersistId, record: Box<KeyRecord> },
    Signing { record: Box<KeyRecord>, statements: BTreeMap<PartyIndex, Statement> },
    PersistingActive { id: PersistId, created: Box<Created> },
    Ended,
}

/// One node's view of the creation of a key.
pub struct KeygenSession {
    start: Start,
    stage: Stage,
    early: BTreeMap<PartyIndex, VecDeque<Message>>,
    next_persist: u32,
}

impl KeygenSession {
    /// Begins: draws fresh randomness and greets the other nodes.
    pub fn start<R: CryptoRng>(start: Start, rng: &mut R) -> (Self, Vec<Action<Created>>) {
        let mut nonce = [0; 32];
        rng.fill_bytes(&mut nonce);
        let hello = Message::Hello { nonce, about: context(&start, BTreeMap::new()).id().digest().0 }.encode();
        let actions = start.members.to_all(&hello);
        let stage = Stage::Hello { hellos: BTreeMap::from([(start.members.me(), nonce)]) };
        (Self { start, stage, early: BTreeMap::new(), next_persist: 0 }, actions)
    }

    /// Takes an event.
    ///
    /// # Errors
    /// [`Trouble`]; the session is over, and [`KeygenSession::fail`] says what to do.
    pub fn handle<R: CryptoRng>(
        &mut self,
        event: Event<'_>,
        now: UnixMillis,
        rng: &mut R,
    ) -> Result<Vec<Action<Created>>, Trouble> {
        let mut actions = match event {
            Event::Message { from, bytes } => {
                let stage = self.stage_name();
                let violation = |what: &str| Trouble::Violation { from: from.clone(), stage, what: what.into() };
                let party = self.start.members.party(from).ok_or_else(|| violation("not a member of this session"))?;
                let message = Message::decode(bytes).ok_or_else(|| violation("malformed message"))?;
                self.take(party, from, message, now, rng)?
            }
            Event::Persisted(id) => self.persisted(id),
            // Making a key takes nothing of a limit.
            Event::Vote(_) | Event::NoVote { .. } => Vec::new(),
        };
        while let Some((party, message)) = self.next_early() {
            let Some(from) = self.start.members.name(party) else { continue };
            actions.extend(self.take(party, &from, message, now, rng)?);
        }
        Ok(actions)
    }

    /// The share is sealed; the next step makes it durable as pending.
    pub fn sealed(&mut self, sealed_share: Vec<u8>, now: UnixMillis) -> Vec<Action<Created>> {
        let Stage::Sealing { record } = std::mem::replace(&mut self.stage, Stage::Ended) else { return Vec::new() };
        let bytes = record.to_bytes();
        let leaf = self.start.boot.leaf(now, What::KeyPending { record: bytes.clone() });
        let write = Write::PutPendingKey {
            name: record.name.clone(),
            request: record.request_id,
            record: bytes,
            sealed_share,
            at: now,
        };
        let id = self.persist_id();
        self.stage = Stage::PersistingPending { id, record };
        vec![Action::Persist { id, step: Step { writes: vec![write], leaves: vec![leaf] } }]
    }

    /// What the session waits for, and from whom: for time-outs.
    pub fn waiting_for(&self) -> (&'static str, Vec<NodeName>) {
        let all = || self.start.members.pairs().into_iter().map(|(p, _)| p);
        let missing: Vec<PartyIndex> = match &self.stage {
            Stage::Hello { hellos } => all().filter(|p| !hellos.contains_key(p)).collect(),
            Stage::Rounds { machine, .. } => machine.missing(),
            Stage::Signing { statements, .. } => all().filter(|p| !statements.contains_key(p)).collect(),
            Stage::Sealing { .. } | Stage::PersistingPending { .. } | Stage::PersistingActive { .. } | Stage::Ended => {
                Vec::new()
            }
        };
        (self.stage_name(), missing.into_iter().filter_map(|p| self.start.members.name(p)).collect())
    }

    /// Ends the session. A pending share stays: the certificate may exist at another node, and then completes it.
    pub fn fail(self, trouble: &Trouble, now: UnixMillis) -> Failure {
        let name = |p| self.start.members.name(p);
        let refusal = trouble.refusal(name);
        let (culprits, missing) = (trouble.culprits(name), trouble.missing());
        let leaf = self.start.boot.leaf(
            now,
            What::SessionFailed {
                request_id: Some(self.start.permit.intent().request_id),
                what: refusal.reason.as_str().into(),
                culprit: culprits.first().cloned(),
                missing: missing.clone(),
            },
        );
        // No ban: there is no share yet that a failed check could leak, and the key does not exist.
        Failure { step: Step { writes: Vec::new(), leaves: vec![leaf] }, refusal, culprits, missing }
    }

    fn stage_name(&self) -> &'static str {
        match self.stage {
            Stage::Hello { .. } => "hello",
            Stage::Rounds { .. } => "keygen",
            Stage::Sealing { .. } | Stage::PersistingPending { .. } => "seal",
            Stage::Signing { .. } => "certify",
            Stage::PersistingActive { .. } => "record",
            Stage::Ended => "ended",
        }
    }

    fn take<R: CryptoRng>(
        &mut self,
        party: PartyIndex,
        from: &NodeName,
        message: Message,
        now: UnixMillis,
        rng: &mut R,
    ) -> Result<Vec<Action<Created>>, Trouble> {
        let violation = |stage, what: &str| Trouble::Violation { from: from.clone(), stage, what: what.into() };
        match (&self.stage, message) {
            (_, Message::Abort(reason)) => {
                Err(Trouble::PeerAborted { from: from.clone(), reason: reason.chars().take(32).collect() })
            }
            (Stage::Hello { .. }, Message::Hello { nonce, about }) => {
                self.hello(party, from, nonce, Digest(about), rng)
            }
            (Stage::Rounds { .. }, Message::Protocol { echo, bytes }) => self.round(party, Digest(echo), &bytes, rng),
            (Stage::Signing { .. }, Message::Statement(bytes)) => self.statement(party, from, &bytes, now),
            (Stage::Hello { .. }, early @ Message::Protocol { .. })
            | (Stage::Hello { .. } | Stage::Rounds { .. } | Stage::Sealing { .. }, early @ Message::Statement(_))
            | (Stage::PersistingPending { .. }, early @ Message::Statement(_)) => {
                let kept = self.early.entry(party).or_default();
                if kept.len() >= EARLY_MAX {
                    return Err(violation("keygen", "too many messages ahead of time"));
                }
                kept.push_back(early);
                Ok(Vec::new())
            }
            _ => Err(violation(self.stage_name(), "message out of turn")),
        }
    }

    fn next_early(&mut self) -> Option<(PartyIndex, Message)> {
        let fits: fn(&Message) -> bool = match self.stage {
            Stage::Rounds { .. } => |m| matches!(m, Message::Protocol { .. }),
            Stage::Signing { .. } => |m| matches!(m, Message::Statement(_)),
            _ => return None,
        };
        self.early.iter_mut().find_map(|(party, kept)| {
            let at = kept.iter().position(fits)?;
            kept.remove(at).map(|m| (*party, m))
        })
    }

    fn hello<R: CryptoRng>(
        &mut self,
        party: PartyIndex,
        from: &NodeName,
        nonce: [u8; 32],
        theirs: Digest,
        rng: &mut R,
    ) -> Result<Vec<Action<Created>>, Trouble> {
        let Stage::Hello { hellos } = &mut self.stage else { return Ok(Vec::new()) };
        if theirs != context(&self.start, BTreeMap::new()).id().digest() {
            return Err(Trouble::Mismatch { stage: "hello" });
        }
        if hellos.insert(party, nonce).is_some() {
            let what = "second hello".into();
            return Err(Trouble::Violation { from: from.clone(), stage: "hello", what });
        }
        let spec = self.start.permit.spec();
        if hellos.len() < usize::from(spec.threshold.n()) {
            return Ok(Vec::new());
        }
        let echo = wire::echo(hellos);
        let session = context(&self.start, std::mem::take(hellos)).id();
        let (machine, out) = Keygen::start(spec.scheme, spec.threshold, self.start.members.me(), session, rng)
            .map_err(Trouble::Fault)?;
        self.stage = Stage::Rounds { echo, machine: Box::new(machine) };
        Ok(self.start.members.protocol(&echo, out))
    }

    fn round<R: CryptoRng>(
        &mut self,
        party: PartyIndex,
        their_echo: Digest,
        bytes: &[u8],
        rng: &mut R,
    ) -> Result<Vec<Action<Created>>, Trouble> {
        let Stage::Rounds { echo, machine } = &mut self.stage else { return Ok(Vec::new()) };
        if their_echo != *echo {
            return Err(Trouble::Mismatch { stage: "keygen" });
        }
        let echo = *echo;
        match machine.message(party, bytes, rng).map_err(Trouble::Fault)? {
            Progress::Wait(out) => Ok(self.start.members.protocol(&echo, out)),
            Progress::Done(out, output) => {
                let mut actions = self.start.members.protocol(&echo, out);
                let (record, share) = self.record(output).map_err(Trouble::Fault)?;
                let request = SealRequest {
                    id: SealingKeyId::of(&record.name, record.epoch, &record.request_id),
                    aad: record.share_aad(&self.start.boot.node),
                    share,
                };
                self.stage = Stage::Sealing { record: Box::new(record) };
                actions.push(Action::Seal(Box::new(request)));
                Ok(actions)
            }
        }
    }

    fn record(&self, output: KeygenOutput) -> Result<(KeyRecord, SecretBytes), Fault> {
        let intent = self.start.permit.intent();
        let spec = self.start.permit.spec();
        let record = KeyRecord {
            cluster: self.start.boot.cluster.clone(),
            name: intent.key.clone(),
            tenant: intent.tenant.clone(),
            request_id: intent.request_id,
            scheme: spec.scheme,
            purpose: spec.purpose,
            threshold: spec.threshold,
            epoch: Epoch(1),
            participants: self.start.members.names(),
            public_key: output.public_key,
            public_shares: output.public_shares,
            chain_code: output.chain_code,
            transcript: output.transcript,
        };
        Ok((record, output.share.to_bytes()?))
    }

    fn statement(
        &mut self,
        party: PartyIndex,
        from: &NodeName,
        bytes: &[u8],
        now: UnixMillis,
    ) -> Result<Vec<Action<Created>>, Trouble> {
        let Stage::Signing { record, statements } = &mut self.stage else { return Ok(Vec::new()) };
        let violation = |what: &str| Trouble::Violation { from: from.clone(), stage: "certify", what: what.into() };
        let statement = Statement::decode(bytes).map_err(|_| violation("malformed statement"))?;
        let (cert, body) =
            statement.open(KEY_TYPE, self.start.bundle.roster()).map_err(|e| violation(&e.to_string()))?;
        if cert.node != *from {
            return Err(violation("the statement is not the sender's own"));
        }
        if body != record.to_bytes() {
            return Err(Trouble::Mismatch { stage: "certify" });
        }
        if statements.insert(party, statement).is_some() {
            return Err(violation("second statement"));
        }
        if statements.len() < usize::from(record.threshold.n()) {
            return Ok(Vec::new());
        }
        let certificate = KeyCertificate { statements: std::mem::take(statements).into_values().collect() };
        let created = Created { record: (**record).clone(), certificate };
        let step = activate_step(&created, &self.start.boot, now);
        let id = self.persist_id();
        self.stage = Stage::PersistingActive { id, created: Box::new(created) };
        Ok(vec![Action::Persist { id, step }])
    }

    fn persisted(&mut self, done: PersistId) -> Vec<Action<Created>> {
        match std::mem::replace(&mut self.stage, Stage::Ended) {
            Stage::PersistingPending { id, record } if id == done => {
                let own = record.sign(self.start.boot.key(), self.start.boot.cert());
                let bytes = Message::Statement(own.encode_to_vec()).encode();
                let statements = BTreeMap::from([(self.start.members.me(), own)]);
                self.stage = Stage::Signing { record, statements };
                self.start.members.to_all(&bytes)
            }
            Stage::PersistingActive { id, created } if id == done => vec![Action::Done(*created)],
            other => {
                self.stage = other;
                Vec::new()
            }
        }
    }

    fn persist_id(&mut self) -> PersistId {
        self.next_persist += 1;
        PersistId(self.next_persist)
    }
}

/// The step that makes a certified key active, with its leaf; also for a node that learns of the certificate later.
pub fn activate_step(created: &Created, boot: &BootIdentity, now: UnixMillis) -> Step {
    let record = &created.record;
    let writes = vec![
        Write::ActivateKey {
            name: record.name.clone(),
            record: record.to_bytes(),
            certificate: created.certificate.encode_to_vec(),
            at: now,
        },
        Write::Complete {
            tenant: record.tenant.clone(),
            request: record.request_id,
            result: record.to_bytes(),
            at: now,
        },
    ];
    let leaf = boot.leaf(now, What::KeyActive { certificate: created.certificate.clone() });
    Step { writes, leaves: vec![leaf] }
}

/// The message that tells the other members that this node has left.
pub fn abort_message(failure: &Failure) -> Vec<u8> {
    Message::Abort(failure.refusal.reason.as_str().into()).encode()
}

fn context(start: &Start, nonces: BTreeMap<PartyIndex, [u8; 32]>) -> SessionContext {
    let intent = start.permit.intent();
    let spec = start.permit.spec();
    SessionContext {
        protocol: Protocol::Keygen,
        scheme: spec.scheme,
        cluster: start.boot.cluster.clone(),
        key: intent.key.clone(),
        epoch: Epoch(1),
        threshold: spec.threshold,
        parties: start.members.pairs(),
        tenant: intent.tenant.clone(),
        request: intent.request_id,
        attempt: Attempt(1),
        digest: start.permit.opened().digest(),
        path: DerivationPath::default(),
        bundle: start.permit.bundle(),
        nonces,
    }
}
