//! `@approvals("2 of treasury, 1 of risk")`: how many persons of which groups.

use super::groups::Groups;
use super::reading::plain_name;
use crate::error::Problem;
use std::collections::{BTreeMap, BTreeSet};
use tally_domain::PersonName;

/// Most groups that one rule asks.
const QUORUMS_MAX: usize = 8;

/// Most approvals of one request (DESIGN 10): each is a signature that every node checks.
pub const APPROVALS_MAX: usize = 32;

const FORM: &str = "a list such as `2 of treasury, 1 of risk`, each group once, at most 8 groups and 32 persons in all";

/// So many persons of a group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quorum {
    /// The group, of `groups.toml`.
    pub group: String,
    /// How many of its persons.
    pub needed: usize,
}

/// Reads the annotation's text. The groups exist, and have enough persons to meet all quorums at once.
pub(crate) fn parse(text: &str, groups: &Groups) -> Result<Vec<Quorum>, Problem> {
    let quorums: Option<Vec<Quorum>> = text.split(',').map(quorum).collect();
    let fits = |q: &Vec<Quorum>| {
        let distinct: BTreeSet<_> = q.iter().map(|q| &q.group).collect();
        let persons = q.iter().fold(0usize, |sum, q| sum.saturating_add(q.needed));
        distinct.len() == q.len() && q.len() <= QUORUMS_MAX && persons <= APPROVALS_MAX
    };
    let quorums = quorums.filter(fits).ok_or_else(|| Problem::Value {
        what: "list of approvals",
        given: text.into(),
        want: FORM,
    })?;
    for quorum in &quorums {
        let group = &quorum.group;
        let persons = groups.group(group).ok_or_else(|| Problem::UnknownName {
            what: "group of persons",
            name: group.clone(),
            known: "groups that approve are those of groups.toml",
        })?;
        if persons.len() < quorum.needed {
            let (needed, persons) = (quorum.needed, persons.len());
            return Err(Problem::GroupTooSmall { group: group.clone(), needed, persons });
        }
    }
    let everyone: BTreeSet<&PersonName> = quorums.iter().filter_map(|q| groups.group(&q.group)).flatten().collect();
    if missing(&quorums, groups, &everyone).is_empty() {
        Ok(quorums)
    } else {
        Err(Problem::GroupsOverlap { approvals: text.into() })
    }
}

/// What is still missing when these persons have approved: (group, how many). A person who is in several groups counts
/// for one of them, and for the one where it helps most: a place for each person is found by augmenting paths
/// (Kuhn's algorithm for bipartite matching).
pub(crate) fn missing(quorums: &[Quorum], groups: &Groups, approved: &BTreeSet<&PersonName>) -> Vec<Quorum> {
    let seats: Vec<&str> = quorums.iter().flat_map(|q| std::iter::repeat_n(q.group.as_str(), q.needed)).collect();
    let mut seated: BTreeMap<usize, &PersonName> = BTreeMap::new();
    for person in approved {
        let mut tried = BTreeSet::new();
        seat(person, &seats, groups, &mut seated, &mut tried);
    }
    let taken = |group: &str| seats.iter().enumerate().filter(|(i, g)| **g == group && seated.contains_key(i)).count();
    let short = quorums.iter().map(|q| Quorum { group: q.group.clone(), needed: q.needed - taken(&q.group) });
    short.filter(|q| q.needed > 0).collect()
}

/// Finds a seat for the person, moving others to other seats where that makes room.
fn seat<'a>(
    person: &'a PersonName,
    seats: &[&str],
    groups: &Groups,
    seated: &mut BTreeMap<usize, &'a PersonName>,
    tried: &mut BTreeSet<usize>,
) -> bool {
    for (at, group) in seats.iter().enumerate() {
        let member = groups.group(group).is_some_and(|persons| persons.contains(person));
        if !member || !tried.insert(at) {
            continue;
        }
        let free = match seated.get(&at).copied() {
            None => true,
            Some(other) => seat(other, seats, groups, seated, tried),
        };
        if free {
            seated.insert(at, person);
            return true;
        }
    }
    false
}

fn quorum(part: &str) -> Option<Quorum> {
    let mut words = part.split_ascii_whitespace();
    let (number, of, group) = (words.next()?, words.next()?, words.next()?);
    let plain = number.bytes().all(|b| b.is_ascii_digit()) && !number.starts_with('0');
    let needed = number.parse().ok().filter(|_| plain && of == "of" && words.next().is_none())?;
    Some(Quorum { group: plain_name(group)?, needed })
}
