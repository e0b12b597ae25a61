//! Keys in the HSM of one node: made there, signing there, known everywhere, and of one name for ever.

use crate::harness::cluster::Cluster;
use crate::harness::orders::*;
use crate::harness::raw;
use crate::main_job::logs_of;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use std::time::{Duration, Instant};
use tally_audit::verify::verify_together;
use tally_client::{Client, ClientError, KeyInfo, Order, RequestState};
use tally_domain::spki::Parts;
use tally_domain::{
    DerivationPath, Digest, HsmScheme, KeySpec, PublicKey, Purpose, Reason, RequestId, Scheme, Threshold,
};
use tally_proto::v1;

const ALL: [HsmScheme; 4] = [HsmScheme::EcdsaP256, HsmScheme::EcdsaSecp256k1, HsmScheme::Ed25519, HsmScheme::Rsa3072];

fn message(name: &str, text: &str) -> Order {
    Order::sign_message(key(name), text.as_bytes().to_vec())
}

/// Verifies a message with libraries that no node uses.
fn verified(public: &PublicKey, message: &[u8], signature: &[u8]) {
    match (public.scheme(), public.parts()) {
        (HsmScheme::EcdsaP256, Parts::Point { x, y }) => {
            let point = [&[4], &x[..], &y].concat();
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).unwrap();
        }
        (_, Parts::Point { .. }) => {
            let key = secp256k1::PublicKey::from_slice(&public.secp256k1_compressed().unwrap()).unwrap();
            let signature = secp256k1::ecdsa::Signature::from_compact(signature).unwrap();
            let digest = secp256k1::Message::from_digest(Digest::of(message).0);
            secp256k1::SECP256K1.verify_ecdsa(digest, &signature, &key).unwrap();
        }
        (_, Parts::Ed25519(key)) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature).unwrap(),
        (_, Parts::Rsa { n, e }) => {
            RsaPublicKeyComponents { n, e }.verify(&RSA_PSS_2048_8192_SHA256, message, signature).unwrap();
        }
    }
}

