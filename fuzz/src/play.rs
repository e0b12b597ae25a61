//! Plays a target: examples as they are, then changed, from a seed.

use crate::corpus;
use crate::dice::Dice;
use crate::target::{Target, Verdict};
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// Most inputs that are changed further; beyond it new ones take the places of old ones.
const POOL_MAX: usize = 2_000;

/// Longest input that is changed further, unless an example is longer: changes make inputs longer more often than shorter, and
/// long ones take long.
const KEPT_MAX_BYTES: usize = 8 * 1024;

/// Tries at making a failing input smaller.
const SMALLER_TRIES: usize = 2_000;

/// When to stop.
#[derive(Debug, Clone, Copy)]
pub enum Budget {
    /// After so many cases.
    Cases(u64),
    /// After so long.
    Time(Duration),
}

/// How it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Played {
    /// Inputs that were given.
    pub cases: u64,
    /// Of them, those that were read.
    pub read: u64,
    /// Different words of verdicts.
    pub words: usize,
}

/// An input of which something does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The input.
    pub input: Vec<u8>,
    /// Which case of the seed; none for an example as it is.
    pub case: Option<u64>,
}

/// Plays a target. The same seed gives the same inputs.
///
/// # Errors
/// The first [`Failure`]; what did not hold has been printed by then, as any panic is.
pub fn play(target: &Target, seed: u64, budget: Budget) -> Result<Played, Failure> {
    let (mut pool, own) = corpus::examples(target);
    let mut words: HashSet<Verdict> = HashSet::new();
    let mut played = Played { cases: 0, read: 0, words: 0 };
    for (i, example) in pool.iter().enumerate() {
        let verdict = verdict(target, example).ok_or_else(|| Failure { input: example.clone(), case: None })?;
        // An example that is not read any more would show nothing of what is.
        assert!(i >= own || verdict.is_read(), "{}: example {i} is not read: {verdict:?}", target.name);
        words.insert(verdict);
    }
    assert!(!pool.is_empty(), "{} has no examples", target.name);
    let kept_max = pool.iter().map(Vec::len).max().unwrap_or_default().max(KEPT_MAX_BYTES);
    let began = Instant::now();
    let goes_on = |case| match budget {
        Budget::Cases(cases) => case < cases,
        Budget::Time(time) => began.elapsed() < time,
    };
    while goes_on(played.cases) {
        let case = played.cases;
        let mut dice = Dice(seed.wrapping_add(case.wrapping_mul(0x2545_f491_4f6c_dd1d)));
        let mut input = pool[dice.below(pool.len())].clone();
        let other = dice.below(pool.len());
        dice.change(&mut input, &pool[other], target.words);
        let Some(verdict) = verdict(target, &input) else { return Err(Failure { input, case: Some(case) }) };
        played.cases += 1;
        played.read += u64::from(verdict.is_read());
        if words.insert(verdict) && input.len() <= kept_max {
            let full = pool.len() >= POOL_MAX;
            if full {
                let at = dice.below(pool.len());
                pool[at] = input;
            } else {
                pool.push(input);
            }
        }
    }
    played.words = words.len();
    Ok(played)
}

fn verdict(target: &Target, input: &[u8]) -> Option<Verdict> {
    catch_unwind(AssertUnwindSafe(|| (target.run)(input))).ok()
}

/// Pieces up to this length are tried in every length: a length and what it counts go together or not at all.
const FINE: usize = 16;

/// The smallest input near this one that fails, too. What it fails with is not printed.
pub fn smallest(target: &Target, failing: &[u8]) -> Vec<u8> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let (mut best, mut tries) = (failing.to_vec(), 0);
    let mut piece = best.len() / 2;
    while piece > 0 && tries < SMALLER_TRIES {
        let mut at = 0;
        while at < best.len() && tries < SMALLER_TRIES {
            let without = [&best[..at], &best[(at + piece).min(best.len())..]].concat();
            tries += 1;
            if verdict(target, &without).is_none() {
                best = without;
            } else {
                at += piece;
            }
        }
        piece = if piece > FINE { piece / 2 } else { piece - 1 };
    }
    std::panic::set_hook(hook);
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a list of pieces with their lengths, and breaks at a piece of nine bytes that begins with a zero.
    fn planted() -> Target {
        fn run(bytes: &[u8]) -> Verdict {
            let (mut rest, mut pieces) = (bytes, 0);
            while let Some((length, behind)) = rest.split_first() {
                let Some((piece, behind)) = behind.split_at_checked(usize::from(*length)) else {
                    return Verdict::Refused(format!("cut after {pieces}"));
                };
                assert!(piece.len() != 9 || piece[0] != 0, "planted");
                (rest, pieces) = (behind, (pieces + 1).min(9));
            }
            Verdict::Read(format!("{pieces} pieces"))
        }
        Target { name: "planted", run, examples: || vec![vec![3, 1, 2, 3, 8, 1, 2, 3, 4, 5, 6, 7, 8]], words: &[] }
    }

    #[test]
    fn what_is_broken_is_found_again_from_its_seed_and_made_small() {
        let target = planted();
        let found = play(&target, 7, Budget::Cases(200_000)).unwrap_err();
        assert_eq!(play(&target, 7, Budget::Cases(200_000)).unwrap_err(), found);
        let small = smallest(&target, &found.input);
        assert_eq!((small.len(), small[0], small[1]), (10, 9, 0), "{small:?}");
        assert!(verdict(&target, &small).is_none());
    }

    #[test]
    fn inputs_with_a_new_word_are_changed_further() {
        fn run(bytes: &[u8]) -> Verdict {
            let right = bytes.iter().zip(b"PLANTED").take_while(|(a, b)| a == b).count();
            assert!(right < 7, "planted");
            Verdict::Read(right.to_string())
        }
        let words = &["P", "L", "A", "N", "T", "E", "D"];
        let target = Target { name: "planted", run, examples: || vec![b"........".to_vec()], words };
        let found = play(&target, 1, Budget::Cases(500_000)).unwrap_err();
        // No single change makes so much of it.
        assert!(found.input.starts_with(b"PLANTED"));
    }
}
