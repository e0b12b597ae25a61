//! Why a call was refused or failed: one stable word each, with a sentence a person can act on.

use std::collections::BTreeMap;

/// `ErrorInfo.domain` of every error.
pub const ERROR_DOMAIN: &str = "tally";

/// How gRPC classes a reason. Denied (`PermissionDenied`) is not failed (`Unavailable`, `Internal`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The caller sent something that can never be accepted.
    InvalidArgument,
    /// The caller is not who it says.
    Unauthenticated,
    /// The caller may not do this.
    PermissionDenied,
    /// Not now, in this state of things.
    FailedPrecondition,
    /// There is no such thing.
    NotFound,
    /// The name or id is taken by something else.
    AlreadyExists,
    /// Too much at once.
    ResourceExhausted,
    /// Lost against another attempt; the same call may go through.
    Aborted,
    /// Something that is needed is away.
    Unavailable,
    /// Took too long; the state can be asked for.
    DeadlineExceeded,
    /// Stored data is not what was stored.
    DataLoss,
    /// Our bug.
    Internal,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $v:ident = $word:literal, $class:ident, $text:literal;)+) => {
        /// Why. The word is stable; the sentence is constant.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason { $($(#[$doc])* $v),+ }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Reason] = &[$(Reason::$v),+];

            /// `ErrorInfo.reason`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$v => $word),+ }
            }

            /// What is wrong and what to do.
            pub fn sentence(self) -> &'static str {
                match self { $(Self::$v => $text),+ }
            }

            /// The gRPC class.
            pub fn class(self) -> Class {
                match self { $(Self::$v => Class::$class),+ }
            }

            /// Reads `ErrorInfo.reason`.
            pub fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$v),)+ _ => None }
            }
        }
    };
}

