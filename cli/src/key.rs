//! `tally key`: creates and shows keys.

mod create;
mod csr;
mod public;
mod show;

use crate::input;
use crate::intents::Kept;
use crate::output::{Shown, Usage};
use crate::profile::ProfileArg;
use create::Create;
use csr::Csr;
use public::Format;
use serde_json::json;
use tally_chains::{BitcoinNetwork, taproot_address};
use tally_client::{Client, KeyBacking};
use tally_domain::{DerivationPath, KeyName, Scheme};

pub use public::jwk;

/// `tally key ...`
#[derive(Debug, clap::Subcommand)]
pub enum Key {
    /// Create a key: by distributed key generation, so that no machine ever has it, or in the HSM of one node.
    Create(Create),
    /// All keys.
    List,
    /// One key.
    Show {
        /// Its name.
        name: KeyName,
    },
    /// The address of a key or of a child of it.
    Address {
        /// The key's name.
        name: KeyName,
        /// The child, such as m/0/7.
        #[arg(long, value_parser = input::path, default_value = "m")]
        path: DerivationPath,
        /// How the chain writes addresses.
        #[arg(long, value_enum, default_value_t = Chain::Evm)]
        chain: Chain,
    },
    /// The public key in a form that other programs read.
    Export {
        /// The key's name.
        name: KeyName,
        /// SubjectPublicKeyInfo as PEM, or a JSON Web Key.
        #[arg(long, value_enum)]
        format: Format,
    },
    /// A certificate signing request (PKCS#10), signed by the key itself: policy decides about it as about any message.
    Csr(Csr),
}

/// Families of chains with one form of address.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum Chain {
    /// EIP-55.
    Evm,
    /// P2TR, as BIP-350 writes it.
    Bitcoin,
    /// The same for testnet and signet.
    BitcoinTestnet,
}

async fn address(client: &Client, name: &KeyName, path: &DerivationPath, chain: Chain) -> anyhow::Result<Shown> {
    let child = client.derive(name, path).await?;
    let (chain, network) = match chain {
        Chain::Evm => ("evm", None),
        Chain::Bitcoin => ("bitcoin", Some(BitcoinNetwork::Main)),
        Chain::BitcoinTestnet => ("bitcoin-testnet", Some(BitcoinNetwork::Test)),
    };
    let address = match network {
        None => child.evm_address.ok_or_else(|| {
            let what =
                "the key has no EVM address: keys of scheme ecdsa-secp256k1 do, in an HSM only those for transactions";
            Usage(what.into())
        })?,
        Some(network) => {
            let key = client.key(name).await?;
            if !matches!(key.backing, KeyBacking::Threshold { scheme: Scheme::Taproot, .. }) {
                let what = "the key has no Bitcoin address: keys of scheme";
                return Err(Usage(format!("{what} {} do", Scheme::Taproot)).into());
            }
            taproot_address(&child.public_key, network)?
        }
    };
    let json = json!({
        "key": name.as_str(), "path": path.to_string(), "chain": chain, "address": address,
        "public_key": hex::encode(child.public_key),
    });
    Ok(Shown::done(address, json))
}

impl Key {
    /// Runs it.
    pub async fn run(self, profile: &ProfileArg) -> anyhow::Result<Shown> {
        let client = profile.client()?;
        match self {
            Self::Create(create) => create.run(&client, &Kept::beside(profile.path()?)).await,
            Self::List => Ok(show::list(&client.keys().await?)),
            Self::Show { name } => {
                let key = client.key(&name).await?;
                let freezes = if key.state == "frozen" { client.freezes().await? } else { Vec::new() };
                Ok(show::one(&key, &freezes))
            }
            Self::Address { name, path, chain } => address(&client, &name, &path, chain).await,
            Self::Export { name, format } => public::export(&client.key(&name).await?, format),
            Self::Csr(csr) => csr.run(&client, &Kept::beside(profile.path()?)).await,
        }
    }
}
