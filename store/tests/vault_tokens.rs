//! Token domains and tokens: every write's condition, both ways, and who wins when many write at once.
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

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use helpers::wait;
use rusqlite::{Connection, params};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use tally_domain::ports::store::tokens::{
    KeyWrite, NewDomain, NewToken, Sealed, TokenConflict, TokenRow, Vault as _, VaultConflict, VaultWrite,
};
use tally_domain::ports::store::{Step, Store as _, StoreError, Write};
use tally_domain::token::{DataKeyNumber, DomainState, IndexKeyNumber, Reuse, StoredState, Token, TokenDomain};
use tally_domain::{Tenant, UnixMillis};
use tally_store::SqliteStore;
use tally_tokenization::bind::row_aad;
use vault::*;

fn place(at: usize, conflict: TokenConflict) -> VaultConflict {
    VaultConflict::Tokens(vec![(at, conflict)])
}

fn row(s: &SqliteStore, domain: &TokenDomain, n: u64) -> TokenRow {
    s.token(domain, &token(n)).unwrap().unwrap()
}

#[test]
fn a_domain_is_what_it_was_made_and_its_name_is_taken_for_ever() {
    let (_dir, s) = store();
    let new = || new_domain(random(), Reuse::Random);
    fits(&s, VaultWrite::PutDomain(new()));
    fits(&s, VaultWrite::PutDomain(new()));
    for other in [
        NewDomain { record: b"other format".to_vec(), ..new() },
        NewDomain { reuse: Reuse::PerDomain, ..new() },
        NewDomain { home: helpers::node("node-2"), ..new() },
    ] {
        clashes(&s, VaultWrite::PutDomain(other), VaultConflict::DomainExists);
    }
    let row = s.token_domain(&random()).unwrap().unwrap();
    assert_eq!((row.record, row.state, row.reuse), (b"record".to_vec(), DomainState::Active, Reuse::Random));
    fits(&s, VaultWrite::DeleteDomain { domain: random(), at: AT });
    fits(&s, VaultWrite::DeleteDomain { domain: random(), at: AT });
    clashes(&s, VaultWrite::PutDomain(new()), VaultConflict::DomainExists);
    assert_eq!(s.token_domains().unwrap().len(), 1);
    assert_eq!(s.token_domain(&domain("nothing")).unwrap(), None);
    clashes(&s, put(&domain("nothing"), vec![]), VaultConflict::NoDomain);
}

#[test]
fn a_token_reads_back_as_it_was_put() {
    let (_dir, s) = with_domains();
    let new = NewToken {
        subject: Some(subject("customer-7")),
        expires_at: Some(UnixMillis(AT.0 + 5)),
        uses_left: Some(3),
        ..new_token(1, 1)
    };
    fits(&s, put(&random(), vec![new.clone()]));
    let expected = TokenRow {
        token: new.token.clone(),
        state: StoredState::Active,
        sealed: new.sealed.clone(),
        about: Some(new.about.clone()),
        subject: new.subject.clone(),
        expires_at: new.expires_at,
        uses_left: new.uses_left,
        made_at: AT,
    };
    assert_eq!(row(&s, &random(), 1), expected);
    assert_eq!(of_card(&s, &random(), 1, 1), [token(1)]);
    assert_eq!(s.tokens(&random(), None, 10).unwrap(), [expected]);
    // Of another domain or tenant: nothing, as if it were unknown.
    let elsewhere = TokenDomain { tenant: Tenant::parse("globex").unwrap(), ..random() };
    for other in [reusing(), elsewhere] {
        assert_eq!(s.token(&other, &token(1)).unwrap(), None);
        assert!(of_card(&s, &other, 1, 1).is_empty());
    }
}

