//! Votes, and the certificate that they make together: those of all of S, and of a quorum of all voters where a limit
//! applies. One vote for one object, for ever; written down before it leaves.

mod home;

pub use home::HomeTask;

use crate::boot::{BadStatement, BootCert, Statement};
use crate::claim::Claims;
use crate::digest::Digest;
use crate::dsse::{Envelope, SigningKey};
use crate::ids::{Attempt, NodeName, RequestId, Tenant};
use crate::intent::decode_canonical;
use crate::quorum::Electorate;
use crate::roster::Roster;
use prost::Message as _;
use std::collections::BTreeSet;

/// DSSE payload type of a vote.
pub const VOTE_TYPE: &str = "application/vnd.tally.vote.v1+protobuf";
/// DSSE payload type of a promise never to release for an attempt.
pub const ABANDON_TYPE: &str = "application/vnd.tally.abandon.v1+protobuf";

/// What a voter votes on, as a whole. All votes of one certificate must be the same, to the byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoteBody {
    /// Tenant of the request.
    pub tenant: Tenant,
    /// The request.
    pub request_id: RequestId,
    /// Digest of the client's intent.
    pub intent_digest: Digest,
    /// Which try; the object of the vote is (tenant, request, attempt).
    pub attempt: Attempt,
    /// Nodes of S, in the order of their party index.
    pub signers: Vec<NodeName>,
    /// The digest to be signed.
    pub digest: Digest,
    /// What the one-time material of this session is: hash of the presignature's R or of the FROST commitment list,
    /// with S and the session id. Binding it to `digest` here makes a second use need a second certificate (S-3.4).
    pub nonce_binding: Digest,
    /// Session id: everything else that the session is bound to (S-3.19).
    pub session: Digest,
    /// The policy bundle under which each member decided.
    pub bundle: Digest,
    /// The rule by which each member decided.
    pub rule: String,
    /// What the request takes of the limits that apply to it, if any do. It decides who has to vote.
    pub claims: Option<Claims>,
    /// Digests of the approvals under which each member decided, in the order of their persons.
    pub approvals: Vec<Digest>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Body {
    #[prost(string, tag = "1")]
    tenant: String,
    #[prost(bytes = "vec", tag = "2")]
    request_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    intent_digest: Vec<u8>,
    #[prost(uint32, tag = "4")]
    attempt: u32,
    #[prost(string, repeated, tag = "5")]
    signers: Vec<String>,
    #[prost(bytes = "vec", tag = "6")]
    digest: Vec<u8>,
    #[prost(bytes = "vec", tag = "7")]
    nonce_binding: Vec<u8>,
    #[prost(bytes = "vec", tag = "8")]
    session: Vec<u8>,
    #[prost(bytes = "vec", tag = "9")]
    bundle: Vec<u8>,
    #[prost(string, tag = "10")]
    rule: String,
    /// Encoded claims; empty when no limit applies.
    #[prost(bytes = "vec", tag = "11")]
    claims: Vec<u8>,
    #[prost(bytes = "vec", repeated, tag = "12")]
    approvals: Vec<Vec<u8>>,
}

impl VoteBody {
    /// Canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        Body {
            tenant: self.tenant.as_str().into(),
            request_id: self.request_id.0.to_vec(),
            intent_digest: self.intent_digest.0.to_vec(),
            attempt: self.attempt.0,
            signers: self.signers.iter().map(|s| s.as_str().into()).collect(),
            digest: self.digest.0.to_vec(),
            nonce_binding: self.nonce_binding.0.to_vec(),
            session: self.session.0.to_vec(),
            bundle: self.bundle.0.to_vec(),
            rule: self.rule.clone(),
            claims: self.claims.as_ref().map(Claims::to_bytes).unwrap_or_default(),
            approvals: self.approvals.iter().map(|d| d.0.to_vec()).collect(),
        }
        .encode_to_vec()
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// [`BadStatement::Malformed`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadStatement> {
        let b: Body = decode_canonical(bytes).map_err(|_| BadStatement::Malformed)?;
        let digest = |d: &[u8]| Digest::from_slice(d).ok_or(BadStatement::Malformed);
        let claims = match b.claims.as_slice() {
            [] => None,
            bytes => Some(Claims::from_bytes(bytes).map_err(|_| BadStatement::Malformed)?),
        };
        Ok(Self {
            tenant: Tenant::parse(&b.tenant).map_err(|_| BadStatement::Malformed)?,
            request_id: RequestId::from_slice(&b.request_id).ok_or(BadStatement::Malformed)?,
            intent_digest: digest(&b.intent_digest)?,
            attempt: Attempt(b.attempt),
            signers: b
                .signers
                .iter()
                .map(|s| NodeName::parse(s).map_err(|_| BadStatement::Malformed))
                .collect::<Result<_, _>>()?,
            digest: digest(&b.digest)?,
            nonce_binding: digest(&b.nonce_binding)?,
            session: digest(&b.session)?,
            bundle: digest(&b.bundle)?,
            rule: b.rule,
            claims,
            approvals: b.approvals.iter().map(|d| digest(d)).collect::<Result<_, _>>()?,
        })
    }

    /// Signs the vote with the node's boot key. The caller writes it down before it leaves.
    pub fn sign(&self, boot_key: &SigningKey, boot_cert: &Envelope) -> Statement {
        Statement::sign(VOTE_TYPE, self.to_bytes(), boot_key, boot_cert)
    }
}

/// The votes on one body: what a partial signature demands. First those of all of S; where a limit applies, then those of
/// other voters.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Certificate {
    /// One vote of each voter.
    #[prost(message, repeated, tag = "1")]
    pub votes: Vec<Statement>,
}

