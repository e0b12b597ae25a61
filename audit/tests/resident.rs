//! Keys in HSMs: what their home's log must show, and what no two logs may.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    dead_code,
    reason = "tests fail loudly"
)]

#[path = "support/resident.rs"]
mod resident;
#[path = "support/world.rs"]
mod world;

use tally_audit::event::What;
use tally_audit::verify::{ExportedLog, Problem, verify_log, verify_together};
use tally_domain::boot::BadStatement;
use tally_domain::*;
use world::*;

const JWT: &str = "jwt";

fn problems(w: &World, i: usize, log: Vec<What>) -> Vec<Problem> {
    let log = w.export(i, log);
    let checked = verify_log(&w.roster, &log.node, &log.entries, &log.checkpoint);
    checked.map(|_| vec![]).unwrap_or_else(|findings| findings.into_iter().map(|f| f.problem).collect())
}

fn together(w: &World, logs: Vec<(usize, Vec<What>)>) -> Vec<Problem> {
    let logs: Vec<ExportedLog> = logs.into_iter().map(|(i, log)| w.export(i, log)).collect();
    let checked = verify_together(&w.roster, &logs);
    checked.map(|_| vec![]).unwrap_or_else(|findings| findings.into_iter().map(|f| f.problem).collect())
}

fn message(w: &World, n: u8) -> Intent {
    Intent { path: DerivationPath::default(), ..w.intent(n, JWT) }
}

/// What any node writes of the key of node 1.
fn known(w: &World, i: usize) -> Vec<What> {
    let record = w.hsm_record(JWT, 0, 7);
    vec![w.boot(i), What::HsmKeyPending { record: record.to_bytes() }, w.hsm_active(&record, &[0, 2])]
}

/// What the home writes of one signature.
fn signed(w: &World, n: u8) -> Vec<What> {
    let intent = message(w, n);
    vec![w.received(&intent), w.permitted(&intent), w.hsm_completed(&intent, 7)]
}

#[test]
fn the_home_signs_what_it_permitted_without_a_certificate_of_votes() {
    let w = World::new();
    let home = [known(&w, 0), signed(&w, 1), signed(&w, 2)].concat();
    assert_eq!(problems(&w, 0, home.clone()), []);
    assert_eq!(together(&w, vec![(0, home.clone()), (1, known(&w, 1)), (2, known(&w, 2))]), []);
    // A request with the content of another has, by a token that draws no nonce, the very same signature.
    let (first, mut again) = (message(&w, 1), message(&w, 3));
    again.content = first.content;
    let same = vec![w.received(&again), w.permitted(&again), w.hsm_completed(&again, 7)];
    assert_eq!(problems(&w, 0, [home.clone(), same].concat()), []);
    let log = w.export(0, home);
    let report = verify_log(&w.roster, &log.node, &log.entries, &log.checkpoint).unwrap();
    assert_eq!((report.keys, report.signatures, report.permits.len()), (1, 2, 2));
}

#[test]
fn a_signature_needs_a_permit_its_key_and_its_home() {
    let w = World::new();
    let intent = message(&w, 1);
    let unpermitted = [known(&w, 0), vec![w.received(&intent), w.hsm_completed(&intent, 7)]].concat();
    assert_eq!(problems(&w, 0, unpermitted), [Problem::SignatureNotPermitted { request: request(1) }]);

    let key = key_name(JWT);
    let keyless = [vec![w.boot(0)], signed(&w, 1)].concat();
    assert_eq!(problems(&w, 0, keyless), [Problem::NoKey { request: request(1), key: key.clone() }]);

    let of_another = vec![w.received(&intent), w.permitted(&intent), w.hsm_completed(&intent, 9)];
    let of_another = [known(&w, 0), of_another].concat();
    assert_eq!(problems(&w, 0, of_another), [Problem::OtherKey { request: request(1), key: key.clone() }]);

    let elsewhere = [known(&w, 1), signed(&w, 1)].concat();
    assert_eq!(problems(&w, 1, elsewhere), [Problem::NotHome { request: request(1), key, home: node_name(0) }]);

    let What::Completed { tenant, request_id, intent_digest, key, path, mut signature, public_key, to_sign } =
        w.hsm_completed(&intent, 7)
    else {
        panic!("another leaf")
    };
    signature[5] ^= 1;
    let damaged = What::Completed { tenant, request_id, intent_digest, key, path, signature, public_key, to_sign };
    let damaged = [known(&w, 0), vec![w.received(&intent), w.permitted(&intent), damaged]].concat();
    assert_eq!(problems(&w, 0, damaged), [Problem::Signature { request: request(1) }]);
}

#[test]
fn a_name_belongs_to_one_key() {
    let w = World::new();
    let (first, second) = (w.hsm_record(JWT, 0, 7), w.hsm_record(JWT, 1, 8));
    let key = key_name(JWT);
    let pending = |record: &HsmKeyRecord| What::HsmKeyPending { record: record.to_bytes() };

    // Both took the name at the same time: one of them stays without a majority, and that is no fault.
    let race = vec![
        (0, vec![w.boot(0), pending(&first), w.hsm_active(&first, &[0, 2])]),
        (1, vec![w.boot(1), pending(&second)]),
        (2, vec![w.boot(2), pending(&first), w.hsm_active(&first, &[0, 2])]),
    ];
    assert_eq!(together(&w, race), []);

    // The third node gave the name twice.
    let twice = vec![
        (0, vec![w.boot(0), pending(&first), w.hsm_active(&first, &[0, 2])]),
        (1, vec![w.boot(1), pending(&second), w.hsm_active(&second, &[1, 2])]),
    ];
    let found = together(&w, twice);
    assert!(found.contains(&Problem::NameGivenTwice { voter: node_name(2), key: key.clone() }), "{found:?}");
    assert!(found.contains(&Problem::TwoKeys { key: key.clone(), other: node_name(0) }), "{found:?}");
    let alone = vec![w.boot(2), pending(&first), pending(&second)];
    assert_eq!(problems(&w, 2, alone), [Problem::NameGivenTwice { voter: node_name(2), key }]);

    // A name of a threshold key, in either order.
    let hot = w.hsm_record(HOT, 0, 7);
    let both = [Problem::TwoKeys { key: key_name(HOT), other: node_name(0) }];
    assert_eq!(problems(&w, 0, vec![w.boot(0), w.key_active(HOT), w.hsm_active(&hot, &[0, 1])]), both);
    assert_eq!(problems(&w, 0, vec![w.boot(0), w.hsm_active(&hot, &[0, 1]), w.key_active(HOT)]), both);
}

#[test]
fn records_and_certificates_are_checked() {
    let w = World::new();
    let record = w.hsm_record(JWT, 0, 7);
    let malformed = [Problem::Key(BadStatement::Malformed)];
    assert_eq!(problems(&w, 0, vec![w.boot(0), What::HsmKeyPending { record: vec![1, 2, 3] }]), malformed);
    assert_eq!(problems(&w, 0, vec![w.boot(0), w.hsm_active(&record, &[0])]), malformed);
    assert_eq!(problems(&w, 0, vec![w.boot(0), w.hsm_active(&record, &[1, 2])]), malformed);
    let elsewhere = HsmKeyRecord { cluster: ClusterId::parse("prod").unwrap(), ..record };
    let other = What::HsmKeyPending { record: elsewhere.to_bytes() };
    assert_eq!(problems(&w, 0, vec![w.boot(0), other]), [Problem::OtherCluster { key: key_name(JWT) }]);
}
