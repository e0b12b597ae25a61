//! `limits.toml`: how much may be done within a window, whichever rule permits it.

use super::LIMITS;
use super::assets::Assets;
use super::contracts::CALLS;
use super::lists::{ACCOUNT_FORM, ADDRESS_FORM, Lists, evm_address};
use super::reading::{self, NAME_FORM, Source, plain_name};
use super::spans::{self, DAY_MS};
use crate::error::{BundleError, Problem};
use crate::vocabulary::Vocabulary;
use std::collections::BTreeSet;
use std::ops::Range;
use tally_domain::roster::Roster;
use tally_domain::{Account, Currency, LimitId};
use toml::Spanned;

/// Most limits: every request is compared with each, and claims of each that matches.
pub const LIMITS_MAX: usize = 100;

/// Shortest window: a certificate lives about as long, so that less would hardly be a window.
const WINDOW_MIN_MS: u64 = 60 * 1_000;

/// Longest window: a year. What was claimed is kept for as long.
const WINDOW_MAX_MS: u64 = 366 * DAY_MS;

/// What limits bound: the use of keys, and what tells of cards. Making, changing and freezing keys and deleting cards are for
/// rules alone.
const LIMITED: [&str; 15] = [
    "sign",
    CALLS,
    "sign_allowance",
    "sign_typed_data",
    "sign_payment",
    "sign_message",
    "sign_opaque",
    "sign_raw",
    "generate_data_key",
    "wrap",
    "unwrap",
    "rewrap",
    "tokenize",
    "reveal",
    "search_token",
];

const ACTION_FORM: &str =
    "one that uses a key or cards, such as `sign` or `reveal`; rules alone say who may make, change or freeze one";
const MAX_FORM: &str = "whole units in quotes, such as \"2_000_000\" or \"0.5\", more than none";
const BY_FORM: &str = "`key`, `domain`, `client`, `asset`, `to` or `action`";

/// A limit. What it does not name, it is not particular about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) id: LimitId,
    pub(crate) scope: Scope,
    pub(crate) most: Most,
    pub(crate) window_ms: u64,
    /// Counted separately for each value of these.
    pub(crate) by: Vec<By>,
}

/// Which requests and movements a limit is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) key: Option<String>,
    /// A token domain: a limit with a key is for no domain, and one with a domain for no key.
    pub(crate) domain: Option<String>,
    pub(crate) client: Option<String>,
    pub(crate) asset: Option<String>,
    pub(crate) to: Option<String>,
    pub(crate) list: Option<String>,
    pub(crate) action: Option<String>,
}

/// How much a limit allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Most {
    /// So many accounting units: ten to the power of `decimals` make a whole one.
    Amount { units: u128, decimals: u8 },
    /// So many movements, cards, or requests that move nothing.
    Count(u64),
}

impl Most {
    /// The length of the line.
    pub(crate) fn units(self) -> u128 {
        match self {
            Self::Amount { units, .. } => units,
            Self::Count(count) => count.into(),
        }
    }
}

/// What a limit is counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum By {
    Key,
    Domain,
    Client,
    Asset,
    To,
    Action,
}

impl By {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Domain => "domain",
            Self::Client => "client",
            Self::Asset => "asset",
            Self::To => "to",
            Self::Action => "action",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let all = [Self::Key, Self::Domain, Self::Client, Self::Asset, Self::To, Self::Action];
        all.into_iter().find(|by| by.as_str() == text)
    }
}

/// What a limit can name.
pub(super) struct Known<'a> {
    pub(super) roster: &'a Roster,
    pub(super) lists: &'a Lists,
    pub(super) assets: &'a Assets,
    pub(super) vocabulary: &'a Vocabulary,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsToml {
    #[serde(default)]
    limit: Vec<LimitToml>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitToml {
    id: Spanned<String>,
    key: Option<Spanned<String>>,
    client: Option<Spanned<String>>,
    asset: Option<Spanned<String>>,
    to: Option<Spanned<String>>,
    list: Option<Spanned<String>>,
    domain: Option<Spanned<String>>,
    action: Option<Spanned<String>>,
    max: Option<Spanned<String>>,
    count: Option<Spanned<u64>>,
    per: Spanned<String>,
    #[serde(default)]
    by: Vec<Spanned<String>>,
}

