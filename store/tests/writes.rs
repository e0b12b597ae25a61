//! Every write's condition, both ways; all or nothing of a step.
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
use tally_domain::key::KeyState;
use tally_domain::ports::store::{
    AttemptRow, AttemptState, BanRow, CheckpointRow, ClaimRequest, Conflict, PendingCheck, RequestState, Step, Store,
    StoreError, Write,
};
use tally_domain::{Attempt, ClientId, Digest, Epoch, Incarnation, Tenant, UnixMillis};
use tally_store::SqliteStore;

fn store() -> (tempfile::TempDir, SqliteStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&dir.path().join("node.db")).unwrap();
    (dir, store)
}

fn state(s: &SqliteStore, n: u64) -> RequestState {
    s.request(&tenant(), &request(n)).unwrap().unwrap().state
}

fn attempt_row(s: &SqliteStore, n: u64) -> AttemptRow {
    let mut rows = s.attempts(&tenant(), &request(n)).unwrap();
    assert_eq!(rows.len(), 1);
    rows.remove(0)
}

#[test]
fn s_6_1_a_request_id_names_one_digest_for_ever() {
    let (_dir, s) = store();
    fits(&s, claim(1));
    fits(&s, claim(1));
    clashes(&s, Write::ClaimRequest(claim_of(1, b"other intent")), Conflict::RequestDigest);
    let row = s.request(&tenant(), &request(1)).unwrap().unwrap();
    assert_eq!(
        (row.claim, row.state, row.updated_at),
        (claim_of(1, b"intent"), RequestState::Received, UnixMillis(1_001))
    );

    let mut elsewhere = claim_of(1, b"other intent");
    elsewhere.tenant = Tenant::parse("globex").unwrap();
    fits(&s, Write::ClaimRequest(elsewhere));
    assert_eq!(s.request(&tenant(), &request(2)).unwrap(), None);
}

#[test]
fn s_6_1_an_id_whose_intent_only_lived_too_long_goes_to_another_of_the_same_client() {
    let (_dir, s) = store();
    let other = |n| Write::ClaimRequest(ClaimRequest { at: UnixMillis(6_000), ..claim_of(n, b"shorter") });
    let anothers = |n| {
        let client = ClientId::parse("treasury").unwrap();
        Write::ClaimRequest(ClaimRequest { client, ..claim_of(n, b"shorter") })
    };
    let too_long = |n| {
        fits(&s, claim(n));
        fits(&s, refuse(n, "VALIDITY_TOO_LONG"));
    };
    too_long(1);
    clashes(&s, anothers(1), Conflict::RequestDigest);
    fits(&s, other(1));
    let row = s.request(&tenant(), &request(1)).unwrap().unwrap();
    assert_eq!((row.claim.intent_digest, row.state), (Digest::of(b"shorter"), RequestState::Received));
    assert_eq!((row.claim.at, row.updated_at), (UnixMillis(6_000), UnixMillis(6_000)));
    clashes(&s, claim(1), Conflict::RequestDigest);
    // Refused for anything else, done, or voted for under an earlier bundle, the id is the first one's for ever.
    fits(&s, claim(2));
    fits(&s, refuse(2, "POLICY_DENIED"));
    too_long(3);
    fits(&s, complete(3, b"signature"));
    too_long(4);
    fits(&s, vote(4, b"yes"));
    for n in [2, 3, 4] {
        clashes(&s, other(n), Conflict::RequestDigest);
    }
}

#[test]
fn what_was_refused_and_is_asked_for_again_is_open() {
    let (_dir, s) = store();
    fits(&s, claim(1));
    fits(&s, refuse(1, "VELOCITY_LIMIT"));
    fits(&s, claim(1));
    assert_eq!(state(&s, 1), RequestState::Received);
    // In one step as in two.
    commit(&s, vec![claim(1), refuse(1, "VELOCITY_LIMIT")]).unwrap();
    assert_eq!(state(&s, 1), RequestState::Refused("VELOCITY_LIMIT".into()));
}

#[test]
fn a_refusal_is_noted_but_never_undoes_a_result() {
    let (_dir, s) = store();
    clashes(&s, refuse(1, "POLICY_DENIED"), Conflict::NoRequest);
    clashes(&s, complete(1, b"signature"), Conflict::NoRequest);
    fits(&s, claim(1));
    fits(&s, refuse(1, "POLICY_DENIED"));
    assert_eq!(state(&s, 1), RequestState::Refused("POLICY_DENIED".into()));
    fits(&s, complete(1, b"signature"));
    fits(&s, refuse(1, "EXPIRED"));
    fits(&s, claim(1));
    assert_eq!(state(&s, 1), RequestState::Completed(b"signature".to_vec()));
}

