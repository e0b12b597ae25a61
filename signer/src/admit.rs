//! Admission, at every node by itself: signature, times, key, own decode, own digest, policy. Cheapest check first.
//!
//! Nothing that the leader or another node says is an input here, except the client's signed bytes.

use crate::approval::{Question, Ruled};
use crate::freeze::Freezes;
use tally_audit::event::Verdict;
use tally_chains::ToSign;
use tally_domain::dsse::{self, Envelope};
use tally_domain::facts::Facts;
use tally_domain::key::{KeyRecord, KeyState};
use tally_domain::time::{APPROVED_INTENT_VALIDITY_MAX_MS, CLOCK_TOLERANCE_MS, INTENT_VALIDITY_MAX_MS};
use tally_domain::{Action, Charge, Digest, Intent, KeySpec, Purpose, Reason, Refusal, UnixMillis};
use tally_domain::{ContentKind, Scheme};
use tally_policy::{Bundle, Decision, DecisionRequest, NEAR_MISSES_MAX, Need, PolicyAction, decide};
use tally_tokenization::plain::card_field;

/// An intent whose client is known and whose signature has been checked over the received bytes. Says nothing yet
/// about whether it may be done.
#[derive(Debug, Clone)]
#[must_use]
pub struct Opened {
    intent: Intent,
    envelope: Envelope,
    digest: Digest,
    said: Vec<Envelope>,
    bundle: Digest,
}

impl Opened {
    /// What the client asks for.
    pub fn intent(&self) -> &Intent {
        &self.intent
    }

    /// The bytes as received.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// Digest of the signed bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The same with what persons are said to have signed about it, which whoever decides checks.
    pub fn with_said(self, said: Vec<Envelope>) -> Self {
        Self { said, ..self }
    }

    /// What persons are said to have signed about it.
    pub fn said(&self) -> &[Envelope] {
        &self.said
    }

    /// The bundle whose roster names the client, and under which it is decided.
    pub fn bundle(&self) -> Digest {
        self.bundle
    }
}

/// Checks size, client, cluster, tenant and signature, and reads the intent strictly. What it says in plain text is kept and
/// logged by every node: a card number there is refused before anything is.
///
/// # Errors
/// `OVERSIZED`, `MALFORMED`, `UNKNOWN_CLIENT`, `INTENT_SIGNATURE`, `ACL`, `CARD_IN_TEXT`.
pub fn open(bundle: &Bundle, envelope: Envelope) -> Result<Opened, Refusal> {
    let claimed = Intent::claimed_client(&envelope)?;
    let client = bundle.roster().client(&claimed).ok_or(Reason::UnknownClient)?;
    let intent = Intent::open(&envelope, &client.intent_key)?;
    if intent.cluster != bundle.roster().cluster {
        return Err(Refusal::new(Reason::Acl).with("field", "cluster"));
    }
    if intent.tenant != client.tenant {
        return Err(Reason::Acl.into());
    }
    if let Some(field) = card_field(&intent) {
        return Err(Refusal::new(Reason::CardInText).with("field", field));
    }
    let digest = dsse::content_digest(&envelope);
    Ok(Opened { intent, envelope, digest, said: Vec::new(), bundle: bundle.digest() })
}

/// A request to sign as this node reads it: the key, the facts and what is to be signed. Says nothing yet about
/// whether it is permitted.
#[derive(Debug, Clone)]
#[must_use]
pub struct Subject {
    opened: Opened,
    record: KeyRecord,
    facts: Facts,
    to_sign: ToSign,
}

impl Subject {
    /// The request.
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// The intent.
    pub fn intent(&self) -> &Intent {
        &self.opened.intent
    }

    /// The key.
    pub fn record(&self) -> &KeyRecord {
        &self.record
    }

    /// What this node decoded.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// What the scheme signs.
    pub fn to_sign(&self) -> &ToSign {
        &self.to_sign
    }

    /// The bytes that the scheme signs: a 32-byte digest, or the message; see [`ToSign::to_bytes`].
    pub fn bytes_to_sign(&self) -> Vec<u8> {
        self.to_sign.to_bytes()
    }

