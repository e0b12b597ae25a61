//! What can be wrong with a log, in words that a person can act on.

mod approval;
mod bundle;
mod freeze;
mod home;
mod kek;
mod token;
mod witness;

pub use approval::ApprovalProblem;
pub use bundle::BundleProblem;
pub use freeze::FreezeProblem;
pub use home::HomeProblem;
pub use kek::KekProblem;
pub use token::TokenProblem;
pub use witness::Witness;

use crate::event::BadLeaf;
use crate::note::BadNote;
use std::fmt;
use tally_domain::boot::BadStatement;
use tally_domain::cancel::BadCancellation;
use tally_domain::intent::BadIntent;
use tally_domain::vote::BadCertificate;
use tally_domain::{Attempt, ClientId, Digest, Incarnation, KeyName, NodeName, RequestId};

/// Something wrong, and where it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whose log.
    pub node: NodeName,
    /// Index of the leaf; nothing for the log as a whole.
    pub leaf: Option<u64>,
    /// What is wrong.
    pub problem: Problem,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.leaf {
            Some(leaf) => write!(f, "log of {}, leaf {leaf}: {}", self.node, self.problem),
            None => write!(f, "log of {}: {}", self.node, self.problem),
        }
    }
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The node is not in the roster.
    #[error("the node is not in the roster; check with the roster of the log's time")]
    UnknownNode,
    /// Two logs are said to be the same node's.
    #[error("two logs are given for this node; check them one at a time, then ask which is its own")]
    TwoLogs,
    /// The roster names the node, but its log was not given.
    #[error("the log is missing; export it, or say that the check is to be partial")]
    LogMissing,
    /// The checkpoint is not believed.
    #[error("{0}")]
    Checkpoint(#[from] BadNote),
    /// The checkpoint is for another number of leaves.
    #[error("the checkpoint is over {checkpoint} leaves, the log has {entries}; leaves are missing or were added")]
    Size {
        /// What the checkpoint says.
        checkpoint: u64,
        /// What is there.
        entries: u64,
    },
    /// The leaves are not those of the checkpoint.
    #[error("the leaves have root {found}, the checkpoint says {checkpoint}; a leaf was changed or moved")]
    Root {
        /// What the checkpoint says.
        checkpoint: Digest,
        /// What is there.
        found: Digest,
    },
    /// Not a leaf.
    #[error("{0}")]
    Leaf(#[from] BadLeaf),
    /// The leaf of another node's log.
    #[error("the leaf is from the log of {said}")]
    OtherNode {
        /// The node that it names.
        said: NodeName,
    },
    /// The boot certificate is not believed.
    #[error("the boot certificate is not believed: {0}")]
    BootCert(BadStatement),
    /// The boot certificate is for another node or start.
    #[error("the boot certificate is not this node's for this start")]
    OtherBoot,
    /// A start that is not newer than the one before.
    #[error("start {} does not follow start {}; the node was restored or cloned", .now.0, .before.0)]
    BootNotNewer {
        /// The start before.
        before: Incarnation,
        /// This one.
        now: Incarnation,
    },
    /// A leaf of a start that the log does not record.
    #[error("the leaf is of start {}, which is not the last one recorded before it", .said.0)]
    NotBooted {
        /// The start that it names.
        said: Incarnation,
    },
    /// The recorded digest is not that of the envelope.
    #[error("the recorded digest is not that of the intent")]
    IntentDigest,
    /// Permitted without an intent.
    #[error("request {request} was permitted, but the log has no intent of that digest before")]
    PermitWithoutIntent {
        /// The request.
        request: RequestId,
    },
    /// Permitted although the client had not signed it.
    #[error("a permitted intent is not believed: {0}")]
    Intent(#[from] BadIntent),
    /// Permitted although the client is not known.
    #[error("a permitted intent is from {client}, who is not in the roster")]
    UnknownClient {
        /// The client that it names.
        client: ClientId,
    },
    /// Permitted although the client may not act for the tenant.
    #[error("a permitted intent of {client} is for a tenant that it may not act for")]
    OtherTenant {
        /// The client.
        client: ClientId,
    },
    /// The record and the intent of its digest do not agree.
    #[error("the record of request {request} differs from its intent in `{field}`")]
    IntentMismatch {
        /// The request.
        request: RequestId,
        /// In which field.
        field: &'static str,
    },
    /// The cancellation is not believed.
    #[error("the cancellation is not believed: {0}")]
    Cancellation(BadCancellation),
    /// Signed for although the client had taken it back.
    #[error("the node went on with request {request} after its client had cancelled it")]
    AfterCancellation {
        /// The request.
        request: RequestId,
    },
    /// The vote is not believed.
    #[error("the vote is not believed: {0}")]
    Vote(BadStatement),
    /// The vote of another node or start, recorded as its own.
    #[error("the vote is by {voter}, not by this node in this start")]
    OtherVoter {
        /// Who signed it.
        voter: NodeName,
    },
    /// A vote for what the node had not permitted.
    #[error("the node voted for request {request} without having permitted that intent under that bundle")]
    VoteNotPermitted {
        /// The request.
        request: RequestId,
    },
    /// Two different votes for one object.
    #[error("{voter} signed two different votes for request {request}, attempt {}: keep both logs as evidence", .attempt.0)]
    TwoVotes {
        /// Who.
        voter: NodeName,
        /// The request.
        request: RequestId,
        /// Which try.
        attempt: Attempt,
    },
    /// One unit of a limit for two requests.
    #[error("requests {request} and {other} were both certified one unit of limit line {line}: the limit was exceeded")]
    ClaimsOverlap {
        /// The line.
        line: Digest,
        /// The request.
        request: RequestId,
        /// The other request.
        other: RequestId,
    },
    /// One voter, one unit of a limit, two requests.
    #[error(
        "{voter} voted for one unit of a limit for both requests {request} and {other}: it lies or was restored from an older copy; keep its votes as evidence"
    )]
    ClaimedTwice {
        /// Who.
        voter: NodeName,
        /// The request.
        request: RequestId,
        /// The other request.
        other: RequestId,
    },
    /// The certificate is not believed.
    #[error("the certificate is not believed: {0}")]
    Certificate(#[from] BadCertificate),
    /// The certificate is for something else.
    #[error("the certificate is not for request {request}, attempt {}", .attempt.0)]
    OtherCertificate {
        /// The request of the leaf.
        request: RequestId,
        /// The try of the leaf.
        attempt: Attempt,
    },
    /// A release by a node outside S.
    #[error("the node released for a certificate whose signers do not include it")]
    NotASigner,
    /// A release without an own vote before.
    #[error("the node released for request {request} without a recorded vote of its own for the same thing")]
    ReleaseWithoutVote {
        /// The request.
        request: RequestId,
    },
    /// One request, two digests.
    #[error("request {request} was certified for two different digests, also at {other}")]
    TwoDigests {
        /// The request.
        request: RequestId,
        /// Where the other one is.
        other: NodeName,
    },
    /// One nonce, two certificates.
    #[error("the nonce of request {request} also serves request {other}: freeze the key and refresh its shares")]
    NonceReused {
        /// The request.
        request: RequestId,
        /// The other request.
        other: RequestId,
    },
    /// Two partial signatures with one nonce.
    #[error(
        "two different partial signatures were released for request {request} with one nonce: refresh the key's shares"
    )]
    TwoPartials {
        /// The request.
        request: RequestId,
    },
    /// The promise is not believed.
    #[error("the promise to abandon is not believed: {0}")]
    Abandonment(BadStatement),
    /// Released although promised not to.
    #[error("{node} released for request {request}, attempt {}, which it had promised to abandon", .attempt.0)]
    ReleasedAndAbandoned {
        /// Who.
        node: NodeName,
        /// The request.
        request: RequestId,
        /// Which try.
        attempt: Attempt,
    },
    /// The signature does not verify.
    #[error("the signature of request {request} does not verify under the recorded public key")]
    Signature {
        /// The request.
        request: RequestId,
    },
    /// One request, two signatures.
    #[error("request {request} has two different signatures, also at {other}")]
    TwoSignatures {
        /// The request.
        request: RequestId,
        /// Where the other one is.
        other: NodeName,
    },
    /// The signature is not over what was certified.
    #[error("the signature of request {request} is not over what its certificate says")]
    NotCertified {
        /// The request.
        request: RequestId,
    },
    /// A key in an HSM signed what its node had not permitted.
    #[error("the node signed request {request} with a key of its HSM without having permitted that intent before")]
    SignatureNotPermitted {
        /// The request.
        request: RequestId,
    },
    /// A key in an HSM signed at a node that is not its home.
    #[error("request {request} is signed with key {key}, whose home is {home}")]
    NotHome {
        /// The request.
        request: RequestId,
        /// The key.
        key: KeyName,
        /// Where the key lives.
        home: NodeName,
    },
    /// One node, one name, two keys.
    #[error("{voter} gave the name {key} to two different keys: keep both logs as evidence")]
    NameGivenTwice {
        /// Who.
        voter: NodeName,
        /// The name.
        key: KeyName,
    },
    /// No log has a certificate for the signature.
    #[error("the signature of request {request} has no certificate in any log")]
    NoCertificate {
        /// The request.
        request: RequestId,
    },
    /// Two signatures of a key share r (ECDSA) or R (Ed25519).
    #[error("key {key} signed requests {request} and {other} with the same nonce: the key is exposed, move the funds")]
    SameNonce {
        /// The key.
        key: KeyName,
        /// The request.
        request: RequestId,
        /// The other request.
        other: RequestId,
    },
    /// The key record is not believed.
    #[error("the key record is not believed: {0}")]
    Key(BadStatement),
    /// The key record is another cluster's.
    #[error("the record of key {key} is of another cluster")]
    OtherCluster {
        /// The key.
        key: KeyName,
    },
    /// A share of a key that the node takes no part in.
    #[error("the record of key {key} does not name this node")]
    NotAParticipant {
        /// The key.
        key: KeyName,
    },
    /// One name, two keys.
    #[error("key {key} has two different certified records, also at {other}")]
    TwoKeys {
        /// The key.
        key: KeyName,
        /// Where the other one is.
        other: NodeName,
    },
    /// The signature's public key is not the certified key's child.
    #[error("request {request} is signed under a public key that is not the certified key {key} at its path")]
    OtherKey {
        /// The request.
        request: RequestId,
        /// The key.
        key: KeyName,
    },
    /// The node voted, but its own log, which goes on after that, does not hold the vote.
    #[error(
        "{voter} voted for request {request}, attempt {}, as {shown_by} shows, but its own log does not hold the vote; leaves were removed",
        .attempt.0
    )]
    VoteRemoved {
        /// Who.
        voter: NodeName,
        /// The request.
        request: RequestId,
        /// Which try.
        attempt: Attempt,
        /// Where its vote is.
        shown_by: Witness,
    },
    /// The node released, but its own log, which goes on after that, does not say so.
    #[error(
        "request {request} has a signature, as {shown_by} shows, but of its attempt {} the log does not hold {signer}'s release; leaves were removed",
        .attempt.0
    )]
    ReleaseRemoved {
        /// Who.
        signer: NodeName,
        /// The request.
        request: RequestId,
        /// Which try.
        attempt: Attempt,
        /// Where the signature is.
        shown_by: Witness,
    },
    /// The log ends before something that the node did, while others go on for long after it.
    #[error(
        "the log ends before {node}'s part in request {request}, attempt {}, as {shown_by} shows it; its end was cut, or it is an older export",
        .attempt.0
    )]
    EndsEarly {
        /// Who.
        node: NodeName,
        /// The request.
        request: RequestId,
        /// Which try.
        attempt: Attempt,
        /// What shows it.
        shown_by: Witness,
    },
    /// Something about a KEK.
    #[error("{0}")]
    Kek(#[from] KekProblem),
    /// Something about a token domain.
    #[error("{0}")]
    Token(#[from] TokenProblem),
    /// About freezes.
    #[error("{0}")]
    Freeze(#[from] FreezeProblem),
    /// About approvals.
    #[error("{0}")]
    Approval(#[from] ApprovalProblem),
    /// About policy bundles.
    #[error("{0}")]
    Bundle(#[from] BundleProblem),
    /// About limited work of one node.
    #[error("{0}")]
    Home(#[from] HomeProblem),
    /// No log has the key's certificate.
    #[error("request {request} is signed with key {key}, whose certificate is in no log")]
    NoKey {
        /// The request.
        request: RequestId,
        /// The key.
        key: KeyName,
    },
}
