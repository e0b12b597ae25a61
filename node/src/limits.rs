//! Limits at this node: what a request takes of them, where there may be room, and the votes of voters outside S.

use crate::approve;
use crate::convert;
use crate::decisions;
use crate::failpoint::{Moment, Place};
use crate::holds::Hold;
use crate::home_claims;
use crate::lead_sign::of_the_node;
use crate::node::{Node, fresh_rng, now};
use crate::participate;
use crate::recover;
use crate::reply;
use crate::sessions::Inbound;
use crate::standing;
use rand::rngs::StdRng;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use tally_audit::event::Origin;
use tally_domain::claim::{Claimant, LineMemory};
use tally_domain::dsse::Envelope;
use tally_domain::key::{KeyRecord, KeyState};
use tally_domain::ports::store::Write;
use tally_domain::vote::VoteBody;
use tally_domain::{Charge, Claims, Digest, Interval, KeyName, LineId, NodeName, Reason, Refusal};
use tally_policy::{Bundle, DecisionRequest, PolicyAction};
use tally_proto::v1;
use tally_signer::admit::{Permit, Subject, admit_sign};
use tally_signer::approval::unless_rejected;
use tally_signer::claims::{self, HomeWork, InTheWay, NoRoom, Part, Placer, Room, Search};
use tally_signer::freeze::unless_frozen;
use tokio::sync::mpsc;

/// What signing takes of the bundle's limits.
///
/// # Errors
/// `VELOCITY_LIMIT` when a limit would never allow it, however much of it is left.
pub fn charges(bundle: &Bundle, subject: &Subject) -> Result<Vec<Charge>, Refusal> {
    let intent = subject.intent();
    let action = PolicyAction::Sign(subject.facts());
    let request = DecisionRequest { client: &intent.client, key: &intent.key, action };
    tally_policy::charges(bundle, &request).map_err(|over| {
        Refusal::new(Reason::VelocityLimit).with("limit", over.limit().as_str()).with("detail", over.to_string())
    })
}

/// Words of the lines that a request is charged on, unless this start of the node has kept them already.
pub fn names(node: &Node, permit: &Permit) -> Vec<Write> {
    if permit.charges().iter().all(|charge| node.named_lines.has(&charge.line)) {
        return Vec::new();
    }
    let subject = permit.subject();
    let intent = subject.intent();
    let action = PolicyAction::Sign(subject.facts());
    let request = DecisionRequest { client: &intent.client, key: &intent.key, action };
    let mut named = tally_policy::lines(&node.bundle(), &request);
    named.retain(|named| node.named_lines.note(named.line));
    named.into_iter().map(Write::NameLine).collect()
}

/// The same of what this node or another does alone.
pub fn names_of(node: &Node, work: &HomeWork) -> Vec<Write> {
    let new = work.lines().iter().filter(|named| node.named_lines.note(named.line));
    new.cloned().map(Write::NameLine).collect()
}

/// Lines whose words have been kept since the start; a few for each limit, or as many as there are destinations.
#[derive(Default)]
pub struct NamedLines(Mutex<BTreeSet<LineId>>);

/// Most lines to remember; after that the words are written once more, which changes nothing.
const NAMED_MAX: usize = 10_000;

impl NamedLines {
    fn has(&self, line: &LineId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(line)
    }

    fn note(&self, line: LineId) -> bool {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() >= NAMED_MAX {
            lines.clear();
        }
        lines.insert(line)
    }
}

/// Claims as a proposal carries them.
///
/// # Errors
/// `MALFORMED`.
pub fn claims_in(bytes: &[u8]) -> Result<Option<Claims>, Refusal> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let malformed = |_| Refusal::new(Reason::Malformed).with("field", "claims");
    Claims::from_bytes(bytes).map(Some).map_err(malformed)
}

/// A search for room that begins with this node's part of each line.
pub fn placer(node: &Node, permit: &Permit) -> Placer {
    let record = permit.subject().record();
    let number = record.party(node.name()).map_or(0, |party| party.get().saturating_sub(1));
    Placer::new(permit.charges()).beginning_with(Part { number, of: record.threshold.n() })
}

