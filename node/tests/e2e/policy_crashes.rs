//! Nodes that are away, killed or given other files while bundles change: the highest version stays, and all come to it.

use crate::harness::admins::{self, *};
use crate::harness::cluster::{Cluster, refuses, tallyd};
use crate::harness::orders::*;
use std::time::{Duration, Instant};
use tally_audit::verify::{Basis, verify_together};
use tally_client::Order;
use tally_domain::Reason;
use tally_domain::activation::BundleName;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_2_3_a_node_killed_at_any_durable_step_comes_to_the_bundle_that_the_others_have() {
    let (mut cluster, first) = admins::start().await;
    let mut chain = vec![first];
    let client = cluster.client("payouts-1");
    create_fast(&client).await;
    let places = ["bundle-seen", "bundle-vote", "bundle-active"];
    let moments = places.iter().flat_map(|place| [format!("{place}.before"), format!("{place}.after")]);
    for (n, place) in moments.enumerate() {
        // The one that is asked, and one that is told.
        let (victim, asked) = (n % 2, 0);
        cluster.kill(victim);
        cluster.launch(victim, &[("TALLY_FAILPOINT", &place)]);
        cluster.serving(victim).await;
        let last = chain.last().unwrap();
        let next = last.next(last.bundle.version() + 1, SAME, &[ALICE, BOB]);
        // It may have died before it could answer.
        let _ = admins::propose(&cluster.at(asked), &next).await;
        cluster.died(victim).await;
        cluster.launch(victim, &[]);
        cluster.serving(victim).await;
        // Whoever was asked and died before it had told anyone knows nothing.
        admins::propose(&cluster.at(asked), &next).await.unwrap();
        for i in 0..3 {
            decides_by(&cluster, i, &next).await;
        }
        sign(&cluster.at(victim), say(&place)).await.unwrap();
        chain.push(next);
    }
    assert_eq!(chain.len(), 7);
    logs_verify(&cluster, &chain.iter().collect::<Vec<_>>()).await;
}

