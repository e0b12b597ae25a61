//! What one log says of persons' approvals: nothing is voted for or signed under a rule that asks persons without those
//! persons' own signatures before it in the same log, and nothing after a rejection, or after the client has taken it back.

use super::{Request, Walk};
use crate::event::Waiting;
use crate::verify::basis::Approvers;
use crate::verify::finding::{ApprovalProblem, Problem};
use std::collections::{BTreeMap, BTreeSet};
use tally_domain::approval::Verdict;
use tally_domain::cancel::Cancellation;
use tally_domain::dsse::{Envelope, content_digest};
use tally_domain::time::CLOCK_TOLERANCE_MS;
use tally_domain::vote::VoteBody;
use tally_domain::{Approval, Digest, PersonName, RequestId};

/// What a log says of approvals.
#[derive(Default)]
pub(super) struct Trace {
    /// By the digest that votes name them by.
    approvals: BTreeMap<Digest, Approval>,
    rejected: BTreeMap<Request, PersonName>,
    cancelled: BTreeSet<Request>,
    /// Rule and bundle of the last permit.
    permitted_by: BTreeMap<Request, (String, Digest)>,
}

impl Trace {
    pub(super) fn permitted(&mut self, request: Request, rule: &str, bundle: Digest) {
        self.permitted_by.insert(request, (rule.to_owned(), bundle));
    }
}

impl Walk<'_> {
    /// A request waits only for what its client has signed.
    pub(super) fn waiting(&self, waiting: &Waiting) -> Result<(), Problem> {
        let request = waiting.request_id;
        let intent = self.intents.get(&waiting.intent_digest).and_then(|intent| intent.as_ref().ok());
        match intent {
            None => Err(Problem::PermitWithoutIntent { request }),
            Some(i) if (&i.tenant, i.request_id) != (&waiting.tenant, request) => {
                Err(Problem::IntentMismatch { request, field: "request_id" })
            }
            Some(i) if i.expires_at != waiting.expires_at => {
                Err(Problem::IntentMismatch { request, field: "expires_at" })
            }
            Some(_) => Ok(()),
        }
    }

    pub(super) fn said(&mut self, envelope: &Envelope) -> Result<(), Problem> {
        let approval = Approval::read_checked(envelope).map_err(ApprovalProblem::from)?;
        if let Some(approvers) = self.approvers_of(approval.bundle) {
            let person = approval.person.clone();
            let keys = approvers.keys(&person).ok_or(ApprovalProblem::UnknownPerson { person })?;
            Approval::open(envelope, &keys).map_err(ApprovalProblem::from)?;
        }
        let (person, request) = (approval.person.clone(), approval.request_id);
        if !matches!(self.intents.get(&approval.intent_digest), Some(Ok(_))) {
            return Err(ApprovalProblem::WithoutIntent { person, request }.into());
        }
        match approval.verdict {
            Verdict::Approve => drop(self.said.approvals.insert(content_digest(envelope), approval)),
            Verdict::Reject => drop(self.said.rejected.insert((approval.tenant, request), person)),
        }
        Ok(())
    }

    pub(super) fn cancelled(&mut self, envelope: &Envelope) -> Result<(), Problem> {
        let client = Cancellation::claimed_client(envelope).map_err(Problem::Cancellation)?;
        let known = self.roster.client(&client).ok_or(Problem::UnknownClient { client })?;
        let asked = Cancellation::open(envelope, &known.intent_key).map_err(Problem::Cancellation)?;
        if asked.tenant != known.tenant {
            return Err(Problem::OtherTenant { client: asked.client });
        }
        self.said.cancelled.insert((asked.tenant, asked.request_id));
        Ok(())
    }

    fn approvers_of(&self, bundle: Digest) -> Option<&dyn Approvers> {
        self.approvers.iter().copied().find(|a| a.bundle() == bundle)
    }

    /// Nothing is done for a request after this node has written down that its client cancelled it.
    pub(super) fn is_not_cancelled(&self, request: &Request) -> Result<(), Problem> {
        match self.said.cancelled.contains(request) {
            true => Err(Problem::AfterCancellation { request: request.1 }),
            false => Ok(()),
        }
    }

    /// Nor after a person rejected it.
    fn is_not_rejected(&self, request: &Request) -> Result<(), Problem> {
        match self.said.rejected.get(request).cloned() {
            Some(person) => Err(ApprovalProblem::AfterRejection { request: request.1, person }.into()),
            None => self.is_not_cancelled(request),
        }
    }

    /// A vote names approvals that are in the log, count for just this, and are enough.
    pub(super) fn vote_is_approved(&self, body: &VoteBody) -> Result<(), Problem> {
        let request = body.request_id;
        self.is_not_rejected(&(body.tenant.clone(), request))?;
        let mut persons = BTreeSet::new();
        for digest in &body.approvals {
            let approval = self.said.approvals.get(digest).ok_or(ApprovalProblem::NotInLog { request })?;
            let fits = [
                ("request_id", (&approval.tenant, approval.request_id) == (&body.tenant, request)),
                ("intent_digest", approval.intent_digest == body.intent_digest),
                ("bundle", approval.bundle == body.bundle),
                ("expires_at", approval.expires_at.plus(CLOCK_TOLERANCE_MS) > self.time),
                ("person", persons.insert(approval.person.clone())),
            ];
            if let Some((field, _)) = fits.into_iter().find(|(_, fits)| !fits) {
                return Err(ApprovalProblem::DoesNotCount { request, person: approval.person.clone(), field }.into());
            }
        }
        self.are_enough(request, body.intent_digest, &body.rule, body.bundle, &persons)
    }

    /// A key in an HSM signs without votes: what the log holds before must be enough.
    pub(super) fn resident_is_approved(&self, request: &Request, intent: Digest) -> Result<(), Problem> {
        self.is_not_rejected(request)?;
        let Some((rule, bundle)) = self.said.permitted_by.get(request) else { return Ok(()) };
        let counts = |a: &&Approval| a.intent_digest == intent && a.bundle == *bundle;
        let persons = self.said.approvals.values().filter(counts).map(|a| a.person.clone()).collect();
        self.are_enough(request.1, intent, rule, *bundle, &persons)
    }

    fn are_enough(
        &self,
        request: RequestId,
        intent: Digest,
        rule: &str,
        bundle: Digest,
        persons: &BTreeSet<PersonName>,
    ) -> Result<(), Problem> {
        let Some(approvers) = self.approvers_of(bundle) else { return Ok(()) };
        let Some(Ok(intent)) = self.intents.get(&intent) else { return Ok(()) };
        if approvers.enough(rule, &intent.client, persons) {
            Ok(())
        } else {
            Err(ApprovalProblem::NotEnough { request, rule: rule.to_owned() }.into())
        }
    }
}
