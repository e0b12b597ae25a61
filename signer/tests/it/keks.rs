//! KEKs: every reason that admission can give, which version does what, and what becomes of the token's answer.

use crate::world::*;
use tally_audit::event::{Event, What};
use tally_domain::key::KeyState;
use tally_domain::ports::hsm::{KekId, KekMade, KeyCheckValue};
use tally_domain::ports::store::{KekWrite, Write};
use tally_domain::time::{CLOCK_TOLERANCE_MS, INTENT_VALIDITY_MAX_MS};
use tally_domain::wrap::{PLAINTEXT_MAX_BYTES, commitment};
use tally_domain::*;
use tally_signer::admit::{Opened, open};
use tally_signer::freeze::Freezes;
use tally_signer::hsm_key::{Wish, admit_create_hsm, announced};
use tally_signer::kek::{KekPermit, KekView, Plan, admit_change_kek, end_step, new_version};
use tally_signer::wrap::{Beside, Job, Underway, WrapPermit, admit_wrap, describe};

pub const HOUR: u64 = 3_600_000;
const SALT: [u8; 32] = [4; 32];

pub fn vault() -> HsmKeyRecord {
    HsmKeyRecord {
        cluster: ClusterId::parse("test").unwrap(),
        name: KeyName::parse("vault").unwrap(),
        tenant: Tenant::parse("acme").unwrap(),
        request_id: RequestId([200; 16]),
        purpose: Purpose::Wrap,
        home: name(0),
        material: Material::Kek { id: KekId([1; 16]), check_value: KeyCheckValue([1; 3]) },
    }
}

pub fn version(n: u8, state: KekState) -> KekVersion {
    let (id, check_value) = (KekId([n; 16]), KeyCheckValue([n; 3]));
    KekVersion { number: KekNumber(n.into()), id, check_value, state, made_at: UnixMillis(1) }
}

pub fn both() -> Vec<KekVersion> {
    vec![version(1, KekState::Enabled), version(2, KekState::Enabled)]
}

fn context() -> EncryptionContext {
    EncryptionContext::from_pairs([("app".to_owned(), "ledger".to_owned())]).unwrap()
}

pub fn wish(w: &World, call: WrapCall) -> Intent {
    let spec = WrapSpec { context: context(), call };
    Intent {
        action: spec.call.kind().action(),
        key: KeyName::parse("vault").unwrap(),
        kind: ContentKind::WrapSpec,
        content: spec.to_bytes(),
        purpose: Purpose::Wrap,
        ..w.note()
    }
}

pub fn opened(w: &World, intent: &Intent) -> Opened {
    open(&w.bundle, w.seal(intent)).unwrap()
}

fn ask(w: &World, intent: &Intent, versions: &[KekVersion], beside: Beside) -> Result<WrapPermit, Refusal> {
    let (record, freezes) = (vault(), Freezes::default());
    let kek = KekView { record: &record, state: KeyState::Active, versions, freezes: &freezes };
    admit_wrap(opened(w, intent), kek, beside, None, &name(0), &w.bundle, NOW)
}

/// Goes on where no limit applies.
pub fn started(permit: WrapPermit) -> (Job, Underway) {
    let leave = permit.work().uncharged().unwrap();
    permit.start(leave).unwrap()
}

pub fn draw(version: Option<u32>) -> WrapCall {
    WrapCall::GenerateDataKey { bytes: 32, plaintext: false, version: version.map(KekNumber) }
}

pub fn wrapping(plaintext: &[u8]) -> (WrapCall, Beside) {
    let call = WrapCall::Wrap { commitment: commitment(&SALT, plaintext), version: None };
    (call, Beside::Plaintext { salt: SALT.to_vec(), plaintext: SecretBytes::new(plaintext.to_vec()) })
}

pub fn label(n: u8) -> WrapLabel {
    WrapLabel { kek: KeyName::parse("vault").unwrap(), number: KekNumber(n.into()), id: KekId([n; 16]), bytes: 32 }
}

