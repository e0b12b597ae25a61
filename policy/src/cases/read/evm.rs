//! Cases of what is for EVM chains: transfers, leave to move value, typed data, calls of contracts.

use super::{Reader, TIME_FORM, moment};
use crate::error::{BundleError, Problem};
use tally_domain::facts::{
    Allowance, Amount, AssetRef, Facts, Most, Movement, OpaqueFacts, TransactionFacts, TypedDataFacts, UnreadCall,
};
use toml::Spanned;
use toml::value::Datetime;

/// Most times that one movement is repeated: as many outputs as a transaction has (DESIGN 10).
const TIMES_MAX: usize = 256;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TransferToml {
    chain: Spanned<String>,
    method: Option<String>,
    asset: Spanned<String>,
    item: Option<Spanned<String>>,
    amount: Spanned<String>,
    from: Option<Spanned<String>>,
    to: Spanned<String>,
    fee: Spanned<String>,
    /// Further movements of the same transaction.
    #[serde(default)]
    also: Vec<MoveToml>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct MoveToml {
    asset: Spanned<String>,
    amount: Spanned<String>,
    to: Spanned<String>,
    times: Option<Spanned<usize>>,
}

/// Leave that a transaction gives, or typed data where there is a domain.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AllowanceToml {
    chain: Spanned<String>,
    method: String,
    domain: Option<String>,
    contract: Option<Spanned<String>>,
    asset: Spanned<String>,
    item: Option<Spanned<String>>,
    amount: Option<Spanned<String>>,
    #[serde(default)]
    unlimited: bool,
    owner: Option<Spanned<String>>,
    spender: Spanned<String>,
    deadline: Option<Spanned<Datetime>>,
    expires: Option<Spanned<Datetime>>,
    fee: Option<Spanned<String>>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TypedDataToml {
    chain: String,
    domain: String,
    #[serde(default)]
    version: String,
    contract: Option<Spanned<String>>,
    #[serde(default)]
    salt: String,
    primary: String,
    #[serde(default)]
    fields: Vec<Spanned<String>>,
}

/// A call of a contract in `contracts.toml`, its arguments in words: numbers in the contract's own units, tuples in `()` and
/// lists in `[]`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CallToml {
    contract: Spanned<String>,
    function: Spanned<String>,
    #[serde(default)]
    args: Vec<String>,
    value: Option<Spanned<String>>,
    fee: Spanned<String>,
}

