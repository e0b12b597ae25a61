//! What changes from one bundle to the next, and whether it only tightens. Nodes run no solver, so tighter is a closed
//! list that they can check: add a forbid, delete a permit, lower a limit, raise an approval count, take from an
//! allow-list, add to a deny-list (S-2.3). Anything else is looser, known or not.

mod list_use;

use crate::bundle::{
    ASSETS, BUNDLE, Bundle, CONTRACTS, GROUPS, LIMITS, Limit, Listed, Lists, Most, POLICY, Quorum, ROSTER, span_words,
};
use crate::rules::{Effect, Rule};
use list_use::ListUse;
use std::collections::BTreeSet;

/// Most entries of a list that a change names; of the others it gives the number.
const ENTRIES_NAMED: usize = 3;

/// Whether a change can only take away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// On the closed list of tightenings: it activates at once.
    Tighter,
    /// It waits, and can be vetoed.
    Looser,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which way.
    pub direction: Direction,
    /// The file that it is in.
    pub file: String,
    /// The rule, limit or list, by its name; empty where it is about the file.
    pub item: String,
    /// What changed, in words.
    pub words: String,
}

/// All changes from `old` to `new`, file by file. What has no effect on a decision is no change: comments, descriptions,
/// order, cases, version and validity.
pub fn changes(old: &Bundle, new: &Bundle) -> Vec<Change> {
    let mut all = rules(old, new);
    all.extend(limits(old, new));
    all.extend(lists(old, new));
    let whole = [
        (old.groups != new.groups, GROUPS, "persons or their groups have changed"),
        (old.assets != new.assets, ASSETS, "assets or their decimals have changed"),
        (old.contracts != new.contracts, CONTRACTS, "contracts, or what their ABI says of them, have changed"),
        ((old.roster(), old.admins()) != (new.roster(), new.admins()), ROSTER, "nodes, clients or admins have changed"),
    ];
    let changed = whole.into_iter().filter(|(changed, ..)| *changed);
    all.extend(changed.map(|(_, file, words)| change(Direction::Looser, file, "", words)));
    let (before, after) = (old.header().loosening_delay_ms, new.header().loosening_delay_ms);
    if before != after {
        let words = format!("the loosening delay goes from {} to {}", span_words(before), span_words(after));
        all.push(change(Direction::Looser, BUNDLE, "", words));
    }
    all
}

/// Whether the changes may take effect at once. No change at all may: that renews a bundle.
pub fn tightens_only(changes: &[Change]) -> bool {
    changes.iter().all(|change| change.direction == Direction::Tighter)
}

fn change(direction: Direction, file: &str, item: &str, words: impl Into<String>) -> Change {
    Change { direction, file: file.into(), item: item.into(), words: words.into() }
}

fn rules(old: &Bundle, new: &Bundle) -> Vec<Change> {
    use Direction::{Looser, Tighter};
    let (before, after) = (old.rules.list(), new.rules.list());
    let find = |rules: &'_ [Rule], id: &str| rules.iter().position(|r| r.id == id);
    let mut all = Vec::new();
    for rule in before.iter().filter(|rule| find(after, &rule.id).is_none()) {
        let (direction, words) = match rule.effect {
            Effect::Forbid => (Looser, "a forbid is gone"),
            Effect::Permit if list_use::can_fail(&rule.meaning) => {
                (Looser, "a permit is gone that could fail, and a rule that fails denies the request")
            }
            Effect::Permit => (Tighter, "a permit is gone"),
        };
        all.push(change(direction, POLICY, &rule.id, words));
    }
    for rule in after {
        let was = find(before, &rule.id).and_then(|at| before.get(at));
        let (direction, words) = match (was, rule.effect) {
            (Some(was), _) if was.meaning != rule.meaning => (Looser, "what the rule says has changed".into()),
            (Some(was), _) if was.approvals == rule.approvals => continue,
            (Some(was), _) => approvals(&was.approvals, &rule.approvals),
            (None, Effect::Permit) => (Looser, "a permit is new".into()),
            (None, Effect::Forbid) => (Tighter, "a forbid is new".into()),
        };
        all.push(change(direction, POLICY, &rule.id, words));
    }
    all
}

