//! Leading a signature: admit, find out what earlier attempts left, choose S, propose, take part, tell everyone.

mod assemble;
mod voters;

use crate::approve;
use crate::deadline;
use crate::decisions;
use crate::drive::{Failed, Machine as _, check_id, drive};
use crate::lead_hsm;
use crate::limits::{self, Unplaced};
use crate::node::{Node, fresh_rng, now};
use crate::recover::{self, Known};
use crate::sessions::SessionKey;
use crate::signed::Part;
use crate::stages::Stages;
use crate::standing;
pub(crate) use assemble::of_the_node;
use assemble::{Assembled, Shunned, Try, assemble};
use prost::Message as _;
use rand::RngExt as _;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tally_audit::event::Origin;
use tally_domain::dsse::Envelope;
use tally_domain::ports::store::{AttemptState, Step, Write};
use tally_domain::{Attempt, ClientId, NodeName, Reason, Refusal, Scheme};
use tally_signer::admit::{self, Opened, Permit, Subject};
use tally_signer::claims::{NoRoom, Placer, claim};
use tally_signer::freeze::unless_frozen;
use tally_signer::recovery::Next;
use tally_signer::result::{SignResult, check, complete_step};
use tally_signer::session::Members;
use tally_signer::sign_session::{SignSession, Start};

/// Longest time for one call, all attempts included.
const SIGN_DEADLINE: Duration = Duration::from_secs(20);

/// Attempts in one call: each burns at most one vote per signer, and a set of nodes that fails three times is not well.
const ATTEMPTS_MAX: u32 = 3;

/// Tries against another leader of the same request, with a random pause between.
const CONTENTION_TRIES_MAX: u32 = 8;
const CONTENTION_PAUSE_MS: std::ops::Range<u64> = 20..160;

/// Signs for a client; gives the result's bytes, the same for the same intent for ever.
///
/// # Errors
/// A [`Refusal`].
pub async fn sign(node: &Arc<Node>, caller: ClientId, envelope: Envelope) -> Result<Vec<u8>, Refusal> {
    let (opened, origin) = decisions::opened(node, caller, envelope).await?;
    resume(node, opened, origin).await
}

/// Signs what persons have approved, for a client that may be gone.
///
/// # Errors
/// A [`Refusal`].
pub async fn resume(node: &Arc<Node>, opened: Opened, origin: Origin) -> Result<Vec<u8>, Refusal> {
    let work = async {
        match node.hsm_keys.get(&opened.intent().key) {
            Some(held) => lead_hsm::sign(node, opened, origin, held).await,
            None => {
                node.check_signer()?;
                lead(node, opened, origin).await
            }
        }
    };
    tokio::time::timeout(SIGN_DEADLINE, work).await.unwrap_or(Err(Reason::Deadline.into()))
}

