//! Requests that wait for persons: taking them on, taking what persons have signed, and signing when enough have. What is
//! to be revealed is revealed only to the client that asks for it, once more.

mod lead;
mod news;
mod view;

pub use lead::care;
pub use news::{announced, spread, tell_result};
pub use view::{ended, in_list, list, of_request, view};

use crate::approvals::Name;
use crate::cancel;
use crate::decisions;
use crate::lead_hsm::commit;
use crate::limits;
use crate::node::{Node, now};
use crate::reply;
use prost::Message as _;
use std::sync::Arc;
use tally_audit::event::{Origin, What};
use tally_domain::approval::Verdict;
use tally_domain::dsse::Envelope;
use tally_domain::ports::store::{ApprovalRow, RequestRow, RequestState, Step, WaitingRow};
use tally_domain::{Approval, NodeName, Reason, Refusal, RequestId, Tenant, UnixMillis};
use tally_proto::v1;
use tally_signer::admit::{self, Opened, Subject};
use tally_signer::approval::{Question, envelope_of, rejected_by, said_step};
use tally_signer::hsm_sign::{self, HsmSubject};
use tally_signer::tokens::TokenSubject;

/// Most requests that wait at a node: people answer some dozens a day, and each is shown to them in a list.
pub const WAITING_MAX: usize = 1_000;

/// A request to sign or to reveal as this node decodes it.
pub enum Read {
    /// With a threshold key.
    Threshold(Box<Subject>),
    /// With a key in some node's HSM.
    Hsm(Box<HsmSubject>),
    /// Of cards in some node's token domain.
    Tokens(Box<TokenSubject>),
}

impl Read {
    /// What is to be decided.
    pub fn question(&self) -> Question<'_> {
        match self {
            Self::Threshold(subject) => Question::new(subject.opened(), subject.facts()),
            Self::Hsm(subject) => Question::new(subject.opened(), subject.facts()),
            Self::Tokens(subject) => subject.question(),
        }
    }

    /// The request.
    pub fn opened(&self) -> &Opened {
        match self {
            Self::Threshold(subject) => subject.opened(),
            Self::Hsm(subject) => subject.opened(),
            Self::Tokens(subject) => subject.opened(),
        }
    }

    /// How many nodes sign, or reveal.
    pub fn signers(&self) -> u32 {
        match self {
            Self::Threshold(subject) => subject.record().threshold.t().into(),
            Self::Hsm(_) | Self::Tokens(_) => 1,
        }
    }
}

/// Decodes a request to sign or to reveal. A node without a share asks `whom` for the key's certificate.
///
/// # Errors
/// As [`admit::subject`].
pub async fn read(node: &Arc<Node>, opened: Opened, whom: &NodeName) -> Result<Read, Refusal> {
    let name = opened.intent().key.clone();
    if let Some(held) = node.hsm_keys.get(&name) {
        if held.is_domain() {
            if held.record.tenant != opened.intent().tenant {
                return Err(Reason::DomainNotFound.into());
            }
            return Ok(Read::Tokens(Box::new(TokenSubject::read(opened)?)));
        }
        let subject = hsm_sign::subject(opened, &held.record, held.state())?;
        return Ok(Read::Hsm(Box::new(subject)));
    }
    let held = limits::known_key(node, whom, &name).await;
    let key = held.as_ref().map(|(record, state)| (&**record, *state));
    Ok(Read::Threshold(Box::new(admit::subject(opened, key)?)))
}

/// Opens and decodes what waits here.
///
/// # Errors
/// `TAMPERED` when a stored row does not read; as [`read`].
pub async fn read_row(node: &Arc<Node>, row: &WaitingRow) -> Result<Read, Refusal> {
    let envelope = Envelope::decode(row.intent.as_slice()).map_err(|_| Reason::Tampered)?;
    read(node, admit::open(&node.bundle(), envelope)?, &row.owner).await
}

/// What persons have said of a request.
///
/// # Errors
/// `STORAGE`, `TAMPERED`.
pub fn said(node: &Node, tenant: &Tenant, request: RequestId) -> Result<Vec<ApprovalRow>, Refusal> {
    node.store.approvals(tenant, &request).map_err(|e| reply::of_store(&e))
}

