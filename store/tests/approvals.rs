//! Requests that wait for persons: what is kept of them, and that a rejection is final from the step on in which it is written.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests fail loudly"
)]

#[path = "support/helpers.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod helpers;

use helpers::*;
use tally_domain::approval::Verdict;
use tally_domain::ports::store::*;
use tally_domain::*;
use tally_store::SqliteStore;
use tempfile::TempDir;

fn store() -> (TempDir, SqliteStore) {
    let dir = TempDir::new().unwrap();
    let store = SqliteStore::open(&dir.path().join("tally.db")).unwrap();
    (dir, store)
}

fn waiting(n: u64, bundle: u8) -> WaitingRow {
    WaitingRow {
        tenant: tenant(),
        request: request(n),
        intent: b"envelope".to_vec(),
        owner: node("node-2"),
        bundle: Digest([bundle; 32]),
        summary: Digest([7; 32]),
        expires_at: UnixMillis(1_000 - n),
        at: UnixMillis(5),
    }
}

fn wait_for(n: u64, bundle: u8) -> Write {
    Write::Approval(ApprovalWrite::Await(waiting(n, bundle)))
}

fn said(n: u64, person: &str, verdict: Verdict, envelope: &[u8]) -> ApprovalRow {
    let person = PersonName::parse(person).unwrap();
    ApprovalRow {
        tenant: tenant(),
        request: request(n),
        person,
        verdict,
        envelope: envelope.to_vec(),
        at: UnixMillis(6),
    }
}

fn say(n: u64, person: &str, verdict: Verdict, envelope: &[u8]) -> Write {
    Write::Approval(ApprovalWrite::Put(said(n, person, verdict, envelope)))
}

fn rejected(person: &str) -> Conflict {
    Conflict::Rejected(PersonName::parse(person).unwrap())
}

fn not_rejected(n: u64) -> Write {
    Write::Approval(ApprovalWrite::NotRejected { tenant: tenant(), request: request(n) })
}

fn state(s: &SqliteStore, n: u64) -> RequestState {
    s.request(&tenant(), &request(n)).unwrap().unwrap().state
}

#[test]
fn a_request_waits_with_what_is_shown_last_until_it_is_done_or_forgotten() {
    let (dir, s) = store();
    clashes(&s, wait_for(1, 1), Conflict::NoRequest);
    for n in [1, 2, 3] {
        fits(&s, claim(n));
        fits(&s, wait_for(n, 1));
    }
    fits(&s, refuse(1, "POLICY_DENIED"));
    fits(&s, wait_for(1, 2));
    assert_eq!(state(&s, 1), RequestState::Received, "whatever was said of it before, it waits");
    drop(s);
    let s = SqliteStore::open(&dir.path().join("tally.db")).unwrap();
    assert_eq!(s.waiting(&tenant(), &request(1)).unwrap(), Some(waiting(1, 2)));
    assert_eq!(s.all_waiting().unwrap(), [waiting(3, 1), waiting(2, 1), waiting(1, 2)], "the first to expire first");
    fits(&s, complete(1, b"result"));
    fits(&s, wait_for(1, 3));
    fits(&s, end(2, 2_001));
    assert_eq!(s.all_waiting().unwrap(), [waiting(3, 1)]);
    assert_eq!(s.waiting(&tenant(), &request(2)).unwrap(), None);
    let ended = WaitingRow { at: UnixMillis(2_001), ..waiting(2, 1) };
    assert_eq!(s.ended_waiting(&tenant()).unwrap(), [ended]);
    assert_eq!(s.ended_waiting(&Tenant::parse("globex").unwrap()).unwrap(), []);
}

/// The end of a request's wait, which expires before the second moment.
fn end(n: u64, at: u64) -> Write {
    Write::Approval(ApprovalWrite::End { tenant: tenant(), request: request(n), at: UnixMillis(at) })
}

#[test]
fn of_requests_whose_time_is_over_the_last_thousand_are_kept() {
    let (_dir, s) = store();
    let last = u64::from(ENDED_MAX) + 1;
    let all = |write: fn(u64) -> Write| commit(&s, (0..=last).map(write).collect()).unwrap();
    let waits = |n| {
        let row = WaitingRow { expires_at: UnixMillis(n), ..waiting(1, 1) };
        Write::Approval(ApprovalWrite::Await(WaitingRow { request: request(n), ..row }))
    };
    all(claim);
    all(waits);
    all(|n| end(n, n + 1_001));
    let ended: Vec<_> = s.ended_waiting(&tenant()).unwrap().into_iter().map(|row| row.request).collect();
    assert_eq!((ended.len(), ended.first(), ended.last()), (1_000, Some(&request(last)), Some(&request(2))));
    // Done after all, it is no longer among them.
    fits(&s, complete(last, b"result"));
    assert_eq!(s.ended_waiting(&tenant()).unwrap().first().map(|row| row.request), Some(request(last - 1)));
}

