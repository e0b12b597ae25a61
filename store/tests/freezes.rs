//! Freezes: what they stop from the very step on in which they are written, and that what is lifted stays lifted.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests fail loudly"
)]

#[path = "support/helpers.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod helpers;

use helpers::*;
use tally_domain::ports::store::*;
use tally_domain::*;
use tally_store::SqliteStore;
use tempfile::TempDir;

fn store() -> (TempDir, SqliteStore) {
    let dir = TempDir::new().unwrap();
    let store = SqliteStore::open(&dir.path().join("tally.db")).unwrap();
    (dir, store)
}

fn name(by: &str, id: u8) -> FreezeName {
    FreezeName { by: node(by), id: FreezeId([id; 16]) }
}

fn of_key(name: &str) -> Scope {
    Scope::Key(key(name))
}

fn freeze(name: &FreezeName, scope: &Scope) -> Write {
    let (name, scope) = (name.clone(), scope.clone());
    Write::Freeze(FreezeWrite::Put { name, scope, statement: b"statement".to_vec(), at: UnixMillis(5) })
}

fn lift(intent: &[u8], names: &[&FreezeName]) -> Write {
    let lifts = names.iter().map(|n| (*n).clone()).collect();
    let certificate = [b"certificate of ", intent].concat();
    Write::Freeze(FreezeWrite::Lift { intent: Digest::of(intent), lifts, certificate, at: UnixMillis(6) })
}

fn unfrozen(name: &str) -> Write {
    Write::Freeze(FreezeWrite::Unfrozen { key: key(name) })
}

fn frozen(name: &FreezeName, scope: &Scope) -> Conflict {
    Conflict::Frozen(name.clone(), scope.clone())
}

#[test]
fn a_frozen_key_stops_its_own_steps_and_leaves_those_of_others() {
    let (_dir, s) = store();
    fits(&s, unfrozen("hot"));
    fits(&s, freeze(&name("node-1", 1), &of_key("hot")));
    clashes(&s, unfrozen("hot"), frozen(&name("node-1", 1), &of_key("hot")));
    fits(&s, unfrozen("cold"));
    fits(&s, freeze(&name("node-2", 2), &Scope::All));
    clashes(&s, unfrozen("cold"), frozen(&name("node-2", 2), &Scope::All));
}

#[test]
fn nothing_of_a_step_is_kept_when_its_key_is_frozen() {
    let (_dir, s) = store();
    fits(&s, claim(1));
    fits(&s, vote(1, b"vote"));
    fits(&s, freeze(&name("node-1", 1), &of_key("hot")));
    let step = Step { writes: vec![unfrozen("hot"), release(1, b"partial")], leaves: vec![b"released".to_vec()] };
    let refused = wait(s.commit(step)).unwrap_err();
    assert_eq!(refused, StoreError::Conflict(frozen(&name("node-1", 1), &of_key("hot"))));
    assert!(matches!(s.attempts(&tenant(), &request(1)).unwrap()[0].state, AttemptState::Voted(_)));
    assert_eq!(s.log_size().unwrap(), 0);
    // What gives something up goes on.
    fits(&s, abandon(1, b"promise"));
}

/// Steps that are queued together share a transaction; their order still decides.
#[test]
fn of_steps_in_one_transaction_those_after_the_freeze_are_refused() {
    let (_dir, s) = store();
    (0..60).for_each(|n| fits(&s, claim(n)));
    let votes: Vec<_> = (0..60)
        .map(|n| {
            if n == 30 {
                drop(s.commit(Step { writes: vec![freeze(&name("node-1", 1), &Scope::All)], leaves: vec![] }));
            }
            s.commit(Step { writes: vec![unfrozen("hot"), vote(n, b"vote")], leaves: vec![vec![0]] })
        })
        .collect();
    for (n, vote) in votes.into_iter().enumerate() {
        assert_eq!(wait(vote).is_ok(), n < 30, "vote {n}");
    }
    assert_eq!(s.log_size().unwrap(), 30);
}

#[test]
fn a_lifted_freeze_never_freezes_again_and_a_later_one_does() {
    let (dir, s) = store();
    let (first, second) = (name("node-1", 1), name("node-1", 2));
    fits(&s, freeze(&first, &of_key("hot")));
    fits(&s, freeze(&second, &of_key("hot")));
    fits(&s, lift(b"one", &[&first]));
    clashes(&s, unfrozen("hot"), frozen(&second, &of_key("hot")));
    fits(&s, lift(b"two", &[&second]));
    fits(&s, unfrozen("hot"));
    // The old statements again, and again after a restart.
    fits(&s, freeze(&first, &of_key("hot")));
    drop(s);
    let s = SqliteStore::open(&dir.path().join("tally.db")).unwrap();
    fits(&s, freeze(&second, &Scope::All));
    fits(&s, unfrozen("hot"));
    // The same id of another node is another freeze.
    fits(&s, freeze(&name("node-2", 1), &of_key("hot")));
    clashes(&s, unfrozen("hot"), frozen(&name("node-2", 1), &of_key("hot")));
}

#[test]
fn a_lift_that_comes_before_its_freeze_holds() {
    let (_dir, s) = store();
    let unheard = name("node-3", 9);
    fits(&s, lift(b"one", &[&unheard]));
    fits(&s, freeze(&unheard, &Scope::All));
    fits(&s, unfrozen("hot"));
    assert_eq!(s.freezes().unwrap(), [FreezeRow { name: unheard, state: FreezeState::Lifted }]);
}

#[test]
fn rows_read_back_and_the_first_certificate_stays() {
    let (_dir, s) = store();
    let (hot, all) = (name("node-1", 1), name("node-2", 1));
    fits(&s, freeze(&all, &Scope::All));
    fits(&s, freeze(&hot, &of_key("hot")));
    // A second statement under the same name changes nothing.
    fits(&s, freeze(&hot, &Scope::All));
    let in_force = |scope| FreezeState::InForce { scope, statement: b"statement".to_vec() };
    let rows = s.freezes().unwrap();
    assert_eq!(
        rows,
        [
            FreezeRow { name: hot.clone(), state: in_force(of_key("hot")) },
            FreezeRow { name: all.clone(), state: in_force(Scope::All) },
        ]
    );
    fits(&s, lift(b"one", &[&hot, &all]));
    fits(&s, lift(b"one", &[&hot]));
    assert!(s.freezes().unwrap().iter().all(|row| row.state == FreezeState::Lifted));
    let kept = UnfreezeRow { intent: Digest::of(b"one"), certificate: b"certificate of one".to_vec() };
    assert_eq!(s.unfreezes().unwrap(), [kept]);
}
