//! Keys of token domains: versions, rotations that can stop anywhere, retirement, and the end of a domain.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    dead_code,
    reason = "tests fail loudly"
)]

#[path = "support/helpers.rs"]
mod helpers;
#[path = "support/vault.rs"]
mod vault;

use rusqlite::Connection;
use tally_domain::ports::hsm::IndexKeyId;
use tally_domain::ports::store::StoreError;
use tally_domain::ports::store::tokens::{
    CursorWrite, DomainKek, DoomedKey, ImportRow, KekKind, KeyWrite, NewDomain, NewToken, Resealed, Rotated,
    RotationState, TokenConflict, Vault as _, VaultConflict, VaultWrite, WrappedKey,
};
use tally_domain::token::{DataKeyNumber, IndexKeyNumber, Reuse, StoredState, Token, TokenDomain, VersionState};
use tally_domain::{KekNumber, RequestId, UnixMillis};
use tally_store::SqliteStore;
use tally_tokenization::rotation::{Rotation, Running};
use vault::*;

fn add_data_key(n: u8) -> VaultWrite {
    key(KeyWrite::AddDataKey { domain: random(), key: wrapped(n), shred: false, at: AT })
}

fn retire(number: u32) -> VaultWrite {
    key(KeyWrite::RetireDataKey { domain: random(), number: DataKeyNumber(number), at: AT })
}

fn under(n: u64, key: u32) -> NewToken {
    NewToken { sealed: Some(sealed(n, key)), ..new_token(n, n) }
}

fn running(s: &SqliteStore, domain: &TokenDomain, what: Rotated) -> Running {
    match Rotation::of(domain.clone(), s.rotation(domain, what).unwrap().unwrap()) {
        Rotation::Running(running) => running,
        other => panic!("{other:?}"),
    }
}

/// One page of a rotation of the data key to version `to`, with its cursor in the same step; whether there was one.
fn reseal_page(s: &SqliteStore, to: u32, limit: u32) -> bool {
    let running = running(s, &random(), Rotated::DataKey);
    let page = s.tokens(&random(), running.after(), limit).unwrap();
    let Some(last) = page.last() else {
        fits(s, cursor(running.finish(AT).1));
        return false;
    };
    let (_, write) = running.page(last.token.clone(), u32::try_from(page.len()).unwrap(), AT).unwrap();
    let rows = page.iter().filter_map(|row| {
        let old = row.sealed.as_ref().filter(|sealed| sealed.key.0 != to)?;
        let fresh = sealed(u64::from(old.iv[0]) + 1_000 * u64::from(old.iv[1]) + 1_000_000, to);
        Some(Resealed { token: row.token.clone(), from: old.key, old_iv: old.iv, sealed: fresh })
    });
    let reseal = key(KeyWrite::Reseal { domain: random(), rows: rows.collect() });
    commit(s, vec![reseal, cursor(write)]).unwrap();
    true
}

fn keys(s: &SqliteStore) -> Vec<(u32, VersionState, u64, u64)> {
    let rows = s.data_keys(&random()).unwrap();
    rows.iter().map(|k| (k.number.0, k.state, k.tokens, k.sealed)).collect()
}

fn names(s: &SqliteStore, domain: &TokenDomain) -> Vec<Token> {
    s.tokens(domain, None, 10_000).unwrap().into_iter().map(|row| row.token).collect()
}

#[test]
fn a_data_key_is_rotated_page_by_page_and_the_tokens_stay() {
    let (dir, path) = database();
    let s = SqliteStore::open(&path).unwrap();
    fits(&s, VaultWrite::PutDomain(new_domain(random(), Reuse::Random)));
    fits(&s, put(&random(), (0..50).map(|n| under(n, 1)).collect()));
    let before = names(&s, &random());
    clashes(&s, retire(1), VaultConflict::Key);
    fits(&s, add_data_key(2));
    clashes(&s, put(&random(), vec![under(50, 1)]), VaultConflict::Tokens(vec![(0, TokenConflict::Keys)]));
    fits(&s, put(&random(), vec![under(50, 2)]));
    clashes(&s, retire(1), VaultConflict::Needed { tokens: 50 });
    assert!(reseal_page(&s, 2, 20));
    assert_eq!(
        keys(&s),
        [(1, VersionState::Previous, 50 - moved(&s), 50), (2, VersionState::Current, 1 + moved(&s), 1 + moved(&s))]
    );

    // The node stops here, and goes on from what was written down.
    drop(s);
    let s = SqliteStore::open(&path).unwrap();
    assert_eq!(s.rotation(&random(), Rotated::DataKey).unwrap().unwrap().done, 20);
    while reseal_page(&s, 2, 20) {}
    assert_eq!(keys(&s), [(1, VersionState::Previous, 0, 50), (2, VersionState::Current, 51, 51)]);
    fits(&s, retire(1));
    clashes(&s, retire(1), VaultConflict::Key);
    let old = s.data_keys(&random()).unwrap().remove(0);
    assert_eq!((old.state, old.wrapped), (VersionState::Destroyed, None));
    let mut expected = [before, vec![token(50)]].concat();
    expected.sort();
    assert_eq!(names(&s, &random()), expected);
    drop(dir);
}