impl Reader<'_> {
    pub(super) fn call(&self, row: &CallToml) -> Result<OpaqueFacts, BundleError> {
        let contract = self.bundle.contracts.by_name(row.contract.get_ref());
        let (chain, to, mut functions) =
            contract.ok_or_else(|| self.unknown(&row.contract, "contract", "contracts are those of contracts.toml"))?;
        let function = functions.find(|function| function.word == *row.function.get_ref()).ok_or_else(|| {
            let known = "functions are those of the contract's ABI that change something and are of no standard";
            self.unknown(&row.function, "function", known)
        })?;
        let input = function.write(&row.args).ok_or_else(|| {
            let (given, want) = (row.args.join(", "), "a text for each argument of the function, of its type");
            self.source.error(&row.function, Problem::Value { what: "list of arguments", given, want })
        })?;
        let chain = Spanned::new(row.contract.span(), chain.to_owned());
        let fee_max = self.fee(&chain, &row.fee)?;
        let value = row.value.as_ref().map_or(Ok(Amount::from(0)), |value| self.fee(&chain, value))?;
        let call = Some(UnreadCall { value, input, fee_max, nonce: 0 });
        let why = "a call that the case makes up".into();
        Ok(OpaqueFacts { chain: chain.into_inner(), to: to.to_owned(), why, call })
    }

    pub(super) fn transaction(&self, row: &TransferToml) -> Result<TransactionFacts, BundleError> {
        let chain = row.chain.get_ref();
        let (asset, amount) = self.asset(chain, &row.asset, row.item.as_ref(), &row.amount)?;
        let from = self.optional(row.from.as_ref())?;
        let mut movements = vec![Movement { asset, amount, from, to: self.address(&row.to)? }];
        for also in &row.also {
            let times = also.times.as_ref().map_or(1, |times| *times.get_ref());
            let (asset, amount) = self.asset(chain, &also.asset, None, &also.amount)?;
            let movement = Movement { asset, amount, from: String::new(), to: self.address(&also.to)? };
            movements.extend(std::iter::repeat_n(movement, times.min(TIMES_MAX)));
        }
        let method = row.method.clone().unwrap_or_else(|| "transfer".into());
        let fee_max = self.fee(&row.chain, &row.fee)?;
        Ok(TransactionFacts { chain: chain.clone(), method, movements, allowances: Vec::new(), fee_max, nonce: 0 })
    }

    pub(super) fn allowance(&self, row: &AllowanceToml) -> Result<Facts, BundleError> {
        let chain = row.chain.get_ref();
        let (asset, most) = match (&row.amount, row.unlimited) {
            (Some(amount), false) => {
                let (asset, amount) = self.asset(chain, &row.asset, row.item.as_ref(), amount)?;
                (asset, Most::UpTo(amount))
            }
            (None, true) => (self.known(chain, &row.asset)?.0, Most::Unlimited),
            (Some(_), true) | (None, false) => {
                let (given, want) = (row.asset.get_ref().clone(), "either an `amount` or `unlimited = true`");
                return Err(self.source.error(&row.asset, Problem::Value { what: "leave to move", given, want }));
            }
        };
        let contract = self.optional(row.contract.as_ref())?;
        let keeper = if contract.is_empty() { asset.contract().unwrap_or_default().to_owned() } else { contract };
        let allowance = Allowance {
            asset,
            most,
            owner: self.optional(row.owner.as_ref())?,
            keeper: keeper.clone(),
            spender: self.address(&row.spender)?,
            use_by: row.deadline.as_ref().map(|at| self.seconds(at)).transpose()?,
            ends: row.expires.as_ref().map(|at| self.seconds(at)).transpose()?,
        };
        let (chain, allowances) = (chain.clone(), vec![allowance]);
        Ok(match &row.domain {
            Some(name) => Facts::TypedData(TypedDataFacts {
                chain,
                name: name.clone(),
                version: String::new(),
                contract: keeper,
                salt: String::new(),
                primary_type: row.method.clone(),
                allowances,
                fields: Vec::new(),
            }),
            None => Facts::Transaction(TransactionFacts {
                chain,
                method: row.method.clone(),
                movements: Vec::new(),
                allowances,
                fee_max: row.fee.as_ref().map_or(Ok(Amount::from(0)), |fee| self.fee(&row.chain, fee))?,
                nonce: 0,
            }),
        })
    }

    pub(super) fn typed_data(&self, row: &TypedDataToml) -> Result<TypedDataFacts, BundleError> {
        let field = |given: &Spanned<String>| {
            let split = |s: &str| s.split_once('=').map(|(path, value)| (path.to_owned(), value.to_owned()));
            self.source.value(given, "value of typed data", "`path=value`", split)
        };
        Ok(TypedDataFacts {
            chain: row.chain.clone(),
            name: row.domain.clone(),
            version: row.version.clone(),
            contract: self.optional(row.contract.as_ref())?,
            salt: row.salt.clone(),
            primary_type: row.primary.clone(),
            allowances: Vec::new(),
            fields: row.fields.iter().map(field).collect::<Result<_, _>>()?,
        })
    }

    fn asset(
        &self,
        chain: &str,
        symbol: &Spanned<String>,
        item: Option<&Spanned<String>>,
        amount: &Spanned<String>,
    ) -> Result<(AssetRef, Amount), BundleError> {
        let (asset, decimals) = self.known(chain, symbol)?;
        let amount = Amount::from(self.units(amount, decimals)?);
        let Some(item) = item else { return Ok((asset, amount)) };
        let number = |s: &str| s.parse().ok().map(u128::into);
        let id = self.source.value(item, "number of a piece", "decimal digits in quotes", number)?;
        Ok((AssetRef::Item { contract: asset.contract().unwrap_or_default().to_owned(), id }, amount))
    }

    fn known(&self, chain: &str, symbol: &Spanned<String>) -> Result<(AssetRef, u8), BundleError> {
        let found = self.bundle.assets.by_symbol(chain, symbol.get_ref());
        found.ok_or_else(|| self.unknown(symbol, "asset", "assets of a chain are those of assets.toml"))
    }

    fn fee(&self, chain: &Spanned<String>, fee: &Spanned<String>) -> Result<Amount, BundleError> {
        let native = self.bundle.assets.find(chain.get_ref(), &AssetRef::Native);
        let native = native.ok_or_else(|| self.unknown(chain, "chain", "chains are those of assets.toml"))?;
        Ok(Amount::from(self.units(fee, native.decimals)?))
    }

    fn optional(&self, address: Option<&Spanned<String>>) -> Result<String, BundleError> {
        address.map_or(Ok(String::new()), |address| self.address(address))
    }

    fn seconds(&self, at: &Spanned<Datetime>) -> Result<u64, BundleError> {
        let given = || at.get_ref().to_string();
        let problem = || Problem::Value { what: "time", given: given(), want: TIME_FORM };
        moment(at.get_ref()).map(|at| at.0 / 1_000).ok_or_else(|| self.source.error(at, problem()))
    }
}
