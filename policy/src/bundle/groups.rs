//! `groups.toml`: persons who approve, and the groups that rules ask.

use super::reading::{self, NAME_FORM, Source, plain_name};
use crate::error::{BundleError, Problem};
use std::collections::{BTreeMap, BTreeSet};
use tally_domain::dsse::VerifyingKey;
use tally_domain::roster::Roster;
use tally_domain::{ClientId, PersonName};
use toml::Spanned;

const KEY_FORM: &str = "`ed25519:` and 64 hex digits";

/// Most persons and groups together: a person reads the file.
const ROWS_MAX: usize = 1_000;

/// Who approves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Groups {
    persons: BTreeMap<PersonName, Person>,
    groups: BTreeMap<String, BTreeSet<PersonName>>,
}

/// A person who approves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Person {
    /// Any of them speaks for the person, who counts once.
    pub(crate) keys: Vec<VerifyingKey>,
    /// Clients that the person operates: what these ask for, the person does not approve.
    pub(crate) clients: BTreeSet<ClientId>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupsToml {
    #[serde(default)]
    person: Vec<PersonToml>,
    #[serde(default)]
    group: Vec<GroupToml>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct PersonToml {
    name: Spanned<String>,
    keys: Spanned<Vec<Spanned<String>>>,
    #[serde(default)]
    clients: Vec<Spanned<String>>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupToml {
    name: Spanned<String>,
    persons: Spanned<Vec<Spanned<String>>>,
}

impl Groups {
    /// Reads the file; `taken` are the public keys of the roster, which no person may have too.
    pub(super) fn load(
        file: &str,
        text: &str,
        roster: &Roster,
        mut taken: BTreeSet<String>,
    ) -> Result<Self, BundleError> {
        let source = Source { file, text };
        let rows: GroupsToml = reading::toml(file, text)?;
        if rows.person.len() + rows.group.len() > ROWS_MAX {
            let problem = Problem::TooLarge { what: "the number of persons and groups", limit: ROWS_MAX };
            return Err(BundleError::whole(file, problem));
        }
        let mut loaded = Self::default();
        for row in &rows.person {
            let name = source.value(&row.name, "person", NAME_FORM, |s| PersonName::parse(s).ok())?;
            let person = person(&source, row, roster, &mut taken)?;
            if loaded.persons.insert(name.clone(), person).is_some() {
                return Err(source.error(&row.name, Problem::Duplicate { what: "person", value: name.to_string() }));
            }
        }
        for row in &rows.group {
            let name = source.value(&row.name, "group", NAME_FORM, plain_name)?;
            let members = loaded.members(&source, row)?;
            if loaded.groups.insert(name.clone(), members).is_some() {
                return Err(source.error(&row.name, Problem::Duplicate { what: "group", value: name }));
            }
        }
        Ok(loaded)
    }

    /// The person of that name.
    pub(crate) fn person(&self, name: &PersonName) -> Option<&Person> {
        self.persons.get(name)
    }

    /// All persons.
    pub(crate) fn persons(&self) -> impl Iterator<Item = (&PersonName, &Person)> {
        self.persons.iter()
    }

    /// The persons of a group.
    pub(crate) fn group(&self, name: &str) -> Option<&BTreeSet<PersonName>> {
        self.groups.get(name)
    }

    /// Name and size of each group.
    pub(crate) fn sizes(&self) -> BTreeMap<String, usize> {
        self.groups.iter().map(|(name, persons)| (name.clone(), persons.len())).collect()
    }

    fn members(&self, source: &Source<'_>, row: &GroupToml) -> Result<BTreeSet<PersonName>, BundleError> {
        let mut members = BTreeSet::new();
        for given in row.persons.get_ref() {
            let name = given.get_ref();
            let known = "persons are those of groups.toml";
            let unknown = || Problem::UnknownName { what: "person", name: name.clone(), known };
            let person = self.persons.keys().find(|p| p.as_str() == name);
            let person = person.ok_or_else(|| source.error(given, unknown()))?;
            if !members.insert(person.clone()) {
                return Err(source.error(given, Problem::Duplicate { what: "person", value: name.clone() }));
            }
        }
        Ok(members)
    }
}

fn person(
    source: &Source<'_>,
    row: &PersonToml,
    roster: &Roster,
    taken: &mut BTreeSet<String>,
) -> Result<Person, BundleError> {
    if row.keys.get_ref().is_empty() {
        return Err(source.error(&row.keys, Problem::NoKeys { name: row.name.get_ref().clone() }));
    }
    let mut keys = Vec::new();
    for given in row.keys.get_ref() {
        let key = source.value(given, "public key of a person", KEY_FORM, ed25519)?;
        if !taken.insert(key.to_string()) {
            return Err(source.error(given, Problem::Duplicate { what: "public key", value: key.to_string() }));
        }
        keys.push(key);
    }
    let mut clients = BTreeSet::new();
    for given in &row.clients {
        let name = given.get_ref();
        let client = roster.clients.iter().find(|c| c.id.as_str() == name);
        let known = "clients are those of roster.toml";
        let unknown = || Problem::UnknownName { what: "client", name: name.clone(), known };
        clients.insert(client.ok_or_else(|| source.error(given, unknown()))?.id.clone());
    }
    Ok(Person { keys, clients })
}

fn ed25519(text: &str) -> Option<VerifyingKey> {
    VerifyingKey::parse(text).ok().filter(|key| matches!(key, VerifyingKey::Ed25519(_)))
}
