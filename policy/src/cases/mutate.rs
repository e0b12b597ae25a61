//! Which thresholds no case would notice being changed: each number is moved a step up and a step down, and all cases are
//! decided again.

use super::Case;
use crate::bundle::{Bundle, Files, LIMITS, POLICY, file_text, limit_numbers};
use crate::error::{BundleError, Place};
use crate::rules::rule_numbers;
use std::ops::Range;

/// A number that decides, and another that no case tells from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Threshold {
    /// The file.
    pub file: String,
    /// Where in it.
    pub place: Place,
    /// The number.
    pub is: String,
    /// The other.
    pub could_be: String,
}

/// The thresholds of the files that no case notices. `cases` pass as the files are.
///
/// # Errors
/// [`BundleError`] when the files are no bundle.
pub fn unnoticed(files: &Files, cases: &[Case]) -> Result<Vec<Threshold>, BundleError> {
    let mut numbers: Vec<(&str, Range<usize>)> =
        rule_numbers(file_text(files, POLICY)?).into_iter().map(|range| (POLICY, range)).collect();
    if files.contains_key(LIMITS) {
        numbers.extend(limit_numbers(file_text(files, LIMITS)?)?.into_iter().map(|range| (LIMITS, range)));
    }
    let mut found = Vec::new();
    for (file, range) in numbers {
        let text = file_text(files, file)?;
        let is = text.get(range.clone()).unwrap_or_default();
        for could_be in steps(is) {
            let mut changed = files.clone();
            let (before, after) = (text.get(..range.start), text.get(range.end..));
            let text = format!("{}{could_be}{}", before.unwrap_or_default(), after.unwrap_or_default());
            changed.insert(file.into(), text.into_bytes());
            // What does not load cannot come to be by oversight.
            let Ok(bundle) = Bundle::load(&changed) else { continue };
            if cases.iter().all(|case| case.run(&bundle).wrong.is_none()) {
                let place = Place::of_byte(file_text(files, file)?, range.start);
                found.push(Threshold { file: file.into(), place, is: is.into(), could_be });
            }
        }
    }
    Ok(found)
}

/// The number with its last place one up and one down.
fn steps(number: &str) -> Vec<String> {
    let places = number.split_once('.').map_or(0, |(_, part)| part.len());
    let digits: String = number.chars().filter(|c| c.is_ascii_digit()).collect();
    let Ok(n) = digits.parse::<u128>() else { return Vec::new() };
    let shown = |n: u128| {
        let text = format!("{n:0>width$}", width = places + 1);
        match text.split_at_checked(text.len() - places) {
            Some((whole, part)) if places > 0 => format!("{whole}.{part}"),
            _ => text,
        }
    };
    n.checked_add(1).into_iter().chain(n.checked_sub(1)).map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_one_in_the_last_place() {
        for (number, up, down) in [
            ("1000", "1001", "999"),
            ("0.05", "0.06", "0.04"),
            ("2_000", "2001", "1999"),
            ("1.00", "1.01", "0.99"),
            ("10", "11", "9"),
        ] {
            assert_eq!(steps(number), [up, down]);
        }
        assert_eq!(steps("0"), ["1"]);
    }
}