#[test]
fn a_rejection_is_final_and_stops_what_would_be_signed() {
    let (_dir, s) = store();
    clashes(&s, say(1, "alice", Verdict::Approve, b"a"), Conflict::NoRequest);
    for n in [1, 2] {
        fits(&s, claim(n));
        fits(&s, wait_for(n, 1));
        fits(&s, say(n, "alice", Verdict::Approve, b"a"));
    }
    fits(&s, vote(1, b"voted"));
    fits(&s, say(1, "alice", Verdict::Approve, b"a again"));
    fits(&s, not_rejected(1));
    fits(&s, say(1, "bob", Verdict::Reject, b"b"));
    fits(&s, say(1, "bob", Verdict::Reject, b"another"));
    let kept = [said(1, "alice", Verdict::Approve, b"a again"), said(1, "bob", Verdict::Reject, b"b")];
    assert_eq!(s.approvals(&tenant(), &request(1)).unwrap(), kept);
    for write in [
        not_rejected(1),
        say(1, "carol", Verdict::Approve, b"c"),
        wait_for(1, 2),
        vote(1, b"voted"),
        release(1, b"partial"),
    ] {
        clashes(&s, write, rejected("bob"));
    }
    fits(&s, refuse(1, "EXPIRED"));
    fits(&s, Write::Unclaim { tenant: tenant(), request: request(1) });
    assert_eq!(state(&s, 1), RequestState::Refused("REJECTED".into()));
    fits(&s, say(1, "alice", Verdict::Reject, b"she too"));
    // Another request is left alone, and a result that others have made is kept.
    fits(&s, not_rejected(2));
    fits(&s, vote(2, b"voted"));
    fits(&s, complete(1, b"result"));
    assert_eq!(state(&s, 1), RequestState::Completed(b"result".to_vec()));
    fits(&s, say(1, "dora", Verdict::Reject, b"too late"));
    assert_eq!(state(&s, 1), RequestState::Completed(b"result".to_vec()));
}

#[test]
fn an_id_that_is_given_back_waits_no_longer() {
    let (_dir, s) = store();
    fits(&s, claim(1));
    fits(&s, wait_for(1, 1));
    fits(&s, Write::Unclaim { tenant: tenant(), request: request(1) });
    assert_eq!((s.request(&tenant(), &request(1)).unwrap(), s.all_waiting().unwrap()), (None, vec![]));
}

fn cancel(n: u64, envelope: &[u8]) -> Write {
    let (tenant, request, at) = (tenant(), request(n), UnixMillis(7));
    Write::Approval(ApprovalWrite::Cancel(CancellationRow { tenant, request, envelope: envelope.to_vec(), at }))
}

#[test]
fn a_cancellation_is_final_and_stops_what_would_be_signed() {
    let (dir, s) = store();
    clashes(&s, cancel(1, b"c"), Conflict::NoRequest);
    for n in [1, 2, 3] {
        fits(&s, claim(n));
        fits(&s, wait_for(n, 1));
    }
    fits(&s, vote(1, b"voted"));
    fits(&s, cancel(1, b"c"));
    fits(&s, cancel(1, b"another"));
    drop(s);
    let s = SqliteStore::open(&dir.path().join("tally.db")).unwrap();
    assert_eq!(s.cancellation(&tenant(), &request(1)).unwrap().map(|row| row.envelope), Some(b"c".to_vec()));
    assert_eq!(s.cancellation(&tenant(), &request(2)).unwrap(), None);
    for write in [
        not_rejected(1),
        say(1, "carol", Verdict::Approve, b"c"),
        wait_for(1, 2),
        vote(1, b"voted"),
        release(1, b"partial"),
    ] {
        clashes(&s, write, Conflict::Cancelled);
    }
    fits(&s, refuse(1, "EXPIRED"));
    fits(&s, Write::Unclaim { tenant: tenant(), request: request(1) });
    assert_eq!(state(&s, 1), RequestState::Refused("CANCELLED".into()));
    // Another request is left alone; what others have made is kept, and what is done is not cancelled.
    fits(&s, not_rejected(2));
    fits(&s, complete(1, b"result"));
    assert_eq!(state(&s, 1), RequestState::Completed(b"result".to_vec()));
    fits(&s, complete(2, b"result"));
    clashes(&s, cancel(2, b"too late"), Conflict::Completed);
    assert_eq!(state(&s, 2), RequestState::Completed(b"result".to_vec()));
    // A rejection says more.
    fits(&s, say(3, "bob", Verdict::Reject, b"b"));
    fits(&s, cancel(3, b"c"));
    assert_eq!(state(&s, 3), RequestState::Refused("REJECTED".into()));
}
