//! `[rpc]`: the JSON-RPC endpoint for EVM libraries.

use anyhow::bail;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;
use tally_domain::{ClientId, DerivationPath, KeyName};

/// Most accounts: each is derived anew when it is asked for.
const ACCOUNTS_MAX: usize = 64;

/// Most chains; more is a mistake.
const CHAINS_MAX: usize = 64;

/// The endpoint that speaks JSON-RPC. It asks as one client, with that client's own key.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rpc {
    /// Address and port to listen on, other than the node's own.
    #[serde(deserialize_with = "super::address::read")]
    pub listen: SocketAddr,
    /// The client of the roster that it asks as. Only this client's certificates may call it.
    pub client: ClientId,
    /// File with that client's intent key, readable by its owner only.
    pub intent_key: PathBuf,
    /// Ids of the chains that it asks signatures for; `eth_chainId` tells the first.
    pub chains: Vec<u64>,
    /// The keys that it may use.
    pub accounts: Vec<Account>,
}

/// A key, or a child of one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// Name of the key.
    pub key: KeyName,
    /// Which child; without it the key itself.
    #[serde(default)]
    pub path: Path,
}

/// A derivation path in a configuration file, such as `m/0/7`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Path(pub DerivationPath);

impl TryFrom<String> for Path {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        DerivationPath::parse(&text).map(Self).map_err(|e| e.to_string())
    }
}

impl Rpc {
    pub(super) fn check(&self, listen: SocketAddr) -> anyhow::Result<()> {
        if self.listen == listen {
            bail!("[rpc] `listen` is the node's own address; give the endpoint a port of its own");
        }
        if self.chains.is_empty() || self.chains.len() > CHAINS_MAX || self.chains.contains(&0) {
            bail!("[rpc] `chains` needs 1 to {CHAINS_MAX} chain ids, none of them 0, such as chains = [1]");
        }
        if self.accounts.is_empty() || self.accounts.len() > ACCOUNTS_MAX {
            bail!("[rpc] `accounts` needs 1 to {ACCOUNTS_MAX} keys, such as accounts = [{{ key = \"hot\" }}]");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(change: &str, to: &str) -> Result<Rpc, String> {
        let text = "listen = \"127.0.0.1:8545\"\nclient = \"wallet-1\"\nintent_key = \"k\"\nchains = [1]\n\
                    accounts = [{ key = \"hot\" }, { key = \"hot\", path = \"m/0/7\" }]\n";
        let rpc: Rpc = toml::from_str(&text.replace(change, to)).map_err(|e| e.to_string())?;
        rpc.check("127.0.0.1:7101".parse().unwrap()).map_err(|e| e.to_string())?;
        Ok(rpc)
    }

    #[test]
    fn an_endpoint_names_its_client_chains_and_keys() {
        let rpc = load("", "").unwrap();
        let paths: Vec<_> = rpc.accounts.iter().map(|a| a.path.0.to_string()).collect();
        assert_eq!((rpc.client.as_str(), &rpc.chains[..]), ("wallet-1", &[1][..]));
        assert_eq!(paths, ["m", "m/0/7"]);
        for (change, to, said) in [
            ("8545", "7101", "`listen`"),
            ("[1]", "[]", "`chains`"),
            ("[1]", "[0]", "`chains`"),
            ("[{ key = \"hot\" }, { key = \"hot\", path = \"m/0/7\" }]", "[]", "`accounts`"),
            ("m/0/7", "m/0'", "hardened"),
            ("intent_key", "intent", "unknown field"),
            ("client = \"wallet-1\"", "", "client"),
        ] {
            let error = load(change, to).unwrap_err();
            assert!(error.contains(said), "{change} {to}: {error}");
        }
    }
}
