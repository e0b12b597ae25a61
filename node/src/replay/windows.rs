//! Lines that are filled as time goes by: what requests of the past would have taken of a draft's limits. Sums, not claims:
//! a replay has one order of events, and nobody to agree with.

use std::collections::{HashMap, VecDeque};
use tally_audit::event::LineStood;
use tally_domain::claim::horizon_ms;
use tally_domain::{Charge, LineId, UnixMillis};

/// All lines of which something was taken.
#[derive(Debug, Default)]
pub struct Windows(HashMap<LineId, Window>);

#[derive(Debug, Default)]
struct Window {
    taken: VecDeque<(UnixMillis, u128)>,
    sum: u128,
}

impl Windows {
    /// How the lines stand for charges at a time, and until when those without room have none. Times come in the order of
    /// the log.
    pub fn stands(&mut self, charges: &[Charge], at: UnixMillis) -> Vec<LineStood> {
        charges.iter().map(|charge| self.0.entry(charge.line).or_default().stands(charge, at)).collect()
    }

    /// Takes what is charged.
    pub fn take(&mut self, charges: &[Charge], at: UnixMillis) {
        for charge in charges {
            let window = self.0.entry(charge.line).or_default();
            window.sum = window.sum.saturating_add(charge.amount);
            window.taken.push_back((at, charge.amount));
        }
    }
}

impl Window {
    fn stands(&mut self, charge: &Charge, at: UnixMillis) -> LineStood {
        let frees = |taken_at: UnixMillis| taken_at.plus(horizon_ms(charge.window_ms));
        while let Some((_, amount)) = self.taken.pop_front_if(|(taken_at, _)| frees(*taken_at) <= at) {
            self.sum = self.sum.saturating_sub(amount);
        }
        let mut left = charge.max.saturating_sub(self.sum);
        let mut room_at = None;
        for (taken_at, amount) in &self.taken {
            if left >= charge.amount {
                break;
            }
            left = left.saturating_add(*amount);
            room_at = Some(frees(*taken_at));
        }
        LineStood {
            limit: charge.limit.clone(),
            line: charge.line,
            max: charge.max,
            window_ms: charge.window_ms,
            amount: charge.amount,
            taken: self.sum,
            room_at,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail loudly")]
mod tests {
    use super::*;
    use tally_domain::{Digest, LimitId};

    const HOUR_MS: u64 = 3_600_000;

    fn charge(line: u8, amount: u128) -> Charge {
        let limit = LimitId::parse("hour").unwrap();
        Charge { limit, line: LineId(Digest([line; 32])), max: 100, window_ms: HOUR_MS, amount }
    }

    #[test]
    fn a_line_is_filled_to_its_last_unit_and_is_free_after_its_window() {
        let mut windows = Windows::default();
        let start = UnixMillis(1_795_298_460_000);
        for (n, amount) in [(0, 60), (1, 39)] {
            let at = start.plus(n * 1_000);
            assert_eq!(windows.stands(&[charge(1, amount)], at)[0].room_at, None);
            windows.take(&[charge(1, amount)], at);
        }
        let at = start.plus(2_000);
        let [one, two] = [1, 2].map(|amount| windows.stands(&[charge(1, amount)], at)[0].clone());
        assert_eq!((one.taken, one.room_at), (99, None));
        assert_eq!(two.room_at, Some(start.plus(horizon_ms(HOUR_MS))), "when the first piece comes free");
        let most = windows.stands(&[charge(1, 90)], at)[0].room_at;
        assert_eq!(most, Some(start.plus(1_000).plus(horizon_ms(HOUR_MS))), "when both are");
        assert_eq!(windows.stands(&[charge(2, 100)], at)[0].taken, 0, "another line");
        let later = windows.stands(&[charge(1, 61)], start.plus(horizon_ms(HOUR_MS)))[0].clone();
        assert_eq!((later.taken, later.room_at), (39, None));
    }

    #[test]
    fn what_is_charged_on_two_lines_needs_room_on_both() {
        let (mut windows, at) = (Windows::default(), UnixMillis(1_795_298_460_000));
        windows.take(&[charge(1, 100)], at);
        let stands = windows.stands(&[charge(1, 1), charge(2, 1)], at);
        assert_eq!((stands[0].room_at.is_some(), stands[1].room_at), (true, None));
    }
}
