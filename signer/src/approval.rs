//! Requests that persons must approve: what a node shows of one, which statements count, and what it still waits for. The
//! same for a threshold key, a key in an HSM and the cards of a token domain. Every node computes all of it from the
//! client's bytes and the persons' (S-2.2 steps 13 and 14).

use crate::admit::{Opened, check_short, decided};
use crate::boot::BootIdentity;
use tally_audit::event::{Waiting, What};
use tally_domain::approval::Verdict;
use tally_domain::dsse::{Envelope, content_digest};
use tally_domain::facts::Facts;
use tally_domain::ports::store::{ApprovalRow, ApprovalWrite, Step, WaitingRow, Write};
use tally_domain::token::TokenFacts;
use tally_domain::{Approval, Digest, Intent, NodeName, PersonName, Reason, Refusal, UnixMillis};
use tally_policy::{
    APPROVALS_MAX, ApprovalSubject, Approvals, Bundle, Decision, DecisionRequest, Need, PolicyAction, Shown,
    VoidApproval, check_approval, decide, decide_approved, shown,
};

/// A request to sign or to reveal as this node reads it, whatever the key's backing.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    opened: &'a Opened,
    action: PolicyAction<'a>,
}

/// By which rule a request is permitted, and by whose approvals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruled {
    /// The rule.
    pub rule: String,
    /// The approvals, by person; none where the rule asks nobody.
    pub approvals: Vec<Envelope>,
}

/// Where a request stands at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Persons have yet to approve.
    Waiting(Vec<Need>),
    /// Enough have, or none need to.
    Approved,
    /// These have rejected it.
    Rejected(Vec<PersonName>),
    /// Policy does not permit it, whoever approves.
    Denied(Refusal),
}

impl<'a> Question<'a> {
    /// An intent to sign with what this node decoded out of it.
    pub fn new(opened: &'a Opened, facts: &'a Facts) -> Self {
        Self { opened, action: PolicyAction::Sign(facts) }
    }

    /// An intent to do something with the cards of a domain.
    pub(crate) fn of_tokens(opened: &'a Opened, facts: TokenFacts<'a>) -> Self {
        Self { opened, action: PolicyAction::Token(facts) }
    }

