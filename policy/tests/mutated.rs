//! Whatever becomes of a bundle's bytes on their way, and whatever its admins sign by mistake: it opens or is refused with
//! a reason, and nothing that was changed passes for what was signed.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail loudly")]

mod common {
    pub mod bundle;
    pub mod treasury;
}

use common::bundle::*;
use common::treasury::*;
use prop::sample::Index;
use proptest::prelude::*;
use prost::Message as _;
use std::sync::LazyLock;
use tally_domain::Digest;
use tally_domain::dsse::{Envelope, Signature, pae};
use tally_policy::{Bundle, OpenError, Problem, SignedBundle, Trust};

/// One change of some bytes.
#[derive(Debug, Clone)]
enum Change {
    /// What is there is written over.
    Over(Index, Vec<u8>),
    Insert(Index, Vec<u8>),
    /// Some bytes less.
    Cut(Index, Index),
    /// Bytes from elsewhere once more.
    Repeat(Index, Index, Index),
}

/// Bytes that mean something to the readers: of protobuf lengths and tags, of TOML and of Cedar.
const TELLING: &[&[u8]] = &[
    &[0],
    &[0xff; 10],
    &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01],
    b"\x0a\x00",
    b"\n",
    b"\r",
    b"\"",
    b"'''",
    b"# ",
    b"[[",
    b"]]",
    b"{",
    b", ",
    b" = ",
    b"9",
    b"_",
    b"..",
    b"/",
    b"@",
    b";",
    b"\xc3\xa9",
    b"\xe2\x80\xae",
];

/// Values that a reader of TOML gives as every type there is, and as numbers at their bounds.
const VALUES: [&str; 22] = [
    "0",
    "-1",
    "1.5",
    "nan",
    "true",
    "1979-05-27T07:32:00Z",
    "9223372036854775807",
    "9223372036854775808",
    "340282366920938463463374607431768211456",
    "[]",
    "[[]]",
    "{}",
    "[\"key\", \"key\"]",
    "\"\"",
    "\"0\"",
    "\"1_\"",
    "\"99999999999999999999d\"",
    "\"0.0000000000000000000000000000000000000001\"",
    "\"\\u202e\"",
    "\"bob\"",
    "\"vendors\"",
    "\"ed25519:00\"",
];

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![prop::collection::vec(any::<u8>(), 1..4), prop::sample::select(TELLING).prop_map(<[u8]>::to_vec)]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (any::<Index>(), bytes()).prop_map(|(at, with)| Change::Over(at, with)),
        2 => (any::<Index>(), bytes()).prop_map(|(at, with)| Change::Insert(at, with)),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Change::Cut(from, to)),
        1 => (any::<Index>(), any::<Index>(), any::<Index>()).prop_map(|(from, to, at)| Change::Repeat(from, to, at)),
    ]
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    prop::collection::vec(change(), 1..4)
}

fn after(original: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut bytes = original.to_vec();
    for change in changes {
        let at = |index: &Index, bytes: &[u8]| index.index(bytes.len() + 1);
        let range = |a: &Index, b: &Index, bytes: &[u8]| {
            let (a, b) = (at(a, bytes), at(b, bytes));
            a.min(b)..a.max(b)
        };
        match change {
            Change::Over(index, with) => {
                let start = at(index, &bytes);
                let end = bytes.len().min(start + with.len());
                bytes[start..end].copy_from_slice(&with[..end - start]);
            }
            Change::Insert(index, with) => {
                let at = at(index, &bytes);
                bytes.splice(at..at, with.iter().copied());
            }
            Change::Cut(a, b) => {
                let range = range(a, b, &bytes);
                bytes.drain(range);
            }
            Change::Repeat(a, b, index) => {
                let (again, at) = (bytes[range(a, b, &bytes)].to_vec(), at(index, &bytes));
                bytes.splice(at..at, again);
            }
        }
    }
    bytes
}

/// A bundle that is active, and the bytes of the next one.
struct Chain {
    first: Bundle,
    next: Vec<u8>,
}

static CHAIN: LazyLock<Chain> = LazyLock::new(|| {
    let first = signed(&treasury(), None, &[ERIN, FRANK]);
    let first = first.open(Trust::Pinned(first.digest()), EVENING).unwrap();
    let next = signed(&next(2), Some(&first), &[ERIN, GRACE]).to_bytes();
    Chain { first, next }
});

