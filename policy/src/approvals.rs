//! Approvals of persons: which count for a request, and whether a rule has enough of them (S-2.2 step 13).

use crate::bundle::{APPROVALS_MAX, Bundle, DAY_MS, Quorum, missing};
use crate::decide::Need;
use std::collections::BTreeSet;
use tally_domain::approval::{Approval, BadApproval, Verdict};
use tally_domain::dsse::{Envelope, VerifyingKey};
use tally_domain::time::CLOCK_TOLERANCE_MS;
use tally_domain::{ClientId, Digest, PersonName, RequestId, Tenant, UnixMillis};

/// Longest that an approval counts (S-2.2 step 4): a request that nobody has signed for in a day is asked for again.
pub const APPROVAL_VALIDITY_MAX_MS: u64 = DAY_MS;

/// What is to be approved.
#[derive(Debug, Clone, Copy)]
pub struct ApprovalSubject<'a> {
    /// Tenant of the request.
    pub tenant: &'a Tenant,
    /// The request.
    pub request_id: RequestId,
    /// The client that asks. Who operates it does not approve.
    pub client: &'a ClientId,
    /// Digest of the client's intent.
    pub intent_digest: Digest,
    /// Digest of what this node shows of it, from [`crate::shown`].
    pub summary_digest: Digest,
}

/// The persons who have approved a request, and those who have rejected it. Only checked statements get in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Approvals {
    approved: BTreeSet<PersonName>,
    rejected: BTreeSet<PersonName>,
}

/// Why an approval counts for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VoidApproval {
    /// Not an approval, or not signed by the person.
    #[error(transparent)]
    Bad(#[from] BadApproval),
    /// Nobody of `groups.toml`.
    #[error("the person is not in groups.toml of the active bundle")]
    UnknownPerson,
    /// The person operates the client that asks.
    #[error("the person operates the client that asks; somebody else must approve")]
    Initiator,
    /// For another cluster, tenant or request.
    #[error("the approval is for another request")]
    OtherRequest,
    /// The request id, but not what was asked for under it.
    #[error("the approval is for another intent under this request id")]
    OtherIntent,
    /// The bundle has changed.
    #[error("the approval was given under another bundle; look at the request again and approve it again")]
    OtherBundle,
    /// The person was shown something else.
    #[error("the person was shown something else than this node decodes; look at the request again")]
    OtherSummary,
    /// Its time is over.
    #[error("the approval has expired; while the request waits it can be approved again")]
    Expired,
    /// It would count for too long.
    #[error("the approval is valid for longer than a day; sign one for less")]
    TooLong,
}

impl Approvals {
    /// Nobody has said anything.
    pub fn none() -> Self {
        Self::default()
    }

    /// Those of `envelopes` that count. Void ones change nothing; with more than [`APPROVALS_MAX`] none counts.
    pub fn collect(bundle: &Bundle, subject: &ApprovalSubject<'_>, envelopes: &[Envelope], now: UnixMillis) -> Self {
        let mut approvals = Self::none();
        let looked_at = if envelopes.len() > APPROVALS_MAX { &[] } else { envelopes };
        for approval in looked_at.iter().filter_map(|e| check_approval(bundle, subject, e, now).ok()) {
            match approval.verdict {
                Verdict::Approve => approvals.approved.insert(approval.person),
                Verdict::Reject => approvals.rejected.insert(approval.person),
            };
        }
        approvals
    }

    /// As if these persons had signed: for trying out what a bundle decides, never for deciding.
    pub fn supposed(approved: BTreeSet<PersonName>, rejected: BTreeSet<PersonName>) -> Self {
        Self { approved, rejected }
    }

    /// What is missing until all of `quorums` are met.
    pub(crate) fn missing(&self, bundle: &Bundle, client: &ClientId, quorums: &[Quorum]) -> Vec<Quorum> {
        let approved = self.approved.iter().filter(|person| !operates(bundle, person, client)).collect();
        missing(quorums, &bundle.groups, &approved)
    }

    /// Those who have rejected it, of the persons whom `quorums` ask.
    pub(crate) fn rejected_by<'a>(&'a self, bundle: &Bundle, quorums: &[Quorum]) -> BTreeSet<&'a PersonName> {
        let asked = |person: &PersonName| {
            quorums.iter().any(|q| bundle.groups.group(&q.group).is_some_and(|persons| persons.contains(person)))
        };
        self.rejected.iter().filter(|person| asked(person)).collect()
    }
}

