//! Policy admins: who signs the bundle after this one. Part of `roster.toml`.

use super::reading::{NAME_FORM, Source, plain_name};
use crate::error::{BundleError, Problem};
use std::collections::{BTreeMap, BTreeSet};
use tally_domain::dsse::VerifyingKey;
use toml::Spanned;

/// Most admins: each signature is checked at every node.
const ADMINS_MAX: usize = 16;

/// Who signs the next bundle, and how many of them must.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Admins {
    /// Name and key, by the key's text. One person may have several keys and counts once.
    keys: BTreeMap<String, (String, VerifyingKey)>,
    needed: Option<usize>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AdminToml {
    name: Spanned<String>,
    keys: Spanned<Vec<Spanned<String>>>,
}

impl Admins {
    /// Who has this key.
    pub(super) fn by_key(&self, text: &str) -> Option<(&str, &VerifyingKey)> {
        self.keys.get(text).map(|(name, key)| (name.as_str(), key))
    }

    /// Their names.
    pub fn names(&self) -> BTreeSet<&str> {
        self.keys.values().map(|(name, _)| name.as_str()).collect()
    }

    /// How many must sign; none in a bundle that nothing can follow.
    pub fn needed(&self) -> Option<usize> {
        self.needed
    }

    pub(super) fn load(
        source: &Source<'_>,
        rows: &[AdminToml],
        needed: Option<&Spanned<usize>>,
        mut key: impl FnMut(&Spanned<String>) -> Result<VerifyingKey, BundleError>,
    ) -> Result<Self, BundleError> {
        let mut admins = Self::default();
        let mut names = BTreeSet::new();
        for row in rows {
            let name = source.value(&row.name, "admin", NAME_FORM, plain_name)?;
            if !names.insert(name.clone()) {
                return Err(source.error(&row.name, Problem::Duplicate { what: "admin", value: name }));
            }
            if names.len() > ADMINS_MAX {
                let problem = Problem::TooLarge { what: "the number of admins", limit: ADMINS_MAX };
                return Err(source.error(&row.name, problem));
            }
            if row.keys.get_ref().is_empty() {
                return Err(source.error(&row.keys, Problem::NoKeys { name }));
            }
            for given in row.keys.get_ref() {
                let key = key(given)?;
                admins.keys.insert(key.to_string(), (name.clone(), key));
            }
        }
        match needed {
            None if names.is_empty() => {}
            None => {
                let last = rows.last().map(|row| &row.name);
                return Err(last.map_or_else(
                    || BundleError::whole(source.file, Problem::AdminsNeeded { admins: 0 }),
                    |name| source.error(name, Problem::AdminsNeeded { admins: names.len() }),
                ));
            }
            Some(needed) if (1..=names.len()).contains(needed.get_ref()) => admins.needed = Some(*needed.get_ref()),
            Some(needed) => return Err(source.error(needed, Problem::AdminsNeeded { admins: names.len() })),
        }
        Ok(admins)
    }
}
