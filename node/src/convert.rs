//! Wire types to domain types and back. Wire types go no further than the node.

mod bundle;
mod freeze;

pub use bundle::*;
pub use freeze::*;

use tally_domain::boot::Statement;
use tally_domain::dsse::{Envelope, Signature};
use tally_domain::key::KeyCertificate;
use tally_domain::ports::hsm::{HsmStatus, Latency};
use tally_domain::ports::store::{KekVersionRow, RequestRow, RequestState};
use tally_domain::vote::Certificate;
use tally_domain::{
    Action, Backing, DerivationPath, HsmKeyRecord, KekState, Material, PublicKey, Purpose, Reason, Refusal, RequestId,
    Scheme, Tenant,
};
use tally_proto::v1;

use crate::hsm_keys::HsmHeld;
use crate::keys::Held;
use crate::sessions::SessionKey;

/// The envelope of a call, which must carry one.
///
/// # Errors
/// `MALFORMED` when there is none.
pub fn envelope_in(envelope: Option<v1::Envelope>) -> Result<Envelope, Refusal> {
    let e = envelope.ok_or_else(|| Refusal::new(Reason::Malformed).with("field", "intent"))?;
    let signatures = e.signatures.into_iter().map(|s| Signature { key_id: s.key_id, signature: s.signature }).collect();
    Ok(Envelope { payload: e.payload, payload_type: e.payload_type, signatures })
}

/// An envelope on the wire.
pub fn envelope_out(e: &Envelope) -> v1::Envelope {
    let signatures = e
        .signatures
        .iter()
        .map(|s| v1::EnvelopeSignature { key_id: s.key_id.clone(), signature: s.signature.clone() })
        .collect();
    v1::Envelope { payload: e.payload.clone(), payload_type: e.payload_type.clone(), signatures }
}

/// Envelopes from the wire; whoever uses them checks their signatures.
pub fn envelopes_in(envelopes: Vec<v1::Envelope>) -> Vec<Envelope> {
    envelopes.into_iter().filter_map(|e| envelope_in(Some(e)).ok()).collect()
}

/// A statement from the wire; whoever uses it checks its signatures.
pub fn statement_in(s: v1::Statement) -> Statement {
    let part = |e| envelope_in(e).ok();
    Statement { signed: part(s.signed), boot_cert: part(s.boot_cert) }
}

/// A statement on the wire.
pub fn statement_out(s: &Statement) -> v1::Statement {
    v1::Statement { signed: s.signed.as_ref().map(envelope_out), boot_cert: s.boot_cert.as_ref().map(envelope_out) }
}

/// A certificate from the wire; whoever uses it checks it.
pub fn certificate_in(c: v1::Certificate) -> Certificate {
    Certificate { votes: c.votes.into_iter().map(statement_in).collect() }
}

/// A certificate on the wire.
pub fn certificate_out(c: &Certificate) -> v1::Certificate {
    v1::Certificate { votes: c.votes.iter().map(statement_out).collect() }
}

/// A key certificate from the wire; whoever uses it checks it.
pub fn key_certificate_in(statements: Vec<v1::Statement>) -> KeyCertificate {
    KeyCertificate { statements: statements.into_iter().map(statement_in).collect() }
}

/// A session's id.
///
/// # Errors
/// `MALFORMED` when it is not 16 bytes.
pub fn session(bytes: &[u8]) -> Result<SessionKey, Refusal> {
    bytes.try_into().map_err(|_| Refusal::new(Reason::Malformed).with("field", "session"))
}

/// A request's name.
///
/// # Errors
/// `MALFORMED`.
pub fn request_name(tenant: &str, request: &[u8]) -> Result<(Tenant, RequestId), Refusal> {
    let field = |f| Refusal::new(Reason::Malformed).with("field", f);
    let tenant = Tenant::parse(tenant).map_err(|_| field("tenant"))?;
    let request = RequestId::from_slice(request).ok_or_else(|| field("request_id"))?;
    Ok((tenant, request))
}

/// A token's state as clients see it.
pub fn hsm_out(s: HsmStatus) -> v1::HsmStatus {
    let latency = |l: Latency| v1::HsmLatency {
        operation: l.operation.into(),
        count: l.count,
        p50_us: l.p50_us,
        p99_us: l.p99_us,
    };
    v1::HsmStatus {
        ok: s.fault.is_none(),
        module: s.module,
        model: s.model,
        label: s.label,
        serial: s.serial,
        sessions: s.sessions,
        error: s.fault.map(|fault| fault.to_string()).unwrap_or_default(),
        capabilities: s.capabilities,
        breaker: s.breaker.to_string(),
        queued: s.queued,
        hung: s.hung,
        pin: s.pin.to_string(),
        proven_ms_ago: s.proven_ms_ago,
        latencies: s.latencies.into_iter().map(latency).collect(),
        hardware: s.hardware,
        firmware: s.firmware,
        cryptoki: s.cryptoki,
        isolation: s.isolation.to_string(),
        process: s.process,
        restarts: s.restarts,
        standby: s.standby.map(|other| Box::new(hsm_out(*other))),
    }
}