pub fn blob(label: WrapLabel) -> Vec<u8> {
    WrappedKey { label, sealed: vec![7; 109] }.to_bytes()
}

fn open_blob(w: &World, versions: &[KekVersion], bytes: Vec<u8>) -> Result<WrapPermit, Refusal> {
    let intent = wish(w, WrapCall::Unwrap { blob: Digest::of(&bytes) });
    ask(w, &intent, versions, Beside::Wrapped(bytes))
}

pub fn reason<T>(outcome: Result<T, Refusal>) -> Reason {
    outcome.map(drop).unwrap_err().reason
}

#[test]
fn the_same_checks_as_for_a_signature_give_the_same_reasons() {
    let w = World::new();
    let refused = |change: fn(&mut Intent)| {
        let mut intent = wish(&w, draw(None));
        change(&mut intent);
        reason(ask(&w, &intent, &both(), Beside::Nothing))
    };
    assert_eq!(refused(|i| i.expires_at = i.not_before.plus(INTENT_VALIDITY_MAX_MS + 1)), Reason::ValidityTooLong);
    assert_eq!(refused(|i| i.not_before = NOW.plus(CLOCK_TOLERANCE_MS + 1)), Reason::TooEarly);
    assert_eq!(refused(|i| i.expires_at = NOW.minus(CLOCK_TOLERANCE_MS)), Reason::Expired);
    assert_eq!(refused(|i| i.min_bundle_version = 4), Reason::StalePolicy);
    assert_eq!(refused(|i| i.action = Action::Sign), Reason::Malformed);
    assert_eq!(refused(|i| i.action = Action::Wrap), Reason::Malformed);
    assert_eq!(refused(|i| i.kind = ContentKind::Message), Reason::Malformed);
    assert_eq!(refused(|i| i.chain = "eip155:1".into()), Reason::Malformed);
    assert_eq!(refused(|i| i.path = DerivationPath::parse("m/1").unwrap()), Reason::Malformed);
    assert_eq!(refused(|i| i.content.push(0)), Reason::Malformed);
    assert_eq!(refused(|i| i.purpose = Purpose::Message), Reason::KeyPurpose);
    assert_eq!(refused(|i| i.key = KeyName::parse("other").unwrap()), Reason::KeyNotFound);
    // The length is the last field.
    let mut content = wish(&w, draw(None)).content;
    *content.last_mut().unwrap() = 65;
    let too_long = Intent { content, ..wish(&w, draw(None)) };
    let refusal = ask(&w, &too_long, &both(), Beside::Nothing).map(drop).unwrap_err();
    assert_eq!(refusal.reason, Reason::ParameterRange);
    assert!(refusal.metadata["detail"].contains("16 to 64 bytes"), "{refusal:?}");

    let with = |change: fn(&mut HsmKeyRecord), state| {
        let mut record = vault();
        change(&mut record);
        let kek = KekView { record: &record, state, versions: &both(), freezes: &Freezes::default() };
        reason(admit_wrap(opened(&w, &wish(&w, draw(None))), kek, Beside::Nothing, None, &name(0), &w.bundle, NOW))
    };
    assert_eq!(with(|r| r.tenant = Tenant::parse("other").unwrap(), KeyState::Active), Reason::KeyNotFound);
    assert_eq!(with(|r| r.home = name(1), KeyState::Active), Reason::HomeNode);
    assert_eq!(with(|_| {}, KeyState::Pending), Reason::KeyNotActive);
    let signing = |r: &mut HsmKeyRecord| {
        let key = p256::ecdsa::SigningKey::from_slice(&[5; 32]).unwrap();
        (r.purpose, r.material) = (Purpose::Message, Material::Signing(PublicKey::P256(*key.verifying_key())));
    };
    assert_eq!(with(signing, KeyState::Active), Reason::KeyPurpose);
}

