//! What a bundle says of an intent, without any consequence: for simulating, explaining and replaying. The same decoders and
//! the same decision as in admission; nothing here mints a permit.

use crate::{admit, hsm_sign, tokens};
use std::collections::BTreeSet;
use tally_domain::activation::VetoSpec;
use tally_domain::dsse::Envelope;
use tally_domain::facts::Facts;
use tally_domain::freeze::{FreezeSpec, UnfreezeSpec};
use tally_domain::key::KeyRecord;
use tally_domain::ports::store::NamedLine;
use tally_domain::{
    Action, Approval, Charge, Digest, HsmKeyRecord, HsmKeySpec, Intent, KekSpec, KeySpec, PersonName, Reason, Refusal,
    Tenant, UnixMillis,
};
use tally_policy::{
    APPROVALS_MAX, ApprovalSubject, Approvals, Bundle, Decision, DecisionRequest, PolicyAction, VoidApproval, charges,
    check_approval, decide_approved, lines, shown,
};
use tally_tokenization::{DomainSpec, TokenCall};

/// What is known of the key that an intent names.
#[derive(Debug, Clone, Copy)]
pub enum KeyView<'a> {
    /// Nothing.
    None,
    /// Its nodes hold shares.
    Threshold(&'a KeyRecord),
    /// It is in an HSM.
    Hsm(&'a HsmKeyRecord),
}

/// What persons have said of the intent.
#[derive(Debug, Clone, Copy)]
pub enum People<'a> {
    /// Nothing.
    Silent,
    /// They have signed these statements about the intent with this digest. Those that do not count are void.
    Signed(Digest, &'a [Envelope]),
    /// As if these persons had signed, under whichever bundle.
    Supposed {
        /// Who approves.
        approved: &'a BTreeSet<PersonName>,
        /// Who rejects.
        rejected: &'a BTreeSet<PersonName>,
    },
}

/// What a bundle says.
#[derive(Debug, Clone)]
pub struct Judged {
    /// What a person would be shown.
    pub shown: String,
    /// The decision.
    pub decision: Decision,
    /// What it takes of limits.
    pub charges: Vec<Charge>,
    /// What the lines are called that it takes of.
    pub lines: Vec<NamedLine>,
    /// Persons who are asked, in the order of their names; nobody where the decision does not wait for anyone.
    pub asked: Vec<PersonName>,
    /// What was signed, with why it counts for nothing where it does not.
    pub said: Vec<(Approval, Option<VoidApproval>)>,
}

/// Asks a bundle about an intent; nothing where what rules are asked about does not travel in the intent, as with what is
/// wrapped, the versions of KEKs, and what a token domain that is changed is.
///
/// # Errors
/// A [`Refusal`] where no rule would be asked: an unknown client or key, or content that does not decode.
pub fn judge(
    intent: &Intent,
    key: KeyView<'_>,
    people: People<'_>,
    bundle: &Bundle,
    now: UnixMillis,
) -> Result<Option<Judged>, Refusal> {
    let client = bundle.roster().client(&intent.client).ok_or(Reason::UnknownClient)?;
    if client.tenant != intent.tenant {
        return Err(Reason::Acl.into());
    }
    let ask = |action| {
        let request = DecisionRequest { client: &intent.client, key: &intent.key, action };
        let shown = shown(bundle, &request);
        let (approvals, said) = heard(people, intent, shown.digest, bundle, now);
        let decision = decide_approved(bundle, &request, &approvals, now);
        let asked = match &decision {
            Decision::NeedsApproval(needs) => bundle.approvers(needs, &intent.client),
            Decision::Permit { .. } | Decision::Deny(_) => Vec::new(),
        };
        Ok(Some(Judged {
            shown: shown.text,
            decision,
            charges: charges(bundle, &request).unwrap_or_default(),
            lines: lines(bundle, &request),
            asked: asked.into_iter().map(|(person, _)| person).collect(),
            said,
        }))
    };
    match intent.action {
        Action::Sign => ask(PolicyAction::Sign(&facts(intent, key)?)),
        Action::CreateKey => ask(PolicyAction::CreateKey(&KeySpec::from_bytes(&intent.content)?)),
        Action::CreateHsmKey => {
            let bad = || Refusal::new(Reason::Malformed).with("field", "content");
            ask(PolicyAction::CreateHsmKey(&HsmKeySpec::from_bytes(&intent.content).map_err(|_| bad())?))
        }
        Action::CreateKek => match KekSpec::from_bytes(&intent.content)? {
            KekSpec::Create { .. } => ask(PolicyAction::CreateKek),
            KekSpec::Change(_) => Err(Refusal::new(Reason::Malformed).with("field", "content")),
        },
        Action::Freeze => ask(PolicyAction::Freeze(&FreezeSpec::from_bytes(&intent.content)?.scope)),
        Action::Unfreeze => ask(PolicyAction::Unfreeze(&UnfreezeSpec::from_bytes(&intent.content)?.scope)),
        Action::VetoPolicy => ask(PolicyAction::VetoPolicy(VetoSpec::from_bytes(&intent.content)?.bundle.version)),
        Action::CreateDomain => {
            let bad = || Refusal::new(Reason::Malformed).with("field", "content");
            let spec = DomainSpec::from_bytes(&intent.content).map_err(|_| bad())?;
            ask(PolicyAction::ManageDomain(tokens::domain_facts(&spec, "create", "")))
        }
        Action::Tokenize
        | Action::Reveal
        | Action::SearchToken
        | Action::ShowToken
        | Action::SuspendToken
        | Action::ResumeToken
        | Action::DeleteToken
        | Action::TokenizeMany
        | Action::RevealMany => {
            let call = TokenCall::from_bytes(&intent.content)?;
            ask(PolicyAction::Token(tokens::token_facts(&call)))
        }
        Action::GenerateDataKey
        | Action::Wrap
        | Action::Unwrap
        | Action::Rewrap
        | Action::ChangeKek
        | Action::ChangeDomain => Ok(None),
    }
}

/// Which of it counts.
fn heard(
    people: People<'_>,
    intent: &Intent,
    summary_digest: Digest,
    bundle: &Bundle,
    now: UnixMillis,
) -> (Approvals, Vec<(Approval, Option<VoidApproval>)>) {
    let (intent_digest, envelopes) = match people {
        People::Silent => return (Approvals::none(), Vec::new()),
        People::Supposed { approved, rejected } => {
            return (Approvals::supposed(approved.clone(), rejected.clone()), Vec::new());
        }
        People::Signed(digest, envelopes) => (digest, envelopes),
    };
    let Intent { tenant, request_id, client, .. } = intent;
    let subject = ApprovalSubject { tenant, request_id: *request_id, client, intent_digest, summary_digest };
    let (mut counting, mut said) = (Vec::new(), Vec::new());
    for envelope in envelopes {
        let Ok(approval) = Approval::read_checked(envelope) else { continue };
        let void = check_approval(bundle, &subject, envelope, now).err();
        if void.is_none() && counting.len() < APPROVALS_MAX {
            counting.push(envelope.clone());
        }
        said.push((approval, void));
    }
    (Approvals::collect(bundle, &subject, &counting, now), said)
}

fn facts(intent: &Intent, key: KeyView<'_>) -> Result<Facts, Refusal> {
    let own = |tenant: &Tenant| if *tenant == intent.tenant { Ok(()) } else { Err(Refusal::from(Reason::KeyNotFound)) };
    let decoded = match key {
        KeyView::None => return Err(Reason::KeyNotFound.into()),
        KeyView::Threshold(record) => {
            own(&record.tenant)?;
            admit::check_purpose(intent, record)?;
            tally_chains::decode(intent.kind, record.scheme, &intent.chain, &intent.content)
        }
        KeyView::Hsm(record) => {
            own(&record.tenant)?;
            hsm_sign::check_purpose(intent, record)?;
            let scheme = record.public_key().ok_or(Reason::KeyPurpose)?.scheme();
            tally_chains::decode_hsm(intent.kind, scheme, &intent.chain, &intent.content)
        }
    };
    decoded.map(|decoded| decoded.facts).map_err(|e| Refusal::new(e.reason()).with("detail", e.to_string()))
}
