//! What is asked of KEKs, wrapped data, and the ways of their versions: each has one encoding and nothing is taken for
//! something else.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests fail loudly"
)]

use tally_domain::intent::BadIntent;
use tally_domain::ports::hsm::KekId;
use tally_domain::wrap::{BLOB_MAX_BYTES, BadContext, CONTEXT_PAIRS_MAX, PLAINTEXT_MAX_BYTES, commitment};
use tally_domain::*;

fn context(pairs: &[(&str, &str)]) -> Result<EncryptionContext, BadContext> {
    EncryptionContext::from_pairs(pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())))
}

fn calls() -> [WrapCall; 6] {
    let (digest, version) = (Digest([7; 32]), Some(KekNumber(3)));
    [
        WrapCall::GenerateDataKey { bytes: 32, plaintext: true, version: None },
        WrapCall::GenerateDataKey { bytes: 16, plaintext: false, version },
        WrapCall::Wrap { commitment: digest, version: None },
        WrapCall::Wrap { commitment: digest, version },
        WrapCall::Unwrap { blob: digest },
        WrapCall::Rewrap { blob: digest, version },
    ]
}

#[test]
fn specs_have_one_encoding_and_no_flipped_bit_reads_the_same() {
    let context = context(&[("b", ""), ("a", "1=2")]).unwrap();
    let wraps = calls().map(|call| WrapSpec { context: context.clone(), call }.to_bytes());
    let home = NodeName::parse("node-1").unwrap();
    let n = KekNumber(2);
    let changes = [
        KekChange::Rotate,
        KekChange::Disable(n),
        KekChange::Enable(n),
        KekChange::Destroy(n, 7),
        KekChange::Cancel(n),
        KekChange::Replicate(n),
    ];
    let keks = changes.map(|c| KekSpec::Change(c).to_bytes()).into_iter().chain([KekSpec::Create { home }.to_bytes()]);
    let wrap = |bytes: &[u8]| WrapSpec::from_bytes(bytes).ok().map(|s| s.to_bytes());
    let kek = |bytes: &[u8]| KekSpec::from_bytes(bytes).ok().map(|s| s.to_bytes());
    type Read<'a> = &'a dyn Fn(&[u8]) -> Option<Vec<u8>>;
    let all = wraps.into_iter().map(|b| (b, &wrap as Read<'_>)).chain(keks.map(|b| (b, &kek as Read<'_>)));
    for (bytes, read) in all {
        assert_eq!(read(&bytes).as_ref(), Some(&bytes));
        for i in 0..bytes.len() {
            for bit in 0..8 {
                let mut bad = bytes.clone();
                bad[i] ^= 1 << bit;
                assert!(read(&bad).is_none_or(|again| again == bad), "byte {i} bit {bit}");
            }
        }
        let unknown = [&bytes[..], &[0x98, 0x06, 0x01]].concat();
        assert_eq!(read(&unknown), None);
    }
}

#[test]
fn what_a_call_has_no_use_for_must_not_be_there() {
    // An unwrap with a version, and a data key with a digest: every field is known, and still it is refused.
    let unwrap = WrapSpec { context: EncryptionContext::default(), call: calls()[4].clone() }.to_bytes();
    let with_version = [&unwrap[..2], &[0x18, 3], &unwrap[2..]].concat();
    assert_eq!(WrapSpec::from_bytes(&with_version), Err(BadIntent::NotCanonical));
    for (call, bytes) in [(4, 15), (4, 65), (4, 0)] {
        let spec = [0x10, call, 0x20, bytes];
        assert!(WrapSpec::from_bytes(&spec).is_err(), "{bytes} bytes");
    }
    assert_eq!(WrapSpec::from_bytes(&[0x10, 1]), Err(BadIntent::Field { field: "call" }));
    assert_eq!(KekSpec::from_bytes(&[0x08, 3]), Err(BadIntent::Field { field: "version" }));
    assert_eq!(KekSpec::from_bytes(&[0x08, 2, 0x10, 1]), Err(BadIntent::NotCanonical));
    assert_eq!(KekSpec::from_bytes(&[0x08, 99]), Err(BadIntent::Field { field: "change" }));
}

#[test]
fn contexts_are_sorted_limited_and_each_key_is_there_once() {
    let sorted = context(&[("b", "2"), ("a", "1")]).unwrap();
    assert_eq!(sorted, context(&[("a", "1"), ("b", "2")]).unwrap());
    assert_eq!(sorted.to_string(), "a=1, b=2");
    assert_eq!(context(&[("a", "1"), ("a", "2")]), Err(BadContext::Twice("a".into())));
    for bad in ["", "a=b", "a\n", &"k".repeat(129)] {
        assert!(matches!(context(&[(bad, "")]), Err(BadContext::Key(_))), "{bad:?}");
    }
    for bad in ["\0", &"v".repeat(257)] {
        assert_eq!(context(&[("a", bad)]), Err(BadContext::Value("a".into())));
    }
    context(&[(&"k".repeat(128), &"v".repeat(256))]).unwrap();
    let many = |n: usize| EncryptionContext::from_pairs((0..n).map(|i| (format!("k{i}"), String::new())));
    many(CONTEXT_PAIRS_MAX).unwrap();
    assert_eq!(many(CONTEXT_PAIRS_MAX + 1), Err(BadContext::TooMany));
    // On the wire in another order: b=2, a=1.
    let pair = |k: u8, v: u8| [0x0a, 6, 0x0a, 1, k, 0x12, 1, v];
    let unsorted = [&pair(b'b', b'2')[..], &pair(b'a', b'1'), &[0x10, 4, 0x20, 32]].concat();
    assert_eq!(WrapSpec::from_bytes(&unsorted), Err(BadIntent::Field { field: "context" }));
}

