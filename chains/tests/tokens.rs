//! Calls of token contracts: what they move, what they let others move, and what stays opaque.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail loudly")]

use alloy_primitives::{Address, Bytes, U256, address, keccak256};
use alloy_sol_types::SolValue;
use tally_chains::{EvmFees, EvmFields, decode, evm_unsigned};
use tally_domain::facts::{self, Allowance, Amount, AssetRef, Facts, Most, Movement, TransactionFacts};
use tally_domain::{ContentKind, Scheme};

// As the EIPs write them.
const TRANSFER: &str = "transfer(address,uint256)";
const TRANSFER_FROM: &str = "transferFrom(address,address,uint256)";
const APPROVE: &str = "approve(address,uint256)";
const PERMIT: &str = "permit(address,address,uint256,uint256,uint8,bytes32,bytes32)";
const MULTICALL: &str = "multicall(bytes[])";
const INCREASE: &str = "increaseAllowance(address,uint256)";
const DAI_PERMIT: &str = "permit(address,address,uint256,uint256,bool,uint8,bytes32,bytes32)";
const SAFE: &str = "safeTransferFrom(address,address,uint256)";
const SAFE_DATA: &str = "safeTransferFrom(address,address,uint256,bytes)";
const SAFE_KINDS: &str = "safeTransferFrom(address,address,uint256,uint256,bytes)";
const BATCH: &str = "safeBatchTransferFrom(address,address,uint256[],uint256[],bytes)";
const FOR_ALL: &str = "setApprovalForAll(address,bool)";
const PERMIT2_APPROVE: &str = "approve(address,address,uint160,uint48)";
const PERMIT2_TRANSFER: &str = "transferFrom(address,address,uint160,address)";

/// Call data: the first four bytes of the signature's hash, and the arguments.
fn call(signature: &str, arguments: impl AsRef<[u8]>) -> Vec<u8> {
    [&keccak256(signature)[..4], arguments.as_ref()].concat()
}

macro_rules! call {
    ($signature:expr, $($argument:expr),+) => { call($signature, ($($argument,)+).abi_encode_params()) };
}

const TOKEN: Address = address!("0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48");
const PERMIT2: Address = address!("0x000000000022D473030F116dDEE9F6B43aC78BA3");
const ALICE: Address = address!("0x70997970c51812dc3a010c7d01b50e0d17dc79c8");
const BOB: Address = address!("0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc");

fn lower(address: Address) -> String {
    format!("0x{}", hex::encode(address))
}

fn facts_of(to: Address, input: &[u8], value: u128) -> Facts {
    let content = evm_unsigned(&EvmFields {
        chain_id: 1,
        nonce: 0,
        fees: EvmFees::Legacy { gas_price: 1 },
        gas_limit: 21_000,
        to: Some(to.into_array()),
        value: Amount::from(value),
        input: input.to_vec(),
    });
    decode(ContentKind::EvmTransaction, Scheme::EcdsaSecp256k1, "eip155:1", &content).unwrap().facts
}

fn understood(to: Address, call: Vec<u8>) -> TransactionFacts {
    match facts_of(to, &call, 0) {
        Facts::Transaction(tx) => tx,
        other => panic!("{other:?}"),
    }
}

fn opaque(to: Address, input: &[u8]) -> String {
    match facts_of(to, input, 0) {
        Facts::Opaque(opaque) => opaque.why,
        other => panic!("{other:?}"),
    }
}

/// The call that is handed on to the bundle, which may have the contract's ABI.
fn handed_on(to: Address, input: &[u8]) -> bool {
    match facts_of(to, input, 9) {
        Facts::Opaque(opaque) => opaque.call.is_some_and(|call| {
            assert_eq!((&call.input[..], call.value, call.fee_max), (input, Amount::from(9), Amount::from(21_000)));
            true
        }),
        _ => false,
    }
}

fn n(n: u64) -> U256 {
    U256::from(n)
}

fn moved(asset: AssetRef, amount: u128, from: Option<Address>, to: Address) -> Movement {
    Movement { asset, amount: Amount::from(amount), from: from.map(lower).unwrap_or_default(), to: lower(to) }
}

fn token() -> AssetRef {
    AssetRef::Contract(lower(TOKEN))
}

