//! Who takes part: nodes with their identity keys, clients with their intent keys. Part of the policy bundle.

use crate::boot::Believed;
use crate::dsse::VerifyingKey;
use crate::ids::{ClientId, ClusterId, NodeName, Tenant};
use crate::quorum::Tolerance;

/// Who takes part in a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roster {
    /// The cluster.
    pub cluster: ClusterId,
    /// All nodes, in the order of the file.
    pub nodes: Vec<RosterNode>,
    /// All clients, in the order of the file.
    pub clients: Vec<RosterClient>,
    /// What certificates that need a quorum withstand.
    pub tolerance: Tolerance,
    /// Boot certificates that have been verified.
    pub boots: Believed,
}

/// What a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeRole {
    /// Votes and holds shares.
    Signer,
    /// Votes only.
    Witness,
}

impl NodeRole {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Signer => "signer",
            Self::Witness => "witness",
        }
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Signer, Self::Witness].into_iter().find(|role| role.as_str() == word)
    }
}

/// A node as all others know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RosterNode {
    /// Its name.
    pub name: NodeName,
    /// What it does.
    pub role: NodeRole,
    /// `host:port` where it serves.
    pub address: String,
    /// Its HSM identity key.
    pub identity: VerifyingKey,
    /// SHA-256 of the subject public key info of its TLS certificate, in hex.
    pub tls_spki_sha256: String,
}

/// A client as every node knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RosterClient {
    /// Its id.
    pub id: ClientId,
    /// Whose requests it may make.
    pub tenant: Tenant,
    /// The key that signs its intents.
    pub intent_key: VerifyingKey,
    /// SHA-256 of the subject public key info of each TLS certificate that it may come with, in hex.
    pub tls_spki_sha256: Vec<String>,
    /// Its groups, for policy.
    pub groups: Vec<String>,
}

impl Roster {
    /// The node of that name.
    pub fn node(&self, name: &NodeName) -> Option<&RosterNode> {
        self.nodes.iter().find(|n| n.name == *name)
    }

    /// The client of that id.
    pub fn client(&self, id: &ClientId) -> Option<&RosterClient> {
        self.clients.iter().find(|c| c.id == *id)
    }

    /// How many nodes make a majority: what names a key in an HSM, and what lifts a freeze.
    pub fn majority(&self) -> usize {
        self.nodes.len() / 2 + 1
    }

    /// Nodes that hold shares, in the order of the file: party 1 of a new key is the first.
    pub fn signers(&self) -> impl Iterator<Item = &RosterNode> {
        self.nodes.iter().filter(|n| n.role == NodeRole::Signer)
    }
}
