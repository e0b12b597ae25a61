//! Approvals: a person's signature over what was asked, what was shown, and under which bundle. It counts for nothing else.

use crate::digest::Digest;
use crate::dsse::{Envelope, SigningKey, VerifyingKey};
use crate::ids::{ClusterId, PersonName, RequestId, Tenant};
use crate::intent::decode_canonical;
use crate::time::UnixMillis;
use prost::Message as _;

/// DSSE payload type of an approval.
pub const APPROVAL_TYPE: &str = "application/vnd.tally.approval.v1+protobuf";

/// What the person says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may be done.
    Approve,
    /// It may not, finally.
    Reject,
}

/// What a person signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// Cluster of the request.
    pub cluster: ClusterId,
    /// Tenant of the request.
    pub tenant: Tenant,
    /// The request.
    pub request_id: RequestId,
    /// Digest of the client's intent.
    pub intent_digest: Digest,
    /// Digest of what the person was shown (S-2.2 step 14).
    pub summary_digest: Digest,
    /// Digest of the bundle under which it was shown.
    pub bundle: Digest,
    /// Approved or rejected.
    pub verdict: Verdict,
    /// Who.
    pub person: PersonName,
    /// Void from this moment on.
    pub expires_at: UnixMillis,
}

/// Why bytes are not an approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadApproval {
    /// Not the one encoding of known, valid fields.
    #[error("the approval is not canonical protobuf of known, valid fields")]
    NotCanonical,
    /// Not by one of the person's keys.
    #[error("the approval's signature does not verify under a key of the person")]
    Signature,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Body {
    #[prost(string, tag = "1")]
    cluster: String,
    #[prost(string, tag = "2")]
    tenant: String,
    #[prost(bytes = "vec", tag = "3")]
    request_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    intent_digest: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    summary_digest: Vec<u8>,
    #[prost(bytes = "vec", tag = "6")]
    bundle: Vec<u8>,
    #[prost(uint32, tag = "7")]
    verdict: u32,
    #[prost(string, tag = "8")]
    person: String,
    #[prost(uint64, tag = "9")]
    expires_at_ms: u64,
}

impl Approval {
    /// The canonical bytes that a person signs.
    pub fn to_bytes(&self) -> Vec<u8> {
        Body {
            cluster: self.cluster.as_str().into(),
            tenant: self.tenant.as_str().into(),
            request_id: self.request_id.0.to_vec(),
            intent_digest: self.intent_digest.0.to_vec(),
            summary_digest: self.summary_digest.0.to_vec(),
            bundle: self.bundle.0.to_vec(),
            verdict: self.verdict.number(),
            person: self.person.as_str().into(),
            expires_at_ms: self.expires_at.0,
        }
        .encode_to_vec()
    }

    /// Signs it.
    pub fn sign(&self, key: &SigningKey) -> Envelope {
        key.seal(APPROVAL_TYPE, self.to_bytes())
    }

    /// Who the payload *says* has signed: only good for looking up the keys to check it with.
    ///
    /// # Errors
    /// [`BadApproval::NotCanonical`].
    pub fn claimed_person(envelope: &Envelope) -> Result<PersonName, BadApproval> {
        Self::read(&envelope.payload).map(|approval| approval.person)
    }

    /// The request that the payload *says* it is about: only good for looking that up.
    ///
    /// # Errors
    /// [`BadApproval::NotCanonical`].
    pub fn claimed_request(envelope: &Envelope) -> Result<(Tenant, RequestId), BadApproval> {
        Self::read(&envelope.payload).map(|approval| (approval.tenant, approval.request_id))
    }

    /// Reads one whose signature has been checked before, by whoever calls.
    ///
    /// # Errors
    /// [`BadApproval::NotCanonical`].
    pub fn read_checked(envelope: &Envelope) -> Result<Self, BadApproval> {
        Self::read(&envelope.payload)
    }

