//! EVM payloads: vectors of others, facts, and what is refused.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail loudly")]

use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};
use proptest::prelude::*;
use tally_chains::{
    ChainError, Decoded, Eip1559, ToSign, decode, eip1559_unsigned, erc20_transfer_input, evm_address,
    parse_evm_address, signed_transaction,
};
use tally_domain::facts::{Amount, AssetRef, Facts, Movement, TransactionFacts};
use tally_domain::{ContentKind, Digest, Reason, Scheme};

const USDC: &str = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48";
const VENDOR: &str = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8";

fn evm(chain: &str, content: &[u8]) -> Result<Decoded, ChainError> {
    decode(ContentKind::EvmTransaction, Scheme::EcdsaSecp256k1, chain, content)
}

fn amount(n: u128) -> Amount {
    let mut bytes = [0; 32];
    bytes[16..].copy_from_slice(&n.to_be_bytes());
    Amount(bytes)
}

/// The transaction of the public vector with signing hash 1d099d1f.. (test suite of the `ox` library).
fn transfer_of_one_ether() -> Eip1559 {
    Eip1559 {
        chain_id: 1,
        nonce: 665,
        max_priority_fee_per_gas: 1_000_000_000,
        max_fee_per_gas: 13_000_000_000,
        gas_limit: 21_000,
        to: Some(parse_evm_address(VENDOR).unwrap()),
        value: amount(1_000_000_000_000_000_000),
        input: vec![],
    }
}

fn token_transfer(units: u128) -> Eip1559 {
    Eip1559 {
        to: Some(parse_evm_address(USDC).unwrap()),
        value: amount(0),
        input: erc20_transfer_input(parse_evm_address(VENDOR).unwrap(), amount(units)),
        gas_limit: 65_000,
        ..transfer_of_one_ether()
    }
}

fn digest(d: &Decoded) -> Digest {
    match d.to_sign {
        ToSign::Digest(digest) => digest,
        ToSign::Output { .. } | ToSign::Message(_) => panic!("an EVM transaction is signed by its digest"),
    }
}

fn transaction(d: Decoded) -> TransactionFacts {
    match d.facts {
        Facts::Transaction(t) => t,
        other => panic!("not decoded: {other:?}"),
    }
}

fn why_opaque(fields: &Eip1559) -> String {
    match evm("eip155:1", &eip1559_unsigned(fields)).unwrap().facts {
        Facts::Opaque(o) => o.why,
        other => panic!("not opaque: {other:?}"),
    }
}

#[test]
fn signing_hashes_match_vectors_of_other_implementations() {
    let d = evm("eip155:1", &eip1559_unsigned(&transfer_of_one_ether())).unwrap();
    assert_eq!(digest(&d).to_string(), "1d099d1f25465b53e1e56e715e35d5daaaef6a9e9883ba21652eea7f411fffc7");

    // The EIP-1559 vector of alloy and reth: setApprovalForAll on mainnet, and the hash of the signed transaction.
    let fields = Eip1559 {
        chain_id: 1,
        nonce: 0x42,
        max_priority_fee_per_gas: 0x3b9a_ca00,
        max_fee_per_gas: 0x0004_a817_c800,
        gas_limit: 44386,
        to: Some(parse_evm_address("0x6069a6c32cf691f5982febae4faf8a6f3ab2f0f6").unwrap()),
        value: amount(0),
        input: hex::decode(
            "a22cb4650000000000000000000000005eee75727d804a2b13038928d36f8b188945a57a\
             0000000000000000000000000000000000000000000000000000000000000000",
        )
        .unwrap(),
    };
    let content = eip1559_unsigned(&fields);
    let d = evm("eip155:1", &content).unwrap();
    assert_eq!(digest(&d).to_string(), "0d5688ac3897124635b6cf1bc0e29d6dfebceebdc10a54d74f2ef8b56535b682");
    let operator = transaction(evm("eip155:1", &content).unwrap()).allowances;
    assert_eq!(operator[0].spender, "0x5eee75727d804a2b13038928d36f8b188945a57a");
    let r = bytes32("840cfc572845f5786e702984c2a582528cad4b49b2a10b9db1be7fca90058565");
    let s = bytes32("25e7109ceb98168d95b09b18bbf6b685130e0562f233877d492b94eee0c5b6d1");
    let raw = signed_transaction(&content, r, s, 0).unwrap();
    let hash = alloy_primitives::keccak256(&raw);
    assert_eq!(hex::encode(hash), "0ec0b6a2df4d87424e5f6ad2a654e27aaeb7dac20ae9e8385cc09087ad532ee0");
    assert_eq!(recover(&d, r, s, 0), "0xDD6B8b3dC6B7AD97db52F08a275FF4483e024CEa");
}

