//! Keys in an HSM: every reason that admission can give, and what becomes of a signature.

use crate::world::*;
use p256::ecdsa::signature::hazmat::PrehashSigner as _;
use tally_domain::boot::Statement;
use tally_domain::key::KeyState;
use tally_domain::ports::hsm::{KekId, KeyCheckValue};
use tally_domain::ports::store::{ApprovalWrite, FreezeWrite, Write};
use tally_domain::time::{CLOCK_TOLERANCE_MS, INTENT_VALIDITY_MAX_MS};
use tally_domain::*;
use tally_signer::admit::open;
use tally_signer::freeze::Freezes;
use tally_signer::hsm_key::{Wish, admit_create_hsm, announced};
use tally_signer::hsm_sign::{HsmPermit, HsmSigning, admit_hsm_sign};

fn record(key: &str, purpose: Purpose, public_key: PublicKey) -> HsmKeyRecord {
    HsmKeyRecord {
        cluster: ClusterId::parse("test").unwrap(),
        name: KeyName::parse(key).unwrap(),
        tenant: Tenant::parse("acme").unwrap(),
        request_id: RequestId([200; 16]),
        purpose,
        home: name(0),
        material: Material::Signing(public_key),
    }
}

fn p256() -> p256::ecdsa::SigningKey {
    p256::ecdsa::SigningKey::from_slice(&[5; 32]).unwrap()
}

fn k256() -> k256::ecdsa::SigningKey {
    k256::ecdsa::SigningKey::from_slice(&[5; 32]).unwrap()
}

fn jwt() -> HsmKeyRecord {
    record("jwt", Purpose::Message, PublicKey::P256(*p256().verifying_key()))
}

fn note(w: &World) -> Intent {
    Intent { key: KeyName::parse("jwt").unwrap(), ..w.note() }
}

fn admit(w: &World, intent: &Intent, record: &HsmKeyRecord) -> Result<HsmPermit, Refusal> {
    let opened = open(&w.bundle, w.seal(intent))?;
    admit_hsm_sign(opened, (record, KeyState::Active), &name(0), &Freezes::default(), &w.bundle, NOW)
}

/// Goes on where no limit applies.
fn started(permit: HsmPermit) -> HsmSigning {
    let leave = permit.work().uncharged().unwrap();
    permit.start(leave).unwrap()
}

fn reason(w: &World, change: impl FnOnce(&mut Intent)) -> Reason {
    let mut intent = note(w);
    change(&mut intent);
    admit(w, &intent, &jwt()).unwrap_err().reason
}

fn with_key(w: &World, change: impl FnOnce(&mut HsmKeyRecord)) -> Reason {
    let mut record = jwt();
    change(&mut record);
    admit(w, &note(w), &record).unwrap_err().reason
}

