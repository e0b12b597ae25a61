//! [`BundleEvent`] as protobuf.

use crate::event::{BadLeaf, BundleEvent};
use tally_domain::activation::BundleCertificate;
use tally_domain::boot::Statement;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct BundleBody {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Kind {
    #[prost(bytes = "vec", tag = "1")]
    Began(Vec<u8>),
    #[prost(message, tag = "2")]
    Seen(Seen),
    #[prost(message, tag = "3")]
    Voted(Statement),
    #[prost(message, tag = "4")]
    Vetoed(Statement),
    #[prost(message, tag = "5")]
    Activated(Activated),
    #[prost(bytes = "vec", tag = "6")]
    Forked(Vec<u8>),
}

#[derive(Clone, PartialEq, prost::Message)]
struct Seen {
    #[prost(bytes = "vec", tag = "1")]
    envelope: Vec<u8>,
    #[prost(bool, tag = "2")]
    tightens: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Activated {
    #[prost(message, optional, tag = "1")]
    certificate: Option<BundleCertificate>,
    #[prost(bytes = "vec", tag = "2")]
    envelope: Vec<u8>,
}

impl From<&BundleEvent> for BundleBody {
    fn from(event: &BundleEvent) -> Self {
        let kind = match event.clone() {
            BundleEvent::Began { envelope } => Kind::Began(envelope),
            BundleEvent::Seen { envelope, tightens } => Kind::Seen(Seen { envelope, tightens }),
            BundleEvent::Voted { statement } => Kind::Voted(statement),
            BundleEvent::Vetoed { statement } => Kind::Vetoed(statement),
            BundleEvent::Activated { certificate, envelope } => {
                Kind::Activated(Activated { certificate: Some(certificate), envelope })
            }
            BundleEvent::Forked { envelope } => Kind::Forked(envelope),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<BundleBody> for BundleEvent {
    type Error = BadLeaf;

    fn try_from(body: BundleBody) -> Result<Self, BadLeaf> {
        Ok(match body.kind.ok_or(BadLeaf::Field("bundle"))? {
            Kind::Began(envelope) => Self::Began { envelope },
            Kind::Seen(Seen { envelope, tightens }) => Self::Seen { envelope, tightens },
            Kind::Voted(statement) => Self::Voted { statement },
            Kind::Vetoed(statement) => Self::Vetoed { statement },
            Kind::Activated(Activated { certificate, envelope }) => {
                Self::Activated { certificate: certificate.ok_or(BadLeaf::Field("certificate"))?, envelope }
            }
            Kind::Forked(envelope) => Self::Forked { envelope },
        })
    }
}
