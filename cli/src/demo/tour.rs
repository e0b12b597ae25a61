//! The steps of the tour and what they share.

use super::collector::Collector;
use super::{approve, children, freeze, jwt, limit, logs, outage, policy, search, sign, token, wrap};
use crate::dev::cluster::Cluster;
use crate::dev::init::{Init, SIGNERS, WITNESSES};
use crate::{foreign, profile};
use anyhow::{Context as _, bail, ensure};
use std::path::PathBuf;
use std::time::Instant;
use tally_client::{Client, KeyBacking, KeyInfo, Order, SealedIntent, Signed};
use tally_domain::{DerivationPath, KeyName, KeySpec, Purpose, Scheme, Threshold};

/// What a step has to tell, line by line; an error is an expectation that did not hold.
pub type Told = anyhow::Result<Vec<String>>;

/// One step.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    Start,
    Keys,
    Transfers,
    Message,
    Children,
    Jwt,
    Wrap,
    Card,
    TooMuch,
    Unknown,
    Again,
    Approve,
    Limit,
    Freeze,
    Policy,
    OneDown,
    TwoDown,
    TokenLost,
    Restart,
    Logs,
    Search,
}

impl Step {
    /// In order; each builds on those before.
    pub const ALL: &[Self] = &[
        Self::Start,
        Self::Keys,
        Self::Transfers,
        Self::Message,
        Self::Children,
        Self::Jwt,
        Self::Wrap,
        Self::Card,
        Self::TooMuch,
        Self::Unknown,
        Self::Again,
        Self::Approve,
        Self::Limit,
        Self::Freeze,
        Self::Policy,
        Self::OneDown,
        Self::TwoDown,
        Self::TokenLost,
        Self::Restart,
        Self::Logs,
        Self::Search,
    ];

    /// What it shows.
    pub fn title(self) -> &'static str {
        match self {
            Self::Start => "three signers and two witnesses start, each with its own token, database and log",
            Self::Keys => "two keys are made by all signers; no machine ever has one",
            Self::Transfers => "transfers that policy permits are signed",
            Self::Message => "a message is signed with Ed25519",
            Self::Children => {
                "children of an Ed25519 key and of one for Taproot sign; others compute the same children"
            }
            Self::Jwt => "a key in one node's HSM signs a JWT that a stock JOSE library verifies",
            Self::Wrap => "a data key is wrapped in an HSM, wrapped anew after a rotation, and opened again",
            Self::Card => {
                "a card is tokenized, found, shown for a purpose only, carried to another key, shredded, and in no file"
            }
            Self::TooMuch => "the same transfer of 5000 is denied",
            Self::Unknown => "a contract call that nobody understands is denied",
            Self::Again => "the same request gives the same bytes, at any node; its id names nothing else",
            Self::Approve => "a large transfer waits until two persons have approved it; another is rejected, finally",
            Self::Limit => "a storm of small transfers through three leaders at once hits a limit exactly",
            Self::Freeze => "one node freezes a key for all of them; a majority lifts that, and it signs again",
            Self::Policy => "a policy that tightens bites at once; one that loosens waits, and one node vetoes it",
            Self::OneDown => "with one node stopped the others still sign",
            Self::TwoDown => "with two nodes stopped nothing is signed, and nothing is half done",
            Self::TokenLost => "a node loses its token, goes on with the shares it has opened, and gets the token back",
            Self::Restart => "after a restart the same keys sign from their sealed shares",
            Self::Logs => "the logs are exported and verified offline; one flipped byte is found",
            Self::Search => "the card number of before is in no database, log, trace or metric",
        }
    }
}

/// A transfer that was signed, to be asked for again.
pub struct Done {
    pub intent: SealedIntent,
    pub signed: Signed,
}

/// What the steps share.
pub struct Tour {
    pub dir: PathBuf,
    tallyd: Option<PathBuf>,
    running: Option<(Cluster, Client)>,
    collector: Option<Collector>,
    hot: Option<KeyInfo>,
    pub transfer: Option<Done>,
}

impl Tour {
    /// A tour whose cluster will be in `dir`.
    pub fn new(dir: PathBuf, tallyd: Option<PathBuf>) -> Self {
        Self { dir, tallyd, running: None, collector: None, hot: None, transfer: None }
    }

