//! `tally audit export`: every node's checkpoint at about one moment, then every log up to it.

use crate::output::{Shown, Usage, sentence};
use anyhow::{Context as _, anyhow};
use futures_util::future::join_all;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;
use tally_audit::export::{CHECKPOINT_FILE, ENTRIES_FILE, append_entry};
use tally_client::{Client, ClientError, Exit, LogCheckpoint, NodeInfo};
use tally_domain::NodeName;

/// What became of the export of one node's log.
pub struct Exported {
    endpoint: String,
    /// As it calls itself, or as the others call the node at this address; nothing if neither is known.
    node: Option<NodeName>,
    /// Number of its leaves.
    outcome: anyhow::Result<u64>,
}

/// A node that answers, and the end of its log.
struct Answered {
    client: Client,
    info: NodeInfo,
    checkpoint: LogCheckpoint,
}

/// Exports the log of every endpoint that answers; tells of those that do not, and of nodes without an endpoint.
pub async fn export(client: &Client, out: &Path) -> anyhow::Result<Vec<Exported>> {
    std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    if std::fs::read_dir(out).with_context(|| format!("cannot read {}", out.display()))?.next().is_some() {
        // What is there may be evidence; it is not written over or mixed with.
        return Err(Usage(format!("{} is not empty; export to a new directory", out.display())).into());
    }
    let endpoints = client.endpoints().enumerate().filter_map(|(i, endpoint)| Some((endpoint, client.only(i)?.once())));
    // All checkpoints before any log: the logs are checked against each other, and then end at about the same moment.
    let answers = join_all(endpoints.map(async |(endpoint, one)| (endpoint, ask(one).await))).await;
    let nodes: Vec<(NodeName, String)> = answers.iter().flat_map(|(_, answer)| answer).flat_map(known).collect();
    let mut logs = Vec::new();
    for (endpoint, answer) in answers {
        let (node, outcome) = match answer {
            Ok(answered) => (Some(answered.info.node.clone()), write(&answered, out).await),
            Err(error) => (at(&nodes, endpoint), Err(error.into())),
        };
        logs.push(Exported { endpoint: endpoint.to_owned(), node, outcome });
    }
    let named: BTreeSet<_> = logs.iter().filter_map(|log| log.node.clone()).collect();
    let mut others: Vec<_> = nodes.into_iter().filter(|(node, _)| !named.contains(node)).collect();
    others.sort();
    others.dedup();
    logs.extend(others.into_iter().map(|(node, address)| Exported {
        endpoint: address,
        node: Some(node),
        outcome: Err(anyhow!("no endpoint of the profile that answers is this node's")),
    }));
    Ok(logs)
}

async fn ask(client: Client) -> Result<Answered, ClientError> {
    let info = client.node().await?;
    let checkpoint = client.checkpoint().await?;
    Ok(Answered { client, info, checkpoint })
}

/// The nodes that a node knows of, with their addresses.
fn known(answered: &Answered) -> impl Iterator<Item = (NodeName, String)> {
    answered.info.peers.iter().map(|peer| (peer.node.clone(), peer.address.clone()))
}

/// The node that the others know at an endpoint's address.
fn at(nodes: &[(NodeName, String)], endpoint: &str) -> Option<NodeName> {
    let address = endpoint.strip_prefix("https://")?;
    nodes.iter().find(|(_, known)| known == address).map(|(node, _)| node.clone())
}

async fn write(answered: &Answered, out: &Path) -> anyhow::Result<u64> {
    let Answered { client, info, checkpoint } = answered;
    // A node names itself; `.` and `..` are names, but no directories of ours.
    if info.node.as_str().bytes().all(|b| b == b'.') {
        return Err(Usage(format!("the node calls itself `{}`, which is no directory", info.node)).into());
    }
    let mut entries = Vec::new();
    let mut too_large = Ok(());
    client
        .read_log(checkpoint.size, |leaf| {
            if too_large.is_ok() {
                too_large = append_entry(&mut entries, &leaf);
            }
        })
        .await?;
    too_large?;
    let dir = out.join(info.node.as_str());
    std::fs::create_dir(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    std::fs::write(dir.join(ENTRIES_FILE), entries).context("cannot write the log")?;
    std::fs::write(dir.join(CHECKPOINT_FILE), &checkpoint.note).context("cannot write the checkpoint")?;
    Ok(checkpoint.size)
}

/// One line for each node; the exit tells whether all logs are there.
pub fn shown(logs: &[Exported]) -> Shown {
    let (mut lines, mut documents) = (Vec::new(), Vec::new());
    let mut exit = Exit::Done;
    for log in logs {
        let node = log.node.as_ref().map(NodeName::as_str);
        match &log.outcome {
            Ok(leaves) => {
                lines.push(format!("{}: {leaves} leaves", node.unwrap_or(&log.endpoint)));
                documents.push(json!({ "endpoint": log.endpoint, "node": node, "leaves": leaves }));
            }
            Err(error) => {
                exit = Exit::Unavailable;
                let who = node.map_or_else(|| log.endpoint.clone(), |node| format!("{node} ({})", log.endpoint));
                lines.push(format!("{who}: NOT EXPORTED: {}", sentence(error)));
                documents.push(json!({ "endpoint": log.endpoint, "node": node, "error": sentence(error) }));
            }
        }
    }
    let complete = exit == Exit::Done;
    Shown::with_exit(exit, lines.join("\n"), json!({ "complete": complete, "logs": documents }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_whose_log_cannot_be_had_is_named_and_the_exit_tells() {
        let name = |n: &str| NodeName::parse(n).unwrap();
        let nodes = [(name("node-1"), "10.0.0.1:7101".to_owned()), (name("node-2"), "10.0.0.2:7101".to_owned())];
        assert_eq!(at(&nodes, "https://10.0.0.2:7101"), Some(name("node-2")));
        assert_eq!(at(&nodes, "https://balancer:7101"), None);
        let log = |node: &str, outcome| Exported { endpoint: "https://e".into(), node: Some(name(node)), outcome };
        let good = shown(&[log("node-1", Ok(7)), log("node-2", Ok(8))]);
        assert!(format!("{good:?}").contains("exit: Done"));
        let bad = format!("{:?}", shown(&[log("node-1", Ok(7)), log("node-2", Err(anyhow!("away")))]));
        assert!(bad.contains("exit: Unavailable") && bad.contains("node-2 (https://e): NOT EXPORTED: away"), "{bad}");
    }
}
