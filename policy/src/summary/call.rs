//! Calls of contracts whose ABI the bundle has, in words.

use super::{amount_of, exact, plain};
use crate::bundle::{Bundle, Call, Value};
use std::fmt::Write as _;
use tally_domain::facts::{Amount, AssetRef};

pub(super) fn call(bundle: &Bundle, call: &Call<'_>) -> String {
    let mut text = format!("{} of {} on {}", plain(&call.action()), plain(call.to), plain(call.chain));
    for (name, value) in &call.args {
        argument(&mut text, name, value);
    }
    let native = |amount| amount_of(bundle, call.chain, &AssetRef::Native, amount);
    // Writing to a string does not fail.
    if call.value != Amount::from(0) {
        let _ = write!(text, "; {} are sent along", native(call.value));
    }
    let _ = write!(text, "; fee at most {}", native(call.fee_max));
    text
}

fn argument(text: &mut String, path: &str, value: &Value) {
    match value {
        Value::Record(fields) => {
            fields.iter().for_each(|(name, value)| argument(text, &format!("{path}.{name}"), value))
        }
        other => {
            // Writing to a string does not fail.
            let _ = write!(text, "; {} = {}", plain(path), words(other));
        }
    }
}

fn words(value: &Value) -> String {
    match value {
        Value::Address(words) | Value::Text(words) => plain(words),
        Value::Bool(b) => b.to_string(),
        Value::Long(n) => n.to_string(),
        Value::Units { amount, symbol, decimals } => format!("{} {symbol}", exact(amount, *decimals)),
        Value::Set(all) => format!("[{}]", all.iter().map(words).collect::<Vec<_>>().join(", ")),
        // Lists are of words.
        Value::Record(_) => String::new(),
    }
}
