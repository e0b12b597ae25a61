//! Orders become intents: what to do, then a request id, times and the client's signature.

use crate::error::ClientError;
use crate::profile::Profile;
use crate::wrap::Plain;
use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};
use tally_domain::activation::{BundleName, VetoSpec};
use tally_domain::dsse::Envelope;
use tally_domain::freeze::{FreezeSpec, LIFTS_MAX, UnfreezeSpec};
use tally_domain::intent::{self, NOTE_MAX_BYTES};
use tally_domain::time::APPROVED_INTENT_VALIDITY_MAX_MS;
use tally_domain::{
    Action, ContentKind, DerivationPath, Digest, EncryptionContext, FreezeName, HsmKeySpec, Intent, KekChange,
    KekNumber, KekSpec, KeyName, KeySpec, NodeName, Purpose, RequestId, Scope, UnixMillis, WrapCall, WrapSpec,
};
use tally_proto::v1;
use tally_tokenization::plain::card_field;
use tally_tokenization::{Call, DomainChange, DomainSpec, TokenCall};

/// How long an intent is valid from now: enough for every retry, half of what nodes allow.
pub const VALIDITY_MS: u64 = 5 * 60 * 1_000;

/// The longest that persons may take to approve: what nodes allow, without [`EARLIER_MS`].
pub const APPROVAL_TIME_MAX_MS: u64 = APPROVED_INTENT_VALIDITY_MAX_MS - EARLIER_MS;

/// How far back validity starts, so that a node whose clock is behind takes the intent at once.
const EARLIER_MS: u64 = 2_000;

/// What text that is kept as it is must be.
pub(crate) const NO_CARD: &str = "leave out what looks like a card number; such text is kept and logged as it is";

/// What the client wants, before it is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    action: Action,
    key: KeyName,
    path: DerivationPath,
    kind: ContentKind,
    chain: String,
    content: Vec<u8>,
    purpose: Purpose,
    min_bundle_version: u64,
    note: String,
    request_id: Option<RequestId>,
    validity_ms: u64,
}

impl Order {
    /// To sign a raw unsigned EVM transaction for `chain` (CAIP-2, such as `eip155:1`).
    pub fn sign_evm(key: KeyName, chain: &str, payload: Vec<u8>) -> Self {
        Self::new(Action::Sign, key, ContentKind::EvmTransaction, Purpose::Transaction, payload).on(chain)
    }

    /// To sign a message.
    pub fn sign_message(key: KeyName, message: Vec<u8>) -> Self {
        Self::new(Action::Sign, key, ContentKind::Message, Purpose::Message, message)
    }

    /// To sign typed data (EIP-712), as the JSON that wallets are given, for `chain` (CAIP-2); empty where its domain names no
    /// chain.
    pub fn sign_typed_data(key: KeyName, chain: &str, json: Vec<u8>) -> Self {
        Self::new(Action::Sign, key, ContentKind::TypedData, Purpose::Transaction, json).on(chain)
    }

    /// To sign a message under the prefix of EIP-191, as wallets do for `personal_sign`.
    pub fn sign_personal_message(key: KeyName, message: Vec<u8>) -> Self {
        Self::new(Action::Sign, key, ContentKind::PersonalMessage, Purpose::Message, message)
    }

    /// To sign a file of bank payments (ISO 20022 pain.001), byte for byte.
    pub fn sign_payment(key: KeyName, file: Vec<u8>) -> Self {
        Self::new(Action::Sign, key, ContentKind::Iso20022, Purpose::Transaction, file)
    }

    /// To create a key.
    pub fn create_key(key: KeyName, spec: KeySpec) -> Self {
        Self::new(Action::CreateKey, key, ContentKind::KeySpec, spec.purpose, spec.to_bytes())
    }

    /// To sign 32 bytes as they are, with a key in an HSM or for Taproot whose purpose is raw.
    pub fn sign_raw(key: KeyName, digest: [u8; 32]) -> Self {
        Self::new(Action::Sign, key, ContentKind::RawDigest, Purpose::Raw, digest.to_vec())
    }

