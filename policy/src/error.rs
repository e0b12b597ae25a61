//! Why a bundle is refused: where, what, and what to do.

use std::fmt;
use tally_domain::time::span_words;
use tally_domain::{ClusterId, Digest, UnixMillis};

/// A bundle is refused. All of it is the author's to mend, except [`Problem::Internal`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleError {
    /// The file, by its path in the bundle.
    pub file: String,
    /// Where in the file; none when it is about the file as a whole.
    pub place: Option<Place>,
    /// What is wrong.
    pub problem: Problem,
}

/// A position in a text file, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Line.
    pub line: usize,
    /// Column, in characters.
    pub column: usize,
}

/// What is wrong with a bundle, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A file that every bundle has is not there.
    #[error("the file is missing; a bundle has policy.cedar, assets.toml, roster.toml, bundle.toml and lists/*.txt")]
    Missing,
    /// A file that no bundle has.
    #[error(
        "a bundle has no such file; remove it, or give a list, cases or an ABI a plain name such as lists/vendors.txt, \
         tests/payouts.case.toml or abi/vault.json"
    )]
    UnknownFile,
    /// Over a limit of size or number.
    #[error("{what} is over the limit of {limit}; make it smaller")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The limit, in bytes or pieces as `what` says.
        limit: usize,
    },
    /// Not text.
    #[error("the file is not UTF-8 text; save it as UTF-8")]
    NotUtf8,
    /// Not TOML, or a field that is unknown, missing or of another type.
    #[error("{message}")]
    Toml {
        /// What the TOML reader says.
        message: String,
    },
    /// Not a contract's ABI.
    #[error("this is not the ABI of a contract, as Solidity's compiler writes it: {message}")]
    Abi {
        /// What the JSON reader says.
        message: String,
    },
    /// Cedar cannot read the rule, or it does not fit the schema.
    #[error("{message}{}", help.as_deref().map(|h| format!("; {h}")).unwrap_or_default())]
    Cedar {
        /// What Cedar says.
        message: String,
        /// What Cedar says to do, if it does.
        help: Option<String>,
    },
    /// A rule with `?principal` or `?resource`.
    #[error("the rule is a template; write out the principal and the resource")]
    Template,
    /// A rule without a name.
    #[error("the rule has no @id; give every rule its own, such as @id(\"payouts-small\")")]
    NoId,
    /// An annotation that nothing reads. Ignoring it could lose a condition.
    #[error("unknown annotation `@{name}`; a rule has @id and may have @description, a permit also @approvals")]
    UnknownAnnotation {
        /// Its name.
        name: String,
    },
    /// A permit that matches any action, opaque transactions included.
    #[error("a permit must name its actions, such as `action == Action::\"sign\"`, or it would permit all of them")]
    PermitAnyAction,
    /// A name that the bundle does not define.
    #[error("there is no {what} `{name}`; {known}")]
    UnknownName {
        /// What it should be: a list, a group, an asset.
        what: &'static str,
        /// The name.
        name: String,
        /// Where such names come from.
        known: &'static str,
    },
    /// A value that is not allowed.
    #[error("`{given}` is not a valid {what}: {want}")]
    Value {
        /// What it should be.
        what: &'static str,
        /// What was given.
        given: String,
        /// How a valid one looks.
        want: &'static str,
    },
    /// Something that may be there only once.
    #[error("{what} `{value}` is there twice; remove one")]
    Duplicate {
        /// What it is.
        what: &'static str,
        /// The repeated value.
        value: String,
    },
    /// Only what permits can wait for persons.
    #[error("a forbid has no @approvals: it forbids whoever approves; remove them, or give them to a permit")]
    ForbidWithApprovals,
    /// Nodes wait for persons only before they sign or reveal.
    #[error(
        "a rule with @approvals is for signatures and for `reveal`, and names action `{action}`; nodes would refuse that \
         for ever"
    )]
    ApprovalsOfAction {
        /// The action.
        action: String,
    },
    /// A quorum that nobody could ever meet.
    #[error(
        "group `{group}` has {persons} persons, fewer than the {needed} that the rule needs; add persons or ask fewer"
    )]
    GroupTooSmall {
        /// The group.
        group: String,
        /// How many the rule needs.
        needed: usize,
        /// How many there are.
        persons: usize,
    },
    /// Quorums that nobody could ever meet together.
    #[error(
        "`{approvals}` needs more persons than its groups have together: who is in two groups counts for one of them"
    )]
    GroupsOverlap {
        /// As the rule says it.
        approvals: String,
    },
    /// Somebody without a key.
    #[error("`{name}` has no keys; name at least one")]
    NoKeys {
        /// Who.
        name: String,
    },
    /// No number of admins, or one that they cannot reach.
    #[error("`admins_needed` must be there, and be 1 to the number of admins, of which there are {admins}")]
    AdminsNeeded {
        /// How many admins there are.
        admins: usize,
    },
    /// Not exactly one of two.
    #[error("limit `{id}` must have either `max`, an amount, or `count`, a number of movements, and not both")]
    MaxOrCount {
        /// The limit.
        id: String,
    },
    /// It would be for nothing.
    #[error("a limit names a `key` or a `domain`: nothing is done with both")]
    KeyAndDomain,
    /// Amounts of what?
    #[error("a limit with `max` must name its `asset`: amounts of different assets do not add up")]
    MaxWithoutAsset,
    /// Not a number of accounting units.
    #[error(
        "`max` has more than the {decimals} decimals that the asset is counted in, or is more than can be counted \
         (2^128 of its smallest units); make it smaller or coarser"
    )]
    MaxOutOfRange {
        /// The asset's decimals.
        decimals: u8,
    },
    /// A case that asks for nothing, or for two things.
    #[error(
        "a case asks for one of `transfer`, `allowance`, `call`, `typed_data`, `payment`, `message`, `raw`, `opaque` and `create_key`"
    )]
    CaseAsksOnce,
    /// Fields of one backing with another.
    #[error("a key of backing `threshold` has `t` and `n`, one of backing `hsm` has `home`")]
    CaseKeySpec,
    /// A signed header beside files that say something else.
    #[error("the {what} here is not the one that the bundle was signed with; pack and sign it again")]
    HeaderDiffers {
        /// What differs.
        what: &'static str,
    },
    /// A chain of which the fee could not be told.
    #[error("chain `{chain}` has assets but no native coin, in which fees are paid; add one without a contract")]
    NoNativeCoin {
        /// The chain.
        chain: String,
    },
    /// Our bug.
    #[error("the bundle could not be loaded ({what}); this is a bug, please report it")]
    Internal {
        /// What failed.
        what: &'static str,
    },
}

