//! `tally policy propose|activate|veto|history|show --active`: the bundles that nodes know.

use super::read;
use crate::freeze::{names, told_lines};
use crate::intents::Kept;
use crate::output::{Progress, Shown, field};
use crate::profile::ProfileArg;
use crate::words::utc;
use serde_json::{Value, json};
use std::path::Path;
use tally_client::{Client, ClientError, Code, Exit, NodeInfo, NotActive, Order, ProposalInfo, Proposed, Refused};
use tally_domain::{NodeName, Reason};

/// What nodes say of a bundle that is to become active at once, and is not.
const READY: &str = "ready";

/// `tally policy propose FILE`
pub async fn propose(profile: &ProfileArg, file: &Path) -> anyhow::Result<Shown> {
    let signed = read::signed(file)?;
    let client = profile.client()?;
    let progress = Progress::start("proposing", None);
    let proposed = client.propose(signed.to_bytes()).await;
    drop(progress);
    let proposed = proposed?;
    Ok(outcome(&proposed))
}

fn outcome(proposed: &Proposed) -> Shown {
    let p = &proposed.proposal;
    let mut lines = vec![meaning(p)];
    lines.extend(proposed.not_active.iter().map(|not| field("not active", missing(not))));
    lines.extend(facts(p));
    lines.extend(told_lines(&proposed.told));
    if p.state == READY {
        let activate = format!("tally policy activate {}", p.name.version);
        let next =
            format!("bring nodes back, and the nodes go on with it by themselves; `{activate}` has them vote now");
        lines.push(field("what to do", next));
        lines.push(field("who has what", "tally policy show --active"));
    }
    // Vetoed or overtaken it never becomes active, whoever proposes it again. What loosens is to wait, and does.
    let exit = match p.state.as_str() {
        "active" | "waiting" => Exit::Done,
        READY => Exit::Unavailable,
        "vetoed" => Exit::Denied,
        _ => Exit::Other,
    };
    let mut document = to_json(p);
    if let Value::Object(members) = &mut document {
        let not = proposed.not_active.as_ref();
        members.insert(
            "not_active".into(),
            not.map_or(Value::Null, |not| {
                json!({
                    "reason": not.reason, "votes_needed": not.votes_needed, "votes": not.votes,
                })
            }),
        );
        members.insert("acknowledged".into(), names(&proposed.told.acknowledged));
        members.insert("waiting".into(), names(&proposed.told.waiting));
    }
    Shown::with_exit(exit, lines.join("\n"), document)
}

/// What keeps a bundle that nothing waits for any more.
fn missing(not: &NotActive) -> String {
    match not.votes_needed {
        0 => not.reason.clone(),
        needed => {
            format!("{}: {} of the {needed} votes that it needs; the rules before it decide", not.reason, not.votes)
        }
    }
}

/// `tally policy activate VERSION`
pub async fn activate(profile: &ProfileArg, version: u64) -> anyhow::Result<Shown> {
    let activated = profile.client()?.activate(version).await?;
    let lines: Vec<_> = std::iter::once(meaning(&activated)).chain(facts(&activated)).collect();
    Ok(Shown::done(lines.join("\n"), to_json(&activated)))
}

/// `tally policy veto VERSION`
pub async fn veto(profile: &ProfileArg, version: u64, note: &str) -> anyhow::Result<Shown> {
    let (client, kept) = (profile.client()?, Kept::beside(profile.path()?));
    let history = client.policy_history().await?;
    let named = history.into_iter().find(|p| p.name.version == version);
    let named = named.ok_or_else(|| unknown(&client, version))?;
    let asked = kept.seal(&client, Order::veto_policy(named.name)?.note(note), None)?;
    let vetoed = kept.settle(&asked, client.veto(&asked.intent).await)?;
    let mut lines = vec![match &vetoed.rule {
        Some(rule) => format!("VETOED version {version}, permitted by rule {rule}"),
        None => format!("VETOED version {version} before, by this very request"),
    }];
    lines.push(field("request", asked.intent.request_id()));
    lines.extend(facts(&vetoed.proposal));
    lines.extend(told_lines(&vetoed.told));
    Ok(Shown::done(lines.join("\n"), to_json(&vetoed.proposal)))
}

/// What a node answers to an activation of such a version.
fn unknown(client: &Client, version: u64) -> ClientError {
    let metadata = std::iter::once(("version".to_owned(), version.to_string())).collect();
    let endpoint = client.endpoints().next().unwrap_or_default().to_owned();
    let (reason, code) = (Reason::BundleNotFound, Code::NotFound);
    ClientError::Refused(Box::new(Refused { endpoint, reason, code, metadata, retry_after: None }))
}

/// `tally policy history`
pub async fn history(profile: &ProfileArg) -> anyhow::Result<Shown> {
    let all = profile.client()?.policy_history().await?;
    if all.is_empty() {
        let text = "no signed bundle: the policy is a directory, as only development has it";
        return Ok(Shown::done(text, json!({ "bundles": [] })));
    }
    let line = |p: &ProposalInfo| {
        let when = match (p.state.as_str(), p.activated, p.due) {
            ("waiting", _, Some(due)) => format!("until {}", utc(due)),
            (_, Some(at), _) => format!("since {}", utc(at)),
            _ => format!("seen {}", utc(p.first_seen)),
        };
        format!("{:>5}  {:<9}  {when}  {}", p.name.version, p.state, p.name.digest)
    };
    let lines: Vec<_> = all.iter().map(line).collect();
    let listed: Vec<_> = all.iter().map(to_json).collect();
    Ok(Shown::done(lines.join("\n"), json!({ "bundles": listed })))
}

