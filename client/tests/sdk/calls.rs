use crate::files::Files;
use crate::servers::{Home, Script, nobody, signed, start};
use std::time::Duration;
use tally_client::{ATTEMPTS_MAX, Client, ClientError, Exit, Order, Profile, SealedIntent};
use tally_domain::{KeyName, Reason, RequestId};
use tally_proto::v1;
use tally_proto::v1::batch_sign_response::Outcome;
use tonic::{Code, Status};

fn client(files: &Files, endpoints: &[String]) -> Client {
    files.profile(endpoints);
    Client::new(Profile::load(&files.path()).unwrap()).unwrap()
}

fn intent(client: &Client) -> SealedIntent {
    client.seal(Order::sign_message(KeyName::parse("fast").unwrap(), b"hello".to_vec())).unwrap()
}

fn refusing(refusals: impl IntoIterator<Item = (Code, Reason)>) -> Script {
    let script = Script::default();
    script.refusals.lock().unwrap().extend(refusals);
    script
}

#[tokio::test]
async fn the_same_envelope_goes_to_the_next_node_when_one_is_away_and_another_is_busy() {
    let files = Files::new(&[]);
    let (busy, good) = (refusing([(Code::Aborted, Reason::Contention)]), Script::default());
    let client = client(&files, &[nobody().await, start(&files, &busy).await, start(&files, &good).await]);
    let intent = intent(&client);
    let signed = client.sign(&intent).await.unwrap();
    assert_eq!((signed.signature, signed.recovery_id, signed.rule.as_str()), (vec![1; 64], 1, "payouts-small"));
    assert_eq!(signed.certificate.votes.len(), 1);
    let (first, second) = (busy.seen.lock().unwrap().clone(), good.seen.lock().unwrap().clone());
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_eq!(first, second);
    assert_eq!(first[0].payload, intent.envelope().payload);
    assert_eq!(first[0].signatures[0].signature, intent.envelope().signatures[0].signature);
}

#[tokio::test]
async fn a_key_in_an_hsm_is_asked_for_at_its_home_and_the_home_is_remembered() {
    let files = Files::new(&[]);
    let (first, second, home) = (Script::default(), Script::default(), Script::default());
    let endpoints = [start(&files, &first).await, start(&files, &second).await, start(&files, &home).await];
    let address = endpoints[2].strip_prefix("https://").unwrap().to_owned();
    *first.home.lock().unwrap() = Home::At(address);
    *home.home.lock().unwrap() = Home::Here;
    let client = client(&files, &endpoints);
    let seen = |script: &Script| script.seen.lock().unwrap().len();
    let intent = intent(&client);
    let signed = client.sign(&intent).await.unwrap();
    assert_eq!(
        (signed.signature.len(), signed.home.unwrap().as_str(), signed.certificate.votes.len()),
        (384, "node-2", 0)
    );
    assert_eq!((seen(&first), seen(&second), seen(&home)), (1, 0, 1));
    assert_eq!(first.seen.lock().unwrap()[0], home.seen.lock().unwrap()[0], "the same envelope");
    client.clone().sign(&intent).await.unwrap();
    assert_eq!((seen(&first), seen(&second), seen(&home)), (1, 0, 2));
    // A client that sends each call once is told, and goes nowhere.
    let one = client.only(0).unwrap().once();
    let error = one.sign(&intent).await.unwrap_err();
    assert_eq!((error.refused().unwrap().reason, error.exit()), (Reason::HomeNode, Exit::Other));
}

#[tokio::test]
async fn a_home_at_an_unknown_address_is_found_by_asking_and_one_that_is_away_is_unreachable() {
    let files = Files::new(&[]);
    let (first, home) = (Script::default(), Script::default());
    *first.home.lock().unwrap() = Home::At("behind.a.balancer:443".into());
    *home.home.lock().unwrap() = Home::Here;
    let client_of_both = client(&files, &[start(&files, &first).await, start(&files, &home).await]);
    client_of_both.sign(&intent(&client_of_both)).await.unwrap();
    assert_eq!((first.seen.lock().unwrap().len(), home.seen.lock().unwrap().len()), (1, 1));

    let away = nobody().await;
    *first.home.lock().unwrap() = Home::At(away.strip_prefix("https://").unwrap().into());
    let client = client(&files, &[start(&files, &first).await, away]);
    let error = client.sign(&intent(&client)).await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error:?}");
    assert_eq!(first.seen.lock().unwrap().len(), 2, "asked once, and then only the home");
}