/// A request as clients see it.
pub fn request_out(row: RequestRow) -> v1::Request {
    let (state, reason, result) = match row.state {
        RequestState::Received => (v1::RequestState::Received, String::new(), None),
        RequestState::Refused(reason) => (v1::RequestState::Refused, reason, None),
        RequestState::Completed(bytes) => {
            let signed = row.claim.action == Action::Sign;
            let result = signed.then(|| prost::Message::decode(bytes.as_slice()).ok()).flatten();
            (v1::RequestState::Completed, String::new(), result)
        }
    };
    v1::Request {
        tenant: row.claim.tenant.to_string(),
        request_id: row.claim.request.0.to_vec(),
        client: row.claim.client.to_string(),
        key: row.claim.key.to_string(),
        action: row.claim.action.as_str().into(),
        intent_digest: row.claim.intent_digest.0.to_vec(),
        state: state.into(),
        reason,
        result,
        received_at_ms: row.claim.at.0,
        updated_at_ms: row.updated_at.0,
        pending: None,
        said: Vec::new(),
    }
}

/// A key as clients see it.
pub fn key_out(held: &Held, certificate: Option<&KeyCertificate>) -> v1::Key {
    let record = &held.record;
    let (scheme, root, chain_code) = (record.scheme, &record.public_key, &record.chain_code);
    let (xpub, evm_address) = match scheme {
        Scheme::EcdsaSecp256k1 => (tally_mpc::xpub(root, chain_code), tally_chains::evm_address(root)),
        Scheme::Taproot => (tally_mpc::xpub(root, chain_code), Ok(String::new())),
        Scheme::Ed25519 => (Ok(String::new()), Ok(String::new())),
    };
    let own = tally_mpc::derive(scheme, root, chain_code, &DerivationPath::default());
    v1::Key {
        name: record.name.to_string(),
        scheme: record.scheme.as_str().into(),
        purpose: record.purpose.as_str().into(),
        t: record.threshold.t().into(),
        n: record.threshold.n().into(),
        epoch: record.epoch.0,
        state: held.state.as_str().into(),
        participants: record.participants.iter().map(ToString::to_string).collect(),
        public_key: own.map(|own| own.public_key).unwrap_or_default(),
        xpub: xpub.unwrap_or_default(),
        evm_address: evm_address.unwrap_or_default(),
        certificate: certificate.map(|c| c.statements.iter().map(statement_out).collect()).unwrap_or_default(),
        backing: Backing::Threshold.as_str().into(),
        home: String::new(),
        pem: String::new(),
        check_value: String::new(),
        chain_code: chain_code.0.to_vec(),
    }
}

/// A key in an HSM as clients see it.
pub fn hsm_key_out(held: &HsmHeld) -> v1::Key {
    let record = &held.record;
    let (public_key, pem, check_value) = match &record.material {
        Material::Signing(key) => (key.to_spki(), key.to_pem(), String::new()),
        Material::Kek { check_value, .. } => (Vec::new(), String::new(), check_value.to_string()),
        Material::Tokens { .. } => (Vec::new(), String::new(), String::new()),
    };
    v1::Key {
        name: record.name.to_string(),
        scheme: record.algorithm().into(),
        purpose: record.purpose.as_str().into(),
        t: 1,
        n: 1,
        epoch: 0,
        state: held.state().as_str().into(),
        participants: vec![record.home.to_string()],
        public_key,
        xpub: String::new(),
        evm_address: evm_address(record),
        certificate: certificate_statements(held),
        backing: Backing::Hsm.as_str().into(),
        home: record.home.to_string(),
        pem,
        check_value,
        chain_code: Vec::new(),
    }
}

/// A KEK as clients see it; with versions at its home only.
pub fn kek_out(held: &HsmHeld, versions: &[KekVersionRow]) -> v1::Kek {
    v1::Kek {
        name: held.record.name.to_string(),
        home: held.record.home.to_string(),
        state: held.state().as_str().into(),
        versions: versions.iter().map(kek_version_out).collect(),
        certificate: certificate_statements(held),
    }
}

fn kek_version_out(row: &KekVersionRow) -> v1::KekVersion {
    let version = &row.version;
    v1::KekVersion {
        number: version.number.0,
        state: version.state.as_str().into(),
        id: version.id.0.to_vec(),
        check_value: version.check_value.to_string(),
        made_at_ms: version.made_at.0,
        destroy_at_ms: match version.state {
            KekState::PendingDestruction { at } => at.0,
            _ => 0,
        },
        wraps: row.wraps,
        replicable: row.transfer.is_some(),
    }
}

fn certificate_statements(held: &HsmHeld) -> Vec<v1::Statement> {
    held.certificate.iter().flat_map(|c| &c.statements).map(statement_out).collect()
}

/// The address of a key that signs transactions; nobody should pay to one that signs anything else.
pub fn evm_address(record: &HsmKeyRecord) -> String {
    match (record.purpose, record.public_key().and_then(PublicKey::secp256k1_compressed)) {
        (Purpose::Transaction, Some(point)) => tally_chains::evm_address(&point).unwrap_or_default(),
        _ => String::new(),
    }
}
