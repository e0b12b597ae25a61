//! `tally freeze` and `tally unfreeze`.

use crate::input;
use crate::intents::Kept;
use crate::output::{Progress, Shown, field};
use crate::profile::ProfileArg;
use crate::words::utc;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use tally_client::{Client, ClientError, Code, FreezeInfo, Order, Refused, Told, Unfrozen};
use tally_domain::freeze::LIFTS_MAX;
use tally_domain::{FreezeName, KeyName, NodeName, Reason, RequestId, Scope};

/// `tally freeze [--key K]`
#[derive(Debug, clap::Args)]
pub struct Freeze {
    /// Only this key; without it everything.
    #[arg(long, value_name = "KEY")]
    key: Option<KeyName>,
    /// For people: goes into the logs.
    #[arg(long, default_value = "")]
    note: String,
    /// Names the request: 32 hex digits. The same id sends the very same signed bytes again while this profile's intents/
    /// directory keeps them. Without it, a fresh one.
    #[arg(long, value_parser = input::request_id, value_name = "HEX32")]
    request_id: Option<RequestId>,
}

/// `tally unfreeze [--key K] [--dry-run]`
#[derive(Debug, clap::Args)]
pub struct Unfreeze {
    /// What is frozen: only this key; without it everything. Lifts all freezes of just that, and no others.
    #[arg(long, value_name = "KEY")]
    key: Option<KeyName>,
    /// Show which freezes would be lifted, and ask for nothing.
    #[arg(long)]
    dry_run: bool,
    /// For people: goes into the logs.
    #[arg(long, default_value = "")]
    note: String,
}

/// A freeze in one line: what, by whom, since when.
pub fn line(f: &FreezeInfo) -> String {
    format!("{} by {} since {} (freeze {})", f.scope, f.name.by, utc(f.time), f.name.id)
}

/// A freeze for scripts.
pub fn to_json(f: &FreezeInfo) -> Value {
    json!({
        "scope": f.scope.as_str(), "key": f.scope.key().map(KeyName::as_str), "node": f.name.by.as_str(),
        "id": f.name.id.to_string(), "since": utc(f.time), "since_ms": f.time.0,
        "intent_digest": f.intent_digest.to_string(),
    })
}

fn scope(key: Option<KeyName>) -> Scope {
    key.map_or(Scope::All, Scope::Key)
}

/// The option that names a scope on the command line.
fn option(scope: &Scope) -> String {
    scope.key().map(|key| format!(" --key {key}")).unwrap_or_default()
}

impl Freeze {
    /// Runs it.
    pub async fn run(self, profile: &ProfileArg) -> anyhow::Result<Shown> {
        let (client, kept) = (profile.client()?, Kept::beside(profile.path()?));
        let scope = scope(self.key);
        let asked = kept.seal(&client, Order::freeze(&scope)?.note(&self.note), self.request_id)?;
        let progress = Progress::start(&format!("freezing {scope}"), None);
        let frozen = client.freeze(&asked.intent).await;
        drop(progress);
        let frozen = kept.settle(&asked, frozen)?;
        let by = &frozen.freeze.name.by;
        let mut lines = vec![
            match &frozen.rule {
                Some(rule) => format!("FROZEN {scope} by {by}, permitted by rule {rule}"),
                None => format!("FROZEN {scope} by {by} before, by this very request"),
            },
            field("request", asked.intent.request_id()),
            field("freeze", frozen.freeze.name.id),
            field("since", utc(frozen.freeze.time)),
        ];
        lines.extend(told_lines(&frozen.told));
        lines.push(field("lift it", format!("tally unfreeze{}", option(&scope))));
        let mut document = to_json(&frozen.freeze);
        if let Value::Object(members) = &mut document {
            members.insert("verdict".into(), "frozen".into());
            members.insert("rule".into(), frozen.rule.into());
            members.insert("request_id".into(), asked.intent.request_id().to_string().into());
            members.insert("acknowledged".into(), names(&frozen.told.acknowledged));
            members.insert("waiting".into(), names(&frozen.told.waiting));
        }
        Ok(Shown::done(lines.join("\n"), document))
    }
}

impl Unfreeze {
    /// Runs it.
    pub async fn run(self, profile: &ProfileArg) -> anyhow::Result<Shown> {
        let client = profile.client()?;
        let scope = scope(self.key);
        let (mut lifts, others): (Vec<_>, Vec<_>) =
            in_force(&client).await?.into_iter().partition(|f| f.scope == scope);
        lifts.sort_by_key(|f| f.time);
        let shown: Vec<_> = lifts.iter().map(to_json).collect();
        let stay = staying(&scope, &others);
        if lifts.is_empty() && !self.dry_run {
            let endpoint = client.endpoints().next().unwrap_or_default();
            return Err(nothing_to_lift(endpoint, &scope, &stay).into());
        }
        let stay = stay.iter().map(|stays| field("stays frozen", stays));
        if self.dry_run {
            let head = if lifts.is_empty() { format!("no freeze of {scope} is in force") } else { "would lift".into() };
            let lines = std::iter::once(head).chain(lifts.iter().map(|f| field("freeze", line(f)))).chain(stay);
            let document = json!({ "verdict": "nothing lifted", "freezes": shown });
            return Ok(Shown::done(lines.collect::<Vec<_>>().join("\n"), document));
        }
        let kept = Kept::beside(profile.path()?);
        let mut lines = Vec::new();
        let mut requests = Vec::new();
        for some in lifts.chunks(LIFTS_MAX) {
            let which = some.iter().map(|f| f.name.clone()).collect::<BTreeSet<FreezeName>>();
            let asked = kept.seal(&client, Order::unfreeze(&scope, which)?.note(&self.note), None)?;
            let progress = Progress::start(&format!("unfreezing {scope}"), None);
            let lifted = client.unfreeze(&asked.intent).await;
            drop(progress);
            let lifted = kept.settle(&asked, lifted)?;
            let id = asked.intent.request_id();
            lines.extend(lifted_lines(&scope, id, some, &lifted));
            requests.push(json!({
                "request_id": id.to_string(), "rule": lifted.rule, "signers": lifted.signers,
                "acknowledged": names(&lifted.told.acknowledged), "waiting": names(&lifted.told.waiting),
            }));
        }
        lines.extend(stay);
        let document = json!({ "verdict": "lifted", "freezes": shown, "requests": requests });
        Ok(Shown::done(lines.join("\n"), document))
    }
}

