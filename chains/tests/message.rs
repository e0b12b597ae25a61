//! Messages: the EIP-191 prefix for ECDSA, the bytes themselves for Ed25519.
#![allow(clippy::unwrap_used, reason = "tests fail loudly")]

use tally_chains::{ChainError, ToSign, decode};
use tally_domain::facts::{Facts, MessageFacts};
use tally_domain::{ContentKind, Digest, Reason, Scheme};

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

#[test]
fn empty_messages_and_messages_for_a_chain_are_refused() {
    for scheme in [Scheme::EcdsaSecp256k1, Scheme::Ed25519, Scheme::Taproot] {
        let e = decode(ContentKind::Message, scheme, "", b"").unwrap_err();
        assert_eq!((e.reason(), e), (Reason::Malformed, ChainError::Empty));
        let e = decode(ContentKind::Message, scheme, "eip155:1", b"x").unwrap_err();
        assert_eq!((e.reason(), e), (Reason::Malformed, ChainError::MessageForChain));
    }
}
