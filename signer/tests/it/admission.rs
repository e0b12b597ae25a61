//! Every reason that admission can give (S-2.2 steps 1 to 12), for both kinds of client keys.

use crate::world::*;
use tally_audit::event::Verdict;
use tally_domain::intent::ENVELOPE_MAX_BYTES;
use tally_domain::key::{KeyRecord, KeyState};
use tally_domain::time::{CLOCK_TOLERANCE_MS, INTENT_VALIDITY_MAX_MS};
use tally_domain::*;
use tally_signer::admit::{admit_create, open, subject, verdict};
use tally_signer::freeze::Freezes;

fn reason(w: &World, change: impl FnOnce(&mut Intent)) -> Reason {
    let mut intent = w.note();
    change(&mut intent);
    w.admit(&intent).unwrap_err().reason
}

fn with_key(w: &World, intent: &Intent, change: impl FnOnce(&mut KeyRecord)) -> Reason {
    let mut record = w.record(&intent.key);
    change(&mut record);
    w.admit_with(intent, Some((&record, KeyState::Active)), NOW).unwrap_err().reason
}

#[test]
fn what_a_rule_permits_is_permitted_and_says_which() {
    let w = World::new();
    for client in ["edwards", "p256"] {
        for (intent, rule) in [(w.note(), "notes"), (w.payout(), "payouts")] {
            let intent = Intent { client: ClientId::parse(client).unwrap(), ..intent };
            let permit = w.admit(&intent).unwrap();
            assert_eq!((permit.rule(), permit.bundle()), (rule, w.bundle.digest()));
            assert_eq!(*permit.subject().intent(), intent);
            assert_eq!(permit.subject().opened().digest(), intent.digest());
        }
    }
    let note = w.admit(&w.note()).unwrap();
    assert_eq!(note.subject().bytes_to_sign(), b"hello");
    assert_eq!(note.subject().digest_to_sign(), Digest::of(b"hello"));
    let payout = w.admit(&w.payout()).unwrap();
    assert_eq!(payout.subject().bytes_to_sign(), payout.subject().digest_to_sign().0);
}

#[test]
fn s_2_0_only_the_clients_own_signature_opens_an_intent() {
    let w = World::new();
    let opened = |envelope| open(&w.bundle, envelope).map(drop).map_err(|r| r.reason);
    for client in ["edwards", "p256"] {
        let intent = Intent { client: ClientId::parse(client).unwrap(), ..w.note() };
        let good = w.seal(&intent);
        assert_eq!(opened(good.clone()), Ok(()));
        for at in 0..good.signatures[0].signature.len() {
            let mut bad = good.clone();
            bad.signatures[0].signature[at] ^= 1;
            assert_eq!(opened(bad), Err(Reason::IntentSignature));
        }
        let mut of_another = w.seal(&Intent { client: ClientId::parse("stranger").unwrap(), ..intent.clone() });
        of_another.payload.clone_from(&good.payload);
        assert_eq!(opened(of_another), Err(Reason::IntentSignature));
        let mut twice = good.clone();
        twice.signatures.push(good.signatures[0].clone());
        assert_eq!(opened(twice), Err(Reason::IntentSignature));
        let mut other_type = good.clone();
        other_type.payload_type.push('x');
        assert_eq!(opened(other_type), Err(Reason::IntentSignature));
        let mut unknown_field = good.clone();
        unknown_field.payload.extend([0x98, 0x06, 0x01]);
        assert_eq!(opened(unknown_field), Err(Reason::Malformed));
        let mut large = good;
        large.payload.resize(ENVELOPE_MAX_BYTES, 0);
        assert_eq!(opened(large), Err(Reason::Oversized));
    }
}

#[test]
fn a_client_acts_only_as_itself_and_for_its_own_tenant() {
    let w = World::new();
    let mut nobody = w.seal(&w.note());
    let unknown = Intent { client: ClientId::parse("nobody").unwrap(), ..w.note() };
    nobody.payload = unknown.to_bytes();
    assert_eq!(open(&w.bundle, nobody).unwrap_err().reason, Reason::UnknownClient);
    assert_eq!(reason(&w, |i| i.client = ClientId::parse("stranger").unwrap()), Reason::Acl);
    assert_eq!(reason(&w, |i| i.tenant = Tenant::parse("other").unwrap()), Reason::Acl);
}

