//! Persons who approve what the desk asks for, and what they sign. Carol operates the desk; nobody asks dora.

use crate::world::World;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use tally_audit::verify::Approvers;
use tally_domain::approval::Verdict;
use tally_domain::dsse::{Envelope, SigningKey, VerifyingKey};
use tally_domain::key::{KeyRecord, KeyState};
use tally_domain::{Approval, ClientId, Digest, PersonName};
use tally_policy::Bundle;
use tally_signer::admit;
use tally_signer::approval::Question;

/// The client whose requests persons approve.
pub const DESK: &str = "desk";

/// How many of the treasury the desk's rule asks for.
pub const NEEDED: usize = 2;

/// The treasury but for who operates the desk.
const COUNTING: [&str; 2] = ["alice", "bob"];

/// A person's keys by their names; alice has two.
const KEYS: [(&str, &[&str]); 4] =
    [("alice", &["alice", "alice-2"]), ("bob", &["bob"]), ("carol", &["carol"]), ("dora", &["dora"])];

/// The key of that name; any other name is a stranger's.
pub fn key_of(name: &str) -> SigningKey {
    let seed = tally_domain::digest::TaggedHash::new("sim/person").field(name.as_bytes()).finish();
    SigningKey::ed25519(&seed.0)
}

/// The bundle's file.
pub(crate) fn groups() -> String {
    let mut text = String::new();
    for (name, keys) in KEYS {
        let keys: Vec<_> = keys.iter().map(|key| format!("\"{}\"", key_of(key).verifying_key())).collect();
        let clients = if name == "carol" { format!("clients = [\"{DESK}\"]\n") } else { String::new() };
        write!(text, "[[person]]\nname = \"{name}\"\nkeys = [{}]\n{clients}", keys.join(", ")).expect("a string");
    }
    text + "[[group]]\nname = \"treasury\"\npersons = [\"alice\", \"bob\", \"carol\"]\n"
}

/// Whether these statements are of enough persons, told without the code that nodes decide by.
pub(crate) fn enough<'a>(intent: Digest, statements: impl Iterator<Item = &'a Envelope>) -> bool {
    let mut persons = BTreeSet::new();
    for statement in statements {
        for (name, keys) in KEYS.iter().filter(|(name, _)| COUNTING.contains(name)) {
            let keys: Vec<_> = keys.iter().map(|key| key_of(key).verifying_key()).collect();
            let signed = Approval::open(statement, &keys);
            let counts =
                |a: &Approval| a.person.as_str() == *name && a.verdict == Verdict::Approve && a.intent_digest == intent;
            if signed.is_ok_and(|approval| counts(&approval)) {
                persons.insert(*name);
            }
        }
    }
    persons.len() >= NEEDED
}

impl World {
    /// What a person signs of a request with the key of a name.
    pub fn says(&self, record: &KeyRecord, request: &Envelope, said: (&str, Verdict), with: &str) -> Envelope {
        let opened = admit::open(&self.bundle, request.clone()).expect("clients are honest");
        let subject = admit::subject(opened, Some((record, KeyState::Active))).expect("an honest intent");
        let intent = subject.intent();
        let shown = Question::new(subject.opened(), subject.facts()).shown(&self.bundle);
        let approval = Approval {
            cluster: intent.cluster.clone(),
            tenant: intent.tenant.clone(),
            request_id: intent.request_id,
            intent_digest: subject.opened().digest(),
            summary_digest: shown.digest,
            bundle: self.bundle.digest(),
            verdict: said.1,
            person: PersonName::parse(said.0).expect("a name"),
            expires_at: intent.expires_at,
        };
        approval.sign(&key_of(with))
    }
}

/// What the bundle says of persons, for the check of logs.
pub(crate) struct OfBundle<'a>(pub(crate) &'a Bundle);

impl Approvers for OfBundle<'_> {
    fn bundle(&self) -> Digest {
        self.0.digest()
    }

    fn keys(&self, person: &PersonName) -> Option<Vec<VerifyingKey>> {
        self.0.keys_of(person)
    }

    fn enough(&self, rule: &str, client: &ClientId, persons: &BTreeSet<PersonName>) -> bool {
        self.0.enough(rule, client, persons)
    }
}