/// The example of EIP-155: its signing data, signing hash, key and signed transaction.
#[test]
fn the_example_of_eip_155_has_its_hash_its_signer_and_its_signed_form() {
    let data = "ec098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a764000080018080";
    let content = hex::decode(data).unwrap();
    let decoded = evm("eip155:1", &content).unwrap();
    assert_eq!(digest(&decoded).to_string(), "daf5a779ae972f972197303d7b574746c7ef83eadac0f2791ad23db92e4c8e53");
    let r = bytes32("28ef61340bd939bc2195fe537567866003e1a15d3c71ff63e1590620aa636276");
    let s = bytes32("67cbe9d8997f761aecb703304b3800ccf555c9f3dc64214b297fb1966a3b6d83");
    let key = k256::ecdsa::SigningKey::from_slice(&[0x46; 32]).unwrap();
    let signer = evm_address(key.verifying_key().to_sec1_point(true).as_bytes()).unwrap();
    assert_eq!(recover(&decoded, r, s, 0), signer);
    let signed = "f86c098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a76400008025\
                  a028ef61340bd939bc2195fe537567866003e1a15d3c71ff63e1590620aa636276\
                  a067cbe9d8997f761aecb703304b3800ccf555c9f3dc64214b297fb1966a3b6d83";
    assert_eq!(hex::encode(signed_transaction(&content, r, s, 0).unwrap()), signed);
    let facts = transaction(decoded);
    assert_eq!((facts.nonce, facts.fee_max), (9, amount(21_000 * 20_000_000_000)));
    assert_eq!(facts.movements[0].to, format!("0x{}", "35".repeat(20)));
    // For another chain it is another transaction.
    assert_eq!(evm("eip155:2", &content).unwrap_err().reason(), Reason::ChainMismatch);
}

fn bytes32(s: &str) -> [u8; 32] {
    hex::decode(s).unwrap().try_into().unwrap()
}

fn recover(d: &Decoded, r: [u8; 32], s: [u8; 32], y_parity: u8) -> String {
    let signature = Signature::from_scalars(r, s).unwrap();
    let id = RecoveryId::from_byte(y_parity).unwrap();
    let key = VerifyingKey::recover_from_prehash(digest(d).as_bytes(), &signature, id).unwrap();
    evm_address(key.to_sec1_point(true).as_bytes()).unwrap()
}

