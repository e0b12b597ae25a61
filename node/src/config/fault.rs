//! What is wrong with the text of a configuration, without the text: a line that is wrong may be a PIN that was put there.

use anyhow::anyhow;
use toml::de::Error;

/// Where it is, and what.
pub fn of(text: &str, error: &Error) -> anyhow::Error {
    let message = without_value(error.message());
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else { return anyhow!(message) };
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    anyhow!("line {line}, column {column}: {message}")
}

/// Serde quotes a value of another type: `invalid type: string "1234", expected u32`.
fn without_value(message: &str) -> String {
    let other = ["invalid type: ", "invalid value: "].iter().find(|start| message.starts_with(**start));
    match (other, message.rsplit_once(", expected ")) {
        (Some(start), Some((value, wanted))) => {
            let kind = value.strip_prefix(*start).unwrap_or_default();
            let kind = kind.split(['"', '`']).next().unwrap_or_default().trim();
            format!("{start}{kind}, expected {wanted}")
        }
        _ => message.to_owned(),
    }
}
