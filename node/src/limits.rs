//! Limits at this node: what a request takes of them, where there may be room, and the votes of voters outside S.

use crate::convert;
use crate::decisions;
use crate::home_claims;
use crate::lead_sign::of_the_node;
use crate::node::{Node, fresh_rng, now};
use crate::participate;
use crate::recover;
use crate::reply;
use crate::sessions::Inbound;
use std::sync::Arc;
use tally_audit::event::Origin;
use tally_domain::claim::Claimant;
use tally_domain::dsse::Envelope;
use tally_domain::key::{KeyRecord, KeyState};
use tally_domain::vote::VoteBody;
use tally_domain::{Charge, Claims, Digest, Interval, KeyName, LineId, NodeName, Reason, Refusal};
use tally_policy::{Bundle, DecisionRequest, PolicyAction};
use tally_proto::v1;
use tally_signer::admit::{Subject, admit_sign};
use tally_signer::claims::{self, InTheWay, NoRoom, Placer};
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

/// Claims on all lines that a request is charged on, by what this node remembers and `placer` has heard.
///
/// # Errors
/// [`NoRoom`]; `STORAGE`.
pub fn place(node: &Node, subject: &Subject, placer: &mut Placer) -> Result<Result<Option<Claims>, NoRoom>, Refusal> {
    place_for(node, &claimant(subject), placer)
}

/// The same for whoever claims.
///
/// # Errors
/// [`NoRoom`]; `STORAGE`.
pub fn place_for(node: &Node, by: &Claimant, placer: &mut Placer) -> Result<Result<Option<Claims>, NoRoom>, Refusal> {
    let at = now();
    for (line, window_ms) in placer.lines() {
        let memory = node.store.line(&line).map_err(|e| reply::of_store(&e))?;
        placer.remember(line, memory.taken(by, at, window_ms), memory.own(by));
    }
    Ok(placer.place(at, &mut fresh_rng()))
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
        let memory = node.store.line(&claim.line()).map_err(|e| reply::of_store(&e))?;
        found.extend(claims::in_the_way(by, claim, claims.issued_at(), &memory)?);
    }
    Ok(found)
}

/// Asks voters outside S, each in a task of its own; what they answer comes to the session's inbox.
pub fn canvass(
    node: &Arc<Node>,
    inbox: &mpsc::Sender<Inbound>,
    voters: Vec<NodeName>,
    envelope: &Envelope,
    body: &[u8],
) {
    let request = v1::VoteRequest {
        intent: Some(convert::envelope_out(envelope)),
        vote: body.to_vec(),
        bundle_digest: node.bundle.digest().0.to_vec(),
        told: None,
    };
    ask(node, inbox, voters, &request);
}

/// Asks voters, each in a task of its own.
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
    let opened = participate::open(node, request.intent, &origin).await?;
    let asked =
        VoteBody::from_bytes(&request.vote).map_err(|_| Refusal::new(Reason::Malformed).with("field", "vote"))?;
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
    let charges = |subject: &Subject| charges(&node.bundle, subject);
    let admitted = admit_sign(opened.clone(), key, &node.freezes.known(), &node.bundle, now(), charges);
    let admitted = admitted.and_then(|permit| claims::concur(permit, asked, now()));
    let concurring = match admitted {
        Ok(concurring) => concurring,
        Err(refusal) => return Err(decisions::refused(node, &opened, origin, refusal).await),
    };
    let subject = concurring.permit().subject();
    let found = in_the_way(node, subject, concurring.body().claims.as_ref())?;
    if !found.is_empty() {
        return Ok(v1::VoteResponse { vote: None, in_the_way: in_the_way_out(&found) });
    }
    let summary = tally_policy::summary(&node.bundle, subject.facts());
    decisions::permitted(node, &opened, origin, concurring.permit().rule(), &summary, Vec::new()).await?;
    let (vote, step) = concurring.vote(&node.boot, now());
    node.commit(unless_frozen(step, &intent.key)).await?;
    Ok(v1::VoteResponse { vote: Some(convert::statement_out(&vote)), in_the_way: Vec::new() })
}

/// The key that an intent names. A witness holds no share of any: it asks the leader for the certificate, which it checks.
async fn known_key(node: &Arc<Node>, leader: &NodeName, name: &KeyName) -> Option<(Arc<KeyRecord>, KeyState)> {
    if let Some(held) = node.keys.get(name) {
        return Some((held.record, held.state));
    }
    let request = v1::FetchKeyRequest { name: name.to_string() };
    let answer = node.peers.call(leader, |mut p| async move { p.fetch_key(request).await }).await.ok()?;
    let record = convert::key_certificate_in(answer.certificate).open(node.bundle.roster()).ok()?;
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

fn claimant(subject: &Subject) -> Claimant {
    let intent = subject.intent();
    Claimant { tenant: intent.tenant.clone(), request: intent.request_id }
}
