//! Signed bundles: who signed them, what they follow, and when they may be used.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail loudly")]

mod common {
    pub mod bundle;
    pub mod treasury;
}

use common::bundle::*;
use common::treasury::*;
use proptest::prelude::*;
use prost::Message as _;
use tally_domain::dsse::{Envelope, content_digest};
use tally_domain::{Digest, Reason, UnixMillis};
use tally_policy::{
    BUNDLE_TYPE, Bundle, Decision, LOOSENING_DELAY_DEFAULT_MS, OpenError, SignedBundle, Trust, VALIDITY_MAX_MS,
    VERSION_STEP_MAX, Validity,
};

fn first() -> SignedBundle {
    signed(&treasury(), None, &[ERIN, FRANK])
}

fn opened_first() -> Bundle {
    let first = first();
    first.open(Trust::Pinned(first.digest()), EVENING).unwrap_or_else(|e| panic!("{e}"))
}

fn refused_after(previous: &Bundle, next: &SignedBundle) -> OpenError {
    refused_at(next, Trust::After(previous), EVENING)
}

fn refused_at(signed: &SignedBundle, trust: Trust<'_>, now: UnixMillis) -> OpenError {
    match signed.open(trust, now) {
        Ok(_) => panic!("the bundle was opened"),
        Err(e) => e,
    }
}

#[test]
fn s_2_3_bundles_follow_each_other_signed_by_the_admins_of_the_one_before() {
    let first = opened_first();
    assert_eq!((first.version(), first.header().previous, first.header().validity), (1, None, Some(month())));
    let mut files = next(2);
    // The first one's admins sign; those whom the second names have no say in it.
    change(&mut files, "roster.toml", "5c9c6df261c9cb840475776aaefcd944b405328fab28f9b3a95ef40490d3de84", &pubkey(50));
    let second = signed(&files, Some(&first), &[ERIN, GRACE]);
    let second = second.open(Trust::After(&first), EVENING).unwrap();
    assert_eq!((second.version(), second.header().previous), (2, Some(first.digest())));
    let third = signed(&next(3), Some(&second), &[ERIN, FRANK]);
    assert!(matches!(refused_after(&second, &third), OpenError::Signature { key } if key.contains("5c9c6df2")));
    let third = signed(&next(3), Some(&second), &[50, FRANK]);
    assert_eq!(third.open(Trust::After(&second), EVENING).unwrap().digest(), third.digest());
}

fn pubkey(seed: u8) -> String {
    key(seed).verifying_key().to_string().replace("ed25519:", "")
}

/// Persons are counted, not their keys (S-2.3).
#[test]
fn a_bundle_with_one_signature_too_few_is_refused() {
    let first = opened_first();
    let open = |by: &[u8]| signed(&next(2), Some(&first), by).open(Trust::After(&first), EVENING).map(|_| ());
    let too_few = |have| Err(OpenError::TooFewSignatures { have, need: 2 });
    assert_eq!(open(&[]), too_few(0));
    assert_eq!(open(&[ERIN]), too_few(1));
    assert_eq!(open(&[ERIN, ERIN]), too_few(1));
    assert_eq!(open(&[GRACE, GRACES_SECOND]), too_few(1));
    assert_eq!(open(&[GRACE, GRACES_SECOND, FRANK]), Ok(()));
    // A stranger's signature beside enough good ones is refused, too: it says that somebody tried.
    assert!(matches!(open(&[ERIN, FRANK, ALICE]), Err(OpenError::Signature { .. })));
    let sentence = open(&[ERIN]).unwrap_err().to_string();
    assert_eq!(sentence, "1 of the 2 admins that are needed have signed; let more of them sign");

    let pinned = signed(&treasury(), None, &[ERIN]);
    assert_eq!(refused_at(&pinned, Trust::Pinned(pinned.digest()), EVENING).to_string(), sentence);
    assert_eq!(pinned.open(Trust::Reopened(pinned.digest()), EVENING).unwrap().digest(), pinned.digest());
}

