//! Limits in real processes: three signers and two witnesses, of whom four must agree.

use crate::harness::cluster::Cluster;
use crate::harness::orders::*;
use crate::harness::people::until;
use crate::harness::raw::{self, typed};
use crate::harness::vault::verified;
use crate::harness::watch;
use crate::limits_votes::Asker;
use std::collections::BTreeMap;
use tally_client::{Client, ClientError, RequestState, SealedIntent, Signed};
use tally_domain::{Reason, RequestId};
use tonic::Code;

/// Three messages an hour, and a thousand USDC a day.
const LIMITS: &str = r#"
[[limit]]
id = "fast-hour"
key = "fast"
action = "sign_message"
count = 3
per = "1h"

[[limit]]
id = "hot-usdc-day"
key = "hot"
asset = "USDC"
max = "1_000"
per = "24h"
"#;

/// The fourth and fifth node.
const WITNESSES: [usize; 2] = [3, 4];

/// A refusal's reason and facts; anything else fails the test.
fn refused(outcome: Result<Signed, ClientError>) -> (Reason, BTreeMap<String, String>) {
    let error = outcome.expect_err("this must be refused");
    let refused = error.refused().unwrap_or_else(|| panic!("not a typed refusal: {error:?}"));
    (refused.reason, refused.metadata.clone())
}

