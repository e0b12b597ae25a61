//! Signing with a key that lives in this node's HSM: the same admission in the same order as for a threshold key, by this
//! node alone, and a result only from a signature that has verified.

use crate::admit::{Opened, check_bundle_version, check_sign_times, expect_action};
use crate::approval::{Question, unless_rejected};
use crate::boot::BootIdentity;
use crate::claims::{Cleared, HomeWork, decide_home_asked};
use crate::freeze::{Freezes, unless_frozen};
use crate::result::{SignResult, WireSignature};
use prost::Message as _;
use tally_audit::event::What;
use tally_chains::ToSign;
use tally_domain::dsse::Envelope;
use tally_domain::facts::Facts;
use tally_domain::key::KeyState;
use tally_domain::ports::store::{Step, Write};
use tally_domain::roster::Roster;
use tally_domain::{
    Action, ContentKind, Digest, HsmKeyRecord, HsmScheme, Intent, NodeName, PublicKey, Purpose, Reason, Refusal,
    UnixMillis,
};
use tally_policy::Bundle;

/// A request to sign as the key's home reads it. Says nothing yet about whether it is permitted.
#[derive(Debug, Clone)]
#[must_use]
pub struct HsmSubject {
    opened: Opened,
    record: HsmKeyRecord,
    public_key: PublicKey,
    facts: Facts,
    to_sign: ToSign,
}

impl HsmSubject {
    /// The request.
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// The intent.
    pub fn intent(&self) -> &Intent {
        self.opened.intent()
    }

    /// The key.
    pub fn record(&self) -> &HsmKeyRecord {
        &self.record
    }

    /// What the key signs with.
    pub fn scheme(&self) -> HsmScheme {
        self.public_key.scheme()
    }

    /// What this node decoded.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// What the token signs: a 32-byte digest, or for Ed25519 the message.
    pub fn bytes_to_sign(&self) -> Vec<u8> {
        self.to_sign.to_bytes()
    }

    /// One digest that stands for what is to be signed, for votes.
    pub fn digest_to_sign(&self) -> Digest {
        self.to_sign.digest()
    }
}

/// Sends a request for another node's key to that node.
///
/// # Errors
/// `HOME_NODE` with its name and address.
pub fn must_be_home(home: &NodeName, me: &NodeName, roster: &Roster) -> Result<(), Refusal> {
    if home == me {
        return Ok(());
    }
    let refusal = Refusal::new(Reason::HomeNode).with("node", home.as_str());
    Err(match roster.node(home) {
        Some(node) => refusal.with("address", &node.address),
        None => refusal,
    })
}

/// Decodes a request to sign against its key: state, purpose, path, content.
///
/// # Errors
/// `KEY_NOT_FOUND`, `KEY_NOT_ACTIVE`, `KEY_PURPOSE`, `KEY_SCHEME`, `PARAMETER_RANGE`, `TX_UNPARSEABLE`, `TX_TYPE`,
/// `TYPED_DATA_INVALID`, `CHAIN_MISMATCH`,
/// `MALFORMED`.
pub fn subject(opened: Opened, record: &HsmKeyRecord, state: KeyState) -> Result<HsmSubject, Refusal> {
    let intent = opened.intent();
    expect_action(intent, Action::Sign)?;
    if record.tenant != intent.tenant || record.name != intent.key {
        return Err(Reason::KeyNotFound.into());
    }
    if state != KeyState::Active {
        return Err(Reason::KeyNotActive.into());
    }
    check_purpose(intent, record)?;
    let public_key = record.public_key().ok_or(Reason::KeyPurpose)?.clone();
    if !intent.path.is_root() {
        let detail = "derivation is not available for keys in an HSM; use path m";
        return Err(Refusal::new(Reason::ParameterRange).with("detail", detail));
    }
    let decoded = tally_chains::decode_hsm(intent.kind, public_key.scheme(), &intent.chain, &intent.content)
        .map_err(|e| Refusal::new(e.reason()).with("detail", e.to_string()))?;
    Ok(HsmSubject { record: record.clone(), public_key, facts: decoded.facts, to_sign: decoded.to_sign, opened })
}

