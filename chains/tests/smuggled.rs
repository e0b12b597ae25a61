//! What a thief would try: content whose facts are not what a chain carries out. Every bit of every call that is understood,
//! every spelling of a transaction that some reader takes, and the types that are never signed.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail loudly")]

use alloy_consensus::{SignableTransaction, TxEip4844, TxEip7702};
use alloy_eips::eip7702::Authorization;
use alloy_primitives::{Address, B256, Bytes, Signature, U256, address, keccak256};
use alloy_sol_types::SolValue;
use tally_chains::{ChainError, Decoded, EvmFees, EvmFields, decode, evm_unsigned};
use tally_domain::facts::{Amount, Facts, TransactionFacts};
use tally_domain::{ContentKind, Reason, Scheme};

const TOKEN: Address = address!("0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48");
const PERMIT2: Address = address!("0x000000000022D473030F116dDEE9F6B43aC78BA3");
const ALICE: Address = address!("0x70997970c51812dc3a010c7d01b50e0d17dc79c8");
const BOB: Address = address!("0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc");

fn evm(content: &[u8]) -> Result<Decoded, ChainError> {
    decode(ContentKind::EvmTransaction, Scheme::EcdsaSecp256k1, "eip155:1", content)
}

fn facts_of(to: Address, input: &[u8]) -> Facts {
    let content = evm_unsigned(&EvmFields {
        chain_id: 1,
        nonce: 0,
        fees: EvmFees::Legacy { gas_price: 1 },
        gas_limit: 21_000,
        to: Some(to.into_array()),
        value: Amount::from(0),
        input: input.to_vec(),
    });
    evm(&content).unwrap().facts
}

/// What is understood of a call; nothing where it is opaque.
fn understood(to: Address, input: &[u8]) -> Option<TransactionFacts> {
    match facts_of(to, input) {
        Facts::Transaction(tx) => Some(tx),
        Facts::Opaque(_) => None,
        other => panic!("{other:?}"),
    }
}

fn call(signature: &str, arguments: &[u8]) -> Vec<u8> {
    [&keccak256(signature)[..4], arguments].concat()
}

fn n(n: u64) -> U256 {
    U256::from(n)
}

/// Each call that is understood, and what its words are:
/// `a` an address, `u` a number that is a fact, `b` a flag, `8` and `-` what is no fact (a byte, a word), `t` and `e` numbers
/// of 160 and 48 bits, `o` offsets and lengths, of which there is one.
fn calls() -> Vec<(Address, Vec<u8>, &'static str)> {
    let (zero, none, two) = (B256::ZERO, Bytes::new(), |a, b| vec![n(a), n(b)]);
    let all: [(Address, &str, Vec<u8>, &str); 12] = [
        (TOKEN, "transfer(address,uint256)", (BOB, n(5)).abi_encode_params(), "au"),
        (TOKEN, "transferFrom(address,address,uint256)", (ALICE, BOB, n(5)).abi_encode_params(), "aau"),
        (TOKEN, "approve(address,uint256)", (BOB, n(5)).abi_encode_params(), "au"),
        (
            TOKEN,
            "permit(address,address,uint256,uint256,uint8,bytes32,bytes32)",
            (ALICE, BOB, n(5), n(9), n(27), zero, zero).abi_encode_params(),
            "aauu8--",
        ),
        (
            TOKEN,
            "permit(address,address,uint256,uint256,bool,uint8,bytes32,bytes32)",
            (ALICE, BOB, n(5), n(9), true, n(27), zero, zero).abi_encode_params(),
            "aa-ub8--",
        ),
        (TOKEN, "setApprovalForAll(address,bool)", (BOB, true).abi_encode_params(), "ab"),
        (TOKEN, "safeTransferFrom(address,address,uint256)", (ALICE, BOB, n(5)).abi_encode_params(), "aau"),
        (
            TOKEN,
            "safeTransferFrom(address,address,uint256,bytes)",
            (ALICE, BOB, n(5), none.clone()).abi_encode_params(),
            "aauoo",
        ),
        (
            TOKEN,
            "safeTransferFrom(address,address,uint256,uint256,bytes)",
            (ALICE, BOB, n(5), n(6), none.clone()).abi_encode_params(),
            "aauuoo",
        ),
        (
            TOKEN,
            "safeBatchTransferFrom(address,address,uint256[],uint256[],bytes)",
            (ALICE, BOB, two(5, 6), two(7, 8), none).abi_encode_params(),
            "aaoooouuouuo",
        ),
        (PERMIT2, "approve(address,address,uint160,uint48)", (TOKEN, BOB, n(5), n(9)).abi_encode_params(), "aate"),
        // One call of two words, padded to 96 bytes: its words do not lie at words of the outer call.
        (
            TOKEN,
            "multicall(bytes[])",
            (vec![Bytes::from(call("transfer(address,uint256)", &(BOB, n(5)).abi_encode_params()))],)
                .abi_encode_params(),
            "oooo",
        ),
    ];
    all.map(|(to, signature, arguments, words)| (to, call(signature, &arguments), words)).to_vec()
}

