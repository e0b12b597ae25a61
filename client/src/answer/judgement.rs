//! What bundles say, said and would have said of requests.

use super::bundle::name;
use super::{BadField, some};
use tally_domain::activation::BundleName;
use tally_domain::{Digest, PersonName, RequestId, Tenant, UnixMillis};
use tally_proto::v1;

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
    /// Persons who are asked.
    pub approvers: Vec<PersonName>,
    /// What it takes of limits, and how their lines stand now.
    pub charges: Vec<LimitChargeInfo>,
    /// Rules that could not be evaluated, and facts that rules cannot express.
    pub errors: Vec<String>,
}

/// What a request takes of a line of a limit, in accounting units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitChargeInfo {
    /// The limit.
    pub limit: String,
    /// The values that the line counts for.
    pub by: Vec<(String, String)>,
    /// Decimals of a whole unit; none when movements and requests are counted.
    pub decimals: Option<u8>,
    /// So much.
    pub amount: u128,
    /// Of so much.
    pub max: u128,
    /// In so many milliseconds.
    pub window_ms: u64,
    /// How the line stands or stood; nothing where nobody looked.
    pub stands: Option<Stands>,
}

/// How a line stands for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stands {
    /// What others have taken.
    pub taken: u128,
    /// What is left of it.
    pub left: u128,
    /// There is no room for the request.
    pub full: bool,
    /// From when there is, if nothing else is taken and as far as the node knows.
    pub room_at: Option<UnixMillis>,
}

/// What one node has written down about a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainedInfo {
    /// Its decisions, in the order of its log.
    pub decisions: Vec<DecidedInfo>,
    /// What persons have said, in the order in which the node heard it.
    pub said: Vec<HeardInfo>,
    /// Where the request stands; nothing where another node alone can tell.
    pub outcome: Option<OutcomeInfo>,
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
    /// The rule that decided or came nearest; only for auditors, as the next three.
    pub rule: Option<String>,
    /// Its first condition that did not hold.
    pub condition: Option<String>,
    /// The same decided once more under the bundle of that time, with what persons had said by then.
    pub again: Option<JudgementInfo>,
    /// How the lines stood that the request is charged on, as the node wrote it down.
    pub limits: Vec<LimitChargeInfo>,
}

/// What a person has signed about a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeardInfo {
    /// Who.
    pub person: PersonName,
    /// `approved` or `rejected`.
    pub verdict: String,
    /// When the node wrote it down.
    pub at: UnixMillis,
    /// In which leaf.
    pub leaf: u64,
    /// Under which bundle it was signed.
    pub bundle: Digest,
    /// Why it counts for nothing, if it does.
    pub void: Option<String>,
}

/// Where a request stands at a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutcomeInfo {
    /// `received`, `awaiting-approval`, `approved`, `refused`, `rejected`, `expired`, `denied` or `completed`; later versions
    /// have more words.
    pub state: String,
    /// Why it is refused, or not signed yet.
    pub reason: Option<String>,
    /// The limit that has no room.
    pub limit: Option<String>,
    /// From when it has.
    pub room_at: Option<UnixMillis>,
    /// What is missing while it waits for persons, a way a line.
    pub missing: Vec<String>,
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
    /// Lines of the draft's limits that would have had no room.
    pub limits: Vec<LimitChargeInfo>,
    /// What the draft would have waited for, a way a line.
    pub missing: Vec<String>,
}

/// How many requests a draft would treat how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
    /// What the replay takes for granted.
    pub assumes: Vec<String>,
}

pub(crate) fn judgement(j: Option<v1::Judgement>) -> Result<JudgementInfo, BadField> {
    let j = j.ok_or(BadField("judgement"))?;
    Ok(JudgementInfo {
        bundle: name(j.version, &j.bundle)?,
        verdict: j.verdict,
        reason: some(j.reason),
        facts: j.facts,
        rules: j.rules,
        near_misses: j.near_misses.into_iter().map(|n| (n.rule, n.condition)).collect(),
        missing: j.missing,
        approvers: j.approvers.iter().map(|name| person(name)).collect::<Result<_, _>>()?,
        charges: charges(j.charges)?,
        errors: j.errors,
    })
}

pub(crate) fn explained(r: v1::ExplainResponse) -> Result<ExplainedInfo, BadField> {
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
            limits: charges(d.limits)?,
        })
    };
    let heard = |h: v1::Heard| {
        Ok(HeardInfo {
            person: person(&h.person)?,
            verdict: h.verdict,
            at: UnixMillis(h.at_ms),
            leaf: h.leaf,
            bundle: Digest::from_slice(&h.bundle).ok_or(BadField("said.bundle"))?,
            void: some(h.void),
        })
    };
    Ok(ExplainedInfo {
        decisions: r.decisions.into_iter().map(decided).collect::<Result<_, _>>()?,
        said: r.said.into_iter().map(heard).collect::<Result<_, _>>()?,
        outcome: r.outcome.map(outcome),
    })
}

fn outcome(o: v1::Outcome) -> OutcomeInfo {
    OutcomeInfo {
        state: o.state,
        reason: some(o.reason),
        limit: some(o.limit),
        room_at: (o.room_at_ms > 0).then_some(UnixMillis(o.room_at_ms)),
        missing: o.missing,
    }
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
        limits: charges(c.limits)?,
        missing: c.missing,
    })
}

pub(crate) fn counts(c: v1::ReplayCounts) -> ReplayCounts {
    let v1::ReplayCounts { requests, unchanged, tightened, loosened, otherwise, skipped, assumes } = c;
    ReplayCounts { requests, unchanged, tightened, loosened, otherwise, skipped, assumes }
}

fn charges(all: Vec<v1::LimitCharge>) -> Result<Vec<LimitChargeInfo>, BadField> {
    all.into_iter().map(charge).collect()
}

fn charge(c: v1::LimitCharge) -> Result<LimitChargeInfo, BadField> {
    let units = |text: &str, field| text.parse::<u128>().map_err(|_| BadField(field));
    let stands = match (&c.taken, &c.left) {
        (Some(taken), Some(left)) => Some(Stands {
            taken: units(taken, "charge.taken")?,
            left: units(left, "charge.left")?,
            full: c.full,
            room_at: (c.room_at_ms > 0).then_some(UnixMillis(c.room_at_ms)),
        }),
        _ => None,
    };
    Ok(LimitChargeInfo {
        amount: units(&c.amount, "charge.amount")?,
        max: units(&c.max, "charge.max")?,
        decimals: c.decimals.map(u8::try_from).transpose().map_err(|_| BadField("charge.decimals"))?,
        by: c.by.into_iter().map(|field| (field.name, field.value)).collect(),
        limit: c.limit,
        window_ms: c.window_ms,
        stands,
    })
}

fn person(name: &str) -> Result<PersonName, BadField> {
    PersonName::parse(name).map_err(|_| BadField("person"))
}
