//! `tally wrap create|rotate|disable|enable|destroy|cancel`

use super::show;
use crate::input;
use crate::intents::Kept;
use crate::output::{Progress, Shown, Usage};
use crate::words::utc;
use std::time::{SystemTime, UNIX_EPOCH};
use tally_client::{Client, KekVersionInfo, Order};
use tally_domain::time::parse_span;
use tally_domain::{KekChange, KekNumber, KeyName, NodeName, RequestId, UnixMillis};

/// `tally wrap create`
#[derive(Debug, clap::Args)]
pub struct Create {
    /// A name that no key has.
    name: KeyName,
    /// The node whose HSM holds the KEK; without it the first that answers.
    #[arg(long, value_name = "NODE")]
    home: Option<NodeName>,
    #[command(flatten)]
    request: Request,
}

/// How a request is named and noted.
#[derive(Debug, clap::Args)]
struct Request {
    /// Names the request: 32 hex digits, as for `tally sign`.
    #[arg(long, value_parser = input::request_id, value_name = "HEX32")]
    request_id: Option<RequestId>,
    /// For people: goes into every log.
    #[arg(long, default_value = "")]
    note: String,
}

/// A change of a KEK as a whole.
#[derive(Debug, clap::Args)]
pub struct OfKek {
    /// The KEK.
    name: KeyName,
    #[command(flatten)]
    request: Request,
}

/// A change of one version.
#[derive(Debug, clap::Args)]
pub struct OfVersion {
    /// The KEK.
    name: KeyName,
    /// Which version.
    #[arg(long, value_name = "N", value_parser = number)]
    version: KekNumber,
    #[command(flatten)]
    request: Request,
}

/// `tally wrap destroy`
#[derive(Debug, clap::Args)]
pub struct Destroy {
    #[command(flatten)]
    of: OfVersion,
    /// How long to wait, in which `tally wrap cancel` still helps: 90s, 15m, 24h, 7d. Nodes take 24h to 30d unless they are
    /// configured otherwise.
    #[arg(long, value_name = "SPAN", value_parser = span, default_value = "7d")]
    after: u32,
    /// Only show what would be destroyed.
    #[arg(long)]
    dry_run: bool,
    /// Do it. What the version has wrapped and nothing else has cannot be opened by anyone afterwards.
    #[arg(long)]
    yes: bool,
}

impl Create {
    /// Runs it.
    pub async fn run(self, client: &Client, kept: &Kept) -> anyhow::Result<Shown> {
        let home = match self.home {
            Some(home) => home,
            None => client.node().await?.node,
        };
        let order = Order::create_kek(self.name.clone(), home).note(&self.request.note);
        let asked = kept.seal(client, order, self.request.request_id)?;
        let progress = Progress::start(&format!("creating {}", self.name), None);
        let created = client.create_kek(&asked.intent).await;
        drop(progress);
        Ok(show::created(&asked.intent, &kept.settle(&asked, created)?))
    }
}

impl OfKek {
    /// Runs it.
    pub async fn run(self, client: &Client, kept: &Kept, change: KekChange) -> anyhow::Result<Shown> {
        changed(client, kept, self.name, self.request, change).await
    }
}

impl OfVersion {
    /// Runs it.
    pub async fn run(
        self,
        client: &Client,
        kept: &Kept,
        change: impl FnOnce(KekNumber) -> KekChange,
    ) -> anyhow::Result<Shown> {
        changed(client, kept, self.name, self.request, change(self.version)).await
    }
}

impl Destroy {
    /// Runs it.
    pub async fn run(self, client: &Client, kept: &Kept) -> anyhow::Result<Shown> {
        let Self { of: OfVersion { name, version, request }, after, dry_run, yes } = self;
        if dry_run {
            let versions = client.kek(&name).await?.versions;
            let found: Option<KekVersionInfo> = versions.into_iter().find(|v| v.number == version);
            let found = found.ok_or_else(|| Usage(format!("{name} has no version {version}")))?;
            if !matches!(found.state.as_str(), "enabled" | "disabled") {
                return Err(Usage(format!("version {version} of {name} is {}", found.state)).into());
            }
            return Ok(show::planned(&name, &found, now().plus(u64::from(after) * 1_000)));
        }
        if !yes {
            let what = format!(
                "what version {version} of {name} has wrapped cannot be opened by anyone after {}; \
                 see it with --dry-run, do it with --yes",
                utc(now().plus(u64::from(after) * 1_000))
            );
            return Err(Usage(what).into());
        }
        changed(client, kept, name, request, KekChange::Destroy(version, after)).await
    }
}

async fn changed(
    client: &Client,
    kept: &Kept,
    name: KeyName,
    request: Request,
    change: KekChange,
) -> anyhow::Result<Shown> {
    let order = Order::change_kek(name.clone(), change).note(&request.note);
    let asked = kept.seal(client, order, request.request_id)?;
    let changed = kept.settle(&asked, client.change_kek(&asked.intent).await)?;
    Ok(show::changed(&name, &asked.intent, &changed))
}

/// Reads a version's number.
pub fn number(text: &str) -> Result<KekNumber, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("versions are numbered from 1".into()),
        Ok(n) => Ok(KekNumber(n)),
    }
}

fn span(text: &str) -> Result<u32, String> {
    parse_span(text).ok_or_else(|| "a span is a number with s, m, h or d, such as 7d".into())
}

fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
