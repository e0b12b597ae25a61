//! The decoders on what nobody would write: published cases and well-formed calls, changed at random, again and again.
//!
//! `CHAINS_FUZZ_CASES=10000000 cargo test --release -p tally-chains --test fuzz` for a long run; `CHAINS_FUZZ_SEED` starts
//! elsewhere.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail loudly")]

use alloy_consensus::transaction::RlpEcdsaDecodableTx;
use alloy_consensus::{Transaction, TxEip1559, TxEip2930, TxLegacy};
use alloy_dyn_abi::TypedData;
use serde_json::{Value, json};
use tally_chains::{Decoded, ToSign, chain_of, decode, signed_transaction};
use tally_domain::facts::{AssetRef, Facts};
use tally_domain::{ContentKind, Scheme};

/// What a run of all tests can afford.
const CASES: u64 = 60_000;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, seeded, and no two seeds alike.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.roll() % n.max(1) as u64) as usize
    }

    /// A few changes of the kinds that parsers trip over: bits, interesting bytes, pieces cut out, doubled or taken from another.
    fn change(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        for _ in 0..=self.below(3) {
            let (at, length) = (self.below(bytes.len()), 1 + self.below(40));
            let end = (at + length).min(bytes.len());
            match self.below(7) {
                0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                1 if !bytes.is_empty() => {
                    bytes[at] = [0, 1, 0x7f, 0x80, 0xb7, 0xb8, 0xc0, 0xf7, 0xf8, 0xff][self.below(10)]
                }
                2 => drop(bytes.drain(at..end)),
                3 => bytes.extend_from_within(at..end),
                4 => bytes.truncate(at),
                5 => {
                    let from = self.below(other.len());
                    let piece = other[from..(from + length).min(other.len())].to_vec();
                    drop(bytes.splice(at..end, piece));
                }
                _ => bytes.push(self.roll() as u8),
            }
        }
    }
}

/// Runs `check` on seeds as they are, and then changed; says which case failed.
fn fuzz(seeds: &[Vec<u8>], mut check: impl FnMut(&[u8]) -> bool) {
    assert!(seeds.iter().all(|seed| check(seed)), "a seed is not understood");
    let (cases, first) = (number("CHAINS_FUZZ_CASES", CASES), number("CHAINS_FUZZ_SEED", 0));
    let mut accepted = 0;
    for case in first..first + cases {
        let mut dice = Dice(case);
        let mut bytes = seeds[dice.below(seeds.len())].clone();
        let other = seeds[dice.below(seeds.len())].clone();
        dice.change(&mut bytes, &other);
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&bytes)));
        match caught {
            Ok(understood) => accepted += u64::from(understood),
            Err(_) => panic!("CHAINS_FUZZ_SEED={case} CHAINS_FUZZ_CASES=1: {}", hex::encode(bytes)),
        }
    }
    // Changes that are all refused would show nothing of what is accepted.
    assert!(cases < 1_000 || accepted * 200 > cases, "only {accepted} of {cases} were accepted");
}

fn digest(decoded: &Decoded) -> [u8; 32] {
    match &decoded.to_sign {
        ToSign::Digest(digest) => digest.0,
        ToSign::Output { .. } | ToSign::Message(_) => panic!("signed by its digest"),
    }
}

fn understood(kind: ContentKind, content: &[u8]) -> Option<Decoded> {
    let chain = chain_of(kind, content).ok()?;
    let decoded = decode(kind, Scheme::EcdsaSecp256k1, &chain, content).unwrap();
    // Nothing about it depends on when or how often it is read.
    assert_eq!(decode(kind, Scheme::EcdsaSecp256k1, &chain, content).as_ref(), Ok(&decoded));
    Some(decoded)
}

fn cases(text: &str, field: &str) -> Vec<Vec<u8>> {
    let cases: Vec<Value> = serde_json::from_str(text).unwrap();
    let bytes = |case: &Value| hex::decode(case[field].as_str().unwrap().strip_prefix("0x").unwrap()).unwrap();
    let all = cases.iter().filter(|case| case["chainId"] != 0).map(bytes);
    // A few of ethers' have more gas than 64 bits, which no chain takes.
    all.filter(|tx| chain_of(ContentKind::EvmTransaction, tx).is_ok()).collect()
}

fn transactions() -> Vec<Vec<u8>> {
    let legacy = cases(include_str!("vectors/ethers/transactions.json"), "unsignedTransactionChainId5");
    let typed = cases(include_str!("vectors/ethers/typed-transactions.json"), "unsigned");
    [legacy, typed, calls()].concat()
}

