//! The policy bundle that decides at this node, and those that may follow it.

use crate::node::{Node, now};
use crate::reply;
use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tally_domain::activation::BundleName;
use tally_domain::ports::store::{BundleRow, VetoRow};
use tally_domain::{Digest, NodeName, Reason, Refusal};
use tally_policy::{Bundle, SignedBundle, Trust};

/// Largest signed bundle that a node takes: a leaf of the log has room for it whole, and for some lists of 10,000 entries.
pub const BUNDLE_MAX_BYTES: usize = 960 * 1024;

/// The active bundle, and what is going on about others.
pub struct Bundles {
    active: RwLock<Arc<Bundle>>,
    /// What was opened last as a follower of the active one: seeing, voting and activating come one after the other.
    follower: Mutex<Option<Follower>>,
    /// What peers have taken since this start.
    heard: Mutex<HashSet<(Told, NodeName)>>,
    /// Forks that have been logged since this start: each is logged once.
    forks: Mutex<BTreeSet<Digest>>,
    /// Held while something is learnt, so that it is written down once, whoever tells it.
    learning: tokio::sync::Mutex<()>,
    /// Held while a peer is asked what became active: once is enough for everyone who waits for it.
    catching_up: tokio::sync::Mutex<()>,
}

struct Follower {
    after: Digest,
    /// Over the envelope, signatures included: the bundle's own digest is not.
    envelope: Digest,
    bundle: Arc<Bundle>,
}

/// What a peer is told of a bundle: that it is there, and how many vetoes it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Told {
    digest: Digest,
    vetoes: usize,
}

/// Where a bundle stands at this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It decides.
    Active,
    /// It has decided.
    Replaced,
    /// Its wait is not over.
    Waiting,
    /// This node votes for it.
    Ready,
    /// A node has vetoed it.
    Vetoed,
    /// Another has followed the one before it.
    Overtaken,
}

/// A bundle that this node knows.
pub struct Known {
    /// The bundle.
    pub row: BundleRow,
    /// Its vetoes.
    pub vetoes: Vec<VetoRow>,
    /// Where it stands.
    pub standing: Standing,
}

impl Bundles {
    /// Begins with the bundle that is active.
    pub fn new(active: Arc<Bundle>) -> Self {
        Self {
            active: RwLock::new(active),
            follower: Mutex::default(),
            heard: Mutex::default(),
            forks: Mutex::default(),
            learning: tokio::sync::Mutex::default(),
            catching_up: tokio::sync::Mutex::default(),
        }
    }

    /// The bundle that decides now. Whoever decides by it makes sure that it still does where that becomes durable.
    pub fn active(&self) -> Arc<Bundle> {
        self.active.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Another bundle decides from now on; this is durable already.
    pub fn swap(&self, bundle: Arc<Bundle>) {
        *self.active.write().unwrap_or_else(PoisonError::into_inner) = bundle;
    }

    /// A bundle whose very envelope has been found to follow the active one before, whatever the time was.
    pub fn follower(&self, envelope: Digest) -> Option<Arc<Bundle>> {
        let after = self.active().digest();
        let last = self.follower.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().filter(|f| (f.after, f.envelope) == (after, envelope)).map(|f| f.bundle.clone())
    }

    /// Notes that a bundle follows another, by its admins' signatures and its number.
    pub fn note_follower(&self, after: Digest, envelope: Digest, bundle: Arc<Bundle>) {
        *self.follower.lock().unwrap_or_else(PoisonError::into_inner) = Some(Follower { after, envelope, bundle });
    }

    /// One at a time from here on, until the guard is dropped.
    pub async fn learning(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.learning.lock().await
    }

    /// The same for catching up.
    pub async fn catching_up(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.catching_up.lock().await
    }

    /// Whether this fork is seen for the first time since this start.
    pub fn is_new_fork(&self, digest: Digest) -> bool {
        self.forks.lock().unwrap_or_else(PoisonError::into_inner).insert(digest)
    }

    /// Whether a peer has taken what is to be told of a bundle.
    pub fn is_told(&self, told: Told, peer: &NodeName) -> bool {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).contains(&(told, peer.clone()))
    }

