//! Limits on what one node does alone: with its HSM, for a client. Where a limit applies, the home holds a certificate of a
//! quorum's votes, written down, before it asks its token for anything; every other node votes on what it decides itself.

use crate::approve;
use crate::convert;
use crate::decisions;
use crate::lead_hsm::commit;
use crate::limits;
use crate::node::{Node, fresh_rng, now};
use crate::reply;
use crate::sessions::Inbound;
use crate::standing;
use rand::RngExt as _;
use std::sync::Arc;
use std::time::Duration;
use tally_audit::event::Origin;
use tally_domain::boot::Statement;
use tally_domain::dsse::Envelope;
use tally_domain::token::DomainState;
use tally_domain::vote::VoteBody;
use tally_domain::wrap::WrapKind;
use tally_domain::{Action, Attempt, KekNumber, NodeName, Reason, Refusal};
use tally_proto::v1;
use tally_signer::admit::Opened;
use tally_signer::approval::unless_rejected;
use tally_signer::claims::{Cleared, HomeBallot, HomeClaim, HomeWork, InTheWay, Part, Placer};
use tally_signer::freeze::unless_frozen;
use tally_signer::hsm_sign::admit_hsm_sign;
use tally_signer::tokens::{self, DomainView, admit_token};
use tally_signer::veto::while_active;
use tally_signer::wrap::{ToldByHome, admit_elsewhere, describe};
use tokio::sync::mpsc;

/// Tries of one call: as often as other pieces of a line may be claimed, and once more with those that were claimed last.
const TRIES_MAX: u32 = 4;

/// Pause after a collision, in which the others come to their end.
const PAUSE_MS: std::ops::Range<u64> = 20..160;

