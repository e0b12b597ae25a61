//! `tally node`: how the nodes are.

mod health;
mod work;

use crate::freeze;
use crate::output::{Shown, field};
use futures_util::future::join_all;
use health::{Answer, Validity, Votes, clocks_off, is_off, troubles};
use serde_json::{Value, json};
use tally_client::{Client, ClientError, Exit, HsmInfo, LatencyInfo, NodeInfo};
use tally_domain::time::offset_words;

/// `tally node ...`
#[derive(Debug, clap::Subcommand)]
pub enum Node {
    /// Every endpoint of the profile. Ends with 0 only if all answer, hold the same policy bundle within its time, have a
    /// token that works and clocks that agree, and enough can vote where limits apply; else with 5, and says what is wrong.
    Status,
}

impl Node {
    /// Runs it.
    pub async fn run(self, client: &Client) -> anyhow::Result<Shown> {
        let Self::Status = self;
        let asked = client.endpoints().enumerate().filter_map(|(i, endpoint)| Some((endpoint, client.only(i)?)));
        let answers = join_all(asked.map(async |(endpoint, one)| (endpoint, one.once().node().await))).await;
        Ok(shown(&answers))
    }
}

fn shown(answers: &[Answer<'_>]) -> Shown {
    let (wrong, votes) = (troubles(answers), Votes::of(answers));
    let exit = if wrong.is_empty() { Exit::Done } else { Exit::Unavailable };
    let mut text: Vec<_> = answers.iter().map(|(endpoint, answer)| record(endpoint, answer)).collect();
    // Where they do not suffice it is said below.
    text.extend(votes.as_ref().filter(|votes| votes.suffice()).map(Votes::words));
    text.extend(wrong.iter().map(|what| format!("NOT WELL: {what}")));
    let nodes: Vec<_> = answers.iter().map(|(endpoint, answer)| to_json(endpoint, answer)).collect();
    let off = clocks_off(answers);
    let clocks: Vec<_> = off.iter().map(|(node, ms)| json!({ "node": node.as_str(), "off_ms": ms })).collect();
    let document = json!({
        "well": wrong.is_empty(), "not_well": wrong, "clocks_off": clocks,
        "limits_served": votes.as_ref().is_some_and(Votes::suffice), "nodes": nodes,
    });
    Shown::with_exit(exit, text.join("\n"), document)
}

fn record(endpoint: &str, answer: &Result<NodeInfo, ClientError>) -> String {
    let node = match answer {
        Ok(node) => node,
        Err(error) => return format!("{endpoint} down\n{}", field("why", error)),
    };
    let mut lines = vec![
        format!("{} up at {endpoint}", node.node),
        field("role", node.role.as_str()),
        field("version", format!("{}, start {}", node.version, node.incarnation.0)),
        field("bundle", format!("{} (version {})", node.bundle_digest, node.bundle_version)),
        field("", Validity::of(node).words()),
        field("log", format!("{} leaves", node.log_size)),
        field("work", format!("{} keys, {} sessions", node.keys, node.sessions)),
    ];
    lines.extend(work::lines(&node.work, node.time));
    lines.extend(hsm("hsm", &node.hsm));
    lines.extend(node.hsm.standby.iter().flat_map(|standby| hsm("standby", standby)));
    if node.recovering {
        lines.push(field("RECOVERING", "restored from an older copy; takes part in nothing until its peers accept it"));
    }
    lines.extend(node.peers.iter().map(|p| {
        let same = p.bundle_digest.is_none_or(|d| d == node.bundle_digest);
        let bundle = if same { "" } else { ", OTHER BUNDLE" };
        let how = match p.clock_offset_ms.filter(|_| p.reachable) {
            Some(ms) if is_off(ms) => format!("reachable, CLOCK {}{bundle}", offset_words(ms)),
            Some(ms) => format!("reachable, clock {}{bundle}", offset_words(ms)),
            None if p.reachable => format!("reachable{bundle}"),
            None => "away".into(),
        };
        let fence = if p.fenced { ", FENCED" } else { "" };
        field("peer", format!("{} ({}) at {}: {how}{fence}", p.node, p.role.as_str(), p.address))
    }));
    lines.extend(node.freezes.iter().map(|f| field("FROZEN", freeze::line(f))));
    lines.extend(node.bans.iter().map(|b| field("BANNED", format!("{} for key {}: {}", b.node, b.key, b.what))));
    lines.join("\n")
}

fn hsm(role: &str, hsm: &HsmInfo) -> Vec<String> {
    let how = match &hsm.error {
        None => format!("ok, {} ({}, serial {})", hsm.label, hsm.model, hsm.serial),
        Some(error) => format!("NOT OK: {error}"),
    };
    let proven = proven(hsm);
    let work = format!(
        "breaker {}, {} workers, {} hung, {} queued, PIN {}, last signed {proven}",
        hsm.breaker, hsm.sessions, hsm.hung, hsm.queued, hsm.pin
    );
    let mut lines = vec![field(role, how), field("", work)];
    if hsm.error.is_none() {
        lines.push(field("", &hsm.capabilities));
    }
    let latency = |l: &LatencyInfo| format!("{} {}: p50 {} us, p99 {} us", l.count, l.operation, l.p50_us, l.p99_us);
    lines.extend(hsm.latencies.iter().map(|l| field("", latency(l))));
    lines
}

/// When a token last did what only it can do.
pub fn proven(hsm: &HsmInfo) -> String {
    hsm.proven_ms_ago.map_or_else(|| "never".into(), |ms| format!("{} s ago", ms / 1_000))
}

/// A node's token, for scripts.
pub fn hsm_json(hsm: &HsmInfo) -> Value {
    let latency =
        |l: &LatencyInfo| json!({ "operation": l.operation, "count": l.count, "p50_us": l.p50_us, "p99_us": l.p99_us });
    json!({
        "ok": hsm.error.is_none(), "error": hsm.error, "module": hsm.module, "model": hsm.model, "label": hsm.label,
        "serial": hsm.serial, "hardware": hsm.hardware, "firmware": hsm.firmware, "cryptoki": hsm.cryptoki,
        "isolation": hsm.isolation, "process": hsm.process, "restarts": hsm.restarts,
        "sessions": hsm.sessions, "capabilities": hsm.capabilities, "breaker": hsm.breaker, "queued": hsm.queued, "hung": hsm.hung, "pin": hsm.pin, "proven_ms_ago": hsm.proven_ms_ago,
        "latencies": hsm.latencies.iter().map(latency).collect::<Vec<_>>(),
        "standby": hsm.standby.as_deref().map(hsm_json),
    })
}

fn to_json(endpoint: &str, answer: &Result<NodeInfo, ClientError>) -> Value {
    let node = match answer {
        Ok(node) => node,
        Err(error) => return json!({ "endpoint": endpoint, "up": false, "error": error.to_string() }),
    };
    let peers = node.peers.iter().map(|p| {
        json!({
            "node": p.node.as_str(), "address": p.address, "reachable": p.reachable, "incarnation": p.incarnation.0,
            "bundle_digest": p.bundle_digest.map(|d| d.to_string()), "clock_offset_ms": p.clock_offset_ms,
            "fenced": p.fenced, "role": p.role.as_str(),
        })
    });
    let bans = node
        .bans
        .iter()
        .map(|b| json!({ "key": b.key.as_str(), "epoch": b.epoch.0, "node": b.node.as_str(), "what": b.what }));
    json!({
        "endpoint": endpoint, "up": true, "node": node.node.as_str(), "role": node.role.as_str(), "cluster": node.cluster.as_str(),
        "version": node.version, "incarnation": node.incarnation.0, "bundle_digest": node.bundle_digest.to_string(),
        "bundle_version": node.bundle_version,
        "bundle_not_after_ms": node.bundle_not_after.map(|t| t.0), "time_ms": node.time.0, "started_at_ms": node.started_at.0,
        "log_size": node.log_size, "sessions": node.sessions, "keys": node.keys,
        "hsm": hsm_json(&node.hsm), "work": work::to_json(&node.work, node.time),
        "peers": peers.collect::<Vec<_>>(), "bans": bans.collect::<Vec<_>>(),
        "quorum": {
            "limits": node.quorum.limits, "voters": node.quorum.voters, "votes": node.quorum.votes,
            "may_be_bad": node.quorum.faulty, "may_have_forgotten": node.quorum.restored,
        },
        "recovering": node.recovering, "freezes": node.freezes.iter().map(freeze::to_json).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use tally_client::{HsmInfo, PeerInfo, QuorumInfo};
    use tally_domain::roster::NodeRole;
    use tally_domain::{ClusterId, Digest, Incarnation, KeyName, NodeName, UnixMillis};

    pub fn node(name: &str) -> NodeInfo {
        NodeInfo {
            cluster: ClusterId::parse("dev").unwrap(),
            node: NodeName::parse(name).unwrap(),
            version: "0.1.0".into(),
            incarnation: Incarnation(1),
            bundle_digest: Digest::of(b"bundle"),
            bundle_version: 1,
            time: UnixMillis(0),
            started_at: UnixMillis(0),
            log_size: 1,
            sessions: 0,
            keys: 0,
            hsm: HsmInfo {
                module: String::new(),
                model: String::new(),
                label: String::new(),
                serial: String::new(),
                hardware: String::new(),
                firmware: String::new(),
                cryptoki: String::new(),
                isolation: String::new(),
                process: None,
                restarts: 0,
                sessions: 1,
                error: None,
                capabilities: String::new(),
                breaker: "closed".into(),
                queued: 0,
                hung: 0,
                pin: String::new(),
                proven_ms_ago: None,
                latencies: vec![],
                standby: None,
            },
            peers: vec![],
            bans: vec![],
            recovering: false,
            freezes: vec![],
            role: NodeRole::Signer,
            work: tally_client::WorkInfo::default(),
            quorum: QuorumInfo { voters: 3, votes: 3, faulty: 1, restored: 1, limits: false },
            bundle_not_after: None,
        }
    }

    /// A node that has everything to tell that a node can.
    fn eloquent() -> NodeInfo {
        let plain = node("node-1");
        let now = UnixMillis(100_000_000);
        let key = |name: &str, ago: Option<u64>| tally_client::KeyUse {
            name: KeyName::parse(name).unwrap(),
            state: "active".into(),
            last_signature: ago.map(|ms| UnixMillis(now.0 - ms)),
        };
        let work = tally_client::WorkInfo {
            keys: vec![key("hot", Some(90_000)), key("cold", None)],
            calls: 41,
            queued: 9,
            requests: 33,
            reload: Some((UnixMillis(now.0 - 60_000), None)),
            ..tally_client::WorkInfo::default()
        };
        let peer = |name: &str, reachable, clock_offset_ms| PeerInfo {
            node: NodeName::parse(name).unwrap(),
            address: format!("{name}.example:7101"),
            reachable,
            incarnation: Incarnation(3),
            bundle_digest: Some(plain.bundle_digest),
            clock_offset_ms,
            fenced: name == "node-3",
            role: NodeRole::Signer,
        };
        let latency = LatencyInfo { operation: "sign_identity".into(), count: 17, p50_us: 250, p99_us: 900 };
        let hsm = HsmInfo {
            label: "tally-node-1".into(),
            serial: "0123abcd".into(),
            model: "Soft 2.6".into(),
            queued: 5,
            hung: 1,
            proven_ms_ago: Some(4_000),
            pin: "ok".into(),
            latencies: vec![latency],
            ..plain.hsm.clone()
        };
        NodeInfo {
            time: now,
            sessions: 6,
            keys: 2,
            log_size: 812,
            peers: vec![peer("node-2", true, Some(-1_250)), peer("node-3", false, None)],
            work,
            hsm,
            ..plain
        }
    }

    /// The list of what an operator asks for first: peers, keys, sessions, last signature of each key and its age, queue, clock
    /// offset, HSM.
    #[test]
    fn text_and_json_tell_peers_keys_sessions_signatures_queue_clocks_and_hsm() {
        let answers = [("https://one", Ok(eloquent()))];
        let text = record("https://one", &answers[0].1);
        for part in [
            "node-1 up at https://one",
            "node-2 (signer) at node-2.example:7101: reachable, clock 1 s 250 ms behind",
            "node-3 (signer) at node-3.example:7101: away, FENCED",
            "2 keys, 6 sessions",
            "hot (active): last signature 90 s ago",
            "cold (active): no signature of late",
            "41 calls, 9 of them wait; 33 requests",
            "certificates read again 60 s ago",
            "ok, tally-node-1 (Soft 2.6, serial 0123abcd)",
            "breaker closed, 1 workers, 1 hung, 5 queued, PIN ok, last signed 4 s ago",
            "17 sign_identity: p50 250 us, p99 900 us",
            "812 leaves",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        let told = to_json("https://one", &answers[0].1);
        let peer = &told["peers"][0];
        assert_eq!(
            (&peer["node"], &peer["reachable"], &peer["clock_offset_ms"]),
            (&json!("node-2"), &json!(true), &json!(-1_250))
        );
        assert_eq!((&told["peers"][1]["fenced"], &told["peers"][1]["clock_offset_ms"]), (&json!(true), &json!(null)));
        assert_eq!((&told["keys"], &told["sessions"], &told["log_size"]), (&json!(2), &json!(6), &json!(812)));
        let (hot, cold) = (&told["work"]["keys"][0], &told["work"]["keys"][1]);
        assert_eq!(
            (&hot["name"], &hot["last_signature_ms"], &hot["age_ms"]),
            (&json!("hot"), &json!(99_910_000), &json!(90_000))
        );
        assert_eq!((&cold["last_signature_ms"], &cold["age_ms"]), (&json!(null), &json!(null)));
        let queue = ["calls", "queued", "requests"].map(|field| told["work"][field].as_u64());
        assert_eq!(queue, [Some(41), Some(9), Some(33)]);
        assert_eq!(told["work"]["reload"], json!({ "at_ms": 99_940_000, "fault": null }));
        let hsm = &told["hsm"];
        assert_eq!((&hsm["ok"], &hsm["serial"], &hsm["queued"]), (&json!(true), &json!("0123abcd"), &json!(5)));
        assert_eq!((&hsm["latencies"][0]["p99_us"], &hsm["proven_ms_ago"]), (&json!(900), &json!(4_000)));
        let away = to_json("b", &Err(ClientError::Deadline { endpoint: "b".into() }));
        assert_eq!((&away["up"], away["error"].is_string()), (&json!(false), true));
    }

    #[test]
    fn what_is_not_well_is_said_and_does_not_end_with_0() {
        let well = shown(&[("a", Ok(node("node-1")))]);
        assert!(!format!("{well:?}").contains("NOT WELL"));
        let over = NodeInfo { time: UnixMillis(2), bundle_not_after: Some(UnixMillis(1)), ..node("node-1") };
        let text = format!("{:?}", shown(&[("a", Ok(over))]));
        assert!(text.contains("NOT WELL: the bundle of node-1 EXPIRED") && text.contains("Unavailable"), "{text}");
    }
}
