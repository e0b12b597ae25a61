//! A policy bundle from its directory.

use crate::output::Usage;
use anyhow::Context as _;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use tally_audit::verify::Approvers;
use tally_domain::dsse::VerifyingKey;
use tally_domain::{ClientId, Digest, PersonName};
use tally_policy::{BUNDLE_MAX_BYTES, Bundle, FILES_MAX};

/// All files of a directory, by their paths in it.
pub fn files(dir: &Path) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    read(dir, "", &mut files)?;
    Ok(files)
}

/// Loads files of a directory as a bundle.
pub fn of(dir: &Path, files: &BTreeMap<String, Vec<u8>>) -> anyhow::Result<Bundle> {
    Bundle::load(files).map_err(|e| anyhow::anyhow!("{}/{e}", dir.display()))
}

/// Every file, by its path from the bundle's directory: a file that does not belong is the bundle's error, not ours to skip.
fn read(dir: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>) -> anyhow::Result<()> {
    let entries = std::fs::read_dir(dir).map_err(|e| Usage(format!("cannot read {}: {e}", dir.display())))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read {}", dir.display()))?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            read(&entry.path(), &format!("{name}/"), files)?;
            continue;
        }
        if files.len() > FILES_MAX {
            return Err(Usage(format!("{} holds too many files for a bundle", dir.display())).into());
        }
        files.insert(name, crate::input::file(&entry.path(), BUNDLE_MAX_BYTES as u64)?);
    }
    Ok(())
}

/// What a bundle says of persons, for the check of logs.
pub struct OfBundle<'a>(pub &'a Bundle);

impl Approvers for OfBundle<'_> {
    fn bundle(&self) -> Digest {
        self.0.digest()
    }

    fn keys(&self, person: &PersonName) -> Option<Vec<VerifyingKey>> {
        self.0.keys_of(person)
    }

    fn enough(&self, rule: &str, client: &ClientId, persons: &BTreeSet<PersonName>) -> bool {
        self.0.enough(rule, client, persons)
    }
}
