//! Reads of the vault. Of a deleted domain there is nothing but the domain itself.

use super::{cursors, word};
use crate::read::{name, number};
use crate::sql::{all, column, damaged, first};
use rusqlite::{Connection, Row, params};
use tally_domain::ports::store::StoreError;
use tally_domain::ports::store::tokens::{
    CardFacts, DataKeyRow, DomainRow, ImportRow, IndexKeyRow, Rotated, RotationRow, Sealed, TokenRow, WrappedKey,
};
use tally_domain::token::{
    Bin, Brand, DataKeyNumber, DomainState, Fingerprint, IndexKeyNumber, Last4, Reuse, StoredState, Token, TokenDomain,
    VersionState,
};
use tally_domain::{KekNumber, RequestId, Subject, UnixMillis};

const DOMAIN: &str = "SELECT tenant, name, record, home, reuse, state, made_at FROM token_domain";
const TOKEN: &str = "SELECT t.token, t.state, t.data_key, t.iv, t.sealed, t.brand, t.bin, t.last4, t.digits, s.name,
                            t.expires_at, t.uses_left, t.made_at
                     FROM token t JOIN token_domain d ON d.id = t.domain LEFT JOIN token_subject s ON s.id = t.subject
                     WHERE d.tenant = ?1 AND d.name = ?2 AND d.state <> 3";

/// Left to itself the engine takes the primary key and walks the whole domain; the index named here is the one of the
/// table's `UNIQUE`. A statement that cannot use it does not prepare.
const TOKENS_OF_CARD: &str =
    "SELECT f.token FROM token_domain d JOIN fingerprint f INDEXED BY sqlite_autoindex_fingerprint_2 ON f.domain = d.id
     JOIN token t ON t.domain = f.domain AND t.token = f.token
     LEFT JOIN token_subject s ON s.id = t.subject
     WHERE d.tenant = ?1 AND d.name = ?2 AND d.state <> 3 AND f.index_key = ?3 AND f.fingerprint = ?4
       AND (?5 IS NULL OR s.name = ?5)
     ORDER BY f.token LIMIT ?6";

pub fn domain(c: &Connection, domain: &TokenDomain) -> Result<Option<DomainRow>, StoreError> {
    let sql = format!("{DOMAIN} WHERE tenant = ?1 AND name = ?2");
    first(c, &sql, params![domain.tenant.as_str(), domain.name.as_str()], domain_row)
}

pub fn domains(c: &Connection) -> Result<Vec<DomainRow>, StoreError> {
    all(c, &format!("{DOMAIN} ORDER BY tenant, name"), [], domain_row)
}

pub fn data_keys(c: &Connection, domain: &TokenDomain) -> Result<Vec<DataKeyRow>, StoreError> {
    let sql = "SELECT k.number, k.state, k.kek, k.kek_version, k.wrapped, k.sealed, k.tokens, k.made_at
               FROM data_key k JOIN token_domain d ON d.id = k.domain
               WHERE d.tenant = ?1 AND d.name = ?2 ORDER BY k.number";
    all(c, sql, params![domain.tenant.as_str(), domain.name.as_str()], data_key_row)
}

pub fn index_keys(c: &Connection, domain: &TokenDomain) -> Result<Vec<IndexKeyRow>, StoreError> {
    let sql = "SELECT k.number, k.state, k.object, k.made_at FROM index_key k JOIN token_domain d ON d.id = k.domain
               WHERE d.tenant = ?1 AND d.name = ?2 ORDER BY k.number";
    all(c, sql, params![domain.tenant.as_str(), domain.name.as_str()], |row| {
        Ok(IndexKeyRow {
            number: IndexKeyNumber(column(row, 0)?),
            state: word(row, 1, VersionState::from_number, "index_key: state")?,
            object: column(row, 2)?,
            made_at: UnixMillis(number(row, 3)?),
        })
    })
}

pub fn has_rows(c: &Connection, domain: &TokenDomain) -> Result<bool, StoreError> {
    let sql =
        "SELECT 1 FROM token t JOIN token_domain d ON d.id = t.domain WHERE d.tenant = ?1 AND d.name = ?2 LIMIT 1";
    Ok(first(c, sql, params![domain.tenant.as_str(), domain.name.as_str()], |_| Ok(()))?.is_some())
}

pub fn token(c: &Connection, domain: &TokenDomain, token: &Token) -> Result<Option<TokenRow>, StoreError> {
    let row = params![domain.tenant.as_str(), domain.name.as_str(), token.as_str()];
    first(c, &format!("{TOKEN} AND t.token = ?3"), row, token_row)
}

pub fn tokens(
    c: &Connection,
    domain: &TokenDomain,
    after: Option<&Token>,
    limit: u32,
) -> Result<Vec<TokenRow>, StoreError> {
    let after = after.map_or("", Token::as_str);
    let row = params![domain.tenant.as_str(), domain.name.as_str(), after, limit];
    all(c, &format!("{TOKEN} AND t.token > ?3 ORDER BY t.token LIMIT ?4"), row, token_row)
}

pub fn tokens_of_subject(
    c: &Connection,
    domain: &TokenDomain,
    subject: &Subject,
    after: Option<&Token>,
    limit: u32,
) -> Result<Vec<Token>, StoreError> {
    let sql = "SELECT t.token FROM token_domain d JOIN token_subject s ON s.domain = d.id
               JOIN token t ON t.domain = d.id AND t.subject = s.id
               WHERE d.tenant = ?1 AND d.name = ?2 AND d.state <> 3 AND s.name = ?3 AND t.token > ?4
               ORDER BY t.token LIMIT ?5";
    let after = after.map_or("", Token::as_str);
    let row = params![domain.tenant.as_str(), domain.name.as_str(), subject.as_str(), after, limit];
    all(c, sql, row, |row| name(row, 0))
}

