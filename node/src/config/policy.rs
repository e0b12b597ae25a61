//! `[policy]`: the bundle that the node begins with.

use serde::Deserialize;
use std::path::PathBuf;
use tally_domain::Digest;
use tally_domain::time::parse_span;

/// The policy that the node begins with. Later versions come over the network and are kept in the store.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Digest of the first signed bundle of the cluster: `sha256:` and 64 hex digits.
    pub pinned: Pinned,
    /// File of that bundle; read at the first start only.
    pub bundle: PathBuf,
    /// Longest wait of a bundle that loosens, whatever the active one says: for development only.
    #[serde(default)]
    pub delay_max: Option<Span>,
}

/// A digest in a configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Pinned(pub Digest);

impl TryFrom<String> for Pinned {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = text.strip_prefix("sha256:").and_then(|digits| hex::decode(digits).ok());
        let digest = bytes.and_then(|bytes| Digest::from_slice(&bytes));
        digest.map(Self).ok_or("`pinned` is `sha256:` and the 64 hex digits that `tally policy show` prints")
    }
}

/// A span such as `2s` or `24h`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub struct Span {
    /// In milliseconds.
    pub ms: u64,
}

impl TryFrom<String> for Span {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let seconds =
            parse_span(&text).ok_or("a span is a number of seconds, minutes, hours or days, such as \"24h\"")?;
        Ok(Self { ms: u64::from(seconds) * 1_000 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_a_whole_digest_and_a_span_has_a_unit() {
        let digest = Digest::of(b"first");
        assert_eq!(Pinned::try_from(format!("sha256:{digest}")), Ok(Pinned(digest)));
        for bad in [digest.to_string(), "sha256:".into(), format!("sha256:{digest}00"), "sha256:xyz".into()] {
            assert!(Pinned::try_from(bad).unwrap_err().contains("64 hex digits"));
        }
        assert_eq!(Span::try_from("2s".to_owned()).unwrap().ms, 2_000);
        assert!(Span::try_from("2".to_owned()).is_err());
    }
}