/// Reads the file.
pub(super) fn load(file: &str, text: &str, known: &Known<'_>) -> Result<Vec<Limit>, BundleError> {
    let source = Source { file, text };
    let rows: LimitsToml = reading::toml(file, text)?;
    if let Some(first_too_many) = rows.limit.get(LIMITS_MAX) {
        let problem = Problem::TooLarge { what: "the number of limits", limit: LIMITS_MAX };
        return Err(source.error(&first_too_many.id, problem));
    }
    let mut ids = BTreeSet::new();
    let reader = Reader { source, known };
    let limits = rows.limit.iter().map(|row| {
        let limit = reader.limit(row)?;
        if !ids.insert(limit.id.clone()) {
            let problem = Problem::Duplicate { what: "limit", value: limit.id.to_string() };
            return Err(reader.source.error(&row.id, problem));
        }
        Ok(limit)
    });
    limits.collect()
}

/// Where the numbers of the file are, without quotes.
pub(crate) fn numbers(text: &str) -> Result<Vec<Range<usize>>, BundleError> {
    let rows: LimitsToml = reading::toml(LIMITS, text)?;
    let number = |row: &LimitToml| match (&row.max, &row.count) {
        (Some(max), _) => Some(max.span().start + 1..max.span().end - 1),
        (None, count) => count.as_ref().map(Spanned::span),
    };
    Ok(rows.limit.iter().filter_map(number).collect())
}

struct Reader<'a> {
    source: Source<'a>,
    known: &'a Known<'a>,
}

impl Reader<'_> {
    fn limit(&self, row: &LimitToml) -> Result<Limit, BundleError> {
        if let (Some(domain), Some(_)) = (&row.domain, &row.key) {
            return Err(self.source.error(domain, Problem::KeyAndDomain));
        }
        let id = self.source.value(&row.id, "limit id", NAME_FORM, |s| LimitId::parse(s).ok())?;
        let scope = self.scope(row)?;
        if let Some(action) = row.action.as_ref().filter(|action| !LIMITED.contains(&action.get_ref().as_str())) {
            let given = action.get_ref().clone();
            return Err(self
                .source
                .error(action, Problem::Value { what: "action of a limit", given, want: ACTION_FORM }));
        }
        let most = self.most(row)?;
        let windows = WINDOW_MIN_MS..=WINDOW_MAX_MS;
        let window_ms = spans::read(&self.source, &row.per, "window of a limit", windows, "1m to 366d")?;
        let by = row.by.iter().map(|b| self.source.value(b, "field to count by", BY_FORM, By::parse));
        let by: Vec<By> = by.collect::<Result<_, _>>()?;
        let distinct: BTreeSet<By> = by.iter().copied().collect();
        match row.by.last() {
            Some(last) if distinct.len() < by.len() => {
                let problem = Problem::Duplicate { what: "field to count by", value: last.get_ref().clone() };
                Err(self.source.error(last, problem))
            }
            // In one order, so that writing them in another makes no other line.
            _ => Ok(Limit { id, scope, most, window_ms, by: distinct.into_iter().collect() }),
        }
    }

    fn scope(&self, row: &LimitToml) -> Result<Scope, BundleError> {
        let Known { roster, lists, assets, vocabulary } = self.known;
        let named = |given: &Option<Spanned<String>>, what, known, exists: &dyn Fn(&str) -> bool| match given {
            Some(given) if !exists(given.get_ref()) => {
                let problem = Problem::UnknownName { what, name: given.get_ref().clone(), known };
                Err(self.source.error(given, problem))
            }
            given => Ok(given.as_ref().map(|g| g.get_ref().clone())),
        };
        let is_client = |name: &str| roster.clients.iter().any(|c| c.id.as_str() == name);
        let is_asset = |name: &str| decimals(assets, name).is_some();
        let optional = |given: &Option<Spanned<String>>, what, want, read: fn(&str) -> Option<String>| {
            given.as_ref().map(|g| self.source.value(g, what, want, read)).transpose()
        };
        Ok(Scope {
            key: optional(&row.key, "key name", NAME_FORM, plain_name)?,
            domain: optional(&row.domain, "name of a token domain", NAME_FORM, plain_name)?,
            client: named(&row.client, "client", "clients are those of roster.toml", &is_client)?,
            asset: named(
                &row.asset,
                "asset with decimals",
                "a limit counts assets of assets.toml and currencies of ISO 4217",
                &is_asset,
            )?,
            to: match &row.to {
                Some(to) if to.get_ref().starts_with("0x") => optional(&row.to, "address", ADDRESS_FORM, evm_address)?,
                _ => optional(&row.to, "bank account", ACCOUNT_FORM, account)?,
            },
            list: named(&row.list, "list", "lists are the files lists/*.txt of the bundle", &|name| {
                lists.contains_key(name)
            })?,
            action: named(&row.action, "action", "actions are those of the schema, such as `sign`", &|name| {
                vocabulary.has_action(name)
            })?,
        })
    }

    fn most(&self, row: &LimitToml) -> Result<Most, BundleError> {
        match (&row.max, &row.count) {
            (Some(max), None) => {
                let Some(asset) = &row.asset else { return Err(self.source.error(max, Problem::MaxWithoutAsset)) };
                let decimals = decimals(self.known.assets, asset.get_ref()).unwrap_or_default();
                let number = || Problem::Value { what: "max", given: max.get_ref().clone(), want: MAX_FORM };
                let (whole, part) = digits(max.get_ref()).ok_or_else(|| self.source.error(max, number()))?;
                let units = units(&whole, &part, decimals)
                    .ok_or_else(|| self.source.error(max, Problem::MaxOutOfRange { decimals }))?;
                match units {
                    0 => Err(self.source.error(max, number())),
                    units => Ok(Most::Amount { units, decimals }),
                }
            }
            (None, Some(count)) if *count.get_ref() == 0 => {
                let problem = Problem::Value { what: "count", given: "0".into(), want: "a whole number from 1" };
                Err(self.source.error(count, problem))
            }
            (None, Some(count)) => Ok(Most::Count(*count.get_ref())),
            (None, None) | (Some(_), Some(_)) => {
                Err(self.source.error(&row.id, Problem::MaxOrCount { id: row.id.get_ref().clone() }))
            }
        }
    }
}