#[test]
fn the_newest_enabled_version_wraps_and_any_enabled_one_opens() {
    let w = World::new();
    let pending = KekState::PendingDestruction { at: NOW };
    let number = |versions: &[KekVersion], wanted| match ask(&w, &wish(&w, draw(wanted)), versions, Beside::Nothing) {
        Ok(permit) => match started(permit) {
            (Job::Draw { bytes: 32, under, plaintext: false }, _) => Ok(under.kek.0[0]),
            _ => panic!("another job"),
        },
        Err(refusal) => Err(refusal.reason),
    };
    let opens = |versions: &[KekVersion], n| open_blob(&w, versions, blob(label(n))).map(drop).map_err(|r| r.reason);
    assert_eq!(number(&both(), None), Ok(2));
    assert_eq!(number(&both(), Some(1)), Ok(1));
    assert_eq!(number(&both(), Some(3)), Err(Reason::KekVersionUnknown));
    assert_eq!(number(&[], None), Err(Reason::KekVersionUnknown));
    assert_eq!(opens(&both(), 1), Ok(()));
    for (state, why) in [
        (KekState::Disabled, Reason::KekDisabled),
        (pending, Reason::KekDisabled),
        (KekState::Destroying, Reason::KekDestroyed),
        (KekState::Destroyed, Reason::KekDestroyed),
    ] {
        let versions = [version(1, KekState::Enabled), version(2, state)];
        assert_eq!((number(&versions, None), number(&versions, Some(2))), (Ok(1), Err(why)));
        assert_eq!(number(&versions[1..], None), Err(why));
        assert_eq!((opens(&versions, 1), opens(&versions, 2)), (Ok(()), Err(why)));
    }
}

#[test]
fn wrapped_data_that_was_changed_is_never_taken_for_an_unknown_version() {
    let w = World::new();
    let opens = |label| reason(open_blob(&w, &both(), blob(label)));
    assert_eq!(opens(WrapLabel { number: KekNumber(2), ..label(1) }), Reason::BlobTampered);
    assert_eq!(opens(WrapLabel { number: KekNumber(9), ..label(1) }), Reason::BlobTampered);
    assert_eq!(opens(WrapLabel { id: KekId([8; 16]), ..label(1) }), Reason::BlobTampered);
    assert_eq!(opens(WrapLabel { kek: KeyName::parse("other").unwrap(), ..label(1) }), Reason::BlobTampered);
    assert_eq!(opens(label(9)), Reason::KekVersionUnknown);
    for bytes in [vec![], b"tlyw".to_vec(), vec![0; 9_000]] {
        assert_eq!(reason(open_blob(&w, &both(), bytes)), Reason::BlobTampered);
    }
}

#[test]
fn what_travels_beside_the_intent_is_what_the_intent_binds() {
    let w = World::new();
    let (call, beside) = wrapping(&[9; 32]);
    let intent = wish(&w, call);
    let permit = ask(&w, &intent, &both(), beside).unwrap();
    assert_eq!((permit.rule(), permit.bundle()), ("wrap-ledger", w.bundle.digest()));
    let (Job::Seal { plaintext, under }, _) = started(permit) else { panic!("another job") };
    assert_eq!((plaintext.expose(), under.kek), (&[9; 32][..], KekId([2; 16])));
    assert_eq!(under.aad, label(2).aad(&intent.cluster, &intent.tenant, &context()).0);

    let with = |beside| reason(ask(&w, &intent, &both(), beside));
    let (_, other) = wrapping(&[8; 32]);
    assert_eq!(with(other), Reason::Malformed);
    let salted = |salt: &[u8]| Beside::Plaintext { salt: salt.to_vec(), plaintext: SecretBytes::new(vec![9; 32]) };
    assert_eq!(with(salted(&[5; 32])), Reason::Malformed);
    assert_eq!(with(salted(&[])), Reason::Malformed);
    assert_eq!(with(Beside::Nothing), Reason::Malformed);
    assert_eq!(with(Beside::Wrapped(blob(label(1)))), Reason::Malformed);
    let unwrap = wish(&w, WrapCall::Unwrap { blob: Digest([1; 32]) });
    assert_eq!(reason(ask(&w, &unwrap, &both(), Beside::Wrapped(blob(label(1))))), Reason::Malformed);
    assert_eq!(reason(ask(&w, &wish(&w, draw(None)), &both(), wrapping(&[9; 32]).1)), Reason::Malformed);

    for length in [0, PLAINTEXT_MAX_BYTES + 1] {
        let (call, beside) = wrapping(&vec![1; length]);
        assert_eq!(reason(ask(&w, &wish(&w, call), &both(), beside)), Reason::ParameterRange);
    }
    // Within what is possible, and more than the rules permit.
    let (call, beside) = wrapping(&[1; 65]);
    let denied = ask(&w, &wish(&w, call), &both(), beside).map(drop).unwrap_err();
    assert_eq!((denied.reason, &*denied.metadata["condition"]), (Reason::PolicyDenied, "context.wrap.bytes <= 64"));
    let long = WrapLabel { bytes: 65, ..label(1) };
    assert_eq!(reason(open_blob(&w, &both(), blob(long))), Reason::PolicyDenied);
    let elsewhere = WrapSpec { context: EncryptionContext::default(), call: draw(None) }.to_bytes();
    let elsewhere = Intent { content: elsewhere, ..wish(&w, draw(None)) };
    assert_eq!(reason(ask(&w, &elsewhere, &both(), Beside::Nothing)), Reason::PolicyDenied);
}