fn item(id: u128) -> AssetRef {
    AssetRef::Item { contract: lower(TOKEN), id: Amount::from(id) }
}

fn leave(asset: AssetRef, most: Most) -> Allowance {
    let (keeper, spender) = (lower(TOKEN), lower(BOB));
    Allowance { asset, most, owner: String::new(), keeper, spender, use_by: None, ends: None }
}

fn up_to(n: u128) -> Most {
    Most::UpTo(Amount::from(n))
}

#[test]
fn transfers_say_from_whom_where_the_call_does() {
    let tx = understood(TOKEN, call!(TRANSFER_FROM, ALICE, BOB, n(5)));
    assert_eq!((tx.method.as_str(), tx.allowances.len()), ("transferFrom", 0));
    assert_eq!(tx.movements, [moved(token(), 5, Some(ALICE), BOB)]);
    let piece = [moved(item(7), 1, Some(ALICE), BOB)];
    let tx = understood(TOKEN, call!(SAFE, ALICE, BOB, n(7)));
    assert_eq!((tx.method.as_str(), &tx.movements[..]), ("safeTransferFrom", &piece[..]));
    assert_eq!(understood(TOKEN, call!(SAFE_DATA, ALICE, BOB, n(7), Bytes::new())).movements, piece);
    let tx = understood(TOKEN, call!(SAFE_KINDS, ALICE, BOB, n(7), n(9), Bytes::new()));
    assert_eq!(tx.movements, [moved(item(7), 9, Some(ALICE), BOB)]);
    let batch = |ids: &[u64], amounts: &[u64], data: &'static [u8]| {
        let all = |list: &[u64]| list.iter().map(|i| n(*i)).collect::<Vec<_>>();
        call!(BATCH, ALICE, BOB, all(ids), all(amounts), Bytes::from_static(data))
    };
    let tx = understood(TOKEN, batch(&[7, 8], &[9, 0], b""));
    assert_eq!(tx.method, "safeBatchTransferFrom");
    assert_eq!(tx.movements, [moved(item(7), 9, Some(ALICE), BOB), moved(item(8), 0, Some(ALICE), BOB)]);

    for (ids, amounts) in [(&[7, 8][..], &[9][..]), (&[], &[]), (&[1; 257], &[1; 257])] {
        assert!(opaque(TOKEN, &batch(ids, amounts, b"")).starts_with("batch of"));
    }
    // What the recipient makes of data nobody knows.
    for input in [
        call!(SAFE_DATA, ALICE, BOB, n(7), Bytes::from_static(b"x")),
        call!(SAFE_KINDS, ALICE, BOB, n(7), n(9), Bytes::from_static(b"x")),
        batch(&[7], &[9], b"x"),
    ] {
        assert!(opaque(TOKEN, &input).ends_with("with data for the recipient"));
    }
}

#[test]
fn approvals_say_who_may_move_how_much() {
    let allowed = |call: Vec<u8>| understood(TOKEN, call).allowances;
    assert_eq!(allowed(call!(APPROVE, BOB, n(5))), [leave(token(), up_to(5))]);
    assert_eq!(allowed(call!(APPROVE, BOB, n(0))), [leave(token(), up_to(0))]);
    assert_eq!(allowed(call!(APPROVE, BOB, U256::MAX)), [leave(token(), Most::Unlimited)]);
    // Tokens that keep allowances in fewer bits take nothing off the largest number of these.
    for bits in [96, 128, 160] {
        let all = U256::MAX >> (256 - bits);
        assert_eq!(allowed(call!(APPROVE, BOB, all)), [leave(token(), Most::Unlimited)], "{bits}");
        for near in [all - n(1), all + n(1)] {
            assert!(matches!(allowed(call!(APPROVE, BOB, near))[0].most, Most::UpTo(_)), "{bits}");
        }
    }
    let almost = allowed(call!(APPROVE, BOB, U256::MAX - n(1)));
    assert!(matches!(almost[0].most, Most::UpTo(amount) if amount > Amount::from(u128::MAX)));
    let all = AssetRef::Collection(lower(TOKEN));
    let operator = |yes| understood(TOKEN, call!(FOR_ALL, BOB, yes));
    assert_eq!(operator(true).allowances, [leave(all.clone(), Most::Unlimited)]);
    assert_eq!(
        (operator(false).method.as_str(), operator(false).allowances),
        ("setApprovalForAll", vec![leave(all, up_to(0))])
    );
    assert_eq!(operator(true).movements, []);

    // Coins that go along are a movement to the contract.
    let Facts::Transaction(paid) = facts_of(TOKEN, &call!(APPROVE, BOB, n(5)), 3) else { panic!() };
    assert_eq!(paid.movements, [moved(AssetRef::Native, 3, None, TOKEN)]);
    assert_eq!((paid.method.as_str(), paid.allowances), ("approve", vec![leave(token(), up_to(5))]));
}

