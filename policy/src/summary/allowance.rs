//! Leave to move value, and typed data, in words.

use super::{amount_of, plain};
use crate::bundle::Bundle;
use std::fmt::Write as _;
use tally_domain::UnixMillis;
use tally_domain::facts::{Allowance, AssetRef, Most, TypedDataFacts};

pub(super) fn typed_data(bundle: &Bundle, typed: &TypedDataFacts) -> String {
    let or = |text: &str, none: &str| if text.is_empty() { none.to_owned() } else { plain(text) };
    let mut text = format!(
        "typed data {} of {} for contract {} on {}",
        plain(&typed.primary_type),
        or(&typed.name, "a domain without a name"),
        or(&typed.contract, "of any address"),
        or(&typed.chain, "any chain")
    );
    if !typed.salt.is_empty() {
        // Writing to a string does not fail.
        let _ = write!(text, " with salt {}", plain(&typed.salt));
    }
    for allowance in &typed.allowances {
        // Writing to a string does not fail.
        let _ = write!(text, "; {}", self::allowance(bundle, &typed.chain, allowance));
    }
    if typed.allowances.is_empty() {
        text.push_str("; what it moves is not known");
    }
    for (path, value) in &typed.fields {
        let _ = write!(text, "; {} = {}", plain(path), plain(value));
    }
    text
}

pub(super) fn allowance(bundle: &Bundle, chain: &str, allowance: &Allowance) -> String {
    let what = match (allowance.most, &allowance.asset) {
        (Most::Unlimited, AssetRef::Collection(_)) => {
            format!("all pieces of {}", name(bundle, chain, &allowance.asset))
        }
        (Most::Unlimited, asset) => format!("any amount of {}", name(bundle, chain, asset)),
        (Most::UpTo(_), AssetRef::Collection(_)) => {
            format!("no more pieces of {}", name(bundle, chain, &allowance.asset))
        }
        (Most::UpTo(amount), asset) => format!("up to {}", amount_of(bundle, chain, asset, amount)),
    };
    let mut text = format!("{} may move {what}", plain(&allowance.spender));
    // Writing to a string does not fail.
    if !allowance.owner.is_empty() {
        let _ = write!(text, " of {}", plain(&allowance.owner));
    }
    match allowance.ends {
        // Permit2's `approve` without an expiration.
        Some(0) if allowance.use_by.is_none() => text.push_str(" within the block of this transaction alone"),
        Some(at) => {
            let _ = write!(text, " until {}", moment(at));
        }
        None => text.push_str(" without end"),
    }
    if let Some(at) = allowance.use_by {
        let _ = write!(text, ", if handed in by {}", moment(at));
    }
    text
}

/// The last second of the year 9999.
const CALENDAR_ENDS_S: u64 = 253_402_300_799;

/// A moment that a contract was given in seconds; contracts take any number, and calendars do not.
fn moment(seconds: u64) -> String {
    match seconds {
        ..=CALENDAR_ENDS_S => UnixMillis(seconds.saturating_mul(1_000)).to_string(),
        _ => format!("the second {seconds} since 1970, after all calendars"),
    }
}

fn name(bundle: &Bundle, chain: &str, asset: &AssetRef) -> String {
    let contract = plain(asset.contract().unwrap_or("the native coin"));
    let known = bundle.assets.counted(chain, asset, tally_domain::facts::Amount::from(0));
    known.map_or(contract.clone(), |c| format!("{} ({contract})", c.asset.symbol))
}