#[test]
fn one_step_holds_the_use_the_result_and_the_leaf_and_no_plaintext() {
    let w = World::new();
    let (call, beside) = wrapping(&[0xc5; 32]);
    let (_, underway) = started(ask(&w, &wish(&w, call), &both(), beside).unwrap());
    let done = underway.sealed(vec![7; 109]);
    let step = done.step(&w.boots[0], NOW);
    let wrapped = WrappedKey { label: label(2), sealed: vec![7; 109] };
    let kek = KeyName::parse("vault").unwrap();
    let used = |number, wrapped| Write::Kek(KekWrite::Use { kek: kek.clone(), number: KekNumber(number), wrapped });
    assert_eq!(step.writes[1], used(2, true));
    assert!(matches!(&step.writes[2], Write::Complete { result, .. } if *result == done.to_bytes()));
    let what = Event::from_leaf(&step.leaves[0]).unwrap().what;
    let What::Wrapped(leaf) = what else { panic!("another leaf") };
    assert_eq!((leaf.kind, leaf.blob, leaf.number), (WrapKind::Wrap, Digest::of(&wrapped.to_bytes()), KekNumber(2)));
    let everything = format!("{step:?}");
    assert!(!everything.contains("197, 197, 197") && !done.to_bytes().windows(3).any(|b| b == [0xc5; 3]));

    let old = blob(label(1));
    let call = WrapCall::Rewrap { blob: Digest::of(&old), version: None };
    let permit = ask(&w, &wish(&w, call), &both(), Beside::Wrapped(old.clone())).unwrap();
    let (Job::Reseal { from, to, .. }, underway) = started(permit) else { panic!("another job") };
    assert_eq!((from.kek, to.kek), (KekId([1; 16]), KekId([2; 16])));
    let step = underway.sealed(vec![6; 109]).step(&w.boots[0], NOW);
    assert_eq!(step.writes[1..3], [used(2, true), used(1, false)]);

    let (Job::Open { sealed, .. }, underway) = started(open_blob(&w, &both(), old).unwrap()) else {
        panic!("another job")
    };
    assert_eq!(sealed, vec![7; 109]);
    // Rules were asked about 32 bytes.
    assert_eq!(underway.check(&SecretBytes::new(vec![1; 31])).unwrap_err().reason, Reason::Bug);
    let step = underway.opened(&SecretBytes::new(vec![0xc5; 32])).unwrap().step(&w.boots[0], NOW);
    assert_eq!(step.writes[1], used(1, false));
}