    /// The same, with the key of a Taproot output that commits to scripts (BIP-341).
    pub fn sign_raw_for_scripts(key: KeyName, digest: [u8; 32], merkle_root: [u8; 32]) -> Self {
        Self::new(Action::Sign, key, ContentKind::RawDigest, Purpose::Raw, [digest, merkle_root].concat())
    }

    /// To create a key in a node's HSM.
    pub fn create_hsm_key(key: KeyName, spec: &HsmKeySpec) -> Self {
        Self::new(Action::CreateHsmKey, key, ContentKind::HsmKeySpec, spec.purpose, spec.to_bytes())
    }

    /// To have a KEK draw a data key of so many bytes, and to be shown it or not.
    pub fn generate_data_key(kek: KeyName, context: EncryptionContext, bytes: usize, plaintext: bool) -> Self {
        Self::wrapping(kek, context, WrapCall::GenerateDataKey { bytes, plaintext, version: None })
    }

    /// To have a KEK wrap a plaintext, which is bound to the request.
    pub fn wrap(kek: KeyName, context: EncryptionContext, plain: &Plain) -> Self {
        Self::wrapping(kek, context, WrapCall::Wrap { commitment: plain.commitment(), version: None })
    }

    /// To have a KEK open what it has wrapped.
    pub fn unwrap(kek: KeyName, context: EncryptionContext, wrapped: &[u8]) -> Self {
        Self::wrapping(kek, context, WrapCall::Unwrap { blob: Digest::of(wrapped) })
    }

    /// To have a KEK open what it has wrapped and wrap it anew, with this version or the newest.
    pub fn rewrap(kek: KeyName, context: EncryptionContext, wrapped: &[u8], version: Option<KekNumber>) -> Self {
        Self::wrapping(kek, context, WrapCall::Rewrap { blob: Digest::of(wrapped), version })
    }

    /// To have a KEK do one of the four.
    pub fn wrapping(kek: KeyName, context: EncryptionContext, call: WrapCall) -> Self {
        let spec = WrapSpec { context, call };
        Self::new(spec.call.kind().action(), kek, ContentKind::WrapSpec, Purpose::Wrap, spec.to_bytes())
    }

    /// To create a KEK in a node's HSM.
    pub fn create_kek(kek: KeyName, home: NodeName) -> Self {
        Self::new(Action::CreateKek, kek, ContentKind::KekSpec, Purpose::Wrap, KekSpec::Create { home }.to_bytes())
    }

    /// To change a KEK.
    pub fn change_kek(kek: KeyName, change: KekChange) -> Self {
        Self::new(Action::ChangeKek, kek, ContentKind::KekSpec, Purpose::Wrap, KekSpec::Change(change).to_bytes())
    }

    /// To make a token domain.
    ///
    /// # Errors
    /// [`ClientError::Order`] when its name is no key's.
    pub fn create_domain(spec: &DomainSpec) -> Result<Self, ClientError> {
        let name = KeyName::parse(spec.domain.name.as_str());
        let name = name.map_err(|_| ClientError::Order { field: "name", want: "a name that a key could have" })?;
        Ok(Self::new(Action::CreateDomain, name, ContentKind::DomainSpec, Purpose::Tokenize, spec.to_bytes()))
    }

    /// To change a token domain.
    pub fn change_domain(domain: KeyName, change: DomainChange) -> Self {
        Self::new(Action::ChangeDomain, domain, ContentKind::DomainChange, Purpose::Tokenize, change.to_bytes())
    }

    /// To do something with cards and tokens, for a purpose, which may be empty where nothing is revealed.
    pub fn tokens(domain: KeyName, purpose: &str, call: Call) -> Self {
        let action = call.action();
        let content = TokenCall { purpose: purpose.into(), call }.to_bytes();
        Self::new(action, domain, ContentKind::TokenCall, Purpose::Tokenize, content)
    }

