//! What differs between tokens, as data: a profile for each kind of token that is known, corrected by what the token at
//! hand was seen to do when it was connected to.

use crate::config::configuration;
use crate::schemes::Schemes;
use cryptoki::object::Attribute;
use serde::{Deserialize, Serialize};
use tally_domain::ports::hsm::HsmError;

/// One file for each kind of token. The last one is for all others.
const PROFILES: [&str; 5] = [
    include_str!("../profiles/softhsm-2.6.toml"),
    include_str!("../profiles/kryoptic-1.5.toml"),
    include_str!("../profiles/luna-7.toml"),
    include_str!("../profiles/cloudhsm-5.toml"),
    include_str!("../profiles/other.toml"),
];

/// Who makes the IV of AES-GCM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GcmIv {
    /// We do.
    Caller,
    /// The token writes its own into our buffer.
    Token,
}

/// How `CKA_EC_POINT` is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EcPoint {
    /// As an octet string in DER.
    Der,
    /// As it is.
    Raw,
}

/// Whether a template for unwrapping has `CKA_VALUE_LEN`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnwrapValueLen {
    /// It may.
    Allowed,
    /// It must not.
    Forbidden,
    /// It must.
    Required,
    /// The token does not wrap keys as we do (RFC 3394).
    Unavailable,
}

impl UnwrapValueLen {
    /// What the template has, for a key of so many bytes.
    pub fn attribute(self, bytes: u64) -> Option<Attribute> {
        (self == Self::Required).then(|| Attribute::ValueLen(bytes.into()))
    }
}

/// How the token's mechanisms were tested when it was connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SelfTest {
    /// By published keys and answers.
    Vectors,
    /// It imports no keys: by undoing what it did.
    RoundTrip,
}

/// A kind of token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// What the kind is called.
    pub name: String,
    /// Whether our tests have been run against it.
    pub run: bool,
    /// What `manufacturerID` begins with.
    manufacturer: String,
    /// What `model` begins with.
    model: String,
    /// See [`GcmIv`].
    pub gcm_iv: GcmIv,
    /// See [`EcPoint`].
    pub ec_point: EcPoint,
    /// See [`UnwrapValueLen`].
    pub unwrap_value_len: UnwrapValueLen,
    /// The number of the mechanism that does RFC 5649, if it is known. Not tried: `cryptoki` cannot name the standard's own.
    pub kwp_mechanism: Option<u64>,
    /// Whether finalizing and initializing the module is a way back to a lost token.
    pub restart: bool,
}

impl Profile {
    /// Reads a capability file, such as `tally hsm doctor` writes: every field, and no other.
    ///
    /// # Errors
    /// [`HsmError::Configuration`] with the line.
    pub fn parse(text: &str) -> Result<Self, HsmError> {
        toml::from_str(text).map_err(|e| configuration(format!("the token's capability file does not read: {e}")))
    }

    /// The profile of a token that describes itself so.
    pub fn of(manufacturer: &str, model: &str) -> Result<Self, HsmError> {
        for text in PROFILES {
            let profile: Self =
                toml::from_str(text).map_err(|e| configuration(format!("a token's profile does not read: {e}")))?;
            if manufacturer.starts_with(&profile.manufacturer) && model.starts_with(&profile.model) {
                return Ok(profile);
            }
        }
        Err(configuration("there is no profile for any token".into()))
    }
}

/// What the token at hand was seen to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probed {
    /// See [`GcmIv`].
    pub gcm_iv: GcmIv,
    /// See [`EcPoint`].
    pub ec_point: EcPoint,
    /// See [`UnwrapValueLen`].
    pub unwrap_value_len: UnwrapValueLen,
    /// How many sessions that write it allows, if it says.
    pub sessions_max: Option<u64>,
    /// Which signing keys it makes.
    pub schemes: Schemes,
    /// See [`SelfTest`].
    pub self_test: SelfTest,
}

/// A token's kind and what it was seen to do. Where they differ, what was seen counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// Its kind.
    pub profile: Profile,
    /// Itself.
    pub probed: Probed,
}

impl Capabilities {
    /// Puts both together; a difference is told to the operator.
    pub fn new(profile: Profile, probed: Probed) -> Self {
        let said = (profile.gcm_iv, profile.ec_point, profile.unwrap_value_len);
        let seen = (probed.gcm_iv, probed.ec_point, probed.unwrap_value_len);
        if said != seen {
            tracing::warn!(profile = profile.name, ?said, ?seen, "the token is not as its profile says");
        }
        if !profile.run {
            tracing::warn!(profile = profile.name, "our test suite has not been run against this kind of token");
        }
        Self { profile, probed }
    }

    /// In one line.
    pub fn summary(&self) -> String {
        let Probed { gcm_iv, ec_point, unwrap_value_len, sessions_max, schemes, self_test } = self.probed;
        let word = |word: String| word.to_ascii_lowercase();
        format!(
            "profile {} ({}), GCM IV by {}, EC point {}, unwrap length {}, KWP {}, sessions {}, restart {}, \
             self-test by {}, keys {}",
            self.profile.name,
            if self.profile.run { "tested" } else { "not tested" },
            word(format!("{gcm_iv:?}")),
            word(format!("{ec_point:?}")),
            word(format!("{unwrap_value_len:?}")),
            self.profile.kwp_mechanism.map_or_else(|| "unknown".into(), |n| format!("{n:#06x}")),
            sessions_max.map_or_else(|| "unlimited".into(), |n| n.to_string()),
            if self.profile.restart { "yes" } else { "no" },
            match self_test {
                SelfTest::Vectors => "vectors",
                SelfTest::RoundTrip => "round trip",
            },
            schemes.names().join(" "),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_reads_and_is_found_by_what_its_token_says() {
        let all: Vec<Profile> = PROFILES.iter().map(|text| toml::from_str(text).unwrap()).collect();
        for profile in &all {
            assert_eq!(Profile::of(&profile.manufacturer, &profile.model).unwrap(), *profile);
        }
        let run: Vec<_> = all.iter().filter(|p| p.run).map(|p| p.name.as_str()).collect();
        assert_eq!(run, ["softhsm-2.6", "kryoptic-1.5"]);
        assert_eq!(Profile::of("ACME", "vault 1").unwrap().name, "other");
    }
}
