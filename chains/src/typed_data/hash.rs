//! `hashStruct` and `encodeData` of EIP-712, over values that are checked on the way.

use super::fault::BadTypedData;
use super::json::{Json, wrong};
use super::types::{Atom, Kind, Types};
use super::{Fields, SHOWN_MAX_BYTES, VALUES_MAX};
use crate::address::parse_evm_address;
use alloy_primitives::{Address, B256, I256, U256, hex, keccak256};
use std::collections::BTreeMap;

/// A value without parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Leaf {
    Bool(bool),
    Address(Address),
    Text(String),
    Bytes(Vec<u8>),
    /// As many bytes as its type has.
    FixedBytes(Vec<u8>),
    Uint(U256),
    Int(I256),
}

/// As people and rules see it.
impl std::fmt::Display for Leaf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bool(b) => write!(f, "{b}"),
            Self::Address(address) => f.write_str(&hex::encode_prefixed(address)),
            Self::Text(text) => f.write_str(text),
            Self::Bytes(bytes) | Self::FixedBytes(bytes) => f.write_str(&hex::encode_prefixed(bytes)),
            Self::Uint(n) => write!(f, "{n}"),
            Self::Int(n) => write!(f, "{n}"),
        }
    }
}

impl Leaf {
    /// Its 32 bytes in `encodeData`: atomic values as in the ABI, `bytes` and `string` by their hash.
    pub(super) fn word(&self) -> [u8; 32] {
        match self {
            Self::Bool(b) => U256::from(u8::from(*b)).to_be_bytes(),
            Self::Address(address) => address.into_word().0,
            Self::Text(text) => keccak256(text).0,
            Self::Bytes(bytes) => keccak256(bytes).0,
            Self::FixedBytes(bytes) => B256::right_padding_from(bytes).0,
            Self::Uint(n) => n.to_be_bytes(),
            Self::Int(n) => n.to_be_bytes(),
        }
    }
}

/// One walk over a message: hashes it and keeps its values.
pub(super) struct Walk<'a> {
    types: &'a Types,
    type_hashes: BTreeMap<&'a str, B256>,
    leaves: Fields,
    /// How long all leaves are as text, with their paths.
    shown_bytes: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(types: &'a Types) -> Self {
        Self { types, type_hashes: BTreeMap::new(), leaves: Vec::new(), shown_bytes: 0 }
    }

    pub(super) fn hash_struct(&mut self, name: &'a str, message: &Json) -> Result<B256, BadTypedData> {
        self.structure(name, message, "")
    }

    pub(super) fn into_leaves(self) -> Fields {
        self.leaves
    }

    /// "hashStruct(s) = keccak256(typeHash || encodeData(s))".
    fn structure(&mut self, name: &'a str, value: &Json, path: &str) -> Result<B256, BadTypedData> {
        let members = self.types.members(name)?;
        let Json::Map(given) = value else { return Err(wrong(path, format!("an object of type {name}"))) };
        let below = |member: &str| if path.is_empty() { member.to_owned() } else { format!("{path}.{member}") };
        if let Some((key, _)) = given.iter().find(|(key, _)| !members.iter().any(|m| m.name == *key)) {
            return Err(BadTypedData::Unsigned { path: below(key) });
        }
        let mut data = self.type_hash(name)?.to_vec();
        for member in members {
            let path = below(&member.name);
            let found = given.iter().find(|(key, _)| *key == member.name);
            let Some((_, value)) = found else { return Err(BadTypedData::Missing { path }) };
            data.extend(self.value(&member.kind, value, path)?);
        }
        Ok(keccak256(data))
    }

    fn value(&mut self, kind: &'a Kind, value: &Json, path: String) -> Result<[u8; 32], BadTypedData> {
        match (kind, value) {
            (Kind::Atom(atom), _) => {
                let leaf = leaf(*atom, value, &path)?;
                let word = leaf.word();
                self.keep(path, leaf)?;
                Ok(word)
            }
            (Kind::Struct(name), _) => Ok(self.structure(name, value, &path)?.0),
            (Kind::List(of, length), Json::List(items)) if length.is_none_or(|length| items.len() == length) => {
                let mut data = Vec::new();
                for (at, item) in items.iter().enumerate() {
                    data.extend(self.value(of, item, format!("{path}[{at}]"))?);
                }
                // "The array values are encoded as the keccak256 hash of the concatenated encodeData of their contents".
                Ok(keccak256(data).0)
            }
            (Kind::List(_, Some(length)), _) => Err(wrong(&path, format!("a list of {length}"))),
            (Kind::List(_, None), _) => Err(wrong(&path, "a list")),
        }
    }

    fn keep(&mut self, path: String, leaf: Leaf) -> Result<(), BadTypedData> {
        self.shown_bytes = self.shown_bytes.saturating_add(path.len()).saturating_add(leaf.to_string().len());
        if self.leaves.len() == VALUES_MAX {
            return Err(BadTypedData::TooLarge { what: "values", limit: VALUES_MAX });
        }
        if self.shown_bytes > SHOWN_MAX_BYTES {
            return Err(BadTypedData::TooLarge { what: "bytes of values with their paths", limit: SHOWN_MAX_BYTES });
        }
        self.leaves.push((path, leaf));
        Ok(())
    }

    fn type_hash(&mut self, name: &'a str) -> Result<B256, BadTypedData> {
        if let Some(known) = self.type_hashes.get(name) {
            return Ok(*known);
        }
        let hash = keccak256(self.types.encode_type(name)?);
        self.type_hashes.insert(name, hash);
        Ok(hash)
    }
}