#[tokio::test]
async fn a_denial_is_never_retried() {
    let files = Files::new(&[]);
    for (code, reason, exit) in [
        (Code::PermissionDenied, Reason::PolicyDenied, Exit::Denied),
        (Code::Unauthenticated, Reason::IntentSignature, Exit::Denied),
        (Code::AlreadyExists, Reason::RequestIdConflict, Exit::Other),
        (Code::ResourceExhausted, Reason::Overloaded, Exit::Unavailable),
    ] {
        let (denying, next) = (refusing([(code, reason)]), Script::default());
        let client = client(&files, &[start(&files, &denying).await, start(&files, &next).await]);
        let error = client.sign(&intent(&client)).await.unwrap_err();
        let refused = error.refused().unwrap();
        assert_eq!((refused.reason, refused.code, error.exit()), (reason, code, exit));
        assert_eq!(refused.metadata["rule"], "payouts-small");
        assert_eq!(refused.sentence(), reason.sentence());
        assert_eq!((denying.seen.lock().unwrap().len(), next.seen.lock().unwrap().len()), (1, 0));
    }
}

/// More often than any call is sent otherwise.
#[tokio::test]
async fn who_is_shed_with_a_hint_comes_again_with_the_same_envelope() {
    let files = Files::new(&[]);
    let shedding = refusing(vec![(Code::ResourceExhausted, Reason::Overloaded); 2 * ATTEMPTS_MAX as usize]);
    *shedding.retry_after.lock().unwrap() = Some(Duration::from_millis(5));
    let client = client(&files, &[start(&files, &shedding).await]);
    client.sign(&intent(&client)).await.unwrap();
    let seen = shedding.seen.lock().unwrap().clone();
    assert_eq!(seen.len(), 2 * ATTEMPTS_MAX as usize + 1);
    assert!(seen.iter().all(|envelope| *envelope == seen[0]));
    // Who asks once is told once.
    shedding.refusals.lock().unwrap().push_back((Code::ResourceExhausted, Reason::Overloaded));
    let error = client.once().sign(&intent(&client)).await.unwrap_err();
    assert_eq!(error.refused().unwrap().retry_after, Some(Duration::from_millis(5)));
}

/// What a stream says of the intent of this number.
fn told(index: u64, outcome: Outcome) -> Result<v1::BatchSignResponse, Status> {
    Ok(v1::BatchSignResponse { index, outcome: Some(outcome) })
}

fn failure(code: Code, reason: Reason, retry_after_ms: u64) -> Outcome {
    let message = reason.sentence().to_owned();
    let (code, reason) = (code.into(), reason.as_str().to_owned());
    Outcome::Failure(v1::SignFailure { code, reason, message, metadata: Vec::new(), retry_after_ms })
}

