//! New tokens: all or none, and for each that does not fit the reason.

use super::{Domain, active};
use crate::sql::{all, column, first, run};
use rusqlite::{Connection, params};
use tally_domain::ports::store::StoreError;
use tally_domain::ports::store::tokens::{DATA_KEY_SEALS_MAX, NewToken, TokenConflict, VaultConflict};
use tally_domain::token::{Fingerprint, IndexKeyNumber, Reuse, StoredState, Token, TokenDomain};
use tally_domain::{Subject, UnixMillis};

/// What new tokens have to fit.
struct Fit {
    domain: Domain,
    /// The current data key and its encryptions so far, if card numbers are kept.
    data_key: Option<(u32, u64)>,
    /// The index key that is current, then the one that is being filled.
    index_keys: Vec<u32>,
    at: UnixMillis,
}

pub fn put(c: &Connection, domain: &TokenDomain, new: &[NewToken], at: UnixMillis) -> Result<(), StoreError> {
    let fit = fit(c, active(c, domain)?, at)?;
    let mut conflicts = Vec::new();
    for (place, token) in new.iter().enumerate() {
        // The others go on, so that one answer names all that do not fit; the step is undone as a whole.
        if let Err(conflict) = put_one(c, &fit, token, place as u64)? {
            conflicts.push((place, conflict));
        }
    }
    if conflicts.is_empty() { Ok(()) } else { Err(VaultConflict::Tokens(conflicts).into()) }
}

fn fit(c: &Connection, domain: Domain, at: UnixMillis) -> Result<Fit, StoreError> {
    let sql = "SELECT number, sealed FROM data_key WHERE domain = ?1 AND state = 2";
    let data_key = first(c, sql, [domain.id], |row| Ok((column(row, 0)?, column::<i64>(row, 1)?.cast_unsigned())))?;
    let sql = "SELECT number FROM index_key WHERE domain = ?1 AND state IN (1, 2) ORDER BY state DESC";
    let index_keys = all(c, sql, [domain.id], |row| column(row, 0))?;
    Ok(Fit { domain, data_key, index_keys, at })
}

fn put_one(
    c: &Connection,
    fit: &Fit,
    new: &NewToken,
    sealed_before: u64,
) -> Result<Result<(), TokenConflict>, StoreError> {
    if let Err(conflict) = fits_keys(fit, new, sealed_before) {
        return Ok(Err(conflict));
    }
    let subject = subject_id(c, fit.domain.id, new.subject.as_ref())?;
    let scope = if fit.domain.reuse == Reuse::PerSubject { subject.unwrap_or(0) } else { 0 };
    let draw = match (fit.domain.reuse, new.fingerprints.iter().find(|(key, _)| fit.index_keys.first() == Some(&key.0)))
    {
        (_, None) => return Ok(Err(TokenConflict::Keys)),
        (Reuse::Random, Some(fingerprint)) => next_draw(c, fit.domain.id, *fingerprint)?,
        (Reuse::PerDomain | Reuse::PerSubject, Some(fingerprint)) => {
            if let Some(token) = holder(c, fit, *fingerprint, scope)? {
                return Ok(Err(TokenConflict::Fingerprint(token)));
            }
            0
        }
    };
    if insert(c, fit, new, subject)? == 0 {
        return Ok(Err(TokenConflict::Taken));
    }
    if !bucket_has_room(c, fit.domain.id, new)? {
        return Ok(Err(TokenConflict::BucketFull));
    }
    for (key, fingerprint) in &new.fingerprints {
        let sql = "INSERT INTO fingerprint (domain, token, index_key, fingerprint, scope, draw)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        run(c, sql, params![fit.domain.id, new.token.as_str(), key.0, fingerprint.0, scope, draw])?;
    }
    Ok(Ok(()))
}

fn fits_keys(fit: &Fit, new: &NewToken, sealed_before: u64) -> Result<(), TokenConflict> {
    let mut keys: Vec<u32> = new.fingerprints.iter().map(|(key, _)| key.0).collect();
    let mut expected = fit.index_keys.clone();
    keys.sort_unstable();
    expected.sort_unstable();
    if new.sealed.as_ref().map(|sealed| sealed.key.0) != fit.data_key.map(|(number, _)| number) || keys != expected {
        return Err(TokenConflict::Keys);
    }
    match fit.data_key {
        Some((_, sealed)) if sealed.saturating_add(sealed_before) >= DATA_KEY_SEALS_MAX => Err(TokenConflict::Spent),
        Some(_) | None => Ok(()),
    }
}

