//! What becomes of tokens and of key versions.

use tally_domain::UnixMillis;
use tally_domain::token::{DataKeyNumber, StoredState, VersionState};
use tally_tokenization::keys::{DataKeyVersion, Dependents, KeyRefusal, SEALS_MAX};
use tally_tokenization::life::{Life, NotUsable, Stored};

const NOW: UnixMillis = UnixMillis(1_000);

fn stored(state: StoredState, expires_at: Option<u64>, uses_left: Option<u32>) -> Stored {
    Stored { state, expires_at: expires_at.map(UnixMillis), uses_left }
}

fn active(expires_at: Option<u64>, uses_left: Option<u32>) -> Life {
    Life::at(stored(StoredState::Active, expires_at, uses_left), NOW)
}

#[test]
fn a_token_is_what_was_stored_seen_now() {
    assert_eq!(active(None, None).as_str(), "active");
    assert_eq!(active(Some(1_001), Some(1)).as_str(), "active");
    assert_eq!(active(Some(1_000), Some(1)).usable(), Err(NotUsable::Expired));
    assert_eq!(active(None, Some(0)).usable(), Err(NotUsable::UsedUp));
    let suspended = |expires, uses| Life::at(stored(StoredState::Suspended, expires, uses), NOW);
    assert_eq!(suspended(None, None).usable(), Err(NotUsable::Suspended));
    assert_eq!(suspended(Some(1), None).usable(), Err(NotUsable::Expired));
    assert_eq!(suspended(None, Some(0)).usable(), Err(NotUsable::UsedUp));
    assert_eq!(Life::at(stored(StoredState::Shredded, Some(1), Some(0)), NOW).usable(), Err(NotUsable::Shredded));
}

#[test]
fn each_reveal_takes_one_use_until_there_is_none() {
    let mut life = active(None, Some(3));
    for _ in 0..3 {
        life = life.usable().unwrap().reveal();
    }
    assert_eq!(life.usable(), Err(NotUsable::UsedUp));
    let mut unlimited = active(Some(2_000), None);
    for _ in 0..100 {
        unlimited = unlimited.usable().unwrap().reveal();
    }
    assert_eq!(unlimited.usable().unwrap().stored(), stored(StoredState::Active, Some(2_000), None));
}

#[test]
fn a_suspended_token_goes_on_where_it_was_unless_its_time_has_come() {
    let suspended = || active(Some(2_000), Some(5)).usable().unwrap().suspend();
    assert_eq!(suspended().stored(), stored(StoredState::Suspended, Some(2_000), Some(5)));
    let resumed = suspended().resume(UnixMillis(1_999)).usable().unwrap();
    assert_eq!(resumed.stored(), stored(StoredState::Active, Some(2_000), Some(5)));
    assert_eq!(suspended().resume(UnixMillis(2_000)).usable(), Err(NotUsable::Expired));
}

#[test]
fn anything_can_be_shredded_and_nothing_comes_back() {
    for life in [active(None, None), active(Some(1), None), active(None, Some(0))] {
        assert_eq!(Life::Shredded(life.shred()).usable(), Err(NotUsable::Shredded));
    }
}

fn version(state: VersionState, sealed: u64, tokens: u64) -> DataKeyVersion {
    DataKeyVersion { number: DataKeyNumber(1), state, sealed, tokens }
}

#[test]
fn a_key_is_not_retired_while_anything_depends_on_it() {
    let _retirable = version(VersionState::Previous, 10, 0).retire().unwrap();
    let needed = version(VersionState::Previous, 10, 1).retire().unwrap_err();
    assert_eq!(needed, KeyRefusal::StillNeeded(Dependents { tokens: 1, data_keys: 0 }));
    assert!(needed.to_string().starts_with("1 tokens and 0 data keys still depend"));
    assert_eq!(version(VersionState::Current, 0, 0).retire(), Err(KeyRefusal::Current));
    assert_eq!(version(VersionState::Filling, 0, 0).retire(), Err(KeyRefusal::Current));
    assert_eq!(version(VersionState::Destroyed, 0, 0).retire(), Err(KeyRefusal::Destroyed));
    let kek = Dependents { tokens: 0, data_keys: 2 };
    assert_eq!(kek.none(), Err(KeyRefusal::StillNeeded(kek)));
}

#[test]
fn a_data_key_stops_before_its_nonces_could_repeat() {
    version(VersionState::Current, SEALS_MAX - 2, 0).seal(2).unwrap();
    assert_eq!(version(VersionState::Current, SEALS_MAX - 2, 0).seal(3), Err(KeyRefusal::Spent));
    assert_eq!(version(VersionState::Current, 1, 0).seal(u64::MAX), Err(KeyRefusal::Spent));
    assert_eq!(version(VersionState::Previous, 0, 0).seal(1), Err(KeyRefusal::Previous));
    assert_eq!(version(VersionState::Destroyed, 0, 0).seal(1), Err(KeyRefusal::Destroyed));
    assert!(!version(VersionState::Current, SEALS_MAX / 2, 0).is_worn());
    assert!(version(VersionState::Current, SEALS_MAX / 10 * 9, 0).is_worn());
}
