//! `tally key create`

use super::show::{record, to_json};
use crate::input;
use crate::intents::Kept;
use crate::output::{Progress, Shown, Usage};
use serde_json::Value;
use tally_client::{Client, NodeInfo, Order};
use tally_domain::roster::NodeRole;
use tally_domain::{Backing, HsmKeySpec, HsmScheme, KeyName, KeySpec, NodeName, Purpose, RequestId, Scheme, Threshold};

/// `tally key create`
#[derive(Debug, clap::Args)]
pub struct Create {
    /// A name that no key has.
    name: KeyName,
    /// Where the key lives: threshold (in shares at all nodes) or hsm (in the HSM of one).
    #[arg(long, value_parser = |s: &str| Backing::parse(s), default_value = "threshold")]
    backing: Backing,
    /// ecdsa-secp256k1, ed25519 or schnorr-secp256k1-taproot; with --backing hsm ecdsa-p256, ecdsa-secp256k1, ed25519 or
    /// rsa-3072.
    #[arg(long)]
    scheme: String,
    /// How many nodes sign; not for a key in an HSM.
    #[arg(long, value_name = "T")]
    threshold: Option<u32>,
    /// How many nodes hold shares. All signer nodes of the roster do, so that only their number is taken. Without it, so
    /// many; witnesses vote and hold no share.
    #[arg(long, value_name = "N")]
    of: Option<u32>,
    /// The node whose HSM holds the key; without it the first that answers. Only with --backing hsm.
    #[arg(long, value_name = "NODE")]
    home: Option<NodeName>,
    /// transaction, message, or for a key in an HSM or of scheme schnorr-secp256k1-taproot raw. Without it transaction for a
    /// threshold key of scheme ecdsa-secp256k1, message for any other.
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

impl Create {
    /// Runs it.
    pub async fn run(self, client: &Client, kept: &Kept) -> anyhow::Result<Shown> {
        let order = match self.backing {
            Backing::Threshold => self.threshold_order(client).await?,
            Backing::Hsm => self.hsm_order(client).await?,
        };
        let asked = kept.seal(client, order.note(&self.note), self.request_id)?;
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

    async fn threshold_order(&self, client: &Client) -> anyhow::Result<Order> {
        let scheme = Scheme::parse(&self.scheme).map_err(|e| Usage(e.to_string()))?;
        let Some(t) = self.threshold else {
            return Err(Usage("a threshold key needs --threshold, the number of nodes that sign".into()).into());
        };
        if self.home.is_some() || self.purpose == Some(Purpose::Wrap) {
            return Err(Usage("--home and the purpose wrap are for keys in an HSM: add --backing hsm".into()).into());
        }
        if self.purpose == Some(Purpose::Raw) && scheme != Scheme::Taproot {
            let what = "the purpose raw is for keys in an HSM, and of threshold keys for those of scheme";
            return Err(Usage(format!("{what} {}: add --backing hsm", Scheme::Taproot)).into());
        }
        let n = match self.of {
            Some(n) => n,
            None => signers(&client.node().await?)?,
        };
        let threshold = Threshold::new(t, n).map_err(|e| Usage(e.to_string()))?;
        let purpose = self.purpose.unwrap_or(usual_purpose(scheme));
        Ok(Order::create_key(self.name.clone(), KeySpec { scheme, threshold, purpose }))
    }

    async fn hsm_order(&self, client: &Client) -> anyhow::Result<Order> {
        let scheme = HsmScheme::parse(&self.scheme).map_err(|e| Usage(e.to_string()))?;
        if self.purpose == Some(Purpose::Wrap) {
            return Err(
                Usage("a key that wraps others has no scheme to choose: `tally wrap create NAME`".into()).into()
            );
        }
        if self.threshold.is_some() || self.of.is_some() {
            return Err(Usage("a key in an HSM has no shares: leave out --threshold and --of".into()).into());
        }
        let home = match &self.home {
            Some(home) => home.clone(),
            None => client.node().await?.node,
        };
        let purpose = self.purpose.unwrap_or(Purpose::Message);
        Ok(Order::create_hsm_key(self.name.clone(), &HsmKeySpec { scheme, purpose, home }))
    }
}

/// What threshold keys of a scheme are mostly for.
fn signers(node: &NodeInfo) -> anyhow::Result<u32> {
    let roles = node.peers.iter().map(|peer| peer.role).chain([node.role]);
    Ok(u32::try_from(roles.filter(|role| *role == NodeRole::Signer).count())?)
}

fn usual_purpose(scheme: Scheme) -> Purpose {
    match scheme {
        Scheme::EcdsaSecp256k1 => Purpose::Transaction,
        Scheme::Ed25519 | Scheme::Taproot => Purpose::Message,
    }
}
