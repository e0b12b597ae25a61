//! Policy bundles: their writes and their rows.

use crate::read::name;
use crate::sql::{all, column, first, run};
use rusqlite::{Connection, Row, params};
use tally_domain::activation::BundleName;
use tally_domain::ports::store::{BundleRow, BundleWrite, Conflict, StoreError, VetoRow};
use tally_domain::{Digest, UnixMillis};

/// What each write does and when it is refused.
pub fn apply(c: &Connection, write: &BundleWrite) -> Result<(), StoreError> {
    match write {
        BundleWrite::Begin { bundle, envelope, at } => begin(c, *bundle, envelope.as_deref(), *at),
        BundleWrite::Propose { bundle, previous, envelope, tightens, at, due } => {
            let sql = "INSERT INTO bundle (version, digest, previous, envelope, tightens, first_seen, due)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING";
            let (version, at, due) = (bundle.version.cast_signed(), at.0.cast_signed(), due.0.cast_signed());
            run(c, sql, params![version, bundle.digest.0, previous.0, envelope, tightens, at, due])?;
            let sql = "SELECT digest FROM bundle WHERE version = ?1";
            match first(c, sql, [version], |row| column(row, 0).map(Digest))? {
                Some(known) if known == bundle.digest => Ok(()),
                _ => Err(Conflict::BundleForked.into()),
            }
        }
        BundleWrite::Vote { previous, bundle, statement } => vote(c, *previous, *bundle, statement),
        BundleWrite::Veto { bundle, by, statement, at } => {
            let sql = "INSERT INTO bundle_veto (digest, node, version, statement, updated_at)
                       VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING";
            let (version, at) = (bundle.version.cast_signed(), at.0.cast_signed());
            run(c, sql, params![bundle.digest.0, by.as_str(), version, statement, at]).map(|_| ())
        }
        BundleWrite::Activate { bundle, previous, envelope, certificate, at } => {
            must_be_active(c, *previous)?;
            if active(c)?.is_some_and(|now| bundle.version <= now.version) {
                return Err(Conflict::Backwards.into());
            }
            // A quorum's word counts for more than which of two this node saw first.
            let (version, at) = (bundle.version.cast_signed(), at.0.cast_signed());
            run(c, "DELETE FROM bundle WHERE version = ?1 AND digest <> ?2", params![version, bundle.digest.0])?;
            let sql = "INSERT INTO bundle (version, digest, previous, envelope, tightens, first_seen, due, certificate,
                                           activated_at)
                       VALUES (?1, ?2, ?3, ?4, 0, ?6, ?6, ?5, ?6)
                       ON CONFLICT (version) DO UPDATE SET certificate = ?5, activated_at = ?6";
            run(c, sql, params![version, bundle.digest.0, previous.0, envelope, certificate, at])?;
            set_active(c, *bundle, true)
        }
        BundleWrite::StillActive { digest } => must_be_active(c, *digest),
    }
}

fn begin(c: &Connection, bundle: BundleName, envelope: Option<&[u8]>, at: UnixMillis) -> Result<(), StoreError> {
    let sql = "SELECT digest FROM bundle_active WHERE signed = 1";
    if let Some(signed) = first(c, sql, [], |row| column(row, 0).map(Digest))? {
        return if signed == bundle.digest { Ok(()) } else { Err(Conflict::OtherBundle.into()) };
    }
    if let Some(envelope) = envelope {
        let sql = "INSERT INTO bundle (version, digest, envelope, tightens, first_seen, due)
                   VALUES (?1, ?2, ?3, 0, ?4, ?4)
                   ON CONFLICT DO NOTHING";
        run(c, sql, params![bundle.version.cast_signed(), bundle.digest.0, envelope, at.0.cast_signed()])?;
    }
    set_active(c, bundle, envelope.is_some())
}

fn vote(c: &Connection, previous: Digest, bundle: BundleName, statement: &[u8]) -> Result<(), StoreError> {
    must_be_active(c, previous)?;
    let sql = "SELECT digest FROM bundle_vote WHERE previous = ?1";
    match first(c, sql, [previous.0], |row| column(row, 0).map(Digest))? {
        Some(voted) if voted == bundle.digest => return Ok(()),
        Some(_) => return Err(Conflict::Voted.into()),
        None => {}
    }
    let sql = "SELECT 1 FROM bundle_veto WHERE digest = ?1 LIMIT 1";
    if first(c, sql, [bundle.digest.0], |_| Ok(()))?.is_some() {
        return Err(Conflict::BundleVetoed.into());
    }
    let sql = "INSERT INTO bundle_vote (previous, version, digest, statement) VALUES (?1, ?2, ?3, ?4)";
    run(c, sql, params![previous.0, bundle.version.cast_signed(), bundle.digest.0, statement]).map(|_| ())
}

fn must_be_active(c: &Connection, digest: Digest) -> Result<(), StoreError> {
    // A store that no node has begun with knows of none: tests of other things.
    match active(c)? {
        Some(now) if now.digest != digest => Err(Conflict::OtherBundle.into()),
        _ => Ok(()),
    }
}

fn set_active(c: &Connection, bundle: BundleName, signed: bool) -> Result<(), StoreError> {
    let sql = "INSERT INTO bundle_active (one, version, digest, signed) VALUES (1, ?1, ?2, ?3)
               ON CONFLICT DO UPDATE SET version = ?1, digest = ?2, signed = ?3";
    run(c, sql, params![bundle.version.cast_signed(), bundle.digest.0, signed]).map(|_| ())
}

/// The active bundle.
pub fn active(c: &Connection) -> Result<Option<BundleName>, StoreError> {
    first(c, "SELECT version, digest FROM bundle_active", [], |row| bundle_name(row, 0))
}

/// All signed bundles, by number.
pub fn bundles(c: &Connection) -> Result<Vec<BundleRow>, StoreError> {
    let sql = "SELECT b.version, b.digest, b.previous, b.first_seen, b.due, b.tightens, v.statement,
                      b.certificate, b.activated_at
               FROM bundle b LEFT JOIN bundle_vote v ON v.digest = b.digest ORDER BY b.version";
    all(c, sql, [], |row| {
        let certificate: Option<Vec<u8>> = column(row, 7)?;
        let at: Option<i64> = column(row, 8)?;
        Ok(BundleRow {
            bundle: bundle_name(row, 0)?,
            previous: column::<Option<[u8; 32]>>(row, 2)?.map(Digest),
            first_seen: UnixMillis(column::<i64>(row, 3)?.cast_unsigned()),
            due: UnixMillis(column::<i64>(row, 4)?.cast_unsigned()),
            tightens: column(row, 5)?,
            vote: column(row, 6)?,
            activated: certificate.zip(at.map(|at| UnixMillis(at.cast_unsigned()))),
        })
    })
}

/// A signed bundle, encoded.
pub fn envelope(c: &Connection, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
    first(c, "SELECT envelope FROM bundle WHERE digest = ?1", [digest.0], |row| column(row, 0))
}

/// All vetoes, by bundle and node.
pub fn vetoes(c: &Connection) -> Result<Vec<VetoRow>, StoreError> {
    all(c, "SELECT version, digest, node, statement FROM bundle_veto ORDER BY digest, node", [], |row| {
        Ok(VetoRow { bundle: bundle_name(row, 0)?, by: name(row, 2)?, statement: column(row, 3)? })
    })
}

fn bundle_name(row: &Row<'_>, at: usize) -> Result<BundleName, StoreError> {
    let version = column::<i64>(row, at)?.cast_unsigned();
    Ok(BundleName { version, digest: Digest(column(row, at + 1)?) })
}
