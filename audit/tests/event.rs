//! Leaves have one reading, and readings have one leaf.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "tests fail loudly")]

#[path = "support/approvals.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod approvals;
#[path = "support/frozen.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod frozen;
#[path = "support/keks.rs"]
mod keks;
#[path = "support/resident.rs"]
mod resident;
#[path = "support/world.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod world;

use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::LazyLock;
use tally_audit::event::{BadLeaf, Event, LEAF_MAX_BYTES, LineStood, Verdict, What};
use tally_audit::export::{BadEntries, LeafTooLarge, append_entry, encode_entries, parse_entries};
use tally_domain::*;
use world::*;

const FROZEN_FAILED: &str = "080112066e6f64652d31180320e0828281a034a2012e0a1004040404040404040404040404040404121250524f544f434f4c5f56494f4c4154494f4e1a066e6f64652d32";
const FROZEN_DECIDED: &str = "080112066e6f64652d31180320e0828281a03462780a0461636d651210050505050505050505050505050505051a200606060606060606060606060606060606060606060606060606060606060606222007070707070707070707070707070707070707070707070707070707070707072a063120555344433a120a0d504f4c4943595f44454e494544120172";

fn all_kinds() -> Vec<Event> {
    static ONCE: LazyLock<Vec<Event>> = LazyLock::new(build_all_kinds);
    ONCE.clone()
}

fn build_all_kinds() -> Vec<Event> {
    let w = World::new();
    let mut log = w.honest(0);
    let banned =
        What::Banned { key: key_name(HOT), epoch: Epoch(1), peer: node_name(1), what: "check of OT failed".into() };
    log.push(banned);
    let jwt = w.hsm_record("jwt", 0, 7);
    log.push(What::HsmKeyPending { record: jwt.to_bytes() });
    log.push(w.hsm_active(&jwt, &[0, 1]));
    log.push(w.hsm_completed(&w.intent(6, "jwt"), 7));
    log.push(What::Certified { certificate: w.certificate(&w.vote_body(&w.intent(9, HOT), 1, &[0, 1]), &[0, 1]) });
    log.extend(w.kek_life(0));
    log.push(w.frozen(0, 7, &Scope::All));
    let lift = w.unfreeze_intent(8, &Scope::All, &[frozen::freeze_name(0, 7)]);
    log.push(w.unfreezing(0, &lift));
    log.push(w.unfrozen(&lift, &[0, 1]));
    let waits = w.intent(9, NOTES);
    log.push(approvals::waiting(&waits));
    log.push(w.said(&waits, "alice", approval::Verdict::Approve));
    log.push(w.cancelled(&waits, None));
    log.push(on_a_full_line(&waits));
    log.push(What::SessionFailed {
        request_id: None,
        what: "DEADLINE".into(),
        culprit: Some(node_name(2)),
        missing: vec![node_name(1)],
    });
    w.events(0, log)
}

fn on_a_full_line(intent: &Intent) -> What {
    let refused = Verdict::Refused { reason: "VELOCITY_LIMIT".into(), rule: String::new(), condition: String::new() };
    let stood = LineStood {
        limit: LimitId::parse("notes-hour").unwrap(),
        line: LineId(Digest([3; 32])),
        max: u128::MAX,
        window_ms: 3_600_000,
        amount: 7,
        taken: u128::MAX - 6,
        room_at: Some(UnixMillis(1_795_298_460_000)),
    };
    let free = LineStood { room_at: None, ..stood.clone() };
    let mut what = decided(intent, refused);
    if let What::Decided { limits, .. } = &mut what {
        *limits = vec![stood, free];
    }
    what
}

#[test]
fn every_kind_reads_back() {
    let events = all_kinds();
    let kinds: BTreeSet<_> = events.iter().map(Event::kind).collect();
    assert_eq!(kinds.len(), 23);
    for event in events {
        assert_eq!(Event::from_leaf(&event.to_leaf()).as_ref(), Ok(&event));
    }
}

#[test]
fn s_2_0_every_flipped_bit_of_a_leaf_is_refused_or_reads_differently() {
    for event in all_kinds() {
        let leaf = event.to_leaf();
        for i in 0..leaf.len() {
            for bit in 0..8 {
                let mut bad = leaf.clone();
                bad[i] ^= 1 << bit;
                if let Ok(read) = Event::from_leaf(&bad) {
                    assert_ne!(read, event, "{} byte {i} bit {bit}", event.kind());
                    assert_eq!(read.to_leaf(), bad, "{} byte {i} bit {bit}", event.kind());
                }
            }
        }
    }
}

