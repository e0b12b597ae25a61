//! What keys in an HSM sign, kind by kind and scheme by scheme.
#![allow(clippy::unwrap_used, reason = "tests fail loudly")]

use tally_chains::{ChainError, ToSign, decode, decode_hsm};
use tally_domain::facts::{Facts, MessageFacts, RawFacts};
use tally_domain::{ContentKind, Digest, HsmScheme, Reason, Scheme};

const ALL: [HsmScheme; 4] = [HsmScheme::EcdsaP256, HsmScheme::EcdsaSecp256k1, HsmScheme::Ed25519, HsmScheme::Rsa3072];

/// SHA-256 of "abc" (FIPS 180-4).
const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

#[test]
fn messages_are_hashed_as_they_are_or_signed_as_they_are() {
    for scheme in ALL {
        let d = decode_hsm(ContentKind::Message, scheme, "", b"abc").unwrap();
        assert_eq!(d.facts, Facts::Message(MessageFacts { bytes: 3, text: true }));
        match scheme {
            HsmScheme::Ed25519 => assert_eq!(d.to_sign, ToSign::Message(b"abc".to_vec())),
            _ => assert_eq!(d.to_sign, ToSign::Digest(Digest::from_slice(&hex::decode(ABC).unwrap()).unwrap())),
        }
        assert_eq!(decode_hsm(ContentKind::Message, scheme, "", b""), Err(ChainError::Empty));
        assert_eq!(decode_hsm(ContentKind::Message, scheme, "eip155:1", b"x"), Err(ChainError::MessageForChain));
    }
}

#[test]
fn a_raw_digest_is_thirty_two_bytes_and_not_zero() {
    for scheme in ALL {
        let d = decode_hsm(ContentKind::RawDigest, scheme, "", &[7; 32]).unwrap();
        assert_eq!(d.facts, Facts::Raw(RawFacts { bytes: 32 }));
        match scheme {
            HsmScheme::Ed25519 => assert_eq!(d.to_sign, ToSign::Message(vec![7; 32])),
            _ => assert_eq!(d.to_sign, ToSign::Digest(Digest([7; 32]))),
        }
        for bad in [&[][..], &[7; 31], &[7; 33], &[0; 32]] {
            let e = decode_hsm(ContentKind::RawDigest, scheme, "", bad).unwrap_err();
            assert_eq!((e.reason(), e), (Reason::ParameterRange, ChainError::RawDigest));
        }
        assert_eq!(decode_hsm(ContentKind::RawDigest, scheme, "eip155:1", &[7; 32]), Err(ChainError::MessageForChain));
    }
    for scheme in [Scheme::EcdsaSecp256k1, Scheme::Ed25519] {
        let e = decode(ContentKind::RawDigest, scheme, "", &[7; 32]).unwrap_err();
        assert_eq!((e.reason(), e), (Reason::KeyPurpose, ChainError::RawNeedsHsm));
    }
}

#[test]
fn a_transaction_is_what_a_threshold_key_would_sign() {
    let tx = tally_chains::eip1559_unsigned(&tally_chains::Eip1559 {
        chain_id: 1,
        nonce: 0,
        max_priority_fee_per_gas: 1,
        max_fee_per_gas: 2,
        gas_limit: 21_000,
        to: Some([0x11; 20]),
        value: tally_domain::facts::Amount([0; 32]),
        input: vec![],
    });
    let kind = ContentKind::EvmTransaction;
    let by_hsm = decode_hsm(kind, HsmScheme::EcdsaSecp256k1, "eip155:1", &tx).unwrap();
    assert_eq!(by_hsm, decode(kind, Scheme::EcdsaSecp256k1, "eip155:1", &tx).unwrap());
    for scheme in [HsmScheme::EcdsaP256, HsmScheme::Ed25519, HsmScheme::Rsa3072] {
        let e = decode_hsm(kind, scheme, "eip155:1", &tx).unwrap_err();
        assert_eq!((e.reason(), e), (Reason::KeyScheme, ChainError::HsmKeyScheme { scheme }));
    }
}

#[test]
fn specifications_are_not_signed() {
    for kind in [
        ContentKind::KeySpec,
        ContentKind::HsmKeySpec,
        ContentKind::FreezeSpec,
        ContentKind::UnfreezeSpec,
        ContentKind::VetoSpec,
    ] {
        assert_eq!(decode_hsm(kind, HsmScheme::EcdsaP256, "", b"x"), Err(ChainError::NothingToSign));
        assert_eq!(decode(kind, Scheme::Ed25519, "", b"x"), Err(ChainError::NothingToSign));
    }
}
