//! Creating a key in an HSM, one that signs or one that wraps: the home admits the intent, its token makes the key, and a majority of nodes gives it its
//! name. A node gives a name once, so two keys of one name are never both active.

use crate::admit::{Opened, check_bundle_version, check_times, decided};
use crate::boot::BootIdentity;
use crate::freeze::Freezes;
use crate::hsm_sign::must_be_home;
use crate::tokens::domain_facts;
use prost::Message as _;
use tally_audit::event::What;
use tally_domain::boot::Statement;
use tally_domain::hsm_key::HsmKeyCertificate;
use tally_domain::ports::hsm::ObjectId;
use tally_domain::ports::store::{Step, Write};
use tally_domain::roster::Roster;
use tally_domain::{
    Action, ContentKind, Digest, HsmKeyRecord, HsmKeySpec, Intent, KekSpec, Material, NodeName, Purpose, Reason,
    Refusal, UnixMillis,
};
use tally_policy::{Bundle, DecisionRequest, PolicyAction, decide};
use tally_tokenization::spec::{BadSpec, Checked, DomainSpec};

/// What a client wants to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// A key that signs.
    Signing(HsmKeySpec),
    /// A key that wraps.
    Kek {
        /// The node whose token will hold it.
        home: NodeName,
    },
    /// A token domain.
    Tokens(Checked),
}

impl Wish {
    /// The node whose token will hold it.
    pub fn home(&self) -> &NodeName {
        match self {
            Self::Signing(spec) => &spec.home,
            Self::Kek { home } => home,
            Self::Tokens(checked) => &checked.spec().home,
        }
    }

    fn purpose(&self) -> Purpose {
        match self {
            Self::Signing(spec) => spec.purpose,
            Self::Kek { .. } => Purpose::Wrap,
            Self::Tokens(_) => Purpose::Tokenize,
        }
    }

    /// Whether a record is of what was wanted.
    fn is_granted_by(&self, record: &HsmKeyRecord) -> bool {
        if (self.home(), self.purpose()) != (&record.home, record.purpose) {
            return false;
        }
        match (self, &record.material) {
            (Self::Signing(spec), Material::Signing(public_key)) => spec.scheme == public_key.scheme(),
            (Self::Kek { .. }, Material::Kek { .. }) => true,
            (Self::Tokens(checked), Material::Tokens { spec }) => Digest::of(&checked.spec().to_bytes()) == *spec,
            (Self::Signing(_) | Self::Kek { .. } | Self::Tokens(_), _) => false,
        }
    }
}

/// In words, for the log.
impl std::fmt::Display for Wish {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Signing(HsmKeySpec { scheme, purpose, home }) => {
                write!(f, "create {scheme} in the HSM of {home} for {purpose}")
            }
            Self::Kek { home } => write!(f, "create a KEK in the HSM of {home}"),
            Self::Tokens(checked) => {
                let facts = domain_facts(checked.spec(), "create", "");
                let home = &checked.spec().home;
                write!(f, "create a token domain ({}, {}) in the HSM of {home}", facts.mode, facts.format)
            }
        }
    }
}

/// The home permits the creation of a key in its HSM. Only [`admit_create_hsm`] mints it.
#[derive(Debug, Clone)]
#[must_use]
pub struct CreateHsmPermit {
    opened: Opened,
    wish: Wish,
    rule: String,
    bundle: Digest,
}

impl CreateHsmPermit {
    /// The request.
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// What the key shall be.
    pub fn wish(&self) -> &Wish {
        &self.wish
    }

    /// The rule that decided.
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// The bundle that decided.
    pub fn bundle(&self) -> Digest {
        self.bundle
    }

    /// Where a signing key shall be on the token.
    pub fn object(&self) -> ObjectId {
        ObjectId::of(&self.opened.intent().key, &self.opened.intent().request_id)
    }

    /// The record of the key that the token has made.
    ///
    /// # Errors
    /// `HSM` when the token made something else than was asked for.
    pub fn record(&self, material: Material, boot: &BootIdentity) -> Result<HsmKeyRecord, Refusal> {
        let intent = self.opened.intent();
        let record = HsmKeyRecord {
            cluster: boot.cluster.clone(),
            name: intent.key.clone(),
            tenant: intent.tenant.clone(),
            request_id: intent.request_id,
            purpose: self.wish.purpose(),
            home: self.wish.home().clone(),
            material,
        };
        if self.wish.is_granted_by(&record) { Ok(record) } else { Err(Reason::Hsm.into()) }
    }
}

