//! The types of a document, as EIP-712 writes them.

use super::domain;
use super::fault::BadTypedData;
use super::json::Json;
use std::collections::{BTreeMap, BTreeSet};

/// Most types of a document: what a message needs at most, with room. Their closures are computed for each.
const TYPES_MAX: usize = 64;

/// Most `[]` of one member.
const BRACKETS_MAX: usize = 8;

/// Longest name of a type or member: longer than any compiler's user writes, and a path repeats it for each value.
const NAME_MAX_BYTES: usize = 128;

/// Definitions by name.
pub(super) struct Types(BTreeMap<String, Vec<Member>>);

/// A member of a struct.
pub(super) struct Member {
    pub(super) name: String,
    /// As written.
    type_name: String,
    pub(super) kind: Kind,
}

/// A type.
pub(super) enum Kind {
    Atom(Atom),
    /// By its name.
    Struct(String),
    /// Of so many, or of any number.
    List(Box<Kind>, Option<usize>),
}

/// A type without parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Atom {
    Bool,
    Address,
    Text,
    Bytes,
    /// 1 to 32 of them.
    FixedBytes(usize),
    /// Of so many bits.
    Uint(usize),
    Int(usize),
}

impl Types {
    pub(super) fn parse(json: Json) -> Result<Self, BadTypedData> {
        let mut types = BTreeMap::new();
        for (name, members) in json.into_map("types")? {
            if !identifier(&name) || !matches!(kind(&name), Some(Kind::Struct(_))) {
                return Err(BadTypedData::Type { name, why: "it is no name of a struct" });
            }
            let members = self::members(&name, members)?;
            types.insert(name, members);
        }
        if types.len() > TYPES_MAX {
            return Err(BadTypedData::TooLarge { what: "types", limit: TYPES_MAX });
        }
        Ok(Self(types))
    }

    pub(super) fn members(&self, name: &str) -> Result<&[Member], BadTypedData> {
        let found = self.0.get(name).map(Vec::as_slice);
        found.ok_or_else(|| BadTypedData::UnknownType { name: name.into() })
    }

    /// The members of the domain as they are written, where the document has them.
    pub(super) fn of_domain(&self) -> Option<Vec<(&str, &str)>> {
        let members = self.0.get(domain::TYPE_NAME)?;
        Some(members.iter().map(|m| (m.type_name.as_str(), m.name.as_str())).collect())
    }

    /// "The type of a struct is encoded as `name(member1,member2,..)`. If it references other struct types, then the set
    /// of referenced struct types is collected, sorted by name and appended to the encoding" (definition of encodeType).
    pub(super) fn encode_type(&self, name: &str) -> Result<String, BadTypedData> {
        let (mut found, mut open) = (BTreeSet::new(), vec![name]);
        while let Some(next) = open.pop() {
            if found.insert(next) {
                open.extend(self.members(next)?.iter().filter_map(|m| m.kind.structure()));
            }
        }
        found.remove(name);
        let all = std::iter::once(name).chain(found);
        all.map(|name| self.encode_one(name)).collect()
    }

    fn encode_one(&self, name: &str) -> Result<String, BadTypedData> {
        let members: Vec<_> = self.members(name)?.iter().map(|m| format!("{} {}", m.type_name, m.name)).collect();
        Ok(format!("{name}({})", members.join(",")))
    }
}

impl Kind {
    /// The struct that it is made of, if any.
    fn structure(&self) -> Option<&str> {
        match self {
            Self::Atom(_) => None,
            Self::Struct(name) => Some(name),
            Self::List(of, _) => of.structure(),
        }
    }
}

fn members(of: &str, json: Json) -> Result<Vec<Member>, BadTypedData> {
    let mut names = BTreeSet::new();
    let mut members = Vec::new();
    for member in json.into_list(&format!("types.{of}"))? {
        let path = format!("types.{of}.{}", members.len());
        let (mut name, mut type_name) = (None, None);
        for (key, value) in member.into_map(&path)? {
            match key.as_str() {
                "name" => name = Some(value.into_text(&path)?),
                "type" => type_name = Some(value.into_text(&path)?),
                _ => return Err(BadTypedData::Unsigned { path: format!("{path}.{key}") }),
            }
        }
        let missing = |what: &str| BadTypedData::Missing { path: format!("{path}.{what}") };
        let (name, type_name) = (name.ok_or_else(|| missing("name"))?, type_name.ok_or_else(|| missing("type"))?);
        if !identifier(&name) || !names.insert(name.clone()) {
            return Err(BadTypedData::Type { name, why: "it is no name of a member, or another has it" });
        }
        let Some(kind) = kind(&type_name) else {
            return Err(BadTypedData::Type { name: type_name, why: "it is no type of EIP-712" });
        };
        members.push(Member { name, type_name, kind });
    }
    Ok(members)
}

fn identifier(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$';
    (1..=NAME_MAX_BYTES).contains(&name.len())
        && name.chars().all(plain)
        && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// Reads a type. `uint` and `int` without their bits are aliases that EIP-712 does not know.
fn kind(text: &str) -> Option<Kind> {
    let (base, brackets) = text.split_at_checked(text.find('[').unwrap_or(text.len()))?;
    let mut kind = match atom(base) {
        Some(atom) => Kind::Atom(atom),
        None if identifier(base) && !reserved(base) => Kind::Struct(base.into()),
        None => return None,
    };
    let mut rest = brackets;
    for _ in 0..BRACKETS_MAX {
        let Some((length, after)) = rest.strip_prefix('[').and_then(|r| r.split_once(']')) else { break };
        let length = match length {
            "" => None,
            digits => Some(number(digits)?),
        };
        (kind, rest) = (Kind::List(Box::new(kind), length), after);
    }
    rest.is_empty().then_some(kind)
}

fn atom(text: &str) -> Option<Atom> {
    let bits = |digits: &str| number(digits).filter(|bits| (8..=256).contains(bits) && bits % 8 == 0);
    match text {
        "bool" => Some(Atom::Bool),
        "address" => Some(Atom::Address),
        "string" => Some(Atom::Text),
        "bytes" => Some(Atom::Bytes),
        _ => {
            let uint = || text.strip_prefix("uint").and_then(bits).map(Atom::Uint);
            let int = || text.strip_prefix("int").and_then(bits).map(Atom::Int);
            let fixed = || text.strip_prefix("bytes").and_then(number).filter(|n| *n <= 32).map(Atom::FixedBytes);
            uint().or_else(int).or_else(fixed)
        }
    }
}

/// What looks like an atom and is none: `uint`, `int7`, `bytes33`. A struct of that name would pass for one.
fn reserved(name: &str) -> bool {
    let digits = |rest: &str| rest.bytes().all(|b| b.is_ascii_digit());
    ["uint", "int", "bytes"].iter().any(|atom| name.strip_prefix(atom).is_some_and(digits))
}

/// A number from 1 as one writes it.
fn number(digits: &str) -> Option<usize> {
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    plain.then(|| digits.parse().ok()).flatten()
}
