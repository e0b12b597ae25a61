//! Small things as text: moments, and paths in commands to be copied.

use std::path::Path;
use tally_domain::UnixMillis;
use tally_domain::time::span_words;

/// RFC 3339 in UTC, to the millisecond: `2026-11-21T22:01:00.000Z`.
pub fn utc(time: UnixMillis) -> String {
    time.to_string()
}

/// A span of time that is still to come; whoever waits until the second is over has waited long enough.
pub fn lasting(ms: u64) -> String {
    span_words(ms.div_ceil(1_000).saturating_mul(1_000))
}

/// Accounting units as whole ones, exactly; a plain number where movements and requests are counted.
pub fn units(decimals: Option<u8>, units: u128) -> String {
    let Some(decimals) = decimals else { return units.to_string() };
    let digits = format!("{units:0>width$}", width = usize::from(decimals) + 1);
    let (whole, rest) = digits.split_at_checked(digits.len() - usize::from(decimals)).unwrap_or((&digits, ""));
    match rest.trim_end_matches('0') {
        "" => whole.to_owned(),
        rest => format!("{whole}.{rest}"),
    }
}

/// A path as a shell takes it back: in quotes where it has anything but letters, digits and a few signs.
pub fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_written_exactly_as_whole_ones() {
        let table = [
            (Some(6), 1_500_000, "1.5"),
            (Some(6), 1, "0.000001"),
            (Some(6), 0, "0"),
            (Some(6), 5_000_000_000, "5000"),
            (Some(0), 7, "7"),
            (None, 12, "12"),
        ];
        for (decimals, n, text) in table {
            assert_eq!(units(decimals, n), text);
        }
    }

    #[test]
    fn paths_are_quoted_where_a_shell_would_read_something_else() {
        for (path, shown) in [
            ("/tmp/tally-1.2/my_cluster", "/tmp/tally-1.2/my_cluster"),
            ("my cluster", "'my cluster'"),
            ("it's $HOME", r"'it'\''s $HOME'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(Path::new(path)), shown);
        }
    }
}