    /// One digest that stands for what is to be signed, for votes and session ids.
    pub fn digest_to_sign(&self) -> Digest {
        self.to_sign.digest()
    }
}

/// Decodes a request to sign against its key: state, purpose, path, content.
///
/// # Errors
/// `KEY_NOT_FOUND`, `KEY_NOT_ACTIVE`, `KEY_PURPOSE`, `KEY_SCHEME`, `PARAMETER_RANGE`, `TX_UNPARSEABLE`, `TX_TYPE`,
/// `TYPED_DATA_INVALID`, `CHAIN_MISMATCH`, `MALFORMED`.
pub fn subject(opened: Opened, key: Option<(&KeyRecord, KeyState)>) -> Result<Subject, Refusal> {
    let intent = &opened.intent;
    expect_action(intent, Action::Sign)?;
    let (record, state) = key.ok_or(Reason::KeyNotFound)?;
    if record.tenant != intent.tenant || record.name != intent.key {
        return Err(Reason::KeyNotFound.into());
    }
    if state != KeyState::Active {
        return Err(Reason::KeyNotActive.into());
    }
    check_purpose(intent, record)?;
    let decoded = tally_chains::decode(intent.kind, record.scheme, &intent.chain, &intent.content)
        .map_err(|e| Refusal::new(e.reason()).with("detail", e.to_string()))?;
    Ok(Subject { record: record.clone(), facts: decoded.facts, to_sign: decoded.to_sign, opened })
}

/// This node permits a signature, and by which rule of which bundle. Only [`admit_sign`] mints it.
#[derive(Debug, Clone)]
#[must_use]
pub struct Permit {
    subject: Subject,
    rule: String,
    approvals: Vec<Envelope>,
    bundle: Digest,
    charges: Vec<Charge>,
}

impl Permit {
    /// What is permitted.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The rule that decided.
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// Whose approvals the rule asked for, by person; none where it asks nobody.
    pub fn approvals(&self) -> &[Envelope] {
        &self.approvals
    }

    /// The bundle that decided.
    pub fn bundle(&self) -> Digest {
        self.bundle
    }

    /// What it takes of each limit that applies. Where there is any, votes and certificates must claim it.
    pub fn charges(&self) -> &[Charge] {
        &self.charges
    }
}

/// Decides whether this node takes part in signing; `charges` says what this takes of limits.
///
/// # Errors
/// A [`Refusal`]; `POLICY_DENIED` and `TX_OPAQUE` carry the rule and condition in their metadata, `APPROVALS_REQUIRED` what is
/// missing. Whatever `charges` refuses.
pub fn admit_sign(
    opened: Opened,
    key: Option<(&KeyRecord, KeyState)>,
    freezes: &Freezes,
    bundle: &Bundle,
    now: UnixMillis,
    charges: impl FnOnce(&Subject) -> Result<Vec<Charge>, Refusal>,
) -> Result<Permit, Refusal> {
    expect_action(&opened.intent, Action::Sign)?;
    check_sign_times(&opened.intent, now)?;
    check_bundle_version(&opened.intent, bundle)?;
    let subject = subject(opened, key)?;
    freezes.check(&subject.intent().key)?;
    let Ruled { rule, approvals } = Question::new(&subject.opened, &subject.facts).decide(bundle, now)?;
    let charges = charges(&subject)?;
    Ok(Permit { subject, rule, approvals, bundle: bundle.digest(), charges })
}

/// This node permits the creation of a key. Only [`admit_create`] mints it.
#[derive(Debug, Clone)]
#[must_use]
pub struct CreatePermit {
    opened: Opened,
    spec: KeySpec,
    rule: String,
    bundle: Digest,
}

impl CreatePermit {
    /// The request.
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// The intent.
    pub fn intent(&self) -> &Intent {
        &self.opened.intent
    }

    /// What the key shall be.
    pub fn spec(&self) -> KeySpec {
        self.spec
    }

