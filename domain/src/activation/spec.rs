//! What a client asks for when it wants a bundle vetoed: the content of an intent.

use super::BundleName;
use crate::ids::KeyName;
use crate::intent::{BadIntent, decode_canonical};
use prost::Message as _;

/// What such an intent has where others have a key's name. What counts is the content, so that a key of this name is
/// still a key.
const POLICY: &str = "policy";

/// To veto a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VetoSpec {
    /// Which.
    pub bundle: BundleName,
}

/// As protobuf; field numbers are those of `VetoSpecBody` in `proto/`.
#[derive(Clone, PartialEq, prost::Message)]
struct Body {
    #[prost(uint64, tag = "1")]
    version: u64,
    #[prost(bytes = "vec", tag = "2")]
    digest: Vec<u8>,
}

impl VetoSpec {
    /// The canonical bytes that go into an intent's content.
    pub fn to_bytes(&self) -> Vec<u8> {
        Body { version: self.bundle.version, digest: self.bundle.digest.0.to_vec() }.encode_to_vec()
    }

    /// Reads an intent's content.
    ///
    /// # Errors
    /// [`BadIntent`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadIntent> {
        let body: Body = decode_canonical(bytes)?;
        let bundle = BundleName::from_parts(body.version, &body.digest).ok_or(BadIntent::Field { field: "digest" })?;
        Ok(Self { bundle })
    }

    /// What an intent about it has for its key.
    pub fn intent_key() -> Option<KeyName> {
        KeyName::parse(POLICY).ok()
    }
}
