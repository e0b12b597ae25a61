//! What shows only when several nodes' logs are checked against each other.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "tests fail loudly")]

#[path = "support/world.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod world;

use tally_audit::event::What;
use tally_audit::verify::{ExportedLog, Oddity, Problem, verify_log, verify_partial, verify_together};
use tally_domain::*;
use world::*;

fn honest(w: &World) -> Vec<ExportedLog> {
    (0..3).map(|i| w.export(i, w.honest(i))).collect()
}

/// Each log verifies by itself; together they do not.
fn problems(w: &World, logs: &[ExportedLog]) -> Vec<Problem> {
    for log in logs {
        verify_log(&w.roster, &log.node, &log.entries, &log.checkpoint).unwrap();
    }
    verify_partial(&w.roster, logs).unwrap_err().into_iter().map(|f| f.problem).collect()
}

#[test]
fn honest_logs_verify_together() {
    let w = World::new();
    let reports = verify_together(&w.roster, &honest(&w)).unwrap();
    assert_eq!(reports.iter().map(|r| r.releases).collect::<Vec<_>>(), [2, 2, 0]);
    assert!(reports.iter().all(|r| r.signatures == 2 && r.warnings.is_empty()));
    let mut logs = honest(&w);
    logs[1].node = node_name(0);
    assert_eq!(verify_partial(&w.roster, &logs).unwrap_err()[0].problem, Problem::TwoLogs);
    let mut logs = honest(&w);
    logs[2].entries.pop();
    assert_eq!(verify_together(&w.roster, &logs).unwrap_err()[0].node, node_name(2));
}

#[test]
fn two_digests_for_one_request_at_two_nodes_are_found() {
    let w = World::new();
    let (one, mut two) = (w.intent(1, HOT), w.intent(1, HOT));
    two.content = vec![7];
    let at = |i: usize, intent: &Intent, signers: &[usize]| {
        let mut log = vec![w.boot(i), w.key_active(HOT)];
        log.extend(w.request_at(i, intent, signers));
        w.export(i, log)
    };
    // Node 2 is the cheat: S of both attempts, and so it signed both votes.
    let found = problems(&w, &[at(0, &one, &[0, 1]), at(2, &two, &[1, 2])]);
    assert_eq!(
        found,
        [
            Problem::TwoVotes { voter: node_name(1), request: request(1), attempt: Attempt(1) },
            Problem::TwoDigests { request: request(1), other: node_name(0) },
            Problem::NonceReused { request: request(1), other: request(1) },
        ]
    );
}

#[test]
fn a_second_signature_in_another_log_is_found() {
    let w = World::new();
    let mut logs = honest(&w);
    let intent = w.intent(1, HOT);
    let mut third = w.honest(2);
    third[4] = w.completed_over(&intent, Digest::of(b"other").0.to_vec());
    logs[2] = w.export(2, third);
    assert_eq!(
        problems(&w, &logs),
        [
            Problem::TwoSignatures { request: request(1), other: node_name(0) },
            Problem::NotCertified { request: request(1) }
        ]
    );
}

#[test]
fn a_release_after_a_promise_that_only_a_peer_recorded_is_found() {
    let w = World::new();
    let mut second = w.honest(1);
    second.push(w.abandoned(0, 1, 1));
    let logs = [w.export(0, w.honest(0)), w.export(1, second)];
    assert_eq!(
        problems(&w, &logs),
        [Problem::ReleasedAndAbandoned { node: node_name(0), request: request(1), attempt: Attempt(1) }]
    );
}

#[test]
fn a_signature_without_certificate_or_key_is_an_error_only_with_all_logs() {
    let w = World::new();
    let intent = w.intent(1, HOT);
    let log = |i: usize| {
        let vote = What::Voted { vote: w.vote(i, &w.vote_body(&intent, 1, &[0, 1])) };
        let begin = if i == 0 { vec![w.received(&intent), w.permitted(&intent), vote] } else { vec![] };
        let log = [vec![w.boot(i)], begin, vec![w.completed(&intent)]].concat();
        w.export(i, log)
    };
    let reports = verify_partial(&w.roster, &[log(0), log(1)]).unwrap();
    let odd: Vec<_> = reports[0].warnings.iter().map(|o| o.what.clone()).collect();
    let elsewhere = Oddity::CertificateElsewhere { request: request(1) };
    assert_eq!(odd, [elsewhere, Oddity::KeyElsewhere { key: key_name(HOT) }]);
    let found = problems(&w, &[log(0), log(1), log(2)]);
    assert_eq!(found[0], Problem::NoCertificate { request: request(1) });
    assert_eq!(found[1], Problem::NoKey { request: request(1), key: key_name(HOT) });
    assert_eq!(found.len(), 6);
}