/// What also stops the key, or some key, and stays.
fn staying(scope: &Scope, others: &[FreezeInfo]) -> Vec<String> {
    let stays = others.iter().filter(|f| *scope == Scope::All || f.scope == Scope::All);
    stays.map(|f| format!("{}: tally unfreeze{}", line(f), option(&f.scope))).collect()
}

/// What a node answers to the lift of freezes that it does not know: here no endpoint does, of this key or of everything.
fn nothing_to_lift(endpoint: &str, scope: &Scope, stay: &[String]) -> ClientError {
    let mut metadata = BTreeMap::from([("scope".to_owned(), scope.as_str().to_owned())]);
    metadata.extend(scope.key().map(|key| ("key".to_owned(), key.to_string())));
    metadata.extend(stay.iter().enumerate().map(|(i, stays)| (format!("stays_frozen_{}", i + 1), stays.clone())));
    let (endpoint, reason, code) = (endpoint.to_owned(), Reason::FreezeNotFound, Code::NotFound);
    ClientError::Refused(Box::new(Refused { endpoint, reason, code, metadata, retry_after: None }))
}

fn lifted_lines(scope: &Scope, id: RequestId, lifts: &[FreezeInfo], lifted: &Unfrozen) -> Vec<String> {
    let rule = lifted.rule.as_deref().map(|rule| format!(", permitted by rule {rule}")).unwrap_or_default();
    let mut lines = vec![format!("UNFROZEN {scope} by {} nodes{rule}", lifted.signers), field("request", id)];
    lines.extend(lifts.iter().map(|f| field("lifted", line(f))));
    lines.extend(told_lines(&lifted.told));
    lines
}

/// Who has heard of it besides the node that answered, and who has not.
pub fn told_lines(told: &Told) -> Vec<String> {
    let line = |name: &str, nodes: &[NodeName]| {
        let nodes: Vec<_> = nodes.iter().map(NodeName::as_str).collect();
        (!nodes.is_empty()).then(|| field(name, nodes.join(", ")))
    };
    [line("acknowledged by", &told.acknowledged), line("not yet by", &told.waiting)].into_iter().flatten().collect()
}

/// Names of nodes, for scripts.
pub fn names(nodes: &[NodeName]) -> Value {
    nodes.iter().map(NodeName::as_str).collect()
}

/// The freezes that any endpoint knows: one that has been told of few of them is no measure.
async fn in_force(client: &Client) -> Result<Vec<FreezeInfo>, ClientError> {
    let nodes = (0..client.endpoints().count()).filter_map(|i| client.only(i));
    let answers = join_all(nodes.map(async |one| one.once().freezes().await)).await;
    let mut known = BTreeMap::new();
    let (mut answered, mut trouble) = (false, None);
    for answer in answers {
        match answer {
            Ok(freezes) => {
                answered = true;
                known.extend(freezes.into_iter().map(|f| (f.name.clone(), f)));
            }
            Err(error) => trouble = Some(error),
        }
    }
    match trouble {
        Some(error) if !answered => Err(error),
        _ => Ok(known.into_values().collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tally_client::Exit;
    use tally_domain::{Digest, FreezeId, UnixMillis};

    fn freeze(scope: Scope) -> FreezeInfo {
        let name = FreezeName { by: NodeName::parse("node-2").unwrap(), id: FreezeId([1; 16]) };
        FreezeInfo { name, scope, time: UnixMillis(1), intent_digest: Digest([2; 32]) }
    }

    #[test]
    fn to_lift_what_is_not_frozen_does_not_end_well_and_says_what_stays_frozen() {
        let hot = Scope::Key(KeyName::parse("hot").unwrap());
        let all = [freeze(Scope::All), freeze(Scope::Key(KeyName::parse("cold").unwrap()))];
        let error = nothing_to_lift("https://127.0.0.1:1", &hot, &staying(&hot, &all));
        assert_eq!(error.exit(), Exit::Other);
        let refused = error.refused().unwrap();
        assert_eq!((refused.reason, &*refused.metadata["key"]), (Reason::FreezeNotFound, "hot"));
        assert!(refused.metadata["stays_frozen_1"].ends_with(": tally unfreeze"), "{refused:?}");
        assert_eq!(refused.metadata.get("stays_frozen_2"), None, "another key's freeze does not stop this one");
        assert_eq!(staying(&Scope::All, &all[1..]).len(), 1);
    }
}
