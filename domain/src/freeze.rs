//! Freezes: one node alone stops what uses a key, or everything; a majority of nodes lifts exactly the freezes that it
//! names.
//!
//! A freeze is named by the node that made it and by bytes that it drew. Once lifted it never freezes again, however often
//! its statement is shown; a later freeze has a name of its own.

mod spec;

pub use spec::{FreezeSpec, UnfreezeSpec};

use crate::boot::{BadStatement, Statement};
use crate::digest::Digest;
use crate::dsse::{Envelope, SigningKey};
use crate::ids::{ClusterId, KeyName, NodeName};
use crate::intent::decode_canonical;
use crate::roster::Roster;
use crate::time::UnixMillis;
use prost::Message as _;
use std::collections::BTreeSet;
use std::fmt;

/// DSSE payload type of a node's statement that it freezes.
pub const FREEZE_TYPE: &str = "application/vnd.tally.freeze.v1+protobuf";
/// DSSE payload type of a node's statement that freezes shall be lifted.
pub const UNFREEZE_TYPE: &str = "application/vnd.tally.unfreeze.v1+protobuf";

/// Most freezes that are lifted together. Each node of a certificate repeats their names of some 100 bytes, and the
/// certificate of 16 nodes must fit a message between nodes.
pub const LIFTS_MAX: usize = 64;

/// Most freezes of one node in force at once, of single keys and again of everything. Every node keeps and tells them all, so
/// that one bad node must not be able to fill the others' disks.
pub const IN_FORCE_MAX: usize = 64;

/// What a freeze stops.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Every key, and the making of keys.
    All,
    /// One key.
    Key(KeyName),
}

impl Scope {
    /// Whether it stops what uses this key.
    pub fn covers(&self, key: &KeyName) -> bool {
        match self {
            Self::All => true,
            Self::Key(frozen) => frozen == key,
        }
    }

    /// The word in rules, answers and commands.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Key(_) => "key",
        }
    }

    /// The key, if it is one.
    pub fn key(&self) -> Option<&KeyName> {
        match self {
            Self::All => None,
            Self::Key(key) => Some(key),
        }
    }

    /// For messages, where no key has an empty name.
    pub fn to_text(&self) -> String {
        self.key().map(ToString::to_string).unwrap_or_default()
    }

    /// Reads [`Scope::to_text`].
    pub fn from_text(text: &str) -> Option<Self> {
        match text {
            "" => Some(Self::All),
            key => KeyName::parse(key).ok().map(Self::Key),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("everything"),
            Self::Key(key) => write!(f, "key {key}"),
        }
    }
}

/// Sixteen random bytes that a node drew for one freeze.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FreezeId(pub [u8; 16]);

impl FreezeId {
    /// The id in `bytes`, if there are exactly 16 of them.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for FreezeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// Names one freeze for ever. The id alone does not: another node may repeat it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FreezeName {
    /// Who made it.
    pub by: NodeName,
    /// What that node drew for it.
    pub id: FreezeId,
}

impl fmt::Display for FreezeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.id, self.by)
    }
}

/// What a node says when it freezes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freeze {
    /// The node's cluster.
    pub cluster: ClusterId,
    /// What it stops.
    pub scope: Scope,
    /// What the node drew for it.
    pub id: FreezeId,
    /// Digest of the client's intent that asked for it.
    pub intent: Digest,
    /// When, by the node's own clock.
    pub time: UnixMillis,
}