#[test]
fn permits_that_are_handed_in_say_whose_and_until_when() {
    let owned = |most, use_by| Allowance { owner: lower(ALICE), use_by, ..leave(token(), most) };
    let zero = alloy_primitives::B256::ZERO;
    let permit = |value, deadline| understood(TOKEN, call!(PERMIT, ALICE, BOB, value, deadline, n(27), zero, zero));
    assert_eq!(permit(n(5), n(99)).allowances, [owned(up_to(5), Some(99))]);
    assert_eq!(permit(U256::MAX, U256::MAX).allowances, [owned(Most::Unlimited, None)]);
    assert_eq!(permit(n(5), n(99)).method, "permit");
    let dai = |expiry, yes| {
        understood(TOKEN, call!(DAI_PERMIT, ALICE, BOB, n(0), n(expiry), yes, n(27), zero, zero)).allowances
    };
    assert_eq!(dai(99, true), [owned(Most::Unlimited, Some(99))]);
    assert_eq!(dai(0, false), [owned(up_to(0), None)]);
}

#[test]
fn permit2_is_known_at_its_own_address_only() {
    let approve = |amount: U256, expiration| call!(PERMIT2_APPROVE, TOKEN, BOB, amount, n(expiration));
    let kept = |most, ends| Allowance { keeper: lower(PERMIT2), ends: Some(ends), ..leave(token(), most) };
    assert_eq!(understood(PERMIT2, approve(n(5), 99)).allowances, [kept(up_to(5), 99)]);
    assert_eq!(understood(PERMIT2, approve(U256::MAX >> 96, 99)).allowances, [kept(Most::Unlimited, 99)]);
    // Its `expiration` has 48 bits, of which none is no end; of 0 it is the block of the transaction.
    assert_eq!(understood(PERMIT2, approve(n(5), (1 << 48) - 1)).allowances, [kept(up_to(5), (1 << 48) - 1)]);
    assert_eq!(understood(PERMIT2, approve(n(5), 0)).allowances, [kept(up_to(5), 0)]);
    for (amount, expiration) in [(U256::MAX >> 95, 99), (n(5), 1 << 48)] {
        assert!(opaque(PERMIT2, &approve(amount, expiration)).starts_with("call whose data"));
    }
    assert!(opaque(TOKEN, &approve(n(5), 99)).contains("0x87517c45"));
    // It moves the assets of others, not its own: a call that looks like a token's is none.
    let inner = vec![Bytes::from(approve(n(5), 99))];
    for input in [
        call!(PERMIT2_TRANSFER, ALICE, BOB, n(5), TOKEN),
        call!(TRANSFER, BOB, n(5)),
        call!(APPROVE, BOB, n(5)),
        call!(MULTICALL, inner),
    ] {
        assert!(opaque(PERMIT2, &input).starts_with("call of Permit2"));
    }
}

#[test]
fn a_multicall_is_understood_if_each_call_in_it_is() {
    let transfer: Bytes = call!(TRANSFER, ALICE, n(1)).into();
    let approve: Bytes = call!(APPROVE, BOB, n(2)).into();
    let both = call!(MULTICALL, vec![transfer.clone(), approve.clone()]);
    let tx = understood(TOKEN, both.clone());
    assert_eq!(tx.method, "multicall");
    assert_eq!((tx.movements, tx.allowances), (vec![moved(token(), 1, None, ALICE)], vec![leave(token(), up_to(2))]));
    let why = |calls: Vec<Bytes>| opaque(TOKEN, &call!(MULTICALL, calls));
    let unknown: Bytes = call!(INCREASE, BOB, n(2)).into();
    assert_eq!(why(vec![transfer.clone(), unknown]), "call 2 of a multicall: contract call with selector 0x39509351");
    let inner: Bytes = both.clone().into();
    assert_eq!(why(vec![inner]), "call 1 of a multicall: contract call with selector 0xac9650d8");
    assert_eq!(why(vec![]), "multicall of 0 calls; 1 to 32 are looked into");
    assert_eq!(why(vec![approve; 33]), "multicall of 33 calls; 1 to 32 are looked into");
    let mut trailing = both.clone();
    trailing.push(0);
    assert_eq!(opaque(TOKEN, &trailing), "call whose data is not the one encoding of multicall(bytes[])");
    assert!(opaque(TOKEN, &both[..4]).starts_with("multicall of 0 calls"));
}

