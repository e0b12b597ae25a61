//! What Taproot keys sign, and their addresses.
#![allow(clippy::unwrap_used, clippy::string_slice, missing_docs, reason = "tests fail loudly")]

use sha2::{Digest as _, Sha256};
use tally_chains::{BitcoinNetwork, ChainError, ToSign, decode, taproot_address};
use tally_domain::facts::{Facts, MessageFacts, RawFacts};
use tally_domain::{ContentKind, Digest, Reason, Scheme};

const SCHEME: Scheme = Scheme::Taproot;

/// BIP-86 and BIP-341: output keys and their addresses.
#[test]
fn addresses_are_those_of_the_bips() {
    for (output, address) in [
        (
            "a60869f0dbcf1dc659c9cecbaf8050135ea9e8cdc487053f1dc6880949dc684c",
            "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr",
        ),
        (
            "a82f29944d65b86ae6b5e5cc75e294ead6c59391a1edc5e016e3498c67fc7bbb",
            "bc1p4qhjn9zdvkux4e44uhx8tc55attvtyu358kutcqkudyccelu0was9fqzwh",
        ),
        (
            "147c9c57132f6e7ecddba9800bb0c4449251c92a1e60371ee77557b6620f3ea3",
            "bc1pz37fc4cn9ah8anwm4xqqhvxygjf9rjf2resrw8h8w4tmvcs0863sa2e586",
        ),
    ] {
        let output = hex::decode(output).unwrap();
        assert_eq!(taproot_address(&output, BitcoinNetwork::Main).unwrap(), address);
        // The checksum covers the prefix.
        let test = taproot_address(&output, BitcoinNetwork::Test).unwrap();
        assert_eq!((&test[..4], &test[4..56]), ("tb1p", &address[4..56]));
        assert_ne!(&test[56..], &address[56..]);
    }
    // BIP-350: the generator's x on testnet.
    let x = hex::decode("000000c4a5cad46221b2a187905e5266362b99d5e91c6ce24d165dab93e86433").unwrap();
    let address = "tb1pqqqqp399et2xygdj5xreqhjjvcmzhxw4aywxecjdzew6hylgvsesf3hn0c";
    assert_eq!(taproot_address(&x, BitcoinNetwork::Test).unwrap(), address);
    for bad in [&[][..], &[2; 33], &[0; 32], &[0xFF; 32]] {
        assert_eq!(taproot_address(bad, BitcoinNetwork::Main), Err(ChainError::PublicKey));
    }
}

#[test]
fn messages_are_hashed_under_a_tag_of_ours() {
    let d = decode(ContentKind::Message, SCHEME, "", b"hello").unwrap();
    let tag = Sha256::digest(b"tally/message");
    let hash: [u8; 32] = Sha256::digest([&tag[..], &tag[..], b"hello"].concat()).into();
    assert_eq!(d.to_sign, ToSign::Digest(Digest(hash)));
    assert_eq!(d.facts, Facts::Message(MessageFacts { bytes: 5, text: true }));
    // Nobody passes off a digest as a message.
    let d = decode(ContentKind::Message, SCHEME, "", &hash).unwrap();
    assert_ne!(d.to_sign, ToSign::Digest(Digest(hash)));
}

#[test]
fn raw_digests_are_signed_as_they_are_for_outputs_with_and_without_scripts() {
    let raw = |content: &[u8]| decode(ContentKind::RawDigest, SCHEME, "", content);
    let d = raw(&[7; 32]).unwrap();
    assert_eq!((d.facts, &d.to_sign), (Facts::Raw(RawFacts { bytes: 32 }), &ToSign::Digest(Digest([7; 32]))));
    assert_eq!((d.to_sign.to_bytes(), d.to_sign.digest()), (vec![7; 32], Digest([7; 32])));
    let with_scripts = [[7; 32], [0; 32]].concat();
    let d = raw(&with_scripts).unwrap();
    let output = ToSign::Output { digest: Digest([7; 32]), merkle_root: Digest([0; 32]) };
    assert_eq!((d.facts, &d.to_sign), (Facts::Raw(RawFacts { bytes: 64 }), &output));
    // Votes are for both.
    assert_eq!((d.to_sign.message(), d.to_sign.digest()), (&[7; 32][..], Digest::of(&with_scripts)));
    for bad in [&[][..], &[7; 31], &[7; 33], &[7; 63], &[7; 65], &[0; 32], &[0; 64]] {
        let e = raw(bad).unwrap_err();
        assert_eq!((e.reason(), e), (Reason::ParameterRange, ChainError::RawOutput));
    }
    let e = decode(ContentKind::RawDigest, SCHEME, "eip155:1", &[7; 32]).unwrap_err();
    assert_eq!((e.reason(), e), (Reason::Malformed, ChainError::MessageForChain));
}

#[test]
fn nothing_of_evm_is_signed_with_a_key_for_taproot() {
    for kind in [ContentKind::EvmTransaction, ContentKind::TypedData, ContentKind::PersonalMessage] {
        let e = decode(kind, SCHEME, "eip155:1", b"x").unwrap_err();
        assert_eq!((e.reason(), e), (Reason::KeyScheme, ChainError::KeyScheme { scheme: SCHEME }));
    }
}