/// Answers come in any order, some are refusals, and the stream may end before all are there.
#[tokio::test]
async fn a_batch_takes_what_the_stream_has_answered_and_asks_for_the_rest_one_by_one() {
    let files = Files::new(&[]);
    let script = Script::default();
    let client = client(&files, &[start(&files, &script).await]);
    let intents: Vec<_> = (0..4).map(|_| intent(&client)).collect();
    let denied = || told(0, failure(Code::PermissionDenied, Reason::PolicyDenied, 0));
    let shed = || told(3, failure(Code::ResourceExhausted, Reason::Overloaded, 5));
    for broken in [
        vec![told(1, Outcome::Signed(signed(7))), denied(), shed(), Err(Status::unavailable("gone"))],
        // A number that nobody has asked for ends it, too.
        vec![denied(), told(1, Outcome::Signed(signed(7))), shed(), told(4, Outcome::Signed(signed(9)))],
        // The node has stopped: it ends the stream in good order.
        vec![shed(), denied(), told(1, Outcome::Signed(signed(7)))],
    ] {
        *script.batch.lock().unwrap() = Some(broken);
        script.seen.lock().unwrap().clear();
        let outcomes = client.batch_sign(&intents).await;
        let [refused, streamed, open, again] = outcomes.as_slice() else { panic!("{outcomes:?}") };
        assert_eq!(refused.as_ref().unwrap_err().refused().unwrap().reason, Reason::PolicyDenied);
        assert_eq!(streamed.as_ref().unwrap().signature, vec![7; 64]);
        for alone in [open, again] {
            assert_eq!(alone.as_ref().unwrap().signature, vec![1; 64]);
        }
        let seen: Vec<_> = script.seen.lock().unwrap().iter().map(|envelope| envelope.payload.clone()).collect();
        assert_eq!(seen, [2, 3].map(|at: usize| intents[at].envelope().payload.clone()), "the very same intents");
    }
    // An answer that is none is told as such, as that of a call would be.
    let none = v1::BatchSignResponse { index: 2, outcome: None };
    *script.batch.lock().unwrap() = Some(vec![Ok(none), denied(), shed(), told(1, Outcome::Signed(signed(7)))]);
    let outcomes = client.batch_sign(&intents).await;
    assert!(matches!(outcomes[2], Err(ClientError::Answer { field: "outcome", .. })), "{outcomes:?}");
    // Without any stream all are asked for; once nobody can be had for one, the rest is not.
    let all = client.batch_sign(&intents).await;
    assert!(all.iter().all(Result::is_ok));
    script.refusals.lock().unwrap().extend(vec![(Code::Unavailable, Reason::Signers); ATTEMPTS_MAX as usize]);
    script.seen.lock().unwrap().clear();
    let all = client.batch_sign(&intents).await;
    assert!(all.iter().all(|outcome| outcome.as_ref().is_err_and(ClientError::is_transient)), "{all:?}");
    assert_eq!(script.seen.lock().unwrap().len(), ATTEMPTS_MAX as usize);
}

#[tokio::test]
async fn attempts_end_and_the_nodes_reason_outlives_a_failed_connection() {
    let files = Files::new(&[]);
    let away = refusing(vec![(Code::Unavailable, Reason::Signers); 100]);
    let client = client(&files, &[start(&files, &away).await, nobody().await]);
    let error = client.sign(&intent(&client)).await.unwrap_err();
    assert_eq!(error.refused().unwrap().reason, Reason::Signers);
    assert_eq!(error.exit(), Exit::Unavailable);
    assert_eq!(away.seen.lock().unwrap().len(), ATTEMPTS_MAX as usize / 2);
    client.once().sign(&intent(&client)).await.unwrap_err();
    assert_eq!(away.seen.lock().unwrap().len(), ATTEMPTS_MAX as usize / 2 + 1);
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let files = Files::new(&[]);
    let client = client(&files, &[nobody().await]);
    let error = client.sign(&intent(&client)).await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error:?}");
    assert_eq!(error.exit(), Exit::Unavailable);
}