#[test]
fn all_new_tokens_or_none_and_each_that_does_not_fit_is_named() {
    let (_dir, s) = with_domains();
    fits(&s, put(&reusing(), vec![new_token(1, 1)]));
    let batch = vec![new_token(2, 2), new_token(1, 3), new_token(4, 1), new_token(5, 5), new_token(6, 5)];
    let write = Write::Vault(put(&reusing(), batch));
    let result = wait(s.commit(Step { writes: vec![write], leaves: vec![b"told".to_vec()] }));
    let conflicts = vec![
        (1, TokenConflict::Taken),
        (2, TokenConflict::Fingerprint(token(1))),
        (4, TokenConflict::Fingerprint(token(5))),
    ];
    assert_eq!(result, Err(StoreError::Vault(VaultConflict::Tokens(conflicts))));
    assert_eq!((s.tokens(&reusing(), None, 10).unwrap().len(), s.log_size().unwrap()), (1, 0));
    fits(&s, put(&reusing(), vec![new_token(2, 2), new_token(5, 5)]));
    assert_eq!(s.tokens(&reusing(), None, 10).unwrap().len(), 3);
}

#[test]
fn of_many_who_bring_one_card_one_wins_and_the_others_get_its_token() {
    let (_dir, s) = with_domains();
    let threads = 16_u64;
    let got: Vec<BTreeMap<u64, Token>> = std::thread::scope(|scope| {
        let work = |thread: u64| {
            let s = &s;
            move || {
                let tokenize = |card| match commit(s, vec![put(&reusing(), vec![new_token(thread * 100 + card, card)])])
                {
                    Ok(_) => token(thread * 100 + card),
                    Err(StoreError::Vault(VaultConflict::Tokens(conflicts))) => match conflicts.as_slice() {
                        [(0, TokenConflict::Fingerprint(first))] => first.clone(),
                        other => panic!("{other:?}"),
                    },
                    Err(other) => panic!("{other:?}"),
                };
                (0..20).map(|card| (card, tokenize(card))).collect()
            }
        };
        let handles: Vec<_> = (0..threads).map(|thread| scope.spawn(work(thread))).collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).collect()
    });
    assert!(got.iter().all(|tokens| *tokens == got[0]));
    assert_eq!(s.tokens(&reusing(), None, 1_000).unwrap().len(), 20);
    for card in 0..20 {
        assert_eq!(of_card(&s, &reusing(), 1, card), [got[0][&card].clone()]);
    }
}

#[test]
fn where_tokens_are_reused_for_a_subject_another_subject_gets_its_own() {
    let (_dir, s) = store();
    fits(&s, VaultWrite::PutDomain(new_domain(reusing(), Reuse::PerSubject)));
    let of = |n, who: Option<&str>| NewToken { subject: who.map(subject), ..new_token(n, 1) };
    fits(&s, put(&reusing(), vec![of(1, Some("a")), of(2, Some("b")), of(3, None)]));
    for (n, who, first) in [(4, Some("a"), 1), (5, Some("b"), 2), (6, None, 3)] {
        clashes(&s, put(&reusing(), vec![of(n, who)]), place(0, TokenConflict::Fingerprint(token(first))));
    }
    assert_eq!(of_card(&s, &reusing(), 1, 1).len(), 3);
    let of_a = s.tokens_of_card(&reusing(), (IndexKeyNumber(1), fingerprint(1)), Some(&subject("a")), 9).unwrap();
    assert_eq!(of_a, [token(1)]);
}

#[test]
fn where_every_token_is_new_a_card_has_many() {
    let (_dir, s) = with_domains();
    fits(&s, put(&random(), (0..50).map(|n| new_token(n, 1)).collect()));
    fits(&s, put(&random(), (50..60).map(|n| new_token(n, 1)).collect()));
    let mut expected: Vec<_> = (0..60).map(token).collect();
    expected.sort();
    assert_eq!(of_card(&s, &random(), 1, 1), expected);
    assert_eq!(s.tokens_of_card(&random(), (IndexKeyNumber(1), fingerprint(1)), None, 7).unwrap(), expected[..7]);
}

