//! How much all requests hold on a line, of each its largest claim: summed up as claims come and go, so that nobody reads a
//! whole line to know it.

use super::{claimant, near_from, of, together, whole as pieces};
use crate::sql::all;
use rusqlite::{Connection, Params, params};
use std::collections::{BTreeMap, BTreeSet};
use tally_domain::claim::{Claimant, Units, Voted, horizon_ms, most};
use tally_domain::ports::store::StoreError;
use tally_domain::{LineClaim, LineId, UnixMillis};

/// By reading the whole line, once.
pub fn whole(c: &Connection, line: &LineId) -> Result<Units, StoreError> {
    let mut requests: BTreeMap<Claimant, u128> = BTreeMap::new();
    for voted in together(pieces(c, line)?) {
        let units = voted.units();
        let most = requests.entry(voted.by).or_default();
        *most = units.max(*most);
    }
    Ok(requests.into_values().fold(Units::default(), Units::and))
}

/// What requests other than one hold near a time, out of what all hold whenever.
pub fn of_others(
    c: &Connection,
    claim: &LineClaim,
    by: &Claimant,
    at: UnixMillis,
    all: Units,
) -> Result<u128, StoreError> {
    let (line, horizon) = (claim.line(), horizon_ms(claim.window_ms()));
    let sql = "SELECT tenant, request FROM claim WHERE line = ?1 AND last < ?2
               UNION SELECT tenant, request FROM claim WHERE line = ?1 AND last >= ?3 AND first >= ?3";
    let bounds = params![line.0.0, near_from(at, horizon), at.plus(horizon).0.cast_signed()];
    let mut apart = requests(c, sql, bounds)?;
    apart.remove(by);
    let others = all.less(most(&of(c, &line, by)?));
    let near = |voted: &Voted| voted.is_near(at, horizon);
    Ok(only(c, &line, apart, near, others)?.saturated())
}

/// What all hold but for claims last issued before.
pub fn without_old(c: &Connection, line: &LineId, forgotten: UnixMillis, all: Units) -> Result<Units, StoreError> {
    let sql = "SELECT tenant, request FROM claim WHERE line = ?1 AND last < ?2";
    let old = requests(c, sql, params![line.0.0, forgotten.0.cast_signed()])?;
    only(c, line, old, |voted| voted.last >= forgotten, all)
}

/// The sum with only such claims of these requests.
fn only(
    c: &Connection,
    line: &LineId,
    requests: BTreeSet<Claimant>,
    counts: impl Fn(&Voted) -> bool,
    mut sum: Units,
) -> Result<Units, StoreError> {
    for request in requests {
        let claims = of(c, line, &request)?;
        sum = sum.less(most(&claims)).and(most(claims.iter().filter(|voted| counts(voted))));
    }
    Ok(sum)
}

fn requests(c: &Connection, sql: &str, bounds: impl Params) -> Result<BTreeSet<Claimant>, StoreError> {
    Ok(all(c, sql, bounds, claimant)?.into_iter().collect())
}