    /// The rule that decided.
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// The bundle that decided.
    pub fn bundle(&self) -> Digest {
        self.bundle
    }
}

/// Decides whether this node takes part in creating a key.
///
/// # Errors
/// A [`Refusal`].
pub fn admit_create(
    opened: Opened,
    freezes: &Freezes,
    bundle: &Bundle,
    now: UnixMillis,
) -> Result<CreatePermit, Refusal> {
    let intent = &opened.intent;
    expect_action(intent, Action::CreateKey)?;
    check_times(intent, now)?;
    check_bundle_version(intent, bundle)?;
    if intent.kind != ContentKind::KeySpec || !intent.path.is_root() || !intent.chain.is_empty() {
        return Err(Refusal::new(Reason::Malformed).with("field", "kind"));
    }
    let spec = KeySpec::from_bytes(&intent.content).map_err(|_| {
        Refusal::new(Reason::ParameterRange).with("detail", "scheme, purpose or threshold: 2 <= t <= n <= 16, 2t > n")
    })?;
    if spec.purpose != intent.purpose {
        return Err(Reason::KeyPurpose.into());
    }
    if spec.scheme != Scheme::EcdsaSecp256k1 && spec.purpose == Purpose::Transaction {
        let detail = format!("no chain with {} transactions is decoded yet", spec.scheme);
        return Err(Refusal::new(Reason::KeyScheme).with("detail", detail));
    }
    let signers = bundle.roster().signers().count();
    if usize::from(spec.threshold.n()) != signers {
        let detail = format!("n must be {signers}, the number of signer nodes in the roster");
        return Err(Refusal::new(Reason::ParameterRange).with("detail", detail));
    }
    freezes.check(&intent.key)?;
    let request = DecisionRequest { client: &intent.client, key: &intent.key, action: PolicyAction::CreateKey(&spec) };
    let rule = decided(decide(bundle, &request, now))?;
    Ok(CreatePermit { spec, rule, bundle: bundle.digest(), opened })
}

/// What the log says of a decision.
pub fn verdict(outcome: Result<&str, &Refusal>) -> Verdict {
    match outcome {
        Ok(rule) => Verdict::Permitted { rule: rule.into() },
        Err(refusal) => {
            let fact = |name: &str| refusal.metadata.get(name).cloned().unwrap_or_default();
            Verdict::Refused {
                reason: refusal.reason.as_str().into(),
                rule: fact("rule"),
                condition: fact("condition"),
            }
        }
    }
}

pub(crate) fn expect_action(intent: &Intent, action: Action) -> Result<(), Refusal> {
    if intent.action == action { Ok(()) } else { Err(Refusal::new(Reason::Malformed).with("field", "action")) }
}

pub(crate) fn check_times(intent: &Intent, now: UnixMillis) -> Result<(), Refusal> {
    check_short(intent)?;
    check_sign_times(intent, now)
}

/// Only what waits for persons may live for longer; whether it does is known after the decision.
pub(crate) fn check_short(intent: &Intent) -> Result<(), Refusal> {
    check_validity(intent, INTENT_VALIDITY_MAX_MS)
}

fn check_validity(intent: &Intent, longest_ms: u64) -> Result<(), Refusal> {
    if intent.expires_at <= intent.not_before || intent.expires_at.0 - intent.not_before.0 > longest_ms {
        return Err(Reason::ValidityTooLong.into());
    }
    Ok(())
}

/// The times of a request to sign, which persons may have to approve.
///
/// # Errors
/// `VALIDITY_TOO_LONG`, `TOO_EARLY`, `EXPIRED`.
pub fn check_sign_times(intent: &Intent, now: UnixMillis) -> Result<(), Refusal> {
    check_validity(intent, APPROVED_INTENT_VALIDITY_MAX_MS)?;
    if now.plus(CLOCK_TOLERANCE_MS) < intent.not_before {
        return Err(Reason::TooEarly.into());
    }
    if now.minus(CLOCK_TOLERANCE_MS) >= intent.expires_at {
        return Err(Reason::Expired.into());
    }
    Ok(())
}

