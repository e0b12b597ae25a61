//! Versions of KEKs: each write's condition, both ways, and that nothing leads back from a destruction.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    dead_code,
    reason = "tests fail loudly"
)]

#[path = "support/helpers.rs"]
mod helpers;

use helpers::*;
use tally_domain::ports::hsm::{KekId, KeyCheckValue};
use tally_domain::ports::store::{Conflict, KekWrite, Store, Write};
use tally_domain::{KekNumber, KekState, KekVersion, UnixMillis};
use tally_store::SqliteStore;

fn store() -> (tempfile::TempDir, SqliteStore) {
    let dir = tempfile::tempdir().unwrap();
    let s = SqliteStore::open(&dir.path().join("node.db")).unwrap();
    for name in ["vault", "other"] {
        let (record, intent) = (name.as_bytes().to_vec(), b"intent".to_vec());
        fits(&s, Write::PutHsmKey { name: key(name), record, intent, at: UnixMillis(1) });
    }
    (dir, s)
}

fn version(number: u32, id: u8) -> KekVersion {
    KekVersion {
        number: KekNumber(number),
        id: KekId([id; 16]),
        check_value: KeyCheckValue([id, 0, 1]),
        state: KekState::Enabled,
        made_at: UnixMillis(7),
    }
}

fn put(kek: &str, version: KekVersion) -> Write {
    Write::Kek(KekWrite::Put { kek: key(kek), version, transfer: Some(vec![1, 2]) })
}

fn change(from: KekState, to: KekState) -> Write {
    Write::Kek(KekWrite::Change { kek: key("vault"), number: KekNumber(1), from, to, at: UnixMillis(9) })
}

fn used(number: u32, wrapped: bool) -> Write {
    Write::Kek(KekWrite::Use { kek: key("vault"), number: KekNumber(number), wrapped })
}

fn state(s: &SqliteStore) -> KekState {
    s.kek_versions(Some(&key("vault"))).unwrap()[0].version.state
}

#[test]
fn versions_are_dense_and_a_key_is_one_versions() {
    let (_dir, s) = store();
    clashes(&s, put("vault", version(2, 1)), Conflict::KekVersion);
    fits(&s, put("vault", version(1, 1)));
    for bad in [version(1, 1), version(1, 2), version(3, 3), version(2, 1)] {
        clashes(&s, put("vault", bad), Conflict::KekVersion);
    }
    clashes(&s, put("other", version(1, 1)), Conflict::KekVersion);
    fits(&s, put("vault", version(2, 2)));
    fits(&s, put("other", version(1, 3)));
    let rows = s.kek_versions(Some(&key("vault"))).unwrap();
    assert_eq!(rows.iter().map(|r| r.version).collect::<Vec<_>>(), [version(1, 1), version(2, 2)]);
    assert_eq!((rows[0].transfer.as_deref(), rows[0].wraps), (Some(&[1, 2][..]), 0));
    let all = s.kek_versions(None).unwrap();
    assert_eq!(
        all.iter().map(|r| (r.kek.as_str(), r.version.number.0)).collect::<Vec<_>>(),
        [("other", 1), ("vault", 1), ("vault", 2)]
    );
    // A KEK without a name has no versions.
    assert!(commit(&s, vec![put("nameless", version(1, 9))]).is_err());
}

#[test]
fn a_change_needs_the_state_that_it_was_decided_on() {
    let (_dir, s) = store();
    fits(&s, put("vault", version(1, 1)));
    let pending = |at| KekState::PendingDestruction { at: UnixMillis(at) };
    clashes(&s, change(KekState::Disabled, KekState::Enabled), Conflict::KekState);
    fits(&s, change(KekState::Enabled, pending(50)));
    assert_eq!(state(&s), pending(50));
    // Decided on another moment of destruction: cancelled and scheduled again in between.
    clashes(&s, change(pending(40), KekState::Destroying), Conflict::KekState);
    fits(&s, change(pending(50), KekState::Disabled));
    fits(&s, change(KekState::Disabled, KekState::Enabled));
    clashes(&s, change(KekState::Disabled, KekState::Enabled), Conflict::KekState);
    assert_eq!(state(&s), KekState::Enabled);
}

#[test]
fn nothing_leads_back_from_a_destruction_whoever_writes() {
    let (dir, s) = store();
    fits(&s, put("vault", version(1, 1)));
    let pending = KekState::PendingDestruction { at: UnixMillis(50) };
    fits(&s, change(KekState::Enabled, pending));
    fits(&s, change(pending, KekState::Destroying));
    assert!(commit(&s, vec![change(KekState::Destroying, KekState::Disabled)]).is_err());
    fits(&s, change(KekState::Destroying, KekState::Destroyed));
    assert!(commit(&s, vec![change(KekState::Destroyed, KekState::Enabled)]).is_err());
    assert_eq!(state(&s), KekState::Destroyed);
    drop(s);
    let c = rusqlite::Connection::open(dir.path().join("node.db")).unwrap();
    for sql in ["UPDATE kek_version SET state = 'enabled'", "DELETE FROM kek_version"] {
        assert!(c.execute(sql, []).is_err(), "{sql}");
    }
}

#[test]
fn only_an_enabled_version_is_used_and_its_wraps_are_counted() {
    let (_dir, s) = store();
    clashes(&s, used(1, true), Conflict::KekState);
    fits(&s, put("vault", version(1, 1)));
    for wrapped in [true, false, true] {
        fits(&s, used(1, wrapped));
    }
    fits(&s, change(KekState::Enabled, KekState::Disabled));
    // The step that it belongs to is not kept either: no result without the use.
    let step = vec![claim(1), used(1, true), complete(1, b"blob")];
    assert!(commit(&s, step).is_err());
    assert!(s.request(&tenant(), &request(1)).unwrap().is_none());
    assert_eq!(s.kek_versions(None).unwrap()[0].wraps, 2);
}
