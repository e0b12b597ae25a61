//! IVs of AES-GCM where we make them (S-4.3): 64 random bits, drawn from the token when the adapter starts, and a 32-bit
//! counter (NIST SP 800-38D, section 8.2.1, with the random bits as the fixed field).
//!
//! INVARIANT: no two calls of one adapter are given one IV, and no IV begins with 64 zero bits: those are the check
//! values' (docs/adr/0006).

use crate::fault::Fault;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// As GCM likes them: 96 bits.
pub const IV_BYTES: usize = 12;

const PREFIX_BYTES: usize = 8;

/// Random bytes for one series: a prefix, and another to hold against it.
pub type Drawn = [[u8; PREFIX_BYTES]; 2];

/// Gives IVs, each once.
#[derive(Default)]
pub struct Ivs(Mutex<Series>);

/// IVs with one prefix; before the first one is begun, none are left.
#[derive(Default)]
struct Series {
    prefix: [u8; PREFIX_BYTES],
    /// Counts down to nothing.
    left: u64,
}

impl Ivs {
    /// The next IV; `draw` gives random bytes for a new series, if one is due.
    pub fn next(&self, draw: impl Fn(&mut Drawn) -> Result<(), Fault>) -> Result<[u8; IV_BYTES], Fault> {
        loop {
            if let Some(iv) = self.series().next() {
                return Ok(iv);
            }
            // Not under the lock: the call may hang, and must not hold up others.
            let mut random = Drawn::default();
            draw(&mut random)?;
            self.series().renew(random)?;
        }
    }

    fn series(&self) -> MutexGuard<'_, Series> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Series {
    /// One for each value of the counter.
    const LENGTH: u64 = 1 << 32;

    fn next(&mut self) -> Option<[u8; IV_BYTES]> {
        self.left = self.left.checked_sub(1)?;
        let counter = u32::try_from(self.left).ok()?;
        let mut iv = [0; IV_BYTES];
        iv.iter_mut().zip(self.prefix.into_iter().chain(counter.to_be_bytes())).for_each(|(to, from)| *to = from);
        Some(iv)
    }

    /// Begins with another prefix, if nobody else has done so meanwhile.
    fn renew(&mut self, [one, other]: Drawn) -> Result<(), Fault> {
        if self.left > 0 {
            return Ok(());
        }
        let prefix = if one == [0; PREFIX_BYTES] { other } else { one };
        // By chance once in 2^63; by a generator that is stuck, always.
        if one == other || prefix == self.prefix {
            return Err(Fault::broken("C_GenerateRandom", "the same bytes again"));
        }
        (self.prefix, self.left) = (prefix, Self::LENGTH);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::sync::atomic::{AtomicU64, Ordering};

    const THREADS: u64 = 8;

    /// Some bytes that differ from call to call.
    fn drawn(calls: &AtomicU64, random: &mut Drawn) -> Result<(), Fault> {
        let n = calls.fetch_add(1, Ordering::Relaxed) + 1;
        *random = [n.to_be_bytes(), (!n).to_be_bytes()];
        Ok(())
    }

    fn about_to_end(left: u64) -> Ivs {
        Ivs(Mutex::new(Series { prefix: [9; 8], left }))
    }

    #[test]
    fn s_4_3_no_iv_comes_twice_however_many_threads_and_series() {
        const EACH: u64 = 2_000;
        let (ivs, calls) = (about_to_end(THREADS * EACH / 2), AtomicU64::new(0));
        let all: Vec<_> = std::thread::scope(|scope| {
            let one = || (0..EACH).map(|_| ivs.next(|to| drawn(&calls, to)).unwrap()).collect::<Vec<_>>();
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(one)).collect();
            threads.into_iter().flat_map(|t| t.join().unwrap()).collect()
        });
        assert_eq!(all.iter().collect::<HashSet<_>>().len() as u64, THREADS * EACH);
        let prefixes: HashSet<_> = all.iter().map(|iv| &iv[..8]).collect();
        assert_eq!(prefixes.len(), 2, "one series was used up, and one begun");
        assert!(ivs.series().left > Series::LENGTH - THREADS * EACH, "what is left of a series was thrown away");
    }

    #[test]
    fn s_4_3_a_series_has_every_value_of_the_counter_once() {
        let ivs = about_to_end(0);
        let first = ivs.next(|to| drawn(&AtomicU64::new(0), to)).unwrap();
        assert_eq!(first, [0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]);
        ivs.series().left = 1;
        let unused = |_: &mut Drawn| panic!("the series is not used up");
        assert_eq!(ivs.next(unused).unwrap(), [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
    }

    #[test]
    fn s_4_3_no_iv_begins_with_zeros_and_a_stuck_generator_is_noticed() {
        let given = |one: u64, other: u64| {
            about_to_end(0).next(|to| {
                *to = [one.to_be_bytes(), other.to_be_bytes()];
                Ok(())
            })
        };
        assert_eq!(given(0, 7).unwrap()[..8], [0, 0, 0, 0, 0, 0, 0, 7]);
        let last = u64::from_be_bytes([9; 8]);
        for (one, other) in [(0, 0), (5, 5), (last, 5), (0, last)] {
            assert!(given(one, other).is_err(), "{one} {other}");
        }
    }
}
