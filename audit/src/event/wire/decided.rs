//! The protobuf form of a decision.

use super::digest;
use super::verdict::Verdict_;
use crate::event::{BadLeaf, LineStood};
use tally_domain::{LimitId, LineId, UnixMillis};

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct DecidedBody {
    #[prost(string, tag = "1")]
    pub(super) tenant: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) request_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) intent_digest: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) bundle: Vec<u8>,
    #[prost(string, tag = "5")]
    pub(super) summary: String,
    #[prost(oneof = "Verdict_", tags = "6, 7")]
    pub(super) verdict: Option<Verdict_>,
    /// Only where a limit applies.
    #[prost(message, repeated, tag = "8")]
    pub(super) limits: Vec<LineStoodBody>,
}

/// Units are 16 bytes, the highest first.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct LineStoodBody {
    #[prost(string, tag = "1")]
    limit: String,
    #[prost(bytes = "vec", tag = "2")]
    line: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    max: Vec<u8>,
    #[prost(uint64, tag = "4")]
    window_ms: u64,
    #[prost(bytes = "vec", tag = "5")]
    amount: Vec<u8>,
    #[prost(bytes = "vec", tag = "6")]
    taken: Vec<u8>,
    /// Only where there was no room.
    #[prost(uint64, optional, tag = "7")]
    room_at_ms: Option<u64>,
}

impl From<&LineStood> for LineStoodBody {
    fn from(l: &LineStood) -> Self {
        Self {
            limit: l.limit.to_string(),
            line: l.line.0.0.to_vec(),
            max: l.max.to_be_bytes().to_vec(),
            window_ms: l.window_ms,
            amount: l.amount.to_be_bytes().to_vec(),
            taken: l.taken.to_be_bytes().to_vec(),
            room_at_ms: l.room_at.map(|at| at.0),
        }
    }
}

impl TryFrom<LineStoodBody> for LineStood {
    type Error = BadLeaf;

    fn try_from(l: LineStoodBody) -> Result<Self, BadLeaf> {
        Ok(Self {
            limit: LimitId::parse(&l.limit).map_err(|_| BadLeaf::Field("limits.limit"))?,
            line: LineId(digest("limits.line", &l.line)?),
            max: units("limits.max", &l.max)?,
            window_ms: l.window_ms,
            amount: units("limits.amount", &l.amount)?,
            taken: units("limits.taken", &l.taken)?,
            room_at: l.room_at_ms.map(UnixMillis),
        })
    }
}

fn units(field: &'static str, bytes: &[u8]) -> Result<u128, BadLeaf> {
    bytes.try_into().map(u128::from_be_bytes).map_err(|_| BadLeaf::Field(field))
}
