//! `tally hsm status`: one block a token.

use crate::node::{hsm_json, proven};
use crate::output::{Shown, field};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tally_client::{Client, ClientError, Exit, HsmInfo, NodeInfo};

/// The node's identity is the primary's; the standby's key signs for nobody and shows only that the token is the same.
const STANDBY_CANARY: &str = "a key of its own, which is not the node's identity,";

pub async fn run(client: &Client) -> anyhow::Result<Shown> {
    let asked = client.endpoints().enumerate().filter_map(|(i, endpoint)| Some((endpoint, client.only(i)?)));
    let answers = join_all(asked.map(async |(endpoint, one)| (endpoint, one.once().node().await))).await;
    let well = answers.iter().all(|(_, answer)| answer.as_ref().is_ok_and(|node| node.hsm.error.is_none()));
    let exit = if well { Exit::Done } else { Exit::Unavailable };
    let text: Vec<_> = answers.iter().map(|(endpoint, answer)| block(endpoint, answer)).collect();
    let tokens: Vec<_> = answers.iter().map(|(endpoint, answer)| document(endpoint, answer)).collect();
    Ok(Shown::with_exit(exit, text.join("\n"), json!({ "well": well, "tokens": tokens })))
}

fn block(endpoint: &str, answer: &Result<NodeInfo, ClientError>) -> String {
    let node = match answer {
        Ok(node) => node,
        Err(error) => return format!("{endpoint} down\n{}", field("why", error)),
    };
    let hsm = &node.hsm;
    let how = if hsm.error.is_none() { "works" } else { "DOES NOT WORK" };
    let mut lines = vec![format!("{} token {how}, at {endpoint}", node.node)];
    lines.extend(hsm.error.as_ref().map(|error| field("why", error)));
    lines.extend(token(hsm, "the identity key"));
    if let Some(standby) = &hsm.standby {
        let how = if standby.error.is_none() { "works" } else { "DOES NOT WORK" };
        lines.push(format!("{} standby token {how}", node.node));
        lines.extend(standby.error.as_ref().map(|error| field("why", error)));
        lines.extend(token(standby, STANDBY_CANARY));
    }
    lines.join("\n")
}

fn token(hsm: &HsmInfo, canary: &str) -> Vec<String> {
    let place = match (hsm.isolation.as_str(), hsm.process) {
        ("process", Some(process)) => format!("process {process}, replaced {} times", hsm.restarts),
        ("process", None) => format!("NO PROCESS, replaced {} times", hsm.restarts),
        (other, _) => format!("a {other} of the node"),
    };
    let mut lines = vec![
        field("token", format!("{}, serial {}", hsm.label, hsm.serial)),
        field("model", format!("{}, hardware {}, firmware {}", hsm.model, hsm.hardware, hsm.firmware)),
        field("module", format!("{}, PKCS#11 {}", hsm.module, hsm.cryptoki)),
        field("runs in", place),
        field("capabilities", &hsm.capabilities),
        field("workers", format!("{} ready, {} hung, {} calls queued", hsm.sessions, hsm.hung, hsm.queued)),
        field("breaker", &hsm.breaker),
        field("PIN", &hsm.pin),
        field("canary", format!("{canary} last signed {}", proven(hsm))),
    ];
    lines.extend(
        hsm.latencies
            .iter()
            .map(|l| field("done", format!("{} {}: p50 {} us, p99 {} us", l.count, l.operation, l.p50_us, l.p99_us))),
    );
    lines
}

fn document(endpoint: &str, answer: &Result<NodeInfo, ClientError>) -> Value {
    match answer {
        Ok(node) => json!({ "endpoint": endpoint, "up": true, "node": node.node.as_str(), "hsm": hsm_json(&node.hsm) }),
        Err(error) => json!({ "endpoint": endpoint, "up": false, "error": error.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::tests::node;

    #[test]
    fn each_token_is_shown_with_the_canary_that_it_has() {
        let mut node = node("node-1");
        node.hsm.standby = Some(Box::new(node.hsm.clone()));
        let shown = block("a", &Ok(node));
        let canaries: Vec<_> = shown.lines().filter(|line| line.contains("canary")).collect();
        let [primary, standby] = canaries.as_slice() else { panic!("{shown}") };
        assert!(primary.contains("the identity key last signed never"), "{primary}");
        assert!(standby.contains("a key of its own, which is not the node's identity, last signed never"), "{standby}");
    }
}
