//! Requests and their results.

use super::{BadField, PendingInfo, SaidInfo};
use tally_domain::time::CLOCK_TOLERANCE_MS;
use tally_domain::vote::Certificate;
use tally_domain::{ClientId, Digest, KeyName, NodeName, Reason, RequestId, Tenant, UnixMillis};
use tally_proto::v1;

/// Of ECDSA and Ed25519.
const SIGNATURE_BYTES: usize = 64;

/// Of RSA-3072.
const RSA_SIGNATURE_BYTES: usize = 384;

/// A signature and what shows that it was permitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// ECDSA: r and s, 32 bytes each, low s. Ed25519: 64 bytes. RSA: PSS, 384 bytes.
    pub signature: Vec<u8>,
    /// ECDSA only: 0 or 1.
    pub recovery_id: u8,
    /// The complete transaction, ready to send; empty for messages.
    pub signed_payload: Vec<u8>,
    /// The (derived) public key that the signature verifies under; of a key in an HSM its SubjectPublicKeyInfo.
    pub public_key: Vec<u8>,
    /// The rule that permitted it.
    pub rule: String,
    /// The node whose HSM signed; none for a threshold key.
    pub home: Option<NodeName>,
    /// The votes of all signers; whoever has the roster can check it. Without votes for a key in an HSM.
    pub certificate: Certificate,
    /// What was signed: a 32-byte digest for ECDSA, the message for Ed25519.
    pub signed_bytes: Vec<u8>,
}

/// A request as one node knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestInfo {
    /// Whose.
    pub tenant: Tenant,
    /// Which.
    pub request_id: RequestId,
    /// Who asked.
    pub client: ClientId,
    /// With which key.
    pub key: KeyName,
    /// The intent's action: `sign`, `create_key`, `wrap` and so on.
    pub action: String,
    /// Digest of the intent that the id names.
    pub intent_digest: Digest,
    /// Where it stands.
    pub state: RequestState,
    /// When the node first saw it.
    pub received_at: UnixMillis,
    /// Last change.
    pub updated_at: UnixMillis,
    /// What persons have said of it; not in lists.
    pub said: Vec<SaidInfo>,
}

/// Where a request stands at one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestState {
    /// Claimed; no result yet.
    Received,
    /// Until enough persons have approved it; what is missing is not in lists.
    AwaitingApproval(Option<Box<PendingInfo>>),
    /// Refused, with the reason's word. Not final: the same intent may be permitted later.
    Refused(String),
    /// Done; with the signature, if it was to sign.
    Completed(Option<Box<Signed>>),
}

impl RequestState {
    /// Whether no node can say anything else any more.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Self::Completed(_) => true,
            Self::Refused(word) => [Reason::Rejected, Reason::Cancelled].iter().any(|reason| word == reason.as_str()),
            Self::Received | Self::AwaitingApproval(_) => false,
        }
    }

    /// How much a node tells by it: one that has not led a request knows less of what keeps it.
    fn tells(&self) -> u8 {
        match self {
            Self::Received => 0,
            Self::Refused(_) => 1,
            Self::AwaitingApproval(Some(pending)) if pending.reason.is_some() => 4,
            Self::AwaitingApproval(Some(pending)) if pending.state == "approved" => 3,
            Self::AwaitingApproval(_) => 2,
            Self::Completed(_) => 5,
        }
    }
}

impl RequestInfo {
    /// Whether it tells more than what another node says of the same request. What was refused for the moment and taken up
    /// again since is open, whoever refused it before.
    pub(crate) fn tells_more_than(&self, other: &Self) -> bool {
        let after = |a: &Self, b: &Self| a.updated_at > b.updated_at.plus(CLOCK_TOLERANCE_MS);
        match (&self.state, &other.state) {
            (RequestState::Received, RequestState::Refused(_)) => after(self, other),
            (RequestState::Refused(_), RequestState::Received) => !after(other, self),
            (this, other) => this.tells() > other.tells(),
        }
    }
}

/// Some of a tenant's requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestPage {
    /// Newest first.
    pub requests: Vec<RequestInfo>,
    /// For the next page; none on the last one.
    pub next: Option<String>,
}

