//! (client, key, facts, bundle, now) to a [`Decision`], as a pure function (S-2.2).
//!
//! Does: loads a policy bundle (`policy.cedar`, `assets.toml`, `roster.toml`, `bundle.toml`, `lists/*.txt`), refuses one
//! that says anything this version does not enforce, and decides with [Cedar](https://www.cedarpolicy.com) in its
//! strict, schema-checked mode.
//! Does not: read files or the clock, count limits, or ask people. Bundles with `limits.toml`, `groups.toml` or
//! `@approvals` are refused rather than half obeyed.
//!
//! Where this differs from plain Cedar, always to the safe side:
//! - a rule that errors denies the request; Cedar alone would skip the rule, a `forbid` too;
//! - an annotation, list, group, client or asset that does not exist fails the load; Cedar ignores what it does not know;
//! - a warning of Cedar's validator (such as a rule that can never match) fails the load;
//! - a `permit` names its actions, so that none permits opaque transactions without saying `sign_opaque`, or
//!   payments without saying `sign_payment`;
//! - `decimal("1000")` is read as `decimal("1000.0")`, which Cedar demands.

mod amount;
mod bundle;
mod decide;
mod error;
mod rules;
mod vocabulary;

pub use bundle::{BUNDLE_MAX_BYTES, Bundle, FILES_MAX, Summary};
pub use decide::{Decision, DecisionRequest, Denied, NEAR_MISSES_MAX, NearMiss, PolicyAction, decide};
pub use error::{BundleError, Place, Problem};
pub use rules::{DEPTH_MAX, Effect, RULE_MAX_BYTES, RULES_MAX};
pub use vocabulary::SCHEMA;
