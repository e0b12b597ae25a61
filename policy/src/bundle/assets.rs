//! `assets.toml`: what an asset is called and how many decimals it has.

use super::lists::{ADDRESS_FORM, evm_address};
use super::reading::{self, NAME_FORM, Source, plain_name};
use crate::amount::DECIMALS_MAX;
use crate::error::{BundleError, Problem};
use std::collections::{BTreeMap, BTreeSet};
use tally_domain::facts::{Allowance, Amount, AssetRef, Most};
use toml::Spanned;

/// An asset as rules know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asset {
    pub(crate) symbol: String,
    pub(crate) decimals: u8,
    /// Whether it is counted by the piece (ERC-721, ERC-1155).
    items: bool,
}

/// So much of an asset, as the bundle counts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Counted<'a> {
    pub(crate) asset: &'a Asset,
    pub(crate) amount: Amount,
    /// Number of the piece or kind in decimal digits; empty where pieces have none, or all of them are meant.
    pub(crate) item: String,
}

/// Assets by chain and by what the chain calls them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assets(BTreeMap<(String, AssetRef), Asset>);

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct AssetsToml {
    #[serde(default)]
    asset: Vec<AssetToml>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct AssetToml {
    symbol: Spanned<String>,
    chain: Spanned<String>,
    contract: Option<Spanned<String>>,
    decimals: Spanned<u8>,
    #[serde(default)]
    items: bool,
}

impl Assets {
    pub(crate) fn load(file: &str, text: &str) -> Result<Self, BundleError> {
        let source = Source { file, text };
        let rows: AssetsToml = reading::toml(file, text)?;
        let mut assets = BTreeMap::new();
        let mut symbols = BTreeSet::new();
        for row in &rows.asset {
            let symbol = source.value(&row.symbol, "symbol", NAME_FORM, plain_name)?;
            let chain = source.value(&row.chain, "chain", "a CAIP-2 chain such as `eip155:1`", caip2)?;
            let asset = match &row.contract {
                None => AssetRef::Native,
                Some(c) => AssetRef::Contract(source.value(c, "contract", ADDRESS_FORM, evm_address)?),
            };
            let decimals = *row.decimals.get_ref();
            if decimals > DECIMALS_MAX {
                let problem =
                    Problem::Value { what: "number of decimals", given: decimals.to_string(), want: "0 to 77" };
                return Err(source.error(&row.decimals, problem));
            }
            if row.items && (decimals != 0 || row.contract.is_none()) {
                let given = decimals.to_string();
                let want = "0, and a contract: pieces are whole";
                return Err(
                    source.error(&row.decimals, Problem::Value { what: "number of decimals of pieces", given, want })
                );
            }
            // One symbol for two contracts of a chain would let a worthless token pass for another.
            if !symbols.insert((chain.clone(), symbol.clone())) {
                let value = format!("{symbol} on {chain}");
                return Err(source.error(&row.symbol, Problem::Duplicate { what: "asset", value }));
            }
            if assets.insert((chain, asset), Asset { symbol, decimals, items: row.items }).is_some() {
                let at = row.contract.as_ref().unwrap_or(&row.chain);
                let value = at.get_ref().clone();
                return Err(source.error(at, Problem::Duplicate { what: "contract or native coin of", value }));
            }
        }
        let assets = Self(assets);
        match rows.asset.iter().find(|row| assets.find(row.chain.get_ref(), &AssetRef::Native).is_none()) {
            Some(row) => {
                let chain = row.chain.get_ref().clone();
                Err(source.error(&row.chain, Problem::NoNativeCoin { chain }))
            }
            None => Ok(assets),
        }
    }

    /// The asset that a chain calls so.
    pub(crate) fn find(&self, chain: &str, asset: &AssetRef) -> Option<&Asset> {
        self.0.get(&(chain.to_owned(), asset.clone()))
    }

    /// How the bundle counts so much of an asset; none where it does not know the asset, or knows it to be of another sort.
    /// ERC-20 and ERC-721 share functions: the bundle knows which of the two a contract is.
    pub(crate) fn counted(&self, chain: &str, asset: &AssetRef, amount: Amount) -> Option<Counted<'_>> {
        let known = match asset {
            AssetRef::Native => self.find(chain, asset)?,
            other => self.find(chain, &AssetRef::Contract(other.contract()?.to_owned()))?,
        };
        let (amount, item) = match (asset, known.items) {
            (AssetRef::Native | AssetRef::Contract(_), false) => (amount, String::new()),
            (AssetRef::Contract(_), true) => (Amount::from(1), amount.to_string()),
            (AssetRef::Item { id, .. }, true) => (amount, id.to_string()),
            (AssetRef::Collection(_), true) => (amount, String::new()),
            (AssetRef::Item { .. } | AssetRef::Collection(_), false) | (AssetRef::Native, true) => return None,
        };
        Some(Counted { asset: known, amount, item })
    }

    /// How the bundle counts what may be moved; all there is and will be as the largest number.
    pub(crate) fn allowed(&self, chain: &str, allowance: &Allowance) -> Option<Counted<'_>> {
        match allowance.most {
            Most::UpTo(amount) => self.counted(chain, &allowance.asset, amount),
            // A function of ERC-20 says nothing of all pieces: with a contract of pieces it is not understood.
            Most::Unlimited => self
                .counted(chain, &allowance.asset, Amount::MAX)
                .filter(|c| !c.asset.items || matches!(allowance.asset, AssetRef::Collection(_))),
        }
    }

    pub(crate) fn has_symbol(&self, symbol: &str) -> bool {
        self.0.values().any(|a| a.symbol == symbol)
    }

    /// The asset of that symbol on a chain, and its decimals.
    pub(crate) fn by_symbol(&self, chain: &str, symbol: &str) -> Option<(AssetRef, u8)> {
        let ((_, asset), found) = self.0.iter().find(|((c, _), a)| c == chain && a.symbol == symbol)?;
        Some((asset.clone(), found.decimals))
    }

    /// The decimals of a symbol, on each chain that has it.
    pub(crate) fn decimals_of(&self, symbol: &str) -> impl Iterator<Item = u8> {
        self.0.values().filter(move |a| a.symbol == symbol).map(|a| a.decimals)
    }

    pub(crate) fn has_chain(&self, chain: &str) -> bool {
        self.0.keys().any(|(c, _)| c == chain)
    }

    /// `symbol on chain` of each.
    pub(crate) fn describe(&self) -> Vec<String> {
        self.0.iter().map(|((chain, _), a)| format!("{} on {chain}", a.symbol)).collect()
    }
}

/// CAIP-2: a namespace of 3 to 8 of `a-z 0-9 -`, and a reference of 1 to 32 of `a-z A-Z 0-9 _ -`.
fn caip2(text: &str) -> Option<String> {
    let (namespace, reference) = text.split_once(':')?;
    let named = (3..=8).contains(&namespace.len())
        && namespace.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let referred = (1..=32).contains(&reference.len())
        && reference.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    (named && referred).then(|| text.to_owned())
}