#[tokio::test]
async fn a_server_of_another_authority_gets_no_call() {
    let (ours, theirs) = (Files::new(&[]), Files::new(&[]));
    let script = Script::default();
    let client = client(&ours, &[start(&theirs, &script).await]);
    let error = client.sign(&intent(&client)).await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error:?}");
    assert!(script.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn answers_that_are_not_the_contracts_are_told_from_refusals() {
    let files = Files::new(&[]);
    let client = client(&files, &[start(&files, &Script::default()).await]);
    let error = client.request(RequestId([1; 16])).await.unwrap_err();
    assert!(matches!(error, ClientError::Answer { field: "request", .. }), "{error:?}");
    let error = client.requests(1, None).await.unwrap_err();
    assert!(matches!(error, ClientError::Status { code: Code::Unimplemented, .. }), "{error:?}");
}

#[tokio::test]
async fn a_request_that_the_first_nodes_do_not_know_is_looked_for_at_the_others() {
    let files = Files::new(&[]);
    let unknown = || refusing(vec![(Code::NotFound, Reason::RequestNotFound); 9]);
    let knows = Script::default();
    let id = RequestId([7; 16]);
    *knows.known.lock().unwrap() = Some(v1::Request {
        request_id: id.0.to_vec(),
        tenant: "acme".into(),
        client: "payouts-1".into(),
        key: "hot".into(),
        action: "sign".into(),
        intent_digest: vec![1; 32],
        state: v1::RequestState::Refused.into(),
        reason: "POLICY_DENIED".into(),
        ..Default::default()
    });
    let endpoints = [nobody().await, start(&files, &unknown()).await, start(&files, &knows).await];
    let client = client(&files, &endpoints);
    assert_eq!(client.find_request(id).await.unwrap().request_id, id);
    // A node that has only voted has heard of it, and does not know why it was refused.
    let voted = Script::default();
    let refused = knows.known.lock().unwrap().clone().unwrap();
    *voted.known.lock().unwrap() =
        Some(v1::Request { state: v1::RequestState::Received.into(), reason: String::new(), ..refused });
    files.profile(&[start(&files, &voted).await, endpoints[2].clone()]);
    let asks_both = Client::new(Profile::load(&files.path()).unwrap()).unwrap();
    let told = asks_both.find_request(id).await.unwrap().state;
    assert_eq!(told, tally_client::RequestState::Refused("POLICY_DENIED".into()));
    let not_found = |e: ClientError| e.refused().is_some_and(|r| r.reason == Reason::RequestNotFound);
    // Asked as before, the first node that answers has the last word.
    assert!(not_found(client.request(id).await.unwrap_err()));
    assert!(not_found(client.only(1).unwrap().find_request(id).await.unwrap_err()));
    let away = client.only(0).unwrap().find_request(id).await.unwrap_err();
    assert!(matches!(away, ClientError::Unreachable { .. }), "{away:?}");
    // Any other refusal is final: no node is asked around it.
    let denying = refusing([(Code::PermissionDenied, Reason::Acl)]);
    files.profile(&[start(&files, &denying).await, endpoints[2].clone()]);
    let client = Client::new(Profile::load(&files.path()).unwrap()).unwrap();
    assert_eq!(client.find_request(id).await.unwrap_err().exit(), Exit::Denied);
}

#[tokio::test]
async fn calls_can_be_spawned_and_clients_can_be_pointed_at_one_node() {
    let files = Files::new(&[]);
    let (a, b) = (Script::default(), Script::default());
    let client = client(&files, &[start(&files, &a).await, start(&files, &b).await]);
    let second = client.only(1).unwrap();
    assert!(client.only(2).is_none());
    let rotated: Vec<_> = client.rotated(3).endpoints().map(str::to_owned).collect();
    assert_eq!(rotated[0], second.endpoints().next().unwrap());
    let task = tokio::spawn(async move {
        let sealed = intent(&second);
        second.sign(&sealed).await.map(|_| ())
    });
    task.await.unwrap().unwrap();
    assert_eq!((a.seen.lock().unwrap().len(), b.seen.lock().unwrap().len()), (0, 1));
}

#[tokio::test]
async fn a_log_with_gaps_repeats_or_a_wrong_length_is_not_taken_for_a_log() {
    let files = Files::new(&[]);
    let part = |first: u64, leaves: &[&[u8]]| v1::ReadEntriesResponse {
        first,
        leaves: leaves.iter().map(|l| l.to_vec()).collect(),
    };
    let good = vec![part(0, &[b"a", b"b"]), part(2, &[b"c"])];
    let short = vec![part(0, &[b"a", b"b"])];
    let long = vec![part(0, &[b"a", b"b", b"c", b"d"])];
    let gap = vec![part(0, &[b"a"]), part(2, &[b"b", b"c"])];
    let again = vec![part(0, &[b"a"]), part(0, &[b"a", b"b"])];
    for (parts, whole) in [(good, true), (short, false), (long, false), (gap, false), (again, false)] {
        let script = Script::default();
        *script.log.lock().unwrap() = parts;
        let client = client(&files, &[start(&files, &script).await]);
        let mut leaves = Vec::new();
        let read = client.read_log(3, |leaf| leaves.push(leaf)).await;
        assert_eq!(read.is_ok(), whole, "{read:?}");
        if whole {
            assert_eq!(leaves, [b"a", b"b", b"c"]);
        }
    }
}
