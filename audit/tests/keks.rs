//! KEKs: what the log of their home must show.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    dead_code,
    reason = "tests fail loudly"
)]

#[path = "support/keks.rs"]
mod keks;
#[path = "support/resident.rs"]
mod resident;
#[path = "support/world.rs"]
mod world;

use keks::*;
use tally_audit::event::What;
use tally_audit::verify::{ExportedLog, KekProblem, Problem, verify_log, verify_together};
use tally_domain::ports::hsm::KeyCheckValue;
use tally_domain::*;
use world::*;

fn problems(w: &World, i: usize, log: Vec<What>) -> Vec<KekProblem> {
    let log = w.export(i, [vec![w.boot(i)], log].concat());
    let checked = verify_log(&w.roster, &log.node, &log.entries, &log.checkpoint);
    let kek = |problem| match problem {
        Problem::Kek(problem) => problem,
        other => panic!("{other}"),
    };
    checked.map(|_| vec![]).unwrap_or_else(|findings| findings.into_iter().map(|f| kek(f.problem)).collect())
}

fn after_birth(w: &World, log: Vec<What>) -> Vec<KekProblem> {
    problems(w, 0, [w.kek_birth(0), log].concat())
}

const FIRST: KekNumber = KekNumber(1);

#[test]
fn a_whole_life_of_a_kek_verifies_alone_and_with_the_others() {
    let w = World::new();
    assert_eq!(problems(&w, 0, w.kek_life(0)), []);
    let home = w.export(0, [vec![w.boot(0)], w.kek_life(0)].concat());
    let report = verify_log(&w.roster, &home.node, &home.entries, &home.checkpoint).unwrap();
    assert_eq!((report.keys, report.wraps, report.permits.len()), (1, 3, 10));
    let record = w.kek_record(0);
    let named = |i| vec![w.boot(i), What::HsmKeyPending { record: record.to_bytes() }, w.hsm_active(&record, &[0, 1])];
    let logs: Vec<ExportedLog> = vec![home, w.export(1, named(1)), w.export(2, named(2))];
    verify_together(&w.roster, &logs).unwrap();
}

#[test]
fn an_outcome_needs_a_permit_for_the_intent_that_asks_for_it_and_there_is_one() {
    let w = World::new();
    let kek = key_name(VAULT);
    let wish = w.wrap_wish(1, draw());
    let not_permitted = [KekProblem::NotPermitted { request: request(1), kek: kek.clone() }];
    assert_eq!(after_birth(&w, vec![w.received(&wish), wrapped(&wish, 1, None)]), not_permitted);
    assert_eq!(after_birth(&w, vec![wrapped(&wish, 1, None), w.received(&wish), w.permitted(&wish)]), not_permitted);

    let not_asked = [KekProblem::NotAsked { request: request(1), kek: kek.clone() }];
    // To open other wrapped data than the client sent.
    let call = WrapCall::Unwrap { blob: Digest([9; 32]) };
    assert_eq!(after_birth(&w, w.kek_call(1, call, 1, None)), not_asked);
    // To open what the client only wanted to have wrapped anew.
    let anew = w.wrap_wish(1, rewrap());
    let opened = Intent { action: Action::Unwrap, ..anew.clone() };
    let What::Wrapped(mut leaf) = wrapped(&opened, 1, None) else { panic!("another leaf") };
    leaf.by = asked(&anew);
    assert_eq!(after_birth(&w, vec![w.received(&anew), w.permitted(&anew), What::Wrapped(leaf)]), not_asked);
    // With another KEK.
    let elsewhere = Intent { key: key_name("other"), ..w.wrap_wish(1, draw()) };
    let log = vec![w.received(&elsewhere), w.permitted(&elsewhere), wrapped(&elsewhere, 1, None)];
    assert_eq!(after_birth(&w, log), not_asked);

    let twice = [w.kek_call(1, draw(), 1, None), vec![wrapped(&w.wrap_wish(1, draw()), 1, None)]].concat();
    assert_eq!(after_birth(&w, twice), [KekProblem::TwoOutcomes { request: request(1) }]);
}

#[test]
fn a_version_has_one_key_and_follows_the_one_before() {
    let w = World::new();
    let kek = key_name(VAULT);
    let not_next = |number| [KekProblem::NotNext { kek: kek.clone(), number: KekNumber(number) }];
    assert_eq!(after_birth(&w, w.kek_rotation(1, 3)), not_next(3));
    let birth = w.kek_wish(100, &KekSpec::Create { home: node_name(0) });
    assert_eq!(after_birth(&w, vec![kek_made(&birth, 1, 2)]), not_next(1));
    let again = w.kek_wish(1, &KekSpec::Change(KekChange::Rotate));
    let same_key = vec![w.received(&again), w.permitted(&again), kek_made(&again, 2, 1)];
    assert_eq!(after_birth(&w, same_key), not_next(2));
    // Nobody asked for a second version.
    let unasked = [KekProblem::NotAsked { request: request(100), kek: kek.clone() }];
    assert_eq!(after_birth(&w, vec![kek_made(&birth, 2, 2)]), unasked);

    let no_version = [KekProblem::NoVersion { kek: kek.clone(), number: KekNumber(2) }];
    assert_eq!(after_birth(&w, w.kek_call(1, draw(), 2, None)), no_version);
    // The majority has named another key than the one that wraps.
    let mut log = w.kek_birth(0);
    let What::KekMade(made) = &mut log[3] else { panic!("another leaf") };
    made.check_value = KeyCheckValue([7; 3]);
    let log = [log, w.kek_call(1, draw(), 1, None)].concat();
    assert_eq!(problems(&w, 0, log), [KekProblem::OtherKek { kek }]);
}

