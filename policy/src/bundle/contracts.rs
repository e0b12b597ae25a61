//! `contracts.toml`: which contracts have which ABI, and which of their arguments are amounts of which asset.

use super::abi::{Abi, Abis, Function, Kind, Value, record_schema};
use super::assets::Assets;
use super::lists::{ADDRESS_FORM, evm_address};
use super::reading::{self, NAME_FORM, Source, plain_name};
use crate::error::{BundleError, Problem};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use tally_domain::facts::{Amount, AssetRef, OpaqueFacts, PERMIT2};
use toml::Spanned;

/// Most contracts.
const CONTRACTS_MAX: usize = 64;

/// Most functions of all contracts: each is an action, and a rule for any action is checked against each.
const FUNCTIONS_MAX: usize = 256;

/// The action that all calls of contracts are in.
pub(crate) const CALLS: &str = "sign_call";

/// Contracts by chain and address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Contracts(BTreeMap<(String, String), Contract>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Contract {
    name: String,
    abi: Abi,
}

/// A call that was understood.
pub(crate) struct Call<'a> {
    pub(crate) chain: &'a str,
    /// The contract's address.
    pub(crate) to: &'a str,
    pub(crate) contract: &'a str,
    pub(crate) function: &'a Function,
    pub(crate) args: Vec<(&'a str, Value)>,
    pub(crate) value: Amount,
    pub(crate) fee_max: Amount,
    pub(crate) nonce: u64,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ContractsToml {
    #[serde(default)]
    contract: Vec<ContractToml>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ContractToml {
    name: Spanned<String>,
    chain: Spanned<String>,
    address: Spanned<String>,
    abi: Spanned<String>,
    #[serde(default)]
    amounts: BTreeMap<Spanned<String>, Spanned<String>>,
}

impl Call<'_> {
    /// The action that it is.
    pub(crate) fn action(&self) -> String {
        action(self.contract, self.function)
    }
}

/// Whether an action is a call of a contract: all others are one word.
pub(crate) fn is_call(action: &str) -> bool {
    action.contains('.')
}

fn action(contract: &str, function: &Function) -> String {
    format!("{contract}.{}", function.word)
}

impl Contracts {
    pub(super) fn load(file: &str, text: &str, abis: &Abis, assets: &Assets) -> Result<Self, BundleError> {
        let source = Source { file, text };
        let rows: ContractsToml = reading::toml(file, text)?;
        if let Some(first_too_many) = rows.contract.get(CONTRACTS_MAX) {
            let problem = Problem::TooLarge { what: "the number of contracts", limit: CONTRACTS_MAX };
            return Err(source.error(&first_too_many.name, problem));
        }
        let (mut contracts, mut names, mut functions) = (BTreeMap::new(), BTreeSet::new(), 0);
        for row in &rows.contract {
            let (at, contract) = read(&source, row, abis, assets)?;
            functions += contract.abi.functions().count();
            if functions > FUNCTIONS_MAX {
                let problem = Problem::TooLarge { what: "the number of functions", limit: FUNCTIONS_MAX };
                return Err(source.error(&row.abi, problem));
            }
            if !names.insert(contract.name.clone()) {
                let value = contract.name;
                return Err(source.error(&row.name, Problem::Duplicate { what: "contract", value }));
            }
            if contracts.insert(at, contract).is_some() {
                let value = row.address.get_ref().clone();
                return Err(source.error(&row.address, Problem::Duplicate { what: "address", value }));
            }
        }
        Ok(Self(contracts))
    }

    /// What an opaque transaction calls, if it calls one of these contracts, or why that is not known.
    pub(crate) fn read<'a>(&'a self, opaque: &'a OpaqueFacts) -> Option<Result<Call<'a>, String>> {
        let call = opaque.call.as_ref()?;
        let contract = self.0.get(&(opaque.chain.clone(), opaque.to.clone()))?;
        let unknown = || Err(format!("{}, which the ABI of contract {} has not", opaque.why, contract.name));
        let function = match call.input.first_chunk().and_then(|selector| contract.abi.0.get(selector)) {
            None => return Some(unknown()),
            Some(Err(unread)) => return Some(Err(format!("call of contract {}, {unread}", contract.name))),
            Some(Ok(function)) => function,
        };
        Some(function.read(&call.input).map(|args| Call {
            chain: &opaque.chain,
            to: &opaque.to,
            contract: &contract.name,
            function,
            args,
            value: call.value,
            fee_max: call.fee_max,
            nonce: call.nonce,
        }))
    }

    /// The contract of that name, and its functions: (chain, address, functions).
    pub(crate) fn by_name(&self, name: &str) -> Option<(&str, &str, impl Iterator<Item = &Function>)> {
        let ((chain, address), contract) = self.0.iter().find(|(_, contract)| contract.name == name)?;
        Some((chain, address, contract.abi.functions()))
    }

    /// Whether a function of any contract has the name.
    pub(crate) fn has_method(&self, name: &str) -> bool {
        self.0.values().flat_map(|contract| contract.abi.functions()).any(|function| function.name == name)
    }

    /// Each contract, and how many of its functions are read.
    pub(crate) fn sizes(&self) -> BTreeMap<String, usize> {
        self.0.values().map(|c| (c.name.clone(), c.abi.functions().count())).collect()
    }

    /// What the schema has for these contracts.
    pub(crate) fn schema(&self) -> String {
        let mut text = String::new();
        for contract in self.0.values() {
            for function in contract.abi.functions() {
                let (action, args) = (action(&contract.name, function), record_schema(&function.args));
                // Writing to a string does not fail.
                let _ = write!(
                    text,
                    "\naction \"{action}\" in [\"{CALLS}\"] appliesTo {{\n    principal: Client,\n    resource: Key,\n    \
                     context: {{\n        tx: {{\n            chain: String,\n            contract: Address,\n            \
                     method: String,\n            args: {args},\n            value: decimal,\n            fee: decimal,\n        \
                     }},\n        now: Now,\n    }},\n}};\n"
                );
            }
        }
        text
    }
}

fn read(
    source: &Source<'_>,
    row: &ContractToml,
    abis: &Abis,
    assets: &Assets,
) -> Result<((String, String), Contract), BundleError> {
    let name = source.value(&row.name, "contract name", NAME_FORM, plain_name)?;
    let chain = row.chain.get_ref().clone();
    if assets.find(&chain, &AssetRef::Native).is_none() {
        return Err(source.error(&row.chain, Problem::NoNativeCoin { chain }));
    }
    let address = source.value(&row.address, "contract", ADDRESS_FORM, evm_address)?;
    if address == PERMIT2 {
        let want = "no ABI explains Permit2; what of it is understood is understood without one";
        return Err(source.error(&row.address, Problem::Value { what: "contract", given: address, want }));
    }
    let known = "ABIs are the files abi/*.json of the bundle";
    let unknown = |of: &Spanned<String>, what, known| {
        source.error(of, Problem::UnknownName { what, name: of.get_ref().clone(), known })
    };
    let mut abi = abis.get(row.abi.get_ref()).cloned().ok_or_else(|| unknown(&row.abi, "ABI", known))?;
    for (path, symbol) in &row.amounts {
        let found = assets.by_symbol(&chain, symbol.get_ref());
        let known = "assets of a chain are those of assets.toml";
        let (_, decimals) = found.ok_or_else(|| unknown(symbol, "asset", known))?;
        let form = "an amount is named FUNCTION.ARGUMENT, as the ABI has them, and is an unsigned number";
        let kind = argument(&mut abi, path.get_ref()).ok_or_else(|| unknown(path, "amount", form))?;
        *kind = Kind::Units { symbol: symbol.get_ref().clone(), decimals };
    }
    Ok(((chain, address), Contract { name, abi }))
}

/// The unsigned number of that name, within tuples too.
fn argument<'a>(abi: &'a mut Abi, path: &str) -> Option<&'a mut Kind> {
    let (word, path) = path.split_once('.')?;
    let function = abi.0.values_mut().flatten().find(|function| function.word == word)?;
    let (mut fields, mut names) = (&mut function.args, path.split('.').peekable());
    loop {
        let name = names.next()?;
        let (_, kind) = fields.iter_mut().find(|(field, _)| field == name)?;
        match (kind, names.peek()) {
            (Kind::Record(inner), Some(_)) => fields = inner,
            (kind @ (Kind::Long { signed: false } | Kind::Digits { signed: false }), None) => return Some(kind),
            _ => return None,
        }
    }
}
