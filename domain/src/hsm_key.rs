//! Keys that live in the HSM of one node, whether they sign or wrap: what a client asks for, what the key is, and the
//! signatures of the majority of nodes that make its name its own.
//!
//! The home node alone holds the key, decides, and signs or wraps. The others only keep its record: a node signs one record for a
//! name, ever, so two keys of one name cannot both have a majority.

use crate::boot::{BadStatement, Statement};
use crate::digest::Digest;
use crate::dsse::{Envelope, SigningKey};
use crate::ids::{ClusterId, KeyName, NodeName, RequestId, Tenant};
use crate::intent::{BadIntent, decode_canonical};
use crate::ports::hsm::{KekId, KeyCheckValue, ObjectId};
use crate::roster::Roster;
use crate::scheme::{HsmScheme, Purpose};
use crate::spki::PublicKey;
use prost::Message as _;
use std::collections::BTreeSet;

/// DSSE payload type of a node's statement that this key, and no other, has this name.
pub const HSM_KEY_TYPE: &str = "application/vnd.tally.hsm-key.v1+protobuf";

/// What a new signing key should be. The client names its home, so that one intent makes one key, whichever node it reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HsmKeySpec {
    /// Scheme of the key.
    pub scheme: HsmScheme,
    /// The one purpose it will have.
    pub purpose: Purpose,
    /// The node whose token will hold it.
    pub home: NodeName,
}

/// What a key is. Everything here is public.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HsmKeyRecord {
    /// Cluster that made it.
    pub cluster: ClusterId,
    /// Its name.
    pub name: KeyName,
    /// Whose request made it.
    pub tenant: Tenant,
    /// The request that made it.
    pub request_id: RequestId,
    /// Its one purpose.
    pub purpose: Purpose,
    /// The node whose token holds it.
    pub home: NodeName,
    /// What can be told of the key itself.
    pub material: Material,
}

/// What can be told of a key, as it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Material {
    /// It signs: its public half, and with it its scheme.
    Signing(PublicKey),
    /// It wraps, and its purpose is [`Purpose::Wrap`]: its first version. Later ones are its home's to tell.
    Kek {
        /// Which key on the token.
        id: KekId,
        /// Its check value.
        check_value: KeyCheckValue,
    },
    /// It keeps card numbers, and its purpose is [`Purpose::Tokenize`]: a token domain. Its keys are its home's to tell.
    Tokens {
        /// SHA-256 of what the domain is, which never changes.
        spec: Digest,
    },
}

/// [`HsmKeySpec`] as protobuf; field numbers are those of `HsmKeySpecBody` in `proto/`.
#[derive(Clone, PartialEq, prost::Message)]
struct SpecBody {
    #[prost(uint32, tag = "1")]
    scheme: u32,
    #[prost(uint32, tag = "2")]
    purpose: u32,
    #[prost(string, tag = "3")]
    home: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Body {
    #[prost(string, tag = "1")]
    cluster: String,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "3")]
    tenant: String,
    #[prost(bytes = "vec", tag = "4")]
    request_id: Vec<u8>,
    #[prost(uint32, tag = "5")]
    scheme: u32,
    #[prost(uint32, tag = "6")]
    purpose: u32,
    #[prost(string, tag = "7")]
    home: String,
    #[prost(bytes = "vec", tag = "8")]
    public_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "9")]
    kek_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "10")]
    check_value: Vec<u8>,
    #[prost(bytes = "vec", tag = "11")]
    spec: Vec<u8>,
}

impl HsmKeySpec {
    /// The canonical bytes that go into an intent's content.
    pub fn to_bytes(&self) -> Vec<u8> {
        SpecBody { scheme: self.scheme.number(), purpose: self.purpose.number(), home: self.home.as_str().into() }
            .encode_to_vec()
    }

    /// Reads an intent's content.
    ///
    /// # Errors
    /// [`BadIntent`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadIntent> {
        let b: SpecBody = decode_canonical(bytes)?;
        Ok(Self {
            scheme: HsmScheme::from_number(b.scheme).ok_or(BadIntent::Field { field: "scheme" })?,
            purpose: Purpose::from_number(b.purpose)
                .filter(|purpose| !matches!(purpose, Purpose::Wrap | Purpose::Tokenize))
                .ok_or(BadIntent::Field { field: "purpose" })?,
            home: NodeName::parse(&b.home).map_err(|_| BadIntent::Field { field: "home" })?,
        })
    }
}

impl HsmKeyRecord {
    /// Its public half, if it signs.
    pub fn public_key(&self) -> Option<&PublicKey> {
        match &self.material {
            Material::Signing(public_key) => Some(public_key),
            Material::Kek { .. } | Material::Tokens { .. } => None,
        }
    }

