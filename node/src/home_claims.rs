//! Limits on what this node does alone.

use tally_domain::{Reason, Refusal};
use tally_signer::claims::{Cleared, HomeWork};

/// Leave to do what no limit applies to. What is charged cannot be claimed for one node yet, and so is not done.
///
/// # Errors
/// `VOTERS` with the limit.
pub fn certify(work: &HomeWork) -> Result<Cleared, Refusal> {
    let charged = work.charges().first();
    work.uncharged().ok_or_else(|| {
        let refusal = Refusal::new(Reason::Voters);
        charged.map_or_else(|| refusal.clone(), |charge| refusal.clone().with("limit", charge.limit.as_str()))
    })
}
