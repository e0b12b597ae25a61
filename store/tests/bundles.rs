//! Policy bundles: one chain, one vote for what follows a bundle, and nothing under a bundle that is not the active one.
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
use tally_domain::activation::BundleName;
use tally_domain::ports::store::*;
use tally_domain::*;
use tally_store::SqliteStore;
use tempfile::TempDir;

const AT: UnixMillis = UnixMillis(7);

fn store() -> (TempDir, SqliteStore) {
    let dir = TempDir::new().unwrap();
    let store = SqliteStore::open(&dir.path().join("tally.db")).unwrap();
    (dir, store)
}

fn name(version: u64, text: &str) -> BundleName {
    BundleName { version, digest: Digest::of(text.as_bytes()) }
}

fn begin(bundle: BundleName, envelope: Option<&str>) -> Write {
    let envelope = envelope.map(|text| text.as_bytes().to_vec());
    Write::Bundle(BundleWrite::Begin { bundle, envelope, at: AT })
}

fn propose(after: BundleName, bundle: BundleName) -> Write {
    let (previous, envelope) = (after.digest, b"envelope".to_vec());
    Write::Bundle(BundleWrite::Propose { bundle, previous, envelope, tightens: true, at: AT, due: UnixMillis(9) })
}

fn vote(after: BundleName, bundle: BundleName) -> Write {
    Write::Bundle(BundleWrite::Vote { previous: after.digest, bundle, statement: bundle.digest.0.to_vec() })
}

fn veto(bundle: BundleName) -> Write {
    Write::Bundle(BundleWrite::Veto { bundle, by: node("node-2"), statement: b"no".to_vec(), at: AT })
}

fn activate(after: BundleName, bundle: BundleName) -> Write {
    let (previous, envelope, certificate) = (after.digest, b"envelope".to_vec(), b"votes".to_vec());
    Write::Bundle(BundleWrite::Activate { bundle, previous, envelope, certificate, at: AT })
}

fn still(bundle: BundleName) -> Write {
    Write::Bundle(BundleWrite::StillActive { digest: bundle.digest })
}

#[test]
fn s_2_4_what_was_signed_once_is_not_begun_again_with_anything_else() {
    let (dir, s) = store();
    let (first, other) = (name(1, "first"), name(1, "other"));
    // Directories come and go.
    fits(&s, begin(other, None));
    fits(&s, begin(first, Some("envelope")));
    clashes(&s, begin(other, None), Conflict::OtherBundle);
    clashes(&s, begin(other, Some("envelope")), Conflict::OtherBundle);
    fits(&s, begin(first, Some("envelope")));
    drop(s);
    let s = SqliteStore::open(&dir.path().join("tally.db")).unwrap();
    assert_eq!(s.active_bundle().unwrap(), Some(first));
    assert_eq!(s.bundle(&first.digest).unwrap().as_deref(), Some(&b"envelope"[..]));
    assert_eq!(s.bundle(&other.digest).unwrap(), None);
    assert_eq!(s.bundles().unwrap().len(), 1);
}

#[test]
fn s_2_3_a_bundle_follows_the_active_one_with_a_higher_number() {
    let (_dir, s) = store();
    let (first, second, third) = (name(1, "first"), name(2, "second"), name(3, "third"));
    fits(&s, begin(first, Some("envelope")));
    fits(&s, propose(first, second));
    clashes(&s, propose(first, name(2, "fork")), Conflict::BundleForked);
    clashes(&s, activate(second, third), Conflict::OtherBundle);
    clashes(&s, activate(first, name(1, "again")), Conflict::Backwards);
    fits(&s, activate(first, second));
    assert_eq!(s.active_bundle().unwrap(), Some(second));
    clashes(&s, activate(first, third), Conflict::OtherBundle);
    clashes(&s, activate(second, name(2, "fork")), Conflict::Backwards);
    let rows = s.bundles().unwrap();
    assert_eq!((rows[1].bundle, rows[1].previous, rows[1].tightens), (second, Some(first.digest), true));
    assert_eq!((rows[1].first_seen, rows[1].due), (AT, UnixMillis(9)));
    assert_eq!(rows[1].activated, Some((b"votes".to_vec(), AT)));
}

#[test]
fn a_quorum_knows_better_which_of_two_forks_it_is() {
    let (_dir, s) = store();
    let (first, seen, voted) = (name(1, "first"), name(2, "seen"), name(2, "voted"));
    fits(&s, begin(first, Some("envelope")));
    fits(&s, propose(first, seen));
    fits(&s, activate(first, voted));
    let rows = s.bundles().unwrap();
    assert_eq!(rows.iter().map(|r| r.bundle).collect::<Vec<_>>(), [first, voted]);
}

#[test]
fn s_2_3_one_vote_for_what_follows_a_bundle_and_none_for_what_is_vetoed() {
    let (_dir, s) = store();
    let (first, second, third) = (name(1, "first"), name(2, "second"), name(3, "third"));
    fits(&s, begin(first, Some("envelope")));
    fits(&s, propose(first, second));
    fits(&s, veto(second));
    clashes(&s, vote(first, second), Conflict::BundleVetoed);
    fits(&s, propose(first, third));
    fits(&s, vote(first, third));
    fits(&s, vote(first, third));
    clashes(&s, vote(first, name(4, "fourth")), Conflict::Voted);
    // A veto that comes too late takes no vote back.
    fits(&s, veto(third));
    fits(&s, vote(first, third));
    fits(&s, activate(first, third));
    clashes(&s, vote(first, name(4, "fourth")), Conflict::OtherBundle);
    fits(&s, vote(third, name(4, "fourth")));
    let vetoes = s.vetoes().unwrap();
    assert_eq!(vetoes.len(), 2);
    let row = s.bundles().unwrap().into_iter().find(|row| row.bundle == third).unwrap();
    assert_eq!(row.vote, Some(third.digest.0.to_vec()));
}

#[test]
fn nothing_of_a_step_is_kept_when_another_bundle_is_active() {
    let (_dir, s) = store();
    let (first, second) = (name(1, "first"), name(2, "second"));
    fits(&s, begin(first, Some("envelope")));
    fits(&s, still(first));
    fits(&s, activate(first, second));
    let refused = commit(&s, vec![claim(1), still(first)]);
    assert_eq!(refused, Err(StoreError::Conflict(Conflict::OtherBundle)));
    assert_eq!(s.requests(&tenant(), None, 9).unwrap(), []);
    fits(&s, still(second));
}
