//! Persons who approve in the cluster of [`World`]: two of alice, bob and carol, who operates the client.

use super::world::*;
use std::collections::BTreeSet;
use tally_audit::event::{Waiting, What};
use tally_audit::verify::Approvers;
use tally_domain::approval::Verdict;
use tally_domain::cancel::Cancellation;
use tally_domain::dsse::{Envelope, SigningKey, VerifyingKey, content_digest};
use tally_domain::*;

/// The rule that asks two of them.
pub const LARGE: &str = "payouts-large";

pub fn key_of(person: &str) -> SigningKey {
    let number = ["alice", "bob", "carol", "stranger"].iter().position(|name| *name == person).unwrap();
    SigningKey::ed25519(&[50 + u8::try_from(number).unwrap(); 32])
}

/// What the bundle says.
pub struct Persons;

impl Approvers for Persons {
    fn bundle(&self) -> Digest {
        bundle()
    }

    fn keys(&self, person: &PersonName) -> Option<Vec<VerifyingKey>> {
        let named = ["alice", "bob", "carol"].contains(&person.as_str());
        named.then(|| vec![key_of(person.as_str()).verifying_key()])
    }

    fn enough(&self, rule: &str, client: &ClientId, persons: &BTreeSet<PersonName>) -> bool {
        assert_eq!(client.as_str(), "payouts");
        rule != LARGE || persons.iter().filter(|p| p.as_str() != "carol").count() >= 2
    }
}

pub fn waiting(intent: &Intent) -> What {
    What::Waiting(Waiting {
        tenant: tenant(),
        request_id: intent.request_id,
        intent_digest: intent.digest(),
        bundle: bundle(),
        summary_digest: Digest([8; 32]),
        owner: node_name(0),
        expires_at: intent.expires_at,
    })
}

pub fn statement(intent: &Intent, person: &str, verdict: Verdict) -> Approval {
    Approval {
        cluster: intent.cluster.clone(),
        tenant: tenant(),
        request_id: intent.request_id,
        intent_digest: intent.digest(),
        summary_digest: Digest([8; 32]),
        bundle: bundle(),
        verdict,
        person: PersonName::parse(person).unwrap(),
        expires_at: UnixMillis(1_000_000),
    }
}

pub fn signed(approval: &Approval) -> Envelope {
    approval.sign(&key_of(approval.person.as_str()))
}

pub fn digest(intent: &Intent, person: &str) -> Digest {
    content_digest(&signed(&statement(intent, person, Verdict::Approve)))
}

impl World {
    pub fn said(&self, intent: &Intent, person: &str, verdict: Verdict) -> What {
        What::Said { approval: signed(&statement(intent, person, verdict)) }
    }

    /// The client takes a request back, or somebody else does in its name.
    pub fn cancelled(&self, intent: &Intent, by: Option<&SigningKey>) -> What {
        let cancellation = Cancellation {
            cluster: intent.cluster.clone(),
            tenant: tenant(),
            client: intent.client.clone(),
            request_id: intent.request_id,
            intent_digest: intent.digest(),
            key: intent.key.clone(),
            action: intent.action,
        };
        What::Cancelled { cancellation: cancellation.sign(by.unwrap_or(&self.client)) }
    }
}