#[test]
fn the_same_checks_as_for_a_threshold_key_give_the_same_reasons() {
    let w = World::new();
    let permit = admit(&w, &note(&w), &jwt()).unwrap();
    assert_eq!((permit.rule(), permit.bundle()), ("tokens", w.bundle.digest()));
    assert_eq!(permit.subject().bytes_to_sign(), Digest::of(b"hello").0);

    assert_eq!(reason(&w, |i| i.expires_at = i.not_before.plus(INTENT_VALIDITY_MAX_MS + 1)), Reason::ValidityTooLong);
    assert_eq!(reason(&w, |i| i.not_before = NOW.plus(CLOCK_TOLERANCE_MS + 1)), Reason::TooEarly);
    assert_eq!(reason(&w, |i| i.expires_at = NOW.minus(CLOCK_TOLERANCE_MS)), Reason::Expired);
    assert_eq!(reason(&w, |i| i.min_bundle_version = 4), Reason::StalePolicy);
    assert_eq!(reason(&w, |i| i.action = Action::CreateHsmKey), Reason::Malformed);
    assert_eq!(reason(&w, |i| i.kind = ContentKind::HsmKeySpec), Reason::Malformed);
    assert_eq!(reason(&w, |i| i.path = DerivationPath::parse("m/1").unwrap()), Reason::ParameterRange);
    assert_eq!(reason(&w, |i| i.purpose = Purpose::Raw), Reason::KeyPurpose);
    for kind in [ContentKind::RawDigest, ContentKind::EvmTransaction, ContentKind::Iso20022] {
        assert_eq!(reason(&w, |i| i.kind = kind), Reason::KeyPurpose);
    }
    assert_eq!(reason(&w, |i| i.chain = "eip155:1".into()), Reason::Malformed);
    assert_eq!(reason(&w, |i| i.content.clear()), Reason::Malformed);
    assert_eq!(reason(&w, |i| i.content = vec![b'x'; 17]), Reason::PolicyDenied);

    assert_eq!(with_key(&w, |r| r.tenant = Tenant::parse("other").unwrap()), Reason::KeyNotFound);
    assert_eq!(with_key(&w, |r| r.name = KeyName::parse("another").unwrap()), Reason::KeyNotFound);
    assert_eq!(with_key(&w, |r| r.purpose = Purpose::Raw), Reason::KeyPurpose);
    let opened = open(&w.bundle, w.seal(&note(&w))).unwrap();
    let pending =
        admit_hsm_sign(opened, (&jwt(), KeyState::Pending), &name(0), &Freezes::default(), &w.bundle, NOW).unwrap_err();
    assert_eq!(pending.reason, Reason::KeyNotActive);
}

#[test]
fn another_node_than_the_home_says_where_the_home_is_and_nothing_else() {
    let w = World::new();
    let mut elsewhere = jwt();
    elsewhere.home = name(1);
    // Not even that the intent has expired: it is the home's to say.
    let expired = Intent { expires_at: NOW.minus(MINUTE / 2), ..note(&w) };
    let refusal = admit(&w, &expired, &elsewhere).unwrap_err();
    assert_eq!(refusal.reason, Reason::HomeNode);
    assert_eq!((&*refusal.metadata["node"], &*refusal.metadata["address"]), ("node-2", "node:1"));
    // A tenant learns nothing about the keys of another.
    elsewhere.tenant = Tenant::parse("other").unwrap();
    assert_eq!(admit(&w, &note(&w), &elsewhere).unwrap_err().reason, Reason::KeyNotFound);
}

#[test]
fn raw_digests_are_signed_only_by_a_raw_key_and_a_rule_for_raw() {
    let w = World::new();
    let key = |name: &str| record(name, Purpose::Raw, PublicKey::P256(*p256().verifying_key()));
    let raw = |name: &str| Intent {
        key: KeyName::parse(name).unwrap(),
        kind: ContentKind::RawDigest,
        purpose: Purpose::Raw,
        content: vec![7; 32],
        ..w.note()
    };
    let permit = admit(&w, &raw("root"), &key("root")).unwrap();
    assert_eq!((permit.rule(), permit.subject().bytes_to_sign()), ("raw", vec![7; 32]));
    // The rule `tokens` permits messages with this key, and so says nothing of digests.
    let denied = admit(&w, &raw("jwt"), &key("jwt")).unwrap_err();
    let said = &*denied.metadata["detail"];
    assert_eq!((denied.reason, said), (Reason::PolicyDenied, "no rule permits this action on this key"));
    for bad in [vec![0; 32], vec![7; 31], vec![]] {
        let refusal = admit(&w, &Intent { content: bad, ..raw("root") }, &key("root")).unwrap_err();
        assert_eq!(refusal.reason, Reason::ParameterRange);
    }
    // A threshold key signs no digest, whatever the intent says of it.
    let threshold = w.admit(&Intent { key: KeyName::parse("notes").unwrap(), ..raw("root") }).unwrap_err();
    assert_eq!(threshold.reason, Reason::KeyPurpose);
}

