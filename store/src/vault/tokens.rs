//! Using, suspending and shredding tokens.

use super::{active, alive};
use crate::sql::{column, first, run};
use rusqlite::{Connection, params};
use tally_domain::UnixMillis;
use tally_domain::ports::store::StoreError;
use tally_domain::ports::store::tokens::{TokenConflict, VaultConflict};
use tally_domain::token::{StoredState, Token, TokenDomain};

/// What decides whether a token may be used.
struct Standing {
    state: StoredState,
    expires_at: Option<UnixMillis>,
    uses_left: Option<u32>,
    subject: Option<i64>,
}

pub fn spend(c: &Connection, domain: &TokenDomain, token: &Token, at: UnixMillis) -> Result<(), StoreError> {
    let id = active(c, domain)?.id;
    let conflict = match standing(c, id, token)? {
        None => TokenConflict::Unknown,
        Some(Standing { state: StoredState::Shredded, .. }) => TokenConflict::Shredded,
        Some(Standing { expires_at: Some(expires), .. }) if at >= expires => TokenConflict::Expired,
        Some(Standing { uses_left: Some(0), .. }) => TokenConflict::UsedUp,
        Some(Standing { state: StoredState::Suspended, .. }) => TokenConflict::Suspended,
        Some(Standing { state: StoredState::Active, uses_left: None, .. }) => return Ok(()),
        Some(Standing { state: StoredState::Active, uses_left: Some(_), .. }) => {
            let sql = "UPDATE token SET uses_left = uses_left - 1 WHERE domain = ?1 AND token = ?2";
            return run(c, sql, params![id, token.as_str()]).map(|_| ());
        }
    };
    Err(VaultConflict::Token(conflict).into())
}

pub fn suspend(c: &Connection, domain: &TokenDomain, token: &Token, suspended: bool) -> Result<(), StoreError> {
    let id = alive(c, domain)?.id;
    match standing(c, id, token)?.map(|s| s.state) {
        None => Err(VaultConflict::Token(TokenConflict::Unknown).into()),
        Some(StoredState::Shredded) => Err(VaultConflict::Token(TokenConflict::Shredded).into()),
        Some(StoredState::Active | StoredState::Suspended) => {
            let state = if suspended { StoredState::Suspended } else { StoredState::Active };
            let sql = "UPDATE token SET state = ?3 WHERE domain = ?1 AND token = ?2";
            run(c, sql, params![id, token.as_str(), state.number()]).map(|_| ())
        }
    }
}

pub fn shred(c: &Connection, domain: &TokenDomain, tokens: &[Token]) -> Result<(), StoreError> {
    let id = alive(c, domain)?.id;
    for token in tokens {
        let Some(known) = standing(c, id, token)? else {
            return Err(VaultConflict::Token(TokenConflict::Unknown).into());
        };
        if known.state == StoredState::Shredded {
            continue;
        }
        run(
            c,
            "UPDATE token SET state = 3, data_key = NULL, iv = NULL, sealed = NULL, brand = NULL, bin = NULL, last4 = NULL,
                              digits = NULL, subject = NULL, expires_at = NULL, uses_left = NULL
             WHERE domain = ?1 AND token = ?2",
            params![id, token.as_str()],
        )?;
        run(c, "DELETE FROM fingerprint WHERE domain = ?1 AND token = ?2", params![id, token.as_str()])?;
        // A subject without tokens is forgotten: its name may be a person's.
        run(
            c,
            "DELETE FROM token_subject WHERE id = ?2
             AND NOT EXISTS (SELECT 1 FROM token WHERE domain = ?1 AND subject = ?2)",
            params![id, known.subject],
        )?;
    }
    Ok(())
}

fn standing(c: &Connection, domain: i64, token: &Token) -> Result<Option<Standing>, StoreError> {
    let sql = "SELECT state, expires_at, uses_left, subject FROM token WHERE domain = ?1 AND token = ?2";
    first(c, sql, params![domain, token.as_str()], |row| {
        Ok(Standing {
            state: super::word(row, 0, StoredState::from_number, "token: state")?,
            expires_at: column::<Option<i64>>(row, 1)?.map(|at| UnixMillis(at.cast_unsigned())),
            uses_left: column(row, 2)?,
            subject: column(row, 3)?,
        })
    })
}