/// Checks one approval: by whom, for what, under which bundle, until when. A rejection is final: a new bundle, another
/// display or time do not lift it.
///
/// # Errors
/// [`VoidApproval`].
pub fn check_approval(
    bundle: &Bundle,
    subject: &ApprovalSubject<'_>,
    envelope: &Envelope,
    now: UnixMillis,
) -> Result<Approval, VoidApproval> {
    let claimed = Approval::claimed_person(envelope)?;
    let person = bundle.groups.person(&claimed).ok_or(VoidApproval::UnknownPerson)?;
    let approval = Approval::open(envelope, &person.keys)?;
    if operates(bundle, &approval.person, subject.client) {
        return Err(VoidApproval::Initiator);
    }
    let same_request = approval.tenant == *subject.tenant && approval.request_id == subject.request_id;
    if approval.cluster != bundle.header().cluster || !same_request {
        return Err(VoidApproval::OtherRequest);
    }
    if approval.intent_digest != subject.intent_digest {
        return Err(VoidApproval::OtherIntent);
    }
    match approval.verdict {
        Verdict::Reject => Ok(approval),
        Verdict::Approve => still_counts(bundle, subject, approval, now),
    }
}

fn still_counts(
    bundle: &Bundle,
    subject: &ApprovalSubject<'_>,
    approval: Approval,
    now: UnixMillis,
) -> Result<Approval, VoidApproval> {
    if approval.bundle != bundle.digest() {
        return Err(VoidApproval::OtherBundle);
    }
    if approval.summary_digest != subject.summary_digest {
        return Err(VoidApproval::OtherSummary);
    }
    if now >= approval.expires_at {
        return Err(VoidApproval::Expired);
    }
    if approval.expires_at > now.plus(APPROVAL_VALIDITY_MAX_MS + CLOCK_TOLERANCE_MS) {
        return Err(VoidApproval::TooLong);
    }
    Ok(approval)
}

impl Bundle {
    /// Whether any path of these needs asks a person.
    pub fn asks(&self, needs: &[Need], person: &PersonName) -> bool {
        let quorums = needs.iter().flat_map(|need| &need.paths).flat_map(|path| &path.needed);
        quorums.into_iter().any(|q| self.groups.group(&q.group).is_some_and(|persons| persons.contains(person)))
    }

    /// Whether these persons are enough under the rule, or the rules with `,` between, that permitted what a client asks.
    pub fn enough(&self, rule: &str, client: &ClientId, persons: &BTreeSet<PersonName>) -> bool {
        let approvals = Approvals { approved: persons.clone(), rejected: BTreeSet::new() };
        rule.split(',').all(|id| {
            let rule = self.rules_in_full().iter().find(|rule| rule.id == id);
            rule.is_some_and(|rule| approvals.missing(self, client, &rule.approvals).is_empty())
        })
    }

    /// A person's keys.
    pub fn keys_of(&self, person: &PersonName) -> Option<Vec<VerifyingKey>> {
        self.groups.person(person).map(|person| person.keys.clone())
    }

    /// Whom these needs ask, with their keys, but for those who operate the client.
    pub fn approvers(&self, needs: &[Need], client: &ClientId) -> Vec<(PersonName, Vec<VerifyingKey>)> {
        let asked = self.groups.persons().filter(|(name, p)| self.asks(needs, name) && !p.clients.contains(client));
        asked.map(|(name, person)| (name.clone(), person.keys.clone())).collect()
    }

    /// Who operates a client, with their keys: they do not decide about what it asks for.
    pub fn operators(&self, client: &ClientId) -> Vec<(PersonName, Vec<VerifyingKey>)> {
        let operators = self.groups.persons().filter(|(_, person)| person.clients.contains(client));
        operators.map(|(name, person)| (name.clone(), person.keys.clone())).collect()
    }
}

fn operates(bundle: &Bundle, person: &PersonName, client: &ClientId) -> bool {
    bundle.groups.person(person).is_some_and(|p| p.clients.contains(client))
}
