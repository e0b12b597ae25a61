use crate::files::Files;
use prost::Message as _;
use std::collections::BTreeSet;
use tally_client::{ClientError, Order, Profile, SealedIntent, VALIDITY_MS};
use tally_domain::dsse::SigningKey;
use tally_domain::freeze::{FreezeSpec, UnfreezeSpec};
use tally_domain::time::INTENT_VALIDITY_MAX_MS;
use tally_domain::{
    DerivationPath, FreezeId, FreezeName, Intent, KeyName, KeySpec, NodeName, Purpose, RequestId, Scheme, Scope,
    Threshold,
};
use tally_proto::v1;

fn profile() -> Profile {
    Profile::load(&Files::new(&["https://127.0.0.1:7101".to_owned()]).path()).unwrap()
}

fn key(name: &str) -> KeyName {
    KeyName::parse(name).unwrap()
}

/// The same body, built from the contract's own type.
fn contract(intent: &Intent) -> v1::IntentBody {
    v1::IntentBody {
        request_id: intent.request_id.0.to_vec(),
        tenant: intent.tenant.to_string(),
        client: intent.client.to_string(),
        action: intent.action.number(),
        key: intent.key.to_string(),
        path: intent.path.steps().to_vec(),
        kind: intent.kind.number(),
        chain: intent.chain.clone(),
        content: intent.content.clone(),
        purpose: intent.purpose.number(),
        not_before_ms: intent.not_before.0,
        expires_at_ms: intent.expires_at.0,
        min_bundle_version: intent.min_bundle_version,
        note: intent.note.clone(),
        cluster: intent.cluster.to_string(),
    }
}

fn orders() -> Vec<Order> {
    let spec = KeySpec {
        scheme: Scheme::EcdsaSecp256k1,
        threshold: Threshold::new(2, 3).unwrap(),
        purpose: Purpose::Transaction,
    };
    vec![
        Order::sign_evm(key("hot"), "eip155:1", vec![2, 0xc0])
            .path(DerivationPath::parse("m/0/7/2147483647").unwrap())
            .note("invoice 7 für Ä")
            .min_bundle_version(3),
        Order::sign_message(key("fast"), b"hello".to_vec()),
        Order::create_key(key("hot"), spec),
        Order::freeze(&Scope::All).unwrap(),
        Order::unfreeze(&Scope::Key(key("hot")), names(2)).unwrap(),
    ]
}

/// So many names of freezes.
fn names(count: u8) -> BTreeSet<FreezeName> {
    let by = NodeName::parse("node-1").unwrap();
    (0..count).map(|i| FreezeName { by: by.clone(), id: FreezeId([i; 16]) }).collect()
}

#[test]
fn intents_are_the_bytes_that_the_contract_says() {
    let profile = profile();
    for order in orders() {
        let sealed = order.seal(&profile).unwrap();
        let body = contract(sealed.intent());
        assert_eq!(sealed.envelope().payload, body.encode_to_vec());
        assert_eq!(sealed.intent().to_bytes(), body.encode_to_vec());
        assert_eq!(contract(sealed.intent()), v1::IntentBody::decode(sealed.envelope().payload.as_slice()).unwrap());
    }
}

#[test]
fn key_specifications_are_the_bytes_that_the_contract_says() {
    for (scheme, purpose) in [(Scheme::EcdsaSecp256k1, Purpose::Message), (Scheme::Ed25519, Purpose::Transaction)] {
        let spec = KeySpec { scheme, purpose, threshold: Threshold::new(9, 16).unwrap() };
        let body = v1::KeySpecBody { scheme: scheme.number(), t: 9, n: 16, purpose: purpose.number() };
        assert_eq!(spec.to_bytes(), body.encode_to_vec());
    }
}

