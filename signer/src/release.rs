//! Release: a partial signature is computed under a certificate, written down, and only then given out.

use crate::admit::Subject;
use crate::boot::BootIdentity;
use crate::claims::Certified;
use prost::Message as _;
use tally_audit::event::What;
use tally_domain::ports::store::{AttemptId, Step, Write};
use tally_domain::vote::Certificate;
use tally_domain::{Digest, UnixMillis};
use tally_mpc::{Combiner, Fault, KeyShare, Presignature, SignInput};

/// A partial signature that is not durable yet. Its bytes cannot be read; they go into the step and, once that is
/// durable, into [`Released`].
#[must_use]
pub struct Unreleased {
    combiner: Combiner,
    partial: Vec<u8>,
    certified: Certified,
}

/// A partial signature that is on the disk and may leave. Only a session that was told of the durable step has one.
#[must_use]
pub struct Released {
    /// Collects the other partials.
    pub(crate) combiner: Combiner,
    /// The bytes that leave.
    pub(crate) partial: Vec<u8>,
    /// What allowed it.
    pub(crate) certificate: Certificate,
}

/// The public input of the signing equation. All members derive the same: the entropy comes from the session's fresh
/// nonces and from the one-time material, which were fixed after the digest was (S-3.11).
pub fn sign_input(subject: &Subject, session: &Digest, nonce_binding: &Digest) -> SignInput {
    let entropy =
        tally_domain::digest::TaggedHash::new("tally/v1/entropy").field(&session.0).field(&nonce_binding.0).finish();
    let path = subject.intent().path.clone();
    let (message, merkle_root) = (subject.to_sign().message().to_vec(), subject.to_sign().merkle_root());
    SignInput { message, path, merkle_root, entropy }
}

/// Computes this node's partial signature. Consumes the certificate and the one-time material.
///
/// # Errors
/// A [`Fault`] of the protocol; the one-time material is gone either way.
pub fn compute(
    certified: Certified,
    presignature: Presignature,
    share: &KeyShare,
    subject: &Subject,
) -> Result<Unreleased, Fault> {
    let input = sign_input(subject, &certified.body().session, &certified.body().nonce_binding);
    let (combiner, partial) = tally_mpc::partial(presignature, share, &subject.record().chain_code, &input)?;
    Ok(Unreleased { combiner, partial, certified })
}

impl Unreleased {
    /// The step that must be durable first.
    pub fn step(&self, boot: &BootIdentity, now: UnixMillis) -> Step {
        let body = self.certified.body();
        let leaf = boot.leaf(
            now,
            What::Released {
                tenant: body.tenant.clone(),
                request_id: body.request_id,
                attempt: body.attempt,
                certificate: self.certified.certificate().clone(),
                partial_digest: Digest::of(&self.partial),
            },
        );
        let write = Write::Release {
            attempt: AttemptId { tenant: body.tenant.clone(), request: body.request_id, attempt: body.attempt },
            partial: self.partial.clone(),
            certificate: self.certified.certificate().encode_to_vec(),
        };
        Step { writes: vec![write], leaves: vec![leaf] }
    }

    /// Gives the bytes out. The session calls it on the event that the step is durable, and nowhere else.
    pub(crate) fn persisted(self) -> Released {
        Released { combiner: self.combiner, partial: self.partial, certificate: self.certified.certificate().clone() }
    }
}
