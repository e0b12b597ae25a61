//! Typed data (EIP-712): the JSON that wallets are given for `eth_signTypedData_v4`. What is signed is
//! `keccak256(0x19 0x01 || hashStruct(domain) || hashStruct(message))`.
//!
//! Read strictly, so that no wallet could read it otherwise: nothing twice, nothing left out, nothing that is not signed,
//! numbers within their types. Facts and digest come from one walk over the parsed value.

mod domain;
mod fault;
mod hash;
mod json;
mod permits;
mod types;

pub use fault::BadTypedData;

use crate::{ChainError, Decoded, ToSign};
use alloy_primitives::keccak256;
use domain::Domain;
use hash::{Leaf, Walk};
use json::Json;
use tally_domain::Digest;
use tally_domain::facts::{Facts, TypedDataFacts};
use types::Types;

/// Most values of a message: people read them all.
pub const VALUES_MAX: usize = 512;

/// Most bytes of all values with their paths, as people are shown them and logs keep them: as much as a client may send,
/// whatever names a path repeats.
pub const SHOWN_MAX_BYTES: usize = 64 * 1024;

pub(crate) fn decode(chain: &str, content: &[u8]) -> Result<Decoded, ChainError> {
    read(chain, content).map_err(|e| match e {
        ChainError::TypedData(bad) => ChainError::TypedData(bad.shortened()),
        other => other,
    })
}

fn read(chain: &str, content: &[u8]) -> Result<Decoded, ChainError> {
    let data = TypedData::parse(content)?;
    let of_domain = data.domain.chain_id.map_or_else(String::new, |id| format!("eip155:{id}"));
    if of_domain != chain || data.domain.chain_id.is_some_and(|id| id.is_zero()) {
        let chain_id = data.domain.chain_id.map_or_else(|| "none".to_owned(), |id| id.to_string());
        return Err(ChainError::ChainMismatch { chain_id, intent: chain.into() });
    }
    let mut walk = Walk::new(&data.types);
    let message = walk.hash_struct(&data.primary_type, &data.message)?;
    let fields = walk.into_leaves();
    let digest = keccak256([&[0x19, 0x01], data.domain.separator().as_slice(), message.as_slice()].concat());
    let encode_type = data.types.encode_type(&data.primary_type)?;
    let allowances = permits::allowances(&data.domain, &encode_type, &fields);
    let facts = TypedDataFacts {
        chain: of_domain,
        name: data.domain.name.unwrap_or_default(),
        version: data.domain.version.unwrap_or_default(),
        contract: data.domain.contract.map(crate::evm::lower).unwrap_or_default(),
        salt: data.domain.salt.map(|salt| salt.to_string()).unwrap_or_default(),
        primary_type: data.primary_type,
        allowances: allowances.unwrap_or_default(),
        fields: fields.into_iter().map(|(path, leaf)| (path, leaf.to_string())).collect(),
    };
    Ok(Decoded { facts: Facts::TypedData(facts), to_sign: ToSign::Digest(Digest(digest.0)) })
}

/// The document, before its message is walked over.
struct TypedData {
    types: Types,
    primary_type: String,
    domain: Domain,
    message: Json,
}

impl TypedData {
    fn parse(content: &[u8]) -> Result<Self, ChainError> {
        if content.is_empty() {
            return Err(ChainError::Empty);
        }
        let (mut types, mut primary_type, mut domain, mut message) = (None, None, None, None);
        for (key, value) in json::parse(content)?.into_map("")? {
            match key.as_str() {
                "types" => types = Some(value),
                "primaryType" => primary_type = Some(value.into_text("primaryType")?),
                "domain" => domain = Some(value),
                "message" => message = Some(value),
                _ => return Err(BadTypedData::Unsigned { path: key }.into()),
            }
        }
        let missing = |path: &str| BadTypedData::Missing { path: path.into() };
        let types = Types::parse(types.ok_or_else(|| missing("types"))?)?;
        let domain = Domain::parse(domain.ok_or_else(|| missing("domain"))?, &types)?;
        let primary_type = primary_type.ok_or_else(|| missing("primaryType"))?;
        if primary_type == domain::TYPE_NAME {
            return Err(BadTypedData::PrimaryType.into());
        }
        Ok(Self { types, primary_type, domain, message: message.ok_or_else(|| missing("message"))? })
    }
}

/// The values of the message by their paths, in the order of their types.
type Fields = Vec<(String, Leaf)>;