#[test]
fn an_intent_lives_ten_minutes_at_most_by_the_nodes_own_clock() {
    let w = World::new();
    assert_eq!(reason(&w, |i| i.expires_at = i.not_before.plus(INTENT_VALIDITY_MAX_MS + 1)), Reason::ValidityTooLong);
    assert_eq!(reason(&w, |i| i.expires_at = i.not_before), Reason::ValidityTooLong);
    let intent = w.note();
    let record = w.record(&intent.key);
    let at = |now| w.admit_with(&intent, Some((&record, KeyState::Active)), now).map(drop).map_err(|r| r.reason);
    assert_eq!(at(intent.not_before.minus(CLOCK_TOLERANCE_MS)), Ok(()));
    assert_eq!(at(intent.not_before.minus(CLOCK_TOLERANCE_MS + 1)), Err(Reason::TooEarly));
    assert_eq!(at(intent.expires_at.plus(CLOCK_TOLERANCE_MS - 1)), Ok(()));
    assert_eq!(at(intent.expires_at.plus(CLOCK_TOLERANCE_MS)), Err(Reason::Expired));
}

#[test]
fn a_node_with_an_older_bundle_than_the_client_wants_says_so() {
    let w = World::new();
    let refusal = w.admit(&Intent { min_bundle_version: 4, ..w.note() }).unwrap_err();
    assert_eq!(refusal.reason, Reason::StalePolicy);
    assert_eq!((refusal.metadata["ours"].as_str(), refusal.metadata["wanted"].as_str()), ("3", "4"));
}

#[test]
fn the_key_must_be_there_active_and_the_tenants_own() {
    let w = World::new();
    let note = w.note();
    let record = w.record(&note.key);
    assert_eq!(w.admit_with(&note, None, NOW).unwrap_err().reason, Reason::KeyNotFound);
    let pending = w.admit_with(&note, Some((&record, KeyState::Pending)), NOW).unwrap_err();
    assert_eq!(pending.reason, Reason::KeyNotActive);
    assert_eq!(with_key(&w, &note, |r| r.tenant = Tenant::parse("other").unwrap()), Reason::KeyNotFound);
    assert_eq!(with_key(&w, &note, |r| r.name = KeyName::parse("another").unwrap()), Reason::KeyNotFound);
}

#[test]
fn a_key_signs_for_its_one_purpose_with_its_one_scheme() {
    let w = World::new();
    assert_eq!(with_key(&w, &w.note(), |r| r.purpose = Purpose::Transaction), Reason::KeyPurpose);
    assert_eq!(with_key(&w, &w.payout(), |r| r.purpose = Purpose::Message), Reason::KeyPurpose);
    assert_eq!(with_key(&w, &w.payout(), |r| r.scheme = Scheme::Ed25519), Reason::KeyScheme);
    assert_eq!(reason(&w, |i| i.purpose = Purpose::Transaction), Reason::KeyPurpose);
    let child = Intent { path: DerivationPath::parse("m/1").unwrap(), ..w.note() };
    assert!(w.admit(&child).is_ok(), "keys of every scheme have children");
    // For Taproot there are digests too, and no transactions.
    let raw = |content: &[u8]| Intent {
        kind: ContentKind::RawDigest,
        purpose: Purpose::Raw,
        content: content.to_vec(),
        ..w.note()
    };
    let of_taproot =
        |intent: &Intent, purpose| with_key(&w, intent, |r| (r.scheme, r.purpose) = (Scheme::Taproot, purpose));
    assert_eq!(of_taproot(&raw(&[7; 32]), Purpose::Message), Reason::KeyPurpose);
    assert_eq!(of_taproot(&raw(&[7; 33]), Purpose::Raw), Reason::ParameterRange);
    assert_eq!(of_taproot(&raw(&[7; 32]), Purpose::Raw), Reason::PolicyDenied, "no rule permits raw digests");
    assert_eq!(of_taproot(&w.payout(), Purpose::Transaction), Reason::KeyScheme);
    assert_eq!(reason(&w, |i| i.kind = ContentKind::KeySpec), Reason::Malformed);
    assert_eq!(reason(&w, |i| i.action = Action::CreateKey), Reason::Malformed);
}