    pub(crate) fn opened(&self) -> &'a Opened {
        self.opened
    }

    pub(crate) fn request(&self) -> DecisionRequest<'a> {
        let intent = self.opened.intent();
        DecisionRequest { client: &intent.client, key: &intent.key, action: self.action }
    }

    fn subject(&self, bundle: &Bundle) -> ApprovalSubject<'a> {
        let intent = self.opened.intent();
        ApprovalSubject {
            tenant: &intent.tenant,
            request_id: intent.request_id,
            client: &intent.client,
            intent_digest: self.opened.digest(),
            summary_digest: self.shown(bundle).digest,
        }
    }

    /// What a person is shown.
    pub fn shown(&self, bundle: &Bundle) -> Shown {
        shown(bundle, &self.request())
    }

    /// Decides, with the statements that were brought along. Each of them must count: what a leader proposes is what
    /// everyone votes for.
    ///
    /// # Errors
    /// A [`Refusal`]; `APPROVALS_REQUIRED` with what is missing.
    pub fn decide(&self, bundle: &Bundle, now: UnixMillis) -> Result<Ruled, Refusal> {
        match decide(bundle, &self.request(), now) {
            Decision::Permit { rule } => {
                check_short(self.opened.intent())?;
                Ok(Ruled { rule, approvals: Vec::new() })
            }
            Decision::NeedsApproval(_) => self.decide_with(bundle, self.opened.said(), now),
            denied @ Decision::Deny(_) => decided(denied).map(|rule| Ruled { rule, approvals: Vec::new() }),
        }
    }

    fn decide_with(&self, bundle: &Bundle, said: &[Envelope], now: UnixMillis) -> Result<Ruled, Refusal> {
        if said.len() > APPROVALS_MAX {
            return Err(Refusal::new(Reason::Malformed).with("field", "approvals"));
        }
        let subject = self.subject(bundle);
        let mut before: Option<PersonName> = None;
        for envelope in said {
            let approval = check_approval(bundle, &subject, envelope, now).map_err(|void| void_refusal(&void))?;
            if before.is_some_and(|before| before >= approval.person) {
                return Err(Refusal::new(Reason::AlreadyApproved).with("person", approval.person.as_str()));
            }
            before = Some(approval.person);
        }
        let approvals = Approvals::collect(bundle, &subject, said, now);
        let rule = decided(decide_approved(bundle, &self.request(), &approvals, now))?;
        Ok(Ruled { rule, approvals: said.to_vec() })
    }

    /// Those of the statements that count now, one a person; what is void is left out.
    pub fn counting(&self, bundle: &Bundle, said: &[ApprovalRow], now: UnixMillis) -> Vec<Envelope> {
        let subject = self.subject(bundle);
        let envelopes = said.iter().filter(|row| row.verdict == Verdict::Approve).filter_map(envelope_of);
        envelopes.filter(|e| check_approval(bundle, &subject, e, now).is_ok()).take(APPROVALS_MAX).collect()
    }

    /// Where it stands with these statements.
    pub fn standing(&self, bundle: &Bundle, said: &[ApprovalRow], now: UnixMillis) -> Standing {
        let rejected: Vec<_> = said.iter().filter(|row| row.verdict == Verdict::Reject).collect();
        if !rejected.is_empty() {
            return Standing::Rejected(rejected.into_iter().map(|row| row.person.clone()).collect());
        }
        let approvals = Approvals::collect(bundle, &self.subject(bundle), &self.counting(bundle, said, now), now);
        match decide_approved(bundle, &self.request(), &approvals, now) {
            Decision::Permit { .. } => Standing::Approved,
            Decision::NeedsApproval(needs) => Standing::Waiting(needs),
            denied @ Decision::Deny(_) => match decided(denied) {
                Ok(_) => Standing::Approved,
                Err(refusal) => Standing::Denied(refusal),
            },
        }
    }

    /// Checks what a person has signed of this request; `known` is what this node has of it already.
    ///
    /// # Errors
    /// A [`Refusal`] that says what is wrong with it, or that the request asks nobody or not this person.
    pub fn check(
        &self,
        bundle: &Bundle,
        envelope: &Envelope,
        known: &[ApprovalRow],
        now: UnixMillis,
    ) -> Result<Approval, Refusal> {
        let subject = self.subject(bundle);
        let approval = check_approval(bundle, &subject, envelope, now).map_err(|void| void_refusal(&void))?;
        match decide(bundle, &self.request(), now) {
            Decision::NeedsApproval(needs) if bundle.asks(&needs, &approval.person) => {}
            Decision::NeedsApproval(_) => {
                return Err(Refusal::new(Reason::NotAnApprover).with("person", approval.person.as_str()));
            }
            Decision::Permit { .. } => return Err(Reason::NotWaiting.into()),
            denied @ Decision::Deny(_) => return decided(denied).and(Err(Reason::NotWaiting.into())),
        }
        if approval.verdict == Verdict::Approve {
            if let Some(rejected) = known.iter().find(|row| row.verdict == Verdict::Reject) {
                return Err(rejected_by(&rejected.person));
            }
            let counts = |row: &&ApprovalRow| {
                row.person == approval.person
                    && envelope_of(row).is_some_and(|e| check_approval(bundle, &subject, &e, now).is_ok())
            };
            if let Some(before) = known.iter().find(counts) {
                let refusal = Refusal::new(Reason::AlreadyApproved).with("person", approval.person.as_str());
                return Err(refusal.with("at", before.at.to_string()));
            }
        }
        Ok(approval)
    }

    /// What asks for it when nobody has said anything: who is to be shown it.
    pub fn needs(&self, bundle: &Bundle, now: UnixMillis) -> Vec<Need> {
        match decide(bundle, &self.request(), now) {
            Decision::NeedsApproval(needs) => needs,
            Decision::Permit { .. } | Decision::Deny(_) => Vec::new(),
        }
    }

    /// The row and the leaf of a request that waits here.
    pub fn wait(&self, bundle: &Bundle, owner: &NodeName, boot: &BootIdentity, now: UnixMillis) -> Step {
        use prost::Message as _;
        let (intent, summary) = (self.opened.intent(), self.shown(bundle).digest);
        let row = WaitingRow {
            tenant: intent.tenant.clone(),
            request: intent.request_id,
            intent: self.opened.envelope().encode_to_vec(),
            owner: owner.clone(),
            bundle: bundle.digest(),
            summary,
            expires_at: intent.expires_at,
            at: now,
        };
        let waiting = Waiting {
            tenant: intent.tenant.clone(),
            request_id: intent.request_id,
            intent_digest: self.opened.digest(),
            bundle: bundle.digest(),
            summary_digest: summary,
            owner: owner.clone(),
            expires_at: intent.expires_at,
        };
        Step {
            writes: vec![Write::Approval(ApprovalWrite::Await(row))],
            leaves: vec![boot.leaf(now, What::Waiting(waiting))],
        }
    }
}

