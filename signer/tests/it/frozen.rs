//! Freezes: who may, what they stop before policy is asked, and what a majority lifts.

use crate::world::*;
use std::collections::BTreeSet;
use tally_audit::event::{Event, What};
use tally_domain::freeze::{FreezeSpec, IN_FORCE_MAX, Unfreeze, UnfreezeCertificate, UnfreezeSpec};
use tally_domain::key::KeyState;
use tally_domain::ports::store::{FreezeWrite, Step, Write};
use tally_domain::time::{CLOCK_TOLERANCE_MS, INTENT_VALIDITY_MAX_MS};
use tally_domain::*;
use tally_signer::admit::{admit_create, admit_sign, open};
use tally_signer::freeze::{
    FreezePermit, Freezes, Frozen, UnfreezePermit, admit_freeze, admit_unfreeze, lift_step, unless_frozen,
};
use tally_signer::hsm_key::admit_create_hsm;
use tally_signer::hsm_sign::admit_hsm_sign;

pub fn notes() -> Scope {
    Scope::Key(KeyName::parse("notes").unwrap())
}

fn freeze_intent(w: &World, scope: &Scope) -> Intent {
    Intent {
        action: Action::Freeze,
        kind: ContentKind::FreezeSpec,
        key: scope.intent_key().unwrap(),
        content: FreezeSpec { scope: scope.clone() }.to_bytes(),
        ..w.note()
    }
}

fn unfreeze_intent(w: &World, scope: &Scope, lifts: &[&FreezeName]) -> Intent {
    let lifts: BTreeSet<_> = lifts.iter().map(|n| (*n).clone()).collect();
    Intent {
        action: Action::Unfreeze,
        kind: ContentKind::UnfreezeSpec,
        content: UnfreezeSpec { scope: scope.clone(), lifts }.to_bytes(),
        ..freeze_intent(w, scope)
    }
}

fn acme() -> Tenant {
    Tenant::parse("acme").unwrap()
}

fn admit(w: &World, intent: &Intent) -> Result<FreezePermit, Refusal> {
    open(&w.bundle, w.seal(intent)).and_then(|opened| admit_freeze(opened, Some(&acme()), &w.bundle, NOW))
}

fn lift(w: &World, intent: &Intent, freezes: &Freezes) -> Result<UnfreezePermit, Refusal> {
    let opened = open(&w.bundle, w.seal(intent))?;
    admit_unfreeze(opened, Some(&acme()), freezes, &w.bundle, NOW)
}

/// A freeze by node `i`.
pub fn frozen(w: &World, i: usize, id: u8, scope: &Scope) -> Frozen {
    admit(w, &freeze_intent(w, scope)).unwrap().freeze(FreezeId([id; 16]), &w.boots[i], NOW)
}

pub fn knowing(frozen: &[&Frozen]) -> Freezes {
    let mut freezes = Freezes::default();
    frozen.iter().for_each(|f| freezes.note((*f).clone()));
    freezes
}

