//! Bundles that are refused over gRPC: code, reason, and words that a person can act on.

use crate::harness::admins::{self, *};
use crate::harness::orders::*;
use crate::harness::raw;
use std::collections::BTreeMap;
use std::time::Duration;
use tally_domain::Reason;
use tally_proto::v1;
use tally_proto::v1::policy_service_client::PolicyServiceClient;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Code, reason and metadata of a refused proposal.
async fn refused(
    cluster: &crate::harness::cluster::Cluster,
    bundle: Vec<u8>,
) -> (Code, Reason, BTreeMap<String, String>) {
    let mut service = PolicyServiceClient::new(raw::as_client(cluster, 0).await);
    let outcome: Result<_, Status> = service.propose(v1::ProposeRequest { bundle }).await;
    let status = outcome.as_ref().expect_err("this must be refused").clone();
    let metadata = status.get_details_error_info().unwrap().metadata.into_iter().collect();
    let (code, reason) = raw::typed(outcome);
    (code, reason, metadata)
}

/// The next bundle with one file replaced as a whole.
fn with(first: &Signed, file: &str, text: &str) -> Vec<u8> {
    let mut files = first.files.clone();
    files.insert("bundle.toml".into(), b"version = 2\n".to_vec());
    files.insert(file.into(), text.as_bytes().to_vec());
    by_hand(first, &files, |_| {})
}

/// What no honest desk packs: the body as protobuf, signed by two admins.
fn by_hand(first: &Signed, files: &tally_policy::Files, edit: impl FnOnce(&mut Body)) -> Vec<u8> {
    use prost::Message as _;
    let mut body = Body {
        format: 1,
        cluster: "test".into(),
        version: 2,
        previous: first.digest().0.to_vec(),
        not_before_ms: now().0,
        not_after_ms: now().0 + 86_400_000,
        loosening_delay_ms: 86_400_000,
        files: files.iter().map(|(path, content)| File { path: path.clone(), content: content.clone() }).collect(),
    };
    edit(&mut body);
    let mut envelope = admin(ALICE).seal(tally_policy::BUNDLE_TYPE, body.encode_to_vec());
    envelope.signatures.extend(admin(BOB).seal(tally_policy::BUNDLE_TYPE, body.encode_to_vec()).signatures);
    envelope.encode_to_vec()
}