#[test]
fn nothing_is_wrapped_or_opened_by_a_version_that_is_not_enabled() {
    let w = World::new();
    let at = UnixMillis(1);
    let disable = w.kek_change(1, KekChange::Disable(FIRST), KekEvent::Disabled);
    let schedule = w.kek_change(2, KekChange::Destroy(FIRST, 0), KekEvent::DestructionScheduled { at });
    let gone = vec![due(KekEvent::Destroying), due(KekEvent::Destroyed)];
    let rotated = w.kek_rotation(3, 2);
    for (n, before) in [
        ("disabled", disable.clone()),
        ("pending-destruction", schedule.clone()),
        ("destroying", [schedule.clone(), gone[..1].to_vec()].concat()),
        ("destroyed", [schedule.clone(), gone.clone()].concat()),
    ] {
        let state = KekProblem::NotEnabled { request: request(9), kek: key_name(VAULT), number: FIRST, state: n };
        for (call, number, from) in [
            (draw(), 1, None),
            (WrapCall::Unwrap { blob: blob() }, 1, None),
            // Out of the old version into the new one.
            (rewrap(), 2, Some(1)),
        ] {
            let log = [rotated.clone(), before.clone(), w.kek_call(9, call, number, from)].concat();
            assert_eq!(after_birth(&w, log), std::slice::from_ref(&state));
        }
    }
}

#[test]
fn versions_go_their_way_only_as_somebody_asked_and_not_before_their_time() {
    let w = World::new();
    let kek = key_name(VAULT);
    let impossible = |state, event| [KekProblem::Impossible { kek: kek.clone(), number: FIRST, state, event }];
    let soon = KekEvent::DestructionScheduled { at: UnixMillis(1) };
    assert_eq!(after_birth(&w, vec![due(KekEvent::Destroying)]), impossible("enabled", "destroying"));
    let enable = w.kek_change(1, KekChange::Enable(FIRST), KekEvent::Enabled);
    assert_eq!(after_birth(&w, enable), impossible("enabled", "enabled"));
    let gone = [
        w.kek_change(1, KekChange::Destroy(FIRST, 0), soon),
        vec![due(KekEvent::Destroying), due(KekEvent::Destroyed)],
        w.kek_change(2, KekChange::Cancel(FIRST), KekEvent::DestructionCancelled),
    ];
    assert_eq!(after_birth(&w, gone.concat()), impossible("destroyed", "destruction-cancelled"));

    let copied = w.kek_change(1, KekChange::Replicate(FIRST), KekEvent::Replicated);
    assert_eq!(after_birth(&w, copied.clone()), []);
    assert_eq!(after_birth(&w, [gone.clone().concat(), copied].concat())[1..], impossible("destroyed", "replicated"));
    let unasked = [KekProblem::Unasked { kek: kek.clone(), number: FIRST }];
    assert_eq!(after_birth(&w, vec![due(KekEvent::Disabled)]), unasked);
    // The client wanted it enabled, or another version disabled.
    let not_asked = [KekProblem::NotAsked { request: request(1), kek: kek.clone() }];
    assert_eq!(after_birth(&w, w.kek_change(1, KekChange::Enable(FIRST), KekEvent::Disabled)), not_asked);
    let mut other = w.kek_change(1, KekChange::Disable(KekNumber(2)), KekEvent::Disabled);
    if let Some(What::KekChanged(changed)) = other.last_mut() {
        changed.number = FIRST;
    }
    assert_eq!(after_birth(&w, other), not_asked);

    let later = KekEvent::DestructionScheduled { at: UnixMillis(1_000_000) };
    let early = [w.kek_change(1, KekChange::Destroy(FIRST, 0), later), vec![due(KekEvent::Destroying)]];
    assert_eq!(after_birth(&w, early.concat()), [KekProblem::TooEarly { kek, number: FIRST }]);
}

#[test]
fn a_kek_is_used_at_its_home_and_under_its_name() {
    let w = World::new();
    let kek = key_name(VAULT);
    let mut nameless = w.kek_birth(0);
    nameless.pop();
    let log = [nameless, w.kek_call(1, draw(), 1, None)].concat();
    assert_eq!(problems(&w, 0, log), [KekProblem::NoKek { kek: kek.clone() }]);
    // Another node won the name; this one's KEK does nothing, which is no fault.
    let mut lost = w.kek_birth(1);
    lost.truncate(4);
    assert_eq!(problems(&w, 1, lost.clone()), []);
    let named = w.hsm_active(&w.kek_record(0), &[0, 2]);
    let stolen = [lost, vec![named], w.kek_call(1, draw(), 1, None)].concat();
    assert_eq!(problems(&w, 1, stolen), [KekProblem::NotHome { kek, home: node_name(0) }]);
}