#[test]
fn a_request_has_one_result() {
    let (_dir, s) = store();
    fits(&s, claim(1));
    fits(&s, complete(1, b"signature"));
    fits(&s, complete(1, b"signature"));
    clashes(&s, complete(1, b"another"), Conflict::Completed);
    assert_eq!(state(&s, 1), RequestState::Completed(b"signature".to_vec()));
}

#[test]
fn requests_come_newest_first_and_only_of_the_tenant() {
    let (_dir, s) = store();
    for n in [3, 1, 2] {
        fits(&s, claim(n));
    }
    let mut elsewhere = claim_of(9, b"intent");
    elsewhere.tenant = Tenant::parse("globex").unwrap();
    fits(&s, Write::ClaimRequest(elsewhere));
    let rows = |before, limit| s.requests(&tenant(), before, limit).unwrap();
    let ids = |before, limit| -> Vec<_> { rows(before, limit).into_iter().map(|r| r.claim.request).collect() };
    assert_eq!(ids(None, 10), [request(2), request(1), request(3)]);
    assert_eq!(ids(Some(u64::MAX), 10), ids(None, 10));
    let first = rows(None, 1).remove(0);
    fits(&s, claim(4));
    assert_eq!(ids(Some(first.place), 1), [request(1)]);
    let last = rows(None, 10).pop().unwrap();
    assert!(ids(None, 0).is_empty() && ids(Some(last.place), 10).is_empty() && ids(Some(0), 10).is_empty());
}

#[test]
fn a_node_votes_once_for_an_attempt() {
    let (_dir, s) = store();
    fits(&s, vote(1, b"yes"));
    fits(&s, vote(1, b"yes"));
    clashes(&s, vote(1, b"other"), Conflict::Voted);
    let row = attempt_row(&s, 1);
    assert_eq!(
        row,
        AttemptRow {
            attempt: Attempt(1),
            vote_body: Some(b"body".to_vec()),
            state: AttemptState::Voted(b"yes".to_vec())
        }
    );
}

#[test]
fn a_release_needs_the_vote_and_happens_once() {
    let (_dir, s) = store();
    clashes(&s, release(1, b"partial"), Conflict::NotVoted);
    fits(&s, vote(1, b"yes"));
    fits(&s, release(1, b"partial"));
    fits(&s, release(1, b"partial"));
    fits(&s, vote(1, b"yes"));
    clashes(&s, release(1, b"other"), Conflict::Released);
    clashes(&s, vote(1, b"other"), Conflict::Voted);
    let released = AttemptState::Released { partial: b"partial".to_vec(), certificate: b"certificate".to_vec() };
    assert_eq!(attempt_row(&s, 1).state, released);
}

#[test]
fn released_and_abandoned_exclude_each_other_for_ever() {
    let (_dir, s) = store();
    fits(&s, vote(1, b"yes"));
    fits(&s, release(1, b"partial"));
    clashes(&s, abandon(1, b"never"), Conflict::Released);

    fits(&s, vote(2, b"yes"));
    fits(&s, abandon(2, b"never"));
    fits(&s, abandon(2, b"never, said again"));
    clashes(&s, release(2, b"partial"), Conflict::Abandoned);
    clashes(&s, vote(2, b"yes"), Conflict::Abandoned);
    let row = attempt_row(&s, 2);
    assert_eq!((row.vote_body, row.state), (Some(b"body".to_vec()), AttemptState::Abandoned(b"never".to_vec())));

    fits(&s, abandon(3, b"never"));
    clashes(&s, vote(3, b"yes"), Conflict::Abandoned);
    clashes(&s, release(3, b"partial"), Conflict::Abandoned);
    assert_eq!(attempt_row(&s, 3).vote_body, None);
}

fn pending(request_number: u64, record: &[u8]) -> Write {
    Write::PutPendingKey {
        name: key("hot"),
        request: request(request_number),
        record: record.to_vec(),
        sealed_share: b"sealed".to_vec(),
        at: UnixMillis(7),
    }
}

fn activate(record: &[u8]) -> Write {
    Write::ActivateKey { name: key("hot"), record: record.to_vec(), certificate: b"all n".to_vec(), at: UnixMillis(8) }
}

