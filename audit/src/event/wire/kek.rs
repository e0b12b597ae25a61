//! The protobuf form of leaves about KEKs.

use super::{BadLeaf, digest, key, request_id, tenant};
use crate::event::{Asked, KekChanged, KekMade, Wrapped};
use tally_domain::ports::hsm::{KekId, KeyCheckValue};
use tally_domain::{Action, KekEvent, KekNumber, UnixMillis, WrapKind};

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct AskedBody {
    #[prost(string, tag = "1")]
    tenant: String,
    #[prost(bytes = "vec", tag = "2")]
    request_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    intent_digest: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct KekMadeBody {
    #[prost(message, optional, tag = "1")]
    by: Option<AskedBody>,
    #[prost(string, tag = "2")]
    kek: String,
    #[prost(uint32, tag = "3")]
    number: u32,
    #[prost(bytes = "vec", tag = "4")]
    id: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    check_value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct KekChangedBody {
    #[prost(message, optional, tag = "1")]
    by: Option<AskedBody>,
    #[prost(string, tag = "2")]
    kek: String,
    #[prost(uint32, tag = "3")]
    number: u32,
    #[prost(string, tag = "4")]
    event: String,
    /// Only where a destruction was scheduled.
    #[prost(uint64, optional, tag = "5")]
    destroy_at_ms: Option<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct WrappedBody {
    #[prost(message, optional, tag = "1")]
    by: Option<AskedBody>,
    /// The intent's action.
    #[prost(uint32, tag = "2")]
    call: u32,
    #[prost(string, tag = "3")]
    kek: String,
    #[prost(uint32, tag = "4")]
    number: u32,
    #[prost(uint32, optional, tag = "5")]
    from: Option<u32>,
    #[prost(bytes = "vec", tag = "6")]
    blob: Vec<u8>,
}

impl From<&Asked> for AskedBody {
    fn from(a: &Asked) -> Self {
        Self {
            tenant: a.tenant.as_str().into(),
            request_id: a.request_id.0.to_vec(),
            intent_digest: a.intent_digest.0.to_vec(),
        }
    }
}

impl From<&KekMade> for KekMadeBody {
    fn from(m: &KekMade) -> Self {
        Self {
            by: Some((&m.by).into()),
            kek: m.kek.as_str().into(),
            number: m.number.0,
            id: m.id.0.to_vec(),
            check_value: m.check_value.0.to_vec(),
        }
    }
}

impl From<&KekChanged> for KekChangedBody {
    fn from(c: &KekChanged) -> Self {
        let destroy_at_ms = match c.event {
            KekEvent::DestructionScheduled { at } => Some(at.0),
            _ => None,
        };
        Self {
            by: c.by.as_ref().map(Into::into),
            kek: c.kek.as_str().into(),
            number: c.number.0,
            event: c.event.as_str().into(),
            destroy_at_ms,
        }
    }
}

impl From<&Wrapped> for WrappedBody {
    fn from(w: &Wrapped) -> Self {
        Self {
            by: Some((&w.by).into()),
            call: w.kind.action().number(),
            kek: w.kek.as_str().into(),
            number: w.number.0,
            from: w.from.map(|n| n.0),
            blob: w.blob.0.to_vec(),
        }
    }
}

impl TryFrom<AskedBody> for Asked {
    type Error = BadLeaf;

    fn try_from(b: AskedBody) -> Result<Self, BadLeaf> {
        Ok(Self {
            tenant: tenant(&b.tenant)?,
            request_id: request_id(&b.request_id)?,
            intent_digest: digest("intent_digest", &b.intent_digest)?,
        })
    }
}

impl TryFrom<KekMadeBody> for KekMade {
    type Error = BadLeaf;

    fn try_from(b: KekMadeBody) -> Result<Self, BadLeaf> {
        let bad = |field| move |_| BadLeaf::Field(field);
        Ok(Self {
            by: b.by.ok_or(BadLeaf::Field("by"))?.try_into()?,
            kek: key(&b.kek)?,
            number: number(b.number)?,
            id: KekId(b.id.as_slice().try_into().map_err(bad("id"))?),
            check_value: KeyCheckValue(b.check_value.as_slice().try_into().map_err(bad("check_value"))?),
        })
    }
}

impl TryFrom<KekChangedBody> for KekChanged {
    type Error = BadLeaf;

    fn try_from(b: KekChangedBody) -> Result<Self, BadLeaf> {
        let event = match (b.event.as_str(), b.destroy_at_ms) {
            ("disabled", None) => KekEvent::Disabled,
            ("enabled", None) => KekEvent::Enabled,
            ("destruction-scheduled", Some(at)) => KekEvent::DestructionScheduled { at: UnixMillis(at) },
            ("destruction-cancelled", None) => KekEvent::DestructionCancelled,
            ("destroying", None) => KekEvent::Destroying,
            ("destroyed", None) => KekEvent::Destroyed,
            ("replicated", None) => KekEvent::Replicated,
            _ => return Err(BadLeaf::Field("event")),
        };
        let by = b.by.map(TryInto::try_into).transpose()?;
        Ok(Self { by, kek: key(&b.kek)?, number: number(b.number)?, event })
    }
}

impl TryFrom<WrappedBody> for Wrapped {
    type Error = BadLeaf;

    fn try_from(b: WrappedBody) -> Result<Self, BadLeaf> {
        let kind = Action::from_number(b.call).and_then(WrapKind::of);
        Ok(Self {
            by: b.by.ok_or(BadLeaf::Field("by"))?.try_into()?,
            kind: kind.ok_or(BadLeaf::Field("call"))?,
            kek: key(&b.kek)?,
            number: number(b.number)?,
            from: b.from.map(number).transpose()?,
            blob: digest("blob", &b.blob)?,
        })
    }
}

fn number(n: u32) -> Result<KekNumber, BadLeaf> {
    if n == 0 { Err(BadLeaf::Field("number")) } else { Ok(KekNumber(n)) }
}