/// Why a certificate is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCertificate {
    /// A vote is not believed.
    #[error("a vote is not valid: {0}")]
    Vote(#[from] BadStatement),
    /// Two votes differ in what they are for.
    #[error("the votes are not for one and the same thing")]
    Differ,
    /// A member of S is missing, votes twice, or a node that has no say votes.
    #[error("the votes are not those of exactly S")]
    NotAllOfS,
    /// A limit applies, and too few voters agree that it leaves room.
    #[error("a limit applies, and the votes are too few for it")]
    TooFew,
    /// For what one node does alone where a session's is needed, or the other way round.
    #[error("the votes are for another kind of work: of one node alone, or of a session")]
    OtherKind,
}

impl Certificate {
    /// Checks every vote and that they are those of whoever has to vote; gives what was voted.
    ///
    /// # Errors
    /// [`BadCertificate`].
    pub fn open(&self, roster: &Roster) -> Result<VoteBody, BadCertificate> {
        let (body, voters) = self.read_session(roster)?;
        if body.claims.is_none() {
            return exactly_signers(body, &voters);
        }
        let signers: BTreeSet<_> = body.signers.iter().cloned().collect();
        if signers.len() != body.signers.len() || !signers.is_subset(&voters) {
            return Err(BadCertificate::NotAllOfS);
        }
        if Electorate::from(roster).reached(&voters) { Ok(body) } else { Err(BadCertificate::TooFew) }
    }

    /// Whose votes they are, as far as their boot certificates are believed.
    pub fn voters(&self, roster: &Roster) -> BTreeSet<NodeName> {
        let certs = self.votes.iter().filter_map(|vote| vote.boot_cert.as_ref());
        certs.filter_map(|cert| BootCert::open(cert, roster).ok()).map(|cert| cert.node).collect()
    }

    /// As [`Certificate::open`], for what a result carries: the votes of exactly S, whatever limits apply. A signature
    /// that exists proves that its signers saw the whole; which other voters they saw differs from member to member,
    /// and a result is the same everywhere.
    ///
    /// # Errors
    /// [`BadCertificate`].
    pub fn open_signers(&self, roster: &Roster) -> Result<VoteBody, BadCertificate> {
        let (body, voters) = self.read_session(roster)?;
        exactly_signers(body, &voters)
    }

    /// The part that [`Certificate::open_signers`] takes: the first votes, as many as there are signers.
    #[must_use]
    pub fn signers_part(mut self, signers: usize) -> Self {
        self.votes.truncate(signers);
        self
    }

    fn read_session(&self, roster: &Roster) -> Result<(VoteBody, BTreeSet<NodeName>), BadCertificate> {
        let (body, voters) = self.read(roster)?;
        if body.home().is_some() { Err(BadCertificate::OtherKind) } else { Ok((body, voters)) }
    }

    /// What all votes are for, and whose they are.
    fn read(&self, roster: &Roster) -> Result<(VoteBody, BTreeSet<NodeName>), BadCertificate> {
        let mut first: Option<VoteBody> = None;
        let mut voters = BTreeSet::new();
        for vote in &self.votes {
            let (cert, bytes) = vote.open(VOTE_TYPE, roster)?;
            let body = VoteBody::from_bytes(bytes)?;
            if !voters.insert(cert.node) {
                return Err(BadCertificate::NotAllOfS);
            }
            match &first {
                None => first = Some(body),
                Some(f) if *f == body => {}
                Some(_) => return Err(BadCertificate::Differ),
            }
        }
        first.map(|body| (body, voters)).ok_or(BadCertificate::NotAllOfS)
    }
}

fn exactly_signers(body: VoteBody, voters: &BTreeSet<NodeName>) -> Result<VoteBody, BadCertificate> {
    let signers: BTreeSet<_> = body.signers.iter().cloned().collect();
    if signers.len() == body.signers.len() && signers == *voters { Ok(body) } else { Err(BadCertificate::NotAllOfS) }
}

/// A member's durable promise never to release a partial signature for an attempt; all t are needed, so it ends the attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abandonment {
    /// Tenant of the request.
    pub tenant: Tenant,
    /// The request.
    pub request_id: RequestId,
    /// The attempt that will never complete.
    pub attempt: Attempt,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AbandonBody {
    #[prost(string, tag = "1")]
    tenant: String,
    #[prost(bytes = "vec", tag = "2")]
    request_id: Vec<u8>,
    #[prost(uint32, tag = "3")]
    attempt: u32,
}

impl Abandonment {
    /// Signs the promise; the caller has written it down.
    pub fn sign(&self, boot_key: &SigningKey, boot_cert: &Envelope) -> Statement {
        let body = AbandonBody {
            tenant: self.tenant.as_str().into(),
            request_id: self.request_id.0.to_vec(),
            attempt: self.attempt.0,
        };
        Statement::sign(ABANDON_TYPE, body.encode_to_vec(), boot_key, boot_cert)
    }

    /// Checks a promise; gives who made it and for what.
    ///
    /// # Errors
    /// [`BadStatement`].
    pub fn open(statement: &Statement, roster: &Roster) -> Result<(NodeName, Self), BadStatement> {
        let (cert, bytes) = statement.open(ABANDON_TYPE, roster)?;
        let b: AbandonBody = decode_canonical(bytes).map_err(|_| BadStatement::Malformed)?;
        let this = Self {
            tenant: Tenant::parse(&b.tenant).map_err(|_| BadStatement::Malformed)?,
            request_id: RequestId::from_slice(&b.request_id).ok_or(BadStatement::Malformed)?,
            attempt: Attempt(b.attempt),
        };
        Ok((cert.node, this))
    }
}
