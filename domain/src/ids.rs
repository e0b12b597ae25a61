//! Names and numbers that identify things. Every one is its own type, so that none can stand in for another.

use std::fmt;

/// Longest name of a tenant, client, node, key or cluster: fits a log line and a PKCS#11 label.
pub const NAME_MAX_BYTES: usize = 64;

/// A name is not one of ours: empty, too long, or with a character outside `a-z A-Z 0-9 . _ -`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a valid {what}: use 1 to 64 characters out of a-z, A-Z, 0-9, `.`, `_`, `-`")]
pub struct BadName {
    /// What kind of name was expected.
    pub what: &'static str,
    /// What was given, cut to the longest allowed length.
    pub given: String,
}

fn checked(what: &'static str, given: &str) -> Result<String, BadName> {
    let fits = (1..=NAME_MAX_BYTES).contains(&given.len());
    let plain = given.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if fits && plain {
        Ok(given.to_owned())
    } else {
        Err(BadName { what, given: given.chars().take(NAME_MAX_BYTES).collect() })
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $t:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $t(String);

        impl $t {
            /// Parses the name.
            ///
            /// # Errors
            /// [`BadName`] when it is empty, longer than [`NAME_MAX_BYTES`] or has other characters.
            pub fn parse(s: &str) -> Result<Self, BadName> {
                checked($what, s).map(Self)
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $t {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $t {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($t), self.0)
            }
        }

        impl TryFrom<String> for $t {
            type Error = BadName;
            fn try_from(s: String) -> Result<Self, BadName> {
                Self::parse(&s)
            }
        }

        impl std::str::FromStr for $t {
            type Err = BadName;
            fn from_str(s: &str) -> Result<Self, BadName> {
                Self::parse(s)
            }
        }

        impl<'de> serde::Deserialize<'de> for $t {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let s = <String as serde::Deserialize>::deserialize(d)?;
                Self::parse(&s).map_err(serde::de::Error::custom)
            }
        }

        impl serde::Serialize for $t {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }
    };
}

name!(/// Whose request it is; request ids are unique within a tenant.
    Tenant, "tenant");
name!(/// The service that signed an intent.
    ClientId, "client");
name!(/// One `tallyd` in one trust domain.
    NodeName, "node name");
name!(/// A key's name, unique in a cluster.
    KeyName, "key name");
name!(/// The set of nodes that work together.
    ClusterId, "cluster");
name!(/// A token domain's name, unique within a tenant.
    DomainName, "token domain");
name!(/// Whose cards they are, as the tenant calls a customer: its tokens can be shredded together.
    Subject, "subject");
name!(/// A person who approves, unique in a bundle.
    PersonName, "person");
name!(/// A limit of `limits.toml`, unique in a bundle.
    LimitId, "limit");

/// Sixteen random bytes that the client drew for one request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub [u8; 16]);

impl RequestId {
    /// The id in `bytes`, if there are exactly 16 of them and they are not all zero.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let id: [u8; 16] = bytes.try_into().ok()?;
        (id != [0; 16]).then_some(Self(id))
    }

    /// Reads 32 hexadecimal digits.
    pub fn from_hex(s: &str) -> Option<Self> {
        Self::from_slice(&hex::decode(s).ok()?)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({self})")
    }
}

/// Which try at one request this is, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt(pub u32);

impl Attempt {
    /// The last that a node believes in, or takes part in: ten each second for the day that a request lives at most. A node
    /// that names later ones wants to use the numbers up.
    pub const LAST: Self = Self(1_000_000);

    /// Whether an honest node can have come to this attempt.
    pub fn is_possible(self) -> bool {
        (Self(1)..=Self::LAST).contains(&self)
    }
}

/// The generation of a key's shares, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u32);

/// How many times a node has started, from 1. Newer fences older (S-3.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

/// A share-holder's place in a key, 1 to 16: the x-coordinate of its share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct PartyIndex(u8);

/// An index outside 1 to 16.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("party index {0} is outside 1 to 16")]
pub struct BadPartyIndex(pub u8);

impl PartyIndex {
    /// The highest index: no key has more share-holders.
    pub const MAX: u8 = 16;

    /// The index, if it is within 1 to 16.
    ///
    /// # Errors
    /// [`BadPartyIndex`] otherwise.
    pub fn new(i: u8) -> Result<Self, BadPartyIndex> {
        if (1..=Self::MAX).contains(&i) { Ok(Self(i)) } else { Err(BadPartyIndex(i)) }
    }

    /// The number.
    pub fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for PartyIndex {
    type Error = BadPartyIndex;
    fn try_from(i: u8) -> Result<Self, BadPartyIndex> {
        Self::new(i)
    }
}

impl From<PartyIndex> for u8 {
    fn from(i: PartyIndex) -> u8 {
        i.0
    }
}

impl fmt::Display for PartyIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_refuse_what_could_confuse_a_log_or_a_path() {
        for bad in ["", "a b", "a/b", "ä", "a\n", &"x".repeat(65)] {
            assert!(KeyName::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(KeyName::parse("hot-1.eu_W").unwrap().as_str(), "hot-1.eu_W");
    }

    #[test]
    fn request_id_refuses_wrong_length_and_zero() {
        assert!(RequestId::from_slice(&[1; 15]).is_none());
        assert!(RequestId::from_slice(&[0; 16]).is_none());
        assert!(RequestId::from_hex(&"01".repeat(16)).is_some());
    }
}
