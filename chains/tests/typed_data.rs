//! EIP-712: the standard's own example, and the permits of deployed contracts.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail loudly")]

mod common {
    pub mod typed;
}

use alloy_primitives::{B256, U256, b256, keccak256};
use common::typed::*;
use serde_json::{Value, json};
use tally_chains::{ChainError, ToSign, chain_of, decode, decode_hsm, evm_address};
use tally_domain::facts::{Allowance, Amount, AssetRef, Facts, Most, TypedDataFacts};
use tally_domain::{ContentKind, HsmScheme, Reason, Scheme};

const BOB: &str = "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc";
const USDC: &str = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48";
const DAI: &str = "0x6b175474e89094c44da98b954eedeac495271d0f";
const PERMIT2: &str = "0x000000000022d473030f116ddee9f6b43ac78ba3";

fn facts(document: &Value) -> TypedDataFacts {
    match read("eip155:1", document).unwrap().facts {
        Facts::TypedData(facts) => facts,
        other => panic!("{other:?}"),
    }
}

fn digest(document: &Value) -> B256 {
    match read("eip155:1", document).unwrap().to_sign {
        ToSign::Digest(digest) => B256::from(digest.0),
        ToSign::Output { .. } | ToSign::Message(_) => panic!("signed by its digest"),
    }
}

/// Digest, signature and signer as the EIP's own `Example.js` has them.
#[test]
fn the_example_of_eip_712_gives_its_digest_and_signer() {
    let expected = b256!("be609aee343fb3c4b28e1df9e632fca64fcfaede20f02e86244efddf30957bd2");
    assert_eq!(digest(&mail()), expected);
    let r = b256!("4355c47d63924e8a72e509b65029052eb6c299d53a04e167c5775fd466751c9d");
    let s = b256!("07299936d304c153f6443dfa05f40ff007d72911b6f72307f996231605b91562");
    let signature = k256::ecdsa::Signature::from_scalars(r.0, s.0).unwrap();
    let id = k256::ecdsa::RecoveryId::from_byte(28 - 27).unwrap();
    let key = k256::ecdsa::VerifyingKey::recover_from_prehash(expected.as_slice(), &signature, id).unwrap();
    let signer = evm_address(key.to_sec1_point(true).as_bytes()).unwrap();
    assert_eq!(signer, "0xCD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826");

    let facts = facts(&mail());
    assert_eq!((facts.chain.as_str(), facts.name.as_str(), facts.version.as_str()), ("eip155:1", "Ether Mail", "1"));
    assert_eq!(facts.contract, "0xcccccccccccccccccccccccccccccccccccccccc");
    assert_eq!((facts.primary_type.as_str(), facts.allowances.len()), ("Mail", 0));
    let paths: Vec<_> = facts.fields.iter().map(|(path, value)| format!("{path}={value}")).collect();
    assert_eq!(paths[0], "from.name=Cow");
    assert_eq!(paths[3], "to.wallet=0xbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb");
    assert_eq!(paths.len(), 5);
}

/// The digest from constants that contracts on mainnet have: their `DOMAIN_SEPARATOR` and type hash.
fn by_constants(separator: B256, type_hash: B256, words: &[B256]) -> B256 {
    let data: Vec<u8> = std::iter::once(type_hash).chain(words.iter().copied()).flat_map(|w| w.0).collect();
    keccak256([&[0x19, 0x01], separator.as_slice(), keccak256(data).as_slice()].concat())
}

fn word(n: u64) -> B256 {
    B256::from(U256::from(n))
}

fn address_word(address: &str) -> B256 {
    address.parse::<alloy_primitives::Address>().unwrap().into_word()
}

fn allowed(keeper: &str, token: &str, most: Most, use_by: Option<u64>, ends: Option<u64>) -> Allowance {
    let asset = AssetRef::Contract(token.into());
    Allowance { asset, most, owner: String::new(), keeper: keeper.into(), spender: BOB.into(), use_by, ends }
}

fn up_to(n: u128) -> Most {
    Most::UpTo(Amount::from(n))
}