/// Rows that are under the second key because a rotation brought them there.
fn moved(s: &SqliteStore) -> u64 {
    let rows = s.tokens(&random(), None, 1_000).unwrap();
    rows.iter().filter(|row| row.sealed.as_ref().unwrap().key.0 == 2 && row.token != token(50)).count() as u64
}

#[test]
fn a_row_that_changed_meanwhile_is_left_as_it_is() {
    let (_dir, s) = with_domains();
    fits(&s, put(&random(), vec![under(1, 1), under(2, 1)]));
    fits(&s, add_data_key(2));
    let reseal = |n: u64, old_iv, from, to| {
        let row = Resealed { token: token(n), from: DataKeyNumber(from), old_iv, sealed: sealed(n + 100, to) };
        key(KeyWrite::Reseal { domain: random(), rows: vec![row] })
    };
    fits(&s, shred(&random(), &[1]));
    fits(&s, reseal(1, sealed(1, 1).iv, 1, 2));
    assert_eq!(s.token(&random(), &token(1)).unwrap().unwrap().state, StoredState::Shredded);
    fits(&s, reseal(2, sealed(9, 1).iv, 1, 2));
    assert_eq!(s.token(&random(), &token(2)).unwrap().unwrap().sealed, Some(sealed(2, 1)));
    clashes(&s, reseal(2, sealed(2, 1).iv, 1, 1), VaultConflict::Key);
    fits(&s, reseal(2, sealed(2, 1).iv, 1, 2));
    assert_eq!(s.token(&random(), &token(2)).unwrap().unwrap().sealed, Some(sealed(102, 2)));
}

#[test]
fn a_rotation_waits_goes_on_and_excludes_another() {
    let (_dir, s) = with_domains();
    fits(&s, put(&random(), (0..5).map(|n| under(n, 1)).collect()));
    let set = |state| cursor(CursorWrite::SetRotation { domain: random(), what: Rotated::DataKey, state, at: AT });
    clashes(&s, set(RotationState::Paused), VaultConflict::Cursor);
    fits(&s, add_data_key(2));
    clashes(&s, add_data_key(3), VaultConflict::Rotating);
    fits(&s, set(RotationState::Paused));
    clashes(&s, add_data_key(3), VaultConflict::Rotating);
    let rotated = |n: u64| {
        let (domain, after) = (random(), token(n));
        cursor(CursorWrite::Rotated { domain, what: Rotated::DataKey, after, tokens: 1, at: AT })
    };
    clashes(&s, rotated(0), VaultConflict::Cursor);
    clashes(&s, set(RotationState::Finished), VaultConflict::Cursor);
    fits(&s, set(RotationState::Running));
    fits(&s, rotated(0));
    clashes(&s, rotated(0), VaultConflict::Cursor);
    let (behind, before): (Vec<u64>, Vec<u64>) = (1..5).partition(|n| token(*n) > token(0));
    before.into_iter().for_each(|n| clashes(&s, rotated(n), VaultConflict::Cursor));
    behind.into_iter().take(1).for_each(|n| fits(&s, rotated(n)));
    fits(&s, set(RotationState::Finished));
    clashes(&s, set(RotationState::Running), VaultConflict::Cursor);
    fits(&s, add_data_key(3));
    assert_eq!(s.rotation(&random(), Rotated::DataKey).unwrap().unwrap().after, None);
}

