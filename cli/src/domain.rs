//! `tally domain`: token domains, their keys, and what becomes of them.

use crate::input;
use crate::intents::Kept;
use crate::output::{Progress, Shown, Usage, field};
use crate::profile::ProfileArg;
use crate::words::utc;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};
use tally_client::{Client, DomainInfo, Order};
use tally_domain::time::parse_span;
use tally_domain::token::{Brand, Reuse, TokenDomain};
use tally_domain::{DomainName, KeyName, NodeName, RequestId};
use tally_tokenization::spec::{BadSpec, Keeping, Mode};
use tally_tokenization::{DomainChange, DomainSpec, Format, RotatedKey};

/// Longest wait for a shredding: a million cards take some minutes.
const SHRED_MAX: Duration = Duration::from_secs(3_600);

/// How often it is asked how far a rotation is.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// `tally domain ...`
#[derive(Debug, clap::Subcommand)]
pub enum Domain {
    /// Make a token domain in the HSM of one node. What it is never changes.
    Create(Create),
    /// All domains.
    List,
    /// One domain with its keys and rotations.
    Show {
        /// Its name.
        name: KeyName,
    },
    /// Bring everything under a new key; tokens stay as they are.
    Rotate(Rotate),
    /// Stop a rotation for now.
    Pause(OfKey),
    /// Let a rotation go on.
    Continue(OfKey),
    /// Destroy a version of a key that nothing depends on.
    Retire(Retire),
    /// Give and reveal nothing until it is resumed.
    Suspend(OfDomain),
    /// Give and reveal again.
    Resume(OfDomain),
    /// Destroy all keys of the domain, at once and for good. Asks for --yes.
    Delete(Delete),
}

