//! Approvals on real nodes: what waits is signed when enough persons have approved, whoever is there by then, and a rejection
//! is final everywhere.

use crate::harness::cluster::Cluster;
use crate::harness::orders::*;
use crate::harness::people::*;
use crate::harness::watch;
use crate::main_job::logs_of;
use tally_audit::verify::{Basis, verify_together};
use tally_client::{Client, Order, RequestState};
use tally_domain::approval::Verdict;
use tally_domain::{HsmScheme, KeySpec, Purpose, Reason, RequestId, Scheme, Threshold};

async fn logs_verify(cluster: &Cluster) {
    let bundle = tally_node::load_bundle(&cluster.dir.path().join("policy")).unwrap();
    let persons = OfBundle(&bundle);
    let logs = logs_of(cluster).await;
    verify_together(Basis::from(bundle.roster()).with_approvers(&[&persons]), &logs).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_two_persons_approve_is_signed_without_the_client_and_given_to_it_later() {
    let cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    let board = create_board(&client).await;
    let order = minute("the minutes");
    let intent = client.seal(order).unwrap();
    let id = intent.request_id();
    let refusal = client.sign(&intent).await.unwrap_err();
    let refused = refusal.refused().unwrap();
    assert_eq!(
        (refused.reason, &*refused.metadata["missing_1"]),
        (Reason::ApprovalsRequired, "minutes: 2 of treasury")
    );
    let mut shown = Vec::new();
    for i in 0..3 {
        shown.push(holds(&cluster, i, id, 0).await);
        let state = cluster.at(i).request(id).await.unwrap().state;
        assert!(matches!(&state, RequestState::AwaitingApproval(Some(p)) if p.needs == shown[i].needs), "{state:?}");
        assert_eq!(cluster.at(i).pending().await.unwrap().len(), 1);
    }
    assert!(shown.iter().all(|p| p.summary == shown[0].summary && p.summary_digest == shown[0].summary_digest));
    assert_eq!(shown[0].summary, "client payouts-1 asks to sign with key board\ntext message of 11 bytes");
    assert_eq!(shown[2].owner.as_str(), "node-1");
    // carol operates the client.
    let asked: Vec<_> = shown[1].approvers.iter().map(|(person, _)| person.as_str()).collect();
    assert_eq!(asked, ["alice", "bob"]);

    let waiting = |i| watch::number(&cluster, i, "tally_requests_waiting_for_persons");
    assert_eq!([0, 1, 2].map(waiting), [1.0; 3]);

    let after_one = approves(&cluster.at(1), id, "alice").await.unwrap();
    assert_eq!((after_one.state.as_str(), &after_one.needs[0][0].missing), ("waiting", &vec![("treasury".into(), 1)]));
    for i in 0..3 {
        holds(&cluster, i, id, 1).await;
    }
    // The same request again, at any node, still waits.
    for i in 0..3 {
        let refusal = cluster.at(i).sign(&intent).await.unwrap_err();
        assert_eq!(refusal.refused().unwrap().metadata["missing_1"], "minutes: 1 of treasury", "node {i}");
    }
    drop(client);
    let last = approves(&cluster.at(2), id, "bob").await.unwrap();
    assert_eq!(last.state, "approved");
    let signed = done(&cluster, 0, id).await;
    verified_ed25519(&board, b"the minutes", &signed.signature);
    assert_eq!(signed.rule, "minutes");
    for i in 0..3 {
        assert_eq!(done(&cluster, i, id).await, signed);
        assert_eq!(cluster.at(i).sign(&intent).await.unwrap(), signed);
        let said = cluster.at(i).request(id).await.unwrap().said;
        assert_eq!(said.iter().map(|s| s.person.as_str()).collect::<Vec<_>>(), ["alice", "bob"]);
        assert_eq!(reason(cluster.at(i).summary(id).await), Reason::NotWaiting);
    }
    assert_eq!([0, 1, 2].map(waiting), [0.0; 3]);
    logs_verify(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejection_is_final_at_every_node_and_after_a_restart() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    create_board(&client).await;
    let intent = asked(&client, minute("no")).await;
    let id = intent.request_id();
    approves(&cluster.at(0), id, "alice").await.unwrap();
    let shown = holds(&cluster, 1, id, 1).await;
    let rejected = says(&cluster.at(1), id, "bob", Verdict::Reject).await.unwrap();
    assert_eq!(rejected.state, "rejected");
    for round in 0..2 {
        for i in 0..3 {
            let is_rejected = async |c: Client| match c.request(id).await.ok()?.state {
                RequestState::Refused(word) if word == "REJECTED" => Some(()),
                _ => None,
            };
            until(&cluster, i, "it must be rejected", is_rejected).await;
            let refusal = cluster.at(i).sign(&intent).await.unwrap_err();
            let refused = refusal.refused().unwrap();
            assert_eq!((refused.reason, &*refused.metadata["rejected_by"]), (Reason::Rejected, "bob"), "{round} {i}");
            let late = signed_by(&shown, "alice", Verdict::Approve);
            let again = statement(&shown, "alice", Verdict::Approve).sign(&key_of("alice-2"));
            assert_eq!(reason(cluster.at(i).submit_approval(&again).await), Reason::Rejected);
            // The very same statement again changes nothing.
            assert!(cluster.at(i).submit_approval(&late).await.is_ok_and(|p| p.state == "rejected"));
        }
        for i in 0..3 {
            cluster.kill(i);
            cluster.launch(i, &[]);
        }
        cluster.all_serving().await;
    }
    logs_verify(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn approvals_outlive_restarts_but_not_the_bundle_under_which_they_were_given() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    let board = create_board(&client).await;
    let (kept, anew) = (asked(&client, minute("kept")).await, asked(&client, minute("anew")).await);
    for intent in [&kept, &anew] {
        approves(&cluster.at(0), intent.request_id(), "alice").await.unwrap();
        for i in 0..3 {
            holds(&cluster, i, intent.request_id(), 1).await;
        }
    }
    restart(&mut cluster).await;
    let last = approves(&cluster.at(1), kept.request_id(), "bob").await.unwrap();
    assert_eq!(last.state, "approved");
    verified_ed25519(&board, b"kept", &done(&cluster, 2, kept.request_id()).await.signature);

    let before = cluster.at(1).summary(anew.request_id()).await.unwrap();
    std::fs::write(cluster.dir.path().join("policy/bundle.toml"), "version = 2\n").unwrap();
    restart(&mut cluster).await;
    for i in 0..3 {
        let shown = holds(&cluster, i, anew.request_id(), 0).await;
        assert_ne!(shown.bundle, before.bundle);
        assert_eq!(shown.needs[0][0].missing, [("treasury".to_owned(), 2)]);
        let said = cluster.at(i).explain(anew.request_id()).await.unwrap().said;
        assert!(said.iter().all(|s| s.void.as_deref().is_some_and(|why| why.contains("another bundle"))), "{said:?}");
        let old = signed_by(&before, "bob", Verdict::Approve);
        assert_eq!(reason(cluster.at(i).submit_approval(&old).await), Reason::ApprovalMismatch);
    }
    approves(&cluster.at(2), anew.request_id(), "bob").await.unwrap();
    holds(&cluster, 0, anew.request_id(), 1).await;
    approves(&cluster.at(0), anew.request_id(), "alice").await.unwrap();
    verified_ed25519(&board, b"anew", &done(&cluster, 1, anew.request_id()).await.signature);
}

async fn restart(cluster: &mut Cluster) {
    for i in 0..3 {
        cluster.stop(i);
        cluster.launch(i, &[]);
    }
    cluster.all_serving().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_transfer_and_a_key_in_an_hsm_wait_alike() {
    let cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    let spec = KeySpec {
        scheme: Scheme::EcdsaSecp256k1,
        threshold: Threshold::new(2, 3).unwrap(),
        purpose: Purpose::Transaction,
    };
    let cold = client.create_key(&client.seal(Order::create_key(key("cold"), spec)).unwrap()).await.unwrap().key;
    let transfer = Order::sign_evm(key("cold"), "eip155:1", usdc(1, 7, 250_000_000_000)).valid_for(3_600_000);
    let intent = asked(&cluster.at(2), transfer).await;
    let id = intent.request_id();
    let shown = holds(&cluster, 0, id, 0).await;
    assert!(shown.summary.contains("250000 USDC") && shown.owner.as_str() == "node-3", "{shown:?}");
    // bob and alice are both of the treasury: risk is still missing.
    approves(&cluster.at(0), id, "alice").await.unwrap();
    assert_eq!(holds(&cluster, 2, id, 1).await.needs[0][0].missing, [("risk".to_owned(), 1)]);
    approves(&cluster.at(0), id, "dora").await.unwrap();
    let signed = done(&cluster, 1, id).await;
    assert_eq!(recovered(&signed), cold.public_key);
    // What needs nobody is not held up by the rule for what does.
    let small = Order::sign_evm(key("cold"), "eip155:1", usdc(1, 8, 1_000_000));
    assert_eq!(sign(&client, small).await.unwrap().rule, "payouts-small");

    let seal = create_hsm(&client, "seal", &in_hsm_of(1, HsmScheme::Ed25519, Purpose::Message)).await.unwrap();
    let order = Order::sign_message(key("seal"), b"sealed".to_vec()).valid_for(3_600_000);
    let intent = asked(&client, order).await;
    let id = intent.request_id();
    for i in 0..3 {
        assert_eq!(holds(&cluster, i, id, 0).await.owner.as_str(), "node-2");
    }
    // Through nodes that do not hold the key.
    approves(&cluster.at(0), id, "alice").await.unwrap();
    holds(&cluster, 2, id, 1).await;
    approves(&cluster.at(2), id, "bob").await.unwrap();
    let signed = done(&cluster, 1, id).await;
    seal.verify(b"sealed", &signed.signature).unwrap();
    assert_eq!(client.sign(&intent).await.unwrap(), signed);
    for i in [0, 2] {
        assert_eq!(done(&cluster, i, id).await, signed);
    }
    logs_verify(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_dies_after_the_last_approval_signs_when_it_is_back_and_others_sign_without_it() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    let board = create_board(&client).await;
    // The last approval is on the owner's disk, and nobody else has heard of it.
    let id = asked(&client, minute("owner alone")).await.request_id();
    approves(&cluster.at(1), id, "alice").await.unwrap();
    let shown = holds(&cluster, 0, id, 1).await;
    cluster.kill(0);
    cluster.launch(0, &[("TALLY_FAILPOINT", "said.after")]);
    cluster.serving(0).await;
    assert!(cluster.at(0).submit_approval(&signed_by(&shown, "bob", Verdict::Approve)).await.is_err());
    cluster.died(0).await;
    assert_eq!(cluster.at(1).summary(id).await.unwrap().said.len(), 1);
    cluster.launch(0, &[]);
    cluster.serving(0).await;
    verified_ed25519(&board, b"owner alone", &done(&cluster, 2, id).await.signature);

    // The owner is gone for good.
    let id = asked(&client, minute("others")).await.request_id();
    holds(&cluster, 1, id, 0).await;
    holds(&cluster, 2, id, 0).await;
    cluster.kill(0);
    approves(&cluster.at(1), id, "alice").await.unwrap();
    approves(&cluster.at(1), id, "bob").await.unwrap();
    let signed = done(&cluster, 2, id).await;
    verified_ed25519(&board, b"others", &signed.signature);
    cluster.launch(0, &[]);
    cluster.serving(0).await;
    assert_eq!(done(&cluster, 0, id).await, signed);
    logs_verify(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_3_3_a_node_killed_around_a_durable_step_of_an_approval_loses_nothing() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    let board = create_board(&client).await;
    let places = ["await.before", "await.after", "said.before", "said.after"];
    for (n, (place, victim)) in (1u8..).zip(places.iter().flat_map(|place| [(*place, 0), (*place, 1)])) {
        let text = format!("{place} {victim}");
        let id = RequestId([n; 16]);
        let intent = client.seal(minute(&text).request_id(id)).unwrap();
        cluster.kill(victim);
        cluster.launch(victim, &[("TALLY_FAILPOINT", place)]);
        cluster.serving(victim).await;
        let _ = cluster.at(0).sign(&intent).await;
        if place.starts_with("said") {
            // Told of it, or asked, the victim dies when it writes down what alice says.
            let _ = approves(&cluster.at(0), id, "alice").await;
        }
        cluster.died(victim).await;
        cluster.launch(victim, &[]);
        cluster.serving(victim).await;
        // Whoever asked asks again, as they would.
        assert_eq!(reason(cluster.at(0).sign(&intent).await), Reason::ApprovalsRequired, "{place} {victim}");
        let shown = holds_any(&cluster, 1, id).await;
        let _ = cluster.at(0).submit_approval(&signed_by(&shown, "alice", Verdict::Approve)).await;
        holds(&cluster, 1, id, 1).await;
        approves(&cluster.at(1), id, "bob").await.unwrap();
        let signed = done(&cluster, 0, id).await;
        verified_ed25519(&board, text.as_bytes(), &signed.signature);
        assert_eq!(done(&cluster, 1, id).await, signed, "{place} {victim}");
    }
    logs_verify(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn witnesses_vote_on_what_persons_approved_and_a_limit_holds_for_it_too() {
    let limit = "[[limit]]\nid = \"board-hour\"\nkey = \"board\"\ncount = 1\nper = \"1h\"\n";
    let cluster = Cluster::limited(limit).await;
    let client = cluster.client("payouts-1");
    let board = create_board(&client).await;
    let one = asked(&client, minute("one")).await.request_id();
    for i in 0..5 {
        holds(&cluster, i, one, 0).await;
    }
    // Through a witness, which holds no share and tells the others.
    approves(&cluster.at(4), one, "alice").await.unwrap();
    holds(&cluster, 1, one, 1).await;
    approves(&cluster.at(1), one, "bob").await.unwrap();
    let signed = done(&cluster, 0, one).await;
    verified_ed25519(&board, b"one", &signed.signature);

    // Approved all the same, and no unit is left: it waits on, and says why.
    let two = asked(&client, minute("two")).await;
    approves(&cluster.at(0), two.request_id(), "alice").await.unwrap();
    approves(&cluster.at(0), two.request_id(), "bob").await.unwrap();
    let full = async |c: Client| {
        let pending = c.summary(two.request_id()).await.ok()?;
        let why = (pending.reason.as_deref()?, pending.limit.as_deref()?, pending.room_at.is_some());
        (pending.state == "approved" && why == ("VELOCITY_LIMIT", "board-hour", true)).then_some(())
    };
    until(&cluster, 0, "it must say why it is not signed", full).await;
    assert_eq!(reason(cluster.at(0).sign(&two).await), Reason::VelocityLimit);
    let shown = cluster.at(0).request(two.request_id()).await.unwrap().state;
    assert!(
        matches!(&shown, RequestState::AwaitingApproval(Some(p)) if p.limit.as_deref() == Some("board-hour")),
        "{shown:?}"
    );
    let listed = cluster.at(0).requests(10, None).await.unwrap().requests;
    let listed = listed.into_iter().find(|r| r.request_id == two.request_id()).unwrap().state;
    assert!(matches!(listed, RequestState::AwaitingApproval(None)), "{listed:?}");
    let outcome = cluster.at(0).explain(two.request_id()).await.unwrap().outcome.unwrap();
    assert_eq!((outcome.state.as_str(), outcome.reason.as_deref()), ("approved", Some("VELOCITY_LIMIT")));
    assert_eq!(outcome.limit.as_deref(), Some("board-hour"));
    logs_verify(&cluster).await;
}

async fn holds_any(cluster: &Cluster, i: usize, id: RequestId) -> tally_client::PendingInfo {
    until(cluster, i, "it must hold the request", async |c: Client| c.summary(id).await.ok()).await
}