/// Waits until a node knows a key as active.
async fn known_at(node: &Client, name: &str) -> KeyInfo {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        match node.key(&key(name)).await {
            Ok(info) if info.state == "active" => return info,
            other => assert!(Instant::now() < end, "{other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn logs_verify(cluster: &Cluster) {
    let bundle = tally_node::load_bundle(&cluster.dir.path().join("policy")).unwrap();
    let logs = logs_of(cluster).await;
    verify_together(bundle.roster(), &logs).unwrap();
}

fn is(error: &ClientError, reason: Reason) -> bool {
    error.refused().is_some_and(|r| r.reason == reason)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_every_scheme_sign_at_their_home_whichever_node_is_asked_and_survive_a_restart() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    let mut signed = Vec::new();
    for (n, scheme) in ALL.into_iter().enumerate() {
        let (name, home) = (format!("key-{scheme}"), n % 3);
        let spec = in_hsm_of(home, scheme, Purpose::Message);
        // Asked for at a node that is not the home: the client goes there.
        let public = create_hsm(&client.rotated(home + 1), &name, &spec).await.unwrap();
        assert_eq!(public.scheme(), scheme);
        let intent = client.seal(message(&name, "first")).unwrap();
        let first = client.rotated(home + 2).sign(&intent).await.unwrap();
        verified(&public, b"first", &first.signature);
        assert_eq!((first.home.as_ref(), first.certificate.votes.len()), (Some(&spec.home), 0));
        assert_eq!((first.rule.as_str(), &first.public_key), ("messages", &public.to_spki()));
        // Again, and from anywhere: the same bytes, though the token would make others.
        for i in 0..3 {
            assert_eq!(client.rotated(i).sign(&intent).await.unwrap(), first);
        }
        let elsewhere = cluster.at((home + 1) % 3).sign(&intent).await.unwrap_err();
        let refused = elsewhere.refused().unwrap();
        assert_eq!((refused.reason, refused.metadata["node"].as_str()), (Reason::HomeNode, spec.home.as_str()));
        // The id names this intent for ever.
        let other = client.seal(message(&name, "second").request_id(intent.request_id())).unwrap();
        assert_eq!(reason(client.sign(&other).await), Reason::RequestIdConflict);
        // Every node shows the key, and the home the request; the client finds it there.
        for i in 0..3 {
            let shown = known_at(&cluster.at(i), &name).await;
            assert_eq!(shown.to_public_key(), Some(public.clone()), "node {i}");
            let kept = client.rotated(i).find_request(intent.request_id()).await.unwrap();
            assert!(matches!(kept.state, RequestState::Completed(Some(s)) if *s == first));
        }
        signed.push((intent, first, public));
    }
    assert_eq!(client.keys().await.unwrap().len(), 4);
    for i in 0..3 {
        cluster.kill(i);
        cluster.launch(i, &[]);
    }
    cluster.all_serving().await;
    let client = cluster.client("payouts-1");
    for (intent, first, public) in signed {
        assert_eq!(client.sign(&intent).await.unwrap(), first);
        let name = intent.intent().key.as_str();
        let later = sign(&client, message(name, "later")).await.unwrap();
        verified(&public, b"later", &later.signature);
    }
    logs_verify(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_has_one_purpose_and_raw_digests_need_a_rule_of_their_own() {
    let cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    let p256 = |purpose| in_hsm_of(0, HsmScheme::EcdsaP256, purpose);
    create_hsm(&client, "jwt", &p256(Purpose::Message)).await.unwrap();
    let root = create_hsm(&client, "root", &p256(Purpose::Raw)).await.unwrap();
    create_hsm(&client, "root-2", &p256(Purpose::Raw)).await.unwrap();
    let digest = Digest::of(b"what is signed").0;

    let signed = sign(&client, Order::sign_raw(key("root"), digest)).await.unwrap();
    assert_eq!((signed.rule.as_str(), signed.signed_bytes.as_slice()), ("raw", &digest[..]));
    verified(&root, b"what is signed", &signed.signature);
    assert_eq!(reason(sign(&client, Order::sign_raw(key("root-2"), digest)).await), Reason::PolicyDenied);
    assert_eq!(reason(sign(&client, Order::sign_raw(key("root"), [0; 32])).await), Reason::ParameterRange);
    assert_eq!(reason(sign(&client, Order::sign_raw(key("jwt"), digest)).await), Reason::KeyPurpose);
    assert_eq!(reason(sign(&client, message("root", "text")).await), Reason::KeyPurpose);
    assert_eq!(reason(sign(&client, message("jwt", "")).await), Reason::Malformed);
    let child = message("jwt", "x").path(DerivationPath::parse("m/1").unwrap());
    assert_eq!(reason(sign(&client, child).await), Reason::ParameterRange);
    // Policy asks who, too; the refusal is in the home's log.
    let denied = sign(&cluster.client("reader"), message("jwt", "x")).await;
    assert_eq!(reason(denied), Reason::PolicyDenied);
    let made = create_hsm(&cluster.client("reader"), "mine", &p256(Purpose::Message)).await;
    assert_eq!(reason(made), Reason::PolicyDenied);
    // A threshold key signs no digest.
    create_fast(&client).await;
    assert_eq!(reason(sign(&client, Order::sign_raw(key("fast"), digest)).await), Reason::KeyPurpose);

    // A transaction with a key in an HSM: the same decoder, the same rules, the same raw transaction.
    let spec = in_hsm_of(0, HsmScheme::EcdsaSecp256k1, Purpose::Transaction);
    let hot = create_hsm(&client, "hot", &spec).await.unwrap();
    let paid = sign(&client, pay(0, 250)).await.unwrap();
    assert_eq!((paid.rule.as_str(), Some(recovered(&paid))), ("payouts-small", hot.secp256k1_compressed()));
    assert!(paid.signed_payload.starts_with(&[2]));
    let refused = sign(&client, pay(1, 5_000)).await.unwrap_err();
    assert!(refused.refused().unwrap().metadata["condition"].contains("1000"));
    let address = client.derive(&key("hot"), &DerivationPath::default()).await.unwrap().evm_address;
    assert_eq!(address, client.key(&key("hot")).await.unwrap().evm_address);
    assert!(address.is_some());
    logs_verify(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scheme_that_the_homes_token_does_not_offer_is_said_to_be_so_and_another_node_may_offer_it() {
    let mut cluster = Cluster::start().await;
    // SoftHSM denies what such a list names, but for the first.
    let configuration = &cluster.nodes[0].token.env.1;
    let text = std::fs::read_to_string(configuration).unwrap();
    let less = text.replace("slots.mechanisms = ALL", "slots.mechanisms = -CKM_AES_KEY_WRAP_PAD,CKM_RSA_PKCS_PSS");
    assert_ne!(less, text);
    std::fs::write(configuration, less).unwrap();
    cluster.kill(0);
    cluster.launch(0, &[]);
    cluster.all_serving().await;
    let client = cluster.client("payouts-1");
    let spec = |home, scheme| in_hsm_of(home, scheme, Purpose::Message);
    let refused = create_hsm(&client, "pay", &spec(0, HsmScheme::Rsa3072)).await;
    assert_eq!(reason(refused), Reason::HsmNotOffered);
    // The token stays in use, and the name is free.
    create_hsm(&client, "jwt", &spec(0, HsmScheme::EcdsaP256)).await.unwrap();
    let public = create_hsm(&client, "pay", &spec(1, HsmScheme::Rsa3072)).await.unwrap();
    let signed = sign(&client, message("pay", "text")).await.unwrap();
    verified(&public, b"text", &signed.signature);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_one_keys_whoever_asks_and_wherever() {
    let cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    let spec = |home| in_hsm_of(home, HsmScheme::EcdsaP256, Purpose::Message);
    let intent = client.seal(Order::create_hsm_key(key("jwt"), &spec(0))).unwrap();
    let first = client.create_key(&intent).await.unwrap().key;
    for i in 0..3 {
        let again = client.rotated(i).create_key(&intent).await.unwrap().key;
        assert_eq!((again.public_key, again.state.as_str()), (first.public_key.clone(), "active"));
    }
    for home in 0..3 {
        assert_eq!(reason(create_hsm(&client, "jwt", &spec(home)).await), Reason::KeyExists);
    }
    create_fast(&client).await;
    assert_eq!(reason(create_hsm(&client, "fast", &spec(1)).await), Reason::KeyExists);
    let threshold =
        KeySpec { scheme: Scheme::Ed25519, threshold: Threshold::new(2, 3).unwrap(), purpose: Purpose::Message };
    let taken = client.seal(Order::create_key(key("jwt"), threshold)).unwrap();
    assert_eq!(reason(client.create_key(&taken).await), Reason::KeyExists);

    // Three homes want one name at the same moment: at most one key is active, and all nodes agree which.
    for round in 0..5 {
        let name = format!("race-{round}");
        let wishes: Vec<_> = (0..3).map(|home| (client.rotated(home), spec(home))).collect();
        let wish = async |(client, spec): &(Client, _)| create_hsm(client, &name, spec).await;
        let outcomes = futures_util::future::join_all(wishes.iter().map(wish)).await;
        let made: Vec<_> = outcomes.iter().filter_map(|o| o.as_ref().ok()).collect();
        assert!(made.len() <= 1, "{outcomes:?}");
        assert!(outcomes.iter().filter_map(|o| o.as_ref().err()).all(|e| is(e, Reason::KeyExists)), "{outcomes:?}");
        for i in 0..3 {
            let shown = cluster.at(i).key(&key(&name)).await.ok();
            let active = shown.filter(|k| k.state == "active").and_then(|k| k.to_public_key());
            assert!(active.is_none() || active.as_ref() == made.first().copied(), "node {i}");
        }
        // A key that has lost its name never signs, whoever asks its home.
        for i in 0..3 {
            match sign(&cluster.at(i), message(&name, "whose?")).await {
                Ok(signed) => verified(made[0], b"whose?", &signed.signature),
                Err(e) => assert!(is(&e, Reason::KeyNotActive) || is(&e, Reason::HomeNode), "{e:?}"),
            }
        }
    }
    logs_verify(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_made_by_a_majority_signs_alone_and_is_told_to_who_was_away() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    let spec = in_hsm_of(0, HsmScheme::Ed25519, Purpose::Message);
    cluster.kill(1);
    cluster.kill(2);
    let home = cluster.at(0);
    let intent = home.seal(Order::create_hsm_key(key("jwt"), &spec)).unwrap();
    let alone = home.create_key(&intent).await.unwrap_err();
    let refused = alone.refused().unwrap();
    assert_eq!((refused.reason, refused.metadata["available"].as_str()), (Reason::Participants, "1"));
    assert_eq!(home.key(&key("jwt")).await.unwrap().state, "pending");
    assert_eq!(reason(sign(&home, message("jwt", "too early")).await), Reason::KeyNotActive);

    cluster.launch(1, &[]);
    cluster.serving(1).await;
    let made = home.create_key(&intent).await.unwrap().key;
    assert_eq!(made.state, "active");
    // Nobody else is needed to sign.
    cluster.kill(1);
    let public = made.to_public_key().unwrap();
    verified(&public, b"alone", &sign(&home, message("jwt", "alone")).await.unwrap().signature);
    // Those who were away are told.
    cluster.launch(1, &[]);
    cluster.launch(2, &[]);
    for i in [1, 2] {
        cluster.serving(i).await;
        assert_eq!(known_at(&cluster.at(i), "jwt").await.to_public_key(), Some(public.clone()));
    }
    // Without its home a key does nothing, and the client says who is missing.
    cluster.kill(0);
    let error = sign(&client.rotated(1), message("jwt", "home?")).await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error:?}");
    cluster.launch(0, &[]);
    cluster.serving(0).await;
    verified(&public, b"home!", &sign(&client, message("jwt", "home!")).await.unwrap().signature);
    logs_verify(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_3_3_a_home_killed_at_any_durable_step_makes_one_key_and_one_signature() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    let spec = in_hsm_of(0, HsmScheme::EcdsaP256, Purpose::Message);
    for place in ["name.before", "name.after", "activate.before", "activate.after"] {
        let name = format!("key-{}", place.replace('.', "-"));
        let intent = client.seal(Order::create_hsm_key(key(&name), &spec)).unwrap();
        cluster.kill(0);
        cluster.launch(0, &[("TALLY_FAILPOINT", place)]);
        cluster.serving(0).await;
        cluster.at(0).create_key(&intent).await.unwrap_err();
        cluster.died(0).await;
        cluster.launch(0, &[]);
        cluster.serving(0).await;
        let made = client.create_key(&intent).await.unwrap().key;
        let again = client.create_key(&intent).await.unwrap().key;
        assert_eq!((&made.public_key, made.state.as_str()), (&again.public_key, "active"), "{place}");
        let public = made.to_public_key().unwrap();
        verified(&public, b"x", &sign(&client, message(&name, "x")).await.unwrap().signature);
        assert_eq!(known_at(&cluster.at(1), &name).await.public_key, made.public_key, "{place}");
    }
    for (n, place) in (1u8..).zip(["complete.before", "complete.after"]) {
        let id = RequestId([n; 16]);
        let intent = client.seal(message("key-name-after", place).request_id(id)).unwrap();
        cluster.kill(0);
        cluster.launch(0, &[("TALLY_FAILPOINT", place)]);
        cluster.serving(0).await;
        cluster.at(0).sign(&intent).await.unwrap_err();
        cluster.died(0).await;
        cluster.launch(0, &[]);
        cluster.serving(0).await;
        let stored = cluster.at(0).request(id).await.unwrap().state;
        let signed = client.sign(&intent).await.unwrap();
        match (place, stored) {
            ("complete.after", RequestState::Completed(Some(stored))) => assert_eq!(*stored, signed),
            ("complete.before", RequestState::Received) => {}
            other => panic!("{other:?}"),
        }
        for i in 0..3 {
            assert_eq!(client.rotated(i).sign(&intent).await.unwrap(), signed, "{place}");
        }
    }
    logs_verify(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn announcements_that_do_not_fit_together_are_refused() {
    let cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    let spec = in_hsm_of(0, HsmScheme::Ed25519, Purpose::Message);
    create_hsm(&client, "jwt", &spec).await.unwrap();
    let statement = {
        let mut service = v1::key_service_client::KeyServiceClient::new(raw::as_client(&cluster, 0).await);
        let got = service.get_key(v1::GetKeyRequest { name: "jwt".into() }).await.unwrap().into_inner();
        got.key.unwrap().certificate.remove(0)
    };
    let intent = client.seal(Order::create_hsm_key(key("jwt-2"), &spec)).unwrap();
    let envelope = raw::signed(&cluster, intent.intent());
    let announce = async |from: usize, intent: Option<v1::Envelope>, statements: Vec<v1::Statement>| {
        let channel = raw::as_node(&cluster, from, 1).await;
        let mut service = v1::peer_service_client::PeerServiceClient::new(channel);
        service.announce_key(v1::AnnounceKeyRequest { intent, statements }).await
    };
    for (from, statements) in [
        (0, vec![]),
        (0, vec![v1::Statement::default()]),
        (0, vec![statement.clone()]),
        (2, vec![statement.clone()]),
        (0, vec![statement.clone(); 4]),
    ] {
        let answer = announce(from, Some(envelope.clone()), statements).await;
        assert_eq!(raw::typed(answer).1, Reason::ProtocolViolation);
    }
    assert_eq!(raw::typed(announce(0, None, vec![statement]).await).1, Reason::Malformed);
    let mut service = v1::peer_service_client::PeerServiceClient::new(raw::as_client(&cluster, 1).await);
    let by_client = service.announce_key(v1::AnnounceKeyRequest::default()).await;
    assert_eq!(raw::typed(by_client).1, Reason::UnknownNode);
    assert_eq!(reason(cluster.at(1).key(&key("jwt-2")).await), Reason::KeyNotFound);
}
