//! `abi/*.json`: what the functions of a contract are called and what they take, as Solidity's compiler writes it.
//!
//! Functions that change nothing are left out, and so are those that standards explain: their meaning is fixed.

mod kind;

pub(crate) use kind::{Kind, Value, record_schema};

use super::reading::{self, plain_name};
use crate::error::{BundleError, Place, Problem};
use alloy_dyn_abi::JsonAbiExt as _;
use alloy_json_abi::{JsonAbi, StateMutability};
use kind::Unread;
use std::collections::BTreeMap;
use tally_domain::facts::STANDARD_SELECTORS;

/// Largest file: those of the largest contracts have about 100 KiB.
const ABI_MAX_BYTES: usize = 256 * 1024;

/// Most call data that is looked into: people are shown all of it.
const CALL_MAX_BYTES: usize = 16 * 1024;

/// ABIs by name.
pub(super) type Abis = BTreeMap<String, Abi>;

/// The functions of a contract by their selectors; of those that are not read, why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Abi(pub(super) BTreeMap<[u8; 4], Result<Function, String>>);

/// A function whose arguments are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Function {
    /// Its name.
    pub(crate) name: String,
    /// Its name among those of the contract: with its types where the contract has several of the name.
    pub(crate) word: String,
    pub(crate) args: Vec<(String, Kind)>,
    /// As alloy encodes it.
    codec: alloy_json_abi::Function,
}

/// The name of the ABI in the file of this path.
pub(crate) fn name_of(path: &str) -> Option<String> {
    plain_name(path.strip_prefix("abi/")?.strip_suffix(".json")?)
}

/// All ABIs of a bundle.
pub(super) fn load_all(files: &BTreeMap<String, Vec<u8>>) -> Result<Abis, BundleError> {
    let named = files.keys().filter_map(|path| Some((path, name_of(path)?)));
    named.map(|(path, name)| Ok((name, Abi::load(path, reading::text(files, path)?)?))).collect()
}

impl Abi {
    fn load(file: &str, text: &str) -> Result<Self, BundleError> {
        if text.len() > ABI_MAX_BYTES {
            let problem = Problem::TooLarge { what: "the size in bytes", limit: ABI_MAX_BYTES };
            return Err(BundleError::whole(file, problem));
        }
        let abi: JsonAbi = serde_json::from_str(text).map_err(|e| not_json(file, &e))?;
        let mut functions = BTreeMap::new();
        for (name, overloads) in abi.functions {
            let alone = overloads.len() == 1;
            for codec in overloads {
                let selector = codec.selector().0;
                let reads = matches!(codec.state_mutability, StateMutability::Pure | StateMutability::View);
                if reads || STANDARD_SELECTORS.contains(&selector) {
                    continue;
                }
                let value = codec.signature();
                let word = if alone { name.clone() } else { value.clone() };
                let function = match kind::of_args(&codec.inputs) {
                    Ok(args) => Ok(Function { name: name.clone(), word, args, codec }),
                    Err(Unread::Type(why)) => Err(format!("{value}: {why}")),
                    Err(Unread::Name(problem)) => return Err(BundleError::whole(file, problem)),
                };
                if functions.insert(selector, function).is_some() {
                    let problem = Problem::Duplicate { what: "function or selector of", value };
                    return Err(BundleError::whole(file, problem));
                }
            }
        }
        Ok(Self(functions))
    }

    /// The functions that are read.
    pub(super) fn functions(&self) -> impl Iterator<Item = &Function> {
        self.0.values().flatten()
    }
}

impl Function {
    /// The arguments, if the call data is exactly what encoding them gives.
    pub(super) fn read(&self, input: &[u8]) -> Result<Vec<(&str, Value)>, String> {
        if input.len() > CALL_MAX_BYTES {
            return Err(format!("call data of {} bytes; up to {CALL_MAX_BYTES} are looked into", input.len()));
        }
        let unlike = || format!("call whose data is not the one encoding of {}", self.codec.signature());
        let given = input.get(4..).and_then(|args| self.codec.abi_decode_input(args).ok()).ok_or_else(unlike)?;
        if self.codec.abi_encode_input(&given).ok().as_deref() != Some(input) {
            return Err(unlike());
        }
        let args = self.args.iter().zip(&given).map(|((name, kind), value)| {
            let read =
                kind.read(value).map_err(|why| why.map_or_else(unlike, |why| format!("argument {name}: {why}")))?;
            Ok((name.as_str(), read))
        });
        args.collect()
    }

    /// The call data of these arguments, in words.
    pub(crate) fn write(&self, given: &[String]) -> Option<Vec<u8>> {
        let types =
            self.codec.inputs.iter().map(|p| alloy_dyn_abi::Specifier::resolve(p).ok()).collect::<Option<Vec<_>>>()?;
        if types.len() != given.len() {
            return None;
        }
        let values = types.iter().zip(given).map(|(of, text)| of.coerce_str(text).ok()).collect::<Option<Vec<_>>>()?;
        self.codec.abi_encode_input(&values).ok()
    }
}

/// What the JSON reader says, without the place, which the error has by itself.
fn not_json(file: &str, e: &serde_json::Error) -> BundleError {
    let message = e.to_string();
    let message = message.split(" at line ").next().unwrap_or_default().to_owned();
    let place = Some(Place { line: e.line().max(1), column: e.column().max(1) });
    BundleError { file: file.into(), place, problem: Problem::Abi { message } }
}