/// Leave of all limits that apply to what this node is about to do alone; at once where none does. It is good for what
/// comes next: whatever takes time comes before. The request's id must be taken for the intent, and its permit be
/// written down, before voters are asked.
///
/// # Errors
/// `VELOCITY_LIMIT` with the limit when there is no room, `VOTERS` when too few nodes can be reached, `CONTENTION` when
/// others were faster every time, or why a voter will not vote.
pub async fn certify(
    node: &Arc<Node>,
    opened: &Opened,
    work: &HomeWork,
    told: Option<ToldByHome>,
) -> Result<Cleared, Refusal> {
    if let Some(leave) = work.uncharged() {
        return Ok(leave);
    }
    let mut placer = placer(node, work);
    let mut last = Refusal::from(Reason::Contention);
    for _ in 0..TRIES_MAX {
        let outcome = match claimed(node, opened, work, &placer).await {
            Ok((claim, own)) => canvassed(node, opened, claim, own, work.approvals(), told).await?,
            // A session that this node leads was faster.
            Err(refusal) if refusal.reason == Reason::Contention => Outcome::Later(refusal),
            Err(refusal) => return Err(refusal),
        };
        match outcome {
            Outcome::Cleared(leave) => return Ok(leave),
            Outcome::Met(found) => placer.met(&found),
            Outcome::Later(why) => last = why,
        }
        let pause = fresh_rng().random_range(PAUSE_MS);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    Err(last)
}

/// A search for room that begins with this node's part of each line. Two homes that began at the same end would each vote
/// for the same pieces, of which then neither gets any.
fn placer(node: &Node, work: &HomeWork) -> Placer {
    let bundle = node.bundle();
    let nodes = &bundle.roster().nodes;
    let number = nodes.iter().position(|n| n.name == *node.name()).unwrap_or(0);
    let [number, of] = [number, nodes.len()].map(|n| u8::try_from(n).unwrap_or(u8::MAX));
    Placer::new(work.charges()).beginning_with(Part { number, of })
}

/// Writes down that a limit has no room; what else keeps votes away passes, and is no decision.
pub async fn refused(node: &Arc<Node>, opened: &Opened, origin: Origin, refusal: Refusal, work: &HomeWork) -> Refusal {
    match refusal.reason {
        Reason::VelocityLimit => {
            let lines = standing::full_here(node, &work.claimant(), work.charges(), &refusal);
            decisions::refused_on(node, opened, origin, refusal, lines).await
        }
        Reason::Frozen => decisions::refused(node, opened, origin, refusal).await,
        _ => refusal,
    }
}

/// Writes down that it is permitted, before voters are asked, and how the lines stand.
///
/// # Errors
/// As [`decisions::permitted`].
pub async fn permitted(
    node: &Arc<Node>,
    opened: &Opened,
    origin: Origin,
    work: &HomeWork,
    summary: &str,
) -> Result<(), Refusal> {
    let stood = || standing::stood(node, &work.claimant(), work.charges());
    decisions::permitted_on(node, opened, origin, &work.task().rule, summary, Vec::new(), stood).await
}

/// Writes down that there was room, if the last that the log says is that there was none.
///
/// # Errors
/// `STORAGE`.
pub async fn found_room(
    node: &Arc<Node>,
    opened: &Opened,
    origin: &Origin,
    work: &HomeWork,
    summary: &str,
) -> Result<(), Refusal> {
    let stood = || standing::stood(node, &work.claimant(), work.charges());
    decisions::found_room(node, opened, origin, &work.task().rule, || summary.to_owned(), stood).await
}

/// How a round of votes ended.
enum Outcome {
    /// With a certificate that is on the disk.
    Cleared(Cleared),
    /// Other claims were in the way; there may be room elsewhere.
    Met(Vec<InTheWay>),
    /// A voter could not vote just now.
    Later(Refusal),
}

/// Finds room, and votes for it. One search at a time at a node, so that its own requests are not in each other's way.
async fn claimed(
    node: &Arc<Node>,
    opened: &Opened,
    work: &HomeWork,
    placer: &Placer,
) -> Result<(HomeClaim, Statement), Refusal> {
    let _turn = node.placing.lock().await;
    let by = work.claimant();
    let claims = match limits::place_for(node, &by, placer)? {
        Ok(claims) => claims.ok_or(Reason::Bug)?,
        Err(full) => return Err(limits::full(node, &by, work.charges(), full)?),
    };
    limits::in_the_way_of(node, &by, &claims)?;
    let attempts = node.store.attempts(&by.tenant, &by.request).map_err(|e| reply::of_store(&e))?;
    let attempt = Attempt(attempts.iter().map(|row| row.attempt.0).max().unwrap_or(0).saturating_add(1));
    let claim = work.claim(attempt, claims, now())?;
    let (vote, mut step) = claim.vote(&node.boot, now());
    step.writes.extend(limits::names_of(node, work));
    let step = while_active(step, claim.body().bundle);
    commit(node, unless_frozen(step, &opened.intent().key)).await?;
    Ok((claim, vote))
}

/// Asks all other nodes, until there are enough votes or cannot be any more.
async fn canvassed(
    node: &Arc<Node>,
    opened: &Opened,
    claim: HomeClaim,
    own: Statement,
    approvals: &[Envelope],
    told: Option<ToldByHome>,
) -> Result<Outcome, Refusal> {
    let request = v1::VoteRequest {
        told: told.map(told_out),
        ..limits::vote_request(node, opened.envelope(), approvals, claim.body().to_bytes())
    };
    let bundle = node.bundle();
    let roster = bundle.roster();
    let mut ballot = claim.ballot(own, roster.into());
    let voters = ballot.wanting();
    let (fenced, asked): (Vec<_>, Vec<_>) = voters.into_iter().partition(|v| node.peers.seen(v).fenced);
    let (sender, mut inbox) = mpsc::channel(asked.len().max(1));
    limits::ask(node, &sender, asked, &request);
    // From here on only those who were asked hold the channel: it ends when all have answered.
    drop(sender);
    let mut refused = Refused::default();
    for voter in fenced {
        let why = Refusal::new(Reason::Voters).with("node", voter.as_str()).with("detail", Reason::RolledBack.as_str());
        refused.add(&mut ballot, voter, why, Vec::new());
    }
    while !ballot.is_complete() && refused.possible {
        match inbox.recv().await {
            // A vote that does not count is a vote that is not there.
            Some(Inbound::Vote(vote)) => drop(ballot.add(vote, roster)),
            Some(Inbound::NoVote(voter, why, found)) => refused.add(&mut ballot, voter, why, found),
            Some(Inbound::Message(..) | Inbound::Unreachable(_)) => {}
            None => break,
        }
    }
    if !ballot.is_complete() {
        return refused.outcome();
    }
    let Ok(certified) = ballot.close(now()) else { return Ok(Outcome::Later(Reason::Contention.into())) };
    commit(node, unless_frozen(certified.step(&node.boot, now()), &opened.intent().key)).await?;
    Ok(Outcome::Cleared(certified.cleared()))
}

/// Who will not vote, and why.
struct Refused {
    possible: bool,
    away: Vec<NodeName>,
    why: Option<Refusal>,
    unready: bool,
    found: Vec<InTheWay>,
}

impl Default for Refused {
    fn default() -> Self {
        Self { possible: true, away: Vec::new(), why: None, unready: false, found: Vec::new() }
    }
}

impl Refused {
    fn add(&mut self, ballot: &mut HomeBallot, voter: NodeName, why: Refusal, found: Vec<InTheWay>) {
        self.possible = ballot.refuse(voter.clone());
        self.found.extend(found);
        match why.reason {
            Reason::Voters => {
                // A key that was made a moment ago is still being announced.
                let said = why.metadata.get("detail").map(String::as_str);
                self.unready |= [Reason::KeyNotFound, Reason::DomainNotFound, Reason::KeyNotActive]
                    .iter()
                    .any(|r| said == Some(r.as_str()));
                self.away.push(voter);
            }
            // What is said of the request says more than that somebody is busy with it.
            _ if self.why.as_ref().is_none_or(|known| known.reason == Reason::Contention) => self.why = Some(why),
            _ => {}
        }
    }

    fn outcome(self) -> Result<Outcome, Refusal> {
        if !self.found.is_empty() {
            return Ok(Outcome::Met(self.found));
        }
        let away = || {
            let names: Vec<_> = self.away.iter().map(NodeName::as_str).collect();
            Refusal::new(Reason::Voters).with("node", names.join(","))
        };
        match self.why {
            Some(why) if why.reason == Reason::Contention => Ok(Outcome::Later(why)),
            Some(why) => Err(why),
            None if self.unready => Ok(Outcome::Later(away())),
            None => Err(away()),
        }
    }
}

/// Answers the home of a key that asks for this node's vote on what it is to do alone.
///
/// # Errors
/// A [`Refusal`].
pub async fn vote(
    node: &Arc<Node>,
    home: &NodeName,
    opened: &Opened,
    asked: &VoteBody,
    told: Option<v1::ToldByHome>,
) -> Result<v1::VoteResponse, Refusal> {
    let origin = Origin::Peer(home.clone());
    let admitted =
        admitted(node, opened, told).and_then(|(work, summary)| Ok((work.concur(asked, home, now())?, work, summary)));
    let (claim, work, summary) = match admitted {
        Ok(admitted) => admitted,
        Err(refusal) => return Err(decisions::refused(node, opened, origin, refusal).await),
    };
    let claims = claim.body().claims.as_ref().ok_or(Reason::Bug)?;
    let found = limits::in_the_way_of(node, &work.claimant(), claims)?;
    if !found.is_empty() {
        return Ok(v1::VoteResponse { vote: None, in_the_way: limits::in_the_way_out(&found) });
    }
    permitted(node, opened, origin, &work, &summary).await?;
    approve::adopt(node, opened, work.approvals()).await?;
    let (vote, mut step) = claim.vote(&node.boot, now());
    step.writes.extend(limits::names_of(node, &work));
    let step = while_active(step, claim.body().bundle);
    commit(node, unless_rejected(unless_frozen(step, &opened.intent().key), opened.intent())).await?;
    Ok(v1::VoteResponse { vote: Some(convert::statement_out(&vote)), in_the_way: Vec::new() })
}

/// What this node decides of another's work, by itself, and what that is in words for the log. Each kind of work that a
/// home does for a client has its arm here.
fn admitted(node: &Node, opened: &Opened, told: Option<v1::ToldByHome>) -> Result<(HomeWork, String), Refusal> {
    match opened.intent().action {
        Action::Sign => signature(node, opened),
        action if WrapKind::of(action).is_some() => wrapping(node, opened, told),
        Action::Tokenize | Action::TokenizeMany | Action::Reveal | Action::RevealMany | Action::SearchToken => {
            cards(node, opened)
        }
        _ => Err(Refusal::new(Reason::Malformed).with("field", "action")),
    }
}

fn signature(node: &Node, opened: &Opened) -> Result<(HomeWork, String), Refusal> {
    let held = node.hsm_keys.get(&opened.intent().key).ok_or(Reason::KeyNotFound)?;
    let (key, known) = ((&*held.record, held.state()), node.freezes.known());
    let permit = admit_hsm_sign(opened.clone(), key, &held.record.home, &known, &node.bundle(), now())?;
    let summary = tally_policy::summary(&node.bundle(), permit.subject().facts());
    Ok((permit.into_work(), summary))
}

fn wrapping(node: &Node, opened: &Opened, told: Option<v1::ToldByHome>) -> Result<(HomeWork, String), Refusal> {
    let held = node.hsm_keys.get(&opened.intent().key).ok_or(Reason::KeyNotFound)?;
    let (key, known) = ((&*held.record, held.state()), node.freezes.known());
    let work = admit_elsewhere(opened, key, &known, told_in(told)?, &node.bundle(), now())?;
    Ok((work, describe(opened.intent()).unwrap_or_default()))
}

fn cards(node: &Node, opened: &Opened) -> Result<(HomeWork, String), Refusal> {
    let held = node.hsm_keys.get(&opened.intent().key).ok_or(Reason::DomainNotFound)?;
    let known = node.freezes.known();
    // Whether it is suspended its home knows, which asks for votes only if not.
    let doing = Some(DomainState::Active);
    let domain = DomainView { record: &held.record, state: held.state(), doing, freezes: &known };
    let permit = admit_token(opened.clone(), domain, false, &held.record.home, &node.bundle(), now())?;
    Ok((permit.into_work(), tokens::describe(opened.intent()).unwrap_or_default()))
}

fn told_out(told: ToldByHome) -> v1::ToldByHome {
    // At most 4,096 bytes are wrapped.
    v1::ToldByHome { bytes: u32::try_from(told.bytes).unwrap_or(u32::MAX), kek_version: told.version.0 }
}

fn told_in(told: Option<v1::ToldByHome>) -> Result<ToldByHome, Refusal> {
    let told = told.filter(|t| t.kek_version != 0).ok_or(Refusal::new(Reason::Malformed).with("field", "told"))?;
    let bytes = usize::try_from(told.bytes).unwrap_or(usize::MAX);
    Ok(ToldByHome { bytes, version: KekNumber(told.kek_version) })
}
