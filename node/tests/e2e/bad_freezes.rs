//! What is no freeze and no lift, and who may not say so.

use crate::freezes::{announce, freeze, lift_of, of_key, statements};
use crate::harness::cluster::Cluster;
use crate::harness::orders::*;
use crate::harness::raw;
use tally_client::Order;
use tally_domain::{Action, Reason, RequestId, Scope};
use tally_proto::v1;
use tally_proto::v1::freeze_service_client::FreezeServiceClient;
use tally_proto::v1::peer_service_client::PeerServiceClient;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_freeze_and_no_lift_is_refused_with_its_reason() {
    let cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    create_fast(&client).await;
    assert_eq!(reason(freeze(&client, &of_key("nobody")).await), Reason::KeyNotFound);
    // Intents for something else, at either door.
    let said = client.seal(say("no freeze")).unwrap();
    assert_eq!(reason(client.freeze(&said).await), Reason::Malformed);
    assert_eq!(reason(client.unfreeze(&said).await), Reason::Malformed);
    let freezing = client.seal(Order::freeze(&Scope::All).unwrap()).unwrap();
    assert_eq!(reason(client.unfreeze(&freezing).await), Reason::Malformed);
    assert_eq!(reason(client.sign(&freezing).await), Reason::Malformed);
    let mut intent = freezing.intent().clone();
    (intent.request_id, intent.action) = (RequestId([3; 16]), Action::Unfreeze);
    let mut service = FreezeServiceClient::new(raw::as_client(&cluster, 0).await);
    let request = v1::UnfreezeRequest { intent: Some(raw::signed(&cluster, &intent)) };
    assert_eq!(raw::typed(service.unfreeze(request).await).1, Reason::Malformed);
    assert_eq!(raw::typed(service.freeze(v1::FreezeRequest { intent: None }).await).1, Reason::Malformed);
    // Another client's intent, and a forged one.
    let reader = cluster.client("reader");
    assert_eq!(reason(reader.freeze(&freezing).await), Reason::UnknownClient);
    let mut forged = raw::signed(&cluster, freezing.intent());
    forged.signatures[0].signature[0] ^= 1;
    let request = v1::FreezeRequest { intent: Some(forged) };
    assert_eq!(raw::typed(service.freeze(request).await).1, Reason::IntentSignature);

    let frozen = freeze(&cluster.at(0), &of_key("fast")).await.unwrap();
    let statement = statements(&cluster, 1, 0).await.remove(0);
    let mut changed = statement.clone();
    changed.signed.as_mut().unwrap().payload[3] ^= 1;
    for (freeze, unfreeze) in [
        (None, vec![]),
        (Some(v1::Statement::default()), vec![]),
        (Some(changed), vec![]),
        (Some(statement.clone()), vec![statement.clone()]),
        (None, vec![statement.clone()]),
        (None, vec![statement.clone(); 4]),
    ] {
        let answer = announce(&cluster, 1, 2, freeze, unfreeze).await;
        assert_eq!(raw::typed(answer).1, Reason::ProtocolViolation);
    }
    let mut peer = PeerServiceClient::new(raw::as_client(&cluster, 1).await);
    let by_client = peer.announce_freeze(v1::AnnounceFreezeRequest { freeze: Some(statement), unfreeze: vec![] }).await;
    assert_eq!(raw::typed(by_client).1, Reason::UnknownNode);
    // One node's word is no majority; a peer gives its own only under the client's intent and policy.
    let mut peer = PeerServiceClient::new(raw::as_node(&cluster, 1, 2).await);
    let lift = lift_of(&client, &of_key("fast"), &[&frozen]);
    let proposal = v1::ProposeUnfreezeRequest { intent: Some(raw::signed(&cluster, lift.intent())) };
    let word = peer.propose_unfreeze(proposal).await.unwrap().into_inner().statement.unwrap();
    let answer = announce(&cluster, 1, 2, None, vec![word.clone()]).await;
    assert_eq!(raw::typed(answer).1, Reason::ProtocolViolation);
    let answer = announce(&cluster, 1, 2, None, vec![word.clone(), word]).await;
    assert_eq!(raw::typed(answer).1, Reason::ProtocolViolation);
    let denied = lift_of(&reader, &of_key("fast"), &[&frozen]);
    let proposal = v1::ProposeUnfreezeRequest { intent: Some(raw::signed(&cluster, denied.intent())) };
    assert_eq!(raw::typed(peer.propose_unfreeze(proposal).await).1, Reason::PolicyDenied);
    assert_eq!(reason(sign(&client, say("still frozen")).await), Reason::Frozen);
}