#[test]
fn specifications_of_freezes_are_the_bytes_that_the_contract_says() {
    for (scope, number, name) in [(Scope::All, 1, ""), (Scope::Key(key("hot")), 2, "hot")] {
        let body = v1::FreezeSpecBody { scope: number, key: name.into() };
        assert_eq!(FreezeSpec { scope: scope.clone() }.to_bytes(), body.encode_to_vec());
        let lifts = names(3);
        let named = lifts.iter().map(|n| v1::FreezeName { node: n.by.to_string(), id: n.id.0.to_vec() }).collect();
        let body = v1::UnfreezeSpecBody { scope: number, key: name.into(), lifts: named };
        assert_eq!(UnfreezeSpec { scope, lifts }.to_bytes(), body.encode_to_vec());
    }
}

#[test]
fn as_many_freezes_as_nodes_take_are_lifted_together() {
    for (count, fits) in [(0, false), (1, true), (64, true), (65, false)] {
        assert_eq!(Order::unfreeze(&Scope::All, names(count)).is_ok(), fits, "{count}");
    }
}

#[test]
fn nodes_open_what_the_sdk_seals_and_only_under_the_clients_key() {
    let profile = profile();
    let own = SigningKey::ed25519(&[7; 32]).verifying_key();
    let other = SigningKey::ed25519(&[8; 32]).verifying_key();
    for order in orders() {
        let sealed = order.seal(&profile).unwrap();
        assert_eq!(&Intent::open(sealed.envelope(), &own).unwrap(), sealed.intent());
        assert!(Intent::open(sealed.envelope(), &other).is_err());
    }
}

#[test]
fn request_ids_are_drawn_unless_given_and_times_fit_what_nodes_allow() {
    let profile = profile();
    let seal = |order: Order| -> SealedIntent { order.seal(&profile).unwrap() };
    let order = Order::sign_message(key("fast"), b"hello".to_vec());
    assert_ne!(seal(order.clone()).request_id(), seal(order.clone()).request_id());
    let id = RequestId([9; 16]);
    let sealed = seal(order.request_id(id));
    assert_eq!(sealed.request_id(), id);
    let (from, to) = (sealed.intent().not_before.0, sealed.intent().expires_at.0);
    assert!(to - from > VALIDITY_MS && to - from < INTENT_VALIDITY_MAX_MS);
}

#[test]
fn notes_and_contents_that_nodes_refuse_are_refused_before_they_are_sent() {
    let profile = profile();
    let message = || Order::sign_message(key("fast"), b"hello".to_vec());
    for note in ["x".repeat(257), "two\nlines".into()] {
        assert!(matches!(message().note(&note).seal(&profile), Err(ClientError::Order { field: "note", .. })));
    }
    let large = Order::sign_message(key("fast"), vec![0; 64 * 1024]).seal(&profile);
    assert!(matches!(large, Err(ClientError::Order { field: "content", .. })));
}

#[test]
fn a_kept_intent_is_the_same_to_the_byte_and_only_our_own_is_taken() {
    let (files, profile) = (Files::new(&["https://127.0.0.1:7101".to_owned()]), profile());
    files.write("intent.key", &format!("ed25519:{}", "08".repeat(32)), 0o600);
    let other = Profile::load(&files.path()).unwrap();
    for order in orders() {
        let sealed = order.clone().seal(&profile).unwrap();
        assert_eq!(SealedIntent::from_bytes(&sealed.to_bytes(), &profile).unwrap(), sealed);
        assert!(SealedIntent::from_bytes(&sealed.to_bytes(), &other).is_err());
        assert!(SealedIntent::from_bytes(&sealed.to_bytes()[1..], &profile).is_err());
        assert!(order.is_asked_by(&sealed));
        assert!(order.clone().request_id(sealed.request_id()).is_asked_by(&sealed));
        assert!(!order.clone().request_id(RequestId([9; 16])).is_asked_by(&sealed));
        assert!(!order.clone().note("another").is_asked_by(&sealed));
        assert!(!order.path(DerivationPath::parse("m/1").unwrap()).is_asked_by(&sealed));
    }
}