fn usdc_permit(value: &str, deadline: &str) -> Value {
    json!({
        "types": { "Permit": members(&[
            ("address", "owner"), ("address", "spender"), ("uint256", "value"), ("uint256", "nonce"), ("uint256", "deadline"),
        ]) },
        "primaryType": "Permit",
        "domain": { "name": "USD Coin", "version": "2", "chainId": 1, "verifyingContract": USDC },
        "message": { "owner": ALICE, "spender": BOB, "value": value, "nonce": 3, "deadline": deadline },
    })
}

/// Separator: USD Coin on mainnet. Type hash: the constant of OpenZeppelin's and Uniswap's contracts.
#[test]
fn an_erc_2612_permit_has_the_contracts_digest_and_is_an_allowance() {
    let separator = b256!("06c37168a7db5138defc7866392bb87a741f9b3d104deb5094588ce041cae335");
    let type_hash = b256!("6e71edae12b1b97f4d1f60370fef10105fa2faae0126114a169c64845d6126c9");
    let words = [address_word(ALICE), address_word(BOB), word(5_000_000), word(3), word(1_800_000_000)];
    let permit = usdc_permit("5000000", "1800000000");
    assert_eq!(digest(&permit), by_constants(separator, type_hash, &words));
    let owned = |most, use_by| Allowance { owner: ALICE.into(), ..allowed(USDC, USDC, most, use_by, None) };
    assert_eq!(facts(&permit).allowances, [owned(up_to(5_000_000), Some(1_800_000_000))]);
    assert_eq!(facts(&usdc_permit(MAX, MAX)).allowances, [owned(Most::Unlimited, None)]);
}

#[test]
fn dais_permit_has_the_contracts_digest_and_is_all_or_nothing() {
    let separator = b256!("dbb8cf42e1ecb028be3f3dbc922e1d878b963f411dc388ced501601c60f7c6f7");
    let type_hash = b256!("ea2aa0a1be11a07ed86d755c93467f4f82362b452371d1ba94d1715123511acb");
    let permit = |expiry: u64, yes: bool| {
        json!({
            "types": { "Permit": members(&[
                ("address", "holder"), ("address", "spender"), ("uint256", "nonce"), ("uint256", "expiry"), ("bool", "allowed"),
            ]) },
            "primaryType": "Permit",
            "domain": { "name": "Dai Stablecoin", "version": "1", "chainId": 1, "verifyingContract": DAI },
            "message": { "holder": ALICE, "spender": BOB, "nonce": 3, "expiry": expiry, "allowed": yes },
        })
    };
    let words = [address_word(ALICE), address_word(BOB), word(3), word(9), word(1)];
    assert_eq!(digest(&permit(9, true)), by_constants(separator, type_hash, &words));
    let owned = |most, use_by| Allowance { owner: ALICE.into(), ..allowed(DAI, DAI, most, use_by, None) };
    assert_eq!(facts(&permit(9, true)).allowances, [owned(Most::Unlimited, Some(9))]);
    assert_eq!(facts(&permit(0, false)).allowances, [owned(up_to(0), None)]);
}

const PERMIT2_SEPARATOR: B256 = b256!("866a5aba21966af95d6c7ab78eb2b2fc913915c28be3b9aa07cc04ff903e3f28");
const DETAILS: B256 = b256!("65626cad6cb96493bf6f5ebea28756c966f023ab9e8a83a7101849d5573b3678");
const TOKEN_PERMISSIONS: B256 = b256!("618358ac3db8dc274f0cd8829da7e234bd48cd73c4a740aede1adec9846d06a1");

fn permit2(primary: &str, types: Value, message: Value) -> Value {
    json!({
        "types": types, "primaryType": primary, "message": message,
        "domain": { "name": "Permit2", "chainId": 1, "verifyingContract": PERMIT2 },
    })
}

fn details(amount: &str, expiration: u64) -> Value {
    json!({ "token": USDC, "amount": amount, "expiration": expiration, "nonce": 1 })
}

fn details_types(of_primary: &[(&str, &str)], primary: &str) -> Value {
    let details =
        members(&[("address", "token"), ("uint160", "amount"), ("uint48", "expiration"), ("uint48", "nonce")]);
    json!({ primary: members(of_primary), "PermitDetails": details })
}

fn single(amount: &str, expiration: u64) -> Value {
    let of = [("PermitDetails", "details"), ("address", "spender"), ("uint256", "sigDeadline")];
    let message = json!({ "details": details(amount, expiration), "spender": BOB, "sigDeadline": 50 });
    permit2("PermitSingle", details_types(&of, "PermitSingle"), message)
}

