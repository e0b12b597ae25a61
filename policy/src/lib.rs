//! (client, key, facts, approvals, bundle, now) to a [`Decision`], as a pure function (S-2.2).
//!
//! Does: loads a policy bundle (`policy.cedar`, `assets.toml`, `roster.toml`, `bundle.toml`, and where they are there
//! `limits.toml`, `groups.toml`, `contracts.toml`, `lists/*.txt`, `abi/*.json`), refuses one that says anything this version does not enforce, and decides
//! with [Cedar](https://www.cedarpolicy.com) in its strict, schema-checked mode ([`decide_approved`]). Checks who signed a
//! bundle and what it follows ([`SignedBundle`]), which approvals count ([`check_approval`]), what a request takes of which
//! limits ([`charges`]), what people are shown of it ([`shown`]), and which changes of a bundle tighten ([`changes`]).
//! Does not: read files or the clock, count what is left of a limit, or ask people.
//!
//! Where this differs from plain Cedar, always to the safe side:
//! - a rule that errors denies the request; Cedar alone would skip the rule, a `forbid` too;
//! - an annotation, list, group, client or asset that does not exist fails the load; Cedar ignores what it does not know;
//! - a warning of Cedar's validator (such as a rule that can never match) fails the load;
//! - a `permit` names its actions, so that none permits opaque transactions without saying `sign_opaque`, or
//!   payments without saying `sign_payment`;
//! - a `permit` with `@approvals` permits only once persons have approved;
//! - `decimal("1000")` is read as `decimal("1000.0")`, which Cedar demands.

mod amount;
mod approvals;
mod bundle;
mod cases;
mod charges;
mod decide;
mod diff;
mod error;
mod example;
mod limits_shown;
mod rules;
mod summary;
mod unmet;
mod vocabulary;

pub use approvals::{APPROVAL_VALIDITY_MAX_MS, ApprovalSubject, Approvals, VoidApproval, check_approval};
pub use bundle::{
    APPROVALS_MAX, Admins, BUNDLE_MAX_BYTES, BUNDLE_TYPE, Bundle, FILES_MAX, Files, Header, LIMITS_MAX,
    LOOSENING_DELAY_DEFAULT_MS, LOOSENING_DELAY_MIN_MS, Quorum, SIGNED_BUNDLE_MAX_BYTES, SignedBundle, Summary, Trust,
    VALIDITY_MAX_MS, VERSION_STEP_MAX, Validity, span_words,
};
pub use cases::{Case, CaseReport, Threshold, unnoticed};
pub use charges::{OverLimit, charges, lines};
pub use decide::{
    ApprovalPath, Decision, DecisionRequest, Denied, NEAR_MISSES_MAX, NearMiss, Need, PolicyAction, decide,
    decide_approved,
};
pub use diff::{Change, Direction, changes, tightens_only};
pub use error::{BundleError, OpenError, Place, Problem};
pub use example::EXAMPLE;
pub use limits_shown::LimitShown;
pub use rules::{DEPTH_MAX, Effect, RULE_MAX_BYTES, RULES_MAX, Rule};
pub use summary::{Shown, shown, summary, summary_digest};
pub use unmet::Unmet;
pub use vocabulary::SCHEMA;