pub fn tokens_of_card(
    c: &Connection,
    domain: &TokenDomain,
    (key, fingerprint): (IndexKeyNumber, Fingerprint),
    subject: Option<&Subject>,
    limit: u32,
) -> Result<Vec<Token>, StoreError> {
    let subject = subject.map(Subject::as_str);
    let row = params![domain.tenant.as_str(), domain.name.as_str(), key.0, fingerprint.0, subject, limit];
    all(c, TOKENS_OF_CARD, row, |row| name(row, 0))
}

pub fn rotation(c: &Connection, domain: &TokenDomain, what: Rotated) -> Result<Option<RotationRow>, StoreError> {
    let sql =
        "SELECT r.target, r.state, r.after, r.done, r.updated_at, r.shred FROM rotation r JOIN token_domain d ON d.id = r.domain
               WHERE d.tenant = ?1 AND d.name = ?2 AND r.what = ?3";
    let row = params![domain.tenant.as_str(), domain.name.as_str(), cursors::what_number(what)];
    first(c, sql, row, |row| {
        let after: Option<String> = column(row, 2)?;
        Ok(RotationRow {
            what,
            to: column(row, 0)?,
            state: cursors::state_of(column(row, 1)?)?,
            after: after.map(|text| parsed(&text, Token::parse(&text).ok())).transpose()?,
            done: number(row, 3)?,
            updated_at: UnixMillis(number(row, 4)?),
            shred: column(row, 5)?,
        })
    })
}

pub fn import(c: &Connection, domain: &TokenDomain, import: &RequestId) -> Result<Option<ImportRow>, StoreError> {
    let sql =
        "SELECT i.source, i.lines, i.rejected, i.updated_at FROM token_import i JOIN token_domain d ON d.id = i.domain
               WHERE d.tenant = ?1 AND d.name = ?2 AND i.import = ?3";
    first(c, sql, params![domain.tenant.as_str(), domain.name.as_str(), import.0], |row| {
        Ok(ImportRow {
            domain: domain.clone(),
            import: *import,
            source: column(row, 0)?,
            lines: number(row, 1)?,
            rejected: number(row, 2)?,
            updated_at: UnixMillis(number(row, 3)?),
        })
    })
}

fn domain_row(row: &Row<'_>) -> Result<DomainRow, StoreError> {
    Ok(DomainRow {
        domain: TokenDomain { tenant: name(row, 0)?, name: name(row, 1)? },
        record: column(row, 2)?,
        home: name(row, 3)?,
        reuse: word(row, 4, Reuse::from_number, "token_domain: reuse")?,
        state: word(row, 5, DomainState::from_number, "token_domain: state")?,
        made_at: UnixMillis(number(row, 6)?),
    })
}

fn data_key_row(row: &Row<'_>) -> Result<DataKeyRow, StoreError> {
    let wrapped = match (column::<Option<Vec<u8>>>(row, 4)?, column::<Option<u32>>(row, 3)?) {
        (Some(wrapped), Some(kek_version)) => {
            Some(WrappedKey { kek: name(row, 2)?, kek_version: KekNumber(kek_version), wrapped })
        }
        _ => None,
    };
    Ok(DataKeyRow {
        number: DataKeyNumber(column(row, 0)?),
        state: word(row, 1, VersionState::from_number, "data_key: state")?,
        wrapped,
        sealed: number(row, 5)?,
        tokens: number(row, 6)?,
        made_at: UnixMillis(number(row, 7)?),
    })
}

fn token_row(row: &Row<'_>) -> Result<TokenRow, StoreError> {
    let subject: Option<String> = column(row, 9)?;
    Ok(TokenRow {
        token: name(row, 0)?,
        state: word(row, 1, StoredState::from_number, "token: state")?,
        sealed: sealed(row)?,
        about: about(row)?,
        subject: subject.map(|text| parsed(&text, Subject::parse(&text).ok())).transpose()?,
        expires_at: column::<Option<i64>>(row, 10)?.map(|at| UnixMillis(at.cast_unsigned())),
        uses_left: column(row, 11)?,
        made_at: UnixMillis(number(row, 12)?),
    })
}

fn sealed(row: &Row<'_>) -> Result<Option<Sealed>, StoreError> {
    match (column::<Option<u32>>(row, 2)?, column::<Option<[u8; 12]>>(row, 3)?, column::<Option<Vec<u8>>>(row, 4)?) {
        (Some(key), Some(iv), Some(ciphertext)) => Ok(Some(Sealed { key: DataKeyNumber(key), iv, ciphertext })),
        (None, None, None) => Ok(None),
        _ => Err(damaged("table token: sealed in part")),
    }
}

fn about(row: &Row<'_>) -> Result<Option<CardFacts>, StoreError> {
    let Some(bin) = column::<Option<String>>(row, 6)? else { return Ok(None) };
    let last4: String = column(row, 7)?;
    Ok(Some(CardFacts {
        brand: word(row, 5, Brand::from_number, "token: brand")?,
        bin: parsed(&bin, Bin::parse(&bin))?,
        last4: parsed(&last4, Last4::parse(&last4))?,
        digits: column(row, 8)?,
    }))
}

fn parsed<T>(text: &str, read: Option<T>) -> Result<T, StoreError> {
    read.ok_or_else(|| damaged(format!("`{text}` is not what its column holds")))
}
