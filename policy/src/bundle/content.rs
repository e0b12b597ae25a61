//! From files to a bundle.

use super::header::{Header, Stated};
use super::limits;
use super::{ASSETS, BUNDLE, BUNDLE_MAX_BYTES, Bundle, CONTRACTS, FILES_MAX, Files, GROUPS, LIMITS, POLICY, ROSTER};
use super::{abi, assets::Assets, contracts::Contracts, groups::Groups, lists, reading, roster};
use crate::cases;
use crate::error::{BundleError, Problem};
use crate::rules::{Known, Rules};
use crate::vocabulary::Vocabulary;

/// Loads the files under the header that admins signed, or under none.
pub(super) fn load(files: &Files, signed: Option<Header>) -> Result<Bundle, BundleError> {
    check_files(files)?;
    let lists = lists::load_all(files)?;
    let assets = Assets::load(ASSETS, reading::text(files, ASSETS)?)?;
    let abis = abi::load_all(files)?;
    let contracts = match files.contains_key(CONTRACTS) {
        true => Contracts::load(CONTRACTS, reading::text(files, CONTRACTS)?, &abis, &assets)?,
        false => Contracts::default(),
    };
    let roster::Loaded { roster, groups: client_groups, admins, keys } =
        roster::load(ROSTER, reading::text(files, ROSTER)?)?;
    let stated = Stated::load(reading::text(files, BUNDLE)?)?;
    let header = header(stated, &roster.cluster, signed)?;
    let groups = match files.contains_key(GROUPS) {
        true => Groups::load(GROUPS, reading::text(files, GROUPS)?, &roster, keys)?,
        false => Groups::default(),
    };
    let vocabulary = Vocabulary::new(&contracts).map_err(|p| BundleError::whole(CONTRACTS, p))?;
    let limits = match files.contains_key(LIMITS) {
        true => {
            let known = limits::Known { roster: &roster, lists: &lists, assets: &assets, vocabulary: &vocabulary };
            limits::load(LIMITS, reading::text(files, LIMITS)?, &known)?
        }
        false => Vec::new(),
    };
    let policy = reading::text(files, POLICY)?;
    let known = Known {
        roster: &roster,
        groups: &client_groups,
        lists: &lists,
        assets: &assets,
        contracts: &contracts,
        approvers: &groups,
    };
    let rules = Rules::load(POLICY, policy, &vocabulary.schema, &known)?;
    let entities =
        vocabulary.entities(&roster, &client_groups, &lists).map_err(|problem| BundleError::whole(ROSTER, problem))?;
    let digest = header.digest(files);
    Ok(Bundle { header, digest, roster, admins, lists, assets, contracts, groups, limits, rules, vocabulary, entities })
}

/// What admins signed says the same as the files do.
fn header(stated: Stated, cluster: &tally_domain::ClusterId, signed: Option<Header>) -> Result<Header, BundleError> {
    let own = Header {
        cluster: cluster.clone(),
        version: stated.version,
        previous: None,
        validity: None,
        loosening_delay_ms: stated.loosening_delay_ms,
    };
    let Some(signed) = signed else { return Ok(own) };
    let differs = |file, what| Err(BundleError::whole(file, Problem::HeaderDiffers { what }));
    if signed.cluster != own.cluster {
        return differs(ROSTER, "cluster");
    }
    if signed.version != own.version {
        return differs(BUNDLE, "version");
    }
    if signed.loosening_delay_ms != own.loosening_delay_ms {
        return differs(BUNDLE, "loosening delay");
    }
    Ok(signed)
}

fn check_files(files: &Files) -> Result<(), BundleError> {
    if files.len() > FILES_MAX {
        let problem = Problem::TooLarge { what: "the number of files", limit: FILES_MAX };
        return Err(BundleError::whole("bundle", problem));
    }
    let total = files.values().fold(0usize, |sum, content| sum.saturating_add(content.len()));
    if total > BUNDLE_MAX_BYTES {
        let problem = Problem::TooLarge { what: "the size in bytes", limit: BUNDLE_MAX_BYTES };
        return Err(BundleError::whole("bundle", problem));
    }
    let fixed = [POLICY, ASSETS, ROSTER, BUNDLE, LIMITS, GROUPS, CONTRACTS];
    let named =
        |path: &str| lists::name_of(path).or_else(|| cases::name_of(path)).or_else(|| abi::name_of(path)).is_some();
    let known = |path: &str| fixed.contains(&path) || named(path);
    match files.keys().find(|path| !known(path)) {
        Some(unknown) => Err(BundleError::whole(unknown, Problem::UnknownFile)),
        None => Ok(()),
    }
}
