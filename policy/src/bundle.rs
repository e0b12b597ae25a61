//! The bundle: a handful of small files, loaded as a whole or refused as a whole.

mod assets;
mod lists;
mod reading;
mod roster;

pub(crate) use assets::{Asset, Assets};
pub(crate) use lists::{ACCOUNT_FORM, ADDRESS_FORM, Listed, Lists, evm_address};
pub(crate) use reading::plain_name;

use crate::error::{BundleError, Problem};
use crate::rules::{Effect, Known, Rules};
use crate::vocabulary::Vocabulary;
use cedar_policy::Entities;
use std::collections::BTreeMap;
use tally_domain::Digest;
use tally_domain::digest::TaggedHash;
use tally_domain::roster::Roster;

/// Largest bundle, all files together: a person reads the rules, and a list of 90,000 addresses still fits.
pub const BUNDLE_MAX_BYTES: usize = 4 * 1024 * 1024;

/// Most files of a bundle: four, and a list each for more purposes than anyone can review.
pub const FILES_MAX: usize = 256;

const POLICY: &str = "policy.cedar";
const ASSETS: &str = "assets.toml";
const ROSTER: &str = "roster.toml";
const BUNDLE: &str = "bundle.toml";

/// Files of later versions, which limit what rules permit: a bundle that has one must not be loaded without it.
const NOT_YET: [&str; 2] = ["limits.toml", "groups.toml"];

/// A policy bundle, loaded and checked.
pub struct Bundle {
    version: u64,
    digest: Digest,
    roster: Roster,
    lists: BTreeMap<String, usize>,
    pub(crate) assets: Assets,
    pub(crate) rules: Rules,
    pub(crate) vocabulary: Vocabulary,
    pub(crate) entities: Entities,
}

/// What is in a bundle, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Version of `bundle.toml`.
    pub version: u64,
    /// Digest over all files.
    pub digest: Digest,
    /// Ids of permits, in the order of the file.
    pub permits: Vec<String>,
    /// Ids of forbids, in the order of the file.
    pub forbids: Vec<String>,
    /// Name of each list and how many addresses and accounts it has.
    pub lists: BTreeMap<String, usize>,
    /// `symbol on chain` of each asset.
    pub assets: Vec<String>,
    /// How many nodes take part.
    pub nodes: usize,
    /// How many clients there are.
    pub clients: usize,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct BundleToml {
    version: toml::Spanned<u64>,
}

impl Bundle {
    /// Loads the files of a bundle, given as relative path (with `/`) and content. Only what is understood and
    /// enforced in full is loaded.
    ///
    /// # Errors
    /// [`BundleError`] with file, line, column and what to do.
    pub fn load(files: &BTreeMap<String, Vec<u8>>) -> Result<Self, BundleError> {
        check_sizes(files)?;
        let lists = lists::load_all(files)?;
        let assets = Assets::load(ASSETS, reading::text(files, ASSETS)?)?;
        let (roster, groups) = roster::load(ROSTER, reading::text(files, ROSTER)?)?;
        let version = version(reading::text(files, BUNDLE)?)?;
        let policy = reading::text(files, POLICY)?;

        let vocabulary = Vocabulary::new().map_err(|p| BundleError::whole(POLICY, p))?;
        let known = Known { roster: &roster, groups: &groups, lists: &lists, assets: &assets };
        let rules = Rules::load(POLICY, policy, &vocabulary.schema, &known)?;
        let entities =
            vocabulary.entities(&roster, &groups, &lists).map_err(|problem| BundleError::whole(ROSTER, problem))?;
        let lists = lists.into_iter().map(|(name, entries)| (name, entries.len())).collect();
        Ok(Self { version, digest: digest(files), roster, lists, assets, rules, vocabulary, entities })
    }

    /// Names the bundle: over every path and every byte of it.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Its number; nodes never go back to a lower one.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Who takes part.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Every rule's id and effect, in the order of the file.
    pub fn rules(&self) -> impl Iterator<Item = (&str, Effect)> {
        self.rules.iter()
    }

    /// What is in it, for people.
    pub fn summary(&self) -> Summary {
        let ids = |wanted| self.rules().filter(|(_, e)| *e == wanted).map(|(id, _)| id.to_owned()).collect();
        Summary {
            version: self.version,
            digest: self.digest,
            permits: ids(Effect::Permit),
            forbids: ids(Effect::Forbid),
            lists: self.lists.clone(),
            assets: self.assets.describe(),
            nodes: self.roster.nodes.len(),
            clients: self.roster.clients.len(),
        }
    }
}

fn check_sizes(files: &BTreeMap<String, Vec<u8>>) -> Result<(), BundleError> {
    if files.len() > FILES_MAX {
        let problem = Problem::TooLarge { what: "the number of files", limit: FILES_MAX };
        return Err(BundleError::whole("bundle", problem));
    }
    let total = files.values().fold(0usize, |sum, content| sum.saturating_add(content.len()));
    if total > BUNDLE_MAX_BYTES {
        let problem = Problem::TooLarge { what: "the size in bytes", limit: BUNDLE_MAX_BYTES };
        return Err(BundleError::whole("bundle", problem));
    }
    for path in files.keys() {
        if NOT_YET.contains(&path.as_str()) {
            return Err(BundleError::whole(path, Problem::NotSupported { what: format!("`{path}`") }));
        }
        if ![POLICY, ASSETS, ROSTER, BUNDLE].contains(&path.as_str()) && lists::name_of(path).is_none() {
            return Err(BundleError::whole(path, Problem::UnknownFile));
        }
    }
    Ok(())
}

fn version(text: &str) -> Result<u64, BundleError> {
    let file: BundleToml = reading::toml(BUNDLE, text)?;
    let version = *file.version.get_ref();
    if version == 0 {
        let problem = Problem::Value { what: "version", given: "0".into(), want: "a whole number from 1" };
        return Err(BundleError::at(BUNDLE, text, file.version.span().start, problem));
    }
    Ok(version)
}

fn digest(files: &BTreeMap<String, Vec<u8>>) -> Digest {
    files
        .iter()
        .fold(TaggedHash::new("tally/v1/bundle"), |hash, (path, content)| hash.field(path.as_bytes()).field(content))
        .finish()
}