#[test]
fn a_bundle_is_used_in_its_time_only() {
    let first = first();
    let at = |now| first.open(Trust::Pinned(first.digest()), now).map(|_| ());
    let end = EVENING.plus(VALIDITY_MAX_MS);
    assert_eq!(at(EVENING.minus(1_000)), Ok(()));
    assert_eq!(at(EVENING.minus(1_001)), Err(OpenError::NotYetValid { not_before: EVENING }));
    assert_eq!(at(end.plus(999)), Ok(()));
    assert_eq!(at(end.plus(1_000)), Err(OpenError::Expired { not_after: end }));

    // One that was opened in time decides nothing when its time is over, and is still what the next one follows.
    let bundle = first.open(Trust::Reopened(first.digest()), end.plus(DAY_MS)).unwrap();
    let facts = payout(1);
    let late = sign_as(&bundle, "payout-service", "hot", &facts, end.plus(DAY_MS));
    assert_eq!(denied(late).reason, Reason::BundleExpired);
    assert_eq!(sign_as(&bundle, "payout-service", "hot", &facts, EVENING), permit("payouts-small"));
    let validity = Validity { not_before: end, not_after: end.plus(DAY_MS) };
    let mut next = SignedBundle::pack(&next(2), Some(&bundle), validity).unwrap();
    [ERIN, FRANK].iter().for_each(|seed| next.sign(&key(*seed)));
    assert!(next.open(Trust::After(&bundle), end).is_ok());
}

#[test]
fn a_bundle_is_valid_for_a_month_at_most() {
    let pack = |not_after: u64| {
        let validity = Validity { not_before: EVENING, not_after: UnixMillis(not_after) };
        SignedBundle::pack(&treasury(), None, validity).map(|_| ())
    };
    assert_eq!(pack(EVENING.0 + VALIDITY_MAX_MS), Ok(()));
    for (not_after, ms) in [(EVENING.0 + VALIDITY_MAX_MS + 1, VALIDITY_MAX_MS + 1), (EVENING.0, 0), (0, 0)] {
        assert_eq!(pack(not_after), Err(OpenError::Validity { ms, most_ms: VALIDITY_MAX_MS }));
    }
    // Whoever packs by other means is refused when it is opened.
    let long = edited(&first(), |body| body.not_after_ms += 1);
    assert!(matches!(refused_at(&long, Trust::Pinned(long.digest()), EVENING), OpenError::Validity { .. }));
    let unlimited = edited(&first(), |body| (body.not_before_ms, body.not_after_ms) = (0, 0));
    assert!(matches!(refused_at(&unlimited, Trust::Reopened(unlimited.digest()), EVENING), OpenError::Validity { .. }));
}

#[test]
fn s_2_4_forks_downgrades_and_broken_chains_are_refused() {
    let first = opened_first();
    let second = signed(&next(2), Some(&first), &[ERIN, FRANK]).open(Trust::After(&first), EVENING).unwrap();
    let by_hand = |files: &Files, previous: Option<Digest>| {
        let mut signed = edited(&signed(files, None, &[]), |body| {
            body.previous = previous.map(|d| d.0.to_vec()).unwrap_or_default();
        });
        [ERIN, FRANK].iter().for_each(|seed| signed.sign(&key(*seed)));
        signed
    };
    // Two bundles of one version.
    let mut other = next(2);
    change(&mut other, "policy.cedar", "500000", "500001");
    let fork = by_hand(&other, Some(first.digest()));
    assert_eq!(refused_after(&second, &fork), OpenError::Forked { version: 2, active: second.digest() });
    assert!(fork.open(Trust::After(&first), EVENING).is_ok());
    // The same one once more.
    let again = signed(&next(2), Some(&first), &[GRACE, FRANK]);
    assert_eq!(refused_after(&second, &again), OpenError::Known);
    // Back.
    let back = by_hand(&treasury(), Some(second.digest()));
    assert_eq!(refused_after(&second, &back), OpenError::Downgraded { version: 1, active: 2 });
    // A gap, another predecessor, none.
    for (version, previous) in [(2 + VERSION_STEP_MAX + 1, Some(second.digest())), (3, Some(first.digest())), (3, None)]
    {
        let broken = by_hand(&next(version), previous);
        let expected = OpenError::BrokenChain { version, active_version: 2, active: second.digest() };
        assert_eq!(refused_after(&second, &broken), expected);
    }
    // Numbers that were vetoed are left out.
    for version in [3, 2 + VERSION_STEP_MAX] {
        assert!(by_hand(&next(version), Some(second.digest())).open(Trust::After(&second), EVENING).is_ok());
    }
    // What no node would take, no admin is asked to sign.
    let packed = SignedBundle::pack(&next(99), Some(&second), month());
    assert!(matches!(packed, Err(OpenError::BrokenChain { version: 99, .. })));
}

