//! Proposing, activating and vetoing bundles for clients, and what each node does of it by itself: see a bundle, vote for
//! it, and let it decide once a quorum has voted.

use crate::bundle_news;
use crate::bundles::{self, BUNDLE_MAX_BYTES, Known, Standing};
use crate::convert;
use crate::decisions;
use crate::lead_hsm::commit;
use crate::node::{Node, now};
use crate::recover;
use prost::Message as _;
use std::sync::Arc;
use tally_audit::event::{BundleEvent, What};
use tally_domain::activation::{BundleCertificate, BundleName, BundleVote, enough};
use tally_domain::boot::Statement;
use tally_domain::dsse::Envelope;
use tally_domain::ports::store::{BundleWrite, Step, Write};
use tally_domain::{Action, ClientId, Digest, Quorum, Reason, Refusal};
use tally_policy::{Bundle, OpenError, SignedBundle, Trust, changes, tightens_only};
use tally_proto::v1;
use tally_signer::freeze::complete_write;
use tally_signer::veto::{Vetoed, admit_veto};

/// Longest text about what is wrong with a bundle: it goes into an error's metadata, of which gRPC takes 8 KiB.
const DETAIL_MAX_CHARS: usize = 1_000;

/// Gives all nodes a bundle, and activates it if it may be at once.
///
/// # Errors
/// A [`Refusal`].
pub async fn propose(node: &Arc<Node>, bytes: &[u8]) -> Result<v1::ProposeResponse, Refusal> {
    let name = seen(node, bytes).await?;
    let told = bundle_news::tell_all(node, name).await?;
    let mut answer = v1::ProposeResponse { told: Some(told), ..Default::default() };
    if bundles::find(node, name)?.is_some_and(|known| known.standing == Standing::Ready) {
        // Without a quorum now, the nodes go on with it by themselves.
        if let Err(refusal) = collect(node, name).await {
            tracing::warn!(bundle = %name, reason = refusal.reason.as_str(), "the bundle is not active yet");
            let number = |name: &str| refusal.metadata.get(name).and_then(|n| n.parse().ok()).unwrap_or_default();
            (answer.votes_needed, answer.votes) = (number("needed"), number("available"));
            refusal.reason.as_str().clone_into(&mut answer.reason);
        }
    }
    answer.proposal = Some(proposal(node, name)?);
    Ok(answer)
}

/// Has all nodes vote now.
///
/// # Errors
/// `BUNDLE_NOT_FOUND`, `BUNDLE_WAITS`, `BUNDLE_VETOED`, `BUNDLE_SETTLED`; `PARTICIPANTS` when fewer than a quorum vote.
pub async fn activate(node: &Arc<Node>, version: u64) -> Result<v1::ActivateResponse, Refusal> {
    let known = bundles::of_version(node, version)?;
    if known.standing != Standing::Active {
        collect(node, known.row.bundle).await?;
    }
    Ok(v1::ActivateResponse { proposal: Some(proposal(node, known.row.bundle)?) })
}

/// Vetoes a bundle for a client, or gives what this very intent has vetoed here.
///
/// # Errors
/// A [`Refusal`].
pub async fn veto(node: &Arc<Node>, caller: ClientId, envelope: Envelope) -> Result<v1::VetoResponse, Refusal> {
    let (opened, origin) = decisions::opened_for(Action::VetoPolicy, node, caller, envelope).await?;
    let intent = opened.intent();
    let guard = node.inflight.take(&intent.tenant, intent.request_id).await;
    let done = match recover::completed(node, &opened) {
        Ok(done) => done.is_some(),
        Err(refusal) => return Err(decisions::refused(node, &opened, origin, refusal).await),
    };
    let vetoed = tally_domain::activation::VetoSpec::from_bytes(&intent.content)?.bundle;
    let mut rule = String::new();
    if !done {
        let admitted = admit_veto(opened.clone(), &node.bundle(), now())
            .and_then(|permit| open_proposal(node, permit.bundle()).map(|()| permit));
        let permit = match admitted {
            Ok(permit) => permit,
            Err(refusal) => return Err(decisions::refused(node, &opened, origin, refusal).await),
        };
        permit.rule().clone_into(&mut rule);
        let summary = format!("veto bundle {}", permit.bundle());
        decisions::permitted(node, &opened, origin, &rule, &summary, Vec::new()).await?;
        let vetoed = permit.veto(&node.boot, now());
        let mut step = vetoed.step(&node.boot, now());
        step.writes.push(complete_write(&opened, vetoed.statement.encode_to_vec(), now()));
        let _learning = node.bundles.learning().await;
        commit(node, step).await?;
        tracing::warn!(bundle = %vetoed.veto.bundle, "vetoed for a client");
    }
    drop(guard);
    let told = bundle_news::tell_all(node, vetoed).await?;
    Ok(v1::VetoResponse { proposal: Some(proposal(node, vetoed)?), rule, told: Some(told) })
}

