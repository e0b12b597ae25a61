//! How lines stand, for people: what is shown before a decision and written down with it. Nothing is decided by it.

use crate::claims::room::{Room, joined, without};
use tally_audit::event::LineStood;
use tally_domain::claim::{Claimant, LineMemory};
use tally_domain::{Charge, Interval, UnixMillis};

/// How a line stands for a charge, by what is remembered of it and `heard` of voters.
pub fn stood(charge: &Charge, by: &Claimant, memory: &LineMemory, heard: &[Interval], now: UnixMillis) -> LineStood {
    LineStood {
        limit: charge.limit.clone(),
        line: charge.line,
        max: charge.max,
        window_ms: charge.window_ms,
        amount: charge.amount,
        taken: taken(charge, by, memory, heard, now),
        room_at: None,
    }
}

/// The same, with the time from which there is room where there is none at `now`, which is the room's own time.
pub fn stands(charge: &Charge, by: &Claimant, memory: &LineMemory, room: &mut Room, now: UnixMillis) -> LineStood {
    let room_at = Some(room.room_at(memory, by, charge)).filter(|at| *at > now);
    LineStood { room_at, ..stood(charge, by, memory, &[], now) }
}

/// Units that others hold, and what voters have told of beyond that.
fn taken(charge: &Charge, by: &Claimant, memory: &LineMemory, heard: &[Interval], now: UnixMillis) -> u128 {
    let held = memory.held(by, now, charge.window_ms);
    let others = |piece: &Interval| memory.others(*piece, by, now, charge.window_ms);
    let heard: u128 = joined(heard.to_vec())
        .iter()
        .map(|piece| without(*piece, &joined(others(piece).collect())))
        .map(|left| left.iter().fold(0, |sum: u128, piece| sum.saturating_add(piece.units())))
        .fold(0, u128::saturating_add);
    held.saturating_add(heard)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail loudly")]
mod tests {
    use super::*;
    use tally_domain::claim::{Voted, horizon_ms};
    use tally_domain::{Digest, LimitId, LineId, RequestId, Tenant};

    const AT: UnixMillis = UnixMillis(1_795_298_460_000);
    const HOUR_MS: u64 = 3_600_000;

    fn by(n: u8) -> Claimant {
        Claimant { tenant: Tenant::parse("acme").unwrap(), request: RequestId([n; 16]) }
    }

    fn voted(n: u8, nth: u32, from: u128, to: u128, last: UnixMillis) -> Voted {
        Voted { by: by(n), nth, intervals: vec![Interval::new(from, to).unwrap()], first: last, last }
    }

    #[test]
    fn what_others_hold_within_the_window_counts_once() {
        let (limit, line) = (LimitId::parse("day").unwrap(), LineId(Digest([1; 32])));
        let charge = Charge { limit, line, max: 100, window_ms: HOUR_MS, amount: 30 };
        let memory = |voted| LineMemory::new(UnixMillis(0), voted);
        let long_ago = AT.minus(horizon_ms(HOUR_MS));
        let plain = memory(vec![voted(1, 1, 0, 40, AT), voted(2, 1, 50, 60, AT), voted(9, 1, 60, 90, long_ago)]);
        assert_eq!(stood(&charge, &by(3), &plain, &[], AT).taken, 50);
        assert_eq!(stood(&charge, &by(1), &plain, &[], AT).taken, 10, "its own pieces are not in its way");
        let heard = [Interval::new(30, 55).unwrap()];
        assert_eq!(stood(&charge, &by(3), &plain, &heard, AT).taken, 60);
        let again = memory(vec![voted(1, 1, 0, 40, AT), voted(1, 2, 20, 60, AT)]);
        assert_eq!(stood(&charge, &by(3), &again, &[], AT).taken, 40, "a request is signed once");

        let look = |memory: &LineMemory| stands(&charge, &by(3), memory, &mut Room::of(memory, &charge, AT), AT);
        let has_room = look(&plain);
        assert_eq!((has_room.taken, has_room.room_at), (50, None));
        let full = memory(vec![voted(1, 1, 0, 80, AT.minus(60_000))]);
        let frees = AT.minus(60_000).plus(horizon_ms(HOUR_MS));
        assert_eq!(look(&full).room_at, Some(frees));
    }
}
