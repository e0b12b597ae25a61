//! Keys that wrap other keys: every call, from any node, the same again, and everything that must be refused.

use crate::harness::cluster::Cluster;
use crate::harness::orders::*;
use crate::harness::raw;
use crate::harness::vault::*;
use tally_client::{Client, KeyBacking, Order, RequestState};
use tally_domain::ports::hsm::KekId;
use tally_domain::wrap::PLAINTEXT_MAX_BYTES;
use tally_domain::{
    DerivationPath, HsmScheme, KekChange, KekNumber, Purpose, Reason, RequestId, WrapLabel, WrappedKey,
};
use tally_proto::v1;
use tally_proto::v1::key_wrap_service_client::KeyWrapServiceClient;

/// Bytes that nothing else in a node's directory has.
const CANARY: &[u8] = b"canary: no file of any node may hold this plaintext";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_is_done_at_home_whichever_node_is_asked_the_same_again_and_after_a_restart() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    let kek = create_kek(&client, "vault", 1).await.unwrap();
    assert_eq!((kek.home, kek.state.as_str(), kek.versions.len()), (home(1), "active", 1));

    let id = RequestId([7; 16]);
    let (order, plain) = plain(&client, "vault", id, CANARY);
    let to_wrap = client.seal(order).unwrap();
    let wrapped = client.wrap(&to_wrap, &plain).await.unwrap();
    assert_eq!((wrapped.by.version, wrapped.by.rule.as_str(), &wrapped.by.home), (KekNumber(1), "vaults", &home(1)));
    assert_eq!(opened(&client.rotated(2), "vault", &wrapped.blob).await, CANARY);

    let to_draw = client.seal(Order::generate_data_key(key("vault"), ledger(), 32, true)).unwrap();
    let drawn = client.generate_data_key(&to_draw).await.unwrap();
    let data_key = drawn.plaintext.as_ref().unwrap().expose().to_vec();
    assert_eq!((data_key.len(), opened(&client, "vault", &drawn.wrapped.blob).await), (32, data_key.clone()));
    let unseen = draw(&client, "vault", 64, false).await.unwrap();
    assert!(unseen.plaintext.is_none());
    assert_eq!(opened(&client, "vault", &unseen.wrapped.blob).await.len(), 64);

    let rotated = change(&client, "vault", KekChange::Rotate).await.unwrap();
    assert_eq!((rotated.version.number, rotated.rule.as_str()), (KekNumber(2), "change-keks"));
    let to_rewrap = client.seal(Order::rewrap(key("vault"), ledger(), &wrapped.blob, None)).unwrap();
    let anew = client.rewrap(&to_rewrap, &wrapped.blob).await.unwrap();
    assert_eq!(anew.by.version, KekNumber(2));
    assert_eq!(opened(&client, "vault", &anew.blob).await, CANARY);
    // Back to the old one, because that was asked for; and the old one still opens what it wrapped.
    let back = rewrap(&client, "vault", &anew.blob, Some(1)).await.unwrap();
    assert_eq!(back.by.version, KekNumber(1));
    assert_eq!(opened(&client, "vault", &wrapped.blob).await, CANARY);

    for round in 0..2 {
        for i in 0..3 {
            let client = cluster.client("payouts-1").rotated(i);
            assert_eq!(client.wrap(&to_wrap, &plain).await.unwrap(), wrapped);
            assert_eq!(client.rewrap(&to_rewrap, &wrapped.blob).await.unwrap(), anew);
            let again = client.generate_data_key(&to_draw).await.unwrap();
            assert_eq!((again.wrapped, again.plaintext.unwrap().expose()), (drawn.wrapped.clone(), &data_key[..]));
        }
        let elsewhere = cluster.at(0).wrap(&to_wrap, &plain).await.unwrap_err();
        let refused = elsewhere.refused().unwrap();
        assert_eq!((refused.reason, refused.metadata["node"].as_str()), (Reason::HomeNode, "node-2"));
        if round == 0 {
            for i in 0..3 {
                cluster.kill(i);
                cluster.launch(i, &[]);
            }
            cluster.all_serving().await;
        }
    }
    // The id names this intent for ever, also where the answer would hold nothing secret.
    let (other, other_plain) = crate::harness::vault::plain(&client, "vault", id, b"another");
    assert_eq!(reason(client.wrap(&client.seal(other).unwrap(), &other_plain).await), Reason::RequestIdConflict);
    let shown = client.find_request(id).await.unwrap();
    assert_eq!((shown.action.as_str(), shown.state), ("wrap", RequestState::Completed(None)));
    let versions = client.kek(&key("vault")).await.unwrap().versions;
    assert_eq!(versions.iter().map(|v| v.wraps).collect::<Vec<_>>(), [4, 1]);
    assert_eq!(versions[0].check_value.len(), 6);
    assert_ne!(versions[0].id, versions[1].id);
    let reports = verified(&cluster).await;
    assert_eq!(reports.iter().map(|r| r.wraps).collect::<Vec<_>>(), [0, 10, 0]);
    for i in 0..3 {
        cluster.stop(i);
    }
    assert_eq!(found_in_files(&cluster, CANARY), Vec::<String>::new());
    assert_eq!(found_in_files(&cluster, &data_key), Vec::<String>::new());
    // What is stored is found: the search can find.
    assert!(!found_in_files(&cluster, &wrapped.blob).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrapped_data_that_was_changed_or_is_opened_elsewhere_is_data_loss_and_never_the_tokens_fault() {
    let cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    create_kek(&client, "vault", 0).await.unwrap();
    create_kek(&client, "other", 0).await.unwrap();
    let blob = wrap(&client, "vault", b"secret").await.unwrap().blob;
    for (i, byte) in blob.iter().enumerate() {
        let mut bad = blob.clone();
        bad[i] = byte ^ (1 << (i % 8));
        let outcome = open_with(&client, "vault", ledger(), &bad).await;
        assert_eq!(reason(bytes(outcome)), Reason::BlobTampered, "byte {i}");
        if i % 8 == 0 {
            assert_eq!(reason(rewrap(&client, "vault", &bad, None).await), Reason::BlobTampered, "byte {i}");
        }
    }
    for bad in [&blob[..blob.len() - 1], &[&blob[..], &[0]].concat(), b"no wrapped data", b"x"] {
        assert_eq!(reason(bytes(open_with(&client, "vault", ledger(), bad).await)), Reason::BlobTampered);
    }
    for wrong in [
        context(&[("app", "ledger")]),
        context(&[("app", "ledger"), ("row", "8")]),
        context(&[("app", "ledger"), ("row", "7"), ("more", "")]),
    ] {
        assert_eq!(reason(bytes(open_with(&client, "vault", wrong, &blob).await)), Reason::BlobTampered);
    }
    assert_eq!(reason(bytes(open_with(&client, "other", ledger(), &blob).await)), Reason::BlobTampered);
    // Made elsewhere: neither its version nor its key is known.
    let label = WrapLabel { kek: key("vault"), number: KekNumber(9), id: KekId([9; 16]), bytes: 6 };
    let unknown = WrappedKey { label, sealed: vec![0; 83] }.to_bytes();
    assert_eq!(reason(bytes(open_with(&client, "vault", ledger(), &unknown).await)), Reason::KekVersionUnknown);
    assert_eq!(reason(rewrap(&client, "vault", &blob, Some(9)).await), Reason::KekVersionUnknown);

    let token = cluster.at(0).node().await.unwrap().hsm;
    assert_eq!((token.error, token.breaker.as_str()), (None, "closed"));
    assert_eq!(opened(&client, "vault", &blob).await, b"secret");
    verified(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lengths_rules_and_purposes_are_answered_with_what_is_wrong() {
    let cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    create_kek(&client, "vault", 0).await.unwrap();
    for bytes in [0, 15, 65, 4_096] {
        assert_eq!(reason(draw(&client, "vault", bytes, true).await.map(|_| ())), Reason::ParameterRange, "{bytes}");
    }
    for bytes in [0, PLAINTEXT_MAX_BYTES + 1] {
        assert_eq!(reason(wrap(&client, "vault", &vec![1; bytes]).await), Reason::ParameterRange, "{bytes}");
    }
    for bytes in [1, PLAINTEXT_MAX_BYTES] {
        let blob = wrap(&client, "vault", &vec![1; bytes]).await.unwrap().blob;
        assert_eq!(opened(&client, "vault", &blob).await, vec![1; bytes]);
    }
    let other = Order::generate_data_key(key("vault"), context(&[("app", "other")]), 32, true);
    let denied = client.generate_data_key(&client.seal(other).unwrap()).await.map(|_| ()).unwrap_err();
    let refused = denied.refused().unwrap();
    assert_eq!((refused.reason, refused.metadata["rule"].as_str()), (Reason::PolicyDenied, "vaults"));
    assert_eq!(refused.metadata["condition"], r#"context.wrap.context.contains("app=ledger")"#);
    let reader = cluster.client("reader");
    assert_eq!(reason(wrap(&reader, "vault", b"x").await), Reason::PolicyDenied);
    assert_eq!(reason(create_kek(&reader, "mine", 0).await), Reason::PolicyDenied);
    assert_eq!(reason(change(&reader, "vault", KekChange::Rotate).await), Reason::PolicyDenied);

    // A key has one purpose.
    let spec = in_hsm_of(0, HsmScheme::EcdsaP256, Purpose::Message);
    create_hsm(&client, "jwt", &spec).await.unwrap();
    create_fast(&client).await;
    for name in ["jwt", "fast"] {
        assert_eq!(reason(wrap(&client, name, b"x").await), Reason::KeyPurpose, "{name}");
        assert_eq!(reason(change(&client, name, KekChange::Rotate).await), Reason::KeyPurpose, "{name}");
    }
    let message = |name: &str| Order::sign_message(key(name), b"x".to_vec());
    assert_eq!(reason(sign(&client, message("vault")).await), Reason::KeyPurpose);
    assert_eq!(reason(client.kek(&key("jwt")).await), Reason::KeyPurpose);
    for name in ["nobody", "no name"] {
        let request = v1::GetKekRequest { name: name.into() };
        let outcome = KeyWrapServiceClient::new(raw::as_client(&cluster, 0).await).get_kek(request).await;
        assert_eq!(raw::typed(outcome).1, Reason::KeyNotFound);
    }
    assert_eq!(reason(wrap(&client, "nobody", b"x").await), Reason::KeyNotFound);
    assert_eq!(reason(create_kek(&client, "jwt", 0).await), Reason::KeyExists);
    assert_eq!(reason(create_hsm(&client, "vault", &spec).await), Reason::KeyExists);
    // It shows as a key among keys, and has nothing to export.
    let shown = client.key(&key("vault")).await.unwrap();
    assert!(matches!(&shown.backing, KeyBacking::Kek { check_value, .. } if check_value.len() == 6));
    assert_eq!((shown.purpose, shown.to_public_key()), (Purpose::Wrap, None));
    let derived = client.derive(&key("vault"), &DerivationPath::default()).await;
    assert_eq!(reason(derived), Reason::KeyNotExportable);
    assert_eq!(client.keks().await.unwrap().len(), 1);
    verified(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_travels_beside_an_intent_must_be_what_it_binds() {
    let cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    create_kek(&client, "vault", 0).await.unwrap();
    let blob = wrap(&client, "vault", b"secret").await.unwrap().blob;
    let envelope = |client: &Client, order: Order| Some(raw::signed(&cluster, client.seal(order).unwrap().intent()));
    let mut service = KeyWrapServiceClient::new(raw::as_client(&cluster, 0).await);

    let (order, _) = plain(&client, "vault", RequestId([1; 16]), b"bound");
    let bound = envelope(&client, order);
    for (salt, plaintext) in [(vec![0; 32], b"bound".to_vec()), (vec![], b"bound".to_vec())] {
        let request = v1::WrapRequest { intent: bound.clone(), salt, plaintext };
        assert_eq!(raw::typed(service.wrap(request).await).1, Reason::Malformed);
    }
    let unwrap = Order::unwrap(key("vault"), ledger(), b"other wrapped data");
    let request = v1::UnwrapRequest { intent: envelope(&client, unwrap.clone()), wrapped: blob.clone() };
    assert_eq!(raw::typed(service.unwrap(request).await.map(|_| ())).1, Reason::Malformed);
    // An intent for another call, and none.
    let request = v1::RewrapRequest { intent: envelope(&client, unwrap.clone()), wrapped: blob.clone() };
    assert_eq!(raw::typed(service.rewrap(request).await).1, Reason::Malformed);
    let request = v1::GenerateDataKeyRequest { intent: envelope(&client, unwrap) };
    assert_eq!(raw::typed(service.generate_data_key(request).await.map(|_| ())).1, Reason::Malformed);
    let none = v1::UnwrapRequest { intent: None, wrapped: blob.clone() };
    assert_eq!(raw::typed(service.unwrap(none).await.map(|_| ())).1, Reason::Malformed);
    let rotate = envelope(&client, Order::change_kek(key("vault"), KekChange::Rotate));
    let as_creation = service.create_kek(v1::CreateKekRequest { intent: rotate }).await;
    assert_eq!(raw::typed(as_creation).1, Reason::Malformed);
    let create = envelope(&client, Order::create_kek(key("vault-2"), home(0)));
    assert_eq!(raw::typed(service.change_kek(v1::ChangeKekRequest { intent: create }).await).1, Reason::Malformed);
    // Only who signed the intent may bring it.
    let mine = raw::signed(&cluster, client.seal(Order::change_kek(key("vault"), KekChange::Rotate)).unwrap().intent());
    let channel = raw::connect(&cluster, 0, &cluster.clients["payouts-2"].tls).await.unwrap();
    let by_another = KeyWrapServiceClient::new(channel).change_kek(v1::ChangeKekRequest { intent: Some(mine) }).await;
    assert_eq!(raw::typed(by_another).1, Reason::UnknownClient);
    let large = v1::UnwrapRequest { intent: None, wrapped: vec![0; 128 * 1024] };
    assert_eq!(raw::typed(service.unwrap(large).await.map(|_| ())).1, Reason::Oversized);
    assert_eq!(client.kek(&key("vault")).await.unwrap().versions.len(), 1);
    verified(&cluster).await;
}