/// A value of that type, written as one writes it.
pub(super) fn leaf(atom: Atom, value: &Json, path: &str) -> Result<Leaf, BadTypedData> {
    let (leaf, want) = match (atom, value) {
        (Atom::Bool, Json::Bool(b)) => (Some(Leaf::Bool(*b)), String::new()),
        (Atom::Bool, _) => (None, "true or false".into()),
        (Atom::Address, Json::Text(text)) => {
            let read = parse_evm_address(text).ok().map(|address| Leaf::Address(address.into()));
            (read, "an address: 0x, 40 hex digits, and the EIP-55 checksum if both cases are used".into())
        }
        (Atom::Address, _) => (None, "an address".into()),
        (Atom::Text, Json::Text(text)) => (Some(Leaf::Text(text.clone())), String::new()),
        (Atom::Text, _) => (None, "a text".into()),
        (Atom::Bytes, value) => (bytes(value).map(Leaf::Bytes), "0x and hex digits".into()),
        (Atom::FixedBytes(n), value) => {
            let read = bytes(value).filter(|bytes| bytes.len() == n).map(Leaf::FixedBytes);
            (read, format!("0x and the hex digits of {n} bytes"))
        }
        (Atom::Uint(bits), value) => {
            let read = uint(value).filter(|n| n.bit_len() <= bits).map(Leaf::Uint);
            (read, format!("a whole number of {bits} bits, or a text such as \"1000\" or \"0x3e8\""))
        }
        (Atom::Int(bits), value) => {
            let read = int(value).filter(|n| fits(*n, bits)).map(Leaf::Int);
            (read, format!("a whole number of {bits} bits with its sign, or a text such as \"-1000\""))
        }
    };
    leaf.ok_or_else(|| wrong(path, want))
}

fn bytes(value: &Json) -> Option<Vec<u8>> {
    let Json::Text(text) = value else { return None };
    hex::decode(text.strip_prefix("0x")?).ok()
}

fn uint(value: &Json) -> Option<U256> {
    let (Json::Number(text) | Json::Text(text)) = value else { return None };
    let (digits, radix) = match text.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None => (text.as_str(), 10),
    };
    let plain = !digits.is_empty() && digits.bytes().all(|b| char::from(b).is_digit(radix));
    plain.then(|| U256::from_str_radix(digits, radix.into()).ok()).flatten()
}

fn int(value: &Json) -> Option<I256> {
    let (Json::Number(text) | Json::Text(text)) = value else { return None };
    match text.strip_prefix('-') {
        Some(digits) => {
            let n = uint(&Json::Text(digits.into()))?;
            I256::checked_from_sign_and_abs(alloy_primitives::Sign::Negative, n)
        }
        None => I256::try_from(uint(value)?).ok(),
    }
}

/// Whether so many bits hold the number, with its sign.
fn fits(n: I256, bits: usize) -> bool {
    let magnitude = if n.is_negative() { (!n).into_raw() } else { n.into_raw() };
    magnitude.bit_len() < bits
}