/// Transactions with calls that are understood: `transfer`, `approve` of everything, two of them in a `multicall`.
fn calls() -> Vec<Vec<u8>> {
    let word = |n: &str| format!("{n:0>64}");
    let transfer = format!("a9059cbb{}{}", word("70997970c51812dc3a010c7d01b50e0d17dc79c8"), word("5"));
    let approve = format!("095ea7b3{}{}", word("3c44cdddb6a900fa2b585dd299e03d12fa4293bc"), "f".repeat(64));
    let padded = |call: &str| format!("{}{call}{}", word("44"), "0".repeat(56));
    let both = [word("20"), word("2"), word("40"), word("c0"), padded(&transfer), padded(&approve)].concat();
    let tx = |input: &str| {
        tally_chains::eip1559_unsigned(&tally_chains::Eip1559 {
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

/// What of a signed transaction alloy reads, by type: whom, how much, and with what.
fn reread(signed: &[u8]) -> (Option<u64>, Option<[u8; 20]>, [u8; 32], Vec<u8>) {
    fn parts<T: RlpEcdsaDecodableTx + Transaction>(
        mut list: &[u8],
    ) -> (Option<u64>, Option<[u8; 20]>, [u8; 32], Vec<u8>) {
        let (tx, _) = T::rlp_decode_with_signature(&mut list).unwrap();
        assert!(list.is_empty());
        (tx.chain_id(), tx.to().map(|to| to.into_array()), tx.value().to_be_bytes(), tx.input().to_vec())
    }
    match signed[0] {
        1 => parts::<TxEip2930>(&signed[1..]),
        2 => parts::<TxEip1559>(&signed[1..]),
        _ => parts::<TxLegacy>(signed),
    }
}

#[test]
fn transactions_are_refused_or_are_what_their_signed_form_says() {
    fuzz(&transactions(), |content| {
        let Some(decoded) = understood(ContentKind::EvmTransaction, content) else { return false };
        // One encoding: what is signed is the hash of the very bytes.
        assert_eq!(digest(&decoded), alloy_primitives::keccak256(content).0);
        assert!(chain_of(ContentKind::EvmTransaction, &[content, &[0]].concat()).is_err());
        let signed = signed_transaction(content, [1; 32], [2; 32], 1).unwrap();
        assert!(chain_of(ContentKind::EvmTransaction, &signed).is_err(), "a signed transaction is signed again");
        let (chain_id, to, value, input) = reread(&signed);
        match decoded.facts {
            Facts::Transaction(tx) => {
                assert_eq!(tx.chain, format!("eip155:{}", chain_id.unwrap()));
                let sent = tx.movements.iter().find(|m| m.asset == AssetRef::Native);
                assert_eq!(sent.map_or([0; 32], |m| m.amount.0), value);
                if let Some(sent) = sent {
                    assert_eq!(sent.to, format!("0x{}", hex::encode(to.unwrap())));
                }
                assert!(!tx.movements.is_empty() || !tx.allowances.is_empty());
                assert_eq!(
                    input.is_empty(),
                    tx.allowances.is_empty() && tx.movements.iter().all(|m| m.asset == AssetRef::Native)
                );
            }
            Facts::Opaque(opaque) => assert!(!opaque.why.is_empty() && (to.is_none() || !input.is_empty())),
            other => panic!("{other:?}"),
        }
        true
    });
}

fn documents() -> Vec<Vec<u8>> {
    let cases: Vec<Value> = serde_json::from_str(include_str!("vectors/ethers/eip712.json")).unwrap();
    let document = |case: &Value| {
        let document = json!({
            "types": case["types"], "primaryType": case["primaryType"], "domain": case["domain"], "message": case["data"],
        });
        document.to_string().into_bytes()
    };
    cases.iter().map(document).collect()
}

#[test]
fn typed_data_is_refused_or_read_as_alloy_reads_it() {
    fuzz(&documents(), |content| {
        let Some(decoded) = understood(ContentKind::TypedData, content) else { return false };
        let second: TypedData = serde_json::from_slice(content).unwrap();
        // Alloy knows no type that contains itself; a message of one is finite all the same.
        match second.eip712_signing_hash() {
            Ok(hash) => assert_eq!(digest(&decoded), hash.0),
            Err(alloy_dyn_abi::Error::TypeParser(_) | alloy_dyn_abi::Error::CircularDependency(_)) => {}
            Err(e) => panic!("{e}"),
        }
        let Facts::TypedData(facts) = decoded.facts else { panic!("typed data") };
        assert_eq!(facts.primary_type, second.primary_type);
        let contract = second.domain.verifying_contract.map(|c| format!("0x{}", hex::encode(c))).unwrap_or_default();
        assert_eq!(facts.contract, contract);
        true
    });
}

#[test]
fn bytes_of_any_kind_are_refused_or_read_without_a_panic() {
    let kinds = [
        ContentKind::EvmTransaction,
        ContentKind::TypedData,
        ContentKind::PersonalMessage,
        ContentKind::Message,
        ContentKind::Iso20022,
    ];
    for case in 0..number("CHAINS_FUZZ_CASES", CASES) / 4 {
        let mut dice = Dice(case);
        let bytes: Vec<u8> = (0..dice.below(300)).map(|_| dice.roll() as u8).collect();
        for kind in kinds {
            let _ = chain_of(kind, &bytes);
        }
    }
}
