//! The protobuf form of a leaf, and the way there and back. Every field is carried over as it is or refused, so two
//! different leaves never read as the same event.

mod approval;
mod bundle;
mod decided;
mod fields;
mod kek;
mod token;
mod verdict;

use super::{BadLeaf, Event, LEAF_VERSION, Origin, What};
use fields::{digest, key, node, request_id, tenant};
use tally_domain::boot::Statement;
use tally_domain::dsse::Envelope;
use tally_domain::freeze::UnfreezeCertificate;
use tally_domain::hsm_key::HsmKeyCertificate;
use tally_domain::key::KeyCertificate;
use tally_domain::vote::Certificate;
use tally_domain::{Attempt, ClientId, DerivationPath, Epoch, Incarnation, UnixMillis};

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Leaf {
    #[prost(uint32, tag = "1")]
    pub(super) version: u32,
    #[prost(string, tag = "2")]
    node: String,
    #[prost(uint64, tag = "3")]
    incarnation: u64,
    #[prost(uint64, tag = "4")]
    time_ms: u64,
    #[prost(
        oneof = "Body",
        tags = "10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 40, 41, 42, 50, 51, 52, 60, 70, 71, 72"
    )]
    body: Option<Body>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Body {
    #[prost(message, tag = "10")]
    Boot(Boot),
    #[prost(message, tag = "11")]
    IntentReceived(IntentReceived),
    #[prost(message, tag = "12")]
    Decided(decided::DecidedBody),
    #[prost(message, tag = "13")]
    Voted(Statement),
    #[prost(message, tag = "14")]
    Released(Released),
    #[prost(message, tag = "15")]
    Abandoned(Statement),
    #[prost(message, tag = "16")]
    Completed(Completed),
    #[prost(bytes = "vec", tag = "17")]
    KeyPending(Vec<u8>),
    #[prost(message, tag = "18")]
    KeyActive(KeyCertificate),
    #[prost(message, tag = "19")]
    Banned(Banned),
    #[prost(message, tag = "20")]
    SessionFailed(SessionFailed),
    #[prost(bytes = "vec", tag = "21")]
    HsmKeyPending(Vec<u8>),
    #[prost(message, tag = "22")]
    HsmKeyActive(HsmKeyCertificate),
    #[prost(message, tag = "23")]
    KekMade(kek::KekMadeBody),
    #[prost(message, tag = "24")]
    KekChanged(kek::KekChangedBody),
    #[prost(message, tag = "25")]
    Wrapped(kek::WrappedBody),
    #[prost(message, tag = "40")]
    Frozen(Statement),
    #[prost(message, tag = "41")]
    Unfreezing(Statement),
    #[prost(message, tag = "42")]
    Unfrozen(UnfreezeCertificate),
    #[prost(message, tag = "50")]
    Waiting(approval::WaitingBody),
    #[prost(message, tag = "51")]
    Said(Envelope),
    #[prost(message, tag = "52")]
    Cancelled(Envelope),
    #[prost(message, tag = "60")]
    Bundle(bundle::BundleBody),
    #[prost(message, tag = "70")]
    Certified(Certificate),
    #[prost(message, tag = "71")]
    DomainChanged(token::DomainChangedBody),
    #[prost(message, tag = "72")]
    TokensUsed(token::TokensUsedBody),
}