/// A signed bundle is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Too many bytes to be one.
    #[error("the signed bundle is larger than {limit} bytes")]
    Oversized {
        /// The limit.
        limit: usize,
    },
    /// Not the one encoding of what it says.
    #[error("this is not a signed bundle: not an envelope of that type, or not in its one encoding")]
    NotCanonical,
    /// A layout that this version does not know.
    #[error("the bundle has layout {found}, this version reads {known}; use a version that knows it")]
    UnknownFormat {
        /// Its layout.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// A signature that does not count.
    #[error("the signature of `{key}` does not verify, or is of nobody who may sign; remove it, or sign again")]
    Signature {
        /// The key that the signature names.
        key: String,
    },
    /// Not enough admins.
    #[error("{have} of the {need} admins that are needed have signed; let more of them sign")]
    TooFewSignatures {
        /// How many distinct admins have.
        have: usize,
        /// How many must.
        need: usize,
    },
    /// Nobody may sign.
    #[error("the roster names no admins, so that nobody can sign; add `[[admin]]` and `admins_needed` to roster.toml")]
    NoAdmins,
    /// Its time is over.
    #[error("the bundle expired at {not_after}; sign a new one")]
    Expired {
        /// When.
        not_after: UnixMillis,
    },
    /// Its time has not come.
    #[error("the bundle is not valid before {not_before}; wait, or check the clock")]
    NotYetValid {
        /// From when on it is.
        not_before: UnixMillis,
    },
    /// Valid for too long, or never.
    #[error("the bundle is valid for {}; it must be more than none and at most {}", span_words(*.ms), span_words(*.most_ms))]
    Validity {
        /// For how long it is.
        ms: u64,
        /// The limit.
        most_ms: u64,
    },
    /// Another bundle of the active version.
    #[error("there is another bundle of version {version}: {active} is active; two of one version are a fork")]
    Forked {
        /// The version of both.
        version: u64,
        /// The digest of the active one.
        active: Digest,
    },
    /// A version before the active one.
    #[error("the bundle has version {version}, but {active} is active; a node never goes back")]
    Downgraded {
        /// Its version.
        version: u64,
        /// The active version.
        active: u64,
    },
    /// The active bundle itself.
    #[error("this is the bundle that is active already")]
    Known,
    /// Not one that can follow the active one.
    #[error(
        "version {version} does not follow: the next is {active_version} + 1, or a few more where numbers were vetoed, with \
         {active} as the bundle before it"
    )]
    BrokenChain {
        /// Its version.
        version: u64,
        /// The active version.
        active_version: u64,
        /// The digest of the active one.
        active: Digest,
    },
    /// For others.
    #[error("the bundle is for cluster `{found}`, not `{expected}`")]
    OtherCluster {
        /// Ours.
        expected: ClusterId,
        /// Its.
        found: ClusterId,
    },
    /// Not the bundle that was named.
    #[error("the bundle has digest {found}, not {expected}")]
    OtherDigest {
        /// Which was named.
        expected: Digest,
        /// Which it is.
        found: Digest,
    },
    /// What is in it is no bundle.
    #[error(transparent)]
    Content(BundleError),
}

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some(Place { line, column }) => write!(f, "{}:{line}:{column}: {}", self.file, self.problem),
            None => write!(f, "{}: {}", self.file, self.problem),
        }
    }
}

impl std::error::Error for BundleError {}

impl BundleError {
    /// About the file as a whole.
    pub(crate) fn whole(file: &str, problem: Problem) -> Self {
        Self { file: file.into(), place: None, problem }
    }

    /// About what is at a byte of the file's text.
    pub(crate) fn at(file: &str, text: &str, byte: usize, problem: Problem) -> Self {
        Self { file: file.into(), place: Some(Place::of_byte(text, byte)), problem }
    }
}

impl Place {
    pub(crate) fn of_byte(text: &str, byte: usize) -> Self {
        // A position inside a character is that of the character.
        let end = (0..=byte.min(text.len())).rev().find(|b| text.is_char_boundary(*b)).unwrap_or(0);
        let before = text.get(..end).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        Self { line: before.matches('\n').count() + 1, column }
    }
}