/// The key's home permits a signature, and by which rule of which bundle. Only [`admit_hsm_sign`] mints it.
#[derive(Debug)]
#[must_use]
pub struct HsmPermit {
    subject: HsmSubject,
    work: HomeWork,
}

impl HsmPermit {
    /// What is permitted.
    pub fn subject(&self) -> &HsmSubject {
        &self.subject
    }

    /// The rule that decided.
    pub fn rule(&self) -> &str {
        &self.work.task().rule
    }

    /// Whose approvals the rule asked for, by person; none where it asks nobody.
    pub fn approvals(&self) -> &[Envelope] {
        self.work.approvals()
    }

    /// The bundle that decided.
    pub fn bundle(&self) -> Digest {
        self.work.task().bundle
    }

    /// What limits see of it.
    pub fn work(&self) -> &HomeWork {
        &self.work
    }

    /// What a voter votes on, which is not the home.
    pub fn into_work(self) -> HomeWork {
        self.work
    }

    /// Goes on to the token, with leave of every limit that applies.
    ///
    /// # Errors
    /// `INTERNAL` when it is leave to do something else.
    pub fn start(self, leave: Cleared) -> Result<HsmSigning, Refusal> {
        leave.spend(&self.work)?;
        Ok(HsmSigning { rule: self.work.task().rule.clone(), subject: self.subject })
    }
}

/// A signature that is permitted and that no limit is in the way of. Only [`HsmPermit::start`] makes it.
#[derive(Debug)]
#[must_use]
pub struct HsmSigning {
    subject: HsmSubject,
    rule: String,
}

impl HsmSigning {
    /// What is signed.
    pub fn subject(&self) -> &HsmSubject {
        &self.subject
    }

    /// Takes what the token gave. A signature that does not verify under the recorded key goes nowhere.
    ///
    /// # Errors
    /// `HSM` when it does not verify; `INTERNAL` when it does not fit the transaction.
    pub fn complete(self, signature: Vec<u8>) -> Result<Completed, Refusal> {
        completed(self.subject, self.rule, signature)
    }
}

/// A result of another node's HSM, which that node has permitted and written down: the signature must verify here too. The
/// store of this node keeps it; its log does not say that this node signed.
///
/// # Errors
/// `PROTOCOL_VIOLATION` when it is not that key's signature of this, to the byte.
pub fn check_others(subject: HsmSubject, bytes: &[u8]) -> Result<Completed, Refusal> {
    let violation = || Refusal::new(Reason::ProtocolViolation).with("round", "complete");
    let result = SignResult::decode(bytes).map_err(|_| violation())?;
    let signature = result.signature.map(|s| s.bytes).unwrap_or_default();
    let completed = completed(subject, result.rule, signature).map_err(|_| violation())?;
    if completed.to_bytes() == bytes { Ok(completed) } else { Err(violation()) }
}

fn completed(subject: HsmSubject, rule: String, signature: Vec<u8>) -> Result<Completed, Refusal> {
    let HsmSubject { record, public_key, to_sign, opened, .. } = &subject;
    let signed_bytes = subject.bytes_to_sign();
    public_key.verify(&signed_bytes, &signature).map_err(|_| Reason::Hsm)?;
    let recovery_id = match to_sign {
        ToSign::Digest(digest) => public_key.recovery_id(&digest.0, &signature).unwrap_or_default(),
        ToSign::Message(_) | ToSign::Output { .. } => 0,
    };
    let signed_payload = match opened.intent().kind {
        ContentKind::EvmTransaction => transaction(&opened.intent().content, &signature, recovery_id)?,
        _ => Vec::new(),
    };
    let result = SignResult {
        signature: Some(WireSignature { bytes: signature, recovery_id: recovery_id.into() }),
        signed_payload,
        public_key: public_key.to_spki(),
        rule,
        certificate: None,
        signed_bytes,
        home: record.home.as_str().into(),
    };
    Ok(Completed { subject, result })
}