#[test]
fn a_token_that_has_expired_gives_its_place_up_but_stays() {
    let (_dir, s) = with_domains();
    let expires = UnixMillis(AT.0 + 10);
    fits(&s, put(&reusing(), vec![NewToken { expires_at: Some(expires), ..new_token(1, 1) }]));
    let later = |at| VaultWrite::PutTokens { domain: reusing(), tokens: vec![new_token(2, 1)], at };
    clashes(&s, later(UnixMillis(expires.0 - 1)), place(0, TokenConflict::Fingerprint(token(1))));
    fits(&s, later(expires));
    assert_eq!(of_card(&s, &reusing(), 1, 1), [token(2)]);
    clashes(&s, use_at(&reusing(), 1, expires), unfit(TokenConflict::Expired));
    fits(&s, use_at(&reusing(), 2, expires));
}

#[test]
fn uses_are_counted_even_when_many_use_at_once() {
    let (_dir, s) = with_domains();
    fits(&s, put(&random(), vec![NewToken { uses_left: Some(3), ..new_token(1, 1) }, new_token(2, 2)]));
    let (used, refused) = (AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| match commit(&s, vec![use_at(&random(), 1, AT)]) {
                Ok(_) => used.fetch_add(1, Ordering::SeqCst),
                Err(e) => {
                    assert_eq!(e, StoreError::Vault(unfit(TokenConflict::UsedUp)));
                    refused.fetch_add(1, Ordering::SeqCst)
                }
            });
        }
    });
    assert_eq!((used.into_inner(), refused.into_inner()), (3, 9));
    assert_eq!(row(&s, &random(), 1).uses_left, Some(0));
    (0..10).for_each(|_| fits(&s, use_at(&random(), 2, AT)));
}

#[test]
fn a_token_is_used_only_in_the_state_for_it() {
    let (_dir, s) = with_domains();
    let mortal = NewToken { expires_at: Some(UnixMillis(AT.0 + 1)), ..new_token(2, 2) };
    fits(&s, put(&random(), vec![new_token(1, 1), mortal, new_token(3, 3)]));
    fits(&s, suspend(&random(), 1, true));
    clashes(&s, use_at(&random(), 1, AT), unfit(TokenConflict::Suspended));
    fits(&s, suspend(&random(), 1, false));
    fits(&s, use_at(&random(), 1, AT));
    fits(&s, use_at(&random(), 2, AT));
    clashes(&s, use_at(&random(), 2, UnixMillis(AT.0 + 1)), unfit(TokenConflict::Expired));
    fits(&s, shred(&random(), &[3]));
    clashes(&s, use_at(&random(), 3, AT), unfit(TokenConflict::Shredded));
    clashes(&s, suspend(&random(), 3, false), unfit(TokenConflict::Shredded));
    for unknown in
        [use_at(&random(), 9, AT), use_at(&reusing(), 1, AT), suspend(&random(), 9, true), shred(&random(), &[9])]
    {
        clashes(&s, unknown, unfit(TokenConflict::Unknown));
    }
}

#[test]
fn a_suspended_domain_issues_and_uses_nothing_but_shreds() {
    let (_dir, s) = with_domains();
    fits(&s, put(&random(), vec![new_token(1, 1)]));
    let set = |state| VaultWrite::SetDomainState { domain: random(), state, at: AT };
    fits(&s, set(DomainState::Suspended));
    clashes(&s, put(&random(), vec![new_token(2, 2)]), VaultConflict::Suspended);
    clashes(&s, use_at(&random(), 1, AT), VaultConflict::Suspended);
    fits(&s, set(DomainState::Active));
    fits(&s, use_at(&random(), 1, AT));
    fits(&s, set(DomainState::Suspended));
    fits(&s, shred(&random(), &[1]));
}

