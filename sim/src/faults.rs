//! What goes wrong in a run, and how often.

use crate::cluster::Cluster;
use rand::RngExt as _;
use rand::rngs::StdRng;
use tally_domain::NodeName;

impl Cluster {
    /// Sets a node's clock ahead for its decisions.
    pub fn set_ahead(&mut self, at: &NodeName, ms: u64) {
        self.skew_ms.insert(at.clone(), ms);
    }
}

/// How often things go wrong, each as a probability.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    /// A packet is lost.
    pub drop: f64,
    /// A partial signature is lost: then an attempt hangs between all and nothing.
    pub drop_partial: f64,
    /// A packet arrives twice.
    pub duplicate: f64,
    /// A node goes down at a write, before or after it.
    pub crash_at_write: f64,
    /// A node goes down at an event.
    pub crash: f64,
    /// A node that is down comes back at an event.
    pub restart: f64,
    /// The disk refuses a write.
    pub storage: f64,
    /// The network is cut in two at an event.
    pub cut: f64,
    /// It is mended at an event.
    pub mend: f64,
    /// Someone loses patience though there are packets under way.
    pub hasty: f64,
}

impl Faults {
    /// Only the order of packets is drawn.
    pub const NONE: Self = Self {
        drop: 0.0,
        drop_partial: 0.0,
        duplicate: 0.0,
        crash_at_write: 0.0,
        crash: 0.0,
        restart: 0.0,
        storage: 0.0,
        cut: 0.0,
        mend: 1.0,
        hasty: 0.0,
    };

    /// A kind of weather of its own for each run: some faults never, some often.
    pub fn drawn(rng: &mut StdRng) -> Self {
        let mut often = |p: f64| p * [0.0, 0.5, 1.0, 3.0, 8.0][rng.random_range(0..5)];
        let all = Self::ALL;
        Self {
            drop: often(all.drop),
            drop_partial: often(all.drop_partial),
            duplicate: often(all.duplicate),
            crash_at_write: often(all.crash_at_write),
            crash: often(all.crash),
            storage: often(all.storage),
            cut: often(all.cut),
            hasty: often(all.hasty),
            ..all
        }
    }

    /// Everything goes wrong now and then.
    const ALL: Self = Self {
        drop: 0.02,
        drop_partial: 0.08,
        duplicate: 0.01,
        crash_at_write: 0.04,
        crash: 0.004,
        restart: 0.05,
        storage: 0.01,
        cut: 0.004,
        mend: 0.03,
        hasty: 0.01,
    };
}
