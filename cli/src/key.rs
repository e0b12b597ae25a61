//! `tally key`: creates and shows keys.

use crate::input;
use crate::intents::Kept;
use crate::output::{Progress, Shown, Usage, field};
use crate::profile::ProfileArg;
use serde_json::{Value, json};
use tally_client::{Client, KeyInfo, Order};
use tally_domain::{DerivationPath, KeyName, KeySpec, Purpose, RequestId, Scheme, Threshold};

/// `tally key ...`
#[derive(Debug, clap::Subcommand)]
pub enum Key {
    /// Create a key by distributed key generation: no machine ever has it.
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
}

/// Families of chains with one form of address.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum Chain {
    /// EIP-55.
    Evm,
}

/// `tally key create`
#[derive(Debug, clap::Args)]
pub struct Create {
    /// A name that no key has.
    name: KeyName,
    /// ecdsa-secp256k1 or ed25519.
    #[arg(long, value_parser = |s: &str| Scheme::parse(s))]
    scheme: Scheme,
    /// How many nodes sign.
    #[arg(long, value_name = "T")]
    threshold: u32,
    /// How many nodes hold shares. All signer nodes of the roster do, so that only their number is taken. Without it, all
    /// nodes of the cluster; give it where some are witnesses, which vote and hold no share.
    #[arg(long, value_name = "N")]
    of: Option<u32>,
    /// transaction or message; without it transaction for ecdsa-secp256k1, message for ed25519.
    #[arg(long, value_parser = |s: &str| Purpose::parse(s))]
    purpose: Option<Purpose>,
    /// Names the request: 32 hex digits. The same id sends the very same signed bytes again while this profile's intents/
    /// directory keeps them, until a day after they expire; with other content it is refused. Without it, a fresh one.
    #[arg(long, value_parser = input::request_id, value_name = "HEX32")]
    request_id: Option<RequestId>,
    /// For people: goes into every log.
    #[arg(long, default_value = "")]
    note: String,
}

impl Key {
    /// Runs it.
    pub async fn run(self, profile: &ProfileArg) -> anyhow::Result<Shown> {
        let client = profile.client()?;
        match self {
            Self::Create(create) => create.run(&client, &Kept::beside(profile.path()?)).await,
            Self::List => Ok(list(&client.keys().await?)),
            Self::Show { name } => {
                let key = client.key(&name).await?;
                Ok(Shown::done(record(&key), to_json(&key)))
            }
            Self::Address { name, path, chain: Chain::Evm } => {
                let child = client.derive(&name, &path).await?;
                let what = "the key has no EVM address: its scheme is not ecdsa-secp256k1";
                let address = child.evm_address.ok_or_else(|| Usage(what.into()))?;
                let json = json!({
                    "key": name.as_str(), "path": path.to_string(), "chain": "evm", "address": address,
                    "public_key": hex::encode(child.public_key),
                });
                Ok(Shown::done(address, json))
            }
        }
    }
}

impl Create {
    async fn run(self, client: &Client, kept: &Kept) -> anyhow::Result<Shown> {
        let n = match self.of {
            Some(n) => n,
            None => u32::try_from(client.node().await?.peers.len())?.saturating_add(1),
        };
        let threshold = Threshold::new(self.threshold, n).map_err(|e| Usage(e.to_string()))?;
        let purpose = self.purpose.unwrap_or(usual_purpose(self.scheme));
        let spec = KeySpec { scheme: self.scheme, threshold, purpose };
        let order = Order::create_key(self.name.clone(), spec).note(&self.note);
        let asked = kept.seal(client, order, self.request_id)?;
        let progress = Progress::start(&format!("creating {}", self.name), None);
        let created = client.create_key(&asked.intent).await;
        drop(progress);
        let created = kept.settle(&asked, created)?;
        let text = format!("PERMITTED by rule {}\n{}", created.rule, record(&created.key));
        let mut document = to_json(&created.key);
        if let Value::Object(members) = &mut document {
            members.insert("verdict".into(), "permitted".into());
            members.insert("rule".into(), created.rule.into());
            members.insert("request_id".into(), asked.intent.request_id().to_string().into());
        }
        Ok(Shown::done(text, document))
    }
}

/// What keys of a scheme are mostly for.
fn usual_purpose(scheme: Scheme) -> Purpose {
    match scheme {
        Scheme::EcdsaSecp256k1 => Purpose::Transaction,
        Scheme::Ed25519 => Purpose::Message,
    }
}

fn list(keys: &[KeyInfo]) -> Shown {
    let line = |k: &KeyInfo| {
        let shape = format!("{} of {}", k.threshold.t(), k.threshold.n());
        let public = k.evm_address.clone().unwrap_or_else(|| hex::encode(&k.public_key));
        format!(
            "{:<16} {:<16} {shape:<8} {:<12} {:<8} {public}",
            k.name,
            k.scheme.as_str(),
            k.purpose.as_str(),
            k.state
        )
    };
    let lines: Vec<_> = keys.iter().map(line).collect();
    let text = if lines.is_empty() { "no keys".into() } else { lines.join("\n") };
    Shown::done(text, json!({ "keys": keys.iter().map(to_json).collect::<Vec<_>>() }))
}

fn record(k: &KeyInfo) -> String {
    let participants: Vec<_> = k.participants.iter().map(ToString::to_string).collect();
    let mut lines = vec![
        format!("key {}", k.name),
        field("scheme", k.scheme),
        field("threshold", format!("{} of {}", k.threshold.t(), k.threshold.n())),
        field("purpose", k.purpose),
        field("state", &k.state),
        field("epoch", k.epoch.0),
        field("participants", participants.join(", ")),
        field("public key", hex::encode(&k.public_key)),
    ];
    lines.extend(k.xpub.as_ref().map(|xpub| field("xpub", xpub)));
    lines.extend(k.evm_address.as_ref().map(|address| field("address", address)));
    lines.join("\n")
}

fn to_json(k: &KeyInfo) -> Value {
    json!({
        "name": k.name.as_str(), "scheme": k.scheme.as_str(), "purpose": k.purpose.as_str(), "state": k.state,
        "t": k.threshold.t(), "n": k.threshold.n(), "epoch": k.epoch.0,
        "participants": k.participants.iter().map(|p| p.as_str()).collect::<Vec<_>>(),
        "public_key": hex::encode(&k.public_key), "xpub": k.xpub, "evm_address": k.evm_address,
    })
}
