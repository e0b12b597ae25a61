//! `tally approve`, `tally reject` and `tally approvals`: what persons sign. Shown is what every node decodes by itself; if
//! two differ, or too few answer, nothing is signed.

mod agree;
mod person;
mod show;

pub use show::{Approvals, pending_lines, said_json, said_lines, to_json};

use crate::input;
use crate::output::{Shown, Usage, field};
use agree::{Agreed, agreed};
use anyhow::{Context as _, bail};
use person::Person;
use serde_json::json;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use tally_client::{Client, ClientError, PendingInfo, SaidInfo, signing_key};
use tally_domain::approval::Verdict;
use tally_domain::dsse::{Envelope, SigningKey};
use tally_domain::{Approval, PersonName, RequestId};

/// `tally approve ID --key FILE`
#[derive(Debug, clap::Args)]
pub struct Approve {
    #[command(flatten)]
    asked: Asked,
}

/// `tally reject ID --key FILE`
#[derive(Debug, clap::Args)]
pub struct Reject {
    #[command(flatten)]
    asked: Asked,
}

#[derive(Debug, clap::Args)]
struct Asked {
    /// 32 hex digits.
    #[arg(value_parser = input::request_id)]
    id: RequestId,
    /// The person's key: one line, `ed25519:` and 64 hex digits, in a file of mode 0400.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Sign what is shown without asking once more.
    #[arg(long)]
    yes: bool,
}

impl Approve {
    /// Runs it.
    pub async fn run(self, client: &Client) -> anyhow::Result<Shown> {
        self.asked.run(client, Verdict::Approve).await
    }
}

impl Reject {
    /// Runs it.
    pub async fn run(self, client: &Client) -> anyhow::Result<Shown> {
        self.asked.run(client, Verdict::Reject).await
    }
}

impl Asked {
    async fn run(self, client: &Client, verdict: Verdict) -> anyhow::Result<Shown> {
        let key = signing_key(&self.key).map_err(ClientError::from)?;
        if !self.yes && !std::io::stdin().is_terminal() {
            return Err(Usage("without a terminal, look with `tally request show` first and give --yes".into()).into());
        }
        let agreed = agreed(client, self.id).await?;
        let person = match person::of(&agreed, &key.verifying_key(), verdict)? {
            Person::Asked(person) => person,
            Person::Heard(before) => return Ok(heard(&agreed, &before)),
        };
        if !self.yes {
            confirm(&agreed, verdict)?;
        }
        let taken = sign(client, &agreed, &person, &key, verdict).await?;
        Ok(shown(&agreed, &person, verdict, &taken))
    }
}

/// Approves or rejects what the nodes agree on, without asking once more; gives what that is.
pub async fn decide(client: &Client, id: RequestId, key: &Path, verdict: Verdict) -> anyhow::Result<Agreed> {
    let key = signing_key(key).map_err(ClientError::from)?;
    let agreed = agreed(client, id).await?;
    if let Person::Asked(person) = person::of(&agreed, &key.verifying_key(), verdict)? {
        sign(client, &agreed, &person, &key, verdict).await?;
    }
    Ok(agreed)
}

async fn sign(
    client: &Client,
    agreed: &Agreed,
    person: &PersonName,
    key: &SigningKey,
    verdict: Verdict,
) -> anyhow::Result<Taken> {
    let envelope = statement(client, &agreed.shown, person.clone(), verdict).sign(key);
    submit(client, &envelope).await
}

/// The same statement each time, so that the same command again changes nothing.
fn statement(client: &Client, shown: &PendingInfo, person: PersonName, verdict: Verdict) -> Approval {
    Approval {
        cluster: client.profile().cluster.clone(),
        tenant: shown.tenant.clone(),
        request_id: shown.request_id,
        intent_digest: shown.intent_digest,
        summary_digest: shown.summary_digest,
        bundle: shown.bundle,
        verdict,
        person,
        expires_at: shown.expires_at,
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Approve => "approve",
        Verdict::Reject => "reject",
    }
}

fn confirm(agreed: &Agreed, verdict: Verdict) -> anyhow::Result<()> {
    let mut err = std::io::stderr().lock();
    let word = word(verdict);
    let lines = agreed.lines().join("\n");
    write!(err, "{lines}\nTo {word} exactly this, type `{word}`: ").context("cannot ask")?;
    err.flush().context("cannot ask")?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("cannot read the answer")?;
    if answer.trim() == word { Ok(()) } else { bail!("nothing is signed") }
}

/// What became of the statement at each endpoint.
struct Taken {
    last: PendingInfo,
    by: Vec<String>,
    not_by: Vec<(String, ClientError)>,
}

/// Brings it to every endpoint: each tells the others, but one that is asked directly needs nobody.
async fn submit(client: &Client, envelope: &Envelope) -> anyhow::Result<Taken> {
    let (mut last, mut by, mut not_by) = (None, Vec::new(), Vec::new());
    for (index, endpoint) in client.endpoints().enumerate() {
        let Some(one) = client.only(index) else { continue };
        match one.once().submit_approval(envelope).await {
            Ok(pending) => {
                by.push(endpoint.to_owned());
                last = Some(pending);
            }
            // Enough have approved by now, and it is signed.
            Err(e) if last.is_some() && e.refused().is_some_and(|r| r.reason == tally_domain::Reason::NotWaiting) => {
                by.push(endpoint.to_owned());
            }
            Err(error) => not_by.push((endpoint.to_owned(), error)),
        }
    }
    match last {
        Some(last) => Ok(Taken { last, by, not_by }),
        None => Err(not_by.into_iter().next().map_or_else(|| anyhow::anyhow!("no endpoint"), |(_, e)| e.into())),
    }
}

fn shown(agreed: &Agreed, person: &PersonName, verdict: Verdict, taken: &Taken) -> Shown {
    let head = match verdict {
        Verdict::Approve => format!("APPROVED by {person}"),
        Verdict::Reject => format!("REJECTED by {person}, finally"),
    };
    let mut lines = vec![head];
    lines.extend(agreed.lines());
    lines.push(field("taken by", taken.by.join(", ")));
    lines.extend(taken.not_by.iter().map(|(endpoint, why)| field("not yet by", format!("{endpoint}: {why}"))));
    lines.push(field("state", &taken.last.state));
    lines.extend(show::missing_lines(&taken.last));
    let not_by: Vec<_> = taken.not_by.iter().map(|(e, why)| json!({ "endpoint": e, "why": why.to_string() })).collect();
    let document = json!({
        "verdict": person::word(verdict), "person": person.as_str(), "taken_by": taken.by, "not_taken_by": not_by,
        "request": to_json(&PendingInfo { summary: agreed.shown.summary.clone(), ..taken.last.clone() }),
    });
    Shown::done(lines.join("\n"), document)
}

/// What the person has said before, with this key: to say it again would change nothing.
fn heard(agreed: &Agreed, before: &SaidInfo) -> Shown {
    let SaidInfo { person, verdict, at, .. } = before;
    let mut lines = vec![format!("ALREADY {} by {person} at {at}; nothing changes", verdict.to_uppercase())];
    lines.extend(agreed.lines());
    lines.push(field("state", &agreed.shown.state));
    lines.extend(show::missing_lines(&agreed.shown));
    let document = json!({
        "verdict": verdict, "person": person.as_str(), "already_at": at.to_string(), "taken_by": [], "not_taken_by": [],
        "request": to_json(&agreed.shown),
    });
    Shown::done(lines.join("\n"), document)
}