/// What was shown once is shown again only to whom it may still be shown.
#[test]
fn a_data_key_is_shown_again_from_what_was_wrapped_and_only_if_that_is_permitted_now() {
    let w = World::new();
    let intent = wish(&w, WrapCall::GenerateDataKey { bytes: 32, plaintext: true, version: None });
    let (record, before) = (vault(), blob(label(1)));
    let again = |versions: &[KekVersion], before: &[u8], now| {
        let kek = KekView { record: &record, state: KeyState::Active, versions, freezes: &Freezes::default() };
        admit_wrap(opened(&w, &intent), kek, Beside::Nothing, Some(before), &name(0), &w.bundle, now)
    };
    let (Job::Open { under, .. }, _) = started(again(&both(), &before, NOW).unwrap()) else { panic!("another job") };
    assert_eq!(under.kek, KekId([1; 16]));
    assert_eq!(reason(again(&both(), &before, intent.expires_at.plus(MINUTE))), Reason::Expired);
    let off = [version(1, KekState::Disabled), version(2, KekState::Enabled)];
    assert_eq!(reason(again(&off, &before, NOW)), Reason::KekDisabled);
    assert_eq!(reason(again(&both(), b"no blob", NOW)), Reason::Tampered);
}

fn change(w: &World, change: KekChange, versions: &[KekVersion]) -> Result<KekPermit, Refusal> {
    let intent = change_wish(w, &KekSpec::Change(change));
    let (record, freezes) = (vault(), Freezes::default());
    let kek = KekView { record: &record, state: KeyState::Active, versions, freezes: &freezes };
    admit_change_kek(opened(w, &intent), kek, HOUR, &name(0), &w.bundle, NOW)
}

pub fn change_wish(w: &World, spec: &KekSpec) -> Intent {
    let action = if matches!(spec, KekSpec::Create { .. }) { Action::CreateKek } else { Action::ChangeKek };
    Intent { action, kind: ContentKind::KekSpec, content: spec.to_bytes(), ..wish(w, draw(None)) }
}

#[test]
fn changes_follow_the_versions_states_and_wait_long_enough() {
    let w = World::new();
    let n = KekNumber(1);
    let Plan::Make(next) = change(&w, KekChange::Rotate, &both()).unwrap().plan() else { panic!("no rotation") };
    assert_eq!(next, KekNumber(3));
    let to = |c, state| match change(&w, c, &[version(1, state)]).map(|p| p.plan()) {
        Ok(Plan::Move { to, .. }) => Ok(to),
        Ok(Plan::Replicate(version)) => Ok(version.state),
        Ok(Plan::Make(_)) => panic!("a rotation"),
        Err(refusal) => Err(refusal.reason),
    };
    let at = NOW.plus(HOUR);
    let pending = KekState::PendingDestruction { at };
    assert_eq!(to(KekChange::Disable(n), KekState::Enabled), Ok(KekState::Disabled));
    assert_eq!(to(KekChange::Enable(n), KekState::Disabled), Ok(KekState::Enabled));
    assert_eq!(to(KekChange::Destroy(n, 3_600), KekState::Disabled), Ok(pending));
    assert_eq!(to(KekChange::Cancel(n), pending), Ok(KekState::Disabled));
    assert_eq!(to(KekChange::Enable(n), KekState::Enabled), Err(Reason::KekState));
    assert_eq!(to(KekChange::Enable(n), pending), Err(Reason::KekState));
    assert_eq!(to(KekChange::Cancel(n), KekState::Enabled), Err(Reason::KekState));
    // A copy leaves a version as it is.
    for state in [KekState::Enabled, KekState::Disabled, pending] {
        assert_eq!(to(KekChange::Replicate(n), state), Ok(state));
    }
    for gone in [KekState::Destroying, KekState::Destroyed] {
        for c in [KekChange::Enable(n), KekChange::Cancel(n), KekChange::Replicate(n), KekChange::Destroy(n, 3_600)] {
            assert_eq!(to(c, gone), Err(Reason::KekDestroyed));
        }
    }
    assert_eq!(to(KekChange::Destroy(n, 3_599), KekState::Enabled), Err(Reason::ParameterRange));
    assert_eq!(to(KekChange::Destroy(n, 30 * 24 * 3_600 + 1), KekState::Enabled), Err(Reason::ParameterRange));
    assert_eq!(to(KekChange::Disable(KekNumber(2)), KekState::Enabled), Err(Reason::KekVersionUnknown));
    assert_eq!(reason(change(&w, KekChange::Disable(KekNumber(2)), &both())), Reason::PolicyDenied);

    let permit = change(&w, KekChange::Rotate, &both()).unwrap();
    let made = KekMade { check_value: KeyCheckValue([3; 3]), transfer: None };
    let third = new_version(next, KekId([3; 16]), &made, NOW);
    let step = permit.rotate_step(&third, Some(vec![1]), &w.boots[0], NOW);
    assert!(matches!(&step.writes[1], Write::Kek(KekWrite::Put { version, .. }) if *version == third));
    assert!(matches!(&step.writes[2], Write::Complete { .. }));
}

