//! The one result of a request, as bytes that every node stores and returns unchanged.

use crate::admit::Subject;
use crate::boot::BootIdentity;
use prost::Message as _;
use tally_audit::event::What;
use tally_domain::boot::{BootCert, Statement};
use tally_domain::dsse::{Envelope, VerifyingKey};
use tally_domain::ports::store::{Step, Write};
use tally_domain::roster::Roster;
use tally_domain::vote::Certificate;
use tally_domain::{ContentKind, Reason, Refusal, Scheme, UnixMillis};
use tally_mpc::{Signature, derive_output, verify};

/// The result; field numbers are those of `SignResponse` in `proto/`, so that the stored bytes are the answer.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SignResult {
    /// The signature.
    #[prost(message, optional, tag = "1")]
    pub signature: Option<WireSignature>,
    /// The complete transaction; empty for messages.
    #[prost(bytes = "vec", tag = "2")]
    pub signed_payload: Vec<u8>,
    /// The (derived) public key, for Taproot the output key; of a key in an HSM its SubjectPublicKeyInfo.
    #[prost(bytes = "vec", tag = "3")]
    pub public_key: Vec<u8>,
    /// The rule that permitted it.
    #[prost(string, tag = "4")]
    pub rule: String,
    /// The votes of all signers, and of no other voter: each signer keeps those with its release. Nothing for a key in an HSM.
    #[prost(message, optional, tag = "5")]
    pub certificate: Option<Certificate>,
    /// What was signed; for a Taproot output with scripts their Merkle root follows.
    #[prost(bytes = "vec", tag = "6")]
    pub signed_bytes: Vec<u8>,
    /// The node whose HSM signed; empty for a threshold key.
    #[prost(string, tag = "7")]
    pub home: String,
}

/// A signature on the wire.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WireSignature {
    /// 64 bytes; RSA 384.
    #[prost(bytes = "vec", tag = "1")]
    pub bytes: Vec<u8>,
    /// ECDSA only.
    #[prost(uint32, tag = "2")]
    pub recovery_id: u32,
}

/// Builds the result from a signature that has been combined.
///
/// # Errors
/// `INTERNAL` when the signature does not verify under the derived key, or does not fit the transaction: then nothing
/// is returned or stored.
pub fn build(
    subject: &Subject,
    rule: &str,
    signature: &Signature,
    certificate: Certificate,
) -> Result<SignResult, Refusal> {
    let intent = subject.intent();
    let record = subject.record();
    let (root, merkle_root) = (&record.public_key, subject.to_sign().merkle_root());
    let derived = derive_output(record.scheme, root, &record.chain_code, &intent.path, merkle_root);
    let derived = derived.map_err(|_| Reason::Bug)?;
    if !verify(record.scheme, &derived.public_key, subject.to_sign().message(), signature) {
        return Err(Reason::Bug.into());
    }
    let (recovery_id, signed_payload) = match signature {
        Signature::Ecdsa { r, s, recovery_id } => {
            let payload = match intent.kind {
                ContentKind::EvmTransaction => {
                    tally_chains::signed_transaction(&intent.content, *r, *s, *recovery_id).map_err(|_| Reason::Bug)?
                }
                ContentKind::Message
                | ContentKind::TypedData
                | ContentKind::PersonalMessage
                | ContentKind::KeySpec
                | ContentKind::RawDigest
                | ContentKind::Iso20022
                | ContentKind::HsmKeySpec
                | ContentKind::WrapSpec
                | ContentKind::KekSpec
                | ContentKind::FreezeSpec
                | ContentKind::UnfreezeSpec
                | ContentKind::VetoSpec
                | ContentKind::DomainSpec
                | ContentKind::DomainChange
                | ContentKind::TokenCall => Vec::new(),
            };
            (u32::from(*recovery_id), payload)
        }
        Signature::Ed25519(_) | Signature::Bip340(_) => (0, Vec::new()),
    };
    Ok(SignResult {
        signature: Some(WireSignature { bytes: signature.to_bytes().to_vec(), recovery_id }),
        signed_payload,
        public_key: derived.public_key,
        rule: rule.into(),
        certificate: Some(certificate.signers_part(usize::from(record.threshold.t()))),
        signed_bytes: subject.bytes_to_sign(),
        home: String::new(),
    })
}