#[test]
fn content_is_decoded_here_and_must_be_what_the_intent_says() {
    let w = World::new();
    let payout = w.payout();
    let refused = |intent: &Intent| w.admit(intent).unwrap_err();
    let cut = Intent { content: payout.content[..payout.content.len() - 1].to_vec(), ..payout.clone() };
    assert_eq!(refused(&cut).reason, Reason::TxUnparseable);
    let other_chain = Intent { chain: "eip155:5".into(), ..payout };
    assert_eq!(refused(&other_chain).reason, Reason::ChainMismatch);
    assert_eq!(reason(&w, |i| i.chain = "eip155:1".into()), Reason::Malformed);
    assert_eq!(reason(&w, |i| i.content.clear()), Reason::Malformed);
    let opaque = refused(&w.payout_to([9; 20], vec![0xde, 0xad, 0xbe, 0xef]));
    assert_eq!(opaque.reason, Reason::TxOpaque);
    assert!(opaque.metadata["opaque"].contains("deadbeef"), "{opaque:?}");
}

#[test]
fn a_denial_names_the_rule_and_the_condition_and_so_does_the_log() {
    let w = World::new();
    let long = w.admit(&Intent { content: vec![b'x'; 17], ..w.note() }).unwrap_err();
    assert_eq!(long.reason, Reason::PolicyDenied);
    assert_eq!((&*long.metadata["rule"], &*long.metadata["condition"]), ("notes", "context.message.bytes <= 16"));
    let logged = Verdict::Refused {
        reason: "POLICY_DENIED".into(),
        rule: "notes".into(),
        condition: "context.message.bytes <= 16".into(),
    };
    assert_eq!(verdict(Err(&long)), logged);
    assert_eq!(verdict(Ok("notes")), Verdict::Permitted { rule: "notes".into() });
    let forbidden = w.admit(&w.payout_to([7; 20], Vec::new())).unwrap_err();
    assert_eq!((forbidden.reason, &*forbidden.metadata["rule"]), (Reason::PolicyDenied, "never-to-seven"));
}

#[test]
fn a_result_can_be_checked_after_the_intent_has_expired() {
    let w = World::new();
    let intent = w.note();
    let record = w.record(&intent.key);
    let opened = open(&w.bundle, w.seal(&intent)).unwrap();
    assert!(subject(opened, Some((&record, KeyState::Active))).is_ok());
}

#[test]
fn a_new_key_must_fit_the_roster_and_the_rules() {
    let w = World::new();
    let spec = |scheme, t, n, purpose| KeySpec { scheme, threshold: Threshold::new(t, n).unwrap(), purpose };
    let good = spec(Scheme::Ed25519, 2, 3, Purpose::Message);
    let create = |spec: KeySpec, change: fn(&mut Intent)| {
        let mut intent = Intent {
            action: Action::CreateKey,
            kind: ContentKind::KeySpec,
            purpose: spec.purpose,
            content: spec.to_bytes(),
            ..w.note()
        };
        change(&mut intent);
        open(&w.bundle, w.seal(&intent))
            .and_then(|o| admit_create(o, &Freezes::default(), &w.bundle, NOW))
            .map_err(|r| r.reason)
    };
    let permit = create(good, |_| {}).unwrap();
    assert_eq!((permit.spec(), permit.rule()), (good, "make-keys"));
    let refused = |spec, change| create(spec, change).map(drop).unwrap_err();
    assert_eq!(refused(good, |i| i.action = Action::Sign), Reason::Malformed);
    assert_eq!(refused(good, |i| i.kind = ContentKind::Message), Reason::Malformed);
    assert_eq!(refused(good, |i| i.chain = "eip155:1".into()), Reason::Malformed);
    assert_eq!(refused(good, |i| i.path = DerivationPath::parse("m/0").unwrap()), Reason::Malformed);
    assert_eq!(refused(good, |i| i.content.truncate(3)), Reason::ParameterRange);
    assert_eq!(refused(good, |i| i.purpose = Purpose::Transaction), Reason::KeyPurpose);
    assert_eq!(refused(good, |i| i.min_bundle_version = 4), Reason::StalePolicy);
    assert_eq!(refused(good, |i| i.expires_at = i.not_before), Reason::ValidityTooLong);
    for scheme in [Scheme::Ed25519, Scheme::Taproot] {
        assert_eq!(refused(spec(scheme, 2, 3, Purpose::Transaction), |_| {}), Reason::KeyScheme);
    }
    for purpose in [Purpose::Message, Purpose::Raw] {
        assert!(create(spec(Scheme::Taproot, 2, 3, purpose), |_| {}).is_ok());
    }
    assert_eq!(refused(spec(Scheme::Ed25519, 2, 3, Purpose::Raw), |_| {}), Reason::ParameterRange);
    assert_eq!(refused(spec(Scheme::Ed25519, 3, 4, Purpose::Message), |_| {}), Reason::ParameterRange);
}
