//! Freezes on the wire.

use super::{statement_in, statement_out};
use tally_domain::FreezeName;
use tally_domain::freeze::UnfreezeCertificate;
use tally_proto::v1;
use tally_signer::freeze::Frozen;

/// A freeze in force as clients see it.
pub fn freeze_out(frozen: &Frozen) -> v1::Freeze {
    v1::Freeze {
        name: Some(freeze_name_out(&frozen.name())),
        scope: frozen.freeze.scope.as_str().into(),
        key: frozen.freeze.scope.to_text(),
        time_ms: frozen.freeze.time.0,
        intent_digest: frozen.freeze.intent.0.to_vec(),
    }
}

/// What names a freeze.
pub fn freeze_name_out(name: &FreezeName) -> v1::FreezeName {
    v1::FreezeName { node: name.by.to_string(), id: name.id.0.to_vec() }
}

/// What lifts freezes, from the wire; whoever uses it checks it.
pub fn unfreeze_in(statements: Vec<v1::Statement>) -> UnfreezeCertificate {
    UnfreezeCertificate { statements: statements.into_iter().map(statement_in).collect() }
}

/// What lifts freezes, on the wire.
pub fn unfreeze_out(certificate: &UnfreezeCertificate) -> Vec<v1::Statement> {
    certificate.statements.iter().map(statement_out).collect()
}