#[test]
fn only_the_pinned_bundle_is_the_first() {
    let first = first();
    let other = Digest([1; 32]);
    let expected = OpenError::OtherDigest { expected: other, found: first.digest() };
    assert_eq!(refused_at(&first, Trust::Pinned(other), EVENING), expected);
    assert_eq!(refused_at(&first, Trust::Reopened(other), EVENING), expected);
    let mut elsewhere = next(2);
    change(&mut elsewhere, "roster.toml", "cluster = \"example\"", "cluster = \"other\"");
    let e = SignedBundle::pack(&elsewhere, Some(&opened_first()), month()).unwrap_err();
    assert_eq!(e.to_string(), "the bundle is for cluster `other`, not `example`");
    let nobody = example();
    let unsigned = SignedBundle::pack(&nobody, None, month()).unwrap();
    assert_eq!(refused_at(&unsigned, Trust::Pinned(unsigned.digest()), EVENING), OpenError::NoAdmins);
}

#[test]
fn layouts_of_later_versions_are_named() {
    let later = edited_bytes(&first(), |body| body.format = 2);
    let e = SignedBundle::from_bytes(&later).unwrap_err();
    assert_eq!(e, OpenError::UnknownFormat { found: 2, known: 1 });
    // What is signed and what the files say is one.
    let other_version = edited(&first(), |body| body.version = 7);
    let e = refused_at(&other_version, Trust::Reopened(other_version.digest()), EVENING).to_string();
    assert!(e.starts_with("bundle.toml: the version here is not the one"), "{e}");
    let other_delay = edited(&first(), |body| body.loosening_delay_ms -= 1);
    let e = refused_at(&other_delay, Trust::Reopened(other_delay.digest()), EVENING).to_string();
    assert!(e.starts_with("bundle.toml: the loosening delay here is not the one"), "{e}");
}

#[test]
fn there_is_one_encoding() {
    let twice = |body: &mut Body| body.files.push(body.files.last().unwrap().clone());
    let unsorted = |body: &mut Body| body.files.reverse();
    let previous = |body: &mut Body| body.previous = vec![1; 31];
    for edit in [twice, unsorted, previous] {
        assert_eq!(SignedBundle::from_bytes(&edited_bytes(&first(), edit)), Err(OpenError::NotCanonical));
    }
    let mut longer = first().to_bytes();
    longer.extend_from_slice(&[0x98, 0x06, 0x01]); // field 99, varint 1
    assert_eq!(SignedBundle::from_bytes(&longer), Err(OpenError::NotCanonical));
    assert!(matches!(SignedBundle::from_bytes(&vec![0; 5 << 20]), Err(OpenError::Oversized { .. })));
}

/// A directory and its signed form go through one digest function.
#[test]
fn a_directory_is_named_by_the_same_function() {
    let directory = bundle(&treasury());
    let packed = first();
    let as_directory = edited(&packed, |body| (body.not_before_ms, body.not_after_ms) = (0, 0));
    assert_eq!(as_directory.digest(), directory.digest());
    assert_ne!(packed.digest(), directory.digest());
    assert_eq!(packed.files().unwrap(), treasury());
    assert_eq!(directory.header().loosening_delay_ms, LOOSENING_DELAY_DEFAULT_MS);
    let e = refused(&changed("bundle.toml", "\"24h\"", "\"59m\"")).to_string();
    assert!(e.starts_with("bundle.toml:2:19: `59m` is not a valid loosening delay: 1h to 30d"), "{e}");
}

/// Reads the envelope, changes the body, and gives it without signatures.
fn edited_bytes(signed: &SignedBundle, edit: impl FnOnce(&mut Body)) -> Vec<u8> {
    let envelope = Envelope::decode(signed.to_bytes().as_slice()).unwrap();
    let mut body = Body::decode(envelope.payload.as_slice()).unwrap();
    assert_eq!(body.encode_to_vec(), envelope.payload);
    edit(&mut body);
    let payload = body.encode_to_vec();
    Envelope { payload, payload_type: BUNDLE_TYPE.into(), signatures: vec![] }.encode_to_vec()
}

