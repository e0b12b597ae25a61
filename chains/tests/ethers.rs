//! The published test cases of ethers: transactions of every type with their signers, and typed data with its digests.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail loudly")]

use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};
use serde_json::{Value, json};
use tally_chains::{ChainError, Decoded, ToSign, chain_of, decode, evm_address, signed_transaction};
use tally_domain::{ContentKind, Reason, Scheme};

fn cases(text: &str) -> Vec<Value> {
    let cases: Vec<Value> = serde_json::from_str(text).unwrap();
    assert!(cases.len() >= 50);
    cases
}

fn bytes(case: &Value, field: &str) -> Vec<u8> {
    hex::decode(case[field].as_str().unwrap().strip_prefix("0x").unwrap()).unwrap()
}

fn evm(chain: &str, content: &[u8]) -> Result<Decoded, ChainError> {
    decode(ContentKind::EvmTransaction, Scheme::EcdsaSecp256k1, chain, content)
}

fn digest(decoded: &Decoded) -> [u8; 32] {
    match &decoded.to_sign {
        ToSign::Digest(digest) => digest.0,
        ToSign::Output { .. } | ToSign::Message(_) => panic!("signed by its digest"),
    }
}

/// The items of an RLP list without lists in it, or of what comes behind the last one. Shares nothing with our codec.
fn last_items<const N: usize>(list: &[u8]) -> [Vec<u8>; N] {
    let (mut rest, mut items) = (payload(list), Vec::new());
    while let Some((&first, after)) = rest.split_first() {
        let (item, left) = match first {
            0..=0x7f => (vec![first], after),
            0x80..=0xb7 => split(after, usize::from(first - 0x80)),
            0xb8..=0xbf => {
                let (length, after) = split(after, usize::from(first - 0xb7));
                split(after, length.iter().fold(0, |n, b| n * 256 + usize::from(*b)))
            }
            0xc0.. => (Vec::new(), rest.get(header(rest)..).unwrap().get(payload(rest).len()..).unwrap()),
        };
        items.push(item);
        rest = left;
    }
    items.split_off(items.len() - N).try_into().unwrap()
}

fn split(bytes: &[u8], at: usize) -> (Vec<u8>, &[u8]) {
    let (item, rest) = bytes.split_at(at);
    (item.to_vec(), rest)
}

fn header(list: &[u8]) -> usize {
    if list[0] > 0xf7 { 1 + usize::from(list[0] - 0xf7) } else { 1 }
}

fn payload(list: &[u8]) -> &[u8] {
    let length = match list[0] {
        0xf8.. => list[1..header(list)].iter().fold(0, |n, b| n * 256 + usize::from(*b)),
        short => usize::from(short - 0xc0),
    };
    &list[header(list)..][..length]
}

fn word(bytes: &[u8]) -> [u8; 32] {
    let mut word = [0; 32];
    word[32 - bytes.len()..].copy_from_slice(bytes);
    word
}

/// Puts the published signature into the unsigned transaction: the published signed one must come out, and its signer.
fn agrees(content: &[u8], decoded: &Decoded, signed: &[u8], list: &[u8], signer: &str, parity: impl Fn(u64) -> u64) {
    let [v, r, s] = last_items::<3>(list);
    let parity = u8::try_from(parity(v.iter().fold(0, |n, b| n * 256 + u64::from(*b)))).unwrap();
    let (r, s) = (word(&r), word(&s));
    assert_eq!(hex::encode(signed_transaction(content, r, s, parity).unwrap()), hex::encode(signed));
    let signature = Signature::from_scalars(r, s).unwrap();
    let key = VerifyingKey::recover_from_prehash(&digest(decoded), &signature, RecoveryId::from_byte(parity).unwrap());
    let found = evm_address(key.unwrap().to_sec1_point(true).as_bytes()).unwrap();
    assert_eq!(found.to_ascii_lowercase(), signer.to_ascii_lowercase());
}

#[test]
fn legacy_transactions_with_eip_155_and_none_without() {
    let mut read = 0;
    for case in cases(include_str!("vectors/ethers/transactions.json")) {
        let content = bytes(&case, "unsignedTransactionChainId5");
        let decoded = match evm("eip155:5", &content) {
            Ok(decoded) => decoded,
            Err(e) => {
                // Drawn at random, with more gas or a higher nonce than 64 bits, or a price of more than 128: none is on any chain.
                let [nonce, price, gas, ..] = last_items::<9>(&content);
                assert!(nonce.len() > 8 || price.len() > 16 || gas.len() > 8, "{}: {e}", case["name"]);
                assert_eq!(e, ChainError::TxFields);
                continue;
            }
        };
        read += 1;
        assert_eq!(chain_of(ContentKind::EvmTransaction, &content).unwrap(), "eip155:5");
        let signed = bytes(&case, "signedTransactionChainId5");
        agrees(&content, &decoded, &signed, &signed, case["accountAddress"].as_str().unwrap(), |v| v - 35 - 2 * 5);
        // A signed one is not signed again.
        assert_eq!(evm("eip155:5", &signed).unwrap_err().reason(), Reason::TxUnparseable);
        let unbound = evm("eip155:5", &bytes(&case, "unsignedTransaction")).unwrap_err();
        assert_eq!((unbound.reason(), unbound), (Reason::TxType, ChainError::NoReplayProtection));
    }
    assert!(read > 40, "{read}");
}

#[test]
fn transactions_of_eip_2930_and_eip_1559() {
    let mut signed_types = [0, 0];
    for case in cases(include_str!("vectors/ethers/typed-transactions.json")) {
        let content = bytes(&case, "unsigned");
        let chain_id = case["chainId"].as_u64().unwrap();
        let decoded = evm(&format!("eip155:{chain_id}"), &content);
        if chain_id == 0 {
            assert_eq!(decoded.unwrap_err().reason(), Reason::ChainMismatch);
            assert!(chain_of(ContentKind::EvmTransaction, &content).is_err());
            continue;
        }
        let decoded = decoded.unwrap_or_else(|e| panic!("{}: {e}", case["name"]));
        let signed = bytes(&case, "signed");
        agrees(&content, &decoded, &signed, &signed[1..], case["address"].as_str().unwrap(), |v| v);
        assert_eq!(evm(&format!("eip155:{chain_id}"), &signed).unwrap_err().reason(), Reason::TxUnparseable);
        signed_types[usize::from(content[0]) - 1] += 1;
    }
    assert!(signed_types.iter().all(|n| *n > 10), "{signed_types:?}");
}

#[test]
fn typed_data_has_the_published_digests() {
    for case in cases(include_str!("vectors/ethers/eip712.json")) {
        let document = json!({
            "types": case["types"], "primaryType": case["primaryType"], "domain": case["domain"], "message": case["data"],
        });
        let content = document.to_string().into_bytes();
        let chain = chain_of(ContentKind::TypedData, &content).unwrap_or_else(|e| panic!("{}: {e}", case["name"]));
        let decoded = decode(ContentKind::TypedData, Scheme::EcdsaSecp256k1, &chain, &content).unwrap();
        assert_eq!(format!("0x{}", hex::encode(digest(&decoded))), case["digest"], "{}", case["name"]);
    }
}
