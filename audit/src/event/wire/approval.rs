//! The protobuf form of a request that waits for persons.

use super::{digest, node, request_id, tenant};
use crate::event::{BadLeaf, Waiting};
use tally_domain::UnixMillis;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct WaitingBody {
    #[prost(string, tag = "1")]
    tenant: String,
    #[prost(bytes = "vec", tag = "2")]
    request_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    intent_digest: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    bundle: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    summary_digest: Vec<u8>,
    #[prost(string, tag = "6")]
    owner: String,
    #[prost(uint64, tag = "7")]
    expires_at_ms: u64,
}

impl From<&Waiting> for WaitingBody {
    fn from(w: &Waiting) -> Self {
        Self {
            tenant: w.tenant.as_str().into(),
            request_id: w.request_id.0.to_vec(),
            intent_digest: w.intent_digest.0.to_vec(),
            bundle: w.bundle.0.to_vec(),
            summary_digest: w.summary_digest.0.to_vec(),
            owner: w.owner.as_str().into(),
            expires_at_ms: w.expires_at.0,
        }
    }
}

impl TryFrom<WaitingBody> for Waiting {
    type Error = BadLeaf;

    fn try_from(w: WaitingBody) -> Result<Self, BadLeaf> {
        Ok(Self {
            tenant: tenant(&w.tenant)?,
            request_id: request_id(&w.request_id)?,
            intent_digest: digest("intent_digest", &w.intent_digest)?,
            bundle: digest("bundle", &w.bundle)?,
            summary_digest: digest("summary_digest", &w.summary_digest)?,
            owner: node("owner", &w.owner)?,
            expires_at: UnixMillis(w.expires_at_ms),
        })
    }
}