/// The row and the leaf of what a person has said, after [`Question::check`].
pub fn said_step(approval: &Approval, envelope: &Envelope, boot: &BootIdentity, now: UnixMillis) -> Step {
    use prost::Message as _;
    let row = ApprovalRow {
        tenant: approval.tenant.clone(),
        request: approval.request_id,
        person: approval.person.clone(),
        verdict: approval.verdict,
        envelope: envelope.encode_to_vec(),
        at: now,
    };
    Step {
        writes: vec![Write::Approval(ApprovalWrite::Put(row))],
        leaves: vec![boot.leaf(now, What::Said { approval: envelope.clone() })],
    }
}

/// The step, unless a person has rejected the request when it would become durable. A vote and a release need no such
/// guard: the store asks by itself.
#[must_use]
pub fn unless_rejected(mut step: Step, intent: &Intent) -> Step {
    let (tenant, request) = (intent.tenant.clone(), intent.request_id);
    step.writes.insert(0, Write::Approval(ApprovalWrite::NotRejected { tenant, request }));
    step
}

/// What a person has signed, out of this node's own store.
pub fn envelope_of(row: &ApprovalRow) -> Option<Envelope> {
    use prost::Message as _;
    Envelope::decode(row.envelope.as_slice()).ok()
}

/// What votes say of approvals: the digest of each, in the order of their persons.
pub fn digests(approvals: &[Envelope]) -> Vec<Digest> {
    approvals.iter().map(content_digest).collect()
}

/// What the caller is told after a rejection.
pub fn rejected_by(person: &PersonName) -> Refusal {
    Refusal::new(Reason::Rejected).with("rejected_by", person.as_str())
}

fn void_refusal(void: &VoidApproval) -> Refusal {
    let mismatch = |field: &str| Refusal::new(Reason::ApprovalMismatch).with("field", field);
    let refusal = match void {
        VoidApproval::Bad(bad) => match bad {
            tally_domain::approval::BadApproval::NotCanonical => {
                Refusal::new(Reason::Malformed).with("field", "approval")
            }
            tally_domain::approval::BadApproval::Signature => Reason::ApprovalSignature.into(),
        },
        VoidApproval::UnknownPerson => Reason::ApprovalSignature.into(),
        VoidApproval::Initiator => Reason::ApprovalInitiator.into(),
        VoidApproval::OtherRequest => mismatch("request_id"),
        VoidApproval::OtherIntent => mismatch("intent_digest"),
        VoidApproval::OtherBundle => mismatch("bundle"),
        VoidApproval::OtherSummary => mismatch("summary_digest"),
        VoidApproval::Expired | VoidApproval::TooLong => Reason::ApprovalExpired.into(),
    };
    refusal.with("detail", void.to_string())
}