reasons! {
    /// Not protobuf, not canonical, unknown fields, or a field out of its range.
    Malformed = "MALFORMED", InvalidArgument, "The request is not a canonical message of known, valid fields; build it with the SDK or from the .proto file.";
    /// Larger than the limit.
    Oversized = "OVERSIZED", InvalidArgument, "The request is larger than the limit; send less.";
    /// The transaction cannot be read at all.
    TxUnparseable = "TX_UNPARSEABLE", InvalidArgument, "The content is not an unsigned transaction of a supported type; check its encoding.";
    /// The transaction's type is known, and never signed.
    TxType = "TX_TYPE", InvalidArgument, "Transactions of this type are not signed here; the detail in the metadata says why, and which type to build instead.";
    /// Typed data is not well-formed.
    TypedDataInvalid = "TYPED_DATA_INVALID", InvalidArgument, "The content is not typed data (EIP-712) that every wallet reads alike; see the detail in the metadata.";
    /// The payment file cannot be read in full.
    PaymentInvalid = "PAYMENT_INVALID", InvalidArgument, "The content is not a pain.001 payment file of which every part that a bank acts on is understood; see the detail in the metadata.";
    /// The transaction is read, but what it does is not known, and no rule permits that.
    TxOpaque = "TX_OPAQUE", PermissionDenied, "What the transaction does could not be decoded, and no rule permits opaque transactions with this key.";
    /// The transaction is for another chain than the intent says.
    ChainMismatch = "CHAIN_MISMATCH", InvalidArgument, "The transaction's chain id is not the chain that the intent names; sign for the right chain.";
    /// t, n, path or another parameter out of range.
    ParameterRange = "PARAMETER_RANGE", InvalidArgument, "A parameter is out of its range; see the metadata.";
    /// The key's scheme cannot do this.
    KeyScheme = "KEY_SCHEME", InvalidArgument, "The key's scheme cannot sign this kind of content; use another key.";
    /// Not a known client, or not the one of this connection.
    UnknownClient = "UNKNOWN_CLIENT", Unauthenticated, "The client is not in the roster of the active bundle, or the connection's certificate is not its own.";
    /// Not a known node.
    UnknownNode = "UNKNOWN_NODE", Unauthenticated, "The caller is not a node of the roster of the active bundle.";
    /// The intent's signature does not verify.
    IntentSignature = "INTENT_SIGNATURE", Unauthenticated, "The intent's signature does not verify under the client's registered key.";
    /// The client may not act for this tenant.
    Acl = "ACL", PermissionDenied, "The client may not act for this tenant, ask this cluster, or call this method.";
    /// The rules deny.
    PolicyDenied = "POLICY_DENIED", PermissionDenied, "Policy does not permit this; the metadata names the rule and the condition, or says that no rule permits it.";
    /// Persons have yet to approve.
    ApprovalsRequired = "APPROVALS_REQUIRED", FailedPrecondition, "Policy permits this once enough persons have approved it; the metadata names the groups and how many of each.";
    /// A person who may approve has said no.
    Rejected = "REJECTED", PermissionDenied, "A person who may approve this has rejected it, which is final; send a new request with a new id if it should be asked again.";
    /// The client has taken it back.
    Cancelled = "CANCELLED", FailedPrecondition, "The client has cancelled this request, which is final; send a new request with a new id if it should be done after all.";
    /// Too late to take back.
    AlreadySigned = "ALREADY_SIGNED", FailedPrecondition, "The request is signed, or enough signers have released their parts of the signature, so that it cannot be cancelled; show the request to get the result.";
    /// Not by the person whom it names.
    ApprovalSignature = "APPROVAL_SIGNATURE", Unauthenticated, "The approval is not signed by a key that groups.toml of the active bundle gives to the person whom it names.";
    /// For something else.
    ApprovalMismatch = "APPROVAL_MISMATCH", FailedPrecondition, "The approval is for another request, intent, bundle or summary than this node has; look at the request again, and sign what is shown now.";
    /// Its time is over, or it would count for too long.
    ApprovalExpired = "APPROVAL_EXPIRED", FailedPrecondition, "The approval has expired, or would count for longer than a day; look at the request again, and sign a new one.";
    /// The person asks for it.
    ApprovalInitiator = "APPROVAL_INITIATOR", PermissionDenied, "The person operates the client that asks, and does not decide about it; somebody else must.";
    /// The person is not asked.
    NotAnApprover = "NOT_AN_APPROVER", PermissionDenied, "The person belongs to none of the groups that this request waits for; somebody of those groups must decide.";
    /// The person has approved.
    AlreadyApproved = "ALREADY_APPROVED", AlreadyExists, "This person has approved the request already, and counts once, with whichever key; another person must approve.";
    /// It does not wait.
    NotWaiting = "NOT_WAITING", FailedPrecondition, "The request does not wait for approvals at this node: it is done, or policy does not ask for any; show the request to see where it stands.";
    /// A spending limit does not have this much left, or never has.
    VelocityLimit = "VELOCITY_LIMIT", ResourceExhausted, "A spending limit does not allow this much; the metadata names the limit. Wait until its window has passed, or ask for less.";
    /// The bundle's time is over.
    BundleExpired = "BUNDLE_EXPIRED", FailedPrecondition, "The policy bundle is outside the time that it is valid for; its admins must sign a new one.";
    /// Not a bundle, or one that says what this version does not enforce.
    BundleInvalid = "BUNDLE_INVALID", InvalidArgument, "This is not a signed policy bundle that this version enforces in full; the metadata says what is wrong and where.";
    /// Not signed by those who must.
    BundleSignatures = "BUNDLE_SIGNATURES", PermissionDenied, "Too few admins of the active bundle have signed this one, or somebody else has; the metadata says which.";
    /// Two bundles of one number.
    BundleForked = "BUNDLE_FORKED", AlreadyExists, "There is another bundle of this version; the admins have signed both. Give the one that is wanted the next number.";
    /// Older than the active one.
    BundleDowngrade = "BUNDLE_DOWNGRADE", FailedPrecondition, "The bundle's version is below that of the active one; a node never goes back. Sign the old rules as a new version.";
    /// Does not follow the active one.
    BundleChain = "BUNDLE_CHAIN", FailedPrecondition, "The bundle does not follow the active one; pack it after the active one and sign it again.";
    /// Changes what a running cluster cannot change.
    BundleRoster = "BUNDLE_ROSTER", FailedPrecondition, "The bundle changes the nodes of the roster or their keys, which a running cluster does not take; change clients, groups, persons and admins only.";
    /// Its wait is not over.
    BundleWaits = "BUNDLE_WAITS", FailedPrecondition, "The bundle loosens the active one and its wait is not over; the metadata says when it is.";
    /// A node has vetoed it.
    BundleVetoed = "BUNDLE_VETOED", FailedPrecondition, "The bundle has been vetoed and will not become active; give its successor the next number.";
    /// It is active, or can no longer be.
    BundleSettled = "BUNDLE_SETTLED", FailedPrecondition, "The bundle is active already, or another has followed the one before it, so that there is nothing to activate or veto; see `tally policy history`.";
    /// No such bundle.
    BundleNotFound = "BUNDLE_NOT_FOUND", NotFound, "This node knows of no bundle of that version; see `tally policy history`.";
    /// The key has another purpose.
    KeyPurpose = "KEY_PURPOSE", PermissionDenied, "The key's purpose does not allow this kind of content; a key has exactly one purpose.";
    /// A freeze covers it.
    Frozen = "FROZEN", PermissionDenied, "The key, or everything, is frozen; see in the metadata by which node. A majority of nodes must lift the freeze: `tally unfreeze`.";
    /// No such freeze.
    FreezeNotFound = "FREEZE_NOT_FOUND", NotFound, "This node knows of no such freeze of this scope; list the freezes in force and name those.";
    /// The key is not active.
    KeyNotActive = "KEY_NOT_ACTIVE", FailedPrecondition, "The key is not active yet; wait until all nodes have certified it.";
    /// No such key.
    KeyNotFound = "KEY_NOT_FOUND", NotFound, "There is no key of that name; list the keys to see which exist.";
    /// The name is taken.
    KeyExists = "KEY_EXISTS", AlreadyExists, "A key of that name exists already; choose another name.";
    /// The key lives in the HSM of another node.
    HomeNode = "HOME_NODE", FailedPrecondition, "The key lives in the HSM of another node, which alone decides for it; send the same request there.";
    /// A secret key was asked for.
    KeyNotExportable = "KEY_NOT_EXPORTABLE", PermissionDenied, "The key never leaves the HSM, and a key that wraps others has no public half; wrap data with it, or export another key.";
    /// No version of that number.
    KekVersionUnknown = "KEK_VERSION_UNKNOWN", NotFound, "The KEK has no such version; show it to see which there are.";
    /// The version is switched off, or waits for its destruction.
    KekDisabled = "KEK_DISABLED", FailedPrecondition, "The KEK's version is disabled or is to be destroyed, so that it neither wraps nor unwraps; enable it, or cancel its destruction first.";
    /// The version is gone.
    KekDestroyed = "KEK_DESTROYED", FailedPrecondition, "The KEK's version was destroyed, or is being destroyed; what it wrapped cannot be opened any more by anyone.";
    /// The change does not fit the version's state.
    KekState = "KEK_STATE", FailedPrecondition, "The KEK's version is not in a state that allows this change; show the KEK to see its versions.";
    /// The version has no form in which it could reach a second token.
    KekNotReplicable = "KEK_NOT_REPLICABLE", FailedPrecondition, "The KEK's version cannot reach a standby token: its home has none, or the version was made before the two were a pair; with a standby, rotate the KEK and rewrap.";
    /// Wrapped data does not open.
    BlobTampered = "BLOB_TAMPERED", DataLoss, "The wrapped data does not check: it was changed, or it was wrapped by another KEK, for another tenant or with another encryption context. The HSM is well.";
    /// No such domain.
    DomainNotFound = "TOKEN_DOMAIN_NOT_FOUND", NotFound, "There is no token domain of that name for this tenant; list the domains to see which exist.";
    /// It waits.
    DomainSuspended = "TOKEN_DOMAIN_SUSPENDED", FailedPrecondition, "The token domain is suspended, so that it gives and reveals nothing; resume it first.";
    /// It is gone.
    DomainDeleted = "TOKEN_DOMAIN_DELETED", FailedPrecondition, "The token domain was deleted and its keys are destroyed; nobody can open its card numbers any more.";
    /// The domain keeps no card numbers.
    DomainOneWay = "TOKEN_DOMAIN_ONE_WAY", FailedPrecondition, "The token domain keeps no card numbers, only their fingerprints: nothing can be revealed, and its index key cannot be rotated.";
    /// Unknown in this domain.
    TokenNotFound = "TOKEN_NOT_FOUND", NotFound, "The token domain has no such token.";
    /// Past its time.
    TokenExpired = "TOKEN_EXPIRED", FailedPrecondition, "The token has expired; tokenize the card again.";
    /// No uses left.
    TokenUsedUp = "TOKEN_USED_UP", FailedPrecondition, "The token has been revealed as often as its domain allows; tokenize the card again.";
    /// It waits.
    TokenSuspended = "TOKEN_SUSPENDED", FailedPrecondition, "The token is suspended; resume it first.";
    /// Its card number is gone.
    TokenShredded = "TOKEN_SHREDDED", FailedPrecondition, "The token was deleted; its card number is gone for good.";
    /// Not a card number.
    CardInvalid = "CARD_INVALID", InvalidArgument, "This is not a card number: 12 to 19 digits with a right check digit, spaces and dashes allowed; the metadata says what is wrong. It is not repeated.";
    /// The second token does not take a key.
    HsmStandby = "HSM_STANDBY", Unavailable, "The node's standby token does not answer, and keys of token domains are made on both tokens or not at all; see `tally hsm status`. What is there goes on working.";
    /// A subject where none is kept.
    SubjectNotKept = "SUBJECT_NOT_KEPT", FailedPrecondition, "The token domain gives a card the same token whoever's card it is, so that it does not keep whose it is; leave the subject out, or use a domain that reuses tokens per subject, or not at all.";
    /// A card number in plain text.
    CardInText = "CARD_IN_TEXT", InvalidArgument, "A field for plain text, named in the metadata, holds what looks like a card number: such text is kept and logged as it is. Nothing of the request was kept; send a card number in the field for card numbers only.";
    /// A brand that the domain does not take.
    CardBrand = "CARD_BRAND", InvalidArgument, "The token domain does not take cards of this brand; show the domain to see which it takes.";
    /// Too few tokens are left.
    TokensExhausted = "TOKENS_EXHAUSTED", ResourceExhausted, "Half of all tokens that keep these digits have been given, which is as many as is safe; use a domain with a larger format.";
    /// Somebody feels their way along card numbers.
    EnumerationGuard = "ENUMERATION_GUARD", ResourceExhausted, "Too many different card numbers with the same first six and last four digits were asked about; wait until the time in the metadata, or ask an administrator.";
    /// A reveal has a purpose.
    PurposeRequired = "PURPOSE_REQUIRED", InvalidArgument, "A card number is revealed for a purpose only; say which.";
    /// More than was announced.
    BatchRows = "BATCH_ROWS", InvalidArgument, "The stream has more rows than its opening intent allows, or a message with more rows than fit; begin another stream.";
    /// A data key has done its work.
    DataKeySpent = "DATA_KEY_SPENT", FailedPrecondition, "The token domain's data key has encrypted as often as is safe; rotate it.";
    /// Something depends on it.
    VersionNeeded = "KEY_VERSION_NEEDED", FailedPrecondition, "Tokens or keys still depend on this version, so that it is not retired; rotate first, and let the rotation end.";
    /// No such version in that state.
    VersionState = "KEY_VERSION_STATE", FailedPrecondition, "The token domain has no such key version that could be retired; show the domain to see which there are.";
    /// Somebody else writes down how far the same import is.
    ImportState = "IMPORT_STATE", FailedPrecondition, "The same import is under way in another stream, or has come further than this one knows; wait until that has ended, and give the same command once more.";
    /// A rotation is where it is.
    RotationState = "ROTATION_STATE", FailedPrecondition, "The rotation is not in a state for this: it is under way, paused or over already; show the domain to see how far it is.";
    /// No such request.
    RequestNotFound = "REQUEST_NOT_FOUND", NotFound, "There is no request of that id for this tenant at this node.";
    /// The request id names another intent.
    RequestIdConflict = "REQUEST_ID_CONFLICT", AlreadyExists, "The request id already names a different intent; draw a new id for a new request.";
    /// Past its time.
    Expired = "EXPIRED", FailedPrecondition, "The intent has expired; sign a new one with a new request id.";
    /// Before its time.
    TooEarly = "TOO_EARLY", FailedPrecondition, "The intent is not valid yet; wait, or check the clocks.";
    /// A node's clock is off.
    ClockSkew = "CLOCK_SKEW", Unavailable, "A node's clock is too far from the others' to tell when something is valid; the metadata says which node and by how much. Set its clock, or ask another node meanwhile.";
    /// Valid for longer than allowed.
    ValidityTooLong = "VALIDITY_TOO_LONG", InvalidArgument, "The intent is valid for longer than allowed; sign a new one for at most ten minutes, or a day where persons must approve. It may have the same request id.";
    /// Nodes hold different bundles.
    BundleMismatch = "BUNDLE_MISMATCH", FailedPrecondition, "The nodes hold different policy bundles, or it has just changed; the metadata shows the digests. Retry; a node that stays behind must reach the others.";
    /// The client wants a newer bundle.
    StalePolicy = "STALE_POLICY", FailedPrecondition, "The node's policy bundle is older than the intent demands; update the bundle.";
    /// A node started again, or an older start of it speaks.
    StaleIncarnation = "STALE_INCARNATION", FailedPrecondition, "The message is from an earlier start of the node; retry.";
    /// A node has forgotten what it had shown.
    RolledBack = "ROLLED_BACK", FailedPrecondition, "The node shows less than it had shown before: it was restored from an older copy and may have forgotten votes. Its peers have fenced it; an operator of each of them must accept it.";
    /// This node is the one.
    Recovering = "RECOVERING", Unavailable, "This node was restored from an older copy and its peers have fenced it; it takes part in nothing until their operators accept it. Ask another node.";
    /// This node is a witness.
    NotASigner = "NOT_A_SIGNER", Unavailable, "This node is a witness: it votes where a limit applies, and holds no share of any key. Ask one of the signers in the metadata.";
    /// Fewer than t signers.
    Signers = "SIGNERS", Unavailable, "Fewer signers than the key's threshold can be reached; bring nodes back and retry with the same request id.";
    /// Fewer voters than a limit needs.
    Voters = "VOTERS", Unavailable, "A limit applies, and fewer nodes than its quorum could be reached to agree that it leaves room; bring nodes back and retry with the same request id.";
    /// Not all nodes that a key needs.
    Participants = "PARTICIPANTS", Unavailable, "Creating a key needs all of its nodes, naming one in an HSM, lifting a freeze a majority of all, and a new policy as many as a limit does; bring nodes back and retry with the same request id.";
    /// The token does not answer.
    Hsm = "HSM", Unavailable, "The node's HSM does not answer; see the node's log and `tally node status`.";
    /// The token has no such kind of key.
    HsmNotOffered = "HSM_NOT_OFFERED", FailedPrecondition, "The node's HSM does not offer this kind of key; choose another scheme, or create the key in another node.";
    /// The disk does not take writes.
    Storage = "STORAGE", Unavailable, "The node cannot write to its store and has released nothing; free space or repair the disk, then retry.";
    /// Too many sessions or calls.
    Overloaded = "OVERLOADED", ResourceExhausted, "The node has as much work as it takes on; retry after a pause.";
    /// Another attempt at the same request is running.
    Contention = "CONTENTION", Aborted, "Another attempt at this request is in progress; retry with the same request id.";
    /// A session ended without blame.
    SessionAborted = "SESSION_ABORTED", Aborted, "The signing session ended early; retry with the same request id.";
    /// A node may still complete an earlier attempt.
    InDoubt = "IN_DOUBT", Aborted, "An earlier attempt may still complete at a node that is away; retry with the same request id when it is back.";
    /// An authenticated peer broke the protocol.
    ProtocolViolation = "PROTOCOL_VIOLATION", InvalidArgument, "A peer's message does not follow the protocol; the metadata names the round.";
    /// The peer is banned for this key.
    PeerBanned = "PEER_BANNED", PermissionDenied, "The peer is banned for this key after a failed check; refresh the key's shares to lift it.";
    /// Too slow.
    Deadline = "DEADLINE", DeadlineExceeded, "The call took longer than its deadline; ask for the request's state, or retry with the same request id.";
    /// Stored data does not check.
    Tampered = "TAMPERED", DataLoss, "Stored data does not check against its seal; the node refuses to use it. Restore the node from a good copy.";
    /// Our bug.
    Bug = "INTERNAL", Internal, "The node hit an error of its own; the metadata has an id to look up in its log.";
}

