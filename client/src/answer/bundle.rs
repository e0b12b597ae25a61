//! Policy bundles as nodes tell them, and what they say of requests.

use super::freeze::told;
use super::{BadField, Told, some};
use tally_domain::activation::BundleName;
use tally_domain::{Digest, NodeName, RequestId, Tenant, UnixMillis};
use tally_proto::v1;

/// A signed bundle as one node knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProposalInfo {
    /// Which.
    pub name: BundleName,
    /// Digest of the one before it; none for the first.
    pub previous: Option<Digest>,
    /// `active`, `replaced`, `waiting`, `ready`, `vetoed` or `overtaken`; later versions have more words.
    pub state: String,
    /// When the node first saw it.
    pub first_seen: UnixMillis,
    /// When the node votes for it; none for the first.
    pub due: Option<UnixMillis>,
    /// When it became the active one there.
    pub activated: Option<UnixMillis>,
    /// Whether it only tightens the one before it.
    pub tightens: bool,
    /// Who has vetoed it.
    pub vetoed_by: Vec<NodeName>,
    /// Whose votes have activated it.
    pub voted_by: Vec<NodeName>,
    /// What it changes, while it waits.
    pub changes: Vec<ChangeInfo>,
}

/// One change of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeInfo {
    /// `tighter` or `looser`.
    pub direction: String,
    /// The file.
    pub file: String,
    /// The rule, limit or list; empty where it is about the file.
    pub item: String,
    /// What changed.
    pub words: String,
}

/// A bundle that was proposed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposed {
    /// Where it stands.
    pub proposal: ProposalInfo,
    /// Who has it.
    pub told: Told,
}

/// A bundle that was vetoed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VetoedBundle {
    /// Where it stands.
    pub proposal: ProposalInfo,
    /// The rule that permitted it; nothing when the very intent had vetoed before.
    pub rule: Option<String>,
    /// Who has heard of it.
    pub told: Told,
}

/// What a bundle says of a request. All from `rules` on only for auditors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JudgementInfo {
    /// The bundle.
    pub bundle: BundleName,
    /// `permit`, `deny` or `needs-approval`.
    pub verdict: String,
    /// Why, for a denial.
    pub reason: Option<String>,
    /// What the node decoded.
    pub facts: String,
    /// The rules that decided, or whose approvals are missing.
    pub rules: Vec<String>,
    /// Permits that nearly matched, with their first condition that does not hold.
    pub near_misses: Vec<(String, String)>,
    /// What must be approved, a way a line.
    pub missing: Vec<String>,
    /// What it takes of limits.
    pub charges: Vec<LimitChargeInfo>,
    /// Rules that could not be evaluated, and facts that rules cannot express.
    pub errors: Vec<String>,
}

/// What a request takes of a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitChargeInfo {
    /// The limit.
    pub limit: String,
    /// So much, in the smallest accounting units.
    pub amount: String,
    /// Of so much.
    pub max: String,
    /// In so many milliseconds.
    pub window_ms: u64,
}

/// A decision in a node's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecidedInfo {
    /// Index of the leaf.
    pub leaf: u64,
    /// When.
    pub time: UnixMillis,
    /// Who brought the intent.
    pub from: String,
    /// The bundle that decided.
    pub bundle: Digest,
    /// `permit` or `deny`.
    pub verdict: String,
    /// Why, for a denial.
    pub reason: Option<String>,
    /// What the node decoded.
    pub summary: String,
    /// The rule that decided or came nearest; only for auditors, as the next two.
    pub rule: Option<String>,
    /// Its first condition that did not hold.
    pub condition: Option<String>,
    /// The same decided once more under the bundle of that time.
    pub again: Option<JudgementInfo>,
}

/// A request that a draft would treat otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayedChange {
    /// When it was decided.
    pub time: UnixMillis,
    /// Whose.
    pub tenant: Tenant,
    /// Which.
    pub request: RequestId,
    /// What it does.
    pub summary: String,
    /// Verdict and reason then.
    pub was: String,
    /// The rule then.
    pub was_rule: String,
    /// Verdict and reason under the draft.
    pub now: String,
    /// The rule of the draft.
    pub now_rule: String,
}

/// How many requests a draft would treat how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReplayCounts {
    /// Requests in the log.
    pub requests: u64,
    /// The same.
    pub unchanged: u64,
    /// Less far.
    pub tightened: u64,
    /// Further.
    pub loosened: u64,
    /// As far, for another reason or by another rule.
    pub otherwise: u64,
    /// Not decided again.
    pub skipped: u64,
}

