//! Which request a leaf is about.

use super::{Event, Waiting, What};
use tally_domain::boot::Statement;
use tally_domain::cancel::Cancellation;
use tally_domain::key::KeyRecord;
use tally_domain::{Approval, HsmKeyRecord, RequestId, Tenant};

impl Event {
    /// The request that stands otherwise since this leaf, and its tenant where the leaf names it. Of a leaf that an intent
    /// came in there is none: what was decided about it follows.
    pub fn request(&self) -> Option<(Option<Tenant>, RequestId)> {
        let of = |tenant: &Tenant, id: &RequestId| Some((Some(tenant.clone()), *id));
        match &self.what {
            What::Decided { tenant, request_id, .. }
            | What::Completed { tenant, request_id, .. }
            | What::Waiting(Waiting { tenant, request_id, .. }) => of(tenant, request_id),
            What::Wrapped(done) => of(&done.by.tenant, &done.by.request_id),
            What::KekMade(done) => of(&done.by.tenant, &done.by.request_id),
            What::TokensUsed(done) => of(&done.by.tenant, &done.by.request_id),
            What::KekChanged(done) => done.by.as_ref().and_then(|by| of(&by.tenant, &by.request_id)),
            What::DomainChanged(done) => done.by.as_ref().and_then(|by| of(&by.tenant, &by.request_id)),
            What::Said { approval } => {
                let said = Approval::read_checked(approval).ok()?;
                of(&said.tenant, &said.request_id)
            }
            What::Cancelled { cancellation } => {
                let asked = Cancellation::read_checked(cancellation).ok()?;
                of(&asked.tenant, &asked.request_id)
            }
            What::KeyActive { certificate } => {
                let record = KeyRecord::from_bytes(payload(certificate.statements.first()?)?).ok()?;
                of(&record.tenant, &record.request_id)
            }
            What::HsmKeyActive { certificate } => {
                let record = HsmKeyRecord::from_bytes(payload(certificate.statements.first()?)?).ok()?;
                of(&record.tenant, &record.request_id)
            }
            What::SessionFailed { request_id, .. } => request_id.map(|id| (None, id)),
            What::Boot { .. }
            | What::IntentReceived { .. }
            | What::Voted { .. }
            | What::Released { .. }
            | What::Certified { .. }
            | What::Abandoned { .. }
            | What::KeyPending { .. }
            | What::HsmKeyPending { .. }
            | What::Frozen { .. }
            | What::Unfreezing { .. }
            | What::Unfrozen { .. }
            | What::Bundle(_)
            | What::Banned { .. } => None,
        }
    }
}

fn payload(statement: &Statement) -> Option<&[u8]> {
    Some(&statement.signed.as_ref()?.payload)
}
