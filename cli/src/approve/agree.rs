//! What all nodes that answer show of one request, or why it must not be signed for.

use crate::output::field;
use anyhow::{bail, ensure};
use futures_util::future::join_all;
use std::collections::BTreeSet;
use tally_client::{Client, ClientError, PendingInfo, Refused, SaidInfo};
use tally_domain::{Reason, RequestId};
use tally_policy::summary_digest;

/// What they agree on.
pub struct Agreed {
    /// As the first one tells it.
    pub shown: PendingInfo,
    /// Which endpoint that is.
    pub endpoint: String,
    /// What persons have said, as any of them tells it: a node may not have heard of all yet.
    pub said: Vec<SaidInfo>,
    nodes: Vec<String>,
    away: Vec<String>,
}

impl Agreed {
    /// The text that a person is shown.
    pub fn text(&self) -> &str {
        &self.shown.summary
    }

    /// How many nodes agree.
    pub fn count(&self) -> usize {
        self.nodes.len()
    }

    /// What a person is shown.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![field("request", self.shown.request_id)];
        lines.extend(self.shown.summary.lines().map(|line| format!("  | {line}")));
        lines.push(field("agreed by", self.nodes.join(", ")));
        lines.extend((!self.away.is_empty()).then(|| field("not shown by", self.away.join("; "))));
        lines
    }
}

/// What an endpoint answered.
type Answer = (String, Result<PendingInfo, ClientError>);

/// Asks every endpoint.
pub async fn agreed(client: &Client, id: RequestId) -> anyhow::Result<Agreed> {
    let endpoints: Vec<_> = client.endpoints().map(str::to_owned).collect();
    let asked = (0..endpoints.len()).filter_map(|i| client.only(i));
    let answers = join_all(asked.map(async |one| one.once().summary(id).await)).await;
    agree(endpoints.into_iter().zip(answers).collect())
}

/// At least as many nodes as sign with the key must answer, all alike; of a key in an HSM its home must, which alone decides.
fn agree(answers: Vec<Answer>) -> anyhow::Result<Agreed> {
    let (mut shown, mut away) = (Vec::<PendingInfo>::new(), Vec::new());
    let mut first_endpoint = None;
    let (mut trouble, mut over) = (None::<ClientError>, None);
    for (endpoint, answer) in answers {
        match answer {
            // What reaches a terminal must not steer it, whoever wrote it.
            Ok(pending) if pending.summary.chars().any(|c| c.is_control() && c != '\n') => {
                bail!("{endpoint} shows a text with control characters; do not approve, and tell its operator")
            }
            Ok(pending) => {
                shown.push(pending);
                first_endpoint.get_or_insert(endpoint);
            }
            Err(error) => {
                over = over.or(is_over(&error));
                away.push(format!("{endpoint}: {error}"));
                trouble = trouble.filter(|t| t.refused().is_some()).or(Some(error));
            }
        }
    }
    let Some(first) = shown.first().cloned() else {
        return Err(trouble.map_or_else(|| anyhow::anyhow!("the profile has no endpoint"), Into::into));
    };
    for other in &shown {
        ensure!(
            summary_digest(&other.summary) == other.summary_digest,
            "{} shows a text and says the digest of another; do not approve, and tell its operator",
            other.node
        );
        differs(&first, other)?;
    }
    let nodes: BTreeSet<_> = shown.iter().map(|p| p.node.to_string()).collect();
    let needed = shown.iter().map(|p| p.signers).max().unwrap_or(u32::MAX);
    let enough = u32::try_from(nodes.len()).is_ok_and(|have| have >= needed);
    let home = needed > 1 || nodes.contains(first.owner.as_str());
    let nodes: Vec<_> = nodes.into_iter().collect();
    if !enough || !home {
        // Where the others have not heard yet that it is done, what they show says nothing.
        if let Some(refused) = over {
            return Err(ClientError::Refused(refused).into());
        }
        let from = if needed > 1 { format!("{needed} nodes") } else { format!("its home {}", first.owner) };
        let why = if away.is_empty() {
            "the profile names no other endpoint: give it those of more nodes".to_owned()
        } else {
            format!("of the others, {}", away.join("; "))
        };
        bail!("only {} told of the request, and {from} must, each as it decodes it; {why}", nodes.join(", "));
    }
    let said = shown.into_iter().flat_map(|p| p.said).collect();
    Ok(Agreed { shown: first, endpoint: first_endpoint.unwrap_or_default(), said, nodes, away })
}