/// Decides, and where persons must approve once more with what they have said here.
///
/// # Errors
/// As `decide`; `REJECTED`, `CANCELLED`.
pub async fn decided<T>(
    node: &Arc<Node>,
    opened: &Opened,
    decide: impl Fn(Opened) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    cancel::is_not(node, &opened.intent().tenant, opened.intent().request_id)?;
    let missing = match decide(opened.clone()) {
        Err(refusal) if refusal.reason == Reason::ApprovalsRequired => refusal,
        decided => return decided,
    };
    let intent = opened.intent();
    let rows = said(node, &intent.tenant, intent.request_id)?;
    not_rejected(&rows)?;
    if rows.is_empty() {
        return Err(missing);
    }
    let read = read(node, opened.clone(), node.name()).await?;
    decide(opened.clone().with_said(read.question().counting(&node.bundle(), &rows, now())))
}

/// Writes down why this node does not sign for a client. What persons have yet to approve waits from here on.
pub async fn refused(node: &Arc<Node>, opened: &Opened, origin: Origin, refusal: Refusal) -> Refusal {
    match refusal.reason {
        Reason::ApprovalsRequired => wait(node, opened, origin, refusal).await,
        _ => decisions::refused(node, opened, origin, refusal).await,
    }
}

/// Whether anybody is still asked about a request: no person has rejected it, and its client has not cancelled it.
///
/// # Errors
/// `REJECTED`, `CANCELLED`; `STORAGE`, `TAMPERED`.
fn is_open(node: &Node, tenant: &Tenant, request: RequestId, rows: &[ApprovalRow]) -> Result<(), Refusal> {
    not_rejected(rows)?;
    cancel::is_not(node, tenant, request)
}

fn not_rejected(rows: &[ApprovalRow]) -> Result<(), Refusal> {
    rows.iter().find(|row| row.verdict == Verdict::Reject).map_or(Ok(()), |row| Err(rejected_by(&row.person)))
}

/// A client's request waits here from now on, and every node is told; gives what the client is told.
async fn wait(node: &Arc<Node>, opened: &Opened, origin: Origin, missing: Refusal) -> Refusal {
    match begin(node, opened, origin.clone(), &missing).await {
        Ok(name) => {
            news::tell_all(node, &name).await;
            missing
        }
        Err(refusal) if refusal.reason == Reason::Overloaded => decisions::refused(node, opened, origin, refusal).await,
        Err(refusal) => refusal,
    }
}

async fn begin(node: &Arc<Node>, opened: &Opened, origin: Origin, missing: &Refusal) -> Result<Name, Refusal> {
    let read = read(node, opened.clone(), node.name()).await?;
    let _learning = node.approvals.learning().await;
    let waits = take_on(node, &read, origin, node.name(), missing).await?;
    let intent = opened.intent();
    let name = (intent.tenant.clone(), intent.request_id);
    if waits {
        node.approvals.changed(&name);
    }
    Ok(name)
}

/// Writes down that a request waits, unless it is written down so already; gives whether that is news. Whoever calls holds
/// the right to learn.
async fn take_on(
    node: &Arc<Node>,
    read: &Read,
    origin: Origin,
    owner: &NodeName,
    missing: &Refusal,
) -> Result<bool, Refusal> {
    let (opened, intent) = (read.opened(), read.opened().intent());
    let known = waiting(node, &intent.tenant, intent.request_id)?;
    let news = known.is_none_or(|row| row.bundle != node.bundle().digest());
    let step = if news {
        if node.store.all_waiting().map_err(|e| reply::of_store(&e))?.len() >= WAITING_MAX {
            let detail = format!("{WAITING_MAX} requests wait for approvals at this node");
            return Err(Refusal::new(Reason::Overloaded).with("detail", detail));
        }
        read.question().wait(&node.bundle(), owner, &node.boot, now())
    } else {
        Step::default()
    };
    decisions::waiting(node, opened, origin, missing, step).await?;
    Ok(news)
}

/// Whether this node knows of a request because persons are asked about it, whoever leads it.
pub fn is_known(node: &Node, row: &RequestRow) -> bool {
    let (tenant, request) = (&row.claim.tenant, row.claim.request);
    let waits = waiting(node, tenant, request).is_ok_and(|row| row.is_some());
    let said = || said(node, tenant, request).is_ok_and(|rows| !rows.is_empty());
    waits || said() || cancel::is_not(node, tenant, request).is_err()
}

/// A request that waits here.
///
/// # Errors
/// `STORAGE`, `TAMPERED`.
pub fn waiting(node: &Node, tenant: &Tenant, request: RequestId) -> Result<Option<WaitingRow>, Refusal> {
    node.store.waiting(tenant, &request).map_err(|e| reply::of_store(&e))
}

/// Whether nobody can approve it any more, though nodes whose clocks are behind have yet to let it go.
fn is_past(row: &WaitingRow, now: UnixMillis) -> bool {
    now >= row.expires_at
}

