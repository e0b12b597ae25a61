//! Frozen KEKs: nothing is wrapped, opened or changed with them, whether a client asks or the time has come.

use crate::frozen::{frozen, knowing, notes};
use crate::keks::*;
use crate::world::*;
use tally_domain::key::KeyState;
use tally_domain::ports::hsm::{KekId, KekMade, KeyCheckValue};
use tally_domain::ports::store::{FreezeWrite, Step, Write};
use tally_domain::*;
use tally_signer::freeze::Freezes;
use tally_signer::hsm_key::{admit_create_hsm, name_step};
use tally_signer::kek::{KekPermit, KekView, Plan, admit_change_kek, end_step, new_version, with_first_version};
use tally_signer::wrap::{Beside, WrapPermit, admit_wrap};

fn of_vault() -> Scope {
    Scope::Key(vault().name)
}

fn call(
    w: &World,
    intent: &Intent,
    beside: Beside,
    before: Option<&[u8]>,
    freezes: &Freezes,
) -> Result<WrapPermit, Refusal> {
    let (record, versions) = (vault(), both());
    let kek = KekView { record: &record, state: KeyState::Active, versions: &versions, freezes };
    admit_wrap(opened(w, intent), kek, beside, before, &name(0), &w.bundle, NOW)
}

/// Asked of version 1 in a state.
fn change(w: &World, change: KekChange, state: KekState, freezes: &Freezes) -> Result<KekPermit, Refusal> {
    let (record, versions) = (vault(), [version(1, state)]);
    let kek = KekView { record: &record, state: KeyState::Active, versions: &versions, freezes };
    let intent = change_wish(w, &KekSpec::Change(change));
    admit_change_kek(opened(w, &intent), kek, HOUR, &name(0), &w.bundle, NOW)
}

/// Every change, with the state that it is asked in.
fn changes() -> [(KekChange, KekState); 6] {
    let (n, at) = (KekNumber(1), NOW.plus(HOUR));
    [
        (KekChange::Rotate, KekState::Enabled),
        (KekChange::Disable(n), KekState::Enabled),
        (KekChange::Enable(n), KekState::Disabled),
        (KekChange::Destroy(n, 3_600), KekState::Enabled),
        (KekChange::Cancel(n), KekState::PendingDestruction { at }),
        (KekChange::Replicate(n), KekState::Enabled),
    ]
}

/// What is asked of a KEK, with what travels beside it.
fn calls() -> Vec<(WrapCall, Beside)> {
    let wrapped = || Beside::Wrapped(blob(label(1)));
    let digest = Digest::of(&blob(label(1)));
    vec![
        (draw(None), Beside::Nothing),
        wrapping(&[9; 32]),
        (WrapCall::Unwrap { blob: digest }, wrapped()),
        (WrapCall::Rewrap { blob: digest, version: None }, wrapped()),
    ]
}

#[test]
fn every_call_and_every_change_of_a_frozen_kek_is_refused_before_policy_is_asked() {
    let w = World::new();
    let (of_it, of_all) = (frozen(&w, 1, 7, &of_vault()), frozen(&w, 2, 8, &Scope::All));
    let of_another = knowing(&[&frozen(&w, 1, 9, &notes())]);
    let create = change_wish(&w, &KekSpec::Create { home: name(0) });
    let creates = |freezes: &Freezes| {
        admit_create_hsm(opened(&w, &create), &name(0), freezes, &w.bundle, NOW).map(drop).map_err(|r| r.reason)
    };
    for (made, scope) in [(&of_it, "key"), (&of_all, "all")] {
        let known = knowing(&[made]);
        for (wanted, beside) in calls() {
            let refusal = call(&w, &wish(&w, wanted), beside, None, &known).map(drop).unwrap_err();
            assert_eq!((refusal.reason, &*refusal.metadata["scope"]), (Reason::Frozen, scope));
            assert_eq!(refusal.metadata["freeze"], made.freeze.id.to_string());
        }
        // Policy would deny it: it is too long.
        let (long, beside) = wrapping(&[9; 65]);
        assert_eq!(reason(call(&w, &wish(&w, long), beside, None, &known)), Reason::Frozen);
        // What was shown before is not shown again.
        let shown = wish(&w, WrapCall::GenerateDataKey { bytes: 32, plaintext: true, version: None });
        assert_eq!(reason(call(&w, &shown, Beside::Nothing, Some(&blob(label(1))), &known)), Reason::Frozen);
        for (wanted, state) in changes() {
            assert_eq!(reason(change(&w, wanted, state, &known)), Reason::Frozen, "{wanted:?}");
        }
        // A KEK of the name may be on its way still.
        assert_eq!(creates(&known), Err(Reason::Frozen));
    }
    for (wanted, beside) in calls() {
        assert!(call(&w, &wish(&w, wanted), beside, None, &of_another).is_ok());
    }
    for (wanted, state) in changes() {
        assert!(change(&w, wanted, state, &of_another).is_ok(), "{wanted:?}");
    }
    assert_eq!(creates(&of_another), Ok(()));
}

#[test]
fn no_step_of_a_kek_becomes_durable_once_it_is_frozen() {
    let w = World::new();
    let (none, boot, kek) = (Freezes::default(), &w.boots[0], vault().name);
    let asks = |step: &Step| {
        let of_kek = |write: &Write| matches!(write, Write::Freeze(FreezeWrite::Unfrozen { key }) if *key == kek);
        assert_eq!(step.writes.iter().filter(|write| of_kek(write)).count(), 1, "{step:?}");
    };
    let (sealing, beside) = wrapping(&[9; 32]);
    let (_, underway) = started(call(&w, &wish(&w, sealing), beside, None, &none).unwrap());
    asks(&underway.sealed(vec![7; 109]).step(boot, NOW));
    let opening = WrapCall::Unwrap { blob: Digest::of(&blob(label(1))) };
    let (_, underway) = started(call(&w, &wish(&w, opening), Beside::Wrapped(blob(label(1))), None, &none).unwrap());
    asks(&underway.opened(&SecretBytes::new(vec![9; 32])).unwrap().step(boot, NOW));

    let made = KekMade { check_value: KeyCheckValue([3; 3]), transfer: None };
    for (wanted, state) in changes() {
        let permit = change(&w, wanted, state, &none).unwrap();
        asks(&match permit.plan() {
            Plan::Make(number) => permit.rotate_step(&new_version(number, KekId([3; 16]), &made, NOW), None, boot, NOW),
            Plan::Replicate(version) => permit.replicated_step(&version, boot, NOW),
            Plan::Move { from, event, to } => permit.move_step(&from, event, to, boot, NOW),
        });
    }
    let create = opened(&w, &change_wish(&w, &KekSpec::Create { home: name(0) }));
    let first = new_version(KekNumber::FIRST, KekId([3; 16]), &made, NOW);
    let named = name_step(&create, &vault(), boot, NOW);
    asks(&with_first_version(named, &create, &first, None, boot, NOW));
    // Nor does its end, which nobody asks for.
    let pending = version(1, KekState::PendingDestruction { at: NOW });
    asks(&end_step(&kek, &pending, KekEvent::Destroying, boot, NOW).unwrap().0);
    asks(&end_step(&kek, &version(1, KekState::Destroying), KekEvent::Destroyed, boot, NOW).unwrap().0);
}
