//! Freezes: nothing is done while one is in force, one node lifts nothing, and no word goes missing.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    dead_code,
    reason = "tests fail loudly"
)]

#[path = "support/frozen.rs"]
mod frozen;
#[path = "support/keks.rs"]
mod keks;
#[path = "support/resident.rs"]
mod resident;
#[path = "support/world.rs"]
mod world;

use frozen::*;
use keks::*;
use tally_audit::event::{Event, What};
use tally_audit::verify::{
    CLOCK_SLACK_MS, EXPORT_SLACK_MS, ExportedLog, FreezeProblem, Oddity, Problem, Witness, verify_log, verify_partial,
};
use tally_domain::boot::{BadStatement, Statement};
use tally_domain::*;
use world::*;

fn problems(w: &World, i: usize, log: Vec<What>) -> Vec<Problem> {
    let log = w.export(i, log);
    let checked = verify_log(&w.roster, &log.node, &log.entries, &log.checkpoint);
    checked.map(|_| vec![]).unwrap_or_else(|findings| findings.into_iter().map(|f| f.problem).collect())
}

fn partial(w: &World, logs: &[ExportedLog]) -> (Vec<Problem>, Vec<Oddity>) {
    match verify_partial(&w.roster, logs) {
        Ok(reports) => (vec![], reports.into_iter().flat_map(|r| r.warnings).map(|w| w.what).collect()),
        Err(findings) => (findings.into_iter().map(|f| f.problem).collect(), vec![]),
    }
}

/// What node `i` writes when it freezes at request `n`.
fn freezes(w: &World, i: usize, n: u8, scope: &Scope) -> Vec<What> {
    let intent = w.freeze_intent(n, scope);
    vec![w.received(&intent), w.permitted(&intent), w.frozen(i, n, scope)]
}

/// What node `i` writes when it wants freezes lifted.
fn wants_lifted(w: &World, i: usize, intent: &Intent) -> Vec<What> {
    vec![w.received(intent), w.permitted(intent), w.unfreezing(i, intent)]
}

fn signs(w: &World, n: u8, key: &str) -> Vec<What> {
    w.request_at(0, &w.intent(n, key), &[0, 1])
}

fn start(w: &World) -> Vec<What> {
    vec![w.boot(0), w.key_active(HOT), w.key_active(NOTES)]
}

fn used(n: u8, key: &str, freeze: &FreezeName) -> Problem {
    FreezeProblem::UsedWhileFrozen { request: request(n), key: key_name(key), freeze: freeze.clone() }.into()
}

#[test]
fn a_vote_or_release_after_a_freeze_and_before_its_lift_is_found() {
    let w = World::new();
    let hot = of_key(HOT);
    let freeze = freeze_name(0, 20);
    let frozen = [start(&w), signs(&w, 1, HOT), freezes(&w, 0, 20, &hot)].concat();
    assert_eq!(problems(&w, 0, frozen.clone()), []);
    // Another key goes on.
    assert_eq!(problems(&w, 0, [frozen.clone(), signs(&w, 2, NOTES)].concat()), []);
    let both = [used(2, HOT, &freeze), used(2, HOT, &freeze)];
    assert_eq!(problems(&w, 0, [frozen.clone(), signs(&w, 2, HOT)].concat()), both);
    // Voted before, released after: the release alone.
    let mut astride = start(&w);
    let request = signs(&w, 2, HOT);
    astride.extend_from_slice(&request[..3]);
    astride.extend(freezes(&w, 0, 20, &hot));
    astride.extend_from_slice(&request[3..]);
    assert_eq!(problems(&w, 0, astride), [used(2, HOT, &freeze)]);

    // A result that others tell of is a fact, and no use of the key by this node.
    let told = [frozen.clone(), vec![w.completed(&w.intent(3, HOT))]].concat();
    assert_eq!(problems(&w, 0, told), []);

    let lift = w.unfreeze_intent(21, &hot, std::slice::from_ref(&freeze));
    let lifted = [frozen, wants_lifted(&w, 0, &lift), vec![w.unfrozen(&lift, &[0, 1])]].concat();
    assert_eq!(problems(&w, 0, [lifted.clone(), signs(&w, 2, HOT)].concat()), []);
    // The old word again freezes nothing; a new one does.
    let replayed = [lifted.clone(), vec![w.frozen(0, 20, &hot)], signs(&w, 2, HOT)].concat();
    assert_eq!(problems(&w, 0, replayed), []);
    let again = [lifted, freezes(&w, 0, 22, &hot), signs(&w, 2, HOT)].concat();
    let freeze = freeze_name(0, 22);
    assert_eq!(problems(&w, 0, again), [used(2, HOT, &freeze), used(2, HOT, &freeze)]);
}

#[test]
fn another_nodes_freeze_of_everything_counts_from_the_leaf_on_that_knows_it() {
    let w = World::new();
    let known = [start(&w), signs(&w, 1, HOT), vec![w.frozen(2, 20, &Scope::All)]].concat();
    assert_eq!(problems(&w, 0, known.clone()), []);
    let freeze = freeze_name(2, 20);
    let found = problems(&w, 0, [known, signs(&w, 2, NOTES)].concat());
    assert_eq!(found, [used(2, NOTES, &freeze), used(2, NOTES, &freeze)]);
}

