//! The domain: for whom the message is. What it does not name, it is not particular about.

use super::fault::BadTypedData;
use super::hash::{Leaf, leaf};
use super::json::Json;
use super::types::{Atom, Types};
use alloy_primitives::{Address, B256, U256, keccak256};

/// The name of the domain's type.
pub(super) const TYPE_NAME: &str = "EIP712Domain";

/// The members that a domain can have, in their order (definition of domainSeparator).
const MEMBERS: [(&str, Atom, &str); 5] = [
    ("string", Atom::Text, "name"),
    ("string", Atom::Text, "version"),
    ("uint256", Atom::Uint(256), "chainId"),
    ("address", Atom::Address, "verifyingContract"),
    ("bytes32", Atom::FixedBytes(32), "salt"),
];

/// The domain of a document.
pub(super) struct Domain {
    pub(super) name: Option<String>,
    pub(super) version: Option<String>,
    pub(super) chain_id: Option<U256>,
    pub(super) contract: Option<Address>,
    pub(super) salt: Option<Leaf>,
    separator: B256,
}

impl Domain {
    /// Reads it, and refuses it where the document defines its type otherwise: wallets differ in which of the two they take.
    pub(super) fn parse(json: Json, types: &Types) -> Result<Self, BadTypedData> {
        let mut given = json.into_map("domain")?;
        let (mut members, mut words) = (Vec::new(), Vec::new());
        let (mut name, mut version, mut chain_id, mut contract, mut salt) = (None, None, None, None, None);
        for (type_name, atom, member) in MEMBERS {
            let Some(at) = given.iter().position(|(key, _)| key == member) else { continue };
            let (_, value) = given.swap_remove(at);
            let value = leaf(atom, &value, &format!("domain.{member}"))?;
            members.push((type_name, member));
            words.extend(value.word());
            match (member, value) {
                ("name", Leaf::Text(text)) => name = Some(text),
                ("version", Leaf::Text(text)) => version = Some(text),
                ("chainId", Leaf::Uint(id)) => chain_id = Some(id),
                ("verifyingContract", Leaf::Address(address)) => contract = Some(address),
                ("salt", bytes) => salt = Some(bytes),
                _ => {}
            }
        }
        if let Some((unknown, _)) = given.first() {
            return Err(BadTypedData::Unsigned { path: format!("domain.{unknown}") });
        }
        if types.of_domain().is_some_and(|defined| defined != members) {
            return Err(BadTypedData::DomainType);
        }
        let members: Vec<_> = members.iter().map(|(type_name, member)| format!("{type_name} {member}")).collect();
        let type_hash = keccak256(format!("{TYPE_NAME}({})", members.join(",")));
        let separator = keccak256([type_hash.as_slice(), &words].concat());
        Ok(Self { name, version, chain_id, contract, salt, separator })
    }

    /// "The domainSeparator is hashStruct(eip712Domain)".
    pub(super) fn separator(&self) -> B256 {
        self.separator
    }
}
