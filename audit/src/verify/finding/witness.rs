//! Where something is shown that another log leaves out.

use std::fmt;
use tally_domain::NodeName;

/// A leaf of another node's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// Whose log.
    pub node: NodeName,
    /// Index of the leaf.
    pub leaf: u64,
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}'s leaf {}", self.node, self.leaf)
    }
}
