//! Requests that their own client takes back: no node signs them any more, whoever approves and whoever was away.

use crate::harness::cluster::Cluster;
use crate::harness::orders::*;
use crate::harness::people::*;
use crate::main_job::logs_of;
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use tally_audit::verify::{Basis, verify_together};
use tally_client::{Client, RequestState};
use tally_domain::approval::Verdict;
use tally_domain::{Reason, RequestId};
use tokio::join;

/// Enough that both sides win now and then, and few enough to be quick.
const RACES: usize = 6;

async fn logs_verify(cluster: &Cluster) {
    let bundle = tally_node::load_bundle(&cluster.dir.path().join("policy")).unwrap();
    let persons = OfBundle(&bundle);
    let logs = logs_of(cluster).await;
    verify_together(Basis::from(bundle.roster()).with_approvers(&[&persons]), &logs).unwrap();
}

async fn cancelled(cluster: &Cluster, i: usize, id: RequestId) {
    let is_cancelled = async |c: Client| match c.request(id).await.ok()?.state {
        RequestState::Refused(word) if word == "CANCELLED" => Some(()),
        _ => None,
    };
    until(cluster, i, "it must be cancelled", is_cancelled).await;
}

/// `tally`, beside the node, with this client's profile: its exit code and what it prints.
fn tally(cluster: &Cluster, args: &[&str]) -> (Option<i32>, String) {
    let program = Path::new(env!("CARGO_BIN_EXE_tallyd")).with_file_name("tally");
    let profile = cluster.dir.path().join("payouts-1/profile.toml");
    let output = Command::new(program).args(args).env("TALLY_PROFILE", profile).output().unwrap();
    let printed = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    (output.status.code(), String::from_utf8(printed).unwrap())
}

fn tally_json(cluster: &Cluster, args: &[&str]) -> (Option<i32>, Value) {
    let (code, printed) = tally(cluster, &[args, &["--json"]].concat());
    (code, serde_json::from_str(&printed).unwrap_or_else(|e| panic!("{e}: {printed}")))
}

/// What is shown before anything is taken back, and what cannot be.
async fn looked_at_first(cluster: &Cluster, id: RequestId) {
    let id = id.to_string();
    let (code, plan) = tally_json(cluster, &["request", "cancel", &id, "--dry-run"]);
    assert_eq!((code, &plan["would_cancel"], &plan["request_id"]), (Some(0), &true.into(), &id.into()), "{plan}");
    assert_eq!(cluster.at(0).pending().await.unwrap().len(), 1, "nothing was taken back");
    let (code, unknown) = tally_json(cluster, &["request", "cancel", &"09".repeat(16)]);
    assert_eq!((code, &unknown["reason"]), (Some(1), &"REQUEST_NOT_FOUND".into()), "{unknown}");
}