#[test]
fn every_way_to_use_a_frozen_key_is_refused_before_policy_is_asked() {
    let w = World::new();
    let one = knowing(&[&frozen(&w, 1, 7, &notes())]);
    // Policy would deny it: the note is too long.
    let denied = Intent { content: vec![b'x'; 17], ..w.note() };
    let sign = |intent: &Intent, freezes: &Freezes| {
        let record = w.record(&intent.key);
        let opened = open(&w.bundle, w.seal(intent))?;
        admit_sign(opened, Some((&record, KeyState::Active)), freezes, &w.bundle, NOW, |_| Ok(Vec::new()))
    };
    for intent in [w.note(), denied] {
        let refusal = sign(&intent, &one).unwrap_err();
        assert_eq!(refusal.reason, Reason::Frozen);
        let facts = ["scope", "key", "frozen_by", "freeze"].map(|name| refusal.metadata[name].clone());
        assert_eq!(facts, ["key", "notes", "node-2", &"07".repeat(16)]);
    }
    // Another key is left alone, until everything is frozen.
    assert!(sign(&w.payout(), &one).is_ok());
    let all = knowing(&[&frozen(&w, 2, 8, &Scope::All)]);
    let refusal = sign(&w.payout(), &all).unwrap_err();
    assert_eq!((refusal.reason, &*refusal.metadata["scope"]), (Reason::Frozen, "all"));
    assert!(!refusal.metadata.contains_key("key"));

    let spec = KeySpec { scheme: Scheme::Ed25519, threshold: Threshold::new(2, 3).unwrap(), purpose: Purpose::Message };
    let create = Intent {
        action: Action::CreateKey,
        kind: ContentKind::KeySpec,
        key: KeyName::parse("new").unwrap(),
        content: spec.to_bytes(),
        ..w.note()
    };
    let creates = |freezes: &Freezes| {
        open(&w.bundle, w.seal(&create)).and_then(|o| admit_create(o, freezes, &w.bundle, NOW)).map(drop)
    };
    assert_eq!(creates(&one), Ok(()));
    assert_eq!(creates(&all).unwrap_err().reason, Reason::Frozen);

    let spec = HsmKeySpec { scheme: HsmScheme::EcdsaP256, purpose: Purpose::Message, home: name(0) };
    let create =
        Intent { action: Action::CreateHsmKey, kind: ContentKind::HsmKeySpec, content: spec.to_bytes(), ..create };
    let opened = open(&w.bundle, w.seal(&create)).unwrap();
    let refusal = admit_create_hsm(opened, &name(0), &all, &w.bundle, NOW).unwrap_err();
    assert_eq!(refusal.reason, Reason::Frozen);

    let signing = p256::ecdsa::SigningKey::from_slice(&[5; 32]).unwrap();
    let record = HsmKeyRecord {
        cluster: ClusterId::parse("test").unwrap(),
        name: KeyName::parse("jwt").unwrap(),
        tenant: acme(),
        request_id: RequestId([200; 16]),
        purpose: Purpose::Message,
        home: name(0),
        material: Material::Signing(PublicKey::P256(*signing.verifying_key())),
    };
    let token = Intent { key: record.name.clone(), ..w.note() };
    let signs = |freezes: &Freezes| {
        let opened = open(&w.bundle, w.seal(&token)).unwrap();
        admit_hsm_sign(opened, (&record, KeyState::Active), &name(0), freezes, &w.bundle, NOW).map(drop)
    };
    assert_eq!(signs(&one), Ok(()));
    assert_eq!(signs(&all).unwrap_err().reason, Reason::Frozen);
}