/// Checks a result that another node gives for a request that this node has decoded itself: the certificate must be
/// for this very intent, and the signature must verify under the key. The rule is the other node's word: votes do not
/// name it.
///
/// # Errors
/// `PROTOCOL_VIOLATION`: the result is not believed.
pub fn check(bytes: &[u8], subject: &Subject, roster: &Roster) -> Result<SignResult, Refusal> {
    let bad = || Refusal::new(Reason::ProtocolViolation).with("round", "complete");
    let result = SignResult::decode(bytes).map_err(|_| bad())?;
    let certificate = result.certificate.clone().ok_or_else(bad)?;
    let body = certificate.open_signers(roster).map_err(|_| bad())?;
    if !certificate.votes.iter().all(|vote| hints_are_true(vote, roster)) {
        return Err(bad());
    }
    let intent = subject.intent();
    let record = subject.record();
    let about_this = body.tenant == intent.tenant
        && body.request_id == intent.request_id
        && body.intent_digest == subject.opened().digest()
        && body.digest == subject.digest_to_sign()
        && body.rule == result.rule
        && body.signers.len() == usize::from(record.threshold.t())
        && body.signers.iter().all(|s| record.party(s).is_some());
    if !about_this {
        return Err(bad());
    }
    let wire = result.signature.as_ref().ok_or_else(bad)?;
    let signature = signature_in(record.scheme, wire).ok_or_else(bad)?;
    let rebuilt = build(subject, &result.rule, &signature, certificate).map_err(|_| bad())?;
    if rebuilt.encode_to_vec() == bytes { Ok(result) } else { Err(bad()) }
}

/// The key ids in a statement's envelopes are outside the signatures. A result is compared byte for byte and holds votes, so
/// they must say what is so: with another one, members would have different results of one request.
pub(crate) fn hints_are_true(statement: &Statement, roster: &Roster) -> bool {
    let signed_by = |envelope: &Envelope, key: &VerifyingKey| {
        let name = key.to_string();
        envelope.signatures.iter().all(|s| s.key_id == name)
    };
    let (Some(signed), Some(cert)) = (&statement.signed, &statement.boot_cert) else { return false };
    BootCert::open(cert, roster).is_ok_and(|boot| {
        signed_by(signed, &boot.boot_key) && roster.node(&boot.node).is_some_and(|node| signed_by(cert, &node.identity))
    })
}

fn signature_in(scheme: Scheme, wire: &WireSignature) -> Option<Signature> {
    let bytes: [u8; 64] = wire.bytes.as_slice().try_into().ok()?;
    match scheme {
        Scheme::EcdsaSecp256k1 => {
            let (r, s) = bytes.split_first_chunk::<32>()?;
            let recovery_id = u8::try_from(wire.recovery_id).ok()?;
            Some(Signature::Ecdsa { r: *r, s: s.try_into().ok()?, recovery_id })
        }
        Scheme::Ed25519 => Some(Signature::Ed25519(bytes)),
        Scheme::Taproot => Some(Signature::Bip340(bytes)),
    }
}

/// The step that makes a result durable, with its leaf.
pub fn complete_step(subject: &Subject, result: &SignResult, boot: &BootIdentity, now: UnixMillis) -> Step {
    let intent = subject.intent();
    let leaf = boot.leaf(
        now,
        What::Completed {
            tenant: intent.tenant.clone(),
            request_id: intent.request_id,
            intent_digest: subject.opened().digest(),
            key: intent.key.clone(),
            path: intent.path.clone(),
            signature: result.signature.as_ref().map(|s| s.bytes.clone()).unwrap_or_default(),
            public_key: result.public_key.clone(),
            to_sign: result.signed_bytes.clone(),
        },
    );
    let write = Write::Complete {
        tenant: intent.tenant.clone(),
        request: intent.request_id,
        result: result.encode_to_vec(),
        at: now,
    };
    Step { writes: vec![write], leaves: vec![leaf] }
}
