//! Fields of leaves that are read strictly.

use crate::event::BadLeaf;
use tally_domain::{Digest, KeyName, NodeName, RequestId, Tenant};

pub(super) fn node(field: &'static str, s: &str) -> Result<NodeName, BadLeaf> {
    NodeName::parse(s).map_err(|_| BadLeaf::Field(field))
}

pub(super) fn key(s: &str) -> Result<KeyName, BadLeaf> {
    KeyName::parse(s).map_err(|_| BadLeaf::Field("key"))
}

pub(super) fn tenant(s: &str) -> Result<Tenant, BadLeaf> {
    Tenant::parse(s).map_err(|_| BadLeaf::Field("tenant"))
}

pub(super) fn request_id(bytes: &[u8]) -> Result<RequestId, BadLeaf> {
    RequestId::from_slice(bytes).ok_or(BadLeaf::Field("request_id"))
}

pub(super) fn digest(field: &'static str, bytes: &[u8]) -> Result<Digest, BadLeaf> {
    Digest::from_slice(bytes).ok_or(BadLeaf::Field(field))
}
