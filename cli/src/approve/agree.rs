//! What all nodes that answer show of one request, or why it must not be signed for.

use crate::output::field;
use anyhow::{bail, ensure};
use futures_util::future::join_all;
use tally_client::{Client, ClientError, PendingInfo};
use tally_domain::RequestId;
use tally_policy::summary_digest;

/// What they agree on.
pub struct Agreed {
    /// As the first one tells it.
    pub shown: PendingInfo,
    nodes: Vec<String>,
    away: Vec<String>,
}

impl Agreed {
    /// What a person is shown.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![field("request", self.shown.request_id)];
        lines.extend(self.shown.summary.lines().map(|line| format!("  | {line}")));
        lines.push(field("agreed by", self.nodes.join(", ")));
        lines.extend((!self.away.is_empty()).then(|| field("no answer", self.away.join("; "))));
        lines
    }
}

/// Asks every endpoint. At least as many nodes as sign with the key must answer, all alike; of a key in an HSM its home must,
/// which alone decides.
pub async fn agreed(client: &Client, id: RequestId) -> anyhow::Result<Agreed> {
    let endpoints: Vec<_> = client.endpoints().map(str::to_owned).collect();
    let asked = (0..endpoints.len()).filter_map(|i| client.only(i));
    let answers = join_all(asked.map(async |one| one.once().summary(id).await)).await;
    let (mut shown, mut away) = (Vec::<PendingInfo>::new(), Vec::new());
    let mut trouble: Option<ClientError> = None;
    for (endpoint, answer) in endpoints.iter().zip(answers) {
        match answer {
            Ok(pending) => shown.push(pending),
            Err(error) => {
                away.push(format!("{endpoint}: {error}"));
                trouble = trouble.filter(|t| t.refused().is_some()).or(Some(error));
            }
        }
    }
    let Some(first) = shown.first().cloned() else {
        return Err(trouble.map_or_else(|| anyhow::anyhow!("the profile has no endpoint"), Into::into));
    };
    for other in &shown {
        let computed = summary_digest(&other.summary);
        ensure!(
            computed == other.summary_digest,
            "{} shows a text and says the digest of another; do not approve, and tell its operator",
            other.node
        );
        differs(&first, other)?;
    }
    let mut nodes: Vec<_> = shown.iter().map(|p| p.node.to_string()).collect();
    nodes.sort();
    nodes.dedup();
    let needed = shown.iter().map(|p| p.signers).max().unwrap_or(u32::MAX);
    let enough = u32::try_from(nodes.len()).is_ok_and(|have| have >= needed);
    let home = needed > 1 || nodes.iter().any(|node| *node == first.owner.as_str());
    if !enough || !home {
        let from = if needed > 1 { format!("{needed} nodes") } else { format!("its home {}", first.owner) };
        bail!("{} tell of the request, and {from} must; {}", nodes.join(", "), away.join("; "));
    }
    Ok(Agreed { shown: first, nodes, away })
}

fn differs(a: &PendingInfo, b: &PendingInfo) -> anyhow::Result<()> {
    let what = if a.intent_digest != b.intent_digest {
        "hold different intents under this id"
    } else if a.bundle != b.bundle {
        "have different policy bundles"
    } else if a.summary_digest != b.summary_digest {
        "decode it differently"
    } else {
        return Ok(());
    };
    let texts: Vec<_> = [a, b].iter().map(|p| format!("{}:\n{}", p.node, p.summary)).collect();
    bail!("{} and {} {what}; do not approve, and tell their operators\n{}", a.node, b.node, texts.join("\n"))
}