/// Only what waits can be vetoed; a bundle that nobody has seen could not be told from a slip of the pen.
fn open_proposal(node: &Node, name: BundleName) -> Result<(), Refusal> {
    match bundles::of_version(node, name.version)? {
        known if known.row.bundle != name => Err(Reason::BundleNotFound.into()),
        known if known.standing.is_open() || known.standing == Standing::Vetoed => Ok(()),
        known => Err(Refusal::new(Reason::BundleSettled).with("state", known.standing.as_str())),
    }
}

/// Writes down a bundle that may follow the active one, when it is new, and when this node votes for it.
///
/// # Errors
/// `OVERSIZED`, `BUNDLE_INVALID`, `BUNDLE_SIGNATURES`, `BUNDLE_EXPIRED`, `BUNDLE_FORKED`, `BUNDLE_DOWNGRADE`, `BUNDLE_CHAIN`,
/// `BUNDLE_ROSTER`, `STORAGE`.
pub async fn seen(node: &Arc<Node>, bytes: &[u8]) -> Result<BundleName, Refusal> {
    if bytes.len() > BUNDLE_MAX_BYTES {
        return Err(Refusal::new(Reason::Oversized).with("limit", BUNDLE_MAX_BYTES.to_string()));
    }
    let signed = SignedBundle::from_bytes(bytes).map_err(|e| refusal(&e))?;
    let name = BundleName { version: signed.header().version, digest: signed.digest() };
    let _learning = node.bundles.learning().await;
    if bundles::find(node, name)?.is_some() {
        return Ok(name);
    }
    let active = node.bundle();
    if active.header().validity.is_none() {
        let detail = "the active bundle is a directory, which nothing follows; begin with a signed one";
        return Err(Refusal::new(Reason::BundleChain).with("detail", detail));
    }
    let opened = match opened(node, signed, &active).await {
        Err(forked) if forked.reason == Reason::BundleForked => return Err(note_fork(node, bytes, name, forked).await),
        opened => opened?,
    };
    opened.check_time(now()).map_err(|e| refusal(&e))?;
    check_roster(&active, &opened)?;
    let tightens = tightens_only(&changes(&active, &opened));
    let at = now();
    let due = if tightens { at } else { at.plus(delay_ms(node, &active)) };
    let (envelope, previous) = (bytes.to_vec(), active.digest());
    let leaf = node.leaf(What::Bundle(BundleEvent::Seen { envelope: envelope.clone(), tightens }));
    let write = BundleWrite::Propose { bundle: name, previous, envelope, tightens, at, due };
    match commit(node, Step { writes: vec![Write::Bundle(write)], leaves: vec![leaf] }).await {
        Err(forked) if forked.reason == Reason::BundleForked => Err(note_fork(node, bytes, name, forked).await),
        outcome => {
            tracing::warn!(bundle = %name, tightens, due = due.0, "a new policy bundle is seen");
            outcome.map(|()| name)
        }
    }
}

/// How long a loosening waits here; only in development may that be shorter than the active bundle says.
fn delay_ms(node: &Node, active: &Bundle) -> u64 {
    let most = node.config.policy.as_ref().and_then(|policy| policy.delay_max.as_ref());
    let delay = active.header().loosening_delay_ms;
    most.map_or(delay, |most| delay.min(most.ms))
}

/// A bundle that its admins let follow the active one, whatever the time is. Loading checks every rule: that is work for a
/// thread of its own, and done once.
async fn opened(node: &Arc<Node>, signed: SignedBundle, active: &Arc<Bundle>) -> Result<Arc<Bundle>, Refusal> {
    let envelope = Digest::of(&signed.to_bytes());
    if let Some(known) = node.bundles.follower(envelope) {
        return Ok(known);
    }
    let after = active.clone();
    let work = tokio::task::spawn_blocking(move || signed.open(Trust::Voted(&after), now()));
    let opened = work.await.map_err(|_| Refusal::from(Reason::Bug))?.map_err(|e| refusal(&e))?;
    let opened = Arc::new(opened);
    node.bundles.note_follower(active.digest(), envelope, opened.clone());
    Ok(opened)
}