    /// Takes one step.
    pub async fn take(&mut self, step: Step) -> Told {
        match step {
            Step::Start => self.start().await,
            Step::Keys => self.keys().await,
            Step::Transfers => sign::transfers(self).await,
            Step::Message => sign::message(self).await,
            Step::Children => children::signed(self).await,
            Step::Jwt => jwt::signed(self).await,
            Step::Wrap => wrap::opened(self).await,
            Step::Card => token::kept(self).await,
            Step::TooMuch => sign::too_much(self).await,
            Step::Unknown => sign::unknown(self).await,
            Step::Again => sign::again(self).await,
            Step::Approve => approve::approved(self).await,
            Step::Limit => limit::reached(self).await,
            Step::Freeze => freeze::frozen(self).await,
            Step::Policy => policy::changed(self).await,
            Step::OneDown => outage::one_down(self).await,
            Step::TwoDown => outage::two_down(self).await,
            Step::TokenLost => outage::token_lost(self).await,
            Step::Restart => outage::restart(self).await,
            Step::Logs => logs::verified(self).await,
            Step::Search => search::everything(self).await,
        }
    }

    /// Leaves the nodes running; gives what `hints` says about them.
    pub fn keep_running(self, hints: impl FnOnce(&Client) -> String) -> anyhow::Result<String> {
        let (cluster, client) = self.running.context("no node runs")?;
        cluster.release();
        Ok(hints(&client))
    }

    /// The client.
    pub fn client(&self) -> anyhow::Result<&Client> {
        Ok(&self.running.as_ref().context("no node runs")?.1)
    }

    /// The nodes and the client.
    pub fn cluster(&mut self) -> anyhow::Result<(&mut Cluster, &Client)> {
        let (cluster, client) = self.running.as_mut().context("no node runs")?;
        Ok((cluster, client))
    }

    /// What takes the nodes' traces.
    pub fn collector(&self) -> anyhow::Result<&Collector> {
        self.collector.as_ref().context("nobody takes traces")
    }

    /// The key `hot`.
    pub fn hot(&self) -> anyhow::Result<&KeyInfo> {
        self.hot.as_ref().context("there is no key `hot`")
    }

    async fn start(&mut self) -> Told {
        let init = Init {
            dir: self.dir.clone(),
            nodes: SIGNERS,
            witnesses: WITNESSES,
            base_port: 0,
            tallyd: self.tallyd.clone(),
        };
        let addresses = init.make()?;
        let collector = Collector::start().await?;
        search::watch(&self.dir, &collector)?;
        self.collector = Some(collector);
        let mut cluster = Cluster::open(&self.dir, self.tallyd.as_deref())?;
        let client = profile::client(&self.dir.join(profile::DEFAULT))?;
        cluster.start_all()?;
        cluster.ready(&client).await?;
        self.running = Some((cluster, client));
        Ok(vec![addresses.join(", ")])
    }

    async fn keys(&mut self) -> Told {
        let client = self.client()?;
        let (hot, hot_line) = create(client, "hot", Scheme::EcdsaSecp256k1, Purpose::Transaction).await?;
        let (_, fast_line) = create(client, "fast", Scheme::Ed25519, Purpose::Message).await?;
        let child_line = child_agrees(client, &hot).await?;
        self.hot = Some(hot);
        Ok(vec![hot_line, fast_line, child_line])
    }
}

pub async fn create(
    client: &Client,
    name: &str,
    scheme: Scheme,
    purpose: Purpose,
) -> anyhow::Result<(KeyInfo, String)> {
    let began = Instant::now();
    let spec = KeySpec { scheme, threshold: Threshold::new(2, 3)?, purpose };
    let intent = client.seal(Order::create_key(KeyName::parse(name)?, spec).note("demo"))?;
    let created = client.create_key(&intent).await?;
    let key = created.key;
    let KeyBacking::Threshold { scheme: made, threshold, .. } = &key.backing else {
        bail!("no threshold key was made")
    };
    ensure!(*made == scheme && key.purpose == purpose && *threshold == spec.threshold, "another key was made");
    ensure!(key.state == "active", "the key is {} and not active", key.state);
    let public = key.evm_address.clone().unwrap_or_else(|| hex::encode(&key.public_key));
    let seconds = began.elapsed().as_secs_f64();
    let line = format!("{name}: {scheme} 2 of 3 by rule {}, {public}, in {seconds:.2} s", created.rule);
    Ok((key, line))
}

/// The child that a node derives is the child that the `bip32` crate derives from the extended public key alone.
async fn child_agrees(client: &Client, hot: &KeyInfo) -> anyhow::Result<String> {
    let path = DerivationPath::parse("m/0/7")?;
    let child = client.derive(&hot.name, &path).await?;
    let xpub = hot.xpub().context("the key has no extended public key")?;
    let expected = foreign::bip32_child(xpub, path.steps())?;
    ensure!(child.public_key == expected, "the bip32 crate derives another key at {path}");
    let address = child.evm_address.context("the child has no address")?;
    ensure!(address == tally_chains::evm_address(&expected)?, "the address at {path} is another key's");
    Ok(format!("hot {path}: {address}, which the bip32 crate derives from {xpub} too"))
}
