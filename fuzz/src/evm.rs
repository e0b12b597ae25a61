//! EVM transactions as nodes are asked to sign them, and as JSON asks for them.

use crate::target::Verdict;
use alloy_consensus::transaction::RlpEcdsaDecodableTx;
use alloy_consensus::{Transaction, TxEip1559, TxEip2930, TxLegacy};
use serde_json::Value;
use tally_chains::{
    Decoded, Eip1559, ToSign, TransactionRequest, chain_of, decode, eip1559_unsigned, evm_unsigned, signed_transaction,
};
use tally_domain::facts::{AssetRef, Facts};
use tally_domain::{ContentKind, Scheme};

const LEGACY: &str = include_str!("../../chains/tests/vectors/ethers/transactions.json");
const TYPED: &str = include_str!("../../chains/tests/vectors/ethers/typed-transactions.json");

/// What a node makes of content: the same each time.
pub fn understood(kind: ContentKind, content: &[u8]) -> Result<Decoded, tally_chains::ChainError> {
    let chain = chain_of(kind, content)?;
    let decoded = decode(kind, Scheme::EcdsaSecp256k1, &chain, content)?;
    assert_eq!(decode(kind, Scheme::EcdsaSecp256k1, &chain, content).as_ref(), Ok(&decoded), "two readings");
    for scheme in [Scheme::Ed25519, Scheme::Taproot] {
        assert!(decode(kind, scheme, &chain, content).is_err(), "signed by a scheme that the chain has not");
    }
    Ok(decoded)
}

/// The digest that is signed.
pub fn digest(decoded: &Decoded) -> [u8; 32] {
    match &decoded.to_sign {
        ToSign::Digest(digest) => digest.0,
        ToSign::Output { .. } | ToSign::Message(_) => panic!("signed by its digest"),
    }
}

/// What of a signed transaction alloy reads, by type: whom, how much, and with what.
struct Reread {
    chain_id: Option<u64>,
    to: Option<[u8; 20]>,
    value: [u8; 32],
    input: Vec<u8>,
}

fn reread(signed: &[u8]) -> Reread {
    fn parts<T: RlpEcdsaDecodableTx + Transaction>(mut list: &[u8]) -> Reread {
        let (tx, _) = T::rlp_decode_with_signature(&mut list).unwrap();
        assert!(list.is_empty());
        let (to, value) = (tx.to().map(|to| to.into_array()), tx.value().to_be_bytes());
        Reread { chain_id: tx.chain_id(), to, value, input: tx.input().to_vec() }
    }
    match signed[0] {
        1 => parts::<TxEip2930>(&signed[1..]),
        2 => parts::<TxEip1559>(&signed[1..]),
        _ => parts::<TxLegacy>(signed),
    }
}

/// Reads an unsigned transaction: it is refused, or is what its signed form says to alloy.
pub fn transaction(content: &[u8]) -> Verdict {
    let read = understood(ContentKind::EvmTransaction, content);
    let Ok(decoded) = read else { return Verdict::refused(&read) };
    // One encoding: what is signed is the hash of the very bytes.
    assert_eq!(digest(&decoded), alloy_primitives::keccak256(content).0);
    assert!(chain_of(ContentKind::EvmTransaction, &[content, &[0]].concat()).is_err(), "more behind it");
    let signed = signed_transaction(content, [1; 32], [2; 32], 1).unwrap();
    assert!(chain_of(ContentKind::EvmTransaction, &signed).is_err(), "a signed transaction is signed again");
    let seen = reread(&signed);
    match decoded.facts {
        Facts::Transaction(tx) => {
            assert_eq!(tx.chain, format!("eip155:{}", seen.chain_id.unwrap()));
            let sent = tx.movements.iter().find(|m| m.asset == AssetRef::Native);
            assert_eq!(sent.map_or([0; 32], |m| m.amount.0), seen.value);
            if let Some(sent) = sent {
                assert_eq!(sent.to, format!("0x{}", hex::encode(seen.to.unwrap())));
            }
            assert!(!tx.movements.is_empty() || !tx.allowances.is_empty());
            let native = tx.allowances.is_empty() && tx.movements.iter().all(|m| m.asset == AssetRef::Native);
            assert_eq!(seen.input.is_empty(), native);
            Verdict::Read(format!("{} {}", tx.method, tx.movements.len().min(4)))
        }
        Facts::Opaque(opaque) => {
            assert!(!opaque.why.is_empty() && (seen.to.is_none() || !seen.input.is_empty()));
            let word = opaque.why.split_whitespace().filter(|word| !word.contains("0x")).collect::<Vec<_>>().join(" ");
            Verdict::Read(format!("opaque {word}"))
        }
        other => panic!("{other:?}"),
    }
}