/// The admins have signed two bundles of one number: that is kept as evidence, once.
async fn note_fork(node: &Arc<Node>, bytes: &[u8], name: BundleName, refusal: Refusal) -> Refusal {
    if node.bundles.is_new_fork(name.digest) {
        tracing::error!(bundle = %name, "the admins have signed another bundle of this number");
        let leaf = node.leaf(What::Bundle(BundleEvent::Forked { envelope: bytes.to_vec() }));
        if let Err(storage) = node.commit(Step { writes: Vec::new(), leaves: vec![leaf] }).await {
            return storage;
        }
    }
    let refusal = refusal.with("version", name.version.to_string()).with("theirs", name.digest.to_string());
    match bundles::of_version(node, name.version) {
        Ok(ours) => refusal.with("ours", ours.row.bundle.digest.to_string()),
        Err(_) => refusal,
    }
}

/// Links and certificates of nodes are made from the roster that a node starts with.
fn check_roster(active: &Bundle, next: &Bundle) -> Result<(), Refusal> {
    let (old, new) = (active.roster(), next.roster());
    if (&old.nodes, old.tolerance) == (&new.nodes, new.tolerance) { Ok(()) } else { Err(Reason::BundleRoster.into()) }
}

/// This node's vote for a bundle whose time has come; on the disk before it is given.
///
/// # Errors
/// `BUNDLE_NOT_FOUND`, `BUNDLE_WAITS`, `BUNDLE_VETOED`, `BUNDLE_SETTLED`, and as [`seen`].
pub async fn vote(node: &Arc<Node>, name: BundleName) -> Result<Statement, Refusal> {
    let _learning = node.bundles.learning().await;
    let active = node.bundle();
    let known = bundles::find(node, name)?.ok_or(Reason::BundleNotFound)?;
    // Also when it is active by now: whoever asks may not have heard.
    if let Some(voted) = known.row.vote.as_deref() {
        return Statement::decode(voted).map_err(|_| Reason::Tampered.into());
    }
    may_vote(&known)?;
    // Signed by enough, after the active one, and within its time: still.
    let signed = SignedBundle::from_bytes(&bundles::bytes(node, &name.digest)?).map_err(|_| Reason::Tampered)?;
    opened(node, signed, &active).await?.check_time(now()).map_err(|e| refusal(&e))?;
    let vote = BundleVote { cluster: node.boot.cluster.clone(), previous: active.digest(), bundle: name };
    let statement = vote.sign(node.boot.key(), node.boot.cert());
    let write = BundleWrite::Vote { previous: vote.previous, bundle: name, statement: statement.encode_to_vec() };
    let leaf = node.leaf(What::Bundle(BundleEvent::Voted { statement: statement.clone() }));
    commit(node, Step { writes: vec![Write::Bundle(write)], leaves: vec![leaf] }).await?;
    Ok(statement)
}

fn may_vote(known: &Known) -> Result<(), Refusal> {
    match known.standing {
        Standing::Ready => Ok(()),
        Standing::Waiting => Err(Refusal::new(Reason::BundleWaits).with("due_ms", known.row.due.0.to_string())),
        Standing::Vetoed => {
            let by: Vec<_> = known.vetoes.iter().map(|v| v.by.as_str()).collect();
            Err(Refusal::new(Reason::BundleVetoed).with("vetoed_by", by.join(",")))
        }
        standing @ (Standing::Active | Standing::Replaced | Standing::Overtaken) => {
            Err(Refusal::new(Reason::BundleSettled).with("state", standing.as_str()))
        }
    }
}

/// Gathers votes, this node's first, and activates the bundle when there are enough.
///
/// # Errors
/// As [`vote`]; `PARTICIPANTS`.
pub async fn collect(node: &Arc<Node>, name: BundleName) -> Result<(), Refusal> {
    let outcome = collected(node, name).await;
    // Another node may have been faster.
    match bundles::find(node, name)?.map(|known| known.standing) {
        Some(Standing::Active) => Ok(()),
        _ => outcome,
    }
}

async fn collected(node: &Arc<Node>, name: BundleName) -> Result<(), Refusal> {
    let bundle = node.bundle();
    let own = vote(node, name).await?;
    let wanted = BundleVote { cluster: node.boot.cluster.clone(), previous: bundle.digest(), bundle: name };
    let roster = bundle.roster();
    let mut votes = std::collections::BTreeMap::from([(node.name().clone(), own)]);
    for (peer, statement) in bundle_news::ask_all(node, name).await? {
        if BundleVote::open(&statement, roster).is_ok_and(|(by, vote)| by == peer && vote == wanted) {
            votes.insert(peer, statement);
        }
    }
    let voters = votes.keys().cloned().collect();
    if !enough(&voters, roster) {
        let (needed, available) = (Quorum::of(roster).votes().to_string(), votes.len().to_string());
        return Err(Refusal::new(Reason::Participants).with("needed", needed).with("available", available));
    }
    let certificate = BundleCertificate { votes: votes.into_values().collect() };
    activated(node, &bundles::bytes(node, &name.digest)?, &certificate).await?;
    bundle_news::tell_all(node, name).await.map(drop)
}

