//! The bundle: a handful of small files, loaded as a whole or refused as a whole.

mod abi;
mod admins;
mod assets;
mod content;
mod contracts;
mod groups;
mod header;
mod limits;
mod lists;
mod quorums;
mod reading;
mod roster;
mod signed;
mod spans;

pub(crate) use abi::Value;
pub(crate) use assets::{Asset, Assets, Counted};
pub(crate) use contracts::{CALLS, Call, Contracts, is_call};
pub(crate) use groups::Groups;
pub(crate) use limits::{By, Limit, Most, Scope, exact_units, numbers as limit_numbers};
pub(crate) use lists::{ACCOUNT_FORM, ADDRESS_FORM, Listed, Lists, evm_address};
pub(crate) use quorums::{missing, parse as parse_quorums};
pub(crate) use reading::{NAME_FORM, Source, plain_name, text as file_text, toml as read_toml};
pub(crate) use spans::DAY_MS;

pub use admins::Admins;
pub use header::{
    BUNDLE_TYPE, Header, LOOSENING_DELAY_DEFAULT_MS, LOOSENING_DELAY_MIN_MS, VALIDITY_MAX_MS, VERSION_STEP_MAX,
    Validity,
};
pub use limits::LIMITS_MAX;
pub use quorums::{APPROVALS_MAX, Quorum};
pub use signed::{SIGNED_BUNDLE_MAX_BYTES, SignedBundle, Trust};
pub use spans::words as span_words;

use crate::error::BundleError;
use crate::rules::{Effect, Rule, Rules};
use crate::vocabulary::Vocabulary;
use cedar_policy::Entities;
use std::collections::BTreeMap;
use tally_domain::roster::Roster;
use tally_domain::{Digest, LimitId};

/// Files by their paths in the bundle, with `/`.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Largest bundle, all files together: a person reads the rules, and a list of 90,000 addresses still fits.
pub const BUNDLE_MAX_BYTES: usize = 4 * 1024 * 1024;

/// Most files of a bundle: seven, and a list or a file of cases each for more purposes than anyone can review.
pub const FILES_MAX: usize = 256;

pub(crate) const POLICY: &str = "policy.cedar";
pub(crate) const ASSETS: &str = "assets.toml";
pub(crate) const ROSTER: &str = "roster.toml";
pub(crate) const BUNDLE: &str = "bundle.toml";
pub(crate) const LIMITS: &str = "limits.toml";
pub(crate) const GROUPS: &str = "groups.toml";
pub(crate) const CONTRACTS: &str = "contracts.toml";

/// A policy bundle, loaded and checked.
pub struct Bundle {
    header: Header,
    digest: Digest,
    roster: Roster,
    admins: Admins,
    pub(crate) lists: Lists,
    pub(crate) assets: Assets,
    pub(crate) contracts: Contracts,
    pub(crate) groups: Groups,
    pub(crate) limits: Vec<Limit>,
    pub(crate) rules: Rules,
    pub(crate) vocabulary: Vocabulary,
    pub(crate) entities: Entities,
}

/// What is in a bundle, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Version of `bundle.toml`.
    pub version: u64,
    /// Digest over all that it says.
    pub digest: Digest,
    /// Ids of permits, in the order of the file.
    pub permits: Vec<String>,
    /// Ids of forbids, in the order of the file.
    pub forbids: Vec<String>,
    /// Name of each list and how many addresses and accounts it has.
    pub lists: BTreeMap<String, usize>,
    /// `symbol on chain` of each asset.
    pub assets: Vec<String>,
    /// Name of each contract whose ABI it has, and how many of its functions rules can speak about.
    pub contracts: BTreeMap<String, usize>,
    /// Ids of limits, in the order of the file.
    pub limits: Vec<String>,
    /// Name of each group of persons who approve, and how many they are.
    pub groups: BTreeMap<String, usize>,
    /// How many nodes take part.
    pub nodes: usize,
    /// How many clients there are.
    pub clients: usize,
    /// Names of the policy admins.
    pub admins: Vec<String>,
}

impl Bundle {
    /// Loads the files of a bundle, given as relative path (with `/`) and content, without any signature: for
    /// development, and for the author's desk. Only what is understood and enforced in full is loaded.
    ///
    /// # Errors
    /// [`BundleError`] with file, line, column and what to do.
    pub fn load(files: &Files) -> Result<Self, BundleError> {
        content::load(files, None)
    }

    /// The same for asking what its rules say at any time, not for deciding: a draft's time has not come, or is long over
    /// for requests of the past.
    #[must_use]
    pub fn timeless(mut self) -> Self {
        self.header.validity = None;
        self
    }

    /// Names the bundle: over what it says of itself, every path and every byte of it.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Its number; nodes never go back to a lower one.
    pub fn version(&self) -> u64 {
        self.header.version
    }

    /// What it says of itself.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Who takes part.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Who signs the next one.
    pub fn admins(&self) -> &Admins {
        &self.admins
    }

    /// Whether any request can be charged: then its certificate needs the votes of more than its signers.
    pub fn has_limits(&self) -> bool {
        !self.limits.is_empty()
    }

    /// Every limit's id, in the order of the file.
    pub fn limit_ids(&self) -> impl Iterator<Item = &LimitId> {
        self.limits.iter().map(|limit| &limit.id)
    }

    /// Every rule's id and effect, in the order of the file.
    pub fn rules(&self) -> impl Iterator<Item = (&str, Effect)> {
        self.rules.iter()
    }

    /// The same, with all that the rules say.
    pub fn rules_in_full(&self) -> &[Rule] {
        self.rules.list()
    }

    /// What its rules can speak about, as a Cedar schema: [`SCHEMA`](crate::SCHEMA), and the functions of its contracts.
    pub fn schema(&self) -> &str {
        &self.vocabulary.text
    }

    /// What is in it, for people.
    pub fn summary(&self) -> Summary {
        let ids = |wanted| self.rules().filter(|(_, e)| *e == wanted).map(|(id, _)| id.to_owned()).collect();
        Summary {
            version: self.version(),
            digest: self.digest,
            permits: ids(Effect::Permit),
            forbids: ids(Effect::Forbid),
            lists: self.lists.iter().map(|(name, entries)| (name.clone(), entries.len())).collect(),
            assets: self.assets.describe(),
            contracts: self.contracts.sizes(),
            limits: self.limit_ids().map(LimitId::to_string).collect(),
            groups: self.groups.sizes(),
            nodes: self.roster.nodes.len(),
            clients: self.roster.clients.len(),
            admins: self.admins.names().into_iter().map(str::to_owned).collect(),
        }
    }
}
