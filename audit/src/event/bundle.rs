//! What a leaf says of policy bundles.

use tally_domain::activation::BundleCertificate;
use tally_domain::boot::Statement;

/// What happened with a policy bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BundleEvent {
    /// The node begins with this signed bundle, which its configuration pins.
    Began {
        /// The encoded signed bundle.
        envelope: Vec<u8>,
    },
    /// The node has seen a bundle that may become the active one; its wait begins.
    Seen {
        /// The encoded signed bundle.
        envelope: Vec<u8>,
        /// Whether it only tightens the one before it, as this node finds: then there is no wait.
        tightens: bool,
    },
    /// This node has voted for what follows the active bundle.
    Voted {
        /// Its vote.
        statement: Statement,
    },
    /// A node, this or another, has vetoed a bundle.
    Vetoed {
        /// That node's word.
        statement: Statement,
    },
    /// A quorum has voted for a bundle: from here on it decides at this node.
    Activated {
        /// Their votes.
        certificate: BundleCertificate,
        /// The encoded signed bundle, where no earlier leaf has it.
        envelope: Vec<u8>,
    },
    /// Evidence against the admins: a bundle that they have signed beside another of the same number.
    Forked {
        /// The encoded signed bundle.
        envelope: Vec<u8>,
    },
}

impl BundleEvent {
    /// As one word, for lists.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Began { .. } => "bundle-began",
            Self::Seen { .. } => "bundle-seen",
            Self::Voted { .. } => "bundle-voted",
            Self::Vetoed { .. } => "bundle-vetoed",
            Self::Activated { .. } => "bundle-activated",
            Self::Forked { .. } => "bundle-forked",
        }
    }
}