/// More of every group that was asked, whichever groups are asked besides.
fn approvals(old: &[Quorum], new: &[Quorum]) -> (Direction, String) {
    let raised = old.iter().all(|was| new.iter().any(|is| is.group == was.group && is.needed >= was.needed));
    let shown = |quorums: &[Quorum]| match quorums {
        [] => "none".to_owned(),
        some => some.iter().map(|q| format!("{} of {}", q.needed, q.group)).collect::<Vec<_>>().join(", "),
    };
    let direction = if raised { Direction::Tighter } else { Direction::Looser };
    (direction, format!("approvals go from {} to {}", shown(old), shown(new)))
}

fn limits(old: &Bundle, new: &Bundle) -> Vec<Change> {
    use Direction::{Looser, Tighter};
    let find = |limits: &'_ [Limit], limit: &Limit| limits.iter().position(|l| l.id == limit.id);
    let gone = old.limits.iter().filter(|limit| find(&new.limits, limit).is_none());
    let mut all: Vec<_> = gone.map(|limit| change(Looser, LIMITS, limit.id.as_str(), "a limit is gone")).collect();
    for limit in &new.limits {
        let was = find(&old.limits, limit).and_then(|at| old.limits.get(at));
        let (direction, words) = match was {
            None => (Tighter, "a limit is new"),
            Some(was) if was == limit => continue,
            Some(was) if is_lower(was, limit) => (Tighter, "the limit is lower"),
            Some(was) if is_lower(limit, was) => (Looser, "the limit is higher"),
            Some(_) => (Looser, "what the limit is for, or its window, has changed"),
        };
        all.push(change(direction, LIMITS, limit.id.as_str(), words));
    }
    all
}

/// Whether `new` is `old` with less of the same units.
fn is_lower(old: &Limit, new: &Limit) -> bool {
    let same_units = match (old.most, new.most) {
        (Most::Amount { decimals: a, .. }, Most::Amount { decimals: b, .. }) => a == b,
        (Most::Count(_), Most::Count(_)) => true,
        (Most::Amount { .. }, Most::Count(_)) | (Most::Count(_), Most::Amount { .. }) => false,
    };
    same_units && new.most.units() < old.most.units() && Limit { most: new.most, ..old.clone() } == *new
}

fn lists(old: &Bundle, new: &Bundle) -> Vec<Change> {
    let names: BTreeSet<&String> = old.lists.keys().chain(new.lists.keys()).collect();
    let mut all = Vec::new();
    for name in names {
        let entries = |lists: &'_ Lists| lists.get(name).cloned().unwrap_or_default();
        let (before, after) = (entries(&old.lists), entries(&new.lists));
        let using = |bundle: &Bundle| {
            let limited = bundle.limits.iter().any(|l| l.scope.list.as_ref() == Some(name));
            list_use::of(bundle.rules.list(), name).and(if limited { ListUse::Mixed } else { ListUse::Nowhere })
        };
        // By the rules of both: each sees the other's list for as long as it is active.
        let used = using(old).and(using(new));
        let (added, taken) = (&after - &before, &before - &after);
        let file = format!("lists/{name}.txt");
        let tightens = |how: ListUse| if used == how { Direction::Tighter } else { Direction::Looser };
        if !added.is_empty() {
            all.push(change(tightens(ListUse::Deny), &file, name, format!("{} new: {}", added.len(), named(&added))));
        }
        if !taken.is_empty() {
            all.push(change(tightens(ListUse::Allow), &file, name, format!("{} gone: {}", taken.len(), named(&taken))));
        }
    }
    all
}

fn named(entries: &BTreeSet<Listed>) -> String {
    let text = |entry: &Listed| match entry {
        Listed::Address(address) => address.clone(),
        Listed::Account(account) => account.to_string(),
    };
    let mut names: Vec<_> = entries.iter().take(ENTRIES_NAMED).map(text).collect();
    if entries.len() > ENTRIES_NAMED {
        names.push("...".into());
    }
    names.join(", ")
}