#[derive(Clone, PartialEq, prost::Message)]
struct Boot {
    #[prost(message, optional, tag = "1")]
    boot_cert: Option<Envelope>,
    #[prost(bytes = "vec", tag = "2")]
    bundle: Vec<u8>,
    #[prost(string, tag = "3")]
    version: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct IntentReceived {
    #[prost(message, optional, tag = "1")]
    envelope: Option<Envelope>,
    #[prost(bytes = "vec", tag = "2")]
    digest: Vec<u8>,
    #[prost(oneof = "From_", tags = "3, 4")]
    from: Option<From_>,
}

/// [`Origin`] as protobuf.
#[derive(Clone, PartialEq, prost::Oneof)]
enum From_ {
    #[prost(string, tag = "3")]
    Client(String),
    #[prost(string, tag = "4")]
    Peer(String),
}

#[derive(Clone, PartialEq, prost::Message)]
struct Released {
    #[prost(string, tag = "1")]
    tenant: String,
    #[prost(bytes = "vec", tag = "2")]
    request_id: Vec<u8>,
    #[prost(uint32, tag = "3")]
    attempt: u32,
    #[prost(message, optional, tag = "4")]
    certificate: Option<Certificate>,
    #[prost(bytes = "vec", tag = "5")]
    partial_digest: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Completed {
    #[prost(string, tag = "1")]
    tenant: String,
    #[prost(bytes = "vec", tag = "2")]
    request_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    intent_digest: Vec<u8>,
    #[prost(string, tag = "4")]
    key: String,
    #[prost(uint32, repeated, tag = "5")]
    path: Vec<u32>,
    #[prost(bytes = "vec", tag = "6")]
    signature: Vec<u8>,
    #[prost(bytes = "vec", tag = "7")]
    public_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "8")]
    to_sign: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Banned {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(uint32, tag = "2")]
    epoch: u32,
    #[prost(string, tag = "3")]
    peer: String,
    #[prost(string, tag = "4")]
    what: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SessionFailed {
    #[prost(bytes = "vec", optional, tag = "1")]
    request_id: Option<Vec<u8>>,
    #[prost(string, tag = "2")]
    what: String,
    #[prost(string, optional, tag = "3")]
    culprit: Option<String>,
    #[prost(string, repeated, tag = "4")]
    missing: Vec<String>,
}

impl From<&Event> for Leaf {
    fn from(e: &Event) -> Self {
        Self {
            version: LEAF_VERSION,
            node: e.node.as_str().into(),
            incarnation: e.incarnation.0,
            time_ms: e.time.0,
            body: Some(Body::from(&e.what)),
        }
    }
}

impl From<&What> for Body {
    fn from(what: &What) -> Self {
        match what {
            What::Boot { boot_cert, bundle, version } => Self::Boot(Boot {
                boot_cert: Some(boot_cert.clone()),
                bundle: bundle.0.to_vec(),
                version: version.clone(),
            }),
            What::IntentReceived { envelope, from, digest } => Self::IntentReceived(IntentReceived {
                envelope: Some(envelope.clone()),
                digest: digest.0.to_vec(),
                from: Some(from.into()),
            }),
            What::Decided { tenant, request_id, intent_digest, verdict, bundle, summary, limits } => {
                Self::Decided(decided::DecidedBody {
                    tenant: tenant.as_str().into(),
                    request_id: request_id.0.to_vec(),
                    intent_digest: intent_digest.0.to_vec(),
                    bundle: bundle.0.to_vec(),
                    summary: summary.clone(),
                    verdict: Some(verdict.into()),
                    limits: limits.iter().map(Into::into).collect(),
                })
            }
            What::Voted { vote } => Self::Voted(vote.clone()),
            What::Released { tenant, request_id, attempt, certificate, partial_digest } => Self::Released(Released {
                tenant: tenant.as_str().into(),
                request_id: request_id.0.to_vec(),
                attempt: attempt.0,
                certificate: Some(certificate.clone()),
                partial_digest: partial_digest.0.to_vec(),
            }),
            What::Certified { certificate } => Self::Certified(certificate.clone()),
            What::Abandoned { statement } => Self::Abandoned(statement.clone()),
            What::Completed { tenant, request_id, intent_digest, key, path, signature, public_key, to_sign } => {
                Self::Completed(Completed {
                    tenant: tenant.as_str().into(),
                    request_id: request_id.0.to_vec(),
                    intent_digest: intent_digest.0.to_vec(),
                    key: key.as_str().into(),
                    path: path.steps().to_vec(),
                    signature: signature.clone(),
                    public_key: public_key.clone(),
                    to_sign: to_sign.clone(),
                })
            }
            What::KeyPending { record } => Self::KeyPending(record.clone()),
            What::KeyActive { certificate } => Self::KeyActive(certificate.clone()),
            What::HsmKeyPending { record } => Self::HsmKeyPending(record.clone()),
            What::HsmKeyActive { certificate } => Self::HsmKeyActive(certificate.clone()),
            What::KekMade(made) => Self::KekMade(made.into()),
            What::KekChanged(changed) => Self::KekChanged(changed.into()),
            What::Wrapped(wrapped) => Self::Wrapped(wrapped.into()),
            What::DomainChanged(changed) => Self::DomainChanged(changed.into()),
            What::TokensUsed(used) => Self::TokensUsed(used.into()),
            What::Frozen { statement } => Self::Frozen(statement.clone()),
            What::Unfreezing { statement } => Self::Unfreezing(statement.clone()),
            What::Unfrozen { certificate } => Self::Unfrozen(certificate.clone()),
            What::Waiting(waiting) => Self::Waiting(waiting.into()),
            What::Said { approval } => Self::Said(approval.clone()),
            What::Cancelled { cancellation } => Self::Cancelled(cancellation.clone()),
            What::Bundle(event) => Self::Bundle(event.into()),
            What::Banned { key, epoch, peer, what } => Self::Banned(Banned {
                key: key.as_str().into(),
                epoch: epoch.0,
                peer: peer.as_str().into(),
                what: what.clone(),
            }),
            What::SessionFailed { request_id, what, culprit, missing } => Self::SessionFailed(SessionFailed {
                request_id: request_id.map(|r| r.0.to_vec()),
                what: what.clone(),
                culprit: culprit.as_ref().map(|c| c.as_str().into()),
                missing: missing.iter().map(|m| m.as_str().into()).collect(),
            }),
        }
    }
}

impl From<&Origin> for From_ {
    fn from(from: &Origin) -> Self {
        match from {
            Origin::Client(c) => Self::Client(c.as_str().into()),
            Origin::Peer(n) => Self::Peer(n.as_str().into()),
        }
    }
}

impl TryFrom<Leaf> for Event {
    type Error = BadLeaf;

