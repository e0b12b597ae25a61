//! The token's random numbers: not whether they are good, which nobody can see, but whether they are there.

use super::patient::Patient;
use super::{Finding, Verdict, found};
use crate::fault::Fault;

/// Enough for bits that are biased by a hundredth to show.
const BYTES: usize = 64 * 1024;

/// Share of ones that a fair source stays within: some fifteen standard deviations.
const ONES: std::ops::RangeInclusive<f64> = 0.49..=0.51;

pub fn numbers(patient: &Patient<'_>) -> Result<Vec<Finding>, Fault> {
    let draw = || {
        let mut bytes = vec![0; BYTES];
        patient.call("C_GenerateRandom", |s| s.generate_random_slice(&mut bytes)).map(|()| bytes)
    };
    let (first, second) = (draw()?, draw()?);
    let ones: u32 = first.iter().map(|byte| byte.count_ones()).sum();
    let share = f64::from(ones) / (BYTES * 8) as f64;
    Ok(vec![if first == second || !ONES.contains(&share) {
        found(Verdict::Wrong, format!("the same bytes twice, or {share:.3} of the bits are ones"))
            .so("do not use this token: its keys can be guessed")
    } else {
        found(Verdict::Ok, format!("{BYTES} bytes at a time"))
    }])
}