    /// Checks the signature over the received payload and only then reads it. The envelope must name the key that
    /// signed, so that no byte of it is free.
    ///
    /// # Errors
    /// [`BadApproval`].
    pub fn open(envelope: &Envelope, keys: &[VerifyingKey]) -> Result<Self, BadApproval> {
        let named = envelope.signatures.first().map(|s| s.key_id.as_str());
        let key = keys.iter().find(|key| Some(key.to_string().as_str()) == named).ok_or(BadApproval::Signature)?;
        key.verify_envelope(envelope, APPROVAL_TYPE).map_err(|_| BadApproval::Signature)?;
        Self::read(&envelope.payload)
    }

    fn read(payload: &[u8]) -> Result<Self, BadApproval> {
        let body: Body = decode_canonical(payload).map_err(|_| BadApproval::NotCanonical)?;
        Self::from_body(&body).ok_or(BadApproval::NotCanonical)
    }

    fn from_body(b: &Body) -> Option<Self> {
        Some(Self {
            cluster: ClusterId::parse(&b.cluster).ok()?,
            tenant: Tenant::parse(&b.tenant).ok()?,
            request_id: RequestId::from_slice(&b.request_id)?,
            intent_digest: Digest::from_slice(&b.intent_digest)?,
            summary_digest: Digest::from_slice(&b.summary_digest)?,
            bundle: Digest::from_slice(&b.bundle)?,
            verdict: Verdict::from_number(b.verdict)?,
            person: PersonName::parse(&b.person).ok()?,
            expires_at: UnixMillis(b.expires_at_ms),
        })
    }
}

impl Verdict {
    /// Its number in what is signed and stored.
    pub fn number(self) -> u32 {
        match self {
            Self::Approve => 1,
            Self::Reject => 2,
        }
    }

    /// The verdict of a number.
    pub fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Approve),
            2 => Some(Self::Reject),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Approval {
        Approval {
            cluster: ClusterId::parse("prod").unwrap(),
            tenant: Tenant::parse("acme").unwrap(),
            request_id: RequestId([3; 16]),
            intent_digest: Digest([4; 32]),
            summary_digest: Digest([5; 32]),
            bundle: Digest([6; 32]),
            verdict: Verdict::Approve,
            person: PersonName::parse("alice").unwrap(),
            expires_at: UnixMillis(7),
        }
    }

    #[test]
    fn s_2_0_every_flipped_bit_of_an_approval_is_refused() {
        let key = SigningKey::ed25519(&[1; 32]);
        let keys = [SigningKey::ed25519(&[2; 32]).verifying_key(), key.verifying_key()];
        let good = sample().sign(&key);
        assert_eq!(Approval::open(&good, &keys), Ok(sample()));
        let bytes = good.encode_to_vec();
        for i in 0..bytes.len() {
            for bit in 0..8 {
                let mut bad = bytes.clone();
                bad[i] ^= 1 << bit;
                let opened = Envelope::decode(bad.as_slice()).map(|e| Approval::open(&e, &keys));
                assert!(!matches!(opened, Ok(Ok(_))), "byte {i} bit {bit}");
            }
        }
    }

    #[test]
    fn others_keys_and_other_encodings_are_refused_though_signed() {
        let key = SigningKey::ed25519(&[1; 32]);
        let keys = [key.verifying_key()];
        assert_eq!(Approval::open(&sample().sign(&SigningKey::ed25519(&[2; 32])), &keys), Err(BadApproval::Signature));
        let mut unknown = sample().to_bytes();
        unknown.extend_from_slice(&[0x98, 0x06, 0x01]); // field 99, varint 1
        for payload in [unknown, vec![], vec![0xff]] {
            let sealed = key.seal(APPROVAL_TYPE, payload);
            assert_eq!(Approval::open(&sealed, &keys), Err(BadApproval::NotCanonical));
        }
        let other_type = key.seal(crate::intent::PAYLOAD_TYPE, sample().to_bytes());
        assert_eq!(Approval::open(&other_type, &keys), Err(BadApproval::Signature));
    }
}