/// Names the example's files as they are.
static UNCHANGED: LazyLock<Digest> = LazyLock::new(|| bundle(&treasury()).digest());

fn open(bytes: &[u8]) -> Result<Bundle, OpenError> {
    SignedBundle::from_bytes(bytes)?.open(Trust::After(&CHAIN.first), EVENING)
}

/// This payload, signed by enough admins.
fn sealed(payload: Vec<u8>) -> Vec<u8> {
    let mut envelope = Envelope::decode(CHAIN.next.as_slice()).unwrap();
    let signed = pae(&envelope.payload_type, &payload);
    let by = |seed| Signature { key_id: key(seed).verifying_key().to_string(), signature: key(seed).sign(&signed) };
    envelope.signatures = [ERIN, GRACE].map(by).into();
    envelope.payload = payload;
    envelope.encode_to_vec()
}

/// A mistake of ours is not what a caller's bytes may bring out.
fn is_ours(problem: &Problem) -> bool {
    matches!(problem, Problem::Internal { .. })
}

/// The file with the value after its nth `=` replaced.
fn revalued(text: &str, nth: Index, value: &str) -> String {
    let is_row = |line: &&str| line.contains(" = ");
    let rows = text.lines().filter(is_row).count();
    let mut at = nth.index(rows);
    let line = |line: &str| match line.split_once(" = ") {
        Some((name, _)) => {
            let chosen = at == 0;
            at = at.wrapping_sub(1);
            if chosen { format!("{name} = {value}\n") } else { format!("{line}\n") }
        }
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[test]
fn the_bytes_that_are_changed_here_open() {
    let envelope = Envelope::decode(CHAIN.next.as_slice()).unwrap();
    assert_eq!(open(&CHAIN.next).unwrap().version(), 2);
    assert_eq!(open(&sealed(envelope.payload)).unwrap().version(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// S-2.3: what was not signed as it is does not open.
    #[test]
    fn s_2_3_a_changed_envelope_is_refused(changes in changes()) {
        let bytes = after(&CHAIN.next, &changes);
        if let Ok(read) = SignedBundle::from_bytes(&bytes) {
            prop_assert_eq!(read.to_bytes(), bytes.as_slice(), "one bundle, two encodings");
        }
        prop_assert_eq!(open(&bytes).is_ok(), bytes == CHAIN.next);
    }

    /// Bytes that admins have signed are read as carefully as those that nobody has.
    #[test]
    fn a_signed_payload_is_read_strictly(changes in changes()) {
        let payload = after(&Envelope::decode(CHAIN.next.as_slice()).unwrap().payload, &changes);
        let bytes = sealed(payload);
        match open(&bytes) {
            Ok(bundle) => prop_assert_eq!(bundle.digest(), SignedBundle::from_bytes(&bytes).unwrap().digest()),
            Err(OpenError::Content(e)) => prop_assert!(!is_ours(&e.problem), "{}", e),
            Err(_) => {}
        }
    }

    #[test]
    fn changed_limits_and_groups_load_or_are_refused_where_they_are_wrong(
        path in prop::sample::select(&["limits.toml", "groups.toml"][..]),
        changes in changes(),
    ) {
        let mut files = treasury();
        files.insert(path.into(), after(&files[path], &changes));
        refused_or_loaded(&files)?;
    }

    #[test]
    fn limits_and_groups_of_any_values_load_or_are_refused_where_they_are_wrong(
        path in prop::sample::select(&["limits.toml", "groups.toml"][..]),
        nth in any::<Index>(),
        value in prop::sample::select(&VALUES[..]),
    ) {
        let mut files = treasury();
        files.insert(path.into(), revalued(&text(&files, path), nth, value).into_bytes());
        refused_or_loaded(&files)?;
    }
}

/// It loads and decides, or is refused with the place in one of its files.
fn refused_or_loaded(files: &Files) -> Result<(), TestCaseError> {
    match Bundle::load(files) {
        Ok(bundle) => {
            prop_assert_eq!(bundle.digest() == *UNCHANGED, *files == treasury());
            let _ = sign(&bundle, &payout(1));
        }
        Err(e) => {
            prop_assert!(!is_ours(&e.problem), "{}", e);
            prop_assert!(files.contains_key(&e.file), "{}", e);
        }
    }
    Ok(())
}