    /// To freeze a key, or everything.
    ///
    /// # Errors
    /// [`ClientError::Order`].
    pub fn freeze(scope: &Scope) -> Result<Self, ClientError> {
        let content = FreezeSpec { scope: scope.clone() }.to_bytes();
        Self::about(scope, Action::Freeze, ContentKind::FreezeSpec, content)
    }

    /// To have freezes of a key, or of everything, lifted.
    ///
    /// # Errors
    /// [`ClientError::Order`] when there are none, or too many for one request.
    pub fn unfreeze(scope: &Scope, lifts: BTreeSet<FreezeName>) -> Result<Self, ClientError> {
        if lifts.is_empty() || lifts.len() > LIFTS_MAX {
            return Err(ClientError::Order { field: "lifts", want: "1 to 64 freezes" });
        }
        let content = UnfreezeSpec { scope: scope.clone(), lifts }.to_bytes();
        Self::about(scope, Action::Unfreeze, ContentKind::UnfreezeSpec, content)
    }

    /// To have a policy bundle vetoed.
    ///
    /// # Errors
    /// [`ClientError::Order`].
    pub fn veto_policy(bundle: BundleName) -> Result<Self, ClientError> {
        let key = VetoSpec::intent_key().ok_or(ClientError::Order { field: "bundle", want: "a bundle" })?;
        let content = VetoSpec { bundle }.to_bytes();
        Ok(Self::new(Action::VetoPolicy, key, ContentKind::VetoSpec, Purpose::Message, content))
    }

    fn about(scope: &Scope, action: Action, kind: ContentKind, content: Vec<u8>) -> Result<Self, ClientError> {
        let key = scope.intent_key().ok_or(ClientError::Order { field: "scope", want: "a key, or everything" })?;
        Ok(Self::new(action, key, kind, Purpose::Message, content))
    }

    fn new(action: Action, key: KeyName, kind: ContentKind, purpose: Purpose, content: Vec<u8>) -> Self {
        Self {
            action,
            key,
            path: DerivationPath::default(),
            kind,
            chain: String::new(),
            content,
            purpose,
            min_bundle_version: 0,
            note: String::new(),
            request_id: None,
            validity_ms: VALIDITY_MS,
        }
    }

    fn on(mut self, chain: &str) -> Self {
        self.chain = chain.into();
        self
    }

    /// With a child of the key.
    #[must_use]
    pub fn path(mut self, path: DerivationPath) -> Self {
        self.path = path;
        self
    }

    /// Under this id instead of a fresh one.
    #[must_use]
    pub fn request_id(mut self, id: RequestId) -> Self {
        self.request_id = Some(id);
        self
    }

    /// With a note for people: at most 256 bytes on one line.
    #[must_use]
    pub fn note(mut self, note: &str) -> Self {
        self.note = note.into();
        self
    }

    /// Valid for so long from now, because persons must approve it. Nodes refuse it for more than a day, or for more than
    /// ten minutes if nobody must. A whole day counts from the intent's beginning, and so ends at [`APPROVAL_TIME_MAX_MS`].
    #[must_use]
    pub fn valid_for(mut self, ms: u64) -> Self {
        self.validity_ms = if ms <= APPROVED_INTENT_VALIDITY_MAX_MS { ms.min(APPROVAL_TIME_MAX_MS) } else { ms };
        self
    }

    /// Only under a policy bundle of at least this version.
    #[must_use]
    pub fn min_bundle_version(mut self, version: u64) -> Self {
        self.min_bundle_version = version;
        self
    }