/// `tally domain create`
#[derive(Debug, clap::Args)]
pub struct Create {
    /// A name that no key has.
    name: DomainName,
    /// The node whose HSM has the keys; without it the first that answers.
    #[arg(long, value_name = "NODE")]
    home: Option<NodeName>,
    /// opaque, uuid, num19, bin6-last4-alnum, bin6-last4-luhn-invalid or bin8-last4-alnum.
    #[arg(long, default_value = "opaque", value_parser = format)]
    format: Format,
    /// What a card that comes again gets: random (a new token), per-domain (the token that it has, whoever's it is: no subject is
    /// kept) or per-subject (the token that it has for the same subject).
    #[arg(long, default_value = "per-domain", value_parser = reuse)]
    reuse: Reuse,
    /// hybrid (data key in the node's locked memory for minutes), strict (all encryption in the HSM) or one-way.
    #[arg(long, default_value = "hybrid", value_parser = ["hybrid", "strict", "one-way"])]
    mode: String,
    /// How often each token may be revealed; needs --reuse random.
    #[arg(long, value_name = "N")]
    uses: Option<NonZeroU32>,
    /// How long a token lives: 15m, 24h, 30d. For ever, if not given.
    #[arg(long, value_name = "SPAN", value_parser = span)]
    life: Option<NonZeroU32>,
    /// Takes cards of this brand only; as often as needed.
    #[arg(long = "brand", value_parser = brand, value_name = "BRAND")]
    brands: Vec<Brand>,
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

/// A change of a domain as a whole.
#[derive(Debug, clap::Args)]
pub struct OfDomain {
    /// The domain.
    name: KeyName,
    #[command(flatten)]
    request: Request,
}

/// A change of a rotation.
#[derive(Debug, clap::Args)]
pub struct OfKey {
    #[command(flatten)]
    of: OfDomain,
    /// kek, data or index.
    #[arg(long, value_parser = rotated)]
    key: RotatedKey,
}

/// `tally domain rotate`
#[derive(Debug, clap::Args)]
pub struct Rotate {
    #[command(flatten)]
    of: OfDomain,
    /// kek, data or index.
    #[arg(long, value_parser = rotated, required_unless_present = "shred", conflicts_with = "shred")]
    key: Option<RotatedKey>,
    /// Rotate all of them, destroy the old ones, and wait for it: what was deleted is then gone from old copies, too.
    #[arg(long)]
    shred: bool,
    /// Wait until it is done.
    #[arg(long)]
    wait: bool,
}

/// `tally domain retire`
#[derive(Debug, clap::Args)]
pub struct Retire {
    #[command(flatten)]
    of: OfDomain,
    /// kek, data or index.
    #[arg(long, value_parser = rotated)]
    key: RotatedKey,
    /// Which version.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    version: u32,
}

/// `tally domain delete`
#[derive(Debug, clap::Args)]
pub struct Delete {
    #[command(flatten)]
    of: OfDomain,
    /// Do it: nobody can open the domain's card numbers afterwards.
    #[arg(long)]
    yes: bool,
}

impl Domain {
    /// Runs it.
    pub async fn run(self, profile: &ProfileArg) -> anyhow::Result<Shown> {
        let (client, kept) = (profile.client()?, Kept::beside(profile.path()?));
        match self {
            Self::Create(create) => create.run(&client, &kept).await,
            Self::List => Ok(list(&everywhere(&client).await?)),
            Self::Show { name } => Ok(shown(&client.domain(&name).await?)),
            Self::Rotate(rotate) => rotate.run(&client, &kept).await,
            Self::Pause(of) => changed(&client, &kept, of.of, DomainChange::Pause(of.key)).await,
            Self::Continue(of) => changed(&client, &kept, of.of, DomainChange::Continue(of.key)).await,
            Self::Retire(of) => changed(&client, &kept, of.of, DomainChange::Retire(of.key, of.version)).await,
            Self::Suspend(of) => changed(&client, &kept, of, DomainChange::Suspend).await,
            Self::Resume(of) => changed(&client, &kept, of, DomainChange::Resume).await,
            Self::Delete(delete) if delete.yes => changed(&client, &kept, delete.of, DomainChange::Delete).await,
            Self::Delete(delete) => {
                let what = format!("all card numbers of {} are gone for good then; do it with --yes", delete.of.name);
                Err(Usage(what).into())
            }
        }
    }
}

impl Create {
    async fn run(self, client: &Client, kept: &Kept) -> anyhow::Result<Shown> {
        let home = match self.home {
            Some(home) => home,
            None => client.node().await?.node,
        };
        let keeping = match (self.mode.as_str(), self.uses) {
            ("one-way", None) => Keeping::OneWay,
            ("one-way", Some(_)) => {
                return Err(Usage("a one-way domain reveals nothing: leave --uses out".into()).into());
            }
            ("strict", uses) => Keeping::Reversible { mode: Mode::Strict, uses },
            (_, uses) => Keeping::Reversible { mode: Mode::Hybrid, uses },
        };
        let spec = DomainSpec {
            domain: TokenDomain { tenant: client.profile().tenant.clone(), name: self.name },
            home,
            format: self.format,
            reuse: self.reuse,
            keeping,
            life_s: self.life,
            brands: self.brands.into_iter().collect::<BTreeSet<_>>(),
        };
        // What cannot be is said before anyone is asked.
        let checked = spec.check().map_err(|bad| Usage(bad.to_string()))?;
        let order = Order::create_domain(checked.spec())?.note(&self.request.note);
        let asked = kept.seal(client, order, self.request.request_id)?;
        let (domain, rule) = kept.settle(&asked, client.create_domain(&asked.intent).await)?;
        let mut text = format!("PERMITTED by rule {rule}\n{}", record(&domain));
        let mut document = to_json(&domain);
        if let Some(too_small) = checked.too_small() {
            let shorter = format!("card numbers of fewer than {} digits: {too_small}", checked.digits_min());
            text.push_str(&format!("\n{}", field("not taken", shorter)));
        }
        if let Value::Object(members) = &mut document {
            members.insert("card_digits_min".into(), checked.digits_min().into());
        }
        with_verdict(&mut document, &rule, &asked.intent.request_id());
        Ok(Shown::done(text, document))
    }
}

impl Rotate {
    async fn run(self, client: &Client, kept: &Kept) -> anyhow::Result<Shown> {
        let name = self.of.name.clone();
        let change = match self.key {
            Some(key) => DomainChange::Rotate(key),
            None => DomainChange::Shred,
        };
        let asked = changed(client, kept, self.of, change).await?;
        if !self.wait && !self.shred {
            return Ok(asked);
        }
        Ok(shown(&settled(client, &name, self.shred).await?))
    }
}

/// Waits until nothing of the domain is on its way any more.
pub async fn settled(client: &Client, name: &KeyName, shred: bool) -> anyhow::Result<DomainInfo> {
    let began = Instant::now();
    let progress = Progress::start(&format!("rotating {name}"), None);
    loop {
        let domain = client.domain(name).await?;
        let moving = domain.rotations.iter().any(|rotation| rotation.state != "finished");
        let left = shred && (domain.doomed_keys > 0 || domain.keys.iter().any(|key| key.state == "previous"));
        if !moving && !left {
            drop(progress);
            return Ok(domain);
        }
        let paused = domain.rotations.iter().any(|rotation| rotation.state == "paused");
        if paused || began.elapsed() > SHRED_MAX {
            let how = if paused { "is paused" } else { "takes longer than an hour" };
            anyhow::bail!("the rotation of {name} {how}; see `tally domain show {name}`");
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

async fn changed(client: &Client, kept: &Kept, of: OfDomain, change: DomainChange) -> anyhow::Result<Shown> {
    let order = Order::change_domain(of.name.clone(), change).note(&of.request.note);
    let asked = kept.seal(client, order, of.request.request_id)?;
    let by = kept.settle(&asked, client.change_domain(&asked.intent).await)?;
    let lines = [
        format!("PERMITTED by rule {}", by.rule),
        field("request", asked.intent.request_id()),
        field("domain", &of.name),
        field("change", change),
    ];
    let mut document = json!({ "domain": of.name.as_str(), "change": change.to_string(), "home": by.home.as_str() });
    with_verdict(&mut document, &by.rule, &asked.intent.request_id());
    Ok(Shown::done(lines.join("\n"), document))
}

/// All domains, each as its home tells it, or as the node that was asked does where the home does not answer.
async fn everywhere(client: &Client) -> anyhow::Result<Vec<DomainInfo>> {
    let mut all = client.domains().await?;
    for domain in all.iter_mut().filter(|domain| domain.format.is_empty()) {
        if let Ok(told) = client.domain(&domain.name).await {
            *domain = told;
        }
    }
    Ok(all)
}

fn shown(domain: &DomainInfo) -> Shown {
    Shown::done(record(domain), to_json(domain))
}

fn list(domains: &[DomainInfo]) -> Shown {
    let line = |d: &DomainInfo| {
        let (name, state, mode) = (d.name.as_str(), &d.state, &d.mode);
        format!("{name:<24} {state:<12} {mode:<8} {:<24} {}", d.format, d.home)
    };
    let lines: Vec<String> = domains.iter().map(line).collect();
    let text = if lines.is_empty() { "no token domains".into() } else { lines.join("\n") };
    Shown::done(text, json!({ "domains": domains.iter().map(to_json).collect::<Vec<_>>() }))
}

fn record(d: &DomainInfo) -> String {
    let mut lines = vec![field("domain", &d.name), field("state", &d.state), field("home", &d.home)];
    if !d.format.is_empty() {
        lines.push(field("tokens", format!("{}, {}, {}", d.format, d.reuse, d.mode)));
    }
    lines.extend(d.uses.map(|uses| field("uses", uses)));
    lines.extend(d.life_s.map(|life| field("life", format!("{life} s"))));
    if !d.brands.is_empty() {
        lines.push(field("brands", d.brands.join(", ")));
    }
    for key in &d.keys {
        let count = if key.key == "index" { String::new() } else { format!(", {} depend on it", key.dependents) };
        let name = format!("{} key {}", key.key, key.version);
        lines.push(field(&name, format!("{}{count}, made {}", key.state, utc(key.made_at))));
    }
    for rotation in &d.rotations {
        let shred = if rotation.shred { ", then shreds" } else { "" };
        let what = format!("to {} key {}, {} done{shred}", rotation.key, rotation.to_version, rotation.done);
        lines.push(field(&format!("{} rotation", rotation.state), what));
    }
    if d.doomed_keys > 0 {
        lines.push(field("to be destroyed", format!("{} keys", d.doomed_keys)));
    }
    lines.join("\n")
}

fn to_json(d: &DomainInfo) -> Value {
    let key = |k: &tally_client::DomainKeyInfo| {
        json!({ "key": k.key, "version": k.version, "state": k.state, "dependents": k.dependents,
                "sealed": k.sealed, "made_at_ms": k.made_at.0 })
    };
    let rotation = |r: &tally_client::RotationInfo| json!({ "key": r.key, "to_version": r.to_version, "state": r.state, "done": r.done, "shred": r.shred });
    json!({
        "domain": d.name.as_str(), "state": d.state, "home": d.home.as_str(), "format": d.format, "reuse": d.reuse,
        "mode": d.mode, "uses": d.uses, "life_s": d.life_s, "brands": d.brands, "doomed_keys": d.doomed_keys,
        "keys": d.keys.iter().map(key).collect::<Vec<_>>(),
        "rotations": d.rotations.iter().map(rotation).collect::<Vec<_>>(),
    })
}

/// Adds what decided and which request it was.
pub fn with_verdict(document: &mut Value, rule: &str, request: &RequestId) {
    if let Value::Object(members) = document {
        members.insert("verdict".into(), "permitted".into());
        members.insert("rule".into(), rule.into());
        members.insert("request_id".into(), request.to_string().into());
    }
}

fn format(word: &str) -> Result<Format, String> {
    Format::parse(word).map_err(|bad| bad.to_string())
}

fn reuse(word: &str) -> Result<Reuse, String> {
    Reuse::parse(word).ok_or_else(|| "random, per-domain or per-subject".into())
}

fn brand(word: &str) -> Result<Brand, String> {
    Brand::parse(word).ok_or_else(|| Brand::ALL.iter().map(|b| b.as_str()).collect::<Vec<_>>().join(", "))
}

fn rotated(word: &str) -> Result<RotatedKey, String> {
    RotatedKey::parse(word).ok_or_else(|| "kek, data or index".into())
}

fn span(text: &str) -> Result<NonZeroU32, String> {
    let seconds = parse_span(text).ok_or("a span is a number with s, m, h or d, such as 30d")?;
    NonZeroU32::new(seconds).ok_or_else(|| format!("{}; leave it out for tokens that live for ever", BadSpec::Life))
}