/// Separator and type hashes: the constants of Permit2 on mainnet.
#[test]
fn permits_of_permit2_have_its_digests_and_are_allowances() {
    let hashed = |amount: u64, expiration| {
        let words = [DETAILS, address_word(USDC), word(amount), word(expiration), word(1)];
        keccak256(words.concat())
    };
    let type_hash = b256!("f3841cd1ff0085026a6327b620b67997ce40f282c88a8e905a7a5626e310f3d0");
    let words = [hashed(7, 90), address_word(BOB), word(50)];
    assert_eq!(digest(&single("7", 90)), by_constants(PERMIT2_SEPARATOR, type_hash, &words));
    let one = |most, ends| allowed(PERMIT2, USDC, most, Some(50), Some(ends));
    assert_eq!(facts(&single("7", 90)).allowances, [one(up_to(7), 90)]);
    let all = "0xffffffffffffffffffffffffffffffffffffffff";
    assert_eq!(facts(&single(all, 90)).allowances, [one(Most::Unlimited, 90)]);
    assert_eq!(
        facts(&single("7", 0)).allowances,
        [one(up_to(7), 50)],
        "it ends with the block that it is handed in with"
    );

    let of = [("PermitDetails[]", "details"), ("address", "spender"), ("uint256", "sigDeadline")];
    let message = json!({ "details": [details("7", 90), details("8", 91)], "spender": BOB, "sigDeadline": 50 });
    let batch = permit2("PermitBatch", details_types(&of, "PermitBatch"), message);
    let type_hash = b256!("af1b0d30d2cab0380e68f0689007e3254993c596f2fdd0aaa7f4d04f79440863");
    let both = keccak256([hashed(7, 90), hashed(8, 91)].concat());
    assert_eq!(digest(&batch), by_constants(PERMIT2_SEPARATOR, type_hash, &[both, address_word(BOB), word(50)]));
    assert_eq!(facts(&batch).allowances, [one(up_to(7), 90), one(up_to(8), 91)]);
}

fn transfer_from(primary: &str, list: &str, permitted: Value) -> Value {
    let of = [(list, "permitted"), ("address", "spender"), ("uint256", "nonce"), ("uint256", "deadline")];
    let types =
        json!({ primary: members(&of), "TokenPermissions": members(&[("address", "token"), ("uint256", "amount")]) });
    permit2(primary, types, json!({ "permitted": permitted, "spender": BOB, "nonce": 4, "deadline": 50 }))
}

#[test]
fn transfers_by_permit2_have_its_digests_and_are_allowances_for_once() {
    let one = transfer_from("PermitTransferFrom", "TokenPermissions", json!({ "token": USDC, "amount": "7" }));
    let permissions = keccak256([TOKEN_PERMISSIONS, address_word(USDC), word(7)].concat());
    let type_hash = b256!("939c21a48a8dbe3a9a2404a1d46691e4d39f6583d6ec6b35714604c986d80106");
    let words = [permissions, address_word(BOB), word(4), word(50)];
    assert_eq!(digest(&one), by_constants(PERMIT2_SEPARATOR, type_hash, &words));
    let once = |most| allowed(PERMIT2, USDC, most, Some(50), Some(50));
    assert_eq!(facts(&one).allowances, [once(up_to(7))]);
    let list = json!([{ "token": USDC, "amount": "7" }, { "token": USDC, "amount": MAX }]);
    let batch = transfer_from("PermitBatchTransferFrom", "TokenPermissions[]", list);
    assert_eq!(facts(&batch).allowances, [once(up_to(7)), once(Most::Unlimited)]);
}

/// A transfer by Permit2 with a witness, whose type is of the spender's making.
fn witnessed(batch: bool, types: Value, of: (&str, &str), witness: Value) -> Value {
    let (primary, list) = match batch {
        false => ("PermitWitnessTransferFrom", "TokenPermissions"),
        true => ("PermitBatchWitnessTransferFrom", "TokenPermissions[]"),
    };
    let permission = json!({ "token": USDC, "amount": "7" });
    let permitted = if batch { json!([permission, permission]) } else { permission };
    let mut document = transfer_from(primary, list, permitted);
    document["types"][primary].as_array_mut().unwrap().push(json!({ "name": of.1, "type": of.0 }));
    let all = document["types"].as_object_mut().unwrap();
    all.extend(types.as_object().unwrap().clone());
    document["message"][of.1] = witness;
    document
}