#[test]
fn of_a_shredded_token_only_its_name_is_left() {
    let (_dir, s) = with_domains();
    let of = |n, who: &str| NewToken { subject: Some(subject(who)), ..new_token(n, n) };
    fits(&s, put(&reusing(), vec![of(1, "ann"), of(2, "ann"), of(3, "bob")]));
    let tokens_of = |who: &str, after| s.tokens_of_subject(&reusing(), &subject(who), after, 10).unwrap();
    let mut of_ann = vec![token(1), token(2)];
    of_ann.sort();
    assert_eq!(tokens_of("ann", None), of_ann);
    assert_eq!(tokens_of("ann", Some(&of_ann[0])), of_ann[1..]);
    fits(&s, shred(&reusing(), &[1]));
    assert_eq!(tokens_of("ann", None), [token(2)]);
    fits(&s, shred(&reusing(), &[1, 2]));
    let bare = TokenRow {
        token: token(1),
        state: StoredState::Shredded,
        sealed: None,
        about: None,
        subject: None,
        expires_at: None,
        uses_left: None,
        made_at: AT,
    };
    assert_eq!(row(&s, &reusing(), 1), bare);
    assert!(of_card(&s, &reusing(), 1, 1).is_empty() && tokens_of("ann", None).is_empty());
    assert_eq!(tokens_of("bob", None), [token(3)]);
    clashes(&s, put(&reusing(), vec![new_token(1, 9)]), place(0, TokenConflict::Taken));
    fits(&s, put(&reusing(), vec![new_token(4, 1)]));
}

#[test]
fn a_bucket_is_never_filled_beyond_its_limit_and_counts_what_was_shredded() {
    let (_dir, s) = with_domains();
    let of = |n, bucket: &str| NewToken { bucket: Some((bucket.into(), 2)), ..new_token(n, n) };
    fits(&s, put(&random(), vec![of(1, "a"), of(2, "b"), of(3, "a")]));
    fits(&s, shred(&random(), &[1]));
    clashes(&s, put(&random(), vec![of(4, "b"), of(5, "a")]), place(1, TokenConflict::BucketFull));
    fits(&s, put(&random(), vec![of(4, "b")]));
    clashes(&s, put(&random(), vec![of(6, "b")]), place(0, TokenConflict::BucketFull));
}

#[test]
fn new_tokens_are_under_the_current_keys_all_of_them_and_no_others() {
    let (_dir, s) = with_domains();
    let print = |key| (IndexKeyNumber(key), fingerprint(1));
    for wrong in [
        NewToken { sealed: Some(sealed(1, 2)), ..new_token(1, 1) },
        NewToken { sealed: None, ..new_token(1, 1) },
        NewToken { fingerprints: vec![], ..new_token(1, 1) },
        NewToken { fingerprints: vec![print(2)], ..new_token(1, 1) },
        NewToken { fingerprints: vec![print(1), print(2)], ..new_token(1, 1) },
        NewToken { fingerprints: vec![print(1), print(1)], ..new_token(1, 1) },
    ] {
        clashes(&s, put(&random(), vec![wrong]), place(0, TokenConflict::Keys));
    }
    let one_way = NewDomain { data_key: None, ..new_domain(domain("one-way"), Reuse::PerDomain) };
    fits(&s, VaultWrite::PutDomain(one_way));
    clashes(&s, put(&domain("one-way"), vec![new_token(1, 1)]), place(0, TokenConflict::Keys));
    fits(&s, put(&domain("one-way"), vec![NewToken { sealed: None, ..new_token(1, 1) }]));
    assert_eq!(row(&s, &domain("one-way"), 1).sealed, None);
}