fn edited(signed: &SignedBundle, edit: impl FnOnce(&mut Body)) -> SignedBundle {
    SignedBundle::from_bytes(&edited_bytes(signed, edit)).unwrap()
}

/// The body as anyone else would write it down.
#[derive(Clone, PartialEq, prost::Message)]
struct Body {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(string, tag = "2")]
    cluster: String,
    #[prost(uint64, tag = "3")]
    version: u64,
    #[prost(bytes = "vec", tag = "4")]
    previous: Vec<u8>,
    #[prost(uint64, tag = "5")]
    not_before_ms: u64,
    #[prost(uint64, tag = "6")]
    not_after_ms: u64,
    #[prost(uint64, tag = "7")]
    loosening_delay_ms: u64,
    #[prost(message, repeated, tag = "8")]
    files: Vec<File>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct File {
    #[prost(string, tag = "1")]
    path: String,
    #[prost(bytes = "vec", tag = "2")]
    content: Vec<u8>,
}

/// S-2.0: not one byte is free.
#[test]
fn every_flipped_byte_of_a_signed_bundle_is_refused() {
    let first = opened_first();
    let good = signed(&next(2), Some(&first), &[ERIN, GRACE]).to_bytes();
    assert!(SignedBundle::from_bytes(&good).unwrap().open(Trust::After(&first), EVENING).is_ok());
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        let opened = SignedBundle::from_bytes(&bad).and_then(|b| b.open(Trust::After(&first), EVENING));
        assert!(opened.is_err(), "byte {at}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(SignedBundle::from_bytes(&bytes).is_err());
    }
}

#[test]
fn admins_are_read_strictly() {
    let refused = |from, to| refused(&changed("roster.toml", from, to)).to_string();
    for (from, to, part) in [
        (
            "admins_needed = 2",
            "admins_needed = 4",
            "`admins_needed` must be there, and be 1 to the number of admins, of which there are 3",
        ),
        ("admins_needed = 2", "admins_needed = 0", "roster.toml:6:17: `admins_needed` must be there"),
        ("admins_needed = 2", "", "`admins_needed` must be there"),
        ("\"frank\"", "\"erin\"", "admin `erin` is there twice"),
        (
            "d04ab232742bb4ab3a1368bd4615e4e6d0224ab71a016baf8520a332c9778737",
            &pubkey(ERIN),
            "public key `ed25519:5c9c6df2",
        ),
        ("[\"ed25519:d04ab232742bb4ab3a1368bd4615e4e6d0224ab71a016baf8520a332c9778737\"]", "[]", "`frank` has no keys"),
        // A client is no admin under the same key.
        (
            "d04ab232742bb4ab3a1368bd4615e4e6d0224ab71a016baf8520a332c9778737",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "is there twice",
        ),
    ] {
        let e = refused(from, to);
        assert!(e.starts_with("roster.toml:") && e.contains(part), "{from}: {e}");
    }
}

#[test]
fn content_is_named_over_its_type() {
    let first = first();
    let envelope = Envelope::decode(first.to_bytes().as_slice()).unwrap();
    assert_eq!((content_digest(&envelope), envelope.payload_type.as_str()), (first.digest(), BUNDLE_TYPE));
    assert!(matches!(sign(&opened_first(), &payout(1)), Decision::Permit { .. }));
}

/// Signed or not, a rule that Cedar refuses is shown with its place.
#[test]
fn what_is_no_bundle_is_not_opened() {
    let wrong = changed("policy.cedar", "context.tx.amount.lessThanOrEqual", "context.tx.ammount.lessThanOrEqual");
    let e = SignedBundle::pack(&wrong, None, month()).unwrap_err().to_string();
    assert!(e.starts_with("policy.cedar:8:11: ") && e.contains("`amount`"), "{e}");
    let by_hand = edited(&first(), |body| {
        let policy = body.files.iter_mut().find(|f| f.path == "policy.cedar").unwrap();
        policy.content.clone_from(&wrong["policy.cedar"]);
    });
    let opened = refused_at(&by_hand, Trust::Reopened(by_hand.digest()), EVENING);
    assert!(matches!(&opened, OpenError::Content(content) if content.to_string() == e), "{opened}");
}
