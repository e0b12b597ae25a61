//! What a bundle says of an intent, without any consequence: for simulating, explaining and replaying. The same decoders and
//! the same decision as in admission; nothing here mints a permit.

use crate::{admit, hsm_sign, tokens};
use tally_domain::activation::VetoSpec;
use tally_domain::facts::Facts;
use tally_domain::freeze::{FreezeSpec, UnfreezeSpec};
use tally_domain::key::KeyRecord;
use tally_domain::{
    Action, Charge, HsmKeyRecord, HsmKeySpec, Intent, KekSpec, KeySpec, Reason, Refusal, Tenant, UnixMillis,
};
use tally_policy::{Bundle, Decision, DecisionRequest, PolicyAction, charges, decide, shown};
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

/// What a bundle says.
#[derive(Debug, Clone)]
pub struct Judged {
    /// What a person would be shown.
    pub shown: String,
    /// The decision, with no approvals.
    pub decision: Decision,
    /// What it takes of limits.
    pub charges: Vec<Charge>,
}

/// Asks a bundle about an intent; nothing where what rules are asked about does not travel in the intent, as with what is
/// wrapped, the versions of KEKs, and what a token domain that is changed is.
///
/// # Errors
/// A [`Refusal`] where no rule would be asked: an unknown client or key, or content that does not decode.
pub fn judge(intent: &Intent, key: KeyView<'_>, bundle: &Bundle, now: UnixMillis) -> Result<Option<Judged>, Refusal> {
    let client = bundle.roster().client(&intent.client).ok_or(Reason::UnknownClient)?;
    if client.tenant != intent.tenant {
        return Err(Reason::Acl.into());
    }
    let ask = |action| {
        let request = DecisionRequest { client: &intent.client, key: &intent.key, action };
        Ok(Some(Judged {
            shown: shown(bundle, &request).text,
            decision: decide(bundle, &request, now),
            charges: charges(bundle, &request).unwrap_or_default(),
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