type Vector = (u64, u128, u64, u128, u128, u8, &'static str, &'static str, &'static str);

/// Signed transactions of the ethereumjs test suite (`tx/test/json/eip1559.json`): nonce, value, gas limit, priority
/// fee, fee, y parity, r, s, raw transaction without the outer string header. Chain 7822, one private key.
const ETHEREUMJS: [Vector; 3] = [
    (
        819,
        43_203_529,
        35_552,
        75_853,
        121_212,
        0,
        "d067f2167008c59219652f91cbf8788dbca5f771f6e91e2b7657e85b78b472e0",
        "1d305af9fe81fdba43f0dfcd400ed24dcace0a7e30d4e85701dcaaf484cd079e",
        "02f870821e8e8203338301284d8301d97c828ae094000000000000000000000000000000000000aaaa8402933bc980c080a0d067f2167008c59219652f91cbf8788dbca5f771f6e91e2b7657e85b78b472e0a01d305af9fe81fdba43f0dfcd400ed24dcace0a7e30d4e85701dcaaf484cd079e",
    ),
    (
        353,
        61_901_619,
        32_593,
        38_850,
        136_295,
        1,
        "04205678f13fc1d7b10feea6513dfa76e24418b6e08097d95c6f93a3b64e536d",
        "1d45ad61bfece43862de2cce7d2575a8c1d08c26c87f3cb5f26d7b0be54a91b2",
        "02f86f821e8e8201618297c283021467827f5194000000000000000000000000000000000000aaaa8403b08b3380c001a004205678f13fc1d7b10feea6513dfa76e24418b6e08097d95c6f93a3b64e536da01d45ad61bfece43862de2cce7d2575a8c1d08c26c87f3cb5f26d7b0be54a91b2",
    ),
    (
        119,
        65_456_115,
        62_341,
        24_721,
        107_729,
        1,
        "e38e239770801eb995498c821e55ac9c19ae09184bb27b34be105e02fe3b7615",
        "67c64ca6bd6d9107e85fd581ab2e70a14b637eb36505bb40861ef9d6e800cab6",
        "02f86d821e8e778260918301a4d182f38594000000000000000000000000000000000000aaaa8403e6c7f380c001a0e38e239770801eb995498c821e55ac9c19ae09184bb27b34be105e02fe3b7615a067c64ca6bd6d9107e85fd581ab2e70a14b637eb36505bb40861ef9d6e800cab6",
    ),
];
const ETHEREUMJS_KEY: &str = "8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63";

#[test]
fn raw_transactions_and_signers_match_ethereumjs() {
    let key = k256::ecdsa::SigningKey::from_slice(&bytes32(ETHEREUMJS_KEY)).unwrap();
    let signer = evm_address(key.verifying_key().to_sec1_point(true).as_bytes()).unwrap();
    for (nonce, value, gas_limit, tip, fee, parity, r, s, raw) in ETHEREUMJS {
        let content = eip1559_unsigned(&Eip1559 {
            chain_id: 7822,
            nonce,
            max_priority_fee_per_gas: tip,
            max_fee_per_gas: fee,
            gas_limit,
            to: Some(parse_evm_address("0x000000000000000000000000000000000000aaaa").unwrap()),
            value: amount(value),
            input: vec![],
        });
        let d = evm("eip155:7822", &content).unwrap();
        let (r, s) = (bytes32(r), bytes32(s));
        assert_eq!(hex::encode(signed_transaction(&content, r, s, parity).unwrap()), raw);
        assert_eq!(recover(&d, r, s, parity), signer);
        let facts = transaction(d);
        assert_eq!((facts.nonce, facts.fee_max), (nonce, amount(u128::from(gas_limit) * fee)));
    }
}

/// The examples of EIP-55.
#[test]
fn addresses_have_the_checksum_of_eip_55() {
    for address in [
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    ] {
        let bytes = parse_evm_address(address).unwrap();
        assert_eq!(parse_evm_address(&address.to_ascii_lowercase()).unwrap(), bytes);
        let swapped: String = address.chars().skip(2).map(|c| if c == 'a' { 'A' } else { c }).collect();
        if format!("0x{swapped}") != address {
            assert!(parse_evm_address(&format!("0x{swapped}")).is_err(), "{swapped}");
        }
    }
    for bad in
        ["", "0x", "5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "0x5aae", "0x0x5aaeb6053f3e94c9b9a09f33669435e7ef1bea"]
    {
        assert_eq!(parse_evm_address(bad).unwrap_err().reason(), Reason::Malformed, "{bad}");
    }
    // The address of private key 1 is well known: the generator of the curve.
    let one = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
    assert_eq!(evm_address(&hex::decode(one).unwrap()).unwrap(), "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf");
    assert_eq!(evm_address(&[2; 5]).unwrap_err(), ChainError::PublicKey);
}

#[test]
fn transfers_are_decoded_to_their_movements() {
    let native = transaction(evm("eip155:1", &eip1559_unsigned(&transfer_of_one_ether())).unwrap());
    let ether =
        Movement { asset: AssetRef::Native, amount: amount(10u128.pow(18)), from: String::new(), to: VENDOR.into() };
    assert_eq!(
        (native.chain.as_str(), native.method.as_str(), native.movements),
        ("eip155:1", "transfer", vec![ether])
    );
    assert_eq!(native.fee_max, amount(21_000 * 13_000_000_000));

    let usdc = Movement {
        asset: AssetRef::Contract(USDC.into()),
        amount: amount(999),
        from: String::new(),
        to: VENDOR.into(),
    };
    let token = transaction(evm("eip155:1", &eip1559_unsigned(&token_transfer(999))).unwrap());
    assert_eq!(token.movements, vec![usdc.clone()]);

    let both = Eip1559 { value: amount(5), ..token_transfer(999) };
    let both = transaction(evm("eip155:1", &eip1559_unsigned(&both)).unwrap());
    let sent_along = Movement { asset: AssetRef::Native, amount: amount(5), from: String::new(), to: USDC.into() };
    assert_eq!(both.movements, vec![sent_along, usdc]);

    let zero = Eip1559 { value: amount(0), ..transfer_of_one_ether() };
    let zero = transaction(evm("eip155:1", &eip1559_unsigned(&zero)).unwrap());
    assert_eq!(zero.movements[0].amount, amount(0));

    let most = Eip1559 { gas_limit: u64::MAX, max_fee_per_gas: u128::MAX, ..transfer_of_one_ether() };
    let most = transaction(evm("eip155:1", &eip1559_unsigned(&most)).unwrap());
    assert!(most.fee_max > amount(u128::MAX));
}

#[test]
fn what_is_not_understood_is_opaque() {
    let create = Eip1559 { to: None, input: vec![0x60], ..transfer_of_one_ether() };
    assert_eq!(why_opaque(&create), "contract creation");
    let unlike = "call whose data is not the one encoding of transfer(address,uint256)";
    let good = token_transfer(1);
    for (change, why) in [
        (vec![0xa9, 0x05, 0x9c], "contract call with 3 bytes of call data, too few for a selector"),
        (good.input[..67].to_vec(), unlike),
        ([good.input.as_slice(), &[0]].concat(), unlike),
        (good.input[..4].to_vec(), unlike),
    ] {
        assert_eq!(why_opaque(&Eip1559 { input: change, ..good.clone() }), why);
    }
    for padding in 4..16 {
        let mut dirty = good.clone();
        dirty.input[padding] = 1;
        assert_eq!(why_opaque(&dirty), unlike, "byte {padding}");
    }
    for selector in ["deadbeef", "39509351", "5ae401dc"] {
        let mut other = good.clone();
        other.input[..4].copy_from_slice(&hex::decode(selector).unwrap());
        assert_eq!(why_opaque(&other), format!("contract call with selector 0x{selector}"));
    }
}

#[test]
fn other_types_chains_schemes_and_encodings_are_refused() {
    let content = eip1559_unsigned(&transfer_of_one_ether());
    for (first_byte, reason, error) in [
        (0x00, Reason::TxUnparseable, ChainError::TxType { first_byte: 0x00 }),
        (0x01, Reason::TxUnparseable, ChainError::TxFields),
        (0x03, Reason::TxType, ChainError::Blob),
        (0x04, Reason::TxType, ChainError::SetCode),
        (0x05, Reason::TxUnparseable, ChainError::TxType { first_byte: 0x05 }),
        (0x7f, Reason::TxUnparseable, ChainError::TxType { first_byte: 0x7f }),
        (0xbf, Reason::TxUnparseable, ChainError::TxType { first_byte: 0xbf }),
        (0xc0, Reason::TxUnparseable, ChainError::TxFields),
        (0xf8, Reason::TxUnparseable, ChainError::TxFields),
    ] {
        let mut other = content.clone();
        other[0] = first_byte;
        let e = evm("eip155:1", &other).unwrap_err();
        assert_eq!((e.reason(), e), (reason, error), "{first_byte:#x}");
    }
    assert_eq!(evm("eip155:1", &[]).unwrap_err().reason(), Reason::Malformed);
    assert_eq!(evm("eip155:1", &[content.as_slice(), &[0]].concat()).unwrap_err(), ChainError::TxNotCanonical);
    assert_eq!(evm("eip155:1", &content[..content.len() - 1]).unwrap_err(), ChainError::TxFields);
    let signed = signed_transaction(&content, [1; 32], [1; 32], 0).unwrap();
    assert_eq!(evm("eip155:1", &signed).unwrap_err().reason(), Reason::TxUnparseable);
    for chain in ["eip155:2", "eip155:01", "eip155:", "", "solana:1", "eip155:1 "] {
        assert_eq!(evm(chain, &content).unwrap_err().reason(), Reason::ChainMismatch, "{chain}");
    }
    let no_chain = eip1559_unsigned(&Eip1559 { chain_id: 0, ..transfer_of_one_ether() });
    assert_eq!(evm("eip155:0", &no_chain).unwrap_err().reason(), Reason::ChainMismatch);
    let e = decode(ContentKind::EvmTransaction, Scheme::Ed25519, "eip155:1", &content).unwrap_err();
    assert_eq!(e.reason(), Reason::KeyScheme);
    let e = decode(ContentKind::KeySpec, Scheme::EcdsaSecp256k1, "", &content).unwrap_err();
    assert_eq!(e, ChainError::NothingToSign);
}

#[test]
fn only_signatures_that_a_chain_accepts_are_put_in() {
    let content = eip1559_unsigned(&transfer_of_one_ether());
    let high_s = bytes32("7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a1");
    let half = bytes32("7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0");
    assert!(signed_transaction(&content, [1; 32], half, 1).is_ok());
    for (r, s, id) in [
        ([0; 32], [1; 32], 0),
        ([1; 32], [0; 32], 0),
        ([0xff; 32], [1; 32], 0),
        ([1; 32], high_s, 0),
        ([1; 32], half, 2),
    ] {
        assert_eq!(signed_transaction(&content, r, s, id).unwrap_err(), ChainError::Signature);
    }
}

proptest! {
    #[test]
    fn decoding_never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), typed in any::<bool>()) {
        if let (true, Some(first)) = (typed, bytes.first_mut()) {
            *first = 2;
        }
        let _ = evm("eip155:1", &bytes);
        let _ = decode(ContentKind::Message, Scheme::Ed25519, "", &bytes);
    }

    /// S-2.2 step 9: facts and digest are of the same value, so whatever changes the bytes changes the digest.
    #[test]
    fn a_changed_byte_is_refused_or_changes_the_digest(at in 0usize..200, bit in 0u32..8, units in any::<u128>()) {
        let content = eip1559_unsigned(&token_transfer(units));
        let before = evm("eip155:1", &content).unwrap();
        let mut changed = content.clone();
        let at = at % changed.len();
        changed[at] ^= 1 << bit;
        if let Ok(after) = evm("eip155:1", &changed) {
            prop_assert_ne!(digest(&after), digest(&before));
        }
    }

    #[test]
    fn fields_survive_the_round_trip(units in any::<u128>(), nonce in any::<u64>(), value in any::<u128>()) {
        let fields = Eip1559 { nonce, value: amount(value), ..token_transfer(units) };
        let facts = transaction(evm("eip155:1", &eip1559_unsigned(&fields)).unwrap());
        let token = facts.movements.last().unwrap();
        prop_assert_eq!(facts.nonce, nonce);
        prop_assert_eq!((token.amount, token.to.as_str()), (amount(units), VENDOR));
        prop_assert_eq!(facts.movements.len(), if value == 0 { 1 } else { 2 });
    }
}