pub(crate) fn check_bundle_version(intent: &Intent, bundle: &Bundle) -> Result<(), Refusal> {
    if intent.min_bundle_version <= bundle.version() {
        return Ok(());
    }
    Err(Refusal::new(Reason::StalePolicy)
        .with("ours", bundle.version().to_string())
        .with("wanted", intent.min_bundle_version.to_string()))
}

pub(crate) fn check_purpose(intent: &Intent, record: &KeyRecord) -> Result<(), Refusal> {
    let needed = match intent.kind {
        // A payment moves money: with a key for messages it could pass as one, under the rules for messages.
        // So may typed data: contracts move value upon it.
        ContentKind::EvmTransaction | ContentKind::Iso20022 | ContentKind::TypedData => Purpose::Transaction,
        ContentKind::Message | ContentKind::PersonalMessage => Purpose::Message,
        // Also where the key would not sign it: what is asked for is a purpose that only Taproot keys in shares have.
        ContentKind::RawDigest => Purpose::Raw,
        ContentKind::KeySpec
        | ContentKind::HsmKeySpec
        | ContentKind::WrapSpec
        | ContentKind::KekSpec
        | ContentKind::FreezeSpec
        | ContentKind::UnfreezeSpec
        | ContentKind::VetoSpec
        | ContentKind::DomainSpec
        | ContentKind::DomainChange
        | ContentKind::TokenCall => {
            return Err(Refusal::new(Reason::Malformed).with("field", "kind"));
        }
    };
    if intent.kind == ContentKind::EvmTransaction && record.scheme != Scheme::EcdsaSecp256k1 {
        return Err(Refusal::new(Reason::KeyScheme).with("scheme", record.scheme.as_str()));
    }
    if record.purpose != needed || intent.purpose != needed {
        return Err(Refusal::new(Reason::KeyPurpose).with("purpose", record.purpose.as_str()));
    }
    Ok(())
}

/// What is missing, by the path of each need that misses least.
fn approvals_required(needs: &[Need]) -> Refusal {
    let paths = needs.iter().filter_map(|need| need.paths.first()).take(NEAR_MISSES_MAX);
    paths.enumerate().fold(Refusal::new(Reason::ApprovalsRequired), |refusal, (i, path)| {
        let missing: Vec<_> = path.missing.iter().map(|q| format!("{} of {}", q.needed, q.group)).collect();
        let refusal = if i == 0 { refusal.with("rule", &path.rule) } else { refusal };
        refusal.with(&format!("missing_{}", i + 1), format!("{}: {}", path.rule, missing.join(", ")))
    })
}

pub(crate) fn decided(decision: Decision) -> Result<String, Refusal> {
    match decision {
        Decision::Permit { rule } => Ok(rule),
        Decision::Deny(denied) => {
            let mut refusal = Refusal::new(denied.reason);
            if let Some(first) = denied.forbidden_by.first() {
                refusal = refusal.with("rule", first).with("condition", "this rule forbids it");
            } else if let Some(miss) = denied.near_misses.first() {
                refusal = refusal.with("rule", &miss.rule).with("condition", &miss.condition);
            } else if denied.errors.is_empty() && denied.reason == Reason::PolicyDenied {
                refusal = refusal.with("detail", "no rule permits this action on this key");
            }
            for (i, miss) in denied.near_misses.iter().enumerate().skip(1) {
                refusal = refusal.with(&format!("near_miss_{i}"), format!("{}: {}", miss.rule, miss.condition));
            }
            if let Some(why) = denied.why_opaque {
                refusal = refusal.with("opaque", why);
            }
            if let Some(person) = denied.rejected_by.first() {
                refusal = refusal.with("rejected_by", person.as_str());
            }
            if let Some(limit) = denied.limit {
                refusal = refusal.with("limit", limit.as_str());
            }
            if let Some(error) = denied.errors.first() {
                refusal = refusal.with("rule_error", error);
            }
            Err(refusal)
        }
        Decision::NeedsApproval(needs) => Err(approvals_required(&needs)),
    }
}