/// A refusal or failure on its way to the caller: the reason and facts about it. Never secrets, never source error text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}", .reason.as_str(), .reason.sentence())]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// Facts a caller may see: `rule`, `condition`, `node`, `ours`, `theirs`...
    pub metadata: BTreeMap<String, String>,
}

impl Refusal {
    /// A refusal without further facts.
    pub fn new(reason: Reason) -> Self {
        Self { reason, metadata: BTreeMap::new() }
    }

    /// Adds a fact.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.metadata.insert(name.into(), value.into());
        self
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self::new(reason)
    }
}

impl From<crate::intent::BadIntent> for Refusal {
    fn from(e: crate::intent::BadIntent) -> Self {
        use crate::intent::BadIntent;
        match e {
            BadIntent::Oversized => Reason::Oversized.into(),
            BadIntent::Signature => Reason::IntentSignature.into(),
            BadIntent::NotCanonical => Reason::Malformed.into(),
            BadIntent::Field { field } => Self::new(Reason::Malformed).with("field", field),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s_7_1_every_reason_has_its_own_word_and_a_sentence() {
        let words: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|r| r.as_str()).collect();
        assert_eq!(words.len(), Reason::ALL.len());
        for r in Reason::ALL {
            assert_eq!(Reason::parse(r.as_str()), Some(*r));
            assert!(r.sentence().ends_with('.'));
        }
    }
}
