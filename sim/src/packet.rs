//! What travels between nodes.

use crate::node::SessionKey;
use std::sync::Arc;
use tally_domain::boot::Statement;
use tally_domain::dsse::Envelope;
use tally_domain::freeze::UnfreezeCertificate;
use tally_domain::{Attempt, Digest, NodeName, Refusal, SignerSet};
use tally_signer::claims::InTheWay;
use tally_signer::recovery::Report;

/// A proposal to sign together.
pub(crate) struct Proposal {
    pub(crate) session: SessionKey,
    pub(crate) envelope: Envelope,
    pub(crate) attempt: Attempt,
    pub(crate) signers: SignerSet,
    pub(crate) abandonments: Vec<Statement>,
    /// Encoded; empty when nothing is claimed.
    pub(crate) claims: Vec<u8>,
    pub(crate) bundle: Digest,
    /// What persons have signed, by person.
    pub(crate) said: Vec<Envelope>,
}

/// A no to a proposal or to a question for a vote, with what is in the way of its claims.
#[derive(Clone)]
pub(crate) struct No {
    pub(crate) refusal: Refusal,
    pub(crate) in_the_way: Vec<InTheWay>,
}

impl From<Refusal> for No {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, in_the_way: Vec::new() }
    }
}

/// What a node answers when asked for a request.
#[derive(Clone)]
pub(crate) struct Recovered {
    pub(crate) result: Vec<u8>,
    pub(crate) reports: Vec<Report>,
}

/// What travels. `rpc` ties an answer to its question.
#[derive(Clone)]
pub(crate) enum Body {
    Session { key: SessionKey, bytes: Vec<u8> },
    Propose { rpc: u64, proposal: Arc<Proposal> },
    Proposed { rpc: u64, answer: Result<Vec<u8>, No> },
    Vote { key: SessionKey, envelope: Arc<Envelope>, said: Arc<Vec<Envelope>>, body: Arc<Vec<u8>> },
    Voted { key: SessionKey, answer: Result<Vec<u8>, No> },
    Recover { rpc: u64, envelope: Arc<Envelope> },
    Recovered { rpc: u64, answer: Result<Recovered, Refusal> },
    Complete { envelope: Arc<Envelope>, result: Vec<u8> },
    Said { envelope: Arc<Envelope>, owner: NodeName, said: Arc<Vec<Envelope>> },
    Freeze { statement: Arc<Statement> },
    Lift { certificate: Arc<UnfreezeCertificate> },
}

/// A packet under way.
#[derive(Clone)]
pub(crate) struct Packet {
    pub(crate) from: NodeName,
    pub(crate) to: NodeName,
    pub(crate) body: Body,
}
