//! Requests that wait for persons, as one node tells them.

use super::BadField;
use tally_domain::dsse::VerifyingKey;
use tally_domain::{ClientId, Digest, KeyName, NodeName, PersonName, RequestId, Tenant, UnixMillis};
use tally_proto::v1;

/// A request that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingInfo {
    /// The node that says so.
    pub node: NodeName,
    /// Whose.
    pub tenant: Tenant,
    /// Which.
    pub request_id: RequestId,
    /// Who asks.
    pub client: ClientId,
    /// With which key.
    pub key: KeyName,
    /// Digest of the intent.
    pub intent_digest: Digest,
    /// The node's active bundle.
    pub bundle: Digest,
    /// What the node decodes, line by line; empty in lists.
    pub summary: String,
    /// Its digest, as the node says. Whoever shows the text to a person computes it again.
    pub summary_digest: Digest,
    /// When the intent expires.
    pub expires_at: UnixMillis,
    /// The node that leads once enough persons have approved.
    pub owner: NodeName,
    /// How many nodes sign.
    pub signers: u32,
    /// `waiting`, `approved`, `rejected`, or `denied`.
    pub state: String,
    /// Why it is denied, or not signed yet though enough have approved.
    pub reason: Option<String>,
    /// With `VELOCITY_LIMIT`: the limit.
    pub limit: Option<String>,
    /// Then: from when it has room, as far as the node knows.
    pub room_at: Option<UnixMillis>,
    /// What is missing: of each need, one path is enough.
    pub needs: Vec<Vec<PathInfo>>,
    /// Approvals that count at this moment, and rejections.
    pub said: Vec<SaidInfo>,
    /// Who is asked, with their keys; nobody in lists.
    pub approvers: Vec<(PersonName, Vec<VerifyingKey>)>,
    /// Who operates the client that asks, with their keys: they may not decide. Nobody in lists.
    pub initiators: Vec<(PersonName, Vec<VerifyingKey>)>,
}

/// A rule that permits it once these have approved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathInfo {
    /// The rule.
    pub rule: String,
    /// How many persons of which groups.
    pub needed: Vec<(String, u32)>,
    /// Of these, how many are missing.
    pub missing: Vec<(String, u32)>,
}

/// What a person has said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaidInfo {
    /// Who.
    pub person: PersonName,
    /// `approved` or `rejected`.
    pub verdict: String,
    /// When the node wrote it down.
    pub at: UnixMillis,
    /// With which of their keys.
    pub key: Option<VerifyingKey>,
}

pub(crate) fn pending(p: Option<v1::PendingRequest>) -> Result<PendingInfo, BadField> {
    let p = p.ok_or(BadField("request"))?;
    let digest = |bytes: &[u8], field| Digest::from_slice(bytes).ok_or(BadField(field));
    Ok(PendingInfo {
        node: NodeName::parse(&p.node).map_err(|_| BadField("request.node"))?,
        tenant: Tenant::parse(&p.tenant).map_err(|_| BadField("request.tenant"))?,
        request_id: RequestId::from_slice(&p.request_id).ok_or(BadField("request.request_id"))?,
        client: ClientId::parse(&p.client).map_err(|_| BadField("request.client"))?,
        key: KeyName::parse(&p.key).map_err(|_| BadField("request.key"))?,
        intent_digest: digest(&p.intent_digest, "request.intent_digest")?,
        bundle: digest(&p.bundle_digest, "request.bundle_digest")?,
        summary: p.summary,
        summary_digest: digest(&p.summary_digest, "request.summary_digest")?,
        expires_at: UnixMillis(p.expires_at_ms),
        owner: NodeName::parse(&p.owner).map_err(|_| BadField("request.owner"))?,
        signers: p.signers,
        state: p.state,
        reason: super::some(p.reason),
        limit: super::some(p.limit),
        room_at: (p.room_at_ms > 0).then_some(UnixMillis(p.room_at_ms)),
        needs: p.needs.into_iter().map(|need| need.paths.into_iter().map(path).collect()).collect(),
        said: said(p.said)?,
        approvers: p.approvers.into_iter().map(approver).collect::<Result<_, _>>()?,
        initiators: p.initiators.into_iter().map(approver).collect::<Result<_, _>>()?,
    })
}

pub(crate) fn said(all: Vec<v1::PersonSaid>) -> Result<Vec<SaidInfo>, BadField> {
    let one = |s: v1::PersonSaid| {
        let person = PersonName::parse(&s.person).map_err(|_| BadField("said.person"))?;
        let key = super::some(s.key).map(|key| VerifyingKey::parse(&key)).transpose();
        Ok(SaidInfo {
            person,
            verdict: s.verdict,
            at: UnixMillis(s.at_ms),
            key: key.map_err(|_| BadField("said.key"))?,
        })
    };
    all.into_iter().map(one).collect()
}

fn path(p: v1::ApprovalPath) -> PathInfo {
    let quorums = |all: Vec<v1::GroupQuorum>| all.into_iter().map(|q| (q.group, q.persons)).collect();
    PathInfo { rule: p.rule, needed: quorums(p.needed), missing: quorums(p.missing) }
}

fn approver(a: v1::Approver) -> Result<(PersonName, Vec<VerifyingKey>), BadField> {
    let person = PersonName::parse(&a.person).map_err(|_| BadField("approvers.person"))?;
    let keys = a.keys.iter().map(|key| VerifyingKey::parse(key)).collect::<Result<_, _>>();
    Ok((person, keys.map_err(|_| BadField("approvers.keys"))?))
}