/// Why there are no claims now.
pub enum Unplaced {
    /// A line is full, as far as this node knows.
    Full(NoRoom),
    /// What is left is held by sessions that may yet give it back.
    Held,
}

/// Claims on all lines that a request is charged on, by what this node remembers and `placer` has heard, held until the
/// session is over.
///
/// # Errors
/// [`Unplaced`]; `STORAGE`.
pub fn place(
    node: &Node,
    subject: &Subject,
    placer: &Placer,
) -> Result<Result<(Option<Claims>, Hold), Unplaced>, Refusal> {
    let by = claimant(subject);
    // A line that nobody has looked at yet is read before all others are kept from the holds.
    placer.charges().try_for_each(|charge| look(node, charge.line, |_| ()))?;
    let mut refused = None;
    let placed = node.holds.place(&by, |others| {
        let placed = search(node, &by, placer, |line| others.of(line).collect());
        placed.map_err(|refusal| refused = Some(refusal)).ok()?.ok()
    });
    match (placed, refused) {
        (Some(placed), _) => Ok(Ok(placed)),
        (None, Some(refusal)) => Err(refusal),
        (None, None) => Ok(Err(match place_for(node, &by, placer)? {
            Ok(_) => Unplaced::Held,
            Err(full) => Unplaced::Full(full),
        })),
    }
}

/// Claims of this node's own work, by what it remembers and `placer` has heard. Nothing is held: its own searches take
/// turns.
///
/// # Errors
/// [`NoRoom`]; `STORAGE`.
pub fn place_for(node: &Node, by: &Claimant, placer: &Placer) -> Result<Result<Option<Claims>, NoRoom>, Refusal> {
    search(node, by, placer, |_| Vec::new())
}

fn search(
    node: &Node,
    by: &Claimant,
    placer: &Placer,
    held: impl Fn(LineId) -> Vec<Interval>,
) -> Result<Result<Option<Claims>, NoRoom>, Refusal> {
    let at = now();
    let see = |search: &Search<'_>, rng: &mut StdRng| {
        let held = held(search.charge.line).into_iter();
        let see = |memory: &LineMemory, room: &mut Room| room.see(memory, by, search, held, rng);
        node.lines.room(&*node.store, search.charge, at, see).map_err(|e| reply::of_store(&e))
    };
    placer.place(see, at, &mut fresh_rng())
}

/// Holds a leader's claims until the session is over, unless another request holds a part of them.
///
/// # Errors
/// `CONTENTION`.
pub fn hold(node: &Node, subject: &Subject, claims: Option<&Claims>) -> Result<Hold, Refusal> {
    node.holds.take(&claimant(subject), claims).ok_or_else(|| Reason::Contention.into())
}

/// A full line as the caller is told of it: which limit, and in how many seconds there is room for what was asked, if
/// nothing else takes it and as far as this node remembers; or how long it takes at least, if very much has to come free.
///
/// # Errors
/// `STORAGE`.
pub fn full(node: &Node, by: &Claimant, charges: &[Charge], full: NoRoom) -> Result<Refusal, Refusal> {
    let at = now();
    let mut room_at = at;
    for charge in charges {
        let when = |memory: &LineMemory, room: &mut Room| room.room_at(memory, by, charge);
        let when = node.lines.room(&*node.store, charge, at, when).map_err(|e| reply::of_store(&e))?;
        room_at = room_at.max(when);
    }
    let seconds = room_at.0.saturating_sub(at.0).div_ceil(1_000);
    let refusal = Refusal::from(full);
    // What others have said they hold is not in this node's memory, which cannot tell when that comes free.
    Ok(if seconds == 0 { refusal } else { refusal.with("room_in_s", seconds.to_string()) })
}

/// What this node remembers that is in the way of claims.
///
/// # Errors
/// `STORAGE`; `CLOCK_SKEW` or `VELOCITY_LIMIT` when no other place would do either.
pub fn in_the_way(node: &Node, subject: &Subject, claims: Option<&Claims>) -> Result<Vec<InTheWay>, Refusal> {
    claims.map_or(Ok(Vec::new()), |claims| in_the_way_of(node, &claimant(subject), claims))
}

