//! Short ways to speak to the vault in tests.

use super::helpers::wait;
use std::path::PathBuf;
use tally_domain::digest::TaggedHash;
use tally_domain::ports::hsm::KekId;
use tally_domain::ports::store::tokens::{
    CardFacts, CursorWrite, DomainKek, KekKind, KeyWrite, NewDomain, NewToken, Sealed, TokenConflict, Vault as _,
    VaultConflict, VaultWrite, WrappedKey,
};
use tally_domain::ports::store::{Committed, Step, Store as _, StoreError, Write};
use tally_domain::token::{Bin, Brand, DataKeyNumber, Fingerprint, IndexKeyNumber, Last4, Reuse, Token, TokenDomain};
use tally_domain::{DomainName, KekNumber, KeyName, NodeName, Subject, Tenant, UnixMillis};
use tally_store::SqliteStore;

pub const AT: UnixMillis = UnixMillis(1_795_298_460_000);

pub fn store() -> (tempfile::TempDir, SqliteStore) {
    let (dir, path) = database();
    let store = SqliteStore::open(&path).unwrap();
    (dir, store)
}

pub fn database() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.db");
    (dir, path)
}

pub fn domain(name: &str) -> TokenDomain {
    TokenDomain { tenant: Tenant::parse("acme").unwrap(), name: DomainName::parse(name).unwrap() }
}

/// A domain that gives every card a new token.
pub fn random() -> TokenDomain {
    domain("random")
}

/// A domain in which a card has one token.
pub fn reusing() -> TokenDomain {
    domain("reusing")
}

pub fn wrapped(n: u8) -> WrappedKey {
    WrappedKey {
        kek: KeyName::parse("kek").unwrap(),
        kek_version: KekNumber(1),
        wrapped: hash("wrapped", n.into()).to_vec(),
    }
}

/// A KEK of a domain.
pub fn kek(n: u8) -> DomainKek {
    DomainKek { object: KekId([n; 16]), kind: KekKind::Sealing }
}

pub fn new_domain(domain: TokenDomain, reuse: Reuse) -> NewDomain {
    // A number of its own, for the names of its keys on the token.
    let record = hash(domain.name.as_str(), 0)[0];
    NewDomain {
        domain,
        record: b"record".to_vec(),
        home: NodeName::parse("node-1").unwrap(),
        reuse,
        data_key: Some((kek(record), wrapped(1))),
        index_key: [record; 16],
        at: AT,
    }
}

pub fn token(n: u64) -> Token {
    let text = hash("token", n).iter().map(|b| char::from(b'a' + b % 26)).collect::<String>();
    Token::parse(&format!("tok_{text}")).unwrap()
}

/// Thirty-two bytes that are found in a file only if they were written there.
pub fn hash(what: &str, n: u64) -> [u8; 32] {
    TaggedHash::new(what).number(n).finish().0
}

pub fn fingerprint(card: u64) -> Fingerprint {
    Fingerprint(hash("fingerprint", card))
}

pub fn sealed(n: u64, key: u32) -> Sealed {
    let mut iv = [0; 12];
    iv.copy_from_slice(&hash("iv", n)[..12]);
    Sealed { key: DataKeyNumber(key), iv, ciphertext: hash("ciphertext", n).to_vec() }
}

/// Token `n` for a card, under the first keys.
pub fn new_token(n: u64, card: u64) -> NewToken {
    NewToken {
        token: token(n),
        sealed: Some(sealed(n, 1)),
        fingerprints: vec![(IndexKeyNumber(1), fingerprint(card))],
        about: CardFacts {
            brand: Brand::Visa,
            bin: Bin::parse("41111111").unwrap(),
            last4: Last4::parse("1111").unwrap(),
            digits: 16,
        },
        subject: None,
        expires_at: None,
        uses_left: None,
        bucket: None,
    }
}

pub fn subject(name: &str) -> Subject {
    Subject::parse(name).unwrap()
}

pub fn commit(s: &SqliteStore, writes: Vec<VaultWrite>) -> Result<Committed, StoreError> {
    wait(s.commit(Step { writes: writes.into_iter().map(Write::Vault).collect(), leaves: vec![] }))
}

/// Commits one write and demands success.
pub fn fits(s: &SqliteStore, write: VaultWrite) {
    commit(s, vec![write]).unwrap();
}

/// Commits one write and demands a conflict.
pub fn clashes(s: &SqliteStore, write: VaultWrite, conflict: VaultConflict) {
    assert_eq!(commit(s, vec![write]), Err(StoreError::Vault(conflict)));
}

pub fn unfit(conflict: TokenConflict) -> VaultConflict {
    VaultConflict::Token(conflict)
}

pub fn put(domain: &TokenDomain, tokens: Vec<NewToken>) -> VaultWrite {
    VaultWrite::PutTokens { domain: domain.clone(), tokens, at: AT }
}

pub fn use_at(domain: &TokenDomain, n: u64, at: UnixMillis) -> VaultWrite {
    VaultWrite::Use { domain: domain.clone(), token: token(n), at }
}

pub fn suspend(domain: &TokenDomain, n: u64, suspended: bool) -> VaultWrite {
    VaultWrite::Suspend { domain: domain.clone(), token: token(n), suspended }
}

pub fn shred(domain: &TokenDomain, numbers: &[u64]) -> VaultWrite {
    VaultWrite::Shred { domain: domain.clone(), tokens: numbers.iter().map(|n| token(*n)).collect() }
}

pub fn key(write: KeyWrite) -> VaultWrite {
    VaultWrite::Key(write)
}

pub fn cursor(write: CursorWrite) -> VaultWrite {
    VaultWrite::Cursor(write)
}

/// A store with [`random`] and [`reusing`] in it.
pub fn with_domains() -> (tempfile::TempDir, SqliteStore) {
    let (dir, s) = store();
    fits(&s, VaultWrite::PutDomain(new_domain(random(), Reuse::Random)));
    fits(&s, VaultWrite::PutDomain(new_domain(reusing(), Reuse::PerDomain)));
    (dir, s)
}

pub fn of_card(s: &SqliteStore, domain: &TokenDomain, index_key: u32, card: u64) -> Vec<Token> {
    s.tokens_of_card(domain, (IndexKeyNumber(index_key), fingerprint(card)), None, 100).unwrap()
}