/// What a node says when it wants freezes lifted. A majority says the same, to the byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfreeze {
    /// The nodes' cluster.
    pub cluster: ClusterId,
    /// Digest of the client's intent that asked for it.
    pub intent: Digest,
    /// Which freezes; at least one and at most [`LIFTS_MAX`].
    pub lifts: BTreeSet<FreezeName>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct FreezeBody {
    #[prost(string, tag = "1")]
    cluster: String,
    #[prost(string, tag = "2")]
    key: String,
    #[prost(bytes = "vec", tag = "3")]
    id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    intent: Vec<u8>,
    #[prost(uint64, tag = "5")]
    time_ms: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct UnfreezeBody {
    #[prost(string, tag = "1")]
    cluster: String,
    #[prost(bytes = "vec", tag = "2")]
    intent: Vec<u8>,
    #[prost(message, repeated, tag = "3")]
    lifts: Vec<NameBody>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct NameBody {
    #[prost(string, tag = "1")]
    by: String,
    #[prost(bytes = "vec", tag = "2")]
    id: Vec<u8>,
}

fn names_out(names: &BTreeSet<FreezeName>) -> Vec<NameBody> {
    names.iter().map(|name| NameBody { by: name.by.as_str().into(), id: name.id.0.to_vec() }).collect()
}

/// Names in ascending order, none twice, so that one set has one encoding.
fn names_in(bodies: &[NameBody]) -> Option<BTreeSet<FreezeName>> {
    let name = |b: &NameBody| Some(FreezeName { by: NodeName::parse(&b.by).ok()?, id: FreezeId::from_slice(&b.id)? });
    let names: Vec<FreezeName> = bodies.iter().map(name).collect::<Option<_>>()?;
    let ascending = names.is_sorted_by(|a, b| a < b);
    (ascending && (1..=LIFTS_MAX).contains(&names.len())).then(|| names.into_iter().collect())
}

impl Freeze {
    /// Canonical bytes: what the node signs.
    pub fn to_bytes(&self) -> Vec<u8> {
        FreezeBody {
            cluster: self.cluster.as_str().into(),
            key: self.scope.to_text(),
            id: self.id.0.to_vec(),
            intent: self.intent.0.to_vec(),
            time_ms: self.time.0,
        }
        .encode_to_vec()
    }

    /// Signs it with a node's boot key. It is announced only after it is written down.
    pub fn sign(&self, boot_key: &SigningKey, boot_cert: &Envelope) -> Statement {
        Statement::sign(FREEZE_TYPE, self.to_bytes(), boot_key, boot_cert)
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// [`BadStatement::Malformed`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadStatement> {
        let body: FreezeBody = decode_canonical(bytes).map_err(|_| BadStatement::Malformed)?;
        Self::from_body(&body).ok_or(BadStatement::Malformed)
    }

    /// Checks a node's statement; gives who made it, and what it says.
    ///
    /// # Errors
    /// [`BadStatement`]; a freeze of another cluster is one.
    pub fn open(statement: &Statement, roster: &Roster) -> Result<(NodeName, Self), BadStatement> {
        let (cert, bytes) = statement.open(FREEZE_TYPE, roster)?;
        let freeze = Self::from_bytes(bytes)?;
        if freeze.cluster == roster.cluster { Ok((cert.node, freeze)) } else { Err(BadStatement::UnknownNode) }
    }

    fn from_body(b: &FreezeBody) -> Option<Self> {
        Some(Self {
            cluster: ClusterId::parse(&b.cluster).ok()?,
            scope: Scope::from_text(&b.key)?,
            id: FreezeId::from_slice(&b.id)?,
            intent: Digest::from_slice(&b.intent)?,
            time: UnixMillis(b.time_ms),
        })
    }
}

impl Unfreeze {
    /// Canonical bytes: what nodes sign.
    pub fn to_bytes(&self) -> Vec<u8> {
        UnfreezeBody {
            cluster: self.cluster.as_str().into(),
            intent: self.intent.0.to_vec(),
            lifts: names_out(&self.lifts),
        }
        .encode_to_vec()
    }

    /// Signs it with a node's boot key. It leaves only after it is written down.
    pub fn sign(&self, boot_key: &SigningKey, boot_cert: &Envelope) -> Statement {
        Statement::sign(UNFREEZE_TYPE, self.to_bytes(), boot_key, boot_cert)
    }

    /// Checks one node's statement; gives who made it, and what it says. One node lifts nothing.
    ///
    /// # Errors
    /// [`BadStatement`]; one of another cluster is one.
    pub fn open(statement: &Statement, roster: &Roster) -> Result<(NodeName, Self), BadStatement> {
        let (cert, bytes) = statement.open(UNFREEZE_TYPE, roster)?;
        let body: UnfreezeBody = decode_canonical(bytes).map_err(|_| BadStatement::Malformed)?;
        let unfreeze = Self::from_body(&body).ok_or(BadStatement::Malformed)?;
        if unfreeze.cluster == roster.cluster { Ok((cert.node, unfreeze)) } else { Err(BadStatement::UnknownNode) }
    }

    fn from_body(b: &UnfreezeBody) -> Option<Self> {
        Some(Self {
            cluster: ClusterId::parse(&b.cluster).ok()?,
            intent: Digest::from_slice(&b.intent)?,
            lifts: names_in(&b.lifts)?,
        })
    }
}

/// The statements of a majority of nodes that the same freezes shall be lifted: whoever holds it can convince any node.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct UnfreezeCertificate {
    /// One statement of each.
    #[prost(message, repeated, tag = "1")]
    pub statements: Vec<Statement>,
}

impl UnfreezeCertificate {
    /// Checks that a majority of distinct nodes has said the same; gives what they said.
    ///
    /// # Errors
    /// [`BadStatement`].
    pub fn open(&self, roster: &Roster) -> Result<Unfreeze, BadStatement> {
        let mut said: Option<Unfreeze> = None;
        let mut signers = BTreeSet::new();
        for statement in &self.statements {
            let (node, unfreeze) = Unfreeze::open(statement, roster)?;
            if said.as_ref().is_some_and(|first| *first != unfreeze) || !signers.insert(node) {
                return Err(BadStatement::Malformed);
            }
            said = Some(unfreeze);
        }
        said.filter(|_| signers.len() >= roster.majority()).ok_or(BadStatement::Malformed)
    }
}