/// Refused for this limit, with room in so many seconds at most.
fn full(outcome: Result<Signed, ClientError>, limit: &str, window_s: u64) {
    let (reason, facts) = refused(outcome);
    assert_eq!((reason, facts["limit"].as_str()), (Reason::VelocityLimit, limit), "{facts:?}");
    let room_in_s: u64 = facts["room_in_s"].parse().unwrap();
    // What is voted for excludes others for the window, a certificate's life and what clocks may be off.
    assert!((window_s - 120..=window_s + 67).contains(&room_in_s), "{facts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_holds_exactly_whichever_leader_is_asked() {
    let cluster = Cluster::limited(LIMITS).await;
    let client = cluster.client("payouts-1");
    let public_key = create_fast(&client).await;
    create_hot(&client).await;
    for leader in 0..3 {
        let signed = sign(&cluster.at(leader), say(&format!("by leader {leader}"))).await.unwrap();
        verified_ed25519(&public_key, &signed.signed_bytes, &signed.signature);
        assert_eq!(signed.certificate.votes.len(), 2, "a result carries the votes of those who signed");
    }
    for leader in 0..3 {
        let intent = client.seal(say(&format!("too many {leader}"))).unwrap();
        full(cluster.at(leader).sign(&intent).await, "fast-hour", 3_600);
        refused_for_room(&cluster.at(leader), &intent).await;
    }
    // Amounts, to the last unit.
    for (nonce, leader, whole) in [(0, 0, 600), (1, 1, 399)] {
        sign(&cluster.at(leader), pay(nonce, whole)).await.unwrap();
    }
    full(sign(&cluster.at(2), pay(2, 2)).await, "hot-usdc-day", 86_400);
    let last = client.seal(pay(3, 1)).unwrap();
    let simulated = cluster.at(2).simulate(&last, None).await.unwrap();
    let charge = &simulated.charges[0];
    assert_eq!((simulated.verdict.as_str(), charge.decimals, charge.amount), ("permit", Some(6), 1_000_000));
    assert_eq!(charge.stands.map(|s| (s.taken, s.left, s.full)), Some((999_000_000, 1_000_000, false)));
    cluster.at(2).sign(&last).await.unwrap();
    full(sign(&cluster.at(0), pay(4, 1)).await, "hot-usdc-day", 86_400);
    let numbers = watch::shown(&cluster, 0);
    let refused_by = |limit: &str| {
        let labels = format!("reason=\"VELOCITY_LIMIT\",rule=\"{limit}\",from=\"client\"");
        watch::value(&numbers, &format!("tally_refusals_total{{{labels}}}"))
    };
    assert_eq!(["fast-hour", "hot-usdc-day"].map(refused_by), [2.0, 1.0]);
    // Every certificate is of a quorum, and no unit was certified twice.
    assert_eq!(verified(&cluster).await.len(), 5);
}

/// The log tells of the refusal and of the line as it stood, once however often it is asked for; simulating says the same.
async fn refused_for_room(node: &Client, intent: &SealedIntent) {
    let explained = node.explain(intent.request_id()).await.unwrap();
    let outcome = explained.outcome.unwrap();
    assert_eq!((outcome.state.as_str(), outcome.reason.as_deref()), ("refused", Some("VELOCITY_LIMIT")));
    let last = explained.decisions.last().unwrap();
    assert_eq!((last.verdict.as_str(), last.reason.as_deref()), ("deny", Some("VELOCITY_LIMIT")));
    let line = &last.limits[0];
    let stood = line.stands.unwrap();
    assert_eq!((line.limit.as_str(), line.amount, line.max, line.window_ms), ("fast-hour", 1, 3, 3_600_000));
    assert_eq!((stood.taken, stood.left, stood.full), (3, 0, true));
    assert!(stood.room_at.is_some_and(|at| at > last.time));

    full(node.sign(intent).await, "fast-hour", 3_600);
    let again = node.explain(intent.request_id()).await.unwrap().decisions;
    assert_eq!(again, explained.decisions, "the same decisions are in the log already");
    assert_eq!(again.iter().map(|d| d.verdict.as_str()).collect::<Vec<_>>(), ["permit", "deny"]);
    let simulated = node.simulate(intent, None).await.unwrap();
    assert_eq!((simulated.verdict.as_str(), simulated.reason.as_deref()), ("deny", Some("VELOCITY_LIMIT")));
    assert!(simulated.charges[0].stands.is_some_and(|stands| stands.full && stands.left == 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_witness_signs_nothing_says_who_does_and_the_sdk_goes_there() {
    let cluster = Cluster::limited(LIMITS).await;
    let client = cluster.client("payouts-1");
    // Keys are made by the signers, also when a witness is asked first.
    create_fast(&client.rotated(WITNESSES[0])).await;
    let at = |witness| cluster.at(witness);
    for witness in WITNESSES {
        let (why, facts) = refused(sign(&at(witness), say("to a witness")).await);
        assert_eq!((why, facts["signers"].as_str()), (Reason::NotASigner, "node-1,node-2,node-3"));
        assert_eq!(reason(at(witness).key(&key("unheard-of")).await), Reason::NotASigner);
        assert_eq!(at(witness).node().await.unwrap().role.as_str(), "witness");
        sign(&client.rotated(witness), say(&format!("past witness {witness}"))).await.unwrap();
    }
    let intent = client.seal(say("as it goes over the wire")).unwrap();
    let outcome = raw::sign(raw::as_client(&cluster, WITNESSES[1]).await, raw::signed(&cluster, intent.intent())).await;
    assert_eq!(typed(outcome), (Code::Unavailable, Reason::NotASigner));
    assert_eq!(at(WITNESSES[0]).node().await.unwrap().quorum.votes, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_voter_may_be_away_two_may_not_and_what_an_attempt_had_taken_is_its_requests_again() {
    let mut cluster = Cluster::limited(LIMITS).await;
    let client = cluster.client("payouts-1");
    create_fast(&client).await;
    cluster.kill(WITNESSES[0]);
    sign(&client, say("four of five")).await.unwrap();
    cluster.kill(WITNESSES[1]);
    let third = client.seal(say("three of five")).unwrap();
    let (reason, facts) = refused(cluster.at(0).sign(&third).await);
    assert_eq!(reason, Reason::Voters, "{facts:?}");
    // However often it is tried, each node writes its decision down once.
    for _ in 0..3 {
        assert_eq!(refused(cluster.at(0).sign(&third).await).0, Reason::Voters);
    }
    for node in 0..3 {
        let told = cluster.at(node).explain(third.request_id()).await;
        let verdicts = told.map(|t| t.decisions.into_iter().map(|d| d.verdict).collect::<Vec<_>>()).unwrap_or_default();
        assert!(verdicts.len() <= 1 && verdicts.iter().all(|verdict| verdict == "permit"), "node {node}: {verdicts:?}");
        assert!(node != 0 || verdicts.len() == 1);
    }
    // Its votes were written down; whoever leads it next has no other pieces to ask for.
    let second = client.seal(say("meanwhile")).unwrap();
    assert_eq!(refused(cluster.at(1).sign(&second).await).0, Reason::Voters);
    // A signer away and both witnesses back is four again.
    for witness in WITNESSES {
        cluster.launch(witness, &[]);
        cluster.serving(witness).await;
    }
    cluster.kill(2);
    cluster.at(0).sign(&third).await.unwrap();
    cluster.at(1).sign(&second).await.unwrap();
    let last = client.seal(say("one too many")).unwrap();
    let state = async |c: &Client| c.find_request(last.request_id()).await.unwrap().state;
    full(cluster.at(0).sign(&last).await, "fast-hour", 3_600);
    assert_eq!(state(&client).await, RequestState::Refused("VELOCITY_LIMIT".into()));
    // Without a quorum nobody knows whether there is room by now, and nobody says that there is none.
    cluster.kill(WITNESSES[0]);
    let known = async |c: Client| {
        let peers = c.node().await.ok()?.peers;
        peers.iter().any(|p| p.node.as_str() == "node-4" && !p.reachable).then_some(())
    };
    until(&cluster, 0, "it must know who is away", known).await;
    assert_eq!(refused(cluster.at(0).sign(&last).await).0, Reason::Voters);
    assert_eq!(state(&client).await, RequestState::Received);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_a_day_off_is_named_and_the_others_go_on() {
    let mut cluster = Cluster::limited(LIMITS).await;
    let client = cluster.client("payouts-1");
    create_fast(&client).await;
    let day = 24 * 60 * 60 * 1_000;
    for (node, offset) in [(2, day), (WITNESSES[0], -day)] {
        cluster.kill(node);
        cluster.launch(node, &[("TALLY_TEST_CLOCK_OFFSET_MS", &i64::to_string(&offset))]);
        cluster.serving(node).await;
        // It is one of five: the other four agree, whoever leads.
        // A client that begins at it goes on to the next.
        sign(&client.rotated(node), say(&format!("without node {node}"))).await.unwrap();
        if node == 2 {
            let (reason, facts) = refused(sign(&cluster.at(node), say("to the one that is off")).await);
            assert_eq!((reason, facts["node"].as_str()), (Reason::ClockSkew, "node-3"), "{facts:?}");
            cluster.kill(node);
            cluster.launch(node, &[]);
            cluster.serving(node).await;
        }
    }
    let status = cluster.at(0).node().await.unwrap();
    let off = |name: &str| status.peers.iter().find(|p| p.node.as_str() == name).unwrap().clock_offset_ms.unwrap();
    assert!(off("node-4").abs_diff(-day) < 60_000 && off("node-2").abs() < 60_000, "{status:?}");
    // Back with the right clock, it votes again: the second witness may now be away.
    cluster.kill(WITNESSES[0]);
    cluster.launch(WITNESSES[0], &[]);
    cluster.serving(WITNESSES[0]).await;
    cluster.kill(WITNESSES[1]);
    sign(&client, say("the third")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn voters_that_hang_are_named_and_what_waited_for_them_goes_on_when_they_answer() {
    let cluster = Cluster::limited(LIMITS).await;
    let client = cluster.client("payouts-1");
    create_fast(&client).await;
    let away = |facts: &BTreeMap<String, String>| facts.get("node").cloned().unwrap_or_default();
    WITNESSES.iter().for_each(|witness| cluster.freeze(*witness, true));
    let first = client.seal(say("while they hang")).unwrap();
    let (reason, facts) = refused(cluster.at(0).sign(&first).await);
    assert_eq!((reason, away(&facts).as_str()), (Reason::Voters, "node-4,node-5"), "{facts:?}");
    let asked_again = refused(client.sign(&first).await);
    assert_eq!((asked_again.0, away(&asked_again.1).as_str()), (Reason::Voters, "node-4,node-5"), "{asked_again:?}");
    // Once it is known, nothing more is claimed for it.
    let known = async |c: Client| {
        let peers = c.node().await.ok()?.peers;
        let unheard: Vec<_> = peers.iter().filter(|p| !p.reachable).map(|p| p.node.as_str()).collect();
        (unheard == ["node-4", "node-5"]).then_some(())
    };
    until(&cluster, 0, "it must know who is away", known).await;
    let (reason, facts) = refused(cluster.at(0).sign(&first).await);
    assert_eq!((reason, away(&facts).as_str()), (Reason::Voters, "node-4,node-5"), "{facts:?}");
    assert_eq!((facts["needed"].as_str(), facts["available"].as_str()), ("4", "3"));
    WITNESSES.iter().for_each(|witness| cluster.freeze(*witness, false));
    client.sign(&first).await.unwrap();
    // One hangs: the other is enough, whoever leads.
    cluster.freeze(WITNESSES[0], true);
    sign(&cluster.at(1), say("one hangs")).await.unwrap();
    sign(&cluster.at(2), say("and again")).await.unwrap();
    full(sign(&cluster.at(0), say("one too many")).await, "fast-hour", 3_600);
    cluster.freeze(WITNESSES[0], false);
}

/// The request that is made of a voter which dies at its vote.
async fn past_a_dying_voter(cluster: &mut Cluster, client: &Client, place: &str, id: u8) {
    cluster.kill(WITNESSES[0]);
    cluster.launch(WITNESSES[0], &[("TALLY_FAILPOINT", place)]);
    cluster.serving(WITNESSES[0]).await;
    let intent = client.seal(say(place).request_id(RequestId([id; 16]))).unwrap();
    cluster.at(0).sign(&intent).await.unwrap();
    cluster.died(WITNESSES[0]).await;
    cluster.launch(WITNESSES[0], &[]);
    cluster.serving(WITNESSES[0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_3_3_a_voter_killed_at_its_vote_remembers_what_it_wrote_and_nothing_else() {
    let mut cluster = Cluster::limited(LIMITS).await;
    let client = cluster.client("payouts-1");
    create_fast(&client).await;
    past_a_dying_voter(&mut cluster, &client, "concur.before", 1).await;
    past_a_dying_voter(&mut cluster, &client, "concur.after", 2).await;
    // Node 1 led both and began with its part of the line: the first unit, and then another.
    let asker = Asker::new(&cluster, 0, WITNESSES[0]).await;
    let first_unit = asker.ask_unit(&asker.intent(&client, 40), 0).await.unwrap();
    assert!(first_unit.vote.is_some(), "what was not written is not remembered");
    let mut taken = 0;
    for (id, unit) in [(41, 1), (42, 2)] {
        let answer = asker.ask_unit(&asker.intent(&client, id), unit).await.unwrap();
        taken += usize::from(answer.vote.is_none() && !answer.in_the_way.is_empty());
    }
    assert_eq!(taken, 1, "what was written is in the way of others");
}