    fn try_from(w: Leaf) -> Result<Self, BadLeaf> {
        Ok(Self {
            node: node("node", &w.node)?,
            incarnation: Incarnation(w.incarnation),
            time: UnixMillis(w.time_ms),
            what: w.body.ok_or(BadLeaf::Field("what"))?.try_into()?,
        })
    }
}

impl TryFrom<Body> for What {
    type Error = BadLeaf;

    fn try_from(body: Body) -> Result<Self, BadLeaf> {
        Ok(match body {
            Body::Boot(b) => Self::Boot {
                boot_cert: b.boot_cert.ok_or(BadLeaf::Field("boot_cert"))?,
                bundle: digest("bundle", &b.bundle)?,
                version: b.version,
            },
            Body::IntentReceived(i) => Self::IntentReceived {
                envelope: i.envelope.ok_or(BadLeaf::Field("envelope"))?,
                digest: digest("digest", &i.digest)?,
                from: match i.from.ok_or(BadLeaf::Field("from"))? {
                    From_::Client(c) => Origin::Client(ClientId::parse(&c).map_err(|_| BadLeaf::Field("from"))?),
                    From_::Peer(n) => Origin::Peer(node("from", &n)?),
                },
            },
            Body::Decided(d) => Self::Decided {
                tenant: tenant(&d.tenant)?,
                request_id: request_id(&d.request_id)?,
                intent_digest: digest("intent_digest", &d.intent_digest)?,
                verdict: d.verdict.ok_or(BadLeaf::Field("verdict"))?.into(),
                bundle: digest("bundle", &d.bundle)?,
                summary: d.summary,
                limits: d.limits.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            },
            Body::Voted(vote) => Self::Voted { vote },
            Body::Released(r) => Self::Released {
                tenant: tenant(&r.tenant)?,
                request_id: request_id(&r.request_id)?,
                attempt: Attempt(r.attempt),
                certificate: r.certificate.ok_or(BadLeaf::Field("certificate"))?,
                partial_digest: digest("partial_digest", &r.partial_digest)?,
            },
            Body::Certified(certificate) => Self::Certified { certificate },
            Body::Abandoned(statement) => Self::Abandoned { statement },
            Body::Completed(c) => Self::Completed {
                tenant: tenant(&c.tenant)?,
                request_id: request_id(&c.request_id)?,
                intent_digest: digest("intent_digest", &c.intent_digest)?,
                key: key(&c.key)?,
                path: DerivationPath::new(c.path).map_err(|_| BadLeaf::Field("path"))?,
                signature: c.signature,
                public_key: c.public_key,
                to_sign: c.to_sign,
            },
            Body::KeyPending(record) => Self::KeyPending { record },
            Body::KeyActive(certificate) => Self::KeyActive { certificate },
            Body::HsmKeyPending(record) => Self::HsmKeyPending { record },
            Body::HsmKeyActive(certificate) => Self::HsmKeyActive { certificate },
            Body::KekMade(made) => Self::KekMade(made.try_into()?),
            Body::KekChanged(changed) => Self::KekChanged(changed.try_into()?),
            Body::Wrapped(wrapped) => Self::Wrapped(wrapped.try_into()?),
            Body::DomainChanged(changed) => Self::DomainChanged(changed.try_into()?),
            Body::TokensUsed(used) => Self::TokensUsed(used.try_into()?),
            Body::Frozen(statement) => Self::Frozen { statement },
            Body::Unfreezing(statement) => Self::Unfreezing { statement },
            Body::Unfrozen(certificate) => Self::Unfrozen { certificate },
            Body::Waiting(waiting) => Self::Waiting(waiting.try_into()?),
            Body::Said(approval) => Self::Said { approval },
            Body::Cancelled(cancellation) => Self::Cancelled { cancellation },
            Body::Bundle(event) => Self::Bundle(event.try_into()?),
            Body::Banned(b) => {
                Self::Banned { key: key(&b.key)?, epoch: Epoch(b.epoch), peer: node("peer", &b.peer)?, what: b.what }
            }
            Body::SessionFailed(s) => Self::SessionFailed {
                request_id: s.request_id.as_deref().map(request_id).transpose()?,
                what: s.what,
                culprit: s.culprit.as_deref().map(|c| node("culprit", c)).transpose()?,
                missing: s.missing.iter().map(|m| node("missing", m)).collect::<Result<_, _>>()?,
            },
        })
    }
}
