//! Derivation paths: BIP-32, non-hardened only, because a hardened step needs the whole private key.

use std::fmt;

/// First index that BIP-32 reserves for hardened derivation.
const HARDENED: u32 = 1 << 31;

/// `m/0/7`: at most [`DerivationPath::MAX_DEPTH`] non-hardened steps. Empty is the key itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct DerivationPath(Vec<u32>);

/// Why a path is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// Not of the form `m/0/7`.
    #[error("a path looks like `m/0/7`: `m`, then non-negative numbers")]
    Syntax,
    /// More steps than allowed.
    #[error("a path has at most {} steps", DerivationPath::MAX_DEPTH)]
    TooDeep,
    /// A step at or above 2^31.
    #[error("hardened steps need the whole private key, which no machine has; use numbers below 2^31")]
    Hardened,
}

impl DerivationPath {
    /// Deepest path (S-3.12): account/chain/index schemes use three.
    pub const MAX_DEPTH: usize = 5;

    /// Checks depth and that no step is hardened.
    ///
    /// # Errors
    /// [`BadPath::TooDeep`], [`BadPath::Hardened`].
    pub fn new(steps: Vec<u32>) -> Result<Self, BadPath> {
        if steps.len() > Self::MAX_DEPTH {
            return Err(BadPath::TooDeep);
        }
        if steps.iter().any(|s| *s >= HARDENED) {
            return Err(BadPath::Hardened);
        }
        Ok(Self(steps))
    }

    /// Reads `m`, `m/0`, `m/0/7`.
    ///
    /// # Errors
    /// [`BadPath`].
    pub fn parse(s: &str) -> Result<Self, BadPath> {
        let mut parts = s.split('/');
        if parts.next() != Some("m") {
            return Err(BadPath::Syntax);
        }
        let steps = parts
            .map(|p| {
                if p.ends_with('\'') || p.ends_with('h') {
                    return Err(BadPath::Hardened);
                }
                // A path has one spelling, without zeros before a number.
                let plain = !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()) && (p == "0" || !p.starts_with('0'));
                if plain { p.parse::<u32>().map_err(|_| BadPath::Hardened) } else { Err(BadPath::Syntax) }
            })
            .collect::<Result<Vec<_>, _>>()?;
        Self::new(steps)
    }

    /// The steps from the key down.
    pub fn steps(&self) -> &[u32] {
        &self.0
    }

    /// Whether this is the key itself.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Four big-endian bytes a step: the form that is hashed.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|s| s.to_be_bytes()).collect()
    }
}

impl fmt::Display for DerivationPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("m")?;
        self.0.iter().try_for_each(|s| write!(f, "/{s}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_and_print() {
        for s in ["m", "m/0", "m/0/7", "m/44/60/0/0/2147483647"] {
            assert_eq!(DerivationPath::parse(s).unwrap().to_string(), s);
        }
    }

    #[test]
    fn s_3_12_hardened_deep_and_garbled_paths_are_refused() {
        assert_eq!(DerivationPath::parse("m/0'"), Err(BadPath::Hardened));
        assert_eq!(DerivationPath::parse("m/2147483648"), Err(BadPath::Hardened));
        assert_eq!(DerivationPath::parse("m/1/2/3/4/5/6"), Err(BadPath::TooDeep));
        for s in ["", "0/1", "m/", "m//1", "m/-1", "m/+1", "m/x", "m/00", "m/07"] {
            assert_eq!(DerivationPath::parse(s), Err(BadPath::Syntax), "{s:?}");
        }
    }
}