#[test]
fn a_key_is_pending_from_one_request_and_active_with_one_record() {
    let (_dir, s) = store();
    clashes(&s, activate(b"record"), Conflict::NoKey);
    fits(&s, pending(1, b"first try"));
    fits(&s, pending(1, b"record"));
    clashes(&s, pending(2, b"record"), Conflict::KeyExists);
    clashes(&s, activate(b"first try"), Conflict::NoKey);
    let row = s.key(&key("hot")).unwrap().unwrap();
    assert_eq!((row.state, row.certificate), (KeyState::Pending, None));

    fits(&s, activate(b"record"));
    fits(&s, activate(b"record"));
    clashes(&s, activate(b"other"), Conflict::NoKey);
    clashes(&s, pending(1, b"record"), Conflict::KeyExists);
    let row = s.key(&key("hot")).unwrap().unwrap();
    assert_eq!((row.state, row.certificate.as_deref()), (KeyState::Active, Some(&b"all n"[..])));
    assert_eq!((row.request, row.sealed_share.as_slice(), row.updated_at), (request(1), &b"sealed"[..], UnixMillis(8)));
    assert_eq!(s.keys().unwrap(), [row]);
    assert_eq!(s.key(&key("cold")).unwrap(), None);
}

#[test]
fn a_name_belongs_to_one_hsm_key_or_one_threshold_key() {
    let (_dir, s) = store();
    let put = |name: &str, record: &[u8]| Write::PutHsmKey {
        name: key(name),
        record: record.to_vec(),
        intent: b"intent".to_vec(),
        at: UnixMillis(1),
    };
    let active = |record: &[u8], certificate: &[u8]| Write::ActivateHsmKey {
        name: key("jwt"),
        record: record.to_vec(),
        certificate: certificate.to_vec(),
        at: UnixMillis(2),
    };
    clashes(&s, active(b"record", b"all"), Conflict::NoKey);
    fits(&s, put("jwt", b"record"));
    fits(&s, put("jwt", b"record"));
    clashes(&s, put("jwt", b"another"), Conflict::KeyExists);
    assert_eq!(s.hsm_key(&key("jwt")).unwrap().unwrap().certificate, None);
    clashes(&s, active(b"another", b"all"), Conflict::NoKey);
    fits(&s, active(b"record", b"all"));
    fits(&s, active(b"record", b"all, later"));
    fits(&s, put("jwt", b"record"));
    let rows = s.hsm_keys().unwrap();
    assert_eq!((rows.len(), rows[0].certificate.as_deref()), (1, Some(&b"all"[..])));

    // `pending` is of the key `hot`.
    fits(&s, pending(1, b"threshold"));
    clashes(&s, put("hot", b"record"), Conflict::KeyExists);
    let taken = Write::PutPendingKey {
        name: key("jwt"),
        request: request(1),
        record: b"threshold".to_vec(),
        sealed_share: b"share".to_vec(),
        at: UnixMillis(1),
    };
    clashes(&s, taken, Conflict::KeyExists);
}

#[test]
fn a_ban_stays_with_what_it_was_first_given_for() {
    let (_dir, s) = store();
    let ban = |what: &str| Write::Ban { key: key("hot"), epoch: Epoch(1), peer: node("n2"), what: what.into() };
    fits(&s, ban("consistency check"));
    fits(&s, ban("another"));
    let row = BanRow { key: key("hot"), epoch: Epoch(1), peer: node("n2"), what: "consistency check".into() };
    assert_eq!(s.bans().unwrap(), [row]);
}

#[test]
fn s_3_16_a_check_is_pending_until_it_is_done() {
    let (_dir, s) = store();
    let session = |n: u8| Digest([n; 32]);
    let check = |n, peers: &[&str]| PendingCheck {
        session: session(n),
        key: key("hot"),
        epoch: Epoch(2),
        peers: peers.iter().map(|p| node(p)).collect(),
    };
    for row in [check(1, &["n2", "n3"]), check(2, &[])] {
        let PendingCheck { session, key, epoch, peers } = row;
        fits(&s, Write::CheckPending { session, key, epoch, peers });
    }
    assert_eq!(s.pending_checks().unwrap(), [check(1, &["n2", "n3"]), check(2, &[])]);
    fits(&s, Write::CheckDone { session: session(1) });
    fits(&s, Write::CheckDone { session: session(1) });
    assert_eq!(s.pending_checks().unwrap(), [check(2, &[])]);
}

