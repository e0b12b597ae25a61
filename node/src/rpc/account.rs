//! The accounts of an endpoint: keys of the configuration that exist, with their addresses.

use crate::config;
use crate::node::Node;
use tally_domain::{KeyName, PublicKey, Scheme};

/// A key that the endpoint may use.
#[derive(Debug, Clone)]
pub struct Account {
    /// The address with its checksum.
    pub address: String,
    /// What it is in the configuration.
    pub named: config::Account,
}

/// Those that exist and have an address, in the order of the configuration.
pub fn all(node: &Node, named: &[config::Account]) -> Vec<Account> {
    let account = |named: &config::Account| Some(Account { address: address(node, named)?, named: named.clone() });
    named.iter().filter_map(account).collect()
}

fn address(node: &Node, named: &config::Account) -> Option<String> {
    let point = match node.keys.get(&named.key) {
        Some(held) if held.record.scheme == Scheme::EcdsaSecp256k1 => {
            let record = &held.record;
            let point = tally_mpc::derive(record.scheme, &record.public_key, &record.chain_code, &named.path.0);
            point.ok()?.public_key
        }
        Some(_) => return None,
        None => resident(node, &named.key).filter(|_| named.path.0.is_root())?,
    };
    tally_chains::evm_address(&point).ok()
}

fn resident(node: &Node, key: &KeyName) -> Option<Vec<u8>> {
    let held = node.hsm_keys.get(key)?;
    held.record.public_key().and_then(PublicKey::secp256k1_compressed).map(|point| point.to_vec())
}