#[test]
fn a_version_ends_in_two_steps_and_never_before_its_time() {
    let w = World::new();
    let kek = KeyName::parse("vault").unwrap();
    let pending = version(1, KekState::PendingDestruction { at: NOW });
    let end = |version: &KekVersion, event, now| end_step(&kek, version, event, &w.boots[0], now).map(|(_, v)| v.state);
    assert_eq!(end(&pending, KekEvent::Destroying, NOW.minus(1)), None);
    assert_eq!(end(&pending, KekEvent::Destroyed, NOW), None);
    assert_eq!(end(&pending, KekEvent::Destroying, NOW), Some(KekState::Destroying));
    let destroying = version(1, KekState::Destroying);
    assert_eq!(end(&destroying, KekEvent::Destroyed, NOW), Some(KekState::Destroyed));
    assert_eq!(end(&version(1, KekState::Enabled), KekEvent::Destroying, NOW), None);
}

#[test]
fn a_kek_is_made_and_announced_as_a_signing_key_is() {
    let w = World::new();
    let intent = change_wish(&w, &KekSpec::Create { home: name(0) });
    let permit = admit_create_hsm(opened(&w, &intent), &name(0), &Freezes::default(), &w.bundle, NOW).unwrap();
    assert_eq!((permit.wish(), permit.rule()), (&Wish::Kek { home: name(0) }, "make-keks"));
    let record = permit.record(vault().material, &w.boots[0]).unwrap();
    let statement = record.sign(w.boots[0].key(), w.boots[0].cert());
    let told = announced(&opened(&w, &intent), &statement, &name(0), w.bundle.roster()).unwrap();
    assert_eq!((&told, told.purpose), (&record, Purpose::Wrap));
    // An intent to change a KEK makes none.
    let rotate = change_wish(&w, &KekSpec::Change(KekChange::Rotate));
    let as_creation = Intent { action: Action::CreateKek, ..rotate.clone() };
    assert_eq!(
        reason(admit_create_hsm(opened(&w, &as_creation), &name(0), &Freezes::default(), &w.bundle, NOW)),
        Reason::Malformed
    );
    let elsewhere = change_wish(&w, &KekSpec::Create { home: name(1) });
    assert_eq!(
        reason(admit_create_hsm(opened(&w, &elsewhere), &name(0), &Freezes::default(), &w.bundle, NOW)),
        Reason::HomeNode
    );
    let as_change = Intent { action: Action::ChangeKek, ..intent };
    let (record, versions, freezes) = (vault(), both(), Freezes::default());
    let kek = KekView { record: &record, state: KeyState::Active, versions: &versions, freezes: &freezes };
    let outcome = admit_change_kek(opened(&w, &as_change), kek, HOUR, &name(0), &w.bundle, NOW);
    assert_eq!(reason(outcome), Reason::Malformed);
    assert_eq!(describe(&rotate).unwrap(), "rotate");
    assert_eq!(describe(&wish(&w, draw(None))).unwrap(), "data key of 32 bytes for app=ledger");
}
