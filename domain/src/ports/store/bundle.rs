//! Writes and rows of policy bundles.

use super::StoreError;
use crate::activation::BundleName;
use crate::digest::Digest;
use crate::ids::NodeName;
use crate::time::UnixMillis;

/// One write about bundles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BundleWrite {
    /// The node begins with this bundle, of its configuration. Once a signed bundle is active:
    /// [`super::Conflict::OtherBundle`], unless it is that one.
    Begin {
        /// Which.
        bundle: BundleName,
        /// Encoded signed bundle; none for a directory, which any other directory may replace.
        envelope: Option<Vec<u8>>,
        /// When.
        at: UnixMillis,
    },
    /// A bundle that may become the active one. Known already: nothing changes. Another of the same number:
    /// [`super::Conflict::BundleForked`].
    Propose {
        /// Which.
        bundle: BundleName,
        /// Digest of the one before it.
        previous: Digest,
        /// Encoded signed bundle.
        envelope: Vec<u8>,
        /// Whether it only tightens the one before it.
        tightens: bool,
        /// When this node first saw it.
        at: UnixMillis,
        /// When this node votes for it, unless it is vetoed.
        due: UnixMillis,
    },
    /// This node's one vote for what follows a bundle, which must be the active one: otherwise
    /// [`super::Conflict::OtherBundle`]. The same again: nothing changes. For another bundle: [`super::Conflict::Voted`].
    /// For one that has been vetoed: [`super::Conflict::BundleVetoed`].
    Vote {
        /// Digest of the one before it.
        previous: Digest,
        /// Which.
        bundle: BundleName,
        /// Encoded statement.
        statement: Vec<u8>,
    },
    /// A node, this or another, vetoes a bundle, known here or not. Its first veto stays.
    Veto {
        /// Which.
        bundle: BundleName,
        /// Who.
        by: NodeName,
        /// Encoded statement.
        statement: Vec<u8>,
        /// When this node wrote it down.
        at: UnixMillis,
    },
    /// A quorum has voted for a bundle: from here on it is the active one. Needs that the one before it is, and that the
    /// number goes up: otherwise [`super::Conflict::OtherBundle`] or [`super::Conflict::Backwards`].
    Activate {
        /// Which.
        bundle: BundleName,
        /// Digest of the one before it.
        previous: Digest,
        /// Encoded signed bundle.
        envelope: Vec<u8>,
        /// Encoded certificate.
        certificate: Vec<u8>,
        /// When this node wrote it down.
        at: UnixMillis,
    },
    /// Writes nothing: the step needs that this bundle is the active one. Otherwise [`super::Conflict::OtherBundle`].
    StillActive {
        /// Digest of the bundle that decided.
        digest: Digest,
    },
}

/// A bundle as one node knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleRow {
    /// Which.
    pub bundle: BundleName,
    /// Digest of the one before it; none for the first.
    pub previous: Option<Digest>,
    /// When this node first saw it.
    pub first_seen: UnixMillis,
    /// When this node votes for it, unless it is vetoed.
    pub due: UnixMillis,
    /// Whether it only tightens the one before it.
    pub tightens: bool,
    /// Encoded vote of this node, if it has voted for it.
    pub vote: Option<Vec<u8>>,
    /// Encoded certificate and when it was written down, if it has become active.
    pub activated: Option<(Vec<u8>, UnixMillis)>,
}

/// A veto as one node knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VetoRow {
    /// Which bundle.
    pub bundle: BundleName,
    /// Whose veto.
    pub by: NodeName,
    /// Encoded statement.
    pub statement: Vec<u8>,
}

/// What a store remembers of bundles.
pub trait Bundles {
    /// The active bundle; none before the first start.
    ///
    /// # Errors
    /// [`StoreError`].
    fn active_bundle(&self) -> Result<Option<BundleName>, StoreError>;

    /// All signed bundles that became active or may, by number.
    ///
    /// # Errors
    /// [`StoreError`].
    fn bundles(&self) -> Result<Vec<BundleRow>, StoreError>;

    /// A signed bundle, encoded.
    ///
    /// # Errors
    /// [`StoreError`].
    fn bundle(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError>;

    /// All vetoes, by bundle and node.
    ///
    /// # Errors
    /// [`StoreError`].
    fn vetoes(&self) -> Result<Vec<VetoRow>, StoreError>;
}
