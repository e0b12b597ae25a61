//! A store of an older program is brought up to this one's schema, and says the same as before.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    dead_code,
    reason = "tests fail loudly"
)]

#[path = "support/helpers.rs"]
mod helpers;

use helpers::*;
use rusqlite::{Connection, params};
use tally_domain::approval::Verdict;
use tally_domain::ports::store::{Approvals as _, AttemptState, Conflict, Store as _};
use tally_store::SqliteStore;

/// What a program of schema 12 made its file with.
const SCHEMA: [&str; 12] = [
    include_str!("../migrations/0001_first.sql"),
    include_str!("../migrations/0002_hsm_keys.sql"),
    include_str!("../migrations/0003_keks.sql"),
    include_str!("../migrations/0004_tokens.sql"),
    include_str!("../migrations/0005_freezes.sql"),
    include_str!("../migrations/0006_claims.sql"),
    include_str!("../migrations/0007_approvals.sql"),
    include_str!("../migrations/0008_bundles.sql"),
    include_str!("../migrations/0009_line_names.sql"),
    include_str!("../migrations/0010_domain_keys.sql"),
    include_str!("../migrations/0011_claim_sizes.sql"),
    include_str!("../migrations/0012_cancellations.sql"),
];

const ROWS: &str = "
    INSERT INTO attempt VALUES ('acme', ?1, 1, x'01', x'02', NULL, NULL, x'03');
    INSERT INTO attempt VALUES ('acme', ?1, 2, x'04', x'05', x'06', x'07', NULL);
    INSERT INTO attempt VALUES ('acme', ?2, 1, x'08', x'09', NULL, NULL, NULL);
    INSERT INTO attempt VALUES ('acme', ?2, 2, NULL, NULL, NULL, NULL, x'0a');
    INSERT INTO approval VALUES ('acme', ?1, 'bob', 1, x'0b', 5);
    INSERT INTO approval VALUES ('acme', ?1, 'alice', 2, x'0c', 7);
    INSERT INTO cancellation VALUES ('acme', ?2, x'0d', 9);";

#[test]
fn votes_and_words_of_an_older_program_stay() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.db");
    let file = Connection::open(&path).unwrap();
    SCHEMA.iter().for_each(|script| file.execute_batch(script).unwrap());
    file.execute_batch("PRAGMA application_id = 0x746c6c79; PRAGMA user_version = 12").unwrap();
    for row in ROWS.split_terminator(';') {
        let mut statement = file.prepare(row).unwrap();
        let ids = [request(1).0, request(2).0];
        for (index, id) in (1..=statement.parameter_count()).zip(ids) {
            statement.raw_bind_parameter(index, id).unwrap();
        }
        statement.raw_execute().unwrap();
    }
    drop(file);

    let s = SqliteStore::open(&path).unwrap();
    let attempts = |n| -> Vec<_> {
        let rows = s.attempts(&tenant(), &request(n)).unwrap();
        rows.into_iter().map(|row| (row.attempt.0, row.vote_body, row.state)).collect()
    };
    let released = AttemptState::Released { partial: vec![6], certificate: vec![7] };
    assert_eq!(attempts(1), [(1, Some(vec![2]), AttemptState::Abandoned(vec![3])), (2, Some(vec![5]), released)]);
    let (voted, abandoned) = (AttemptState::Voted(vec![8]), AttemptState::Abandoned(vec![10]));
    assert_eq!(attempts(2), [(1, Some(vec![9]), voted), (2, None, abandoned)]);
    let said = s.approvals(&tenant(), &request(1)).unwrap();
    let said: Vec<_> = said.iter().map(|a| (a.person.as_str(), a.verdict, a.envelope.as_slice(), a.at.0)).collect();
    assert_eq!(said, [("alice", Verdict::Reject, &[12_u8][..], 7), ("bob", Verdict::Approve, &[11], 5)]);
    assert_eq!(s.cancellation(&tenant(), &request(2)).unwrap().map(|c| (c.envelope, c.at.0)), Some((vec![13], 9)));
    drop(s);

    // Once of each, whoever writes.
    let file = Connection::open(&path).unwrap();
    for twice in [
        "INSERT INTO attempt (tenant, request, attempt, abandoned) VALUES ('acme', ?1, 2, x'00')",
        "INSERT INTO approval (tenant, request, person, verdict, envelope, updated_at) VALUES ('acme', ?1, 'bob', 1, x'', 1)",
        "INSERT INTO cancellation (tenant, request, envelope, updated_at) VALUES ('acme', ?1, x'', 1)",
    ] {
        let id = request(if twice.contains("cancellation") { 2 } else { 1 }).0;
        let error = file.execute(twice, params![id]).unwrap_err();
        assert!(error.to_string().starts_with("UNIQUE"), "{error}");
    }
    drop(file);
    let s = SqliteStore::open(&path).unwrap();
    clashes(&s, release(2, b"partial"), Conflict::Cancelled);
}