#[test]
fn an_hsm_key_that_signs_while_it_is_frozen_is_found() {
    let w = World::new();
    let record = w.hsm_record("jwt", 0, 7);
    let intent = Intent { path: DerivationPath::default(), ..w.intent(1, "jwt") };
    let home = vec![w.boot(0), What::HsmKeyPending { record: record.to_bytes() }, w.hsm_active(&record, &[0, 2])];
    let frozen = freezes(&w, 0, 20, &of_key("jwt"));
    let signed = vec![w.received(&intent), w.permitted(&intent), w.hsm_completed(&intent, 7)];
    assert_eq!(problems(&w, 0, [home.clone(), signed.clone(), frozen.clone()].concat()), []);
    assert_eq!(problems(&w, 0, [home, frozen, signed].concat()), [used(1, "jwt", &freeze_name(0, 20))]);
}

#[test]
fn a_kek_that_is_used_changed_or_destroyed_while_it_is_frozen_is_found() {
    let w = World::new();
    let (first, at) = (KekNumber::FIRST, UnixMillis(1));
    let born = [vec![w.boot(0)], w.kek_birth(0)].concat();
    let scheduled = w.kek_change(99, KekChange::Destroy(first, 0), KekEvent::DestructionScheduled { at });
    let destroyed = |freeze: &FreezeName| {
        let (kek, freeze) = (key_name(VAULT), freeze.clone());
        Problem::from(FreezeProblem::DestroyedWhileFrozen { kek, number: first, freeze })
    };
    for scope in [of_key(VAULT), Scope::All] {
        let (freezes, freeze) = (freezes(&w, 0, 20, &scope), freeze_name(0, 20));
        let after = |log: Vec<What>| problems(&w, 0, [born.clone(), freezes.clone(), log].concat());
        assert_eq!(after(w.kek_call(101, draw(), 1, None)), [used(101, VAULT, &freeze)]);
        assert_eq!(after(w.kek_rotation(102, 2)), [used(102, VAULT, &freeze)]);
        assert_eq!(
            after(w.kek_change(103, KekChange::Disable(first), KekEvent::Disabled)),
            [used(103, VAULT, &freeze)]
        );
        assert_eq!(after(scheduled.clone()), [used(99, VAULT, &freeze)]);
        // Asked for before, and its time came while it was frozen: in its first step or its second.
        let end = [due(KekEvent::Destroying), due(KekEvent::Destroyed)];
        let log = [born.clone(), scheduled.clone(), freezes.clone(), end.to_vec()].concat();
        assert_eq!(problems(&w, 0, log), [destroyed(&freeze), destroyed(&freeze)]);
        let [destroying, gone] = end;
        let log = [born.clone(), scheduled.clone(), vec![destroying], freezes.clone(), vec![gone]].concat();
        assert_eq!(problems(&w, 0, log), [destroyed(&freeze)]);

        let lift = w.unfreeze_intent(21, &scope, std::slice::from_ref(&freeze));
        let lifted = [wants_lifted(&w, 0, &lift), vec![w.unfrozen(&lift, &[0, 1])]].concat();
        assert_eq!(after([lifted, w.kek_call(101, draw(), 1, None), scheduled.clone()].concat()), []);
    }
    let made = [vec![w.boot(0)], freezes(&w, 0, 20, &Scope::All), w.kek_birth(0)].concat();
    assert_eq!(problems(&w, 0, made), [used(100, VAULT, &freeze_name(0, 20))]);
    // Another key's freeze leaves it alone.
    assert_eq!(problems(&w, 0, [vec![w.boot(0)], freezes(&w, 0, 20, &of_key(HOT)), w.kek_life(0)].concat()), []);
}

#[test]
fn a_lift_needs_the_same_words_of_a_majority() {
    let w = World::new();
    let hot = of_key(HOT);
    let lift = w.unfreeze_intent(21, &hot, &[freeze_name(0, 20)]);
    let log = |last: What| [start(&w), freezes(&w, 0, 20, &hot), wants_lifted(&w, 0, &lift), vec![last]].concat();
    let none = [Problem::from(FreezeProblem::NoMajority(BadStatement::Malformed))];
    assert_eq!(problems(&w, 0, log(w.unfrozen(&lift, &[0]))), none);
    assert_eq!(problems(&w, 0, log(w.unfrozen(&lift, &[0, 0]))), none);
    assert_eq!(problems(&w, 0, log(w.unfrozen(&lift, &[]))), none);
    // And what it would have lifted stays in force.
    let found = problems(&w, 0, [log(w.unfrozen(&lift, &[0])), signs(&w, 2, HOT)].concat());
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(problems(&w, 0, log(w.unfrozen(&lift, &[0, 1]))), []);
}

