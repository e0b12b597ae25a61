//! Units of limits' lines: within a horizon each is one request's, in what is certified and in what any one node votes for.

use super::ledger::{Place, Request};
use std::collections::BTreeMap;
use std::rc::Rc;
use tally_domain::claim::horizon_ms;
use tally_domain::vote::VoteBody;
use tally_domain::{Interval, LineId, UnixMillis};

/// What is taken of lines, in no order.
#[derive(Default)]
pub(super) struct Lines(BTreeMap<LineId, Vec<Taken>>);

/// Two requests that took one unit, and where the later one was seen.
pub(super) struct Overlap {
    pub(super) place: Place,
    pub(super) line: LineId,
    pub(super) request: Request,
    pub(super) other: Request,
}

#[derive(Clone)]
struct Taken {
    interval: Interval,
    issued_at: UnixMillis,
    window_ms: u64,
    request: Rc<Request>,
    place: Place,
}

impl Lines {
    /// Adds what a vote or a certificate takes.
    pub(super) fn add(&mut self, body: &VoteBody, place: &Place) {
        let Some(claims) = &body.claims else { return };
        let request = Rc::new((body.tenant.clone(), body.request_id));
        for claim in claims.lines() {
            let taken = claim.intervals().iter().map(|interval| Taken {
                interval: *interval,
                issued_at: claims.issued_at(),
                window_ms: claim.window_ms(),
                request: Rc::clone(&request),
                place: place.clone(),
            });
            self.0.entry(claim.line()).or_default().extend(taken);
        }
    }

    /// Every unit that two requests took within a horizon.
    pub(super) fn overlaps(self) -> Vec<Overlap> {
        self.0.into_iter().flat_map(|(line, taken)| sweep(line, taken)).collect()
    }
}

/// Goes through time with the last taker of each unit: whoever is in the way of a later claim at all is in its way
/// through the last one, which is nearest to it.
fn sweep(line: LineId, mut all: Vec<Taken>) -> Vec<Overlap> {
    all.sort_by(|a, b| (a.issued_at, &a.request).cmp(&(b.issued_at, &b.request)));
    let mut last: BTreeMap<u128, Taken> = BTreeMap::new();
    let mut found = Vec::new();
    for taken in all {
        for before in carve(&mut last, taken.interval) {
            let apart = taken.issued_at.0.saturating_sub(before.issued_at.0);
            // A voter goes by the window of what it votes for last, which may have come first.
            let horizon = horizon_ms(taken.window_ms.min(before.window_ms));
            if before.request != taken.request && apart < horizon {
                let (request, other) = ((*taken.request).clone(), (*before.request).clone());
                found.push(Overlap { place: taken.place.clone(), line, request, other });
            }
        }
        last.insert(taken.interval.from(), taken);
    }
    found
}

/// Takes these units out of whatever holds them; gives those that held some.
fn carve(last: &mut BTreeMap<u128, Taken>, hole: Interval) -> Vec<Taken> {
    let from = last.range(..hole.from()).next_back().filter(|(_, t)| t.interval.overlaps(hole)).map(|(from, _)| *from);
    let starts: Vec<u128> = last.range(from.unwrap_or(hole.from())..hole.to()).map(|(from, _)| *from).collect();
    let holders: Vec<Taken> = starts.iter().filter_map(|from| last.remove(from)).collect();
    for holder in &holders {
        let rests = [(holder.interval.from(), hole.from()), (hole.to(), holder.interval.to())];
        for rest in rests.into_iter().filter_map(|(from, to)| Interval::new(from, to)) {
            last.insert(rest.from(), Taken { interval: rest, ..holder.clone() });
        }
    }
    holders
}
