//! What the module's process answers, and how each result of the port is carried.

use super::fault::WireError;
use super::part::{WireMet, WireProof};
use super::status::WireStatus;
use super::{Bytes, Made, Malformed};
use serde::{Deserialize, Serialize};
use tally_domain::dsse::VerifyingKey;
use tally_domain::ports::hsm::{DataKey, HsmError, HsmStatus, KekMade, KeyCheckValue};
use tally_domain::{PublicKey, SecretBytes};

/// An answer. A view of the result, as [`super::Ask`] is one of the question.
#[derive(Serialize, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub enum Answer<'a> {
    Failed(WireError),
    Done,
    Bytes(Bytes<'a>),
    Identity(String),
    PublicKey(Vec<u8>),
    Kek { check_value: [u8; 3], transfer: Option<Bytes<'a>> },
    CheckValue([u8; 3]),
    Transfer(Option<Bytes<'a>>),
    DataKey { plaintext: Bytes<'a>, sealed: Bytes<'a> },
    Status(Box<WireStatus>),
    Pulse { hung: u32, stuck: bool },
    Met(Box<WireMet>),
    Two(Bytes<'a>, Bytes<'a>),
    Proof(WireProof<'a>),
    Fingerprints(Vec<[u8; 32]>),
    Sealed(Vec<Made<'a>>),
    Opened(Vec<Option<Bytes<'a>>>),
}

/// How the process is, without asking the token.
pub struct Pulse {
    /// Workers that a call into the module has not given back.
    pub hung: u32,
    /// Whether they are so many that the process is better replaced.
    pub stuck: bool,
}

/// A result that an [`Answer`] can carry.
pub trait Carried: Sized + Send + 'static {
    /// Into an answer.
    fn pack(&self) -> Answer<'_>;
    /// Out of one; `None` if it is another's.
    fn unpack(answer: Answer<'_>) -> Option<Self>;
}

/// What came of an operation, out of its answer's body.
pub fn outcome<T: Carried>(bytes: &[u8]) -> Result<Result<T, HsmError>, Malformed> {
    match super::body(bytes)? {
        Answer::Failed(error) => Ok(Err(error.into())),
        answer => T::unpack(answer).map(Ok).ok_or(Malformed),
    }
}

impl Carried for () {
    fn pack(&self) -> Answer<'_> {
        Answer::Done
    }
    fn unpack(answer: Answer<'_>) -> Option<Self> {
        matches!(answer, Answer::Done).then_some(())
    }
}

impl Carried for Vec<u8> {
    fn pack(&self) -> Answer<'_> {
        Answer::Bytes(Bytes(self))
    }
    fn unpack(answer: Answer<'_>) -> Option<Self> {
        if let Answer::Bytes(bytes) = answer { Some(bytes.0.to_vec()) } else { None }
    }
}

impl Carried for SecretBytes {
    fn pack(&self) -> Answer<'_> {
        Answer::Bytes(Bytes(self.expose()))
    }
    fn unpack(answer: Answer<'_>) -> Option<Self> {
        Vec::unpack(answer).map(Self::new)
    }
}

impl Carried for VerifyingKey {
    fn pack(&self) -> Answer<'_> {
        Answer::Identity(self.to_string())
    }
    fn unpack(answer: Answer<'_>) -> Option<Self> {
        if let Answer::Identity(key) = answer { Self::parse(&key).ok() } else { None }
    }
}

impl Carried for PublicKey {
    fn pack(&self) -> Answer<'_> {
        Answer::PublicKey(self.to_spki())
    }
    fn unpack(answer: Answer<'_>) -> Option<Self> {
        if let Answer::PublicKey(spki) = answer { Self::from_spki(&spki).ok() } else { None }
    }
}

impl Carried for KekMade {
    fn pack(&self) -> Answer<'_> {
        Answer::Kek { check_value: self.check_value.0, transfer: self.transfer.as_deref().map(Bytes) }
    }
    fn unpack(answer: Answer<'_>) -> Option<Self> {
        let Answer::Kek { check_value, transfer } = answer else { return None };
        Some(Self { check_value: KeyCheckValue(check_value), transfer: transfer.map(|t| t.0.to_vec()) })
    }
}

impl Carried for KeyCheckValue {
    fn pack(&self) -> Answer<'_> {
        Answer::CheckValue(self.0)
    }
    fn unpack(answer: Answer<'_>) -> Option<Self> {
        if let Answer::CheckValue(value) = answer { Some(Self(value)) } else { None }
    }
}

impl Carried for DataKey {
    fn pack(&self) -> Answer<'_> {
        Answer::DataKey { plaintext: Bytes(self.plaintext.expose()), sealed: Bytes(&self.sealed) }
    }
    fn unpack(answer: Answer<'_>) -> Option<Self> {
        let Answer::DataKey { plaintext, sealed } = answer else { return None };
        Some(Self { plaintext: SecretBytes::new(plaintext.0.to_vec()), sealed: sealed.0.to_vec() })
    }
}

impl Carried for HsmStatus {
    fn pack(&self) -> Answer<'_> {
        Answer::Status(Box::new(self.into()))
    }
    fn unpack(answer: Answer<'_>) -> Option<Self> {
        if let Answer::Status(status) = answer { Some((*status).into()) } else { None }
    }
}

impl Carried for Pulse {
    fn pack(&self) -> Answer<'_> {
        Answer::Pulse { hung: self.hung, stuck: self.stuck }
    }
    fn unpack(answer: Answer<'_>) -> Option<Self> {
        if let Answer::Pulse { hung, stuck } = answer { Some(Self { hung, stuck }) } else { None }
    }
}