/// Calls that share their bytes would make much out of little data, and their encoding is not the one that is understood.
#[test]
fn calls_that_share_their_bytes_are_opaque() {
    let transfer: Bytes = call!(TRANSFER, ALICE, n(1)).into();
    let mut input = call!(MULTICALL, vec![transfer.clone(), transfer]);
    let first: Vec<u8> = input[68..100].to_vec();
    input[100..132].copy_from_slice(&first);
    assert!(opaque(TOKEN, &input).starts_with("call whose data"));
}

/// Every bit of the padding of every argument, and every byte more or less.
#[test]
fn a_call_in_another_encoding_than_its_one_is_opaque() {
    let zero = alloy_primitives::B256::ZERO;
    for good in [
        call!(APPROVE, BOB, n(5)),
        call!(TRANSFER_FROM, ALICE, BOB, n(5)),
        call!(FOR_ALL, BOB, true),
        call!(PERMIT, ALICE, BOB, n(5), n(9), n(27), zero, zero),
    ] {
        for at in 4..16 {
            let mut dirty = good.clone();
            dirty[at] = 1;
            assert!(opaque(TOKEN, &dirty).starts_with("call whose data is not the one encoding of"));
        }
        assert!(opaque(TOKEN, &[&good[..], &[0]].concat()).starts_with("call whose data"));
        assert!(opaque(TOKEN, &good[..good.len() - 1]).starts_with("call whose data"));
    }
    let mut two = call!(FOR_ALL, BOB, true);
    *two.last_mut().unwrap() = 2;
    assert!(opaque(TOKEN, &two).starts_with("call whose data"));
}

/// A bundle's ABI never gives another meaning to what a standard has, in whatever encoding.
#[test]
fn only_calls_of_no_standard_are_handed_on() {
    let standard = [
        TRANSFER,
        TRANSFER_FROM,
        APPROVE,
        PERMIT,
        MULTICALL,
        DAI_PERMIT,
        SAFE,
        SAFE_DATA,
        SAFE_KINDS,
        BATCH,
        FOR_ALL,
        PERMIT2_APPROVE,
    ];
    let mut selectors: Vec<[u8; 4]> = standard.iter().map(|s| keccak256(s)[..4].try_into().unwrap()).collect();
    let mut known = facts::STANDARD_SELECTORS.to_vec();
    selectors.sort();
    known.sort();
    assert_eq!(selectors, known);
    for signature in standard {
        assert!(!handed_on(TOKEN, &call(signature, [])), "{signature}");
        assert!(!handed_on(TOKEN, &call(signature, [0; 31])), "{signature}");
    }
    assert!(handed_on(TOKEN, &call!(INCREASE, BOB, n(5))));
    assert!(handed_on(TOKEN, &[1, 2, 3, 4]));
    assert!(!handed_on(TOKEN, &[1, 2, 3]));
    assert_eq!(facts::PERMIT2, lower(PERMIT2));
    assert!(!handed_on(PERMIT2, &call!(PERMIT2_TRANSFER, ALICE, BOB, n(1), TOKEN)));
    // A multicall with an unknown call in it stays opaque as a whole.
    let inner = vec![Bytes::from(call!(TRANSFER, BOB, n(1))), Bytes::from(call!(INCREASE, BOB, n(5)))];
    assert!(opaque(TOKEN, &call!(MULTICALL, inner.clone())).starts_with("call 2 of a multicall: contract call with"));
    assert!(!handed_on(TOKEN, &call!(MULTICALL, inner)));
}
