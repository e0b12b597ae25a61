//! What a client asks for: to freeze, or to have freezes lifted. The content of an intent.

use super::{FreezeName, NameBody, Scope, names_in, names_out};
use crate::ids::KeyName;
use crate::intent::{BadIntent, decode_canonical};
use prost::Message as _;
use std::collections::BTreeSet;

/// What an intent that freezes, or has freezes lifted, calls everything: such an intent has a key's name where others do.
/// What counts is the content, so that a key of this name is still a key.
const EVERYTHING: &str = "all";

/// To freeze.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreezeSpec {
    /// What.
    pub scope: Scope,
}

/// To have freezes lifted, all of one scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnfreezeSpec {
    /// What is frozen.
    pub scope: Scope,
    /// Which freezes of it; at least one and at most [`super::LIFTS_MAX`].
    pub lifts: BTreeSet<FreezeName>,
}

/// Both as protobuf; field numbers are those of `FreezeSpecBody` and `UnfreezeSpecBody` in `proto/`.
#[derive(Clone, PartialEq, prost::Message)]
struct Body {
    #[prost(uint32, tag = "1")]
    scope: u32,
    #[prost(string, tag = "2")]
    key: String,
    #[prost(message, repeated, tag = "3")]
    lifts: Vec<NameBody>,
}

impl Body {
    fn of(scope: &Scope, lifts: Vec<NameBody>) -> Self {
        let number = match scope {
            Scope::All => 1,
            Scope::Key(_) => 2,
        };
        Self { scope: number, key: scope.to_text(), lifts }
    }

    fn scope(&self) -> Result<Scope, BadIntent> {
        let scope = Scope::from_text(&self.key).ok_or(BadIntent::Field { field: "scope" })?;
        let fits = matches!((self.scope, &scope), (1, Scope::All) | (2, Scope::Key(_)));
        if fits { Ok(scope) } else { Err(BadIntent::Field { field: "scope" }) }
    }
}

impl FreezeSpec {
    /// The canonical bytes that go into an intent's content.
    pub fn to_bytes(&self) -> Vec<u8> {
        Body::of(&self.scope, Vec::new()).encode_to_vec()
    }

    /// Reads an intent's content.
    ///
    /// # Errors
    /// [`BadIntent`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadIntent> {
        let body: Body = decode_canonical(bytes)?;
        let scope = body.scope()?;
        if body.lifts.is_empty() { Ok(Self { scope }) } else { Err(BadIntent::Field { field: "lifts" }) }
    }
}

impl UnfreezeSpec {
    /// The canonical bytes that go into an intent's content.
    pub fn to_bytes(&self) -> Vec<u8> {
        Body::of(&self.scope, names_out(&self.lifts)).encode_to_vec()
    }

    /// Reads an intent's content.
    ///
    /// # Errors
    /// [`BadIntent`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadIntent> {
        let body: Body = decode_canonical(bytes)?;
        let lifts = names_in(&body.lifts).ok_or(BadIntent::Field { field: "lifts" })?;
        Ok(Self { scope: body.scope()?, lifts })
    }
}

impl Scope {
    /// What an intent about it has for its key.
    pub fn intent_key(&self) -> Option<KeyName> {
        self.key().cloned().or_else(|| KeyName::parse(EVERYTHING).ok())
    }
}