/// The same for whoever claims.
///
/// # Errors
/// As [`in_the_way`].
pub fn in_the_way_of(node: &Node, by: &Claimant, claims: &Claims) -> Result<Vec<InTheWay>, Refusal> {
    let mut found = Vec::new();
    for claim in claims.lines() {
        let found_here = |memory: &LineMemory| claims::in_the_way(by, claim, claims.issued_at(), memory);
        found.extend(look(node, claim.line(), found_here)??);
    }
    Ok(found)
}

/// What a voter outside S is asked.
pub fn vote_request(node: &Node, envelope: &Envelope, approvals: &[Envelope], vote: Vec<u8>) -> v1::VoteRequest {
    v1::VoteRequest {
        intent: Some(convert::envelope_out(envelope)),
        vote,
        bundle_digest: node.bundle().digest().0.to_vec(),
        approvals: approvals.iter().map(convert::envelope_out).collect(),
        told: None,
    }
}

/// Asks voters, each in a task of its own; what they answer comes to the inbox.
pub fn ask(node: &Arc<Node>, inbox: &mpsc::Sender<Inbound>, voters: Vec<NodeName>, request: &v1::VoteRequest) {
    for voter in voters {
        let (node, inbox, request) = (node.clone(), inbox.clone(), request.clone());
        tokio::spawn(async move {
            let answer = node.peers.call(&voter, |mut p| async move { p.vote(request).await }).await;
            // The session may have ended meanwhile; then nobody has to know.
            let _ = inbox.send(answered(voter, answer)).await;
        });
    }
}

fn answered(voter: NodeName, answer: Result<v1::VoteResponse, Refusal>) -> Inbound {
    match answer {
        Ok(v1::VoteResponse { vote: Some(vote), .. }) => Inbound::Vote(convert::statement_in(vote)),
        Ok(v1::VoteResponse { vote: None, in_the_way }) => {
            Inbound::NoVote(voter, Reason::Contention.into(), in_the_way_in(&in_the_way))
        }
        Err(refusal) if of_the_node(refusal.reason) => {
            let why = Refusal::new(Reason::Voters).with("node", voter.as_str()).with("detail", refusal.reason.as_str());
            Inbound::NoVote(voter, why, Vec::new())
        }
        Err(refusal) => Inbound::NoVote(voter, refusal, Vec::new()),
    }
}

/// Answers a leader that asks for this node's vote without its signature: admits the request again, by itself.
///
/// # Errors
/// A [`Refusal`].
pub async fn vote(node: &Arc<Node>, leader: NodeName, request: v1::VoteRequest) -> Result<v1::VoteResponse, Refusal> {
    node.same_bundle(&leader, &request.bundle_digest)?;
    let origin = Origin::Peer(leader.clone());
    let said = convert::envelopes_in(request.approvals);
    let opened = participate::open(node, request.intent, &origin).await?.with_said(said);
    let asked =
        VoteBody::from_bytes(&request.vote).map_err(|_| Refusal::new(Reason::Malformed).with("field", "vote"))?;
    recover::check_possible(asked.attempt)?;
    let intent = opened.intent();
    tracing::Span::current().record("request", intent.request_id.to_string());
    let _guard = node.inflight.try_take(&intent.tenant, intent.request_id).ok_or(Reason::Contention)?;
    if recover::completed(node, &opened)?.is_some() {
        return Err(Reason::Contention.into());
    }
    if asked.home().is_some() {
        return home_claims::vote(node, &leader, &opened, &asked, request.told).await;
    }
    let held = known_key(node, &leader, &intent.key).await;
    let key = held.as_ref().map(|(record, state)| (&**record, *state));
    let bundle = node.bundle();
    let charges = |subject: &Subject| charges(&bundle, subject);
    let admitted = admit_sign(opened.clone(), key, &node.freezes.known(), &bundle, now(), charges);
    let admitted = admitted.and_then(|permit| claims::concur(permit, asked, node.name(), now()));
    let concurring = match admitted {
        Ok(concurring) => concurring,
        Err(refusal) => return Err(decisions::refused(node, &opened, origin, refusal).await),
    };
    let subject = concurring.permit().subject();
    let found = in_the_way(node, subject, concurring.body().claims.as_ref())?;
    if !found.is_empty() {
        return Ok(v1::VoteResponse { vote: None, in_the_way: in_the_way_out(&found) });
    }
    approve::adopt(node, &opened, concurring.permit().approvals()).await?;
    let summary = tally_policy::summary(&bundle, subject.facts());
    let (rule, also) = (concurring.permit().rule(), names(node, concurring.permit()));
    let (vote, step) = concurring.vote(&node.boot, now());
    // In one step with the decision: a voter waits for the disk once.
    let stood = || standing::stood(node, &claimant(subject), concurring.permit().charges());
    let mut whole = decisions::permit_step(node, &opened, origin.clone(), rule, &summary, also, stood);
    let rule = rule.to_owned();
    whole.writes.extend(step.writes);
    whole.leaves.extend(step.leaves);
    let place = Place::of(&whole);
    place.pass(Moment::Before);
    if let Err(conflict) = node.commit(unless_rejected(unless_frozen(whole, &intent.key), intent)).await {
        return Err(match conflict.reason {
            Reason::BundleMismatch => conflict,
            _ => decisions::unclaimed(node, &opened, origin, conflict).await,
        });
    }
    decisions::is_permitted(node, &opened, &rule);
    place.pass(Moment::After);
    Ok(v1::VoteResponse { vote: Some(convert::statement_out(&vote)), in_the_way: Vec::new() })
}