#[test]
fn a_freeze_is_admitted_like_anything_else() {
    let w = World::new();
    for scope in [Scope::All, notes()] {
        let permit = admit(&w, &freeze_intent(&w, &scope)).unwrap();
        assert_eq!((permit.scope(), permit.rule()), (&scope, "stop"));
    }
    let refused = |change: fn(&mut Intent)| {
        let mut intent = freeze_intent(&w, &notes());
        change(&mut intent);
        admit(&w, &intent).unwrap_err().reason
    };
    assert_eq!(refused(|i| i.action = Action::Unfreeze), Reason::Malformed);
    assert_eq!(refused(|i| i.kind = ContentKind::UnfreezeSpec), Reason::Malformed);
    assert_eq!(refused(|i| i.content = vec![]), Reason::Malformed);
    assert_eq!(refused(|i| i.chain = "eip155:1".into()), Reason::Malformed);
    assert_eq!(refused(|i| i.path = DerivationPath::parse("m/0").unwrap()), Reason::Malformed);
    assert_eq!(refused(|i| i.purpose = Purpose::Raw), Reason::Malformed);
    // The content says one key, the field another: or everything.
    assert_eq!(refused(|i| i.key = KeyName::parse("hot").unwrap()), Reason::Malformed);
    assert_eq!(refused(|i| i.content = FreezeSpec { scope: Scope::All }.to_bytes()), Reason::Malformed);
    assert_eq!(refused(|i| i.expires_at = i.not_before.plus(INTENT_VALIDITY_MAX_MS + 1)), Reason::ValidityTooLong);
    assert_eq!(refused(|i| i.expires_at = NOW.minus(CLOCK_TOLERANCE_MS)), Reason::Expired);
    assert_eq!(refused(|i| i.not_before = NOW.plus(CLOCK_TOLERANCE_MS + 1)), Reason::TooEarly);
    assert_eq!(refused(|i| i.min_bundle_version = 4), Reason::StalePolicy);
    // Policy asks who and what.
    let hot = Scope::Key(KeyName::parse("hot").unwrap());
    assert_eq!(admit(&w, &freeze_intent(&w, &hot)).unwrap_err().reason, Reason::PolicyDenied);
    // A key that this node does not know, and one of another tenant, are the same to the caller.
    for owner in [None, Some(Tenant::parse("other").unwrap())] {
        let opened = open(&w.bundle, w.seal(&freeze_intent(&w, &notes()))).unwrap();
        let refusal = admit_freeze(opened, owner.as_ref(), &w.bundle, NOW).unwrap_err();
        assert_eq!(refusal.reason, Reason::KeyNotFound);
    }
    let opened = open(&w.bundle, w.seal(&freeze_intent(&w, &Scope::All))).unwrap();
    assert!(admit_freeze(opened, None, &w.bundle, NOW).is_ok(), "everything is nobody's key");
}

#[test]
fn a_freeze_is_written_with_its_statement_and_its_leaf() {
    let w = World::new();
    let frozen = frozen(&w, 0, 7, &notes());
    assert_eq!(Freeze::open(&frozen.statement, w.bundle.roster()), Ok((name(0), frozen.freeze.clone())));
    assert_eq!(frozen.freeze.intent, freeze_intent(&w, &notes()).digest());
    let step = frozen.step(&w.boots[1], NOW);
    let [Write::Freeze(FreezeWrite::Put { name: written, scope, .. })] = &*step.writes else { panic!("{step:?}") };
    assert_eq!((written, scope), (&FreezeName { by: name(0), id: FreezeId([7; 16]) }, &notes()));
    let [leaf] = &*step.leaves else { panic!("{step:?}") };
    assert_eq!(Event::from_leaf(leaf).unwrap().what, What::Frozen { statement: frozen.statement });

    let guarded = unless_frozen(Step::default(), &KeyName::parse("notes").unwrap());
    assert!(matches!(&*guarded.writes, [Write::Freeze(FreezeWrite::Unfrozen { key })] if key.as_str() == "notes"));
}

#[test]
fn a_node_gives_its_word_only_for_freezes_that_it_knows_of_that_scope() {
    let w = World::new();
    let (one, all) = (frozen(&w, 1, 7, &notes()), frozen(&w, 1, 8, &Scope::All));
    let mut freezes = knowing(&[&one, &all]);
    let permit = lift(&w, &unfreeze_intent(&w, &notes(), &[&one.name()]), &freezes).unwrap();
    assert_eq!((permit.rule(), permit.scope()), ("go-on", &notes()));
    let refused = |lifts: &[&FreezeName], freezes: &Freezes| {
        lift(&w, &unfreeze_intent(&w, &notes(), lifts), freezes).unwrap_err()
    };
    // Who may lift freezes of one key may not lift that of everything under its name.
    let refusal = refused(&[&one.name(), &all.name()], &freezes);
    assert_eq!(refusal.reason, Reason::FreezeNotFound);
    let facts = (&*refusal.metadata["frozen_by"], &refusal.metadata["freeze"]);
    assert_eq!(facts, ("node-2", &"08".repeat(16)));
    let everything = unfreeze_intent(&w, &Scope::All, &[&all.name()]);
    assert_eq!(lift(&w, &everything, &freezes).unwrap_err().reason, Reason::PolicyDenied);
    // The same id of another node is another freeze.
    let unheard = FreezeName { by: name(2), id: one.freeze.id };
    assert_eq!(refused(&[&unheard], &freezes).reason, Reason::FreezeNotFound);
    // One that is lifted already stands in nobody's way.
    freezes.note_lifted(unheard.clone());
    assert!(lift(&w, &unfreeze_intent(&w, &notes(), &[&unheard, &one.name()]), &freezes).is_ok());

    let mut intent = unfreeze_intent(&w, &notes(), &[&one.name()]);
    intent.action = Action::Freeze;
    assert_eq!(lift(&w, &intent, &freezes).unwrap_err().reason, Reason::Malformed);
    let empty = Intent { content: FreezeSpec { scope: notes() }.to_bytes(), ..unfreeze_intent(&w, &notes(), &[]) };
    assert_eq!(lift(&w, &empty, &freezes).unwrap_err().reason, Reason::Malformed);
    let late = Intent { expires_at: NOW.minus(MINUTE / 2), ..unfreeze_intent(&w, &notes(), &[&one.name()]) };
    assert_eq!(lift(&w, &late, &freezes).unwrap_err().reason, Reason::Expired);
}