/// The AAD is the caller's: a row that somebody put under another token, domain or version does not open.
#[test]
fn swapped_rows_do_not_open() {
    let (dir, s) = with_domains();
    let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).unwrap());
    let seal = |n: u64, pan: &[u8]| {
        let (mut bytes, iv) = (pan.to_vec(), sealed(n, 1).iv);
        let aad = Aad::from(row_aad(&random(), &token(n), DataKeyNumber(1)).0);
        cipher.seal_in_place_append_tag(Nonce::assume_unique_for_key(iv), aad, &mut bytes).unwrap();
        NewToken { sealed: Some(Sealed { key: DataKeyNumber(1), iv, ciphertext: bytes }), ..new_token(n, n) }
    };
    let open = |n: u64| {
        let row = s.token(&random(), &token(n)).unwrap().unwrap();
        let sealed = row.sealed.unwrap();
        let aad = Aad::from(row_aad(&random(), &row.token, sealed.key).0);
        let mut bytes = sealed.ciphertext;
        let nonce = Nonce::assume_unique_for_key(sealed.iv);
        cipher.open_in_place(nonce, aad, &mut bytes).map(|pan| pan.to_vec()).ok()
    };
    fits(&s, put(&random(), vec![seal(1, b"4111111111111111"), seal(2, b"5555555555554444")]));
    assert_eq!(open(1).as_deref(), Some(&b"4111111111111111"[..]));
    let raw = Connection::open(dir.path().join("node.db")).unwrap();
    let swap =
        "UPDATE token SET iv = CASE token WHEN ?1 THEN ?4 ELSE ?3 END, sealed = CASE token WHEN ?1 THEN ?6 ELSE ?5 END
                WHERE token IN (?1, ?2)";
    let [one, two] = [1, 2].map(|n| row(&s, &random(), n).sealed.unwrap());
    let (a, b) = (token(1), token(2));
    let swapped = raw.execute(swap, params![a.as_str(), b.as_str(), one.iv, two.iv, one.ciphertext, two.ciphertext]);
    assert_eq!(swapped.unwrap(), 2);
    assert_eq!((open(1), open(2)), (None, None));
    // What was sealed under another version: the number alone does not make it this one's.
    fits(&s, put(&random(), vec![seal(3, b"378282246310005")]));
    fits(&s, VaultWrite::Key(KeyWrite::AddDataKey { domain: random(), key: wrapped(2), shred: false, at: AT }));
    assert_eq!(raw.execute("UPDATE token SET data_key = 2 WHERE token = ?1", [token(3).as_str()]).unwrap(), 1);
    assert_eq!((row(&s, &random(), 3).sealed.unwrap().key, open(3)), (DataKeyNumber(2), None));
}

/// What the schema refuses, whoever writes.
#[test]
fn the_tables_guard_themselves() {
    let (dir, s) = with_domains();
    fits(&s, put(&reusing(), vec![new_token(1, 1), new_token(2, 2)]));
    fits(&s, shred(&reusing(), &[2]));
    fits(&s, VaultWrite::DeleteDomain { domain: random(), at: AT });
    let raw = Connection::open(dir.path().join("node.db")).unwrap();
    for sql in [
        "UPDATE token_domain SET record = x'00'",
        "UPDATE token_domain SET reuse = 1",
        "UPDATE token_domain SET state = 1 WHERE name = 'random'",
        "DELETE FROM token_domain",
        "UPDATE data_key SET state = 2, kek = 'k', kek_version = 1, wrapped = x'00' WHERE state = 4",
        "UPDATE data_key SET wrapped = NULL WHERE state = 2",
        "UPDATE token SET state = 1, brand = 1, bin = '4', last4 = '1111', digits = 16 WHERE state = 3",
        "UPDATE token SET state = 3 WHERE state = 1",
        "UPDATE token SET iv = x'00'",
        "UPDATE token SET uses_left = -1",
        "UPDATE token SET data_key = 9 WHERE state = 1",
        "INSERT INTO fingerprint SELECT domain, 'other', index_key, fingerprint, scope, draw FROM fingerprint",
    ] {
        assert!(raw.execute(sql, []).is_err(), "{sql}");
    }
    assert_eq!(of_card(&s, &reusing(), 1, 1), [token(1)]);
}
