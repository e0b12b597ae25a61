//! Checkpoints (c2sp.org/tlog-checkpoint): the signed statement of how long a log is and what its root is.

use crate::merkle::Frontier;
use crate::note::{self, BadNote};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tally_domain::dsse::VerifyingKey;
use tally_domain::{ClusterId, Digest, NodeName};

/// How long a log is, and the root over its leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log: [`origin`] for a node's.
    pub origin: String,
    /// Number of leaves.
    pub size: u64,
    /// RFC 6962 root.
    pub root: Digest,
}

/// The origin of a node's log, which is also the name that its identity key has in notes.
pub fn origin(cluster: &ClusterId, node: &NodeName) -> String {
    format!("tally/{cluster}/node/{node}")
}

impl Checkpoint {
    /// The checkpoint of a node's log at its frontier.
    pub fn of(cluster: &ClusterId, node: &NodeName, frontier: &Frontier) -> Self {
        Self { origin: origin(cluster, node), size: frontier.size(), root: frontier.root() }
    }

    /// What the identity key signs: three lines, each with its newline.
    pub fn unsigned_note(&self) -> Vec<u8> {
        self.text().into_bytes()
    }

    /// The signed note, from a signature over [`Checkpoint::unsigned_note`]. By convention `name` is the origin.
    pub fn with_signature(&self, name: &str, key: &VerifyingKey, signature: &[u8]) -> String {
        note::assemble(&self.text(), name, key, signature)
    }

    /// Checks a signed note and reads it strictly: three lines and no more, of the expected log.
    ///
    /// # Errors
    /// [`BadNote`].
    pub fn open(note: &str, origin: &str, name: &str, key: &VerifyingKey) -> Result<Self, BadNote> {
        let this = Self::from_text(note::open(note, name, key)?).ok_or(BadNote::Checkpoint)?;
        if this.origin == origin { Ok(this) } else { Err(BadNote::OtherLog) }
    }

    fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root.0))
    }

    fn from_text(text: &str) -> Option<Self> {
        let mut lines = text.split('\n');
        let this = Self {
            origin: lines.next()?.to_owned(),
            size: lines.next()?.parse().ok()?,
            root: Digest::from_slice(&STANDARD.decode(lines.next()?).ok()?)?,
        };
        // Writing it again refuses `+7`, `007`, further lines and a missing last newline.
        (!this.origin.is_empty() && this.text() == text).then_some(this)
    }
}