pub(crate) fn proposed(r: v1::ProposeResponse) -> Result<Proposed, BadField> {
    Ok(Proposed { proposal: proposal(r.proposal)?, told: told(r.told)? })
}

pub(crate) fn vetoed(r: v1::VetoResponse) -> Result<VetoedBundle, BadField> {
    Ok(VetoedBundle { proposal: proposal(r.proposal)?, rule: some(r.rule), told: told(r.told)? })
}

pub(crate) fn history(r: v1::HistoryResponse) -> Result<Vec<ProposalInfo>, BadField> {
    r.proposals.into_iter().map(|p| proposal(Some(p))).collect()
}

pub(crate) fn proposal(p: Option<v1::Proposal>) -> Result<ProposalInfo, BadField> {
    let p = p.ok_or(BadField("proposal"))?;
    let previous = match p.previous.as_slice() {
        [] => None,
        bytes => Some(Digest::from_slice(bytes).ok_or(BadField("proposal.previous"))?),
    };
    let change = |c: v1::Change| ChangeInfo { direction: c.direction, file: c.file, item: c.item, words: c.words };
    Ok(ProposalInfo {
        name: name(p.version, &p.digest)?,
        previous,
        state: p.state,
        first_seen: UnixMillis(p.first_seen_ms),
        due: (p.due_ms > 0).then_some(UnixMillis(p.due_ms)),
        activated: (p.activated_ms > 0).then_some(UnixMillis(p.activated_ms)),
        tightens: p.tightens,
        vetoed_by: nodes(&p.vetoed_by)?,
        voted_by: nodes(&p.voted_by)?,
        changes: p.changes.into_iter().map(change).collect(),
    })
}

pub(crate) fn judgement(j: Option<v1::Judgement>) -> Result<JudgementInfo, BadField> {
    let j = j.ok_or(BadField("judgement"))?;
    let charge =
        |c: v1::LimitCharge| LimitChargeInfo { limit: c.limit, amount: c.amount, max: c.max, window_ms: c.window_ms };
    Ok(JudgementInfo {
        bundle: name(j.version, &j.bundle)?,
        verdict: j.verdict,
        reason: some(j.reason),
        facts: j.facts,
        rules: j.rules,
        near_misses: j.near_misses.into_iter().map(|n| (n.rule, n.condition)).collect(),
        missing: j.missing,
        charges: j.charges.into_iter().map(charge).collect(),
        errors: j.errors,
    })
}

pub(crate) fn explained(r: v1::ExplainResponse) -> Result<Vec<DecidedInfo>, BadField> {
    let decided = |d: v1::Decided| {
        Ok(DecidedInfo {
            leaf: d.leaf,
            time: UnixMillis(d.time_ms),
            from: d.from,
            bundle: Digest::from_slice(&d.bundle).ok_or(BadField("decided.bundle"))?,
            verdict: d.verdict,
            reason: some(d.reason),
            summary: d.summary,
            rule: some(d.rule),
            condition: some(d.condition),
            again: d.again.map(|again| judgement(Some(again))).transpose()?,
        })
    };
    r.decisions.into_iter().map(decided).collect()
}

pub(crate) fn replayed(c: v1::ReplayChange) -> Result<ReplayedChange, BadField> {
    Ok(ReplayedChange {
        time: UnixMillis(c.time_ms),
        tenant: Tenant::parse(&c.tenant).map_err(|_| BadField("change.tenant"))?,
        request: RequestId::from_slice(&c.request_id).ok_or(BadField("change.request_id"))?,
        summary: c.summary,
        was: c.was,
        was_rule: c.was_rule,
        now: c.now,
        now_rule: c.now_rule,
    })
}

pub(crate) fn counts(c: v1::ReplayCounts) -> ReplayCounts {
    let v1::ReplayCounts { requests, unchanged, tightened, loosened, otherwise, skipped } = c;
    ReplayCounts { requests, unchanged, tightened, loosened, otherwise, skipped }
}

fn name(version: u64, digest: &[u8]) -> Result<BundleName, BadField> {
    Ok(BundleName { version, digest: Digest::from_slice(digest).ok_or(BadField("digest"))? })
}

fn nodes(names: &[String]) -> Result<Vec<NodeName>, BadField> {
    names.iter().map(|n| NodeName::parse(n).map_err(|_| BadField("nodes"))).collect()
}
