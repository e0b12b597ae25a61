//! Messages: the EIP-191 prefix for ECDSA, the bytes themselves for Ed25519.
#![allow(clippy::unwrap_used, reason = "tests fail loudly")]

use tally_chains::{ChainError, ToSign, decode, decode_hsm};
use tally_domain::facts::{Facts, MessageFacts};
use tally_domain::{ContentKind, Digest, HsmScheme, Reason, Scheme};

/// The example of web3.js `accounts.hashMessage`, which other implementations test against too.
#[test]
fn ecdsa_messages_are_hashed_under_the_eip_191_prefix() {
    let d = decode(ContentKind::Message, Scheme::EcdsaSecp256k1, "", b"Hello World").unwrap();
    let hash = hex::decode("a1de988600a42c4b4ab089b619297c17d53cffae5d5120d82d8a92d0bb3b78f2").unwrap();
    assert_eq!(d.to_sign, ToSign::Digest(Digest::from_slice(&hash).unwrap()));
    assert_eq!(d.facts, Facts::Message(MessageFacts { bytes: 11, text: true }));
}

#[test]
fn ed25519_messages_are_signed_as_they_are() {
    let d = decode(ContentKind::Message, Scheme::Ed25519, "", &[0xff, 0x00]).unwrap();
    assert_eq!(d.to_sign, ToSign::Message(vec![0xff, 0x00]));
    assert_eq!(d.facts, Facts::Message(MessageFacts { bytes: 2, text: false }));
}

/// Contracts take 32 bytes that were signed as a message for a digest (Safe's `eth_sign`, ERC-1271): nobody can read it, and
/// with enough tries one looks as if.
#[test]
fn what_people_cannot_read_and_what_may_be_a_digest_is_no_text() {
    let text = |content: &[u8]| match decode(ContentKind::Message, Scheme::EcdsaSecp256k1, "", content).unwrap().facts {
        Facts::Message(facts) => facts.text,
        _ => false,
    };
    for readable in
        ["x", "example.com wants you to sign in:\r\n\t0x1\n", "Zwei H\u{e4}lften \u{1f42f}", &"0".repeat(64)]
    {
        assert!(text(readable.as_bytes()), "{readable}");
    }
    for hidden in ["\0", "a\u{1b}[8m", "a\u{7f}", "a\u{85}", &"a".repeat(32), &"\u{e4}".repeat(16)] {
        assert!(!text(hidden.as_bytes()), "{hidden:?}");
    }
    let by_hsm = decode_hsm(ContentKind::Message, HsmScheme::EcdsaP256, "", &[b'a'; 32]).unwrap().facts;
    assert_eq!(by_hsm, Facts::Message(MessageFacts { bytes: 32, text: false }));
}

#[test]
fn empty_messages_and_messages_for_a_chain_are_refused() {
    for scheme in [Scheme::EcdsaSecp256k1, Scheme::Ed25519, Scheme::Taproot] {
        let e = decode(ContentKind::Message, scheme, "", b"").unwrap_err();
        assert_eq!((e.reason(), e), (Reason::Malformed, ChainError::Empty));
        let e = decode(ContentKind::Message, scheme, "eip155:1", b"x").unwrap_err();
        assert_eq!((e.reason(), e), (Reason::Malformed, ChainError::MessageForChain));
    }
}