/// The key that an intent names. A witness holds no share of any: it asks the leader for the certificate, which it checks.
pub async fn known_key(node: &Arc<Node>, leader: &NodeName, name: &KeyName) -> Option<(Arc<KeyRecord>, KeyState)> {
    if let Some(held) = node.keys.get(name) {
        return Some((held.record, held.state));
    }
    let request = v1::FetchKeyRequest { name: name.to_string() };
    let answer = node.peers.call(leader, |mut p| async move { p.fetch_key(request).await }).await.ok()?;
    let record = convert::key_certificate_in(answer.certificate).open(node.bundle().roster()).ok()?;
    (record.name == *name).then(|| {
        node.keys.put(record.clone(), KeyState::Active);
        (Arc::new(record), KeyState::Active)
    })
}

/// What is in the way, on the wire.
pub fn in_the_way_out(found: &[InTheWay]) -> Vec<v1::InTheWay> {
    let piece = |i: &Interval| [i.from().to_be_bytes(), i.to().to_be_bytes()].concat();
    let one = |f: &InTheWay| v1::InTheWay { line: f.line.0.0.to_vec(), taken: f.taken.iter().map(piece).collect() };
    found.iter().map(one).collect()
}

/// What is in the way, as a voter says; a hint, so what does not read is left out.
pub fn in_the_way_in(found: &[v1::InTheWay]) -> Vec<InTheWay> {
    let number = |bytes: &[u8]| bytes.try_into().ok().map(u128::from_be_bytes);
    let piece = |bytes: &Vec<u8>| {
        let (from, to) = bytes.split_at_checked(16)?;
        Interval::new(number(from)?, number(to)?)
    };
    let one = |f: &v1::InTheWay| {
        let taken: Vec<_> = f.taken.iter().filter_map(piece).collect();
        Some(InTheWay { line: LineId(Digest::from_slice(&f.line)?), taken })
    };
    found.iter().filter_map(one).collect()
}

/// Looks at what this node remembers of a line.
///
/// # Errors
/// `STORAGE`.
pub fn look<T>(node: &Node, line: LineId, look: impl FnOnce(&LineMemory) -> T) -> Result<T, Refusal> {
    node.lines.look(&*node.store, line, look).map_err(|e| reply::of_store(&e))
}

/// Whose claims they are.
pub fn claimant(subject: &Subject) -> Claimant {
    let intent = subject.intent();
    Claimant { tenant: intent.tenant.clone(), request: intent.request_id }
}