    /// Its algorithm in a word.
    pub fn algorithm(&self) -> &'static str {
        match &self.material {
            Material::Signing(public_key) => public_key.scheme().as_str(),
            Material::Kek { .. } | Material::Tokens { .. } => "aes-256",
        }
    }

    /// Where a signing key is on its home's token.
    pub fn object(&self) -> ObjectId {
        ObjectId::of(&self.name, &self.request_id)
    }

    /// Canonical bytes: what nodes sign.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = Body {
            cluster: self.cluster.as_str().into(),
            name: self.name.as_str().into(),
            tenant: self.tenant.as_str().into(),
            request_id: self.request_id.0.to_vec(),
            purpose: self.purpose.number(),
            home: self.home.as_str().into(),
            ..Body::default()
        };
        match &self.material {
            Material::Signing(public_key) => {
                (body.scheme, body.public_key) = (public_key.scheme().number(), public_key.to_spki());
            }
            Material::Kek { id, check_value } => {
                (body.kek_id, body.check_value) = (id.0.to_vec(), check_value.0.to_vec());
            }
            Material::Tokens { spec } => body.spec = spec.0.to_vec(),
        }
        body.encode_to_vec()
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// [`BadStatement::Malformed`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadStatement> {
        let b: Body = decode_canonical(bytes).map_err(|_| BadStatement::Malformed)?;
        Self::from_body(&b).ok_or(BadStatement::Malformed)
    }

    fn from_body(b: &Body) -> Option<Self> {
        let purpose = Purpose::from_number(b.purpose)?;
        Some(Self {
            cluster: ClusterId::parse(&b.cluster).ok()?,
            name: KeyName::parse(&b.name).ok()?,
            tenant: Tenant::parse(&b.tenant).ok()?,
            request_id: RequestId::from_slice(&b.request_id)?,
            purpose,
            home: NodeName::parse(&b.home).ok()?,
            material: match purpose {
                Purpose::Wrap => kek_material(b)?,
                Purpose::Tokenize => tokens_material(b)?,
                Purpose::Transaction | Purpose::Message | Purpose::Raw => signing_material(b)?,
            },
        })
    }

    /// Signs the record with a node's boot key. The caller has written down that the name is this key's.
    pub fn sign(&self, boot_key: &SigningKey, boot_cert: &Envelope) -> Statement {
        Statement::sign(HSM_KEY_TYPE, self.to_bytes(), boot_key, boot_cert)
    }

    /// Checks one node's statement; gives who made it and the record.
    ///
    /// # Errors
    /// [`BadStatement`]; a record of another cluster is one.
    pub fn open(statement: &Statement, roster: &Roster) -> Result<(NodeName, Self), BadStatement> {
        let (cert, bytes) = statement.open(HSM_KEY_TYPE, roster)?;
        let record = Self::from_bytes(bytes)?;
        if record.cluster != roster.cluster || roster.node(&record.home).is_none() {
            return Err(BadStatement::UnknownNode);
        }
        Ok((cert.node, record))
    }
}

fn signing_material(b: &Body) -> Option<Material> {
    let public_key = PublicKey::from_spki(&b.public_key).ok()?;
    let fits = HsmScheme::from_number(b.scheme)? == public_key.scheme() && b.kek_id.is_empty();
    (fits && b.check_value.is_empty() && b.spec.is_empty()).then_some(Material::Signing(public_key))
}

fn kek_material(b: &Body) -> Option<Material> {
    let (id, check_value) = (b.kek_id.as_slice().try_into().ok()?, b.check_value.as_slice().try_into().ok()?);
    let fits = b.scheme == 0 && b.public_key.is_empty() && b.spec.is_empty();
    fits.then_some(Material::Kek { id: KekId(id), check_value: KeyCheckValue(check_value) })
}

fn tokens_material(b: &Body) -> Option<Material> {
    let bare = b.scheme == 0 && b.public_key.is_empty() && b.kek_id.is_empty() && b.check_value.is_empty();
    Digest::from_slice(&b.spec).filter(|_| bare).map(|spec| Material::Tokens { spec })
}

/// The signatures of a majority of nodes, the home among them, on one record: the name is this key's.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct HsmKeyCertificate {
    /// One statement of each.
    #[prost(message, repeated, tag = "1")]
    pub statements: Vec<Statement>,
}

impl HsmKeyCertificate {
    /// Checks that a majority of distinct nodes, the home among them, has signed one record; gives the record.
    ///
    /// # Errors
    /// [`BadStatement`].
    pub fn open(&self, roster: &Roster) -> Result<HsmKeyRecord, BadStatement> {
        let mut record: Option<HsmKeyRecord> = None;
        let mut signers = BTreeSet::new();
        for statement in &self.statements {
            let (node, r) = HsmKeyRecord::open(statement, roster)?;
            if record.as_ref().is_some_and(|first| *first != r) || !signers.insert(node) {
                return Err(BadStatement::Malformed);
            }
            record = Some(r);
        }
        let record = record.ok_or(BadStatement::Malformed)?;
        if signers.len() >= roster.majority() && signers.contains(&record.home) {
            Ok(record)
        } else {
            Err(BadStatement::Malformed)
        }
    }
}