fn transaction(content: &[u8], signature: &[u8], recovery_id: u8) -> Result<Vec<u8>, Refusal> {
    let (r, s) = signature.split_first_chunk::<32>().ok_or(Reason::Bug)?;
    let s = s.try_into().map_err(|_| Reason::Bug)?;
    tally_chains::signed_transaction(content, *r, s, recovery_id).map_err(|_| Reason::Bug.into())
}

/// A signature that was permitted and has verified. It leaves only after [`Completed::step`] is durable.
#[derive(Debug)]
#[must_use]
pub struct Completed {
    subject: HsmSubject,
    result: SignResult,
}

impl Completed {
    /// The step that makes the result durable, with its leaf, unless the key is frozen or the request rejected by then.
    pub fn step(&self, boot: &BootIdentity, now: UnixMillis) -> Step {
        let intent = self.subject.intent();
        let leaf = boot.leaf(
            now,
            What::Completed {
                tenant: intent.tenant.clone(),
                request_id: intent.request_id,
                intent_digest: self.subject.opened.digest(),
                key: intent.key.clone(),
                path: intent.path.clone(),
                signature: self.result.signature.as_ref().map(|s| s.bytes.clone()).unwrap_or_default(),
                public_key: self.result.public_key.clone(),
                to_sign: self.result.signed_bytes.clone(),
            },
        );
        unless_frozen(unless_rejected(Step { writes: vec![self.write(now)], leaves: vec![leaf] }, intent), &intent.key)
    }

    /// The write that answers the request.
    pub fn write(&self, now: UnixMillis) -> Write {
        let intent = self.subject.intent();
        let (tenant, request) = (intent.tenant.clone(), intent.request_id);
        Write::Complete { tenant, request, result: self.to_bytes(), at: now }
    }

    /// The answer, byte for byte as it is stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.result.encode_to_vec()
    }
}

/// Decides whether this node signs with a key of its own HSM. Cheapest check first, as for a threshold key. A voter that is
/// asked by the key's home decides the same, with the home as `me`.
///
/// # Errors
/// A [`Refusal`]; `HOME_NODE` when the key lives elsewhere.
pub fn admit_hsm_sign(
    opened: Opened,
    (record, state): (&HsmKeyRecord, KeyState),
    me: &NodeName,
    freezes: &Freezes,
    bundle: &Bundle,
    now: UnixMillis,
) -> Result<HsmPermit, Refusal> {
    expect_action(opened.intent(), Action::Sign)?;
    if record.tenant != opened.intent().tenant {
        return Err(Reason::KeyNotFound.into());
    }
    must_be_home(&record.home, me, bundle.roster())?;
    check_sign_times(opened.intent(), now)?;
    check_bundle_version(opened.intent(), bundle)?;
    let subject = subject(opened, record, state)?;
    freezes.check(&subject.intent().key)?;
    let question = Question::new(&subject.opened, &subject.facts);
    let work = decide_home_asked(&question, &record.home, subject.digest_to_sign(), bundle, now)?;
    Ok(HsmPermit { subject, work })
}

pub(crate) fn check_purpose(intent: &Intent, record: &HsmKeyRecord) -> Result<(), Refusal> {
    let needed = match intent.kind {
        ContentKind::EvmTransaction | ContentKind::Iso20022 | ContentKind::TypedData => Purpose::Transaction,
        ContentKind::Message | ContentKind::PersonalMessage => Purpose::Message,
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
    if record.purpose != needed || intent.purpose != needed {
        return Err(Refusal::new(Reason::KeyPurpose).with("purpose", record.purpose.as_str()));
    }
    Ok(())
}