/// A quorum has voted: from here on the bundle decides. Gives whether that is news.
///
/// # Errors
/// `PROTOCOL_VIOLATION` when it is not believed, `BUNDLE_CHAIN` when it follows another than the active one, `STORAGE`.
pub async fn activated(node: &Arc<Node>, bytes: &[u8], certificate: &BundleCertificate) -> Result<bool, Refusal> {
    let bad = || Refusal::new(Reason::ProtocolViolation).with("round", "bundle");
    let _learning = node.bundles.learning().await;
    let active = node.bundle();
    let vote = certificate.open(active.roster()).map_err(|_| bad())?;
    let (name, previous) = (vote.bundle, active.digest());
    if bundles::find(node, name)?.is_some_and(|known| known.row.activated.is_some()) {
        return Ok(false);
    }
    if vote.previous != previous {
        return Err(Reason::BundleChain.into());
    }
    let signed = SignedBundle::from_bytes(bytes).map_err(|_| bad())?;
    let next = opened(node, signed, &active).await.map_err(|_| bad())?;
    if (next.version(), next.digest()) != (name.version, name.digest) {
        return Err(bad());
    }
    check_roster(&active, &next)?;
    let seen = bundles::find(node, name)?.is_some();
    let envelope = if seen { Vec::new() } else { bytes.to_vec() };
    let leaf = node.leaf(What::Bundle(BundleEvent::Activated { certificate: certificate.clone(), envelope }));
    let write = BundleWrite::Activate {
        bundle: name,
        previous,
        envelope: bytes.to_vec(),
        certificate: certificate.encode_to_vec(),
        at: now(),
    };
    commit(node, Step { writes: vec![Write::Bundle(write)], leaves: vec![leaf] }).await?;
    tracing::warn!(bundle = %name, "a new policy bundle is active");
    node.bundles.swap(next);
    Ok(true)
}

/// Believes a veto of any node of the roster, whoever tells it; gives whether it is news.
///
/// # Errors
/// `PROTOCOL_VIOLATION`, `STORAGE`.
pub async fn learn_veto(node: &Arc<Node>, name: BundleName, statement: Statement) -> Result<bool, Refusal> {
    let bad = || Refusal::new(Reason::ProtocolViolation).with("round", "veto");
    let (by, veto) =
        tally_domain::activation::BundleVeto::open(&statement, node.bundle().roster()).map_err(|_| bad())?;
    if veto.bundle != name {
        return Err(bad());
    }
    let _learning = node.bundles.learning().await;
    if bundles::find(node, name)?.is_some_and(|known| known.vetoes.iter().any(|v| v.by == by)) {
        return Ok(false);
    }
    let vetoed = Vetoed { by, veto, statement };
    commit(node, vetoed.step(&node.boot, now())).await?;
    tracing::warn!(bundle = %name, by = %vetoed.by, "the bundle is vetoed");
    Ok(true)
}

/// Where a bundle stands here.
///
/// # Errors
/// `BUNDLE_NOT_FOUND`, `STORAGE`.
pub fn proposal(node: &Node, name: BundleName) -> Result<v1::Proposal, Refusal> {
    let known = bundles::find(node, name)?.ok_or(Reason::BundleNotFound)?;
    Ok(convert::proposal_out(node, &known))
}

/// What the caller is told of a bundle that is not believed.
pub fn refusal(e: &OpenError) -> Refusal {
    let reason = match e {
        OpenError::Oversized { .. } => Reason::Oversized,
        OpenError::Signature { .. } | OpenError::TooFewSignatures { .. } | OpenError::NoAdmins => {
            Reason::BundleSignatures
        }
        OpenError::Expired { .. } | OpenError::NotYetValid { .. } => Reason::BundleExpired,
        OpenError::Forked { .. } => Reason::BundleForked,
        OpenError::Downgraded { .. } => Reason::BundleDowngrade,
        OpenError::Known => Reason::BundleSettled,
        OpenError::BrokenChain { .. } | OpenError::OtherCluster { .. } | OpenError::OtherDigest { .. } => {
            Reason::BundleChain
        }
        _ => Reason::BundleInvalid,
    };
    Refusal::new(reason).with("detail", e.to_string().chars().take(DETAIL_MAX_CHARS).collect::<String>())
}
