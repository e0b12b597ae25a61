//! What the log says of KEKs. Nothing that was wrapped is in it, only digests of wrapped data.

use tally_domain::ports::hsm::{KekId, KeyCheckValue};
use tally_domain::{Digest, KekEvent, KekNumber, KeyName, RequestId, Tenant, WrapKind};

/// The request that asked for something; its intent and its permit stand before in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Tenant of the request.
    pub tenant: Tenant,
    /// The request.
    pub request_id: RequestId,
    /// Digest of its intent.
    pub intent_digest: Digest,
}

/// A new version of a KEK is on this node's token. Of the first one it is not told yet that the KEK has its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KekMade {
    /// Who wanted it.
    pub by: Asked,
    /// The KEK.
    pub kek: KeyName,
    /// Which version.
    pub number: KekNumber,
    /// Its key on the token.
    pub id: KekId,
    /// Its check value.
    pub check_value: KeyCheckValue,
}

/// Something became of a version of a KEK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KekChanged {
    /// Who wanted it; nobody, when its time has come.
    pub by: Option<Asked>,
    /// The KEK.
    pub kek: KeyName,
    /// Which version.
    pub number: KekNumber,
    /// What.
    pub event: KekEvent,
}

/// A KEK has wrapped or opened something, and the client is about to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrapped {
    /// Who wanted it.
    pub by: Asked,
    /// What was done.
    pub kind: WrapKind,
    /// The KEK.
    pub kek: KeyName,
    /// The version that has wrapped; to unwrap, the one that has opened.
    pub number: KekNumber,
    /// The version that has opened what was wrapped anew.
    pub from: Option<KekNumber>,
    /// SHA-256 of the wrapped data: what was made, or to unwrap what was opened.
    pub blob: Digest,
}
