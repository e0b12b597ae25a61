//! What a rule sees of an argument, by its type.

use crate::error::Problem;
use alloy_dyn_abi::{DynSolType, DynSolValue};
use alloy_json_abi::Param;
use alloy_primitives::hex;
use std::collections::BTreeSet;
use tally_domain::facts::Amount;

/// Most values of a function, those within tuples too.
const VALUES_MAX: usize = 32;

/// Deepest tuple within tuples: rules go as deep, and there are only so many links to an expression.
const DEPTH_MAX: usize = 4;

/// Longest list, and most elements of one of a fixed length: people are shown each.
const LIST_MAX: usize = 64;

/// Longest text or bytes.
const TEXT_MAX_BYTES: usize = 1024;

/// Longest name of an argument or of a type: no contract comes near.
const NAME_MAX_BYTES: usize = 64;

/// The largest unsigned integers that always fit into Cedar's `Long`; it has a sign.
const LONG_UINT_BITS: usize = 56;

/// The largest signed ones.
const LONG_INT_BITS: usize = 64;

/// How rules see an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Address,
    Bool,
    /// A number that always fits: Cedar's `Long`.
    Long {
        signed: bool,
    },
    /// A number that may not fit: its decimal digits.
    Digits {
        signed: bool,
    },
    /// So much of an asset, in whole units.
    Units {
        symbol: String,
        decimals: u8,
    },
    /// `0x` and hex digits.
    Bytes,
    Text,
    /// A list of values, of which neither order nor number is seen.
    Set(Box<Kind>),
    /// A tuple.
    Record(Vec<(String, Kind)>),
}

/// What an argument is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Address(String),
    Bool(bool),
    Long(i64),
    Units {
        amount: Amount,
        symbol: String,
        decimals: u8,
    },
    /// Digits, bytes or text.
    Text(String),
    Set(Vec<Value>),
    Record(Vec<(String, Value)>),
}

/// Why a function's arguments are not read.
pub(super) enum Unread {
    /// It has a type that rules cannot see.
    Type(String),
    /// It has a name that rules cannot say.
    Name(Problem),
}

/// The arguments of a function by name; what has none is `arg0`, `arg1` and so on.
pub(super) fn of_args(params: &[Param]) -> Result<Vec<(String, Kind)>, Unread> {
    let mut room = VALUES_MAX;
    of_all(params, DEPTH_MAX, &mut room)
}

fn of_all(params: &[Param], depth: usize, room: &mut usize) -> Result<Vec<(String, Kind)>, Unread> {
    let mut names = BTreeSet::new();
    let mut found = Vec::new();
    for (at, param) in params.iter().enumerate() {
        let name = if param.name.is_empty() { format!("arg{at}") } else { param.name.clone() };
        if name.len() > NAME_MAX_BYTES {
            let problem = Problem::TooLarge { what: "the length of an argument's name", limit: NAME_MAX_BYTES };
            return Err(Unread::Name(problem));
        }
        if !names.insert(name.clone()) {
            return Err(Unread::Name(Problem::Duplicate { what: "argument", value: name }));
        }
        found.push((name, of(param, depth, room)?));
    }
    Ok(found)
}

fn of(param: &Param, depth: usize, room: &mut usize) -> Result<Kind, Unread> {
    let unread = |why: &str| Unread::Type(format!("its argument of type {} is not read: {why}", param.ty));
    *room = room.checked_sub(1).ok_or_else(|| unread("there are too many"))?;
    if param.ty == "tuple" {
        let depth = depth.checked_sub(1).ok_or_else(|| unread("it is too deep"))?;
        return Ok(Kind::Record(of_all(&param.components, depth, room)?));
    }
    if param.ty.len() > NAME_MAX_BYTES {
        return Err(Unread::Type("the name of a type is too long".into()));
    }
    let known = DynSolType::parse(&param.ty).ok();
    let list = |of: &DynSolType| word(of).map(|kind| Kind::Set(Box::new(kind)));
    let kind = known.as_ref().and_then(|known| match known {
        DynSolType::Bytes => Some(Kind::Bytes),
        DynSolType::String => Some(Kind::Text),
        DynSolType::Array(of) => list(of),
        DynSolType::FixedArray(of, length) if *length <= LIST_MAX => list(of),
        other => word(other),
    });
    kind.ok_or_else(|| unread("only numbers, addresses, bytes, text, tuples of them, and lists of words are"))
}