/// By the program, twice; then what it tells of the request, and what a node tells from its first request on.
fn cancelled_by_hand(cluster: &Cluster, id: RequestId) {
    let id = id.to_string();
    let (code, printed) = tally(cluster, &["request", "cancel", &id]);
    assert!(code == Some(0) && printed.starts_with("CANCELLED") && printed.contains(&id), "{printed}");
    let (code, again) = tally_json(cluster, &["request", "cancel", &id]);
    assert_eq!(
        (code, &again["verdict"], &again["state"], &again["reason"]),
        (Some(0), &"cancelled".into(), &"refused".into(), &"CANCELLED".into()),
        "{again}"
    );
    let (_, plan) = tally_json(cluster, &["request", "cancel", &id, "--dry-run"]);
    assert_eq!(plan["would_cancel"], false, "{plan}");
    let (_, explained) = tally_json(cluster, &["policy", "explain", &id]);
    assert_eq!(explained["outcome"]["state"], "cancelled", "{explained}");
    let (code, told) = tally(cluster, &["request", "watch", "--from", "node-1/0", "--count", "2", "--json"]);
    let told: Vec<Value> = serde_json::Deserializer::from_str(&told).into_iter().map(Result::unwrap).collect();
    let of: Vec<_> = told.iter().map(|one| (&one["request"]["action"], &one["request"]["reason"])).collect();
    let made = (&"create_key".into(), &Value::Null);
    assert_eq!((code, of), (Some(0), vec![made, (&"sign".into(), &"CANCELLED".into())]), "{told:?}");
    assert!(told[1]["cursor"].as_str().is_some_and(|cursor| cursor.starts_with("node-1/")), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_request_is_signed_nowhere_and_a_signed_one_is_not_cancelled() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    create_board(&client).await;
    let intent = asked(&client, minute("never mind")).await;
    let id = intent.request_id();
    let shown = holds(&cluster, 1, id, 0).await;
    approves(&cluster.at(0), id, "alice").await.unwrap();

    // Nobody else's, and nobody's in another's name.
    assert_eq!(reason(cluster.client("payouts-2").cancel_request(id).await), Reason::Acl);
    looked_at_first(&cluster, id).await;
    // A node that is away is not needed: two of three are enough, and hear of it first from each other.
    cluster.kill(2);
    cancelled_by_hand(&cluster, id);
    for i in [1, 0] {
        let state = cluster.at(i).cancel_request(id).await.unwrap().state;
        assert_eq!(state, RequestState::Refused("CANCELLED".into()), "node {i}");
    }
    cluster.launch(2, &[]);
    cluster.serving(2).await;
    cancelled(&cluster, 2, id).await;
    for round in 0..2 {
        for i in 0..3 {
            cancelled(&cluster, i, id).await;
            assert_eq!(reason(cluster.at(i).sign(&intent).await), Reason::Cancelled, "{round} {i}");
            let late = signed_by(&shown, "bob", Verdict::Approve);
            assert_eq!(reason(cluster.at(i).submit_approval(&late).await), Reason::Cancelled, "{round} {i}");
            assert_eq!(cluster.at(i).pending().await.unwrap(), []);
        }
        cluster.kill(0);
        cluster.launch(0, &[]);
        cluster.serving(0).await;
    }

    // What is signed stays signed.
    let intent = asked(&client, minute("the minutes")).await;
    let id = intent.request_id();
    approves(&cluster.at(0), id, "alice").await.unwrap();
    approves(&cluster.at(1), id, "bob").await.unwrap();
    let signed = done(&cluster, 0, id).await;
    for i in 0..3 {
        done(&cluster, i, id).await;
        assert_eq!(reason(cluster.at(i).cancel_request(id).await), Reason::AlreadySigned);
        assert_eq!(cluster.at(i).sign(&intent).await.unwrap(), signed);
    }
    let (code, late) = tally_json(&cluster, &["request", "cancel", &id.to_string()]);
    assert_eq!((code, &late["reason"]), (Some(1), &"ALREADY_SIGNED".into()), "{late}");
    // A node alone cannot promise it for the others.
    let intent = asked(&client, minute("alone")).await;
    holds(&cluster, 1, intent.request_id(), 0).await;
    cluster.kill(1);
    cluster.kill(2);
    assert_eq!(reason(cluster.at(0).cancel_request(intent.request_id()).await), Reason::InDoubt);
    for i in [1, 2] {
        cluster.launch(i, &[]);
        cluster.serving(i).await;
    }
    cluster.at(0).cancel_request(intent.request_id()).await.unwrap();
    logs_verify(&cluster).await;
}

/// Whichever comes first wins, at all nodes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancellation_beside_the_last_approval_has_one_outcome() {
    let cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    create_board(&client).await;
    for race in 0..RACES {
        let intent = asked(&client, minute(&format!("race {race}"))).await;
        let id = intent.request_id();
        approves(&cluster.at(0), id, "alice").await.unwrap();
        let shown = holds(&cluster, 1, id, 1).await;
        let last = signed_by(&shown, "bob", Verdict::Approve);
        let (approver, canceller) = (cluster.at(1), cluster.at(race % 3));
        let cancel = async {
            // From neck to neck to a length behind.
            tokio::time::sleep(std::time::Duration::from_millis(2 * race as u64)).await;
            canceller.cancel_request(id).await
        };
        let (_, outcome) = join!(approver.submit_approval(&last), cancel);
        match outcome.map_err(|e| e.refused().unwrap().reason) {
            Ok(_) => {
                for i in 0..3 {
                    cancelled(&cluster, i, id).await;
                    assert_eq!(reason(cluster.at(i).sign(&intent).await), Reason::Cancelled, "race {race}");
                }
            }
            Err(Reason::AlreadySigned) => {
                let signed = done(&cluster, 0, id).await;
                for i in 1..3 {
                    assert_eq!(done(&cluster, i, id).await, signed, "race {race}");
                }
            }
            Err(other) => panic!("race {race}: {other:?}"),
        }
    }
    logs_verify(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_was_never_begun_is_cancelled_before_it_comes() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    create_fast(&client).await;
    // Its node has no partner, and knows the request; then it is taken back.
    cluster.kill(1);
    cluster.kill(2);
    let intent = client.seal(say("not begun")).unwrap();
    assert_eq!(reason(cluster.at(0).sign(&intent).await), Reason::Signers);
    for i in [1, 2] {
        cluster.launch(i, &[]);
        cluster.serving(i).await;
    }
    cluster.at(0).cancel_request(intent.request_id()).await.unwrap();
    for i in 0..3 {
        assert_eq!(reason(cluster.at(i).sign(&intent).await), Reason::Cancelled, "node {i}");
    }
    logs_verify(&cluster).await;
}