/// Waits until a node has heard of a veto.
async fn vetoed_at(cluster: &Cluster, i: usize, version: u64) {
    let end = Instant::now() + Duration::from_secs(30);
    while state(cluster, i, version).await != "vetoed" {
        assert!(Instant::now() < end, "node {i} has not heard of the veto of {version}: {}", cluster.log_of(i));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_2_3_a_veto_holds_once_it_is_durable_and_can_be_given_again_until_then() {
    let (mut cluster, first) = admins::prepare();
    for i in 0..3 {
        // What loosens waits here for longer than nodes take to be killed and to come back.
        let config = cluster.nodes[i].dir.join("node.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, text.replace("delay_max = \"3s\"", "delay_max = \"600s\"")).unwrap();
        cluster.launch(i, &[]);
    }
    cluster.all_serving().await;
    let client = cluster.client("payouts-1");
    let mut vetoed = Vec::new();
    // The node that is asked, and one that is told.
    let places = [(0, "before"), (0, "after"), (1, "before"), (1, "after")];
    for (version, (victim, moment)) in (2..).zip(places) {
        let looser = first.next(version, LOOSER, &[ALICE, BOB]);
        assert_eq!(admins::propose(&client, &looser).await.unwrap().proposal.state, "waiting");
        let name = BundleName { version, digest: looser.digest() };
        let veto = client.seal(Order::veto_policy(name).unwrap()).unwrap();
        cluster.kill(victim);
        cluster.launch(victim, &[("TALLY_FAILPOINT", &format!("bundle-veto.{moment}"))]);
        cluster.serving(victim).await;
        let outcome = cluster.at(0).veto(&veto).await;
        assert_eq!(outcome.is_ok(), victim != 0, "{victim} {moment}: {outcome:?}");
        cluster.died(victim).await;
        if (victim, moment) == (0, "before") {
            assert_eq!(state(&cluster, 1, version).await, "waiting", "nobody has heard of it");
        }
        cluster.launch(victim, &[]);
        cluster.serving(victim).await;
        let own = state(&cluster, victim, version).await;
        match (victim, moment) {
            (0, "before") => assert_eq!(own, "waiting"),
            (_, "after") => assert_eq!(own, "vetoed"),
            // It may have been told again meanwhile.
            _ => {}
        }
        // The same request once more: it vetoes now, or says that it has.
        let again = cluster.at(0).veto(&veto).await.unwrap();
        assert_eq!(again.rule.is_some(), (victim, moment) == (0, "before"), "{victim} {moment}");
        for i in 0..3 {
            vetoed_at(&cluster, i, version).await;
            assert_eq!(reason(cluster.at(i).activate(version).await), Reason::BundleVetoed, "{victim} {moment} {i}");
            assert_eq!(cluster.at(i).policy().await.unwrap().digest, first.digest());
        }
        vetoed.push(looser);
    }
    let facts = vetoed.iter().fold(bundles(&[&first]), |all, one| all.and(bundles(&[&first, one])));
    let logs = crate::main_job::logs_of(&cluster).await;
    verify_together(Basis::from(first.bundle.roster()).under(&facts), &logs).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_away_catches_up_before_it_serves_and_a_veto_reaches_it() {
    let (mut cluster, first) = admins::start().await;
    let client = cluster.client("payouts-1");
    create_fast(&client).await;
    // All three have seen it; two decide by it while the third is away.
    let looser = first.next(2, LOOSER, &[ALICE, BOB]);
    admins::propose(&client, &looser).await.unwrap();
    cluster.kill(2);
    cluster.launch(2, &[("TALLY_FAILPOINT", "bundle-active.before")]);
    cluster.died(2).await;
    for i in 0..2 {
        decides_by(&cluster, i, &looser).await;
    }
    // What was opened meanwhile is decided under the new bundle by those that have it.
    sign(&client, say("two of three")).await.unwrap();
    // Two nodes are no quorum of three: it waits for the third, which has also missed a veto.
    let waits = looser.next(3, SAME, &[ALICE, BOB]);
    let proposed = admins::propose(&client, &waits).await.unwrap();
    assert_eq!(proposed.proposal.state, "ready");
    let not = proposed.not_active.unwrap();
    assert_eq!((not.reason.as_str(), not.votes_needed, not.votes), ("PARTICIPANTS", 3, 2));
    let looser_still = looser.next(4, ("policy.cedar", "decimal(\"5000\")", "decimal(\"6000\")"), &[ALICE, BOB]);
    admins::propose(&client, &looser_still).await.unwrap();
    let name = BundleName { version: 4, digest: looser_still.digest() };
    let vetoed = client.veto(&client.seal(Order::veto_policy(name).unwrap()).unwrap()).await.unwrap();
    assert_eq!(vetoed.told.waiting.len(), 1);
    cluster.launch(2, &[]);
    cluster.serving(2).await;
    let active = cluster.at(2).policy().await.unwrap();
    assert!(active.version >= 2, "it serves with version {}", active.version);
    for i in 0..3 {
        decides_by(&cluster, i, &waits).await;
        assert_ne!(state(&cluster, i, 4).await, "active");
    }
    sign(&cluster.at(2), say("back")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_2_4_no_file_takes_a_node_back_to_an_older_bundle() {
    let (mut cluster, first) = admins::start().await;
    let tighter = first.next(2, TIGHTER, &[ALICE, BOB]);
    admins::propose(&cluster.at(0), &tighter).await.unwrap();
    for i in 0..3 {
        decides_by(&cluster, i, &tighter).await;
    }
    // The first bundle's file is still there, and is not what a restart goes by.
    cluster.stop(0);
    cluster.launch(0, &[]);
    cluster.serving(0).await;
    assert_eq!(cluster.at(0).policy().await.unwrap().digest, tighter.digest());
    assert_eq!(
        reason(admins::propose(&cluster.at(0), &first.next(2, LOOSER, &[ALICE, BOB])).await),
        Reason::BundleForked
    );
    cluster.stop(0);
    let config = cluster.nodes[0].dir.join("node.toml");
    let good = std::fs::read_to_string(&config).unwrap();
    let other = first.next(3, LOOSER, &[ALICE, BOB]);
    std::fs::write(cluster.dir.path().join("other.bundle"), other.bytes()).unwrap();
    let pinned = |digest| {
        good.replace(&first.digest().to_string(), &format!("{digest}")).replace("first.bundle", "other.bundle")
    };
    for (text, wanted) in [
        (pinned(other.digest()), "a node never changes its first bundle"),
        (good.replace("[policy]", "bundle_dir = \"../policy\"\n[policy]"), "unknown field"),
        (
            good.replace("\"development\"", "\"production\""),
            "`delay_max` under [policy] is for `mode = \"development\"` only",
        ),
        (
            good.split("[policy]").next().unwrap().replace("[tls]", "bundle_dir = \"../policy\"\n[tls]"),
            "does not go back to a directory",
        ),
        (good.split("[policy]").next().unwrap().to_owned(), "the configuration needs one of [policy]"),
    ] {
        std::fs::write(&config, text).unwrap();
        let said = refuses(tallyd(&config));
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    std::fs::write(&config, good).unwrap();
    cluster.launch(0, &[]);
    cluster.serving(0).await;
    assert_eq!(cluster.at(0).policy().await.unwrap().digest, tighter.digest());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_bundle_is_the_pinned_one_signed_by_enough_and_within_its_time() {
    let (cluster, first) = admins::prepare();
    let file = cluster.dir.path().join("first.bundle");
    let config = cluster.nodes[0].dir.join("node.toml");
    let other = first.next(2, TIGHTER, &[ALICE, BOB]);
    std::fs::write(&file, other.bytes()).unwrap();
    let said = refuses(tallyd(&config));
    assert!(said.contains("is not the one that [policy] pins") && said.contains(&first.digest().to_string()), "{said}");
    std::fs::write(&file, b"[policy]").unwrap();
    let said = refuses(tallyd(&config));
    assert!(said.contains("is no signed policy bundle"), "{said}");
    let mut unsigned = first.envelope.to_bytes();
    let signature = unsigned.len() - 1;
    unsigned[signature] ^= 1;
    std::fs::write(&file, unsigned).unwrap();
    let said = refuses(tallyd(&config));
    assert!(said.contains("does not verify"), "{said}");
    let text = std::fs::read_to_string(&config).unwrap();
    let directory = text.split("[policy]").next().unwrap().replace("[tls]", "bundle_dir = \"../policy\"\n[tls]");
    std::fs::write(&config, directory.replace("\"development\"", "\"production\"")).unwrap();
    let said = refuses(tallyd(&config));
    assert!(said.contains("`bundle_dir` is a policy that nobody has signed"), "{said}");
}