/// What becomes of a call when a bit of a word of this kind is another one, by the byte that the bit is in.
#[derive(Debug, PartialEq, Eq)]
enum Becomes {
    Opaque,
    Another,
    TheSame,
}

fn expected(kind: char, byte: usize, bit: usize) -> Becomes {
    let within = |bytes: usize| if byte >= 32 - bytes { Becomes::Another } else { Becomes::Opaque };
    match kind {
        'a' | 't' => within(20),
        'e' => within(6),
        'u' => Becomes::Another,
        'b' if (byte, bit) == (31, 0) => Becomes::Another,
        '8' if byte == 31 => Becomes::TheSame,
        '-' => Becomes::TheSame,
        _ => Becomes::Opaque,
    }
}

#[test]
fn every_bit_of_a_call_is_a_fact_or_of_no_effect_or_makes_it_opaque() {
    for (to, good, words) in calls() {
        let facts = understood(to, &good).unwrap();
        for (at, kind) in words.chars().enumerate() {
            for (byte, bit) in (0..32).flat_map(|byte| (0..8).map(move |bit| (byte, bit))) {
                let mut changed = good.clone();
                changed[4 + 32 * at + byte] ^= 1 << bit;
                let becomes = match understood(to, &changed) {
                    None => Becomes::Opaque,
                    Some(other) if other == facts => Becomes::TheSame,
                    Some(_) => Becomes::Another,
                };
                assert_eq!(becomes, expected(kind, byte, bit), "{} word {at}, byte {byte}, bit {bit}", facts.method);
            }
        }
        for bit in 0..32 {
            let mut other = good.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(understood(to, &other), None, "{}: a selector of nothing", facts.method);
        }
        for longer in [1, 4, 32, 64] {
            assert_eq!(understood(to, &[&good[..], &vec![0; longer][..]].concat()), None, "{longer} bytes behind it");
            assert_eq!(understood(to, &good[..good.len() - longer]), None, "{longer} bytes fewer");
        }
    }
}

/// The padding of what is within a multicall, and within the call in it.
#[test]
fn every_byte_of_a_multicall_counts() {
    let one = Bytes::from(call("transfer(address,uint256)", &(BOB, n(5)).abi_encode_params()));
    let good = call("multicall(bytes[])", &(vec![one.clone()],).abi_encode_params());
    let facts = understood(TOKEN, &good).unwrap();
    for at in 0..good.len() {
        let mut changed = good.clone();
        changed[at] ^= 1;
        assert_ne!(understood(TOKEN, &changed).as_ref(), Some(&facts), "byte {at}");
    }
    assert_eq!(good.len(), 4 + 32 * 4 + 96, "68 bytes of a call are padded to 96");
    for at in 4 + 32 * 4 + 68..good.len() {
        let mut dirty = good.clone();
        dirty[at] = 1;
        assert_eq!(understood(TOKEN, &dirty), None, "padding at {at}");
    }
    // What Permit2 has not it cannot mean, and a multicall within one is nobody's.
    assert_eq!(understood(PERMIT2, &good), None);
    let nested = call("multicall(bytes[])", &(vec![Bytes::from(good)],).abi_encode_params());
    assert_eq!(understood(TOKEN, &nested), None);
    for signature in ["multicall(uint256,bytes[])", "multicall(bytes32,bytes[])"] {
        let input = call(signature, &(U256::MAX, vec![one.clone()]).abi_encode_params());
        assert_eq!(understood(TOKEN, &input), None, "{signature}");
    }
}

/// The same values at another place, which Solidity's decoder finds as well.
#[test]
fn arguments_at_another_place_than_their_own_are_opaque() {
    let one = call("transfer(address,uint256)", &(BOB, n(5)).abi_encode_params());
    let word = |n: usize| U256::from(n).to_be_bytes::<32>();
    let padded = [&one[..], &[0; 28]].concat();
    let canonical = [&word(32)[..], &word(1), &word(32), &word(68), &padded].concat();
    assert!(understood(TOKEN, &call("multicall(bytes[])", &canonical)).is_some(), "the control");
    for elsewhere in [
        // The list a word further on, behind a count that says one; its one element a word further on.
        [&word(64)[..], &word(1), &word(1), &word(32), &word(68), &padded].concat(),
        [&word(32)[..], &word(1), &word(64), &word(0), &word(68), &padded].concat(),
        // Very many that share their bytes, behind a count that says one.
        [&word(64)[..], &word(1), &word(1_000), &word(32).repeat(1_000), &word(68), &padded].concat(),
    ] {
        assert_eq!(understood(TOKEN, &call("multicall(bytes[])", &elsewhere)), None);
    }
    let head = [BOB.into_word().0, ALICE.into_word().0, word(7)].concat();
    let safe = |rest: &[[u8; 32]]| {
        call("safeTransferFrom(address,address,uint256,bytes)", &[&head[..], &rest.concat()].concat())
    };
    assert!(understood(TOKEN, &safe(&[word(128), word(0)])).is_some(), "the control");
    for rest in [
        &[word(160), word(0), word(0)][..],
        // The length is the word with the number of the piece, or of an address.
        &[word(64)],
        &[word(0)],
        &[word(128), word(0), word(0)],
        &[[0xff; 32], word(0)],
    ] {
        assert_eq!(understood(TOKEN, &safe(rest)), None);
    }
}

