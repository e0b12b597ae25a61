//! Signed bundles on real nodes: what tightens bites at once, what loosens waits and can be vetoed, and all walk one chain.

use crate::harness::admins::{self, *};
use crate::harness::cluster::{CLUSTER, Cluster};
use crate::harness::orders::*;
use crate::harness::raw::{self, typed};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tally_audit::verify::{Basis, Oddity, Report, verify_together};
use tally_client::{Client, Order};
use tally_domain::Reason;
use tally_domain::activation::BundleName;
use tally_proto::v1;
use tally_proto::v1::node_service_client::NodeServiceClient;
use tonic::Code;
use tonic::transport::Channel;

fn veto_of(client: &Client, bundle: &Signed) -> tally_client::SealedIntent {
    let name = BundleName { version: bundle.bundle.version(), digest: bundle.digest() };
    client.seal(Order::veto_policy(name).unwrap()).unwrap()
}

/// 100 bytes: permitted by the first bundle, and not by what tightens it.
fn long(n: usize) -> Order {
    say(&format!("{n:0>100}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_2_3_what_tightens_decides_at_once_at_all_nodes_under_load() {
    let (cluster, first) = admins::start().await;
    let client = cluster.client("payouts-1");
    let fast = create_fast(&client).await;
    let (done, signed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load: Vec<_> = (0..3)
        .map(|i| {
            let (node, done, signed, fast) = (client.rotated(i), done.clone(), signed.clone(), fast.clone());
            tokio::spawn(async move {
                for n in 0.. {
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                    // Short: permitted by both. A change of bundle in the middle costs nobody anything.
                    let text = format!("{i} {n}");
                    let result = sign(&node, say(&text)).await.unwrap_or_else(|e| panic!("node {i}, {n}: {e}"));
                    verified_ed25519(&fast, text.as_bytes(), &result.signature);
                    signed.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    sign(&client, long(0)).await.unwrap();
    let tighter = first.next(2, TIGHTER, &[ALICE, CAROL]);
    let proposed = admins::propose(&cluster.at(1), &tighter).await.unwrap();
    assert_eq!((proposed.proposal.state.as_str(), proposed.proposal.tightens), ("active", true));
    assert_eq!(proposed.proposal.voted_by.len(), 3);
    for i in 0..3 {
        decides_by(&cluster, i, &tighter).await;
        assert_eq!(reason(sign(&cluster.at(i), long(i)).await), Reason::PolicyDenied, "node {i}");
        assert_eq!((state(&cluster, i, 1).await, state(&cluster, i, 2).await), ("replaced".into(), "active".into()));
    }
    let before = signed.load(Ordering::Relaxed);
    while signed.load(Ordering::Relaxed) < before + 6 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    done.store(true, Ordering::Relaxed);
    for task in load {
        task.await.unwrap();
    }
    // The same once more is no news; the old one is over.
    assert_eq!(admins::propose(&client, &tighter).await.unwrap().proposal.state, "active");
    assert_eq!(admins::propose(&client, &first).await.unwrap().proposal.state, "replaced");
    logs_verify(&cluster, &[&first, &tighter]).await;
    // Without the second bundle's signatures the logs prove nothing.
    let logs = crate::main_job::logs_of(&cluster).await;
    let findings = verify_together(Basis::from(first.bundle.roster()).under(&bundles(&[&first])), &logs).unwrap_err();
    assert!(findings.iter().any(|f| f.to_string().contains("is in no log with the signatures")), "{findings:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_2_3_what_loosens_waits_at_every_node_and_then_decides_by_itself() {
    let (cluster, first) = admins::start().await;
    let client = cluster.client("payouts-1");
    create_hot(&client).await;
    let began = Instant::now();
    let looser = first.next(2, LOOSER, &[BOB, CAROL]);
    let proposed = admins::propose(&cluster.at(0), &looser).await.unwrap();
    assert_eq!((proposed.proposal.state.as_str(), proposed.told.waiting.len()), ("waiting", 0));
    let change = &proposed.proposal.changes[0];
    assert_eq!((change.direction.as_str(), change.item.as_str()), ("looser", "payouts-small"));
    let early = cluster.at(1).activate(2).await.unwrap_err();
    let early = early.refused().unwrap();
    assert_eq!(early.reason, Reason::BundleWaits);
    assert!(early.metadata["due_ms"].parse::<u64>().unwrap() > now().0);
    assert_eq!(reason(sign(&client, pay(1, 2_000)).await), Reason::PolicyDenied);
    for i in 0..3 {
        decides_by(&cluster, i, &looser).await;
    }
    assert!(began.elapsed() >= DELAY, "it must wait");
    sign(&client, pay(2, 2_000)).await.unwrap();
    // These nodes shorten the wait, which only development may: an auditor is told.
    let reports = logs_verify(&cluster, &[&first, &looser]).await;
    let early = |r: &Report| r.warnings.iter().any(|w| w.what == Oddity::VotedEarly { version: 2 });
    assert!(reports.iter().all(early), "{reports:?}");
    the_roster_changes_while_nodes_run(&cluster, &looser).await;
}

/// A client gets another certificate by a bundle: from then on the new one is let in and the old one is not, on connections that
/// are open, and no node is started again.
async fn the_roster_changes_while_nodes_run(cluster: &Cluster, before: &Signed) {
    let old = &cluster.clients["reader"].tls;
    let new = cluster.authority.issue(&format!("spiffe://{CLUSTER}/client/reader"));
    let start = async |channel: &Channel| {
        let mut service = NodeServiceClient::new(channel.clone());
        service.get_status(v1::GetStatusRequest {}).await.map(|status| status.into_inner().incarnation)
    };
    let (with_old, with_new) =
        (raw::connect(cluster, 0, old).await.unwrap(), raw::connect(cluster, 0, &new).await.unwrap());
    let started = start(&with_old).await.unwrap();
    let nobody = (Code::Unauthenticated, Reason::UnknownClient);
    assert_eq!(typed(start(&with_new).await), nobody);
    let next = before.next(3, ("roster.toml", &old.spki, &new.spki), &[ALICE, BOB]);
    admins::propose(&cluster.at(1), &next).await.unwrap();
    for i in 0..3 {
        decides_by(cluster, i, &next).await;
    }
    assert_eq!(start(&with_new).await.unwrap(), started);
    assert_eq!(typed(start(&with_old).await), nobody);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_2_3_a_veto_of_one_node_keeps_all_from_it_and_the_next_number_goes_on() {
    let (mut cluster, first) = admins::start().await;
    let client = cluster.client("payouts-1");
    create_fast(&client).await;
    let looser = first.next(2, LOOSER, &[ALICE, BOB]);
    admins::propose(&client, &looser).await.unwrap();
    // A client without the right, and the wrong digest.
    let reader = cluster.client("reader").only(2).unwrap();
    assert_eq!(reason(reader.veto(&veto_of(&reader, &looser)).await), Reason::PolicyDenied);
    let other = first.next(2, TIGHTER, &[ALICE, BOB]);
    assert_eq!(reason(client.veto(&veto_of(&client, &other)).await), Reason::BundleNotFound);
    let vetoed = cluster.at(2).veto(&veto_of(&client, &looser)).await.unwrap();
    assert_eq!((vetoed.proposal.state.as_str(), vetoed.rule.as_deref()), ("vetoed", Some("veto")));
    assert_eq!((vetoed.proposal.vetoed_by.len(), vetoed.told.waiting.len()), (1, 0));
    // What was asked for is asked for again: the same veto.
    tokio::time::sleep(DELAY + Duration::from_secs(3)).await;
    for i in 0..3 {
        assert_eq!(state(&cluster, i, 2).await, "vetoed", "node {i}");
        assert_eq!(reason(cluster.at(i).activate(2).await), Reason::BundleVetoed, "node {i}");
    }
    // A restart forgets no veto.
    cluster.stop(0);
    cluster.launch(0, &[]);
    cluster.serving(0).await;
    assert_eq!(reason(cluster.at(0).activate(2).await), Reason::BundleVetoed);
    // The number is used up; its successor follows the same bundle.
    let again = admins::propose(&client, &other).await.unwrap_err();
    assert_eq!(again.refused().unwrap().reason, Reason::BundleForked);
    let third = first.next(3, TIGHTER, &[ALICE, BOB]);
    assert_eq!(admins::propose(&client, &third).await.unwrap().proposal.state, "active");
    assert_eq!(reason(client.veto(&veto_of(&client, &third)).await), Reason::BundleSettled);
    for i in 0..3 {
        decides_by(&cluster, i, &third).await;
        assert_eq!(state(&cluster, i, 2).await, "vetoed");
    }
    sign(&client, say("goes on")).await.unwrap();
    let second = &looser;
    let logs = crate::main_job::logs_of(&cluster).await;
    let facts = bundles(&[&first, &third]).and(bundles(&[&first, second]));
    verify_together(Basis::from(first.bundle.roster()).under(&facts), &logs).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tightening_overtakes_a_loosening_that_waits() {
    let (cluster, first) = admins::start().await;
    let client = cluster.client("payouts-1");
    let looser = first.next(2, LOOSER, &[ALICE, BOB]);
    admins::propose(&client, &looser).await.unwrap();
    let tighter = first.next(3, TIGHTER, &[ALICE, BOB]);
    assert_eq!(admins::propose(&cluster.at(1), &tighter).await.unwrap().proposal.state, "active");
    for i in 0..3 {
        decides_by(&cluster, i, &tighter).await;
        assert_eq!(state(&cluster, i, 2).await, "overtaken", "node {i}");
        assert_eq!(reason(cluster.at(i).activate(2).await), Reason::BundleSettled, "node {i}");
    }
}