/// Types that are one word of call data. Only lists of these are read: elements of others could share their bytes, so that
/// little data became much.
fn word(known: &DynSolType) -> Option<Kind> {
    match known {
        DynSolType::Address => Some(Kind::Address),
        DynSolType::Bool => Some(Kind::Bool),
        DynSolType::FixedBytes(_) => Some(Kind::Bytes),
        DynSolType::Uint(bits) if *bits <= LONG_UINT_BITS => Some(Kind::Long { signed: false }),
        DynSolType::Uint(_) => Some(Kind::Digits { signed: false }),
        DynSolType::Int(bits) if *bits <= LONG_INT_BITS => Some(Kind::Long { signed: true }),
        DynSolType::Int(_) => Some(Kind::Digits { signed: true }),
        _ => None,
    }
}

impl Kind {
    /// Its type in Cedar's words.
    pub(crate) fn schema(&self) -> String {
        match self {
            Self::Address => "Address".into(),
            Self::Bool => "Bool".into(),
            Self::Long { .. } => "Long".into(),
            Self::Units { .. } => "decimal".into(),
            Self::Digits { .. } | Self::Bytes | Self::Text => "String".into(),
            Self::Set(of) => format!("Set<{}>", of.schema()),
            Self::Record(fields) => record_schema(fields),
        }
    }

    /// What is given, or why it is not read; without a word where it is not of the type.
    pub(super) fn read(&self, given: &DynSolValue) -> Result<Value, Option<String>> {
        match (self, given) {
            (Self::Address, DynSolValue::Address(a)) => Ok(Value::Address(hex::encode_prefixed(a))),
            (Self::Bool, DynSolValue::Bool(b)) => Ok(Value::Bool(*b)),
            (Self::Long { .. }, number) => Ok(Value::Long(digits(number)?.parse().map_err(|_| None)?)),
            (Self::Digits { .. }, number) => Ok(Value::Text(digits(number)?)),
            (Self::Units { symbol, decimals }, DynSolValue::Uint(n, bits)) if n.bit_len() <= *bits => {
                let amount = Amount(n.to_be_bytes());
                Ok(Value::Units { amount, symbol: symbol.clone(), decimals: *decimals })
            }
            (Self::Bytes, DynSolValue::FixedBytes(word, size)) => {
                let (bytes, rest) = word.split_at_checked(*size).ok_or(None)?;
                let padded = rest.iter().all(|b| *b == 0);
                padded.then(|| Value::Text(hex::encode_prefixed(bytes))).ok_or(None)
            }
            (Self::Bytes, DynSolValue::Bytes(bytes)) => Ok(Value::Text(hex::encode_prefixed(short(bytes)?))),
            (Self::Text, DynSolValue::String(text)) => {
                short(text.as_bytes())?;
                Ok(Value::Text(text.clone()))
            }
            (Self::Set(of), DynSolValue::Array(all) | DynSolValue::FixedArray(all)) => {
                if all.len() > LIST_MAX {
                    return Err(Some(format!("a list of {}; up to {LIST_MAX} are looked into", all.len())));
                }
                Ok(Value::Set(all.iter().map(|one| of.read(one)).collect::<Result<_, _>>()?))
            }
            (Self::Record(fields), tuple) => {
                let values = tuple.as_fixed_seq().filter(|values| values.len() == fields.len()).ok_or(None)?;
                let read = |((name, kind), value): (&(String, Self), _)| Ok((name.clone(), kind.read(value)?));
                Ok(Value::Record(fields.iter().zip(values).map(read).collect::<Result<_, Option<String>>>()?))
            }
            _ => Err(None),
        }
    }
}

/// `{ "name": Type, ... }`. Names are quoted: Solidity's may be Cedar's keywords.
pub(crate) fn record_schema(fields: &[(String, Kind)]) -> String {
    let fields: Vec<_> = fields.iter().map(|(name, kind)| format!("\"{name}\": {}", kind.schema())).collect();
    format!("{{ {} }}", fields.join(", "))
}

/// In decimal. Alloy gives the whole word, whatever the type has room for.
fn digits(number: &DynSolValue) -> Result<String, Option<String>> {
    match number {
        DynSolValue::Uint(n, bits) if n.bit_len() <= *bits => Ok(n.to_string()),
        DynSolValue::Int(n, bits) if usize::try_from(n.bits()).is_ok_and(|used| used <= *bits) => Ok(n.to_string()),
        _ => Err(None),
    }
}

fn short(bytes: &[u8]) -> Result<&[u8], Option<String>> {
    let length = bytes.len();
    if length > TEXT_MAX_BYTES {
        return Err(Some(format!("{length} bytes; up to {TEXT_MAX_BYTES} are looked into")));
    }
    Ok(bytes)
}