fn cases(text: &str, field: &str) -> Vec<Vec<u8>> {
    let cases: Vec<Value> = serde_json::from_str(text).unwrap();
    let bytes = |case: &Value| hex::decode(case[field].as_str().unwrap().strip_prefix("0x").unwrap()).unwrap();
    let all = cases.iter().filter(|case| case["chainId"] != 0).map(bytes);
    // A few of ethers' have more gas than 64 bits, which no chain takes.
    all.filter(|tx| chain_of(ContentKind::EvmTransaction, tx).is_ok()).collect()
}

/// Ethers' published cases, and calls that are understood.
pub fn transactions() -> Vec<Vec<u8>> {
    [cases(LEGACY, "unsignedTransactionChainId5"), cases(TYPED, "unsigned"), calls()].concat()
}

/// `transfer`, `approve` of everything, two of them in a `multicall`.
fn calls() -> Vec<Vec<u8>> {
    let word = |n: &str| format!("{n:0>64}");
    let transfer = format!("a9059cbb{}{}", word("70997970c51812dc3a010c7d01b50e0d17dc79c8"), word("5"));
    let approve = format!("095ea7b3{}{}", word("3c44cdddb6a900fa2b585dd299e03d12fa4293bc"), "f".repeat(64));
    let padded = |call: &str| format!("{}{call}{}", word("44"), "0".repeat(56));
    let both = [word("20"), word("2"), word("40"), word("c0"), padded(&transfer), padded(&approve)].concat();
    let tx = |input: &str| {
        eip1559_unsigned(&Eip1559 {
            chain_id: 1,
            nonce: 1,
            max_priority_fee_per_gas: 1,
            max_fee_per_gas: 2,
            gas_limit: 21_000,
            to: Some([0x11; 20]),
            value: 0.into(),
            input: hex::decode(input).unwrap(),
        })
    };
    vec![tx(&transfer), tx(&approve), tx(&format!("ac9650d8{both}")), tx("")]
}

/// What is asked for in JSON is what a node then reads of the transaction that is made of it.
pub fn consistent(request: &TransactionRequest) {
    let unsigned = evm_unsigned(&request.fields);
    let read = understood(ContentKind::EvmTransaction, &unsigned).unwrap();
    assert_eq!(digest(&read), alloy_primitives::keccak256(&unsigned).0);
    let seen = reread(&signed_transaction(&unsigned, [1; 32], [2; 32], 0).unwrap());
    let fields = &request.fields;
    assert_eq!((seen.chain_id, seen.to, seen.value), (Some(fields.chain_id), fields.to, fields.value.0));
    assert_eq!(seen.input, fields.input);
}

/// Reads a transaction in JSON.
pub fn request(bytes: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(bytes) else { return Verdict::said("no text") };
    let read = TransactionRequest::from_json(text, Some(1));
    if let Ok(request) = &read
        && request.fields.chain_id != 0
    {
        consistent(request);
    }
    Verdict::of(read, |request| {
        format!("{:?} {}", std::mem::discriminant(&request.fields.fees), request.from.is_some())
    })
}

/// One of each type.
pub fn requests() -> Vec<Vec<u8>> {
    let to = "\"to\":\"0x70997970C51812dc3A010C7d01b50e0d17dc79C8\"";
    let list = format!(
        "[{{\"address\":\"0x70997970C51812dc3A010C7d01b50e0d17dc79C8\",\"storageKeys\":[\"0x{}\"]}}]",
        "01".repeat(32)
    );
    let all = [
        format!(
            "{{{to},\"gas\":\"0x5208\",\"nonce\":\"0x0\",\"gasPrice\":\"0x1\",\"value\":\"0x1\",\"chainId\":\"0x1\"}}"
        ),
        format!("{{{to},\"gasLimit\":21000,\"nonce\":7,\"gasPrice\":\"1\",\"accessList\":{list},\"type\":1}}"),
        format!(
            "{{{to},\"gas\":\"0xffff\",\"nonce\":\"0x1\",\"maxFeePerGas\":\"0x2\",\"maxPriorityFeePerGas\":\"0x1\",\"data\":\"0xa9059cbb\",\"type\":\"0x2\"}}"
        ),
    ];
    all.map(String::into_bytes).into()
}