#[test]
fn a_kek_goes_only_when_no_data_key_is_under_it_and_its_key_is_then_the_tokens_to_destroy() {
    let (_dir, s) = with_domains();
    let first = s.domain_keks(&random()).unwrap().remove(0).kek;
    let newer = |n| WrappedKey { kek_version: KekNumber(2), ..wrapped(n) };
    let retire = |n| key(KeyWrite::RetireKek { domain: random(), number: KekNumber(n), at: AT });
    let rewrap = |from, to| key(KeyWrite::Rewrap { domain: random(), number: DataKeyNumber(1), from, to });
    clashes(&s, retire(1), VaultConflict::Needed { tokens: 1 });
    let strict = DomainKek { kind: KekKind::Wrapping, ..kek(200) };
    clashes(&s, key(KeyWrite::AddKek { domain: random(), kek: strict, at: AT }), VaultConflict::Key);
    fits(&s, key(KeyWrite::AddKek { domain: random(), kek: kek(200), at: AT }));
    clashes(&s, retire(1), VaultConflict::Needed { tokens: 1 });
    clashes(&s, retire(2), VaultConflict::Key);
    clashes(&s, rewrap(newer(1), newer(2)), VaultConflict::Key);
    fits(&s, rewrap(wrapped(1), newer(1)));
    clashes(&s, rewrap(wrapped(1), newer(1)), VaultConflict::Key);
    let under = |s: &SqliteStore| s.domain_keks(&random()).unwrap().iter().map(|k| k.data_keys).collect::<Vec<_>>();
    assert_eq!(under(&s), [0, 1]);
    assert_eq!(s.doomed_keys().unwrap(), []);
    fits(&s, retire(1));
    assert_eq!(s.doomed_keys().unwrap(), [DoomedKey::Kek(first)]);
    clashes(&s, retire(1), VaultConflict::Key);
    for _ in 0..2 {
        fits(&s, VaultWrite::Gone(DoomedKey::Kek(first)));
        assert_eq!(s.doomed_keys().unwrap(), []);
    }
    let states: Vec<_> = s.domain_keks(&random()).unwrap().iter().map(|k| k.state).collect();
    assert_eq!(states, [VersionState::Destroyed, VersionState::Current]);
    // All that are left, when the domain goes.
    fits(&s, VaultWrite::DeleteDomain { domain: random(), at: AT });
    let index = s.index_keys(&random()).unwrap().remove(0).object;
    let left: std::collections::BTreeSet<_> = s.doomed_keys().unwrap().into_iter().collect();
    assert_eq!(left, [DoomedKey::Kek(kek(200)), DoomedKey::Index(IndexKeyId(index))].into());
}

#[test]
fn a_data_key_that_is_spent_encrypts_nothing_more() {
    let (dir, s) = with_domains();
    let raw = Connection::open(dir.path().join("node.db")).unwrap();
    raw.execute("UPDATE data_key SET sealed = 2147483648 - 2", []).unwrap();
    let spent = |at| VaultConflict::Tokens(vec![(at, TokenConflict::Spent)]);
    clashes(&s, put(&random(), vec![under(1, 1), under(2, 1), under(3, 1)]), spent(2));
    fits(&s, put(&random(), vec![under(1, 1), under(2, 1)]));
    clashes(&s, put(&random(), vec![under(3, 1)]), spent(0));
    fits(&s, add_data_key(2));
    raw.execute("UPDATE data_key SET sealed = 2147483648 WHERE number = 2", []).unwrap();
    let row = Resealed { token: token(1), from: DataKeyNumber(1), old_iv: sealed(1, 1).iv, sealed: sealed(7, 2) };
    let reseal = key(KeyWrite::Reseal { domain: random(), rows: vec![row] });
    clashes(&s, reseal, unfit(TokenConflict::Spent));
}

#[test]
fn an_index_key_is_filled_before_it_is_used_and_emptied_before_it_goes() {
    let (_dir, s) = with_domains();
    fits(&s, put(&reusing(), (0..10).map(|n| new_token(n, n)).collect()));
    fits(&s, shred(&reusing(), &[9]));
    let add = || key(KeyWrite::AddIndexKey { domain: reusing(), object: [2; 16], shred: false, at: AT });
    let switch = || key(KeyWrite::SwitchIndexKey { domain: reusing(), at: AT });
    clashes(&s, switch(), VaultConflict::Key);
    fits(&s, add());
    clashes(&s, add(), VaultConflict::Rotating);

    // New tokens are found under both keys from now on.
    let both = |n, card| {
        let prints = [1, 2].map(|key| (IndexKeyNumber(key), fingerprint(card + 100 * u64::from(key - 1))));
        NewToken { fingerprints: prints.to_vec(), ..new_token(n, card) }
    };
    let keys_changed = VaultConflict::Tokens(vec![(0, TokenConflict::Keys)]);
    clashes(&s, put(&reusing(), vec![new_token(20, 20)]), keys_changed);
    fits(&s, put(&reusing(), vec![both(20, 20)]));
    let has_one = VaultConflict::Tokens(vec![(0, TokenConflict::Fingerprint(token(3)))]);
    clashes(&s, put(&reusing(), vec![both(21, 3)]), has_one);

    let fill = |numbers: std::ops::Range<u64>| {
        let rows = numbers.map(|n| (token(n), fingerprint(n + 100))).collect();
        key(KeyWrite::PutFingerprints { domain: reusing(), rows })
    };
    fits(&s, fill(0..5));
    fits(&s, fill(0..5));
    clashes(&s, switch(), VaultConflict::Cursor);
    fits(&s, cursor(running(&s, &reusing(), Rotated::IndexKey).finish(AT).1));
    clashes(&s, switch(), VaultConflict::Needed { tokens: 4 });
    fits(&s, fill(5..10));
    fits(&s, switch());
    let states: Vec<_> = s.index_keys(&reusing()).unwrap().iter().map(|k| k.state).collect();
    assert_eq!(states, [VersionState::Previous, VersionState::Current]);
    for card in (0..9).chain([20]) {
        assert_eq!(of_card(&s, &reusing(), 2, card + 100), [token(card)]);
    }
    assert!(of_card(&s, &reusing(), 2, 109).is_empty(), "a shredded token is not found");

    let retire = |number| {
        let number = IndexKeyNumber(number);
        key(KeyWrite::RetireIndexKey { domain: reusing(), number, fingerprints_max: 6, at: AT })
    };
    clashes(&s, retire(2), VaultConflict::Key);
    fits(&s, retire(1));
    assert_eq!(s.index_keys(&reusing()).unwrap()[0].state, VersionState::Previous);
    fits(&s, retire(1));
    assert_eq!(s.index_keys(&reusing()).unwrap()[0].state, VersionState::Destroyed);
    assert!((0..10).all(|card| of_card(&s, &reusing(), 1, card).is_empty()));
}