/// What a node says of a request about which nobody is asked any more.
fn is_over(error: &ClientError) -> Option<Box<Refused>> {
    let over = |r: &&Refused| matches!(r.reason, Reason::NotWaiting | Reason::Rejected | Reason::Expired);
    error.refused().filter(over).cloned().map(Box::new)
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

#[cfg(test)]
pub mod tests {
    use super::*;
    use tally_client::Code;
    use tally_domain::{ClientId, Digest, KeyName, NodeName, Tenant, UnixMillis};

    pub fn told(node: &str, text: &str) -> Answer {
        let shown = PendingInfo {
            node: NodeName::parse(node).unwrap(),
            tenant: Tenant::parse("acme").unwrap(),
            request_id: RequestId([1; 16]),
            client: ClientId::parse("payouts-1").unwrap(),
            key: KeyName::parse("hot").unwrap(),
            intent_digest: Digest([1; 32]),
            bundle: Digest([2; 32]),
            summary: text.into(),
            summary_digest: summary_digest(text),
            expires_at: UnixMillis(1),
            owner: NodeName::parse("node-1").unwrap(),
            signers: 2,
            state: "waiting".into(),
            reason: None,
            limit: None,
            room_at: None,
            needs: vec![],
            said: vec![],
            approvers: vec![],
            initiators: vec![],
        };
        (format!("https://{node}"), Ok(shown))
    }

    /// What one node alone shows of a key that it alone signs with.
    pub fn agreed_on(answer: Answer, change: impl FnOnce(&mut PendingInfo)) -> Agreed {
        let alone = |p: &mut PendingInfo| p.signers = 1;
        agree(vec![changed(changed(answer, change), alone)]).unwrap()
    }

    fn changed(mut answer: Answer, change: impl FnOnce(&mut PendingInfo)) -> Answer {
        change(answer.1.as_mut().unwrap());
        answer
    }

    fn away(node: &str) -> Answer {
        let endpoint = format!("https://{node}");
        (endpoint.clone(), Err(ClientError::Deadline { endpoint }))
    }

    fn why(answers: Vec<Answer>) -> String {
        agree(answers).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn what_enough_nodes_show_alike_is_shown_and_nothing_else() {
        let agreed = agree(vec![told("node-1", "pay bob"), away("node-2"), told("node-3", "pay bob")]).unwrap();
        assert_eq!((agreed.text(), agreed.count()), ("pay bob", 2));
        assert!(agreed.lines().iter().any(|line| line.contains("https://node-2")));

        let two = why(vec![told("node-1", "pay bob"), told("node-2", "pay bob"), told("node-3", "pay eve")]);
        assert!(two.contains("node-1 and node-3 decode it differently") && two.contains("pay eve"), "{two}");
        let intent = changed(told("node-2", "pay bob"), |p| p.intent_digest = Digest([9; 32]));
        assert!(why(vec![told("node-1", "pay bob"), intent]).contains("different intents"));
        let bundle = changed(told("node-2", "pay bob"), |p| p.bundle = Digest([9; 32]));
        assert!(why(vec![told("node-1", "pay bob"), bundle]).contains("different policy bundles"));
        // A text, and the digest of what the others show.
        let lie = changed(told("node-2", "pay eve"), |p| p.summary_digest = summary_digest("pay bob"));
        assert!(
            why(vec![told("node-1", "pay bob"), lie]).contains("node-2 shows a text and says the digest of another")
        );
        let steering = told("node-2", "pay bob\u{1b}[2K");
        assert!(why(vec![told("node-1", "pay bob"), steering]).contains("control characters"));
    }

    #[test]
    fn fewer_than_sign_are_too_few_and_so_is_one_node_twice() {
        assert!(why(vec![told("node-1", "pay bob"), away("node-2")]).contains("2 nodes must"));
        assert!(why(vec![told("node-1", "pay bob"), told("node-1", "pay bob")]).contains("only node-1 told"));
        assert!(why(vec![away("node-1"), away("node-2")]).contains("https://node-2"));
        let alone = why(vec![told("node-1", "pay bob")]);
        assert!(alone.ends_with("the profile names no other endpoint: give it those of more nodes"), "{alone}");
        // One has signed it with another, and the third has not heard: that it is done is all there is to say.
        let done = |node: &str| {
            let endpoint = format!("https://{node}");
            let (reason, code, metadata) = (Reason::NotWaiting, Code::FailedPrecondition, Default::default());
            let refused = Refused { endpoint: endpoint.clone(), reason, code, metadata, retry_after: None };
            (endpoint, Err(ClientError::Refused(Box::new(refused))))
        };
        for answers in
            [vec![told("node-1", "pay bob"), done("node-2"), away("node-3")], vec![done("node-1"), away("node-2")]]
        {
            let error = agree(answers).map(|_| ()).unwrap_err();
            let refused = error.downcast_ref::<ClientError>().and_then(ClientError::refused).unwrap();
            assert_eq!(refused.reason, Reason::NotWaiting);
        }
        // Whoever is enough without it is not kept from deciding by one node that says so.
        assert!(agree(vec![told("node-1", "pay bob"), done("node-2"), told("node-3", "pay bob")]).is_ok());
        let in_hsm = |node| changed(told(node, "pay bob"), |p| p.signers = 1);
        assert!(agree(vec![in_hsm("node-1"), away("node-2")]).is_ok());
        assert!(why(vec![away("node-1"), in_hsm("node-2"), in_hsm("node-3")]).contains("its home node-1 must"));
    }
}