#[test]
fn only_a_signature_that_verifies_completes_and_is_kept_as_it_is_answered() {
    let w = World::new();
    let intent = note(&w);
    let digest = Digest::of(b"hello").0;
    let sign = |digest: &[u8]| {
        let signature: p256::ecdsa::Signature = p256().sign_prehash(digest).unwrap();
        signature.normalize_s().to_bytes().to_vec()
    };
    let good = sign(&digest);
    let refused =
        |signature: Vec<u8>| started(admit(&w, &intent, &jwt()).unwrap()).complete(signature).unwrap_err().reason;
    assert_eq!(refused(sign(&[1; 32])), Reason::Hsm);
    assert_eq!(refused(vec![]), Reason::Hsm);
    for i in 0..good.len() {
        let mut bad = good.clone();
        bad[i] ^= 1;
        assert_eq!(refused(bad), Reason::Hsm);
    }
    let completed = started(admit(&w, &intent, &jwt()).unwrap()).complete(good.clone()).unwrap();
    let step = completed.step(&w.boots[0], NOW);
    let [
        Write::Freeze(FreezeWrite::Unfrozen { key }),
        Write::Approval(ApprovalWrite::NotRejected { request: not_rejected, .. }),
        Write::Complete { tenant, request, result, .. },
    ] = step.writes.as_slice()
    else {
        panic!("{:?}", step.writes)
    };
    assert_eq!(key, &intent.key, "the step needs that the key is not frozen by then");
    assert_eq!(not_rejected, &intent.request_id, "nor the request rejected");
    assert_eq!((tenant, request, result), (&intent.tenant, &intent.request_id, &completed.to_bytes()));
    assert_eq!(step.leaves.len(), 1);
}

#[test]
fn a_transaction_gets_its_signature_put_in_and_its_sender_is_the_key() {
    let w = World::new();
    let payout = Intent { key: KeyName::parse("cold").unwrap(), path: DerivationPath::default(), ..w.payout() };
    let key = record("cold", Purpose::Transaction, PublicKey::Secp256k1(*k256().verifying_key()));
    let permit = admit(&w, &payout, &key).unwrap();
    assert_eq!(permit.rule(), "cold-payouts");
    let digest = permit.subject().bytes_to_sign();
    let signature: k256::ecdsa::Signature = k256().sign_prehash(&digest).unwrap();
    let signature = signature.normalize_s();
    let completed = started(permit).complete(signature.to_bytes().to_vec()).unwrap();
    let result = <tally_signer::result::SignResult as prost::Message>::decode(&*completed.to_bytes()).unwrap();
    assert!(result.signed_payload.len() > payout.content.len());
    let id = u8::try_from(result.signature.unwrap().recovery_id).unwrap();
    let id = k256::ecdsa::RecoveryId::from_byte(id).unwrap();
    let recovered = k256::ecdsa::VerifyingKey::recover_from_prehash(&digest, &signature, id).unwrap();
    assert_eq!(recovered, *k256().verifying_key());
    assert_eq!((result.home.as_str(), result.certificate), ("node-1", None));
    // A key of another curve signs no such thing.
    let p256_key = record("cold", Purpose::Transaction, PublicKey::P256(*p256().verifying_key()));
    assert_eq!(admit(&w, &payout, &p256_key).unwrap_err().reason, Reason::KeyScheme);
}

fn creation(w: &World, spec: &HsmKeySpec) -> Intent {
    Intent {
        action: Action::CreateHsmKey,
        kind: ContentKind::HsmKeySpec,
        purpose: spec.purpose,
        content: spec.to_bytes(),
        ..note(w)
    }
}