#[test]
fn a_domain_that_keeps_no_card_numbers_has_keys_that_cannot_be_rotated() {
    let (_dir, s) = store();
    let one_way = NewDomain { data_key: None, ..new_domain(random(), Reuse::PerDomain) };
    fits(&s, VaultWrite::PutDomain(one_way));
    clashes(&s, add_data_key(1), VaultConflict::Key);
    let add = key(KeyWrite::AddIndexKey { domain: random(), object: [2; 16], shred: false, at: AT });
    clashes(&s, add, VaultConflict::Key);
    assert!(s.data_keys(&random()).unwrap().is_empty());
}

#[test]
fn a_deleted_domain_loses_its_keys_at_once_and_its_rows_in_pages() {
    let (_dir, s) = with_domains();
    let of = |n| NewToken { subject: Some(subject("ann")), bucket: Some(("b".into(), 9)), ..new_token(n, n) };
    fits(&s, put(&random(), (0..5).map(of).collect()));
    let purge = || VaultWrite::PurgeDomain { domain: random(), tokens_max: 2 };
    clashes(&s, purge(), VaultConflict::NotDeleted);
    fits(&s, VaultWrite::DeleteDomain { domain: random(), at: AT });
    let keys = s.data_keys(&random()).unwrap();
    assert!(keys.iter().all(|k| k.state == VersionState::Destroyed && k.wrapped.is_none()));
    assert!(s.index_keys(&random()).unwrap().iter().all(|k| k.state == VersionState::Destroyed));
    assert_eq!(s.token(&random(), &token(1)).unwrap(), None);
    assert!(of_card(&s, &random(), 1, 1).is_empty() && names(&s, &random()).is_empty());
    for write in [put(&random(), vec![]), use_at(&random(), 1, AT), shred(&random(), &[1]), add_data_key(2), retire(1)]
    {
        clashes(&s, write, VaultConflict::Deleted);
    }
    for left in [3, 1, 0, 0] {
        fits(&s, purge());
        assert_eq!(s.data_keys(&random()).unwrap()[0].tokens, left);
    }
    fits(&s, put(&reusing(), vec![new_token(1, 1)]));
}

#[test]
fn an_import_goes_forward_in_its_own_file() {
    let (_dir, s) = with_domains();
    let at = |lines, rejected| ImportRow {
        domain: random(),
        import: RequestId([7; 16]),
        source: [1; 32],
        lines,
        rejected,
        updated_at: UnixMillis(lines),
    };
    let imported = |row| cursor(CursorWrite::Imported(row));
    fits(&s, imported(at(100, 2)));
    fits(&s, imported(at(200, 2)));
    clashes(&s, imported(at(199, 2)), VaultConflict::Import);
    clashes(&s, imported(at(300, 1)), VaultConflict::Import);
    clashes(&s, imported(ImportRow { source: [2; 32], ..at(300, 2) }), VaultConflict::Import);

    // A page that does not fit leaves the cursor where it was.
    fits(&s, put(&random(), vec![new_token(1, 1)]));
    let page = vec![imported(at(300, 3)), put(&random(), vec![new_token(1, 2)])];
    assert!(matches!(commit(&s, page), Err(StoreError::Vault(VaultConflict::Tokens(_)))));
    assert_eq!(s.import(&random(), &RequestId([7; 16])).unwrap(), Some(at(200, 2)));
    assert_eq!(s.import(&reusing(), &RequestId([7; 16])).unwrap(), None);
}
