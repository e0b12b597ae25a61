//! The encryption context: what wrapped data is bound to, in pairs of words that policy can ask about.

use std::collections::BTreeMap;

/// Most pairs: enough for who, what, where and which; all of them go into the log.
pub const CONTEXT_PAIRS_MAX: usize = 16;
/// Longest key of a pair, a name.
pub const CONTEXT_KEY_MAX_BYTES: usize = 128;
/// Longest value of a pair, an identifier.
pub const CONTEXT_VALUE_MAX_BYTES: usize = 256;

/// Pairs of key and value, each key once, in the order of their bytes. Not secret: it is in the intent and in the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EncryptionContext(BTreeMap<String, String>);

/// Why pairs are no encryption context.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadContext {
    /// Too many.
    #[error("an encryption context has at most {CONTEXT_PAIRS_MAX} pairs")]
    TooMany,
    /// A key that is empty, too long, or has other characters.
    #[error(
        "`{0}` is no key of an encryption context: 1 to {CONTEXT_KEY_MAX_BYTES} bytes without `=` and control characters"
    )]
    Key(String),
    /// A value that is too long or has other characters.
    #[error(
        "the value of `{0}` is none of an encryption context: at most {CONTEXT_VALUE_MAX_BYTES} bytes without control characters"
    )]
    Value(String),
    /// One key twice.
    #[error("the encryption context has `{0}` twice")]
    Twice(String),
}

/// One pair as protobuf; field numbers are those of `ContextPair` in `proto/`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Pair {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

impl EncryptionContext {
    /// The pairs, in whatever order they come.
    ///
    /// # Errors
    /// [`BadContext`].
    pub fn from_pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Self, BadContext> {
        let mut all = BTreeMap::new();
        for (key, value) in pairs {
            let key_fits = (1..=CONTEXT_KEY_MAX_BYTES).contains(&key.len()) && !key.contains('=') && is_plain(&key);
            if !key_fits {
                return Err(BadContext::Key(key.chars().filter(|c| !c.is_control()).collect()));
            }
            if value.len() > CONTEXT_VALUE_MAX_BYTES || !is_plain(&value) {
                return Err(BadContext::Value(key));
            }
            if all.insert(key.clone(), value).is_some() {
                return Err(BadContext::Twice(key));
            }
            if all.len() > CONTEXT_PAIRS_MAX {
                return Err(BadContext::TooMany);
            }
        }
        Ok(Self(all))
    }

    /// Key and value, in order.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    pub(super) fn to_pairs(&self) -> Vec<Pair> {
        self.pairs().map(|(key, value)| Pair { key: key.into(), value: value.into() }).collect()
    }

    /// Only in their one order.
    pub(super) fn from_ordered(pairs: &[Pair]) -> Option<Self> {
        let context = Self::from_pairs(pairs.iter().map(|p| (p.key.clone(), p.value.clone()))).ok()?;
        (context.to_pairs() == pairs).then_some(context)
    }
}

/// As rules write the pairs, with commas between them.
impl std::fmt::Display for EncryptionContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (n, (key, value)) in self.pairs().enumerate() {
            write!(f, "{}{key}={value}", if n == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

fn is_plain(text: &str) -> bool {
    !text.chars().any(char::is_control)
}