#[test]
fn a_new_key_must_fit_its_purpose_its_home_and_the_rules() {
    let w = World::new();
    let spec = |scheme, purpose, home| HsmKeySpec { scheme, purpose, home };
    let good = spec(HsmScheme::EcdsaP256, Purpose::Message, name(0));
    let create = |spec: &HsmKeySpec, change: fn(&mut Intent)| {
        let mut intent = creation(&w, spec);
        change(&mut intent);
        let opened = open(&w.bundle, w.seal(&intent))?;
        admit_create_hsm(opened, &name(0), &Freezes::default(), &w.bundle, NOW)
    };
    let permit = create(&good, |_| {}).unwrap();
    assert_eq!((permit.wish(), permit.rule()), (&Wish::Signing(good.clone()), "make-hsm-keys"));
    let made = permit.record(Material::Signing(PublicKey::P256(*p256().verifying_key())), &w.boots[0]).unwrap();
    assert_eq!((made.object(), &made.home), (permit.object(), &name(0)));
    let other_scheme = Material::Signing(PublicKey::Secp256k1(*k256().verifying_key()));
    let kek = Material::Kek { id: KekId([1; 16]), check_value: KeyCheckValue([1; 3]) };
    for other in [other_scheme, kek] {
        assert_eq!(permit.record(other, &w.boots[0]).unwrap_err().reason, Reason::Hsm);
    }

    let refused = |spec: &HsmKeySpec, change| create(spec, change).map(drop).unwrap_err().reason;
    assert_eq!(refused(&good, |i| i.action = Action::CreateKey), Reason::Malformed);
    assert_eq!(refused(&good, |i| i.kind = ContentKind::KeySpec), Reason::Malformed);
    assert_eq!(refused(&good, |i| i.chain = "eip155:1".into()), Reason::Malformed);
    assert_eq!(refused(&good, |i| i.path = DerivationPath::parse("m/0").unwrap()), Reason::Malformed);
    assert_eq!(refused(&good, |i| i.content.truncate(3)), Reason::ParameterRange);
    assert_eq!(refused(&good, |i| i.purpose = Purpose::Raw), Reason::KeyPurpose);
    assert_eq!(refused(&good, |i| i.min_bundle_version = 4), Reason::StalePolicy);
    assert_eq!(refused(&good, |i| i.expires_at = i.not_before), Reason::ValidityTooLong);
    assert_eq!(refused(&spec(HsmScheme::EcdsaP256, Purpose::Message, name(1)), |_| {}), Reason::HomeNode);
    assert_eq!(refused(&spec(HsmScheme::EcdsaP256, Purpose::Message, name(8)), |_| {}), Reason::ParameterRange);
    assert_eq!(refused(&spec(HsmScheme::Rsa3072, Purpose::Message, name(0)), |_| {}), Reason::PolicyDenied);
}

#[test]
fn an_announcement_is_the_homes_own_and_what_a_client_asked_for() {
    let w = World::new();
    let spec = HsmKeySpec { scheme: HsmScheme::EcdsaP256, purpose: Purpose::Message, home: name(0) };
    let intent = creation(&w, &spec);
    let opened = open(&w.bundle, w.seal(&intent)).unwrap();
    let good = HsmKeyRecord { request_id: intent.request_id, ..jwt() };
    let by = |record: &HsmKeyRecord, i: usize| record.sign(w.boots[i].key(), w.boots[i].cert());
    let roster = w.bundle.roster();
    let told = |statement: &Statement, from| announced(&opened, statement, &from, roster).map_err(|r| r.reason);
    assert_eq!(told(&by(&good, 0), name(0)), Ok(good.clone()));
    assert_eq!(told(&by(&good, 0), name(1)), Err(Reason::ProtocolViolation), "brought by another");
    assert_eq!(told(&by(&good, 1), name(0)), Err(Reason::ProtocolViolation), "signed by another");
    assert_eq!(told(&Statement::default(), name(0)), Err(Reason::ProtocolViolation));
    let changes: [fn(&mut HsmKeyRecord); 7] = [
        |r| r.name = KeyName::parse("another").unwrap(),
        |r| r.tenant = Tenant::parse("other").unwrap(),
        |r| r.request_id = RequestId([9; 16]),
        |r| r.purpose = Purpose::Raw,
        |r| r.home = name(1),
        |r| r.cluster = ClusterId::parse("prod").unwrap(),
        |r| r.material = Material::Signing(PublicKey::Secp256k1(*k256().verifying_key())),
    ];
    for change in changes {
        let mut other = good.clone();
        change(&mut other);
        assert_eq!(told(&by(&other, 0), name(0)), Err(Reason::ProtocolViolation), "{other:?}");
    }
    // An intent to sign is no wish for a key.
    let opened = open(&w.bundle, w.seal(&note(&w))).unwrap();
    assert!(announced(&opened, &by(&good, 0), &name(0), roster).is_err());
}