/// What an intent to create a key in an HSM asks for; nothing of it is decided.
///
/// # Errors
/// `MALFORMED`, `PARAMETER_RANGE`, `KEY_PURPOSE`.
pub fn wish(intent: &Intent, roster: &Roster) -> Result<Wish, Refusal> {
    let range = |detail: String| Refusal::new(Reason::ParameterRange).with("detail", detail);
    let malformed = |field| Refusal::new(Reason::Malformed).with("field", field);
    let kind = match intent.action {
        Action::CreateHsmKey => ContentKind::HsmKeySpec,
        Action::CreateKek => ContentKind::KekSpec,
        Action::CreateDomain => ContentKind::DomainSpec,
        _ => return Err(malformed("action")),
    };
    if intent.kind != kind || !intent.path.is_root() || !intent.chain.is_empty() {
        return Err(malformed("kind"));
    }
    let wish = match kind {
        ContentKind::KekSpec => match KekSpec::from_bytes(&intent.content) {
            Ok(KekSpec::Create { home }) => Wish::Kek { home },
            Ok(KekSpec::Change(_)) => return Err(malformed("content")),
            Err(e) => return Err(range(format!("not a specification of a KEK: {e}"))),
        },
        ContentKind::DomainSpec => Wish::Tokens(checked(intent)?),
        _ => Wish::Signing(
            HsmKeySpec::from_bytes(&intent.content)
                .map_err(|e| range(format!("not a specification of an HSM key: {e}")))?,
        ),
    };
    if roster.node(wish.home()).is_none() {
        return Err(range(format!("the roster has no node `{}` to be the key's home", wish.home())));
    }
    if wish.purpose() != intent.purpose {
        return Err(Reason::KeyPurpose.into());
    }
    Ok(wish)
}

/// What a client wants a token domain to be; of its own tenant, and under the name that the intent says.
fn checked(intent: &Intent) -> Result<Checked, Refusal> {
    let range = |e: BadSpec| Refusal::new(Reason::ParameterRange).with("detail", e.to_string());
    let spec = DomainSpec::from_bytes(&intent.content).map_err(range)?;
    if spec.domain.tenant != intent.tenant || spec.domain.name.as_str() != intent.key.as_str() {
        return Err(Refusal::new(Reason::Malformed).with("field", "content"));
    }
    spec.check().map_err(range)
}

/// Decides whether this node makes a key in its HSM.
///
/// # Errors
/// A [`Refusal`]; `HOME_NODE` when the client wants the key elsewhere.
pub fn admit_create_hsm(
    opened: Opened,
    me: &NodeName,
    freezes: &Freezes,
    bundle: &Bundle,
    now: UnixMillis,
) -> Result<CreateHsmPermit, Refusal> {
    let wish = wish(opened.intent(), bundle.roster())?;
    must_be_home(wish.home(), me, bundle.roster())?;
    let intent = opened.intent();
    check_times(intent, now)?;
    check_bundle_version(intent, bundle)?;
    freezes.check(&intent.key)?;
    let action = match &wish {
        Wish::Signing(spec) => PolicyAction::CreateHsmKey(spec),
        Wish::Kek { .. } => PolicyAction::CreateKek,
        Wish::Tokens(checked) => PolicyAction::ManageDomain(domain_facts(checked.spec(), "create", "")),
    };
    let rule = decided(decide(bundle, &DecisionRequest { client: &intent.client, key: &intent.key, action }, now))?;
    Ok(CreateHsmPermit { wish, rule, bundle: bundle.digest(), opened })
}

/// Reads what a home announces: its statement, and a client's own intent that asks for just this key there. When the key
/// was made is the home's to answer for, so neither times nor policy are asked again.
///
/// # Errors
/// `PROTOCOL_VIOLATION` when it does not fit together, or comes from another node than the home.
pub fn announced(
    opened: &Opened,
    statement: &Statement,
    from: &NodeName,
    roster: &Roster,
) -> Result<HsmKeyRecord, Refusal> {
    let bad = || Refusal::new(Reason::ProtocolViolation).with("round", "announce");
    let (by, record) = HsmKeyRecord::open(statement, roster).map_err(|_| bad())?;
    let intent = opened.intent();
    let wish = wish(intent, roster).map_err(|_| bad())?;
    let fits = by == record.home
        && *from == record.home
        && wish.is_granted_by(&record)
        && (&record.name, &record.tenant, record.request_id) == (&intent.key, &intent.tenant, intent.request_id);
    if fits { Ok(record) } else { Err(bad()) }
}

/// The step that gives a name to a key, with its leaf. Only after it is durable does a node say so.
pub fn name_step(opened: &Opened, record: &HsmKeyRecord, boot: &BootIdentity, now: UnixMillis) -> Step {
    let write = Write::PutHsmKey {
        name: record.name.clone(),
        record: record.to_bytes(),
        intent: opened.envelope().encode_to_vec(),
        at: now,
    };
    let leaf = boot.leaf(now, What::HsmKeyPending { record: record.to_bytes() });
    Step { writes: vec![write], leaves: vec![leaf] }
}

/// The step that makes a key active whose name a majority has given it, with its leaf.
pub fn activate_step(
    record: &HsmKeyRecord,
    certificate: &HsmKeyCertificate,
    boot: &BootIdentity,
    now: UnixMillis,
) -> Step {
    let write = Write::ActivateHsmKey {
        name: record.name.clone(),
        record: record.to_bytes(),
        certificate: certificate.encode_to_vec(),
        at: now,
    };
    let leaf = boot.leaf(now, What::HsmKeyActive { certificate: certificate.clone() });
    Step { writes: vec![write], leaves: vec![leaf] }
}

/// The write that answers the request that made the key, at its home.
pub fn complete_write(record: &HsmKeyRecord, now: UnixMillis) -> Write {
    Write::Complete { tenant: record.tenant.clone(), request: record.request_id, result: record.to_bytes(), at: now }
}