fn label() -> WrapLabel {
    WrapLabel { kek: KeyName::parse("vault").unwrap(), number: KekNumber(2), id: KekId([9; 16]), bytes: 32 }
}

fn blob() -> WrappedKey {
    WrappedKey { label: label(), sealed: vec![5; 77] }
}

#[test]
fn wrapped_data_reads_back_and_every_flipped_bit_is_refused_or_names_something_else() {
    let bytes = blob().to_bytes();
    assert_eq!(WrappedKey::from_bytes(&bytes), Ok(blob()));
    assert_eq!(&bytes[..11], b"tlyw\x01\x05vault");
    for i in 0..bytes.len() {
        for bit in 0..8 {
            let mut bad = bytes.clone();
            bad[i] ^= 1 << bit;
            assert!(WrappedKey::from_bytes(&bad).map_or(true, |read| read != blob()), "byte {i} bit {bit}");
        }
        if i < 33 {
            assert!(WrappedKey::from_bytes(&bytes[..i]).is_err(), "{i} bytes");
        }
    }
    let label = WrapLabel { kek: KeyName::parse(&"n".repeat(64)).unwrap(), ..label() };
    let largest = WrappedKey { label, sealed: vec![0; PLAINTEXT_MAX_BYTES + 77] };
    assert_eq!(WrappedKey::from_bytes(&largest.to_bytes()), Ok(largest));
    assert!(WrappedKey::from_bytes(&[&bytes[..], &vec![0; BLOB_MAX_BYTES]].concat()).is_err());
}

#[test]
fn whatever_the_data_is_bound_to_changes_what_the_token_binds() {
    let (cluster, tenant) = (ClusterId::parse("test").unwrap(), Tenant::parse("acme").unwrap());
    let pairs = |pairs: &[(&str, &str)]| context(pairs).unwrap();
    let (l, ab) = (label(), pairs(&[("a", "b"), ("c", "d")]));
    let with = |change: fn(&mut WrapLabel)| {
        let mut other = label();
        change(&mut other);
        other.aad(&cluster, &tenant, &ab)
    };
    let all = [
        l.aad(&cluster, &tenant, &ab),
        l.aad(&ClusterId::parse("prod").unwrap(), &tenant, &ab),
        l.aad(&cluster, &Tenant::parse("globex").unwrap(), &ab),
        with(|l| l.kek = KeyName::parse("vault2").unwrap()),
        with(|l| l.number = KekNumber(3)),
        with(|l| l.id = KekId([8; 16])),
        with(|l| l.bytes = 33),
        l.aad(&cluster, &tenant, &EncryptionContext::default()),
        l.aad(&cluster, &tenant, &pairs(&[("a", "b")])),
        l.aad(&cluster, &tenant, &pairs(&[("a", "b"), ("cd", "")])),
        l.aad(&cluster, &tenant, &pairs(&[("a", "bcd")])),
    ];
    let distinct: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(distinct.len(), all.len());
}

#[test]
fn a_commitment_hides_and_binds() {
    let salt = [1; 32];
    assert_ne!(commitment(&salt, b"1234"), commitment(&salt, b"1235"));
    // Few values do not help who has not seen the salt.
    assert_ne!(commitment(&salt, b"1234"), commitment(&[2; 32], b"1234"));
}

#[test]
fn versions_go_one_way_and_nothing_leads_back_from_destruction() {
    let at = UnixMillis(5);
    let states = [
        KekState::Enabled,
        KekState::Disabled,
        KekState::PendingDestruction { at },
        KekState::Destroying,
        KekState::Destroyed,
    ];
    let events = [
        KekEvent::Disabled,
        KekEvent::Enabled,
        KekEvent::DestructionScheduled { at },
        KekEvent::DestructionCancelled,
        KekEvent::Destroying,
        KekEvent::Destroyed,
    ];
    let allowed: Vec<(&str, &str, &str)> = states
        .iter()
        .flat_map(|s| events.iter().filter_map(|e| Some((s.as_str(), e.as_str(), s.after(*e)?.as_str()))))
        .collect();
    assert_eq!(
        allowed,
        [
            ("enabled", "disabled", "disabled"),
            ("enabled", "destruction-scheduled", "pending-destruction"),
            ("disabled", "enabled", "enabled"),
            ("disabled", "destruction-scheduled", "pending-destruction"),
            ("pending-destruction", "destruction-cancelled", "disabled"),
            ("pending-destruction", "destroying", "destroying"),
            ("destroying", "destroyed", "destroyed"),
        ]
    );
}
