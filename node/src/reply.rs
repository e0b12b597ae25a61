//! Refusals as gRPC statuses: `google.rpc.Status` with `ErrorInfo{reason, domain: "tally"}`; the text per reason is constant.

use std::collections::HashMap;
use std::time::Duration;
use tally_domain::ports::hsm::HsmError;
use tally_domain::ports::store::tokens::{TokenConflict, VaultConflict};
use tally_domain::ports::store::{Conflict, StoreError};
use tally_domain::reason::{Class, ERROR_DOMAIN};
use tally_domain::{Reason, Refusal};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// When who was shed may come again: what waits is done by then.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The status of a refusal.
pub fn status(refusal: &Refusal) -> Status {
    let mut metadata: HashMap<String, String> = refusal.metadata.clone().into_iter().collect();
    if refusal.reason == Reason::Bug {
        let id = format!("{:016x}", rand::random::<u64>());
        tracing::error!(id, facts = ?refusal.metadata, "an error of this node's own");
        metadata.insert("id".into(), id);
    }
    let mut details = ErrorDetails::with_error_info(refusal.reason.as_str(), ERROR_DOMAIN, metadata);
    if refusal.reason == Reason::Overloaded {
        details.set_retry_info(Some(RETRY_AFTER));
    }
    Status::with_error_details(code(refusal.reason.class()), refusal.reason.sentence(), details)
}

/// When a caller may come again, in milliseconds, where the status says so.
pub fn retry_after_ms(status: &Status) -> Option<u64> {
    let after = status.get_details_retry_info()?.retry_delay?;
    u64::try_from(after.as_millis()).ok()
}

/// The refusal that a peer's status carries; a transport failure is the peer's being away.
pub fn refusal_of(status: &Status) -> Refusal {
    let info = status.get_details_error_info();
    let known = info.as_ref().and_then(|i| Reason::parse(&i.reason));
    match (known, info) {
        (Some(reason), Some(info)) => Refusal { reason, metadata: info.metadata.into_iter().collect() },
        _ if status.code() == Code::Internal => Reason::Bug.into(),
        _ => Reason::Signers.into(),
    }
}

fn code(class: Class) -> Code {
    match class {
        Class::InvalidArgument => Code::InvalidArgument,
        Class::Unauthenticated => Code::Unauthenticated,
        Class::PermissionDenied => Code::PermissionDenied,
        Class::FailedPrecondition => Code::FailedPrecondition,
        Class::NotFound => Code::NotFound,
        Class::AlreadyExists => Code::AlreadyExists,
        Class::ResourceExhausted => Code::ResourceExhausted,
        Class::Aborted => Code::Aborted,
        Class::Unavailable => Code::Unavailable,
        Class::DeadlineExceeded => Code::DeadlineExceeded,
        Class::DataLoss => Code::DataLoss,
        Class::Internal => Code::Internal,
    }
}

/// What a caller is told of a store's refusal. What the operator needs goes to the node's own log.
pub fn of_store(error: &StoreError) -> Refusal {
    match error {
        StoreError::Conflict(Conflict::RequestDigest) => Reason::RequestIdConflict.into(),
        StoreError::Conflict(Conflict::KeyExists) => Reason::KeyExists.into(),
        StoreError::Conflict(Conflict::Rejected(person)) => tally_signer::approval::rejected_by(person),
        StoreError::Conflict(Conflict::Cancelled) => Reason::Cancelled.into(),
        // The bundle changed between the decision and the step; asked again, the new one decides.
        StoreError::Conflict(Conflict::OtherBundle) => Reason::BundleMismatch.into(),
        StoreError::Conflict(Conflict::BundleForked) => Reason::BundleForked.into(),
        StoreError::Conflict(Conflict::BundleVetoed) => Reason::BundleVetoed.into(),
        StoreError::Conflict(Conflict::Frozen(name, scope)) => tally_signer::freeze::refusal(name, scope),
        // A version's state changed between the decision and the step, and asked again the answer says so; or a claim that
        // was free when the node looked was taken before the vote was written.
        StoreError::Conflict(
            Conflict::Voted
            | Conflict::Released
            | Conflict::Abandoned
            | Conflict::Completed
            | Conflict::KekState
            | Conflict::Claim { .. },
        ) => Reason::Contention.into(),
        StoreError::Conflict(
            Conflict::NoRequest | Conflict::NotVoted | Conflict::NoKey | Conflict::Backwards | Conflict::KekVersion,
        ) => {
            tracing::error!(%error, "a step does not fit the store");
            Reason::Bug.into()
        }
        StoreError::Vault(conflict) => of_vault(conflict),
        StoreError::Damaged { .. } => {
            tracing::error!(%error, "stored data is damaged");
            Reason::Tampered.into()
        }
        error => {
            tracing::error!(%error, "the store does not write");
            Reason::Storage.into()
        }
    }
}

/// What a caller is told when the vault is not as a call needs it.
fn of_vault(conflict: &VaultConflict) -> Refusal {
    match conflict {
        VaultConflict::DomainExists => Reason::KeyExists.into(),
        VaultConflict::NoDomain => Reason::DomainNotFound.into(),
        VaultConflict::Deleted => Reason::DomainDeleted.into(),
        VaultConflict::Suspended => Reason::DomainSuspended.into(),
        VaultConflict::Token(conflict) => of_token(conflict),
        VaultConflict::Tokens(conflicts) => conflicts.first().map_or(Reason::Bug.into(), |(_, first)| of_token(first)),
        VaultConflict::Key => Reason::VersionState.into(),
        VaultConflict::Needed { tokens } => Refusal::new(Reason::VersionNeeded).with("dependents", tokens.to_string()),
        VaultConflict::Rotating | VaultConflict::Cursor => Reason::RotationState.into(),
        VaultConflict::Import => Reason::ImportState.into(),
        VaultConflict::NotDeleted => {
            tracing::error!(error = %conflict, "a step does not fit the vault");
            Reason::Bug.into()
        }
    }
}

/// What a caller is told of a token that is not as a call needs it.
pub fn of_token(conflict: &TokenConflict) -> Refusal {
    match conflict {
        // The keys, or the card's token, changed between the reading and the step; asked again, it goes through.
        TokenConflict::Fingerprint(_) | TokenConflict::Taken | TokenConflict::Keys => Reason::Contention.into(),
        TokenConflict::BucketFull => Reason::TokensExhausted.into(),
        TokenConflict::Spent => Reason::DataKeySpent.into(),
        TokenConflict::Unknown => Reason::TokenNotFound.into(),
        TokenConflict::Suspended => Reason::TokenSuspended.into(),
        TokenConflict::UsedUp => Reason::TokenUsedUp.into(),
        TokenConflict::Expired => Reason::TokenExpired.into(),
        TokenConflict::Shredded => Reason::TokenShredded.into(),
    }
}

/// What a caller is told of a token's refusal.
pub fn of_hsm(error: &HsmError) -> Refusal {
    tracing::error!(%error, "the token refuses");
    match error {
        HsmError::Integrity => Reason::Tampered.into(),
        HsmError::NotOffered { .. } => Reason::HsmNotOffered.into(),
        _ => Reason::Hsm.into(),
    }
}
