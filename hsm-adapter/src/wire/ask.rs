//! What a node asks of the module's process: the port's operations, by name.

use super::Bytes;
use crate::config::{Mode, Role};
use crate::pin::PinSource;
use crate::profile::Profile;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use tally_domain::ports::hsm::Seal;

/// The first frame: which token, and what for. Holds no secret: the PIN is read where it is used.
#[derive(Serialize, Deserialize)]
pub struct Hello {
    /// Version of the program that asks. Both sides are built together.
    pub version: String,
    /// What is to be done.
    pub opening: Opening,
    /// A filter for the log.
    pub log_level: String,
    /// Whether the log is for machines.
    pub log_json: bool,
}

/// What a [`Hello`] begins.
#[derive(Serialize, Deserialize)]
pub enum Opening {
    /// Connect and serve.
    Serve(Chosen),
    /// Make the identity key if there is none, tell its public half, and end.
    Provision(Chosen),
    /// Make the identity key if there is none, tell what the token is, and do what a [`super::Part`] asks.
    Pair(Chosen),
}

/// A token and how it is used: a [`crate::Config`] without its PIN.
#[derive(Serialize, Deserialize)]
pub struct Chosen {
    /// The PKCS#11 library.
    pub module: PathBuf,
    /// The token's label.
    pub token_label: String,
    /// The token's serial number.
    pub token_serial: Option<String>,
    /// Where the PIN comes from.
    pub pin: PinSource,
    /// Sessions that work at the same time.
    pub workers: u32,
    /// How long one operation may take, in milliseconds.
    pub deadline_ms: u64,
    /// What the token is to its node.
    pub role: Role,
    /// How strict the node is.
    pub mode: Mode,
    /// What the operator says of the token.
    pub profile: Option<Profile>,
}

/// One operation of the port. A view of what the caller gave: it owns nothing, secrets least of all.
#[derive(Serialize, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub enum Ask<'a> {
    SignIdentity {
        message: Bytes<'a>,
    },
    CreateSealingKey {
        id: [u8; 16],
    },
    Seal {
        id: [u8; 16],
        aad: Bytes<'a>,
        plaintext: Bytes<'a>,
    },
    Open {
        id: [u8; 16],
        aad: Bytes<'a>,
        sealed: Bytes<'a>,
    },
    DestroySealingKey {
        id: [u8; 16],
    },
    CreateSigningKey {
        id: [u8; 16],
        scheme: u32,
    },
    Sign {
        id: [u8; 16],
        scheme: u32,
        to_sign: Bytes<'a>,
    },
    CreateKek {
        id: [u8; 16],
    },
    ReplicateKek {
        id: [u8; 16],
        transfer: Bytes<'a>,
    },
    GenerateDataKey {
        bytes: u64,
        under: Under<'a>,
    },
    Wrap {
        under: Under<'a>,
        plaintext: Bytes<'a>,
    },
    Unwrap {
        under: Under<'a>,
        sealed: Bytes<'a>,
    },
    Rewrap {
        from: Under<'a>,
        sealed: Bytes<'a>,
        to: Under<'a>,
    },
    DestroyKek {
        id: [u8; 16],
    },
    /// About a token domain.
    Vault(super::VaultAsk<'a>),
    Status,
    /// Whether the process lives and its workers come back. Answered without the token.
    Pulse,
}

/// [`Seal`], borrowed.
#[derive(Serialize, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct Under<'a> {
    kek: [u8; 16],
    aad: Bytes<'a>,
}

impl<'a> From<&'a Seal> for Under<'a> {
    fn from(seal: &'a Seal) -> Self {
        Self { kek: seal.kek.0, aad: Bytes(&seal.aad) }
    }
}

impl From<Under<'_>> for Seal {
    fn from(under: Under<'_>) -> Self {
        Self { kek: tally_domain::ports::hsm::KekId(under.kek), aad: under.aad.0.to_vec() }
    }
}
