//! What can be wrong about policy bundles.

use tally_domain::activation::BundleName;
use tally_domain::boot::BadStatement;
use tally_domain::{Digest, NodeName, RequestId};

/// What is wrong about the bundles that a log speaks of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleProblem {
    /// A statement is not believed.
    #[error("the statement about a policy bundle is not believed: {0}")]
    Statement(BadStatement),
    /// Activated by too few votes, or by different ones.
    #[error("a policy bundle became active without the same votes of a quorum of nodes: {0}")]
    NoQuorum(BadStatement),
    /// What became active does not follow what was.
    #[error("policy bundle {bundle} became active after {active}, which is not the one before it")]
    BrokenChain {
        /// What became active.
        bundle: BundleName,
        /// What was.
        active: Digest,
    },
    /// The version went back.
    #[error("policy bundle {bundle} became active after version {before}; a node never goes back")]
    WentBack {
        /// What became active.
        bundle: BundleName,
        /// The version before.
        before: u64,
    },
    /// The bundle is in no log, or its admins have not signed it.
    #[error("policy bundle {digest} is in no log with the signatures of the admins of the one before it")]
    NotSigned {
        /// Which.
        digest: Digest,
    },
    /// The node started under another bundle than it had stopped under.
    #[error("the node started under policy bundle {now}, but {before} was active when it stopped")]
    OtherAtStart {
        /// Which was.
        before: Digest,
        /// Which is.
        now: Digest,
    },
    /// The log begins with another bundle than the one that is pinned.
    #[error("the log begins with policy bundle {found}, not {pinned}")]
    NotPinned {
        /// What was given.
        pinned: Digest,
        /// With what it begins.
        found: Digest,
    },
    /// A decision under a bundle that did not decide then.
    #[error("request {request} was decided under policy bundle {bundle}, while {active} was active here")]
    DecidedUnderOther {
        /// The request.
        request: RequestId,
        /// The bundle that decided.
        bundle: Digest,
        /// The one that should have.
        active: Digest,
    },
    /// What loosens was taken for something that tightens.
    #[error("policy bundle {bundle} loosens, but the node took it for one that only tightens, which does not wait")]
    FalselyTight {
        /// Which.
        bundle: BundleName,
    },
    /// The vote of another node where only its own belongs.
    #[error("the vote for a policy bundle is {by}'s, not this node's")]
    NotItsOwn {
        /// Whose.
        by: NodeName,
    },
    /// The node voted for what it knew to be vetoed.
    #[error("the node voted for policy bundle {bundle} after it had written down a veto of it")]
    VotedVetoed {
        /// Which.
        bundle: BundleName,
    },
    /// The log's own node vetoed without having permitted that.
    #[error("the node vetoed a policy bundle without having permitted an intent that asks for just that")]
    VetoNotPermitted,
    /// Two votes for what follows one bundle.
    #[error("{voter} voted for two policy bundles to follow {previous}")]
    TwoVotes {
        /// Who.
        voter: NodeName,
        /// The bundle before them.
        previous: Digest,
    },
    /// Two bundles became active after one.
    #[error("two policy bundles became active after {previous}; see also the log of {other}")]
    TwoActive {
        /// The bundle before them.
        previous: Digest,
        /// Another log.
        other: NodeName,
    },
}
