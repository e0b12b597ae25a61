//! Small things as text: moments, and paths in commands to be copied.

use std::path::Path;
use tally_domain::UnixMillis;

/// RFC 3339 in UTC, to the millisecond: `2026-11-21T22:01:00.000Z`.
pub fn utc(time: UnixMillis) -> String {
    time.to_string()
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