/// The type that the tests of Permit2's authors take for a witness, and what UniswapX's orders are like: whatever it is, the
/// spender may move what is permitted.
#[test]
fn a_witness_takes_nothing_off_what_permit2_is_given_leave_to() {
    let mock = || json!({ "MockWitness": members(&[("uint256", "mock")]) });
    let one = witnessed(false, mock(), ("MockWitness", "witness"), json!({ "mock": 3 }));
    let type_hash = keccak256(
        "PermitWitnessTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline,\
         MockWitness witness)MockWitness(uint256 mock)TokenPermissions(address token,uint256 amount)",
    );
    let permissions = keccak256([TOKEN_PERMISSIONS, address_word(USDC), word(7)].concat());
    let witness = keccak256([keccak256("MockWitness(uint256 mock)"), word(3)].concat());
    let words = [permissions, address_word(BOB), word(4), word(50), witness];
    assert_eq!(digest(&one), by_constants(PERMIT2_SEPARATOR, type_hash, &words));
    let once = allowed(PERMIT2, USDC, up_to(7), Some(50), Some(50));
    assert_eq!(facts(&one).allowances, std::slice::from_ref(&once));
    assert!(facts(&one).fields.contains(&("witness.mock".into(), "3".into())), "people see it");

    let batch = witnessed(true, mock(), ("MockWitness", "witness"), json!({ "mock": 3 }));
    assert_eq!(facts(&batch).allowances, [once.clone(), once.clone()]);
    // A list of structs that sort behind the permissions, and a word without any type of its own.
    let orders = json!({ "ZOrder": members(&[("TokenPermissions[]", "permitted"), ("address", "token")]) });
    let given = json!([{ "permitted": [{ "token": ALICE, "amount": MAX }], "token": ALICE }]);
    let ordered = witnessed(false, orders, ("ZOrder[]", "permittedX"), given);
    assert_eq!(facts(&ordered).allowances, std::slice::from_ref(&once));
    let bare = witnessed(false, json!({}), ("bytes32", "w"), MAX.into());
    assert_eq!(facts(&bare).allowances, [once]);

    // Permit2 takes one witness, its own permissions, and both at its own address.
    let mut two = witnessed(false, mock(), ("MockWitness", "witness"), json!({ "mock": 3 }));
    two["types"]["PermitWitnessTransferFrom"].as_array_mut().unwrap().push(json!({ "name": "more", "type": "bool" }));
    two["message"]["more"] = true.into();
    let mut narrow = bare.clone();
    narrow["types"]["TokenPermissions"][1]["type"] = "uint128".into();
    let mut elsewhere = bare.clone();
    elsewhere["domain"]["verifyingContract"] = ALICE.into();
    let mut early = bare;
    early["types"]["PermitWitnessTransferFrom"].as_array_mut().unwrap().swap(3, 4);
    for unknown in [two, narrow, elsewhere, early] {
        assert_eq!(facts(&unknown).allowances, []);
    }
}

/// Two domains that differ in their salt alone are two: nothing is signed that is not shown.
#[test]
fn the_domains_salt_is_a_fact() {
    assert_eq!(facts(&mail()).salt, "");
    let mut salted = mail();
    salted["domain"]["salt"] = MAX.into();
    salted["types"]["EIP712Domain"].as_array_mut().unwrap().push(json!({ "name": "salt", "type": "bytes32" }));
    assert_eq!(facts(&salted), TypedDataFacts { salt: MAX.into(), ..facts(&mail()) });
    assert_ne!(digest(&salted), digest(&mail()));
}