/// A value in RLP.
#[derive(Clone)]
enum Rlp {
    Bytes(Vec<u8>),
    List(Vec<Rlp>),
    /// As it stands, right or wrong.
    Raw(Vec<u8>),
}

use Rlp::{List, Raw};

fn int(n: u128) -> Rlp {
    Rlp::Bytes(n.to_be_bytes().iter().copied().skip_while(|b| *b == 0).collect())
}

fn header(offset: u8, length: usize) -> Vec<u8> {
    match u8::try_from(length) {
        Ok(short @ 0..=55) => vec![offset + short],
        Ok(long) => vec![offset + 56, long],
        Err(_) => panic!("longer than these tests need"),
    }
}

fn encoded(value: &Rlp) -> Vec<u8> {
    match value {
        Rlp::Bytes(bytes) if bytes.len() == 1 && bytes[0] < 0x80 => bytes.clone(),
        Rlp::Bytes(bytes) => [header(0x80, bytes.len()), bytes.clone()].concat(),
        List(items) => {
            let payload = items.iter().flat_map(encoded).collect::<Vec<_>>();
            [header(0xc0, payload.len()), payload].concat()
        }
        Raw(bytes) => bytes.clone(),
    }
}

fn account() -> Rlp {
    Rlp::Bytes(ALICE.to_vec())
}

/// The fields of types 0, 1 and 2 on chain 1, and where chain id, nonce, gas, destination, value and data are in them.
fn transactions() -> [(Option<u8>, Vec<Rlp>, [usize; 6]); 3] {
    let (none, list) = (Rlp::Bytes(vec![]), List(vec![List(vec![account(), List(vec![Rlp::Bytes(vec![7; 32])])])]));
    let rest = [account(), int(300), none.clone()];
    let legacy = [&[int(9), int(20), int(21_000)][..], &rest, &[int(1), none.clone(), none]].concat();
    let listed = [&[int(1), int(9), int(20), int(21_000)][..], &rest, std::slice::from_ref(&list)].concat();
    let market = [&[int(1), int(9), int(1), int(20), int(21_000)][..], &rest, &[list]].concat();
    [(None, legacy, [6, 0, 2, 3, 4, 5]), (Some(1), listed, [0, 1, 3, 4, 5, 6]), (Some(2), market, [0, 1, 4, 5, 6, 7])]
}

fn payload(kind: Option<u8>, fields: &[Rlp]) -> Vec<u8> {
    [kind.into_iter().collect(), encoded(&List(fields.to_vec()))].concat()
}