#[test]
fn incarnations_never_go_back() {
    let (_dir, s) = store();
    assert_eq!(s.incarnation().unwrap(), Incarnation(0));
    for bad in [0, 2, u64::MAX] {
        clashes(&s, Write::Incarnation(Incarnation(bad)), Conflict::Backwards);
    }
    fits(&s, Write::Incarnation(Incarnation(1)));
    clashes(&s, Write::Incarnation(Incarnation(1)), Conflict::Backwards);
    fits(&s, Write::Incarnation(Incarnation(2)));
    assert_eq!(s.incarnation().unwrap(), Incarnation(2));

    let peer = |n| Write::PeerIncarnation { node: node("n2"), incarnation: Incarnation(n) };
    assert_eq!(s.peer_incarnation(&node("n2")).unwrap(), None);
    for n in [7, 7, u64::MAX] {
        fits(&s, peer(n));
    }
    clashes(&s, peer(7), Conflict::Backwards);
    assert_eq!(s.peer_incarnation(&node("n2")).unwrap(), Some(Incarnation(u64::MAX)));
    assert_eq!(s.incarnation().unwrap(), Incarnation(2));
}

#[test]
fn a_request_id_is_given_back_only_before_a_vote_and_a_result() {
    let (_dir, s) = store();
    let unclaim = |n| Write::Unclaim { tenant: tenant(), request: request(n) };
    fits(&s, claim(1));
    fits(&s, unclaim(1));
    assert_eq!(s.request(&tenant(), &request(1)).unwrap(), None);
    fits(&s, claim(2));
    fits(&s, vote(2, b"yes"));
    fits(&s, unclaim(2));
    assert!(s.request(&tenant(), &request(2)).unwrap().is_some());
    fits(&s, unclaim(9));
}

#[test]
fn what_a_peer_has_shown_never_shrinks_and_a_fence_stays_until_an_operator_lifts_it() {
    let (_dir, s) = store();
    let head = |size, root| Write::PeerHead { node: node("n2"), size, root: Digest([root; 32]) };
    fits(&s, head(5, 1));
    fits(&s, head(5, 1));
    clashes(&s, head(5, 2), Conflict::Backwards);
    clashes(&s, head(4, 1), Conflict::Backwards);
    fits(&s, head(6, 3));
    fits(&s, Write::FencePeer { node: node("n2") });
    fits(&s, head(9, 4));
    let fenced = s.peer_head(&node("n2")).unwrap().unwrap();
    assert_eq!((fenced.size, fenced.fenced), (9, true));
    fits(&s, Write::PeerIncarnation { node: node("n2"), incarnation: Incarnation(7) });
    fits(&s, Write::AcceptPeer { node: node("n2") });
    assert_eq!(s.peer_head(&node("n2")).unwrap(), None);
    assert_eq!(s.peer_incarnation(&node("n2")).unwrap(), None);
    fits(&s, Write::FencePeer { node: node("n3") });
    assert!(s.peer_head(&node("n3")).unwrap().unwrap().fenced);
}

#[test]
fn checkpoints_never_cover_less() {
    let (_dir, s) = store();
    let checkpoint = |size, note: &str| Write::Checkpoint { size, note: note.into(), frontier: vec![1, 2] };
    assert_eq!(s.checkpoint().unwrap(), None);
    fits(&s, checkpoint(5, "five"));
    fits(&s, checkpoint(5, "five, signed again"));
    clashes(&s, checkpoint(4, "four"), Conflict::Backwards);
    let last = CheckpointRow { size: 5, note: "five, signed again".into(), frontier: vec![1, 2] };
    assert_eq!(s.checkpoint().unwrap(), Some(last));
}

#[test]
fn a_step_is_kept_whole_or_not_at_all() {
    let (_dir, s) = store();
    let leaves = || vec![b"one".to_vec(), vec![], b"three".to_vec()];
    let first = wait(s.commit(Step { writes: vec![claim(1), vote(1, b"yes")], leaves: leaves() })).unwrap();
    assert_eq!(first.first_leaf, 0);

    let writes = vec![claim(2), vote(2, b"yes"), vote(1, b"other"), claim(3)];
    let refused = wait(s.commit(Step { writes, leaves: leaves() }));
    assert_eq!(refused, Err(StoreError::Conflict(Conflict::Voted)));
    assert_eq!(s.request(&tenant(), &request(2)).unwrap(), None);
    assert_eq!(s.request(&tenant(), &request(3)).unwrap(), None);
    assert!(s.attempts(&tenant(), &request(2)).unwrap().is_empty());
    assert_eq!(s.log_size().unwrap(), 3);

    assert_eq!(commit(&s, vec![]).unwrap().first_leaf, 3);
    let third = wait(s.commit(Step { writes: vec![], leaves: vec![b"four".to_vec()] })).unwrap();
    assert_eq!(third.first_leaf, 3);
    assert_eq!(s.leaves(1, 2).unwrap(), [vec![], b"three".to_vec()]);
    assert_eq!(s.leaves(3, 100).unwrap(), [b"four".to_vec()]);
    assert!(s.leaves(4, 100).unwrap().is_empty() && s.leaves(u64::MAX, 1).unwrap().is_empty());
}