/// All of a type must be the same: one that differs anywhere may mean anything.
#[test]
fn what_only_looks_like_a_permit_is_not_understood() {
    let unknown = |document: &Value| facts(document).allowances.is_empty();
    let mut renamed = usdc_permit("5", "9");
    renamed["types"]["Permit"][2]["name"] = "amount".into();
    renamed["message"]["amount"] = "5".into();
    renamed["message"].as_object_mut().unwrap().remove("value");
    assert!(unknown(&renamed));
    let mut narrow = usdc_permit("5", "9");
    narrow["types"]["Permit"][2]["type"] = "uint128".into();
    assert!(unknown(&narrow));
    let mut nowhere = usdc_permit("5", "9");
    nowhere["domain"].as_object_mut().unwrap().remove("verifyingContract");
    assert!(unknown(&nowhere));
    let mut other = single("7", 90);
    other["domain"]["verifyingContract"] = ALICE.into();
    assert!(unknown(&other));
    assert!(unknown(&transfer_from("PermitBatchTransferFrom", "TokenPermissions[]", json!([]))));
    // On every chain at once: an allowance on none that could be named.
    let mut anywhere = usdc_permit("5", "9");
    anywhere["domain"].as_object_mut().unwrap().remove("chainId");
    match read("", &anywhere).unwrap().facts {
        Facts::TypedData(facts) => assert!(facts.allowances.is_empty() && facts.chain.is_empty()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_domains_chain_is_the_intents() {
    assert_eq!(chain_of(ContentKind::TypedData, mail().to_string().as_bytes()).unwrap(), "eip155:1");
    for chain in ["", "eip155:2", "eip155:01", "solana:1"] {
        assert_eq!(read(chain, &mail()).unwrap_err().reason(), Reason::ChainMismatch, "{chain}");
    }
    let mut none = mail();
    none["domain"]["chainId"] = 0.into();
    for chain in ["", "eip155:0"] {
        assert_eq!(read(chain, &none).unwrap_err().reason(), Reason::ChainMismatch);
    }
    assert!(chain_of(ContentKind::TypedData, none.to_string().as_bytes()).is_err());
    let mut everywhere = mail();
    everywhere["domain"].as_object_mut().unwrap().remove("chainId");
    everywhere["types"].as_object_mut().unwrap().remove("EIP712Domain");
    assert_eq!(chain_of(ContentKind::TypedData, everywhere.to_string().as_bytes()).unwrap(), "");
    assert_eq!(read("eip155:1", &everywhere).unwrap_err().reason(), Reason::ChainMismatch);
}

#[test]
fn keys_of_secp256k1_alone_sign_it_wherever_they_live() {
    let content = mail().to_string().into_bytes();
    let e = decode(ContentKind::TypedData, Scheme::Ed25519, "eip155:1", &content).unwrap_err();
    assert_eq!(e.reason(), Reason::KeyScheme);
    let by_hsm = |scheme, kind, content: &[u8], chain| decode_hsm(kind, scheme, chain, content);
    let typed = by_hsm(HsmScheme::EcdsaSecp256k1, ContentKind::TypedData, &content, "eip155:1").unwrap();
    assert_eq!(typed, read("eip155:1", &mail()).unwrap());
    let hello = decode(ContentKind::PersonalMessage, Scheme::EcdsaSecp256k1, "", b"hello").unwrap();
    assert_eq!(by_hsm(HsmScheme::EcdsaSecp256k1, ContentKind::PersonalMessage, b"hello", "").unwrap(), hello);
    // The published EIP-191 hash of "hello" (ethers' `hashMessage`).
    let expected = b256!("50b2c43fd39106bafbba0da34fc430e1f91e3c96ea2acee2bc34119f92b37750");
    assert!(matches!(hello.to_sign, ToSign::Digest(digest) if digest.0 == expected.0));
    for scheme in [HsmScheme::Ed25519, HsmScheme::EcdsaP256, HsmScheme::Rsa3072] {
        for (kind, chain) in [(ContentKind::TypedData, "eip155:1"), (ContentKind::PersonalMessage, "")] {
            assert_eq!(by_hsm(scheme, kind, &content, chain).unwrap_err().reason(), Reason::KeyScheme);
        }
    }
    let named = decode(ContentKind::PersonalMessage, Scheme::EcdsaSecp256k1, "eip155:1", b"hello").unwrap_err();
    assert_eq!(named, ChainError::MessageForChain);
    let e = decode(ContentKind::PersonalMessage, Scheme::Ed25519, "", b"hello").unwrap_err();
    assert_eq!(e.reason(), Reason::KeyScheme);
}