    /// Notes that a peer has.
    pub fn note_told(&self, told: Told, peer: &NodeName) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).insert((told, peer.clone()));
    }
}

impl Standing {
    /// The word in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Replaced => "replaced",
            Self::Waiting => "waiting",
            Self::Ready => "ready",
            Self::Vetoed => "vetoed",
            Self::Overtaken => "overtaken",
        }
    }

    /// Whether it can still become the active one, or be vetoed.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Waiting | Self::Ready)
    }
}

impl Known {
    /// What a peer is told of it.
    pub fn told(&self) -> Told {
        Told { digest: self.row.bundle.digest, vetoes: self.vetoes.len() }
    }
}

/// All bundles that this node knows, by number.
///
/// # Errors
/// `STORAGE`, `TAMPERED`.
pub fn all(node: &Node) -> Result<Vec<Known>, Refusal> {
    let active = node.bundle();
    let rows = node.store.bundles().map_err(|e| reply::of_store(&e))?;
    let mut vetoes = node.store.vetoes().map_err(|e| reply::of_store(&e))?;
    let known = rows.into_iter().map(|row| {
        let (own, others) = std::mem::take(&mut vetoes).into_iter().partition(|v| v.bundle == row.bundle);
        vetoes = others;
        let standing = standing(&row, &own, &active);
        Known { row, vetoes: own, standing }
    });
    Ok(known.collect())
}

fn standing(row: &BundleRow, vetoes: &[VetoRow], active: &Bundle) -> Standing {
    if row.bundle.digest == active.digest() {
        Standing::Active
    } else if row.activated.is_some() || row.previous.is_none() {
        Standing::Replaced
    } else if !vetoes.is_empty() {
        Standing::Vetoed
    } else if row.previous != Some(active.digest()) {
        Standing::Overtaken
    } else if now() < row.due {
        Standing::Waiting
    } else {
        Standing::Ready
    }
}

/// The bundle of a number.
///
/// # Errors
/// `BUNDLE_NOT_FOUND`, `STORAGE`, `TAMPERED`.
pub fn of_version(node: &Node, version: u64) -> Result<Known, Refusal> {
    let known = all(node)?.into_iter().find(|known| known.row.bundle.version == version);
    known.ok_or_else(|| Refusal::new(Reason::BundleNotFound).with("version", version.to_string()))
}

/// The very bundle of a name, if this node knows it.
///
/// # Errors
/// `STORAGE`, `TAMPERED`.
pub fn find(node: &Node, name: BundleName) -> Result<Option<Known>, Refusal> {
    Ok(all(node)?.into_iter().find(|known| known.row.bundle == name))
}

/// A signed bundle as this node keeps it, encoded.
///
/// # Errors
/// `BUNDLE_NOT_FOUND`, `STORAGE`.
pub fn bytes(node: &Node, digest: &Digest) -> Result<Vec<u8>, Refusal> {
    let bytes = node.store.bundle(digest).map_err(|e| reply::of_store(&e))?;
    bytes.ok_or_else(|| Refusal::new(Reason::BundleNotFound).with("digest", digest.to_string()))
}

/// A bundle that this node keeps, opened once more: that it may be believed was checked when it came.
///
/// # Errors
/// `BUNDLE_NOT_FOUND`, `STORAGE`, `TAMPERED`.
pub fn reopened(node: &Node, digest: &Digest) -> Result<Arc<Bundle>, Refusal> {
    let active = node.bundle();
    let bytes = bytes(node, digest)?;
    if let Some(known) = node.bundles.follower(Digest::of(&bytes)) {
        return Ok(known);
    }
    let signed = SignedBundle::from_bytes(&bytes).map_err(|_| Reason::Tampered)?;
    let opened = signed.open(Trust::Reopened(*digest), now()).map_err(|_| Reason::Tampered)?;
    if opened.header().cluster == active.header().cluster { Ok(Arc::new(opened)) } else { Err(Reason::Tampered.into()) }
}