#[test]
fn the_words_of_a_majority_lift_just_what_they_name_for_ever() {
    let w = World::new();
    let key = KeyName::parse("notes").unwrap();
    let (first, second) = (frozen(&w, 1, 7, &notes()), frozen(&w, 1, 8, &notes()));
    let mut freezes = knowing(&[&first, &second]);
    let intent = unfreeze_intent(&w, &notes(), &[&first.name()]);
    let permit = lift(&w, &intent, &freezes).unwrap();
    let (statements, steps): (Vec<_>, Vec<Step>) = w.boots.iter().take(2).map(|boot| permit.word(boot, NOW)).unzip();
    assert!(steps.iter().all(|step| step.writes.is_empty() && step.leaves.len() == 1));
    let certificate = UnfreezeCertificate { statements };
    let said: Unfreeze = certificate.open(w.bundle.roster()).unwrap();
    assert!(permit.is_said_by(&said));
    let other = lift(&w, &unfreeze_intent(&w, &notes(), &[&first.name(), &second.name()]), &freezes).unwrap();
    assert!(!other.is_said_by(&said));
    let step = lift_step(&said, &certificate, &w.boots[2], NOW);
    assert!(matches!(&*step.writes, [Write::Freeze(FreezeWrite::Lift { lifts, .. })] if *lifts == said.lifts));

    freezes.lift(&said);
    assert_eq!(freezes.check(&key).unwrap_err().metadata["freeze"], "08".repeat(16));
    freezes.note_lifted(second.name());
    assert_eq!(freezes.check(&key), Ok(()));
    // The old statements freeze nothing; a new one does.
    freezes.note(first.clone());
    freezes.note(second);
    assert_eq!(freezes.check(&key), Ok(()));
    assert!(freezes.is_lifted(&first.name()) && freezes.knows(&first.name()) && freezes.scope(&first.name()).is_none());
    freezes.note(frozen(&w, 1, 9, &notes()));
    assert!(freezes.check(&key).is_err());
}

#[test]
fn one_node_cannot_fill_the_others_with_freezes() {
    let w = World::new();
    let all = frozen(&w, 0, 200, &Scope::All);
    let mut freezes = Freezes::default();
    for id in 0..u8::try_from(IN_FORCE_MAX).unwrap() {
        freezes.check_room(&name(0), &notes()).unwrap();
        freezes.note(frozen(&w, 0, id, &notes()));
    }
    assert_eq!(freezes.check_room(&name(0), &notes()).unwrap_err().reason, Reason::Overloaded);
    // Neither another node nor a freeze of everything is held up by that.
    freezes.check_room(&name(1), &notes()).unwrap();
    freezes.check_room(&name(0), &Scope::All).unwrap();
    freezes.note(all);
    freezes.note_lifted(FreezeName { by: name(0), id: FreezeId([0; 16]) });
    freezes.check_room(&name(0), &notes()).unwrap();
}