    /// Draws a request id unless there is one, sets the times, and signs.
    ///
    /// # Errors
    /// [`ClientError::Order`], [`ClientError::Randomness`].
    pub fn seal(self, profile: &Profile) -> Result<SealedIntent, ClientError> {
        let request_id = match self.request_id {
            Some(id) => id,
            None => draw_request_id()?,
        };
        if self.note.len() > NOTE_MAX_BYTES || self.note.chars().any(char::is_control) {
            return Err(ClientError::Order { field: "note", want: "at most 256 bytes without control characters" });
        }
        let now = now();
        let intent = Intent {
            request_id,
            tenant: profile.tenant.clone(),
            client: profile.client.clone(),
            action: self.action,
            key: self.key,
            path: self.path,
            kind: self.kind,
            chain: self.chain,
            content: self.content,
            purpose: self.purpose,
            not_before: now.minus(EARLIER_MS),
            expires_at: now.plus(self.validity_ms),
            min_bundle_version: self.min_bundle_version,
            note: self.note,
            cluster: profile.cluster.clone(),
        };
        if let Some(field) = card_field(&intent) {
            return Err(ClientError::Order { field, want: NO_CARD });
        }
        let envelope = profile.intent_key()?.seal(intent::PAYLOAD_TYPE, intent.to_bytes());
        if prost::Message::encoded_len(&envelope) > intent::ENVELOPE_MAX_BYTES {
            return Err(ClientError::Order { field: "content", want: "at most 64 KiB with its signature" });
        }
        Ok(SealedIntent { intent, envelope })
    }

    /// Whether the intent asks for just this. Its times do not count, nor its request id unless the order names one.
    pub fn is_asked_by(&self, sealed: &SealedIntent) -> bool {
        let intent = &sealed.intent;
        let asked = Self {
            action: intent.action,
            key: intent.key.clone(),
            path: intent.path.clone(),
            kind: intent.kind,
            chain: intent.chain.clone(),
            content: intent.content.clone(),
            purpose: intent.purpose,
            min_bundle_version: intent.min_bundle_version,
            note: intent.note.clone(),
            request_id: self.request_id.map(|_| intent.request_id),
            validity_ms: self.validity_ms,
        };
        asked == *self
    }
}

/// A signed intent: these very bytes are sent, however often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedIntent {
    intent: Intent,
    envelope: Envelope,
}

impl SealedIntent {
    /// Names the request for ever.
    pub fn request_id(&self) -> RequestId {
        self.intent.request_id
    }

    /// What was signed.
    pub fn intent(&self) -> &Intent {
        &self.intent
    }

    /// The signed bytes and the signature.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// The envelope in protobuf, to be kept until the outcome is known: a request can be sent again byte for byte.
    pub fn to_bytes(&self) -> Vec<u8> {
        prost::Message::encode_to_vec(&self.envelope)
    }

    /// Reads kept bytes; only an intent that this profile's own key has signed is taken.
    ///
    /// # Errors
    /// [`ClientError::Order`].
    pub fn from_bytes(bytes: &[u8], profile: &Profile) -> Result<Self, ClientError> {
        let bad =
            || ClientError::Order { field: "kept intent", want: "an envelope that this profile's key has signed" };
        let envelope: Envelope = prost::Message::decode(bytes).map_err(|_| bad())?;
        let intent = Intent::open(&envelope, &profile.intent_key()?.verifying_key()).map_err(|_| bad())?;
        Ok(Self { intent, envelope })
    }

    pub(crate) fn to_wire(&self) -> v1::Envelope {
        to_wire(&self.envelope)
    }
}

/// An envelope on the wire.
pub(crate) fn to_wire(envelope: &Envelope) -> v1::Envelope {
    let signature = |s: &tally_domain::dsse::Signature| v1::EnvelopeSignature {
        key_id: s.key_id.clone(),
        signature: s.signature.clone(),
    };
    v1::Envelope {
        payload: envelope.payload.clone(),
        payload_type: envelope.payload_type.clone(),
        signatures: envelope.signatures.iter().map(signature).collect(),
    }
}

/// Sixteen random bytes.
pub(crate) fn draw_request_id() -> Result<RequestId, ClientError> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|_| ClientError::Randomness)?;
    Ok(RequestId(id))
}

fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