/// The decimals in which an asset is counted: the most that it has on any chain, so that every amount is exact.
fn decimals(assets: &Assets, symbol: &str) -> Option<u8> {
    assets.decimals_of(symbol).chain(Currency::parse(symbol).map(Currency::decimals)).max()
}

fn account(text: &str) -> Option<String> {
    Account::parse(text).map(|account| account.as_str().to_owned())
}

/// A number such as `2_000_000.50` in units of so many decimals, if it is a whole number of them.
pub(crate) fn exact_units(text: &str, decimals: u8) -> Option<u128> {
    let (whole, part) = digits(text)?;
    units(&whole, &part, decimals)
}

/// The digits before and after the point of a number such as `2_000_000.50`. A `_` stands between digits.
fn digits(text: &str) -> Option<(String, String)> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let plain = |s: &str| {
        let grouped = s.split('_').all(|g| !g.is_empty() && g.bytes().all(|b| b.is_ascii_digit()));
        grouped.then(|| s.replace('_', ""))
    };
    Some((plain(whole)?, plain(part)?))
}

/// The number in accounting units; none when it is not a whole number of them, or more than can be counted.
fn units(whole: &str, part: &str, decimals: u8) -> Option<u128> {
    let part = part.trim_end_matches('0');
    let missing = usize::from(decimals).checked_sub(part.len())?;
    format!("{whole}{part}{}", "0".repeat(missing)).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_exact_or_refused() {
        let read = |text: &str, decimals| digits(text).and_then(|(w, p)| units(&w, &p, decimals));
        for (text, decimals, n) in [
            ("2_000_000", 6, Some(2_000_000_000_000)),
            ("0.5", 6, Some(500_000)),
            ("0.500000000", 1, Some(5)),
            ("0.0000001", 6, None),
            ("0", 6, Some(0)),
            ("340282366920938463463374607431768211455", 0, Some(u128::MAX)),
            ("340282366920938463463374607431768211456", 0, None),
            ("1", 77, None),
        ] {
            assert_eq!(read(text, decimals), n, "{text}");
        }
        for bad in ["", "_", "1_", "_1", "1__0", "-1", "+1", "1e3", "1.", ".5", "1.2.3", "1,000", " 1", "٣"] {
            assert_eq!(digits(bad), None, "{bad}");
        }
    }
}
