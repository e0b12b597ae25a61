//! How a policy bundle becomes the active one: each node votes once for what follows a bundle, and a quorum of votes
//! activates it everywhere (S-2.3). A veto of any one node keeps every node that hears of it in time from voting.
//!
//! The object of the vote is the bundle *before*, not a number: two bundles with different numbers cannot both follow it,
//! so that however votes and vetoes cross on their way, all nodes walk one chain.

mod spec;

pub use spec::VetoSpec;

use crate::boot::{BadStatement, Statement};
use crate::digest::Digest;
use crate::dsse::{Envelope, SigningKey};
use crate::ids::{ClusterId, NodeName};
use crate::intent::decode_canonical;
use crate::quorum::Electorate;
use crate::roster::Roster;
use crate::time::UnixMillis;
use prost::Message as _;
use std::collections::BTreeSet;

/// DSSE payload type of a node's vote for a bundle.
pub const BUNDLE_VOTE_TYPE: &str = "application/vnd.tally.bundle-vote.v1+protobuf";
/// DSSE payload type of a node's veto of a bundle.
pub const BUNDLE_VETO_TYPE: &str = "application/vnd.tally.bundle-veto.v1+protobuf";

/// Names a bundle among those of its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundleName {
    /// Its number.
    pub version: u64,
    /// Its digest.
    pub digest: Digest,
}

/// What a node says when it wants a bundle to be the active one. A quorum says the same, to the byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleVote {
    /// The nodes' cluster.
    pub cluster: ClusterId,
    /// Digest of the bundle before it.
    pub previous: Digest,
    /// The bundle.
    pub bundle: BundleName,
}

/// What a node says when it vetoes a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleVeto {
    /// The node's cluster.
    pub cluster: ClusterId,
    /// The bundle.
    pub bundle: BundleName,
    /// Digest of the client's intent that asked for it.
    pub intent: Digest,
    /// When, by the node's own clock.
    pub time: UnixMillis,
}

#[derive(Clone, PartialEq, prost::Message)]
struct VoteBody {
    #[prost(string, tag = "1")]
    cluster: String,
    #[prost(bytes = "vec", tag = "2")]
    previous: Vec<u8>,
    #[prost(uint64, tag = "3")]
    version: u64,
    #[prost(bytes = "vec", tag = "4")]
    digest: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct VetoBody {
    #[prost(string, tag = "1")]
    cluster: String,
    #[prost(uint64, tag = "2")]
    version: u64,
    #[prost(bytes = "vec", tag = "3")]
    digest: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    intent: Vec<u8>,
    #[prost(uint64, tag = "5")]
    time_ms: u64,
}

impl BundleName {
    fn from_parts(version: u64, digest: &[u8]) -> Option<Self> {
        Some(Self { version, digest: Digest::from_slice(digest)? })
    }
}

impl std::fmt::Display for BundleName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.version, self.digest)
    }
}

impl BundleVote {
    /// Canonical bytes: what nodes sign.
    pub fn to_bytes(&self) -> Vec<u8> {
        VoteBody {
            cluster: self.cluster.as_str().into(),
            previous: self.previous.0.to_vec(),
            version: self.bundle.version,
            digest: self.bundle.digest.0.to_vec(),
        }
        .encode_to_vec()
    }

    /// Signs it with a node's boot key. It leaves only after it is written down.
    pub fn sign(&self, boot_key: &SigningKey, boot_cert: &Envelope) -> Statement {
        Statement::sign(BUNDLE_VOTE_TYPE, self.to_bytes(), boot_key, boot_cert)
    }

    /// Checks one node's statement; gives who made it, and what it says. One node activates nothing.
    ///
    /// # Errors
    /// [`BadStatement`]; one of another cluster is one.
    pub fn open(statement: &Statement, roster: &Roster) -> Result<(NodeName, Self), BadStatement> {
        let (cert, bytes) = statement.open(BUNDLE_VOTE_TYPE, roster)?;
        let body: VoteBody = decode_canonical(bytes).map_err(|_| BadStatement::Malformed)?;
        let vote = Self::from_body(&body).ok_or(BadStatement::Malformed)?;
        if vote.cluster == roster.cluster { Ok((cert.node, vote)) } else { Err(BadStatement::UnknownNode) }
    }

    fn from_body(b: &VoteBody) -> Option<Self> {
        Some(Self {
            cluster: ClusterId::parse(&b.cluster).ok()?,
            previous: Digest::from_slice(&b.previous)?,
            bundle: BundleName::from_parts(b.version, &b.digest)?,
        })
    }
}

impl BundleVeto {
    /// Canonical bytes: what the node signs.
    pub fn to_bytes(&self) -> Vec<u8> {
        VetoBody {
            cluster: self.cluster.as_str().into(),
            version: self.bundle.version,
            digest: self.bundle.digest.0.to_vec(),
            intent: self.intent.0.to_vec(),
            time_ms: self.time.0,
        }
        .encode_to_vec()
    }

    /// Signs it with a node's boot key. It is announced only after it is written down.
    pub fn sign(&self, boot_key: &SigningKey, boot_cert: &Envelope) -> Statement {
        Statement::sign(BUNDLE_VETO_TYPE, self.to_bytes(), boot_key, boot_cert)
    }

    /// Checks a node's statement; gives who made it, and what it says.
    ///
    /// # Errors
    /// [`BadStatement`]; one of another cluster is one.
    pub fn open(statement: &Statement, roster: &Roster) -> Result<(NodeName, Self), BadStatement> {
        let (cert, bytes) = statement.open(BUNDLE_VETO_TYPE, roster)?;
        let body: VetoBody = decode_canonical(bytes).map_err(|_| BadStatement::Malformed)?;
        let veto = Self::from_body(&body).ok_or(BadStatement::Malformed)?;
        if veto.cluster == roster.cluster { Ok((cert.node, veto)) } else { Err(BadStatement::UnknownNode) }
    }

    fn from_body(b: &VetoBody) -> Option<Self> {
        Some(Self {
            cluster: ClusterId::parse(&b.cluster).ok()?,
            bundle: BundleName::from_parts(b.version, &b.digest)?,
            intent: Digest::from_slice(&b.intent)?,
            time: UnixMillis(b.time_ms),
        })
    }
}

/// The votes of a quorum of nodes for the same bundle: whoever holds it can convince any node.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct BundleCertificate {
    /// One vote of each.
    #[prost(message, repeated, tag = "1")]
    pub votes: Vec<Statement>,
}

impl BundleCertificate {
    /// Checks that a quorum of distinct nodes has voted the same; gives what for.
    ///
    /// # Errors
    /// [`BadStatement`].
    pub fn open(&self, roster: &Roster) -> Result<BundleVote, BadStatement> {
        let mut said: Option<BundleVote> = None;
        let mut voters = BTreeSet::new();
        for statement in &self.votes {
            let (node, vote) = BundleVote::open(statement, roster)?;
            if said.as_ref().is_some_and(|first| *first != vote) || !voters.insert(node) {
                return Err(BadStatement::Malformed);
            }
            said = Some(vote);
        }
        said.filter(|_| enough(&voters, roster)).ok_or(BadStatement::Malformed)
    }
}

/// Whether these voters activate a bundle: any two such sets share an honest node that remembers, and it votes once.
pub fn enough(voters: &BTreeSet<NodeName>, roster: &Roster) -> bool {
    Electorate::from(roster).reached(voters)
}