pub(crate) fn signed(r: v1::SignResponse) -> Result<Signed, BadField> {
    let home = super::some(r.home).map(|home| NodeName::parse(&home)).transpose().map_err(|_| BadField("home"))?;
    let fits = |len| len == SIGNATURE_BYTES || (home.is_some() && len == RSA_SIGNATURE_BYTES);
    let signature = r.signature.filter(|s| fits(s.bytes.len())).ok_or(BadField("signature"))?;
    let certificate = match (&home, r.certificate) {
        (None, Some(certificate)) => certificate,
        (Some(_), None) => v1::Certificate::default(),
        _ => return Err(BadField("certificate")),
    };
    // The two types have the same fields; encoding one and reading the other is the conversion.
    let certificate = prost::Message::encode_to_vec(&certificate);
    Ok(Signed {
        signature: signature.bytes,
        recovery_id: match u8::try_from(signature.recovery_id) {
            Ok(id @ 0..=1) => id,
            _ => return Err(BadField("signature.recovery_id")),
        },
        signed_payload: r.signed_payload,
        public_key: r.public_key,
        rule: r.rule,
        home,
        certificate: prost::Message::decode(certificate.as_slice()).map_err(|_| BadField("certificate"))?,
        signed_bytes: r.signed_bytes,
    })
}

pub(crate) fn request(r: Option<v1::Request>) -> Result<RequestInfo, BadField> {
    let r = r.ok_or(BadField("request"))?;
    let state = match v1::RequestState::try_from(r.state) {
        Ok(v1::RequestState::Received) => RequestState::Received,
        Ok(v1::RequestState::AwaitingApproval) => {
            let pending = r.pending.map(|p| super::pending(Some(p))).transpose()?;
            RequestState::AwaitingApproval(pending.map(Box::new))
        }
        Ok(v1::RequestState::Refused) => RequestState::Refused(r.reason),
        Ok(v1::RequestState::Completed) => RequestState::Completed(r.result.map(signed).transpose()?.map(Box::new)),
        Ok(v1::RequestState::Unspecified) | Err(_) => return Err(BadField("request.state")),
    };
    Ok(RequestInfo {
        tenant: Tenant::parse(&r.tenant).map_err(|_| BadField("request.tenant"))?,
        request_id: RequestId::from_slice(&r.request_id).ok_or(BadField("request.request_id"))?,
        client: ClientId::parse(&r.client).map_err(|_| BadField("request.client"))?,
        key: KeyName::parse(&r.key).map_err(|_| BadField("request.key"))?,
        action: r.action,
        intent_digest: Digest::from_slice(&r.intent_digest).ok_or(BadField("request.intent_digest"))?,
        state,
        received_at: UnixMillis(r.received_at_ms),
        updated_at: UnixMillis(r.updated_at_ms),
        said: super::said(r.said)?,
    })
}

pub(crate) fn page(r: v1::ListRequestsResponse) -> Result<RequestPage, BadField> {
    let requests = r.requests.into_iter().map(|r| request(Some(r))).collect::<Result<_, _>>()?;
    Ok(RequestPage { requests, next: super::some(r.next_page_token) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail loudly")]
mod tests {
    use super::*;

    fn told(state: RequestState, updated_at: u64) -> RequestInfo {
        RequestInfo {
            tenant: Tenant::parse("acme").unwrap(),
            request_id: RequestId([1; 16]),
            client: ClientId::parse("payouts-1").unwrap(),
            key: KeyName::parse("hot").unwrap(),
            action: "sign".into(),
            intent_digest: Digest::of(b"intent"),
            state,
            received_at: UnixMillis(1),
            updated_at: UnixMillis(updated_at),
            said: Vec::new(),
        }
    }

    #[test]
    fn what_was_taken_up_again_after_a_refusal_tells_more_than_the_refusal() {
        let refused = |at| told(RequestState::Refused("VELOCITY_LIMIT".into()), at);
        let open = |at| told(RequestState::Received, at);
        // A member's clock may be a second ahead of the leader's, who refused it last.
        for (at, is_open) in [(1, false), (10_000, false), (11_000, false), (11_001, true)] {
            assert_eq!(open(at).tells_more_than(&refused(10_000)), is_open, "{at}");
            assert_eq!(refused(10_000).tells_more_than(&open(at)), !is_open, "{at}");
        }
        assert!(told(RequestState::AwaitingApproval(None), 1).tells_more_than(&refused(2)));
        assert!(!refused(2).tells_more_than(&told(RequestState::AwaitingApproval(None), 1)));
    }
}
