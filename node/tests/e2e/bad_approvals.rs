//! What is not an approval, and what no approval makes good. Each with its reason, at every node.

use crate::harness::cluster::{Cluster, TENANT};
use crate::harness::orders::*;
use crate::harness::people::*;
use crate::harness::raw;
use tally_client::{Client, RequestState};
use tally_domain::approval::Verdict;
use tally_domain::dsse::{Envelope, content_digest};
use tally_domain::{Approval, Digest, PersonName, Reason, RequestId, Tenant, UnixMillis};
use tally_proto::v1;
use tally_proto::v1::approval_service_client::ApprovalServiceClient;
use tally_proto::v1::peer_service_client::PeerServiceClient;
use tonic::Code;

const HOUR: u64 = 60 * 60 * 1_000;

fn signed(approval: &Approval, with: &str) -> Envelope {
    approval.sign(&key_of(with))
}

async fn refused(client: &Client, envelope: &Envelope) -> (Reason, Code, String) {
    let error = client.submit_approval(envelope).await.expect_err("this must be refused");
    let refused = error.refused().unwrap_or_else(|| panic!("not typed: {error:?}"));
    (refused.reason, refused.code, refused.metadata.get("field").cloned().unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_2_2_13_only_what_a_person_who_is_asked_signs_of_just_this_counts() {
    let cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    create_board(&client).await;
    let id = asked(&client, minute("one")).await.request_id();
    let other = asked(&client, minute("two")).await.request_id();
    holds(&cluster, 2, other, 0).await;
    let shown = holds(&cluster, 2, id, 0).await;
    let at = cluster.at(2);
    let good = |person: &str| statement(&shown, person, Verdict::Approve);
    let elsewhere = Digest([9; 32]);
    let soon = UnixMillis(shown.expires_at.0 - 8 * HOUR);
    use {Code::*, Reason::*};
    for (what, approval, with, expected) in [
        ("of the initiator", good("carol"), "carol", (ApprovalInitiator, PermissionDenied, "")),
        ("of a person who is not asked", good("dora"), "dora", (NotAnApprover, PermissionDenied, "")),
        ("of nobody", good("erwin"), "stranger", (ApprovalSignature, Unauthenticated, "")),
        ("with another's key", good("alice"), "bob", (ApprovalSignature, Unauthenticated, "")),
        (
            "of another intent",
            Approval { intent_digest: elsewhere, ..good("alice") },
            "alice",
            (ApprovalMismatch, FailedPrecondition, "intent_digest"),
        ),
        (
            "of another text",
            Approval { summary_digest: elsewhere, ..good("alice") },
            "alice",
            (ApprovalMismatch, FailedPrecondition, "summary_digest"),
        ),
        (
            "under another bundle",
            Approval { bundle: elsewhere, ..good("alice") },
            "alice",
            (ApprovalMismatch, FailedPrecondition, "bundle"),
        ),
        (
            "of this for another request",
            Approval { request_id: other, ..good("alice") },
            "alice",
            (ApprovalMismatch, FailedPrecondition, "intent_digest"),
        ),
        (
            "that has expired",
            Approval { expires_at: soon, ..good("alice") },
            "alice",
            (ApprovalExpired, FailedPrecondition, ""),
        ),
        (
            "that would count for two days",
            Approval { expires_at: shown.expires_at.plus(48 * HOUR), ..good("alice") },
            "alice",
            (ApprovalExpired, FailedPrecondition, ""),
        ),
        (
            "of another tenant",
            Approval { tenant: Tenant::parse("other").unwrap(), ..good("alice") },
            "alice",
            (Acl, PermissionDenied, ""),
        ),
        (
            "of a request that nobody made",
            Approval { request_id: RequestId([7; 16]), ..good("alice") },
            "alice",
            (RequestNotFound, NotFound, ""),
        ),
    ] {
        let (reason, code, field) = refused(&at, &signed(&approval, with)).await;
        assert_eq!((reason, code, field.as_str()), expected, "an approval {what}");
        assert!(reason.sentence().ends_with('.'));
    }
    let malformed = key_of("alice").seal(tally_domain::approval::APPROVAL_TYPE, b"\xff".to_vec());
    assert_eq!(refused(&at, &malformed).await.0, Malformed);
    let other_type = key_of("alice").seal(tally_domain::intent::PAYLOAD_TYPE, good("alice").to_bytes());
    assert_eq!(refused(&at, &other_type).await.0, ApprovalSignature);
    assert_eq!(at.summary(id).await.unwrap().said, [], "nothing of it counts");

    // One person, two keys: at the same node, and at another.
    at.submit_approval(&signed(&good("alice"), "alice")).await.unwrap();
    holds(&cluster, 0, id, 1).await;
    for i in [2, 0] {
        assert_eq!(refused(&cluster.at(i), &signed(&good("alice"), "alice-2")).await.0, AlreadyApproved);
        let state = cluster.at(i).request(id).await.unwrap().state;
        assert!(matches!(state, RequestState::AwaitingApproval(Some(p)) if p.said.len() == 1));
    }
    assert_eq!(at.summary(id).await.unwrap().needs[0][0].missing, [("treasury".to_owned(), 1)]);
    // A rejection by those who are not asked is none.
    let no = |person: &str| statement(&shown, person, Verdict::Reject);
    assert_eq!(refused(&at, &signed(&no("dora"), "dora")).await.0, NotAnApprover);
    assert_eq!(refused(&at, &signed(&no("carol"), "carol")).await.0, ApprovalInitiator);
}

fn wire(e: &Envelope) -> v1::Envelope {
    let signature = |s: &tally_domain::dsse::Signature| v1::EnvelopeSignature {
        key_id: s.key_id.clone(),
        signature: s.signature.clone(),
    };
    v1::Envelope {
        payload: e.payload.clone(),
        payload_type: e.payload_type.clone(),
        signatures: e.signatures.iter().map(signature).collect(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_2_2_13_no_leader_makes_more_of_approvals_than_they_are() {
    let cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    create_board(&client).await;
    let intent = asked(&client, minute("one")).await;
    let id = intent.request_id();
    let shown = holds(&cluster, 1, id, 0).await;
    let good = |person: &str| statement(&shown, person, Verdict::Approve);
    let (alice, alice_2, bob) =
        (signed(&good("alice"), "alice"), signed(&good("alice"), "alice-2"), signed(&good("bob"), "bob"));
    let forged = signed(&good("bob"), "stranger");
    let initiator = signed(&good("carol"), "carol");
    let stale = signed(&Approval { bundle: Digest([9; 32]), ..good("bob") }, "bob");
    let rejection = signed(&statement(&shown, "bob", Verdict::Reject), "bob");
    let bundle = shown.bundle;
    let mut service = PeerServiceClient::new(raw::as_node(&cluster, 0, 1).await);
    for (what, said, expected) in [
        ("none", vec![], Reason::ApprovalsRequired),
        ("one", vec![&alice], Reason::ApprovalsRequired),
        ("one person twice", vec![&alice, &alice_2], Reason::AlreadyApproved),
        ("one twice", vec![&alice, &alice], Reason::AlreadyApproved),
        ("another order", vec![&bob, &alice], Reason::AlreadyApproved),
        ("a forged one", vec![&alice, &forged], Reason::ApprovalSignature),
        ("the initiator's", vec![&alice, &initiator], Reason::ApprovalInitiator),
        ("one under another bundle", vec![&alice, &stale], Reason::ApprovalMismatch),
        ("a rejection", vec![&alice, &rejection], Reason::Rejected),
        ("too many", vec![&alice; 33], Reason::Malformed),
    ] {
        let request = v1::ProposeSignRequest {
            session: vec![7; 16],
            intent: Some(wire(intent.envelope())),
            attempt: 1,
            signers: vec![1, 2],
            bundle_digest: bundle.0.to_vec(),
            approvals: said.into_iter().map(wire).collect(),
            ..Default::default()
        };
        assert_eq!(raw::typed(service.propose_sign(request).await).1, expected, "{what}");
        let state = cluster.at(1).request(id).await.unwrap().state;
        assert!(matches!(state, RequestState::AwaitingApproval(_)), "{what}: {state:?}");
    }
    // Nor does it use up the numbers of attempts.
    for attempt in [0, 1_000_001, u32::MAX] {
        let request = v1::ProposeSignRequest {
            session: vec![7; 16],
            intent: Some(wire(intent.envelope())),
            attempt,
            signers: vec![1, 2],
            bundle_digest: bundle.0.to_vec(),
            ..Default::default()
        };
        assert_eq!(raw::typed(service.propose_sign(request).await).1, Reason::ParameterRange, "{attempt}");
    }
    // What a peer tells is checked as what a client brings.
    let told = |said: Vec<&Envelope>| v1::AnnounceApprovalRequest {
        intent: Some(wire(intent.envelope())),
        owner: "node-1".into(),
        said: said.into_iter().map(wire).collect(),
        cancelled: None,
    };
    service.announce_approval(told(vec![&forged, &initiator, &stale])).await.unwrap();
    assert_eq!(cluster.at(1).summary(id).await.unwrap().said, []);
    let too_many = told(vec![&alice; 65]);
    assert_eq!(raw::typed(service.announce_approval(too_many).await).1, Reason::ProtocolViolation);
    service.announce_approval(told(vec![&alice, &forged])).await.unwrap();
    assert_eq!(holds(&cluster, 2, id, 1).await.said[0].person, PersonName::parse("alice").unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_needs_nobody_or_is_denied_does_not_wait_and_nothing_waits_for_longer_than_a_day() {
    let cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    create_board(&client).await;
    create_fast(&client).await;
    // Policy asks nobody: a long life is refused as ever.
    let id = RequestId([77; 16]);
    let long = || say("long").request_id(id);
    assert_eq!(reason(sign(&client, long().valid_for(HOUR)).await), Reason::ValidityTooLong);
    assert_eq!(client.request(id).await.unwrap().state, RequestState::Refused("VALIDITY_TOO_LONG".into()));
    // Its id is free for a shorter one, and then taken.
    let short = client.seal(long()).unwrap();
    client.sign(&short).await.unwrap();
    assert_eq!(client.request(id).await.unwrap().intent_digest, content_digest(short.envelope()));
    assert_eq!(reason(sign(&client, long().valid_for(HOUR)).await), Reason::RequestIdConflict);
    assert_eq!(reason(sign(&client, minute("a day").valid_for(24 * HOUR)).await), Reason::ApprovalsRequired);
    for more in [25 * HOUR, u64::MAX] {
        assert_eq!(reason(sign(&client, minute("too long").valid_for(more)).await), Reason::ValidityTooLong);
    }
    // A client without the right is denied, whoever would approve.
    let reader = cluster.client("reader");
    let denied = reader.seal(minute("not yours")).unwrap();
    assert_eq!(reason(reader.sign(&denied).await), Reason::PolicyDenied);
    assert_eq!(reason(client.summary(denied.request_id()).await), Reason::NotWaiting);
    // A permitted one never waited.
    let intent = client.seal(say("short")).unwrap();
    client.sign(&intent).await.unwrap();
    assert_eq!(reason(client.summary(intent.request_id()).await), Reason::NotWaiting);
    let unknown = ApprovalServiceClient::new(raw::as_client(&cluster, 0).await)
        .get_summary(v1::GetSummaryRequest { tenant: TENANT.into(), request_id: vec![1; 16] })
        .await;
    assert_eq!(raw::typed(unknown), (Code::NotFound, Reason::RequestNotFound));
    let elsewhere = ApprovalServiceClient::new(raw::as_client(&cluster, 0).await)
        .list_pending(v1::ListPendingRequest { tenant: "other".into(), ended: true })
        .await;
    assert_eq!(raw::typed(elsewhere), (Code::PermissionDenied, Reason::Acl));
    // What waits expires.
    let brief = asked(&client, minute("brief").valid_for(3_000)).await;
    let taken_back = asked(&client, minute("taken back").valid_for(3_000)).await;
    client.cancel_request(taken_back.request_id()).await.unwrap();
    let expired = async |c: Client| match c.request(brief.request_id()).await.ok()?.state {
        RequestState::Refused(word) if word == "EXPIRED" => Some(()),
        _ => None,
    };
    for i in 0..3 {
        until(&cluster, i, "it must expire", expired).await;
        assert_eq!(reason(cluster.at(i).summary(brief.request_id()).await), Reason::Expired);
        let is_brief = |p: &tally_client::PendingInfo| p.request_id == brief.request_id();
        assert!(!cluster.at(i).pending().await.unwrap().iter().any(is_brief));
        let all = cluster.at(i).pending_and_ended().await.unwrap();
        assert_eq!(all.iter().find(|p| is_brief(p)).map(|p| p.state.as_str()), Some("expired"));
        let cancelled = async |c: Client| {
            let all = c.pending_and_ended().await.ok()?;
            let told = all.into_iter().find(|p| p.request_id == taken_back.request_id())?;
            (told.state == "cancelled").then_some(())
        };
        until(&cluster, i, "what was taken back did not expire", cancelled).await;
    }
}