async fn lead(node: &Arc<Node>, opened: Opened, origin: Origin) -> Result<Vec<u8>, Refusal> {
    let mut permit = None;
    for _ in 0..CONTENTION_TRIES_MAX {
        let intent = opened.intent();
        let guard = node.inflight.take(&intent.tenant, intent.request_id).await;
        deadline::check()?;
        match recover::completed(node, &opened) {
            Ok(Some(bytes)) => return Ok(bytes),
            Ok(None) => {}
            Err(refusal) => return Err(decisions::refused(node, &opened, origin, refusal).await),
        }
        // A frozen key does not even finish what was begun; admission says so to the caller.
        if node.freezes.known().check(&intent.key).is_ok()
            && let Some(bytes) = unfinished(node, &opened).await?
        {
            return Ok(bytes);
        }
        let permitted = match permit.take() {
            Some(permit) => permit,
            None => admitted(node, &opened, origin.clone()).await?,
        };
        let mut placer = limits::placer(node, &permitted);
        match attempts(node, &permitted, &origin, &mut placer).await {
            Err(refusal) if refusal.reason == Reason::Contention => permit = Some(permitted),
            Err(refusal) if refusal.reason == Reason::VelocityLimit => {
                let (by, charges) = (limits::claimant(permitted.subject()), permitted.charges());
                let lines = standing::full(node, &by, charges, &placer, &refusal);
                return Err(decisions::refused_on(node, &opened, origin, refusal, lines).await);
            }
            Err(refusal) if refusal.reason == Reason::RequestIdConflict => {
                // Others have the id for another intent, which may have its result: this node, which has not voted,
                // must not stand in its way.
                let unclaim = Write::Unclaim { tenant: intent.tenant.clone(), request: intent.request_id };
                node.commit(Step { writes: vec![unclaim], leaves: Vec::new() }).await?;
                return Err(refusal);
            }
            outcome => return outcome,
        }
        drop(guard);
        let pause = fresh_rng().random_range(CONTENTION_PAUSE_MS);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    Err(Reason::Contention.into())
}

/// The result of an earlier attempt that this node released in, if it can be had now: whatever time or policy say today,
/// the signature exists.
async fn unfinished(node: &Arc<Node>, opened: &Opened) -> Result<Option<Vec<u8>>, Refusal> {
    let intent = opened.intent();
    let attempts = node.store.attempts(&intent.tenant, &intent.request_id).map_err(|e| crate::reply::of_store(&e))?;
    if !attempts.iter().any(|a| matches!(a.state, AttemptState::Released { .. })) {
        return Ok(None);
    }
    let held = node.keys.get(&intent.key);
    let subject = admit::subject(opened.clone(), held.as_ref().map(|h| (&*h.record, h.state)))?;
    match recover::gather(node, &subject, &BTreeSet::new()).await? {
        Known::Completed(bytes) => adopt(node, &subject, bytes).await.map(Some),
        Known::Next(Next::Combine { vote, certificate, partials }) => {
            match recover::combine(&subject, &vote, certificate, &partials) {
                Ok(result) => finish(node, &subject, &result).await.map(Some),
                Err(_) => Ok(None),
            }
        }
        Known::Next(Next::Start { .. } | Next::InDoubt { .. }) => Ok(None),
    }
}

/// Decides here, and writes it down.
async fn admitted(node: &Arc<Node>, opened: &Opened, origin: Origin) -> Result<Permit, Refusal> {
    let _stage = Stages::begin(&node.metrics, SignSession::NAME, "admit");
    let held = node.keys.get(&opened.intent().key);
    let key = held.as_ref().map(|h| (&*h.record, h.state));
    let bundle = node.bundle();
    let decide = |opened: Opened| {
        let charges = |subject: &Subject| limits::charges(&bundle, subject);
        admit::admit_sign(opened, key, &node.freezes.known(), &bundle, now(), charges)
    };
    match approve::decided(node, opened, decide).await {
        Ok(permit) => {
            let summary = tally_policy::summary(&bundle, permit.subject().facts());
            let stood = || standing::stood(node, &limits::claimant(permit.subject()), permit.charges());
            let named = limits::names(node, &permit);
            decisions::permitted_on(node, opened, origin, permit.rule(), &summary, named, stood).await?;
            Ok(permit)
        }
        Err(refusal) => Err(approve::refused(node, opened, origin, refusal).await),
    }
}

/// Whether anything new may be begun: somebody waits for it, and neither rules nor freezes have changed.
fn may_go_on(node: &Node, permit: &Permit) -> Result<(), Refusal> {
    deadline::check()?;
    if node.bundle().digest() != permit.bundle() {
        return Err(Reason::BundleMismatch.into());
    }
    node.freezes.known().check(&permit.subject().intent().key)
}

/// One attempt after another, until there is a result, a refusal, or no further signer set to try.
async fn attempts(node: &Arc<Node>, permit: &Permit, origin: &Origin, placer: &mut Placer) -> Result<Vec<u8>, Refusal> {
    let subject = permit.subject();
    let intent = subject.intent();
    let mut shunned = Shunned::default();
    let mut last: Option<Refusal> = None;
    let mut away: Option<Refusal> = None;
    let mut hopeless = BTreeSet::new();
    let mut fresh =
        node.store.attempts(&intent.tenant, &intent.request_id).map_err(|e| crate::reply::of_store(&e))?.is_empty();
    let mut tried = 0;
    while tried < ATTEMPTS_MAX {
        may_go_on(node, permit)?;
        let plan = if fresh {
            Known::Next(Next::Start { attempt: Attempt(1), abandonments: Vec::new() })
        } else {
            recover::gather(node, subject, &hopeless).await?
        };
        match plan {
            Known::Completed(bytes) => return adopt(node, subject, bytes).await,
            Known::Next(Next::InDoubt { attempt, missing }) => return Err(in_doubt(attempt, &missing)),
            Known::Next(Next::Combine { vote, certificate, partials }) => {
                match recover::combine(subject, &vote, certificate, &partials) {
                    Ok(result) => return finish(node, subject, &result).await,
                    Err(refusal) => {
                        // One of the partials is no good, and honest members have no other: it will never complete.
                        tracing::warn!(attempt = vote.attempt.0, %refusal, "stored partials make no signature");
                        hopeless.insert(vote.attempt);
                        shunned.suspect(&vote.signers);
                    }
                }
            }
            Known::Next(Next::Start { attempt, abandonments }) => {
                if let Some(away) = away {
                    return Err(away);
                }
                let this = Try { attempt, abandonments: &abandonments };
                match attempt_once(node, permit, origin, &this, &mut shunned, placer).await {
                    Ok(result) => return Ok(told(node, subject, &result)),
                    Err(Outcome::Completed(bytes)) => return adopt(node, subject, bytes).await,
                    Err(Outcome::Prior) => fresh = false,
                    // What finds no room now may have had it before: others may know of an attempt, or of the result.
                    Err(Outcome::NoRoom(_)) if fresh => fresh = false,
                    Err(Outcome::Away(refusal)) if fresh => (fresh, away) = (false, Some(refusal)),
                    Err(Outcome::Away(refusal)) => return Err(refusal),
                    Err(Outcome::NoRoom(full)) => return Err(no_room(node, permit, full)?),
                    Err(Outcome::Met) => last = Some(Reason::Contention.into()),
                    Err(Outcome::Refused(refusal)) => return Err(with_earlier(refusal, last)),
                    Err(Outcome::Failed(failed)) => {
                        // Without a vote the attempt's number is still free, but a peer may have voted for it.
                        fresh = false;
                        placer.met(&failed.in_the_way);
                        if voters_are_away(&failed.refusal) {
                            return Err(failed.refusal);
                        }
                        shunned.excluded.extend(failed.left_out);
                        shunned.suspect(&failed.members);
                        last = Some(failed.refusal);
                    }
                }
                tried += 1;
            }
        }
    }
    Err(last.unwrap_or_else(|| Reason::SessionAborted.into()))
}

/// How an attempt ended without a result.
enum Outcome {
    /// A peer has the result already.
    Completed(Vec<u8>),
    /// A peer knows of an earlier attempt.
    Prior,
    /// A limit has no room, as far as this node knows.
    NoRoom(NoRoom),
    /// Too few voters are there to agree that a limit has room.
    Away(Refusal),
    /// Other requests' claims were in the way; there may be room elsewhere.
    Met,
    /// No further try will help.
    Refused(Refusal),
    /// The session failed.
    Failed(Failed),
}

impl From<Refusal> for Outcome {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

async fn attempt_once(
    node: &Arc<Node>,
    permit: &Permit,
    origin: &Origin,
    this: &Try<'_>,
    shunned: &mut Shunned,
    placer: &mut Placer,
) -> Result<SignResult, Outcome> {
    voters::enough(node, permit).await.map_err(Outcome::Away)?;
    let (claims, _hold) = limits::place(node, permit.subject(), placer)?.map_err(|unplaced| match unplaced {
        Unplaced::Full(no_room) => Outcome::NoRoom(no_room),
        Unplaced::Held => Outcome::Refused(Reason::Contention.into()),
    })?;
    found_room(node, permit, origin).await?;
    let stage = Stages::begin(&node.metrics, SignSession::NAME, "propose");
    let Assembled { seat, members, signers } = assemble(node, permit, claims.as_ref(), this, shunned, placer).await?;
    let claimed = claim(permit.clone(), claims, now()).map_err(Refusal::from)?;
    let record = permit.subject().record();
    let share = node.keys.share(record, node.name(), &*node.store, &*node.hsm).await?;
    if record.scheme == Scheme::EcdsaSecp256k1 {
        let pending = pending_check(node, permit, seat.key, &members);
        node.commit(Step { writes: vec![pending], leaves: Vec::new() }).await?;
    }
    let me = members.me().get();
    let names = members.names();
    let start = Start {
        claimed,
        share,
        boot: node.boot.clone(),
        bundle: node.bundle(),
        members,
        signers,
        attempt: this.attempt,
        leader: node.name().clone(),
    };
    drop(stage);
    let (session, actions) = SignSession::start(start, &mut fresh_rng());
    drive(node, seat, me, names, session, actions).await.map_err(Outcome::Failed)
}

fn no_room(node: &Node, permit: &Permit, full: NoRoom) -> Result<Refusal, Refusal> {
    limits::full(node, &limits::claimant(permit.subject()), permit.charges(), full)
}

/// Writes down that there is room, if the last that the log says is that there was none.
async fn found_room(node: &Arc<Node>, permit: &Permit, origin: &Origin) -> Result<(), Refusal> {
    let subject = permit.subject();
    let summary = || tally_policy::summary(&node.bundle(), subject.facts());
    let stood = || standing::stood(node, &limits::claimant(subject), permit.charges());
    decisions::found_room(node, subject.opened(), origin, permit.rule(), summary, stood).await
}

/// Believes a result that a peer has, after checking it, and keeps it.
async fn adopt(node: &Arc<Node>, subject: &Subject, bytes: Vec<u8>) -> Result<Vec<u8>, Refusal> {
    let result = check(&bytes, subject, node.bundle().roster())?;
    node.commit(complete_step(subject, &result, &node.boot, now())).await?;
    node.note_signed(&subject.intent().key, Part::Heard);
    Ok(bytes)
}

/// Keeps a result that was combined from stored partials, unless the key is frozen by then, and tells everyone.
async fn finish(node: &Arc<Node>, subject: &Subject, result: &SignResult) -> Result<Vec<u8>, Refusal> {
    node.commit(unless_frozen(complete_step(subject, result, &node.boot, now()), &subject.intent().key)).await?;
    Ok(told(node, subject, result))
}

/// Tells every other share-holder of the result, in the background; each checks it for itself.
fn told(node: &Arc<Node>, subject: &Subject, result: &SignResult) -> Vec<u8> {
    let bytes = result.encode_to_vec();
    node.note_signed(&subject.intent().key, Part::Led);
    // Nobody asks a witness for a result, unless it has heard that persons are to approve.
    approve::tell_result(node, subject.opened(), &bytes);
    bytes
}

/// The mark that peers' messages are about to be checked (S-3.16).
pub fn pending_check(node: &Node, permit: &Permit, key: SessionKey, members: &Members) -> Write {
    let record = permit.subject().record();
    Write::CheckPending {
        session: check_id(key),
        key: record.name.clone(),
        epoch: record.epoch,
        peers: members.names().into_iter().filter(|n| n != node.name()).collect(),
    }
}

fn in_doubt(attempt: Attempt, missing: &[NodeName]) -> Refusal {
    let names: Vec<_> = missing.iter().map(NodeName::as_str).collect();
    Refusal::new(Reason::InDoubt).with("attempt", attempt.0.to_string()).with("node", names.join(","))
}

/// Whether a quorum was not to be had because voters do not answer: the next round would wait for the same ones. Whoever
/// asks again, with the same id, begins it. A voter that is there and cannot vote yet may a moment later.
fn voters_are_away(refusal: &Refusal) -> bool {
    let said = refusal.metadata.get("detail").and_then(|word| Reason::parse(word));
    let unready = [Reason::KeyNotFound, Reason::KeyNotActive, Reason::BundleMismatch, Reason::Overloaded];
    refusal.reason == Reason::Voters && !said.is_some_and(|reason| unready.contains(&reason))
}

/// What the node that an earlier attempt names was to it.
fn of_whom(reason: Reason) -> &'static str {
    match reason {
        Reason::ProtocolViolation | Reason::PeerBanned => "culprit",
        _ => "missing",
    }
}

/// When no signer set is left, what went wrong before says more than that none is left.
fn with_earlier(refusal: Refusal, earlier: Option<Refusal>) -> Refusal {
    match earlier {
        Some(earlier) if refusal.reason == Reason::Signers => refusal
            .with("earlier", earlier.reason.as_str())
            .with(of_whom(earlier.reason), earlier.metadata.get("node").cloned().unwrap_or_default()),
        _ => refusal,
    }
}