#[test]
fn unknown_fields_versions_kinds_and_sizes_are_refused() {
    let leaf = all_kinds().pop().unwrap().to_leaf();
    let unknown = [&leaf[..], &[0xf8, 0x01, 1]].concat(); // field 31, varint 1
    assert_eq!(Event::from_leaf(&unknown), Err(BadLeaf::NotCanonical));
    assert_eq!(leaf[..2], [0x08, 1]);
    let newer = [&[0x08, 2], &leaf[2..]].concat();
    assert_eq!(Event::from_leaf(&newer), Err(BadLeaf::Version(2)));
    assert_eq!(Event::from_leaf(&leaf[2..]), Err(BadLeaf::Version(0)));
    assert_eq!(Event::from_leaf(&[]), Err(BadLeaf::Version(0)));
    assert_eq!(Event::from_leaf(b"\x08\x01\x12\x01n"), Err(BadLeaf::Field("what")));
    assert_eq!(Event::from_leaf(&vec![0; LEAF_MAX_BYTES + 1]), Err(BadLeaf::Oversized));
}

/// Written by the first version; every later one must read them.
#[test]
fn frozen_leaves_still_read() {
    let at =
        |what| Event { node: node_name(0), incarnation: Incarnation(3), time: UnixMillis(1_795_298_460_000), what };
    let failed = at(What::SessionFailed {
        request_id: Some(request(4)),
        what: "PROTOCOL_VIOLATION".into(),
        culprit: Some(node_name(1)),
        missing: Vec::new(),
    });
    let decided = at(What::Decided {
        tenant: tenant(),
        request_id: request(5),
        intent_digest: Digest([6; 32]),
        verdict: Verdict::Refused { reason: "POLICY_DENIED".into(), rule: "r".into(), condition: String::new() },
        bundle: Digest([7; 32]),
        summary: "1 USDC".into(),
        limits: Vec::new(),
    });
    for (event, frozen) in [(failed, FROZEN_FAILED), (decided, FROZEN_DECIDED)] {
        assert_eq!(hex::encode(event.to_leaf()), frozen);
        assert_eq!(Event::from_leaf(&hex::decode(frozen).unwrap()), Ok(event));
    }
}

#[test]
fn entries_are_read_within_their_limits() {
    let leaves: Vec<Vec<u8>> = vec![vec![1, 2, 3], vec![], vec![9; 300]];
    let bytes = encode_entries(leaves.iter().map(Vec::as_slice)).unwrap();
    assert_eq!(parse_entries(&bytes).unwrap(), leaves);
    assert_eq!(parse_entries(&[]), Ok(vec![]));
    for cut in 1..bytes.len() {
        let whole_entries = [7, 11].contains(&cut);
        assert_eq!(parse_entries(&bytes[..cut]).is_ok(), whole_entries, "{cut}");
    }
    assert_eq!(parse_entries(&bytes[..bytes.len() - 1]), Err(BadEntries::Truncated { offset: 11 }));
    let huge = [&bytes[..7], &[0, 0x10, 0, 1]].concat();
    assert_eq!(parse_entries(&huge), Err(BadEntries::Oversized { offset: 7, length: 0x10_0001 }));
    let mut out = Vec::new();
    append_entry(&mut out, &vec![0; LEAF_MAX_BYTES]).unwrap();
    let length = LEAF_MAX_BYTES + 1;
    assert_eq!(append_entry(&mut out, &vec![0; length]), Err(LeafTooLarge { length }));
    assert_eq!(out.len(), 4 + LEAF_MAX_BYTES);
}

proptest! {
    #[test]
    fn decoding_never_panics_and_is_strict(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(event) = Event::from_leaf(&bytes) {
            prop_assert_eq!(event.to_leaf(), bytes.clone());
        }
        if let Ok(leaves) = parse_entries(&bytes) {
            prop_assert_eq!(encode_entries(leaves.iter().map(Vec::as_slice)).unwrap(), bytes);
        }
    }

    #[test]
    fn damaged_leaves_never_panic_and_are_strict(
        which in 0usize..60, at in any::<prop::sample::Index>(), cut in any::<prop::sample::Index>(),
        put in proptest::collection::vec(any::<u8>(), 0..6),
    ) {
        let leaf = all_kinds()[which % all_kinds().len()].to_leaf();
        let (a, b) = (at.index(leaf.len()), cut.index(leaf.len()));
        let bad = [&leaf[..a.min(b)], &put[..], &leaf[a.max(b)..]].concat();
        if let Ok(event) = Event::from_leaf(&bad) {
            prop_assert_eq!(event.to_leaf(), bad);
        }
    }
}