/// Other spellings of the same numbers, numbers that no chain has, and fields of another form: all are refused, for a chain would
/// take another transaction for it, or none, under a digest of ours.
#[test]
fn a_transaction_has_one_spelling() {
    for (kind, fields, [chain_id, nonce, gas, to, value, data]) in transactions() {
        let good = evm(&payload(kind, &fields)).unwrap();
        let Facts::Transaction(facts) = &good.facts else { panic!("{good:?}") };
        assert_eq!((facts.nonce, facts.movements[0].amount), (9, Amount::from(300)), "the control");
        let refused = |at: usize, field: Rlp, what: &str| {
            let mut other = fields.clone();
            other[at] = field;
            let e = evm(&payload(kind, &other)).expect_err(what);
            assert!(matches!(e.reason(), Reason::TxUnparseable | Reason::ChainMismatch), "{what} of {kind:?}: {e}");
        };
        for (at, name) in [(chain_id, "chain id"), (nonce, "nonce"), (gas, "gas")] {
            refused(at, Rlp::Bytes(vec![0, 1]), name);
            refused(at, Raw(vec![0x00]), name);
            refused(at, Raw(vec![0x81, 0x01]), name);
            refused(at, Raw(vec![0xb8, 0x01, 0x81]), name);
            refused(at, int(1 << 64), name);
            refused(at, List(vec![]), name);
        }
        refused(chain_id, int(2), "another chain");
        refused(chain_id, int(0), "no chain");
        for other in [vec![0, 1], vec![1; 33]] {
            refused(value, Rlp::Bytes(other), "value");
        }
        for other in [&ALICE[1..], &[&[0], &ALICE[..]].concat()] {
            refused(to, Rlp::Bytes(other.to_vec()), "destination");
        }
        refused(to, Raw([&[0xb8, 20], &ALICE[..]].concat()), "a long header");
        refused(data, List(vec![]), "data");
        refused(data, Raw(vec![0xb8, 0]), "a long header");
        if kind.is_some() {
            let list = fields.len() - 1;
            let item = |address: Vec<u8>, key: Vec<u8>| {
                List(vec![List(vec![Rlp::Bytes(address), List(vec![Rlp::Bytes(key)])])])
            };
            refused(list, Rlp::Bytes(vec![]), "an access list");
            refused(list, item(vec![1; 19], vec![7; 32]), "an account");
            refused(list, item(vec![1; 20], vec![7; 31]), "a key");
            refused(list, List(vec![List(vec![account()])]), "half an entry");
        }
        for fields in [[&fields[..], &[int(1)]].concat(), fields[..fields.len() - 1].to_vec()] {
            let e = evm(&payload(kind, &fields)).unwrap_err();
            assert!(matches!(e.reason(), Reason::TxUnparseable), "{} fields: {e}", fields.len());
        }
        // The list within a text, with a long header, or with more behind it.
        let items = fields.iter().flat_map(encoded).collect::<Vec<_>>();
        let list = encoded(&List(fields));
        let prefix: Vec<u8> = kind.into_iter().collect();
        let mut others =
            vec![[&prefix[..], &encoded(&Rlp::Bytes(list.clone()))].concat(), [&prefix[..], &list, &[0x80]].concat()];
        others.push([&prefix[..], &[0xf9, 0], &[u8::try_from(items.len()).unwrap()], &items].concat());
        for other in others {
            assert!(matches!(evm(&other).unwrap_err().reason(), Reason::TxUnparseable));
        }
    }
}

/// A legacy transaction with what is in place of a signature: only the chain id and two zeros are none.
#[test]
fn a_legacy_transaction_is_bound_to_its_chain_and_carries_no_signature() {
    let [(kind, fields, _), ..] = transactions();
    let last = |v: u128, r: u128, s: u128| {
        let fields = [&fields[..6], &[int(v), int(r), int(s)]].concat();
        evm(&payload(kind, &fields))
    };
    assert!(last(1, 0, 0).is_ok(), "the control");
    for (v, r, s) in [(27, 1, 1), (28, 1, 1), (37, 1, 1), (1, 1, 0), (1, 0, 1), (27, 0, 0), (37, 0, 0), (0, 0, 0)] {
        assert!(last(v, r, s).is_err(), "{v} {r} {s}");
    }
    let unbound = evm(&payload(kind, &fields[..6])).unwrap_err();
    assert_eq!((unbound.reason(), &unbound), (Reason::TxType, &ChainError::NoReplayProtection));
    assert!(unbound.to_string().contains("add the chain id, or build one of EIP-1559"), "{unbound}");
}

/// As alloy writes them: well-formed, with a blob's hash and a delegation in them, to be signed and signed already.
#[test]
fn blobs_and_delegations_are_refused_with_what_to_do_instead() {
    let to = ALICE;
    let blob = TxEip4844 {
        chain_id: 1,
        to,
        value: n(1),
        gas_limit: 21_000,
        max_fee_per_gas: 2,
        max_fee_per_blob_gas: 1,
        blob_versioned_hashes: vec![B256::repeat_byte(1)],
        ..Default::default()
    };
    let all = Authorization { chain_id: U256::ZERO, address: BOB, nonce: 0 };
    let all = all.into_signed(Signature::new(n(1), n(2), false));
    let delegation = TxEip7702 {
        chain_id: 1,
        to,
        value: n(1),
        gas_limit: 21_000,
        authorization_list: vec![all],
        ..Default::default()
    };
    let signature = Signature::new(n(1), n(2), true);
    for (unsigned, signed, error) in [
        (blob.encoded_for_signing(), encoded_2718(&blob.into_signed(signature)), ChainError::Blob),
        (delegation.encoded_for_signing(), encoded_2718(&delegation.into_signed(signature)), ChainError::SetCode),
    ] {
        for content in [unsigned, signed] {
            let e = evm(&content).unwrap_err();
            assert_eq!((e.reason(), &e), (Reason::TxType, &error));
            assert!(e.to_string().contains("are not signed") && e.to_string().contains("EIP-1559 (type 0x02)"), "{e}");
        }
    }
}

fn encoded_2718(tx: &impl alloy_eips::Encodable2718) -> Vec<u8> {
    tx.encoded_2718()
}