/// The token that the card number has in this scope. One that has expired gives its place up: it stays, and is found no more.
fn holder(
    c: &Connection,
    fit: &Fit,
    (key, fingerprint): (IndexKeyNumber, Fingerprint),
    scope: i64,
) -> Result<Option<Token>, StoreError> {
    let id = fit.domain.id;
    let sql =
        "SELECT f.token, t.expires_at FROM fingerprint f JOIN token t ON t.domain = f.domain AND t.token = f.token
               WHERE f.domain = ?1 AND f.index_key = ?2 AND f.fingerprint = ?3 AND f.scope = ?4 AND f.draw = 0";
    let found = first(c, sql, params![id, key.0, fingerprint.0, scope], |row| {
        let expires: Option<i64> = column(row, 1)?;
        Ok((crate::read::name::<Token>(row, 0)?, expires.map(|e| UnixMillis(e.cast_unsigned()))))
    })?;
    match found {
        Some((token, Some(expires))) if fit.at >= expires => {
            run(c, "DELETE FROM fingerprint WHERE domain = ?1 AND token = ?2", params![id, token.as_str()])?;
            Ok(None)
        }
        Some((token, _)) => Ok(Some(token)),
        None => Ok(None),
    }
}

fn next_draw(c: &Connection, domain: i64, (key, print): (IndexKeyNumber, Fingerprint)) -> Result<i64, StoreError> {
    let sql =
        "SELECT MAX(draw) FROM fingerprint WHERE domain = ?1 AND index_key = ?2 AND fingerprint = ?3 AND scope = 0";
    let last = first(c, sql, params![domain, key.0, print.0], |row| column::<Option<i64>>(row, 0))?;
    Ok(last.flatten().map_or(0, |last| last.saturating_add(1)))
}

/// The subject's number; a new one's, if it is new.
fn subject_id(c: &Connection, domain: i64, subject: Option<&Subject>) -> Result<Option<i64>, StoreError> {
    let Some(subject) = subject else { return Ok(None) };
    let row = params![domain, subject.as_str()];
    run(c, "INSERT INTO token_subject (domain, name) VALUES (?1, ?2) ON CONFLICT DO NOTHING", row)?;
    first(c, "SELECT id FROM token_subject WHERE domain = ?1 AND name = ?2", row, |row| column(row, 0))
}

fn insert(c: &Connection, fit: &Fit, new: &NewToken, subject: Option<i64>) -> Result<usize, StoreError> {
    run(
        c,
        "INSERT INTO token (domain, token, state, data_key, iv, sealed, brand, bin, last4, digits, subject, expires_at,
                            uses_left, made_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14) ON CONFLICT DO NOTHING",
        params![
            fit.domain.id,
            new.token.as_str(),
            StoredState::Active.number(),
            new.sealed.as_ref().map(|s| s.key.0),
            new.sealed.as_ref().map(|s| s.iv),
            new.sealed.as_ref().map(|s| s.ciphertext.as_slice()),
            new.about.brand.number(),
            new.about.bin.as_str(),
            new.about.last4.as_str(),
            new.about.digits,
            subject,
            new.expires_at.map(|at| at.0.cast_signed()),
            new.uses_left,
            fit.at.0.cast_signed(),
        ],
    )
}

fn bucket_has_room(c: &Connection, domain: i64, new: &NewToken) -> Result<bool, StoreError> {
    let Some((name, tokens_max)) = &new.bucket else { return Ok(true) };
    let sql = "INSERT INTO token_bucket (domain, name, drawn) VALUES (?1, ?2, 1)
               ON CONFLICT DO UPDATE SET drawn = drawn + 1 WHERE drawn < ?3";
    Ok(run(c, sql, params![domain, name, i64::try_from(*tokens_max).unwrap_or(i64::MAX)])? == 1)
}
