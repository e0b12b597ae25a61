//! Simulate, explain and replay: what a bundle would say, did say, and would have said. Nothing is consumed by asking.

use crate::harness::admins::{self, *};
use crate::harness::cards::*;
use crate::harness::orders::*;
use crate::harness::people::*;
use tally_domain::approval::Verdict;
use tally_domain::{Reason, UnixMillis};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_draft_would_say_is_told_without_a_trace() {
    let (cluster, first) = admins::start().await;
    let (client, reader) = (cluster.client("payouts-1"), cluster.client("reader"));
    create_hot(&client).await;
    let leaves = client.node().await.unwrap().log_size;
    // Nobody has signed it, and it is not proposed.
    let draft = first.next(2, LOOSER, &[]).bytes();
    for (whole, now, then) in [(900, "permit", "permit"), (2_000, "deny", "permit"), (6_000, "deny", "deny")] {
        let intent = client.seal(pay(1, whole)).unwrap();
        let active = client.simulate(&intent, None).await.unwrap();
        assert_eq!((active.verdict.as_str(), active.bundle.digest), (now, first.digest()), "{whole}");
        let drafted = client.simulate(&intent, Some(draft.clone())).await.unwrap();
        assert_eq!((drafted.verdict.as_str(), drafted.bundle.version), (then, 2), "{whole}");
        assert!(active.facts.contains(&format!("{whole}")), "{}", active.facts);
        if now == "deny" {
            assert_eq!(active.reason.as_deref(), Some("POLICY_DENIED"));
            assert_eq!(active.near_misses[0].0, "payouts-small");
            assert!(active.near_misses[0].1.contains("amount"), "{:?}", active.near_misses);
        } else {
            assert_eq!(active.rules, ["payouts-small"]);
        }
    }
    // Who is no auditor sees codes, and asks for itself only.
    let own = reader.seal(pay(2, 900)).unwrap();
    let seen = reader.simulate(&own, None).await.unwrap();
    assert_eq!((seen.verdict.as_str(), seen.reason.as_deref()), ("deny", Some("POLICY_DENIED")));
    assert!(seen.rules.is_empty() && seen.near_misses.is_empty() && seen.charges.is_empty(), "{seen:?}");
    let others = client.seal(pay(3, 900)).unwrap();
    assert_eq!(reason(reader.simulate(&others, None).await), Reason::Acl);
    assert_eq!(reason(client.simulate(&own, Some(b"draft".to_vec())).await), Reason::BundleInvalid);
    // Nothing was written, and the very intents can still be signed.
    assert_eq!(client.node().await.unwrap().log_size, leaves);
    client.sign(&others).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_decided_is_explained_under_the_bundle_of_that_time() {
    let (cluster, first) = admins::start().await;
    let (client, reader) = (cluster.client("payouts-1"), cluster.client("reader"));
    create_fast(&client).await;
    let text = "x".repeat(100);
    let permitted = client.seal(say(&text)).unwrap();
    cluster.at(0).sign(&permitted).await.unwrap();
    let tighter = first.next(2, TIGHTER, &[ALICE, BOB]);
    admins::propose(&cluster.at(0), &tighter).await.unwrap();
    let denied = client.seal(say(&text)).unwrap();
    assert_eq!(reason(cluster.at(0).sign(&denied).await), Reason::PolicyDenied);

    let told = cluster.at(0).explain(permitted.request_id()).await.unwrap();
    let (outcome, then) = (told.outcome.unwrap(), told.decisions);
    assert_eq!((outcome.state.as_str(), outcome.reason), ("completed", None));
    assert_eq!((then.len(), then[0].verdict.as_str(), then[0].rule.as_deref()), (1, "permit", Some("messages")));
    assert_eq!((then[0].bundle, then[0].from.as_str()), (first.digest(), "client payouts-1"));
    let again = then[0].again.as_ref().unwrap();
    assert_eq!((again.bundle.digest, again.verdict.as_str()), (first.digest(), "permit"));
    let told = cluster.at(0).explain(denied.request_id()).await.unwrap();
    let (outcome, now) = (told.outcome.unwrap(), told.decisions);
    assert_eq!((outcome.state.as_str(), outcome.reason.as_deref()), ("refused", Some("POLICY_DENIED")));
    assert_eq!((now[0].verdict.as_str(), now[0].reason.as_deref()), ("deny", Some("POLICY_DENIED")));
    assert_eq!(now[0].again.as_ref().unwrap().rules, ["no-large"]);

    let reader = reader.only(0).unwrap();
    let codes = reader.explain(denied.request_id()).await.unwrap().decisions;
    assert_eq!((codes[0].reason.as_deref(), codes[0].rule.as_deref()), (Some("POLICY_DENIED"), None));
    assert!(codes[0].condition.is_none() && codes[0].again.is_none());
    let unknown = tally_domain::RequestId([9; 16]);
    assert_eq!(reason(client.explain(unknown).await), Reason::RequestNotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draft_is_tried_on_the_requests_of_the_past() {
    let (cluster, first) = admins::start().await;
    let client = cluster.client("payouts-1");
    create_fast(&client).await;
    create_hot(&client).await;
    let node = cluster.at(0);
    let long = client.seal(say(&"x".repeat(100))).unwrap();
    node.sign(&long).await.unwrap();
    sign(&node, say("short")).await.unwrap();
    let large = client.seal(pay(1, 2_000)).unwrap();
    assert_eq!(reason(node.sign(&large).await), Reason::PolicyDenied);
    let (none, nothing) = (UnixMillis(0), first.next(2, SAME, &[]).bytes());

    let both = first.next(2, LOOSER, &[]);
    let mut files = both.files.clone();
    let tight = String::from_utf8(files["policy.cedar"].clone()).unwrap().replace(TIGHTER.1, TIGHTER.2);
    files.insert("policy.cedar".into(), tight.into_bytes());
    let draft = tally_policy::SignedBundle::pack(&files, Some(&first.bundle), valid(60_000)).unwrap().to_bytes();
    let mut changes = Vec::new();
    let counts = node.replay(draft.clone(), none, |change| changes.push(change)).await.unwrap();
    assert_eq!((counts.requests, counts.unchanged, counts.tightened, counts.loosened), (5, 3, 1, 1), "{counts:?}");
    let seen: Vec<_> =
        changes.iter().map(|c| (c.request, c.was.as_str(), c.now.as_str(), c.now_rule.as_str())).collect();
    let expected = [
        (long.request_id(), "permit", "deny POLICY_DENIED", "no-large"),
        (large.request_id(), "deny POLICY_DENIED", "permit", "payouts-small"),
    ];
    assert_eq!(seen, expected);
    let counts = node.replay(nothing, none, |_| panic!("nothing changes")).await.unwrap();
    assert_eq!((counts.requests, counts.unchanged), (5, 5));
    let counts = node.replay(draft.clone(), now(), |_| ()).await.unwrap();
    assert_eq!(counts.requests, 0, "none is that new");
    let reader = cluster.client("reader").only(0).unwrap();
    assert_eq!(reason(reader.replay(draft, none, |_| ()).await), Reason::Acl);
}

const LIMIT: &[u8] = b"[[limit]]\nid = \"fast-hour\"\nkey = \"fast\"\ncount = 1\nper = \"1h\"\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drafts_limits_fill_and_persons_count_as_they_had_approved() {
    let (cluster, first) = admins::start().await;
    let client = cluster.client("payouts-1");
    let node = cluster.at(0);
    create_fast(&client).await;
    create_board(&client).await;
    let one = client.seal(say("one")).unwrap();
    let two = client.seal(say("two")).unwrap();
    node.sign(&one).await.unwrap();
    node.sign(&two).await.unwrap();
    let signed = asked(&node, minute("signed")).await.request_id();
    approves(&node, signed, "alice").await.unwrap();
    approves(&node, signed, "bob").await.unwrap();
    done(&cluster, 0, signed).await;
    let waits = asked(&node, minute("waits")).await.request_id();
    approves(&node, waits, "alice").await.unwrap();
    let rejected = asked(&node, minute("rejected")).await.request_id();
    says(&node, rejected, "bob", Verdict::Reject).await.unwrap();

    let told = node.explain(signed).await.unwrap();
    let said: Vec<_> = told.said.iter().map(|s| (s.person.as_str(), s.verdict.as_str(), s.void.as_deref())).collect();
    assert_eq!(said, [("alice", "approved", None), ("bob", "approved", None)]);
    let verdicts: Vec<_> = told.decisions.iter().map(|d| (d.verdict.as_str(), d.reason.as_deref())).collect();
    assert_eq!(verdicts, [("deny", Some("APPROVALS_REQUIRED")), ("permit", None)]);
    assert_eq!(told.decisions[1].again.as_ref().unwrap().verdict, "permit", "by what they had said by then");
    assert_eq!(told.outcome.unwrap().state, "completed");
    let told = node.explain(waits).await.unwrap().outcome.unwrap();
    assert_eq!((told.state.as_str(), told.missing), ("awaiting-approval", vec!["minutes: 1 of treasury".to_owned()]));
    assert_eq!(node.explain(rejected).await.unwrap().outcome.unwrap().state, "rejected");
    let asks = node.simulate(&client.seal(minute("another")).unwrap(), None).await.unwrap();
    let persons: Vec<_> = asks.approvers.iter().map(|person| person.as_str()).collect();
    assert_eq!((asks.verdict.as_str(), persons), ("needs-approval", vec!["alice", "bob"]));

    // The same rules: nothing changes, though what was approved was approved under another bundle.
    let same = first.next(2, SAME, &[]);
    let counts = node.replay(same.bytes(), UnixMillis(0), |change| panic!("{change:?}")).await.unwrap();
    assert_eq!((counts.requests, counts.unchanged), (7, 7));
    assert!(!counts.assumes.is_empty());
    // A limit of one an hour, and one person is enough.
    let mut files = same.files.clone();
    files.insert("limits.toml".into(), LIMIT.to_vec());
    let rules =
        String::from_utf8(files["policy.cedar"].clone()).unwrap().replace("2 of treasury\")", "1 of treasury\")");
    files.insert("policy.cedar".into(), rules.into_bytes());
    let draft = tally_policy::SignedBundle::pack(&files, Some(&first.bundle), valid(60_000)).unwrap().to_bytes();
    let mut changes = Vec::new();
    node.replay(draft, UnixMillis(0), |change| changes.push(change)).await.unwrap();
    let seen: Vec<_> = changes.iter().map(|c| (c.request, c.was.as_str(), c.now.as_str())).collect();
    let expected =
        [(two.request_id(), "permit", "deny VELOCITY_LIMIT"), (waits, "needs-approval APPROVALS_REQUIRED", "permit")];
    assert_eq!(seen, expected);
    assert_eq!(changes[0].limits[0].stands.map(|s| (s.taken, s.left)), Some((1, 0)));
    // Three of them: whoever was signed for by two would have waited.
    let stricter = first.next(2, ("policy.cedar", "2 of treasury\")", "2 of treasury, 1 of risk\")"), &[]).bytes();
    let mut changes = Vec::new();
    node.replay(stricter, UnixMillis(0), |change| changes.push(change)).await.unwrap();
    let seen: Vec<_> = changes.iter().map(|c| (c.request, c.now.as_str(), c.missing.as_slice())).collect();
    assert_eq!(seen, [(signed, "needs-approval APPROVALS_REQUIRED", &["minutes: 1 of risk".to_owned()][..])]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cards_that_were_shown_fill_the_limits_of_a_draft() {
    let (cluster, first) = admins::start().await;
    let client = cluster.client("payouts-1");
    make_domain(&client, &spec("cards", hybrid())).await.unwrap();
    let token = tokenize(&client, "cards", CANARY).await.unwrap().token;
    for _ in 0..2 {
        reveal(&client, "cards", &token).await.unwrap();
    }
    let limit = "[[limit]]\nid = \"shown\"\ndomain = \"cards\"\naction = \"reveal\"\ncount = 1\nper = \"24h\"\nby = [\"client\"]\n";
    let mut files = first.next(2, SAME, &[]).files.clone();
    files.insert("limits.toml".into(), limit.as_bytes().to_vec());
    let draft = tally_policy::SignedBundle::pack(&files, Some(&first.bundle), valid(60_000)).unwrap().to_bytes();
    let mut changes = Vec::new();
    cluster.at(0).replay(draft, UnixMillis(0), |change| changes.push(change)).await.unwrap();
    let seen: Vec<_> = changes.iter().map(|c| (c.was.as_str(), c.now.as_str())).collect();
    assert_eq!(seen, [("permit", "deny VELOCITY_LIMIT")]);
}