#[test]
fn own_words_need_an_intent_that_asks_for_just_that_and_its_permit() {
    let w = World::new();
    let hot = of_key(HOT);
    let unpermitted = [Problem::from(FreezeProblem::NotPermitted)];
    let only = |what: What| vec![w.boot(0), what];
    assert_eq!(problems(&w, 0, only(w.frozen(0, 20, &hot))), unpermitted);
    let received = vec![w.boot(0), w.received(&w.freeze_intent(20, &hot)), w.frozen(0, 20, &hot)];
    assert_eq!(problems(&w, 0, received), unpermitted);
    // Permitted for one key, and everything frozen.
    let intent = w.freeze_intent(20, &hot);
    let freeze = Freeze {
        cluster: w.roster.cluster.clone(),
        scope: Scope::All,
        id: FreezeId([20; 16]),
        intent: intent.digest(),
        time: UnixMillis(1),
    };
    let more = What::Frozen { statement: freeze.sign(&w.boots[0].0, &w.boots[0].1) };
    assert_eq!(problems(&w, 0, vec![w.boot(0), w.received(&intent), w.permitted(&intent), more]), unpermitted);
    // What other nodes freeze is theirs to answer for.
    assert_eq!(problems(&w, 0, only(w.frozen(1, 20, &hot))), []);

    let lift = w.unfreeze_intent(21, &hot, &[freeze_name(0, 20)]);
    assert_eq!(problems(&w, 0, only(w.unfreezing(0, &lift))), unpermitted);
    let other = [Problem::from(FreezeProblem::NotItsOwn { by: node_name(1) })];
    assert_eq!(problems(&w, 0, only(w.unfreezing(1, &lift))), other);
    let unlogged = FreezeProblem::WordRemoved { by: node_name(0), shown_by: Witness { node: node_name(0), leaf: 1 } };
    assert_eq!(problems(&w, 0, only(w.unfrozen(&lift, &[0, 1]))), [Problem::from(unlogged)]);

    let nonsense = Statement { signed: None, boot_cert: None };
    let malformed = [Problem::from(FreezeProblem::Statement(BadStatement::Malformed))];
    assert_eq!(problems(&w, 0, only(What::Frozen { statement: nonsense.clone() })), malformed);
    assert_eq!(problems(&w, 0, only(What::Unfreezing { statement: nonsense })), malformed);
}

/// Ends a log at a moment.
fn until(w: &World, i: usize, log: Vec<What>, last: u64) -> ExportedLog {
    let mut events = w.events(i, log);
    events.last_mut().unwrap().time = UnixMillis(last);
    w.seal(i, events.iter().map(Event::to_leaf).collect())
}

#[test]
fn a_word_that_its_node_has_not_logged_is_found_once_its_log_goes_on() {
    let w = World::new();
    let quiet = |i: usize| vec![w.boot(i), w.key_active(HOT)];
    let shown = [quiet(1), vec![w.frozen(0, 20, &Scope::All)]].concat();
    let shown_by = Witness { node: node_name(1), leaf: 2 };
    let moment = 5_000;
    let removed = Problem::from(FreezeProblem::WordRemoved { by: node_name(0), shown_by: shown_by.clone() });
    let logs = |ends: u64| [until(&w, 0, quiet(0), ends), until(&w, 1, shown.clone(), moment)];
    assert_eq!(partial(&w, &logs(moment + CLOCK_SLACK_MS + 1)), (vec![removed], vec![]));
    // Its export may have ended a moment before.
    let not_yet = Oddity::WordNotYetInOwnLog { node: node_name(0) };
    assert_eq!(partial(&w, &logs(moment)), (vec![], vec![not_yet]));
    // But not if the others go on for long.
    let third = until(&w, 2, quiet(2), moment + EXPORT_SLACK_MS + 1);
    let [own, other] = logs(moment);
    let ends = Problem::from(FreezeProblem::EndsEarly { by: node_name(0), shown_by });
    assert_eq!(partial(&w, &[own, other, third]), (vec![ends], vec![]));

    let logged = [quiet(0), freezes(&w, 0, 20, &Scope::All)].concat();
    let logs = [until(&w, 0, logged, moment * 4), until(&w, 1, shown, moment)];
    assert_eq!(partial(&w, &logs), (vec![], vec![]));
}

#[test]
fn a_word_for_a_lift_that_its_node_has_not_logged_is_found() {
    let w = World::new();
    let hot = of_key(HOT);
    let lift = w.unfreeze_intent(21, &hot, &[freeze_name(1, 20)]);
    let lifted =
        [vec![w.boot(1)], freezes(&w, 1, 20, &hot), wants_lifted(&w, 1, &lift), vec![w.unfrozen(&lift, &[1, 2])]];
    let log = until(&w, 1, lifted.concat(), 5_000);
    let silent = until(&w, 2, vec![w.boot(2), w.key_active(HOT)], 20_000);
    let shown_by = Witness { node: node_name(1), leaf: 7 };
    let removed = Problem::from(FreezeProblem::WordRemoved { by: node_name(2), shown_by });
    assert_eq!(partial(&w, &[log.clone(), silent]), (vec![removed], vec![]));
    let said = [vec![w.boot(2)], wants_lifted(&w, 2, &lift)].concat();
    assert_eq!(partial(&w, &[log, until(&w, 2, said, 20_000)]), (vec![], vec![]));
}