/// A request that waits here, or why there is none.
///
/// # Errors
/// `REQUEST_NOT_FOUND`, `REJECTED`, `CANCELLED`, `EXPIRED`, `NOT_WAITING`.
pub fn must_wait(node: &Node, tenant: &Tenant, request: RequestId) -> Result<WaitingRow, Refusal> {
    cancel::is_not(node, tenant, request)?;
    if let Some(row) = waiting(node, tenant, request)? {
        return if is_past(&row, now()) { Err(Reason::Expired.into()) } else { Ok(row) };
    }
    let row = node.store.request(tenant, &request).map_err(|e| reply::of_store(&e))?.ok_or(Reason::RequestNotFound)?;
    not_rejected(&said(node, tenant, request)?)?;
    Err(match row.state {
        RequestState::Refused(word) if word == Reason::Expired.as_str() => Reason::Expired.into(),
        RequestState::Received | RequestState::Refused(_) | RequestState::Completed(_) => Reason::NotWaiting.into(),
    })
}

/// Takes what a person has signed, from whichever client of the tenant; gives the request as it stands then.
///
/// # Errors
/// A [`Refusal`] that says what is wrong with it.
pub async fn submit(node: &Arc<Node>, tenant: &Tenant, envelope: Envelope) -> Result<v1::PendingRequest, Refusal> {
    let malformed = |_| Refusal::new(Reason::Malformed).with("field", "approval");
    let (claimed_tenant, request) = Approval::claimed_request(&envelope).map_err(malformed)?;
    tracing::Span::current().record("request", request.to_string());
    if claimed_tenant != *tenant {
        return Err(Reason::Acl.into());
    }
    let row = must_wait(node, tenant, request)?;
    let name = (tenant.clone(), request);
    match learn_said(node, &row, &envelope).await {
        Ok(true) => {
            node.approvals.changed(&name);
            news::tell_all(node, &name).await;
        }
        Ok(false) => {}
        Err(refusal) => return Err(log_refused(node, request, refusal).await),
    }
    lead::look(node, &row).await;
    view(node, &row).await
}

/// Writes down what a person has signed, unless this very statement is known; gives whether it is news.
async fn learn_said(node: &Arc<Node>, row: &WaitingRow, envelope: &Envelope) -> Result<bool, Refusal> {
    let read = read_row(node, row).await?;
    let _learning = node.approvals.learning().await;
    let known = said(node, &row.tenant, row.request)?;
    if known.iter().filter_map(envelope_of).any(|e| e == *envelope) {
        return Ok(false);
    }
    let approval = read.question().check(&node.bundle(), envelope, &known, now())?;
    commit(node, said_step(&approval, envelope, &node.boot, now())).await?;
    tracing::info!(person = %approval.person, verdict = ?approval.verdict, "a person has decided");
    Ok(true)
}

/// What is refused is written down too.
async fn log_refused(node: &Arc<Node>, request: RequestId, refusal: Refusal) -> Refusal {
    tracing::info!(reason = refusal.reason.as_str(), facts = ?refusal.metadata, "an approval is refused");
    let what = What::SessionFailed {
        request_id: Some(request),
        what: refusal.reason.as_str().into(),
        culprit: None,
        missing: Vec::new(),
    };
    match node.commit(Step { writes: Vec::new(), leaves: vec![node.leaf(what)] }).await {
        Ok(_) => refusal,
        Err(storage) => storage,
    }
}

/// Keeps the approvals under which this node has permitted what another leads: they are in its log before its vote.
///
/// # Errors
/// `REJECTED`; `STORAGE`.
pub async fn adopt(node: &Arc<Node>, opened: &Opened, approvals: &[Envelope]) -> Result<(), Refusal> {
    if approvals.is_empty() {
        return Ok(());
    }
    let intent = opened.intent();
    let rows = said(node, &intent.tenant, intent.request_id)?;
    not_rejected(&rows)?;
    let known: Vec<_> = rows.iter().filter_map(envelope_of).collect();
    let mut step = Step::default();
    for envelope in approvals.iter().filter(|e| !known.contains(e)) {
        // They have been checked; this only reads them again.
        let approval = Approval::read_checked(envelope).map_err(|_| Reason::Bug)?;
        let one = said_step(&approval, envelope, &node.boot, now());
        step.writes.extend(one.writes);
        step.leaves.extend(one.leaves);
    }
    if step.writes.is_empty() { Ok(()) } else { commit(node, step).await }
}