/// `tally policy show --active`
pub async fn active(profile: &ProfileArg) -> anyhow::Result<Shown> {
    let client = profile.client()?;
    let active = client.policy().await?;
    let mut lines = vec![format!("bundle {}", active.digest), field("version", active.version)];
    lines.extend(active.not_after.map(|until| field("valid until", utc(until))));
    lines.extend(active.rules.iter().map(|rule| field(&rule.effect, &rule.id)));
    let mut nodes = Vec::new();
    for node in each(&client).await {
        let same = if node.bundle_digest == active.digest { "the same" } else { "ANOTHER" };
        lines.push(field(node.node.as_str(), format!("version {}, {same}", node.bundle_version)));
        nodes.push(json!({ "node": node.node.as_str(), "version": node.bundle_version, "digest": node.bundle_digest.to_string() }));
    }
    let rules: Vec<_> = active.rules.iter().map(|r| json!({ "id": r.id, "effect": r.effect })).collect();
    let json = json!({ "digest": active.digest.to_string(), "version": active.version, "not_after_ms": active.not_after.map(|t| t.0),
            "rules": rules, "nodes": nodes });
    Ok(Shown::done(lines.join("\n"), json))
}

/// What each node that answers says of itself.
async fn each(client: &Client) -> Vec<NodeInfo> {
    let mut nodes = Vec::new();
    for one in (0..client.endpoints().count()).filter_map(|i| client.only(i)) {
        nodes.extend(one.once().node().await);
    }
    nodes
}

fn meaning(p: &ProposalInfo) -> String {
    let version = p.name.version;
    match (p.state.as_str(), p.due) {
        ("active", _) => format!("ACTIVE version {version}"),
        ("waiting", Some(due)) => format!("WAITS version {version} until {}: it loosens, and can be vetoed", utc(due)),
        (READY, _) => format!("READY version {version}, and NOT ACTIVE at any node: too few have voted yet"),
        (state, _) => format!("{} version {version}", state.to_uppercase()),
    }
}

fn facts(p: &ProposalInfo) -> Vec<String> {
    let names = |nodes: &[NodeName]| nodes.iter().map(NodeName::as_str).collect::<Vec<_>>().join(", ");
    let mut lines = vec![field("bundle", p.name.digest)];
    for (name, nodes) in [("voted by", &p.voted_by), ("vetoed by", &p.vetoed_by)] {
        if !nodes.is_empty() {
            lines.push(field(name, names(nodes)));
        }
    }
    let place = |file: &str, item: &str| if item.is_empty() { file.to_owned() } else { format!("{file} {item}") };
    let changes = p.changes.iter();
    lines.extend(changes.map(|c| field(&c.direction, format!("{}: {}", place(&c.file, &c.item), c.words))));
    lines
}

fn to_json(p: &ProposalInfo) -> Value {
    let changes: Vec<_> = p
        .changes
        .iter()
        .map(|c| json!({ "direction": c.direction, "file": c.file, "item": c.item, "words": c.words }))
        .collect();
    json!({
        "version": p.name.version, "digest": p.name.digest.to_string(),
        "previous": p.previous.map(|d| d.to_string()), "state": p.state, "tightens": p.tightens,
        "first_seen_ms": p.first_seen.0, "due_ms": p.due.map(|t| t.0), "activated_ms": p.activated.map(|t| t.0),
        "vetoed_by": p.vetoed_by.iter().map(NodeName::as_str).collect::<Vec<_>>(),
        "voted_by": p.voted_by.iter().map(NodeName::as_str).collect::<Vec<_>>(), "changes": changes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tally_client::Told;
    use tally_domain::activation::BundleName;
    use tally_domain::{Digest, UnixMillis};

    fn proposed(state: &str, not_active: Option<NotActive>) -> Proposed {
        let node = |n: u8| NodeName::parse(&format!("node-{n}")).unwrap();
        let proposal = ProposalInfo {
            name: BundleName { version: 3, digest: Digest([3; 32]) },
            previous: None,
            state: state.into(),
            first_seen: UnixMillis(1),
            due: Some(UnixMillis(1)),
            activated: None,
            tightens: true,
            vetoed_by: vec![],
            voted_by: vec![],
            changes: vec![],
        };
        Proposed { proposal, told: Told { acknowledged: vec![node(2)], waiting: vec![node(3)] }, not_active }
    }

    #[test]
    fn what_could_be_active_and_is_not_says_so_with_what_is_missing_and_what_to_do() {
        let not = NotActive { reason: "PARTICIPANTS".into(), votes_needed: 3, votes: 2 };
        let shown = format!("{:?}", outcome(&proposed("ready", Some(not))));
        for part in [
            "NOT ACTIVE at any node",
            "PARTICIPANTS: 2 of the 3 votes that it needs",
            "acknowledged by  node-2",
            "not yet by       node-3",
            "tally policy activate 3",
            "exit: Unavailable",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        for (state, exit) in [("active", "Done"), ("waiting", "Done"), ("vetoed", "Denied"), ("overtaken", "Other")] {
            let shown = format!("{:?}", outcome(&proposed(state, None)));
            assert!(shown.contains(&format!("exit: {exit}")) && !shown.contains("what to do"), "{shown}");
        }
    }
}