#[derive(Clone, PartialEq, prost::Message)]
struct Body {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(string, tag = "2")]
    cluster: String,
    #[prost(uint64, tag = "3")]
    version: u64,
    #[prost(bytes = "vec", tag = "4")]
    previous: Vec<u8>,
    #[prost(uint64, tag = "5")]
    not_before_ms: u64,
    #[prost(uint64, tag = "6")]
    not_after_ms: u64,
    #[prost(uint64, tag = "7")]
    loosening_delay_ms: u64,
    #[prost(message, repeated, tag = "8")]
    files: Vec<File>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct File {
    #[prost(string, tag = "1")]
    path: String,
    #[prost(bytes = "vec", tag = "2")]
    content: Vec<u8>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_bad_bundle_is_refused_with_code_reason_and_words() {
    let (cluster, first) = admins::start().await;
    let text = |file: &str| String::from_utf8(first.files[file].clone()).unwrap();
    let mut next = first.files.clone();
    next.insert("bundle.toml".into(), b"version = 2\n".to_vec());
    let too_few = first.next(2, TIGHTER, &[ALICE]).bytes();
    let twice = first.next(2, TIGHTER, &[ALICE, ALICE]).bytes();
    let stranger = first.next(2, TIGHTER, &[ALICE, 9]).bytes();
    let expired =
        by_hand(&first, &next, |b| (b.not_before_ms, b.not_after_ms) = (now().0 - 90_000_000, now().0 - 3_600_000));
    let future = by_hand(&first, &next, |b| b.not_before_ms += 3_600_000);
    let unknown_layout = by_hand(&first, &next, |b| b.format = 2);
    let gap = by_hand(&first, &next, |b| b.version = 99);
    let orphan = by_hand(&first, &next, |b| b.previous = vec![7; 32]);
    let back = by_hand(&first, &next, |b| b.version = 0);
    let elsewhere = by_hand(&first, &next, |b| b.cluster = "other".into());
    let cedar = with(&first, "policy.cedar", "@id(\"a\")\npermit (principal, action == Action::\"sgin\", resource);\n");
    let limit = with(&first, "limits.toml", "[[limit]]\nid = \"day\"\nasset = \"DAI\"\nmax = \"10\"\nper = \"24h\"\n");
    let mut small = next.clone();
    let approved = text("policy.cedar").replace("@id(\"raw\")", "@id(\"raw\") @approvals(\"2 of risk\")");
    small.insert("policy.cedar".into(), approved.into_bytes());
    let group = by_hand(&first, &small, |_| {});
    let nodes = with(&first, "roster.toml", &text("roster.toml").replace("role = \"signer\"", "role = \"witness\""));
    use Code::*;
    for (what, bundle, code, reason, words) in [
        ("one signature too few", too_few, PermissionDenied, Reason::BundleSignatures, "1 of the 2 admins"),
        ("one admin twice", twice, PermissionDenied, Reason::BundleSignatures, "1 of the 2 admins"),
        ("a stranger", stranger, PermissionDenied, Reason::BundleSignatures, "of nobody who may sign"),
        ("expired", expired, FailedPrecondition, Reason::BundleExpired, "the bundle expired"),
        ("not yet", future, FailedPrecondition, Reason::BundleExpired, "not valid before"),
        ("unknown schema", unknown_layout, InvalidArgument, Reason::BundleInvalid, "layout 2, this version reads 1"),
        ("a gap", gap, FailedPrecondition, Reason::BundleChain, "version 99 does not follow"),
        ("another before it", orphan, FailedPrecondition, Reason::BundleChain, "does not follow"),
        ("a downgrade", back, FailedPrecondition, Reason::BundleDowngrade, "a node never goes back"),
        ("another cluster", elsewhere, FailedPrecondition, Reason::BundleChain, "cluster `other`"),
        ("a rule that Cedar rejects", cedar, InvalidArgument, Reason::BundleInvalid, "policy.cedar:2:"),
        ("a limit without decimals", limit, InvalidArgument, Reason::BundleInvalid, "DAI"),
        (
            "a group too small",
            group,
            InvalidArgument,
            Reason::BundleInvalid,
            "group `risk` has 1 persons, fewer than the 2",
        ),
        ("other nodes", nodes, FailedPrecondition, Reason::BundleRoster, ""),
        ("no bundle", b"bundle".to_vec(), InvalidArgument, Reason::BundleInvalid, "not a signed bundle"),
        ("too large", vec![0; 961 * 1024], InvalidArgument, Reason::Oversized, ""),
    ] {
        let (found_code, found, metadata) = refused(&cluster, bundle).await;
        assert_eq!((found_code, found), (code, reason), "{what}: {metadata:?}");
        let detail = metadata.get("detail").cloned().unwrap_or_default();
        assert!(detail.contains(words), "{what}: {detail}");
    }
    // None of them has left a trace but the refusals.
    for i in 0..3 {
        assert_eq!(cluster.at(i).policy_history().await.unwrap().len(), 1);
        assert_eq!(reason(cluster.at(i).activate(2).await), Reason::BundleNotFound);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_2_3_a_fork_is_refused_and_kept_as_evidence_once() {
    let (cluster, first) = admins::start().await;
    let (one, other) = (first.next(2, LOOSER, &[ALICE, BOB]), first.next(2, TIGHTER, &[BOB, CAROL]));
    admins::propose(&cluster.at(0), &one).await.unwrap();
    for i in [0, 1, 2, 0] {
        let forked = admins::propose(&cluster.at(i), &other).await.unwrap_err();
        let forked = forked.refused().unwrap();
        assert_eq!((forked.code, forked.reason), (Code::AlreadyExists, Reason::BundleForked));
        assert_eq!(forked.metadata["theirs"], other.digest().to_string());
        assert_eq!(forked.metadata["ours"], one.digest().to_string());
    }
    for i in 0..3 {
        decides_by(&cluster, i, &one).await;
    }
    let logs = crate::main_job::logs_of(&cluster).await;
    for log in &logs {
        let events = log.entries.iter().map(|leaf| tally_audit::event::Event::from_leaf(leaf).unwrap());
        assert_eq!(events.filter(|e| e.kind() == "bundle-forked").count(), 1, "{}", log.node);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_2_4_nothing_is_signed_under_a_bundle_that_has_expired_and_a_new_one_ends_that() {
    // The keys are made in time; the clock's tolerance is on top.
    let (mut cluster, first) = admins::prepare_within(12_000);
    for i in 0..3 {
        cluster.launch(i, &[]);
    }
    cluster.all_serving().await;
    let client = cluster.client("payouts-1");
    create_fast(&client).await;
    let end = std::time::Instant::now() + Duration::from_secs(60);
    let refused = loop {
        match sign(&client, say("still?")).await {
            Ok(_) => tokio::time::sleep(Duration::from_millis(500)).await,
            Err(error) => break error,
        }
        assert!(std::time::Instant::now() < end, "it must expire");
    };
    assert_eq!(refused.refused().unwrap().reason, Reason::BundleExpired);
    assert!(Reason::BundleExpired.sentence().contains("must sign a new one"));
    // Reads go on, also after a restart; and so does the way out.
    assert_eq!(client.keys().await.unwrap().len(), 1);
    cluster.stop(1);
    cluster.launch(1, &[]);
    cluster.serving(1).await;
    let renewed = first.next(2, SAME, &[ALICE, BOB]);
    assert_eq!(admins::propose(&cluster.at(1), &renewed).await.unwrap().proposal.state, "active");
    sign(&client, say("renewed")).await.unwrap();
}
