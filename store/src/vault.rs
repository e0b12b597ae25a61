//! The vault's tables: what each write does and when it is refused, and what is read.

mod cursors;
mod domains;
mod issue;
pub(super) mod keks;
mod keys;
pub(super) mod read;
mod tokens;

use crate::sql::{column, damaged, first};
use crate::{SqliteStore, sql};
use rusqlite::{Connection, Row, params};
use tally_domain::ports::store::StoreError;
use tally_domain::ports::store::tokens::{
    DataKeyRow, DomainKekRow, DomainRow, DoomedKey, ImportRow, IndexKeyRow, Rotated, RotationRow, TokenRow, Vault,
    VaultConflict, VaultWrite,
};
use tally_domain::token::{DomainState, Fingerprint, IndexKeyNumber, Reuse, Token, TokenDomain};
use tally_domain::{RequestId, Subject};

/// Applies one write.
pub fn apply(c: &Connection, write: &VaultWrite) -> Result<(), StoreError> {
    match write {
        VaultWrite::PutDomain(new) => domains::put(c, new),
        VaultWrite::SetDomainState { domain, state, at } => domains::set_state(c, domain, *state, *at),
        VaultWrite::DeleteDomain { domain, at } => domains::delete(c, domain, *at),
        VaultWrite::PurgeDomain { domain, tokens_max } => domains::purge(c, domain, *tokens_max),
        VaultWrite::PutTokens { domain, tokens, at } => issue::put(c, domain, tokens, *at),
        VaultWrite::Use { domain, token, at } => tokens::spend(c, domain, token, *at),
        VaultWrite::Suspend { domain, token, suspended } => tokens::suspend(c, domain, token, *suspended),
        VaultWrite::Shred { domain, tokens } => tokens::shred(c, domain, tokens),
        VaultWrite::Gone(key) => keks::gone(c, *key),
        VaultWrite::Key(write) => keys::apply(c, write),
        VaultWrite::Cursor(write) => cursors::apply(c, write),
    }
}

/// A domain as writes need it.
struct Domain {
    id: i64,
    reuse: Reuse,
    state: DomainState,
}

/// A domain that is not deleted.
fn alive(c: &Connection, domain: &TokenDomain) -> Result<Domain, StoreError> {
    match find(c, domain)? {
        Some(Domain { state: DomainState::Deleted, .. }) => Err(VaultConflict::Deleted.into()),
        Some(found) => Ok(found),
        None => Err(VaultConflict::NoDomain.into()),
    }
}

/// A domain in which tokens are issued and used.
fn active(c: &Connection, domain: &TokenDomain) -> Result<Domain, StoreError> {
    match alive(c, domain)? {
        Domain { state: DomainState::Suspended, .. } => Err(VaultConflict::Suspended.into()),
        found => Ok(found),
    }
}

fn find(c: &Connection, domain: &TokenDomain) -> Result<Option<Domain>, StoreError> {
    let sql = "SELECT id, reuse, state FROM token_domain WHERE tenant = ?1 AND name = ?2";
    first(c, sql, params![domain.tenant.as_str(), domain.name.as_str()], |row| {
        Ok(Domain {
            id: column(row, 0)?,
            reuse: word(row, 1, Reuse::from_number, "token_domain: reuse")?,
            state: word(row, 2, DomainState::from_number, "token_domain: state")?,
        })
    })
}

/// A word that is stored as its number.
fn word<T>(row: &Row<'_>, at: usize, read: impl Fn(u8) -> Option<T>, what: &str) -> Result<T, StoreError> {
    let number: u8 = column(row, at)?;
    read(number).ok_or_else(|| damaged(format!("table {what} {number}")))
}

impl Vault for SqliteStore {
    fn token_domain(&self, domain: &TokenDomain) -> Result<Option<DomainRow>, StoreError> {
        read::domain(&self.reader(), domain)
    }

    fn token_domains(&self) -> Result<Vec<DomainRow>, StoreError> {
        read::domains(&self.reader())
    }

    fn data_keys(&self, domain: &TokenDomain) -> Result<Vec<DataKeyRow>, StoreError> {
        read::data_keys(&self.reader(), domain)
    }

    fn index_keys(&self, domain: &TokenDomain) -> Result<Vec<IndexKeyRow>, StoreError> {
        read::index_keys(&self.reader(), domain)
    }

    fn domain_keks(&self, domain: &TokenDomain) -> Result<Vec<DomainKekRow>, StoreError> {
        keks::all_of(&self.reader(), domain)
    }

    fn has_rows(&self, domain: &TokenDomain) -> Result<bool, StoreError> {
        read::has_rows(&self.reader(), domain)
    }

    fn doomed_keys(&self) -> Result<Vec<DoomedKey>, StoreError> {
        keks::doomed(&self.reader())
    }

    fn token(&self, domain: &TokenDomain, token: &Token) -> Result<Option<TokenRow>, StoreError> {
        read::token(&self.reader(), domain, token)
    }

    fn tokens(&self, domain: &TokenDomain, after: Option<&Token>, limit: u32) -> Result<Vec<TokenRow>, StoreError> {
        read::tokens(&self.reader(), domain, after, limit)
    }

    fn tokens_of_subject(
        &self,
        domain: &TokenDomain,
        subject: &Subject,
        after: Option<&Token>,
        limit: u32,
    ) -> Result<Vec<Token>, StoreError> {
        read::tokens_of_subject(&self.reader(), domain, subject, after, limit)
    }

    fn tokens_of_card(
        &self,
        domain: &TokenDomain,
        fingerprint: (IndexKeyNumber, Fingerprint),
        subject: Option<&Subject>,
        limit: u32,
    ) -> Result<Vec<Token>, StoreError> {
        read::tokens_of_card(&self.reader(), domain, fingerprint, subject, limit)
    }

    fn rotation(&self, domain: &TokenDomain, what: Rotated) -> Result<Option<RotationRow>, StoreError> {
        read::rotation(&self.reader(), domain, what)
    }

    fn import(&self, domain: &TokenDomain, import: &RequestId) -> Result<Option<ImportRow>, StoreError> {
        read::import(&self.reader(), domain, import)
    }

    fn forget(&self) -> Result<(), StoreError> {
        sql::empty_log(&self.reader())
    }
}
