//! The example with limits, groups and admins, and the keys of its people.
#![allow(dead_code, reason = "each test file uses a part")]

use super::bundle::{EVENING, Files, amount, bundle};
use tally_domain::approval::{Approval, Verdict};
use tally_domain::dsse::SigningKey;
use tally_domain::facts::Facts;
use tally_domain::{ClientId, ClusterId, Digest, KeyName, PersonName, RequestId, Tenant, UnixMillis};
use tally_policy::{
    ApprovalSubject, Approvals, Bundle, Decision, DecisionRequest, EXAMPLE, PolicyAction, SignedBundle, Validity,
    decide_approved, shown,
};

pub const DAY_MS: u64 = 24 * 3_600_000;

pub fn treasury() -> Files {
    EXAMPLE.into_iter().map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec())).collect()
}

pub fn text(files: &Files, path: &str) -> String {
    String::from_utf8(files[path].clone()).unwrap()
}

/// The example with a file of it changed: the first `from` becomes `to`.
pub fn changed(path: &str, from: &str, to: &str) -> Files {
    let mut files = treasury();
    change(&mut files, path, from, to);
    files
}

pub fn change(files: &mut Files, path: &str, from: &str, to: &str) {
    let before = text(files, path);
    assert!(before.contains(from), "{path} has no {from}");
    files.insert(path.into(), before.replacen(from, to, 1).into_bytes());
}

/// The files of the version after.
pub fn next(version: u64) -> Files {
    changed("bundle.toml", "version = 1", &format!("version = {version}"))
}

/// A key of the example: everyone knows the seeds.
pub fn key(seed: u8) -> SigningKey {
    SigningKey::ed25519(&[seed; 32])
}

pub const ALICE: u8 = 11;
pub const BOB: u8 = 12;
pub const BOBS_SECOND: u8 = 13;
pub const CAROL: u8 = 14;
pub const DAVE: u8 = 15;
pub const ERIN: u8 = 16;
pub const FRANK: u8 = 17;
pub const GRACE: u8 = 18;
pub const GRACES_SECOND: u8 = 19;

pub fn month() -> Validity {
    Validity { not_before: EVENING, not_after: EVENING.plus(30 * DAY_MS) }
}

pub fn signed(files: &Files, previous: Option<&Bundle>, by: &[u8]) -> SignedBundle {
    let mut signed = SignedBundle::pack(files, previous, month()).unwrap_or_else(|e| panic!("{e}"));
    by.iter().for_each(|seed| signed.sign(&key(*seed)));
    signed
}

/// A request under the example, and what people say about it.
pub struct Desk {
    pub bundle: Bundle,
    client: ClientId,
    key: KeyName,
    tenant: Tenant,
    facts: Facts,
}

impl Desk {
    pub fn new(facts: Facts) -> Self {
        Self::with(&treasury(), facts)
    }

    pub fn with(files: &Files, facts: Facts) -> Self {
        Self {
            bundle: bundle(files),
            client: ClientId::parse("payout-service").unwrap(),
            key: KeyName::parse("hot").unwrap(),
            tenant: Tenant::parse("acme").unwrap(),
            facts,
        }
    }

    pub fn request(&self) -> DecisionRequest<'_> {
        DecisionRequest { client: &self.client, key: &self.key, action: PolicyAction::Sign(&self.facts) }
    }

    pub fn subject(&self) -> ApprovalSubject<'_> {
        ApprovalSubject {
            tenant: &self.tenant,
            request_id: RequestId([7; 16]),
            client: &self.client,
            intent_digest: Digest([8; 32]),
            summary_digest: shown(&self.bundle, &self.request()).digest,
        }
    }

    pub fn statement(&self, person: &str, verdict: Verdict) -> Approval {
        let subject = self.subject();
        Approval {
            cluster: ClusterId::parse("example").unwrap(),
            tenant: subject.tenant.clone(),
            request_id: subject.request_id,
            intent_digest: subject.intent_digest,
            summary_digest: subject.summary_digest,
            bundle: self.bundle.digest(),
            verdict,
            person: PersonName::parse(person).unwrap(),
            expires_at: EVENING.plus(3_600_000),
        }
    }

    pub fn decide(&self, said: &[(&str, u8, Verdict)]) -> Decision {
        self.decide_at(said, EVENING)
    }

    pub fn decide_at(&self, said: &[(&str, u8, Verdict)], now: UnixMillis) -> Decision {
        let envelopes: Vec<_> = said.iter().map(|(who, seed, v)| self.statement(who, *v).sign(&key(*seed))).collect();
        let approvals = Approvals::collect(&self.bundle, &self.subject(), &envelopes, now);
        decide_approved(&self.bundle, &self.request(), &approvals, now)
    }
}

/// An amount of whole USDC.
pub fn whole_usdc(units: u128, to: &str) -> tally_domain::facts::Movement {
    let mut movement = super::bundle::usdc(0, to);
    movement.amount = amount(units * 1_000_000);
    movement
}
