//! Taproot keys: the vectors of BIP-340, BIP-341 and BIP-86, and signatures that libsecp256k1 verifies.

use crate::harness::{Key, input, key_2_of_3, make_key};
use bip32::XPub;
use secp256k1::{Parity, SECP256K1, Scalar, XOnlyPublicKey, schnorr};
use tally_domain::{DerivationPath, Digest, Scheme};
use tally_mpc::{SignInput, Signature, combine, derive, derive_output, output_key, verify};

fn bytes<const N: usize>(hex: &str) -> [u8; N] {
    hex::decode(hex).unwrap().try_into().unwrap()
}

/// BIP-340, test-vectors.csv from index 0: public key, message, signature, and whether it verifies.
const BIP340: [(&str, &str, &str, bool); 15] = [
    (
        "f9308a019258c31049344f85f89d5229b531c845836f99b08601f113bce036f9",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "067e337ad551b2276ec705e43f0920926a9ce08ac68159f9d258c9bba412781c9f059fcdf4824f13b3d7c1305316f956704bb3fea2c26142e18acd90a90c947e",
        true,
    ),
    (
        "dff1d77f2a671c5f36183726db2341be58feae1da2deced843240f7b502ba659",
        "243f6a8885a308d313198a2e03707344a4093822299f31d0082efa98ec4e6c89",
        "0e12b8c520948a776753a96f21abd7fdc2d7d0c0ddc90851be17b04e75ef86a47ef0da46c4dc4d0d1bcb8668c2ce16c54c7c23a6716ede303af86774917cf928",
        true,
    ),
    (
        "dd308afec5777e13121fa72b9cc1b7cc0139715309b086c960e18fd969774eb8",
        "7e2d58d8b3bcdf1abadec7829054f90dda9805aab56c77333024b9d0a508b75c",
        "fc012f9fb8fe00a358f51ef93dce0dc0c895f6e9a87c6c4905bc820b0c3677616b8737d14e703af8e16e22e5b8f26227d41e5128f82d86f747244cc289c74d1d",
        true,
    ),
    (
        "25d1dff95105f5253c4022f628a996ad3a0d95fbf21d468a1b33f8c160d8f517",
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "fc132d4e426dff535aec0fa7083ac5118bc1d5fffd848abd8290c23f271ca0dd11aedcea3f55da9bd677fe29c9dda0cf878bce43fde0e313d69d1af7a5ae8369",
        true,
    ),
    (
        "d69c3509bb99e412e68b0fe8544e72837dfa30746d8be2aa65975f29d22dc7b9",
        "4df3c3f68fcc83b27e9d42c90431a72499f17875c81a599b566c9889b9696703",
        "00000000000000000000003b78ce563f89a0ed9414f5aa28ad0d96d6795f9c630ec50e5363e227acac6f542ce1c0b186657e0e0d1a6ffe283a33438de4738419",
        true,
    ),
    (
        "eefdea4cdb677750a420fee807eacf21eb9898ae79b9768766e4faa04a2d4a34",
        "243f6a8885a308d313198a2e03707344a4093822299f31d0082efa98ec4e6c89",
        "7036d6bfe1837ae919631039a2cf652a295dfac9a8bbb0806014b2f48dd7c807941607b563abba414287f374a332ba3636de009ee1ef551a17796b72b68b8a24",
        false,
    ),
    (
        "dff1d77f2a671c5f36183726db2341be58feae1da2deced843240f7b502ba659",
        "243f6a8885a308d313198a2e03707344a4093822299f31d0082efa98ec4e6c89",
        "f9308a019258c31049344f85f89d5229b531c845836f99b08601f113bce036f995a579da959fa739fce39e8bd16fecb5cdcf97060b2c73cde60e87abca1aa5d9",
        false,
    ),
    (
        "dff1d77f2a671c5f36183726db2341be58feae1da2deced843240f7b502ba659",
        "243f6a8885a308d313198a2e03707344a4093822299f31d0082efa98ec4e6c89",
        "f8704654f4687b7365ed32e796de92761390a3bcc495179bfe073817b7ed32824e76b987f7c1f9a751ef5c343f7645d3cffc7d570b9a7192ebf1898e1344e3bf",
        false,
    ),
    (
        "dff1d77f2a671c5f36183726db2341be58feae1da2deced843240f7b502ba659",
        "243f6a8885a308d313198a2e03707344a4093822299f31d0082efa98ec4e6c89",
        "7036d6bfe1837ae919631039a2cf652a295dfac9a8bbb0806014b2f48dd7c8076be9f84a9c5445bebd780c8b5ccd45c883d0dc47cd594b21a858f31a19aab71d",
        false,
    ),
    (
        "dff1d77f2a671c5f36183726db2341be58feae1da2deced843240f7b502ba659",
        "243f6a8885a308d313198a2e03707344a4093822299f31d0082efa98ec4e6c89",
        "00000000000000000000000000000000000000000000000000000000000000009915ee59f07f9dbbaedc31bfcc9b34ad49de669cd24773bced77dda36d073ec8",
        false,
    ),
    (
        "dff1d77f2a671c5f36183726db2341be58feae1da2deced843240f7b502ba659",
        "243f6a8885a308d313198a2e03707344a4093822299f31d0082efa98ec4e6c89",
        "0000000000000000000000000000000000000000000000000000000000000001c7ec918b2b9cf34071bb54bed7eb4bb6bab148e9a7e36e6b228f95dfa08b43ec",
        false,
    ),
    (
        "dff1d77f2a671c5f36183726db2341be58feae1da2deced843240f7b502ba659",
        "243f6a8885a308d313198a2e03707344a4093822299f31d0082efa98ec4e6c89",
        "4a298dacae57395a15d0795ddbfd1dcb564da82b0f269bc70a74f8220429ba1d941607b563abba414287f374a332ba3636de009ee1ef551a17796b72b68b8a24",
        false,
    ),
    (
        "dff1d77f2a671c5f36183726db2341be58feae1da2deced843240f7b502ba659",
        "243f6a8885a308d313198a2e03707344a4093822299f31d0082efa98ec4e6c89",
        "fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f941607b563abba414287f374a332ba3636de009ee1ef551a17796b72b68b8a24",
        false,
    ),
    (
        "dff1d77f2a671c5f36183726db2341be58feae1da2deced843240f7b502ba659",
        "243f6a8885a308d313198a2e03707344a4093822299f31d0082efa98ec4e6c89",
        "7036d6bfe1837ae919631039a2cf652a295dfac9a8bbb0806014b2f48dd7c807fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",
        false,
    ),
    (
        "fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc30",
        "243f6a8885a308d313198a2e03707344a4093822299f31d0082efa98ec4e6c89",
        "7036d6bfe1837ae919631039a2cf652a295dfac9a8bbb0806014b2f48dd7c807941607b563abba414287f374a332ba3636de009ee1ef551a17796b72b68b8a24",
        false,
    ),
];

#[test]
fn bip340_vectors_verify_as_they_should() {
    for (index, (key, message, signature, verifies)) in BIP340.into_iter().enumerate() {
        let [key, message] = [key, message].map(|s| bytes::<32>(s));
        let bytes = bytes(signature);
        assert_eq!(verify(Scheme::Taproot, &key, &message, &Signature::Bip340(bytes)), verifies, "vector {index}");
        for (scheme, other) in
            [(Scheme::Taproot, Signature::Ed25519(bytes)), (Scheme::Ed25519, Signature::Bip340(bytes))]
        {
            assert!(!verify(scheme, &key, &message, &other), "vector {index} as another scheme's");
        }
        assert!(!verify(Scheme::Taproot, &key, &message[..31], &Signature::Bip340(bytes)));
    }
}

/// BIP-341, wallet-test-vectors.json: internal key, Merkle root, output key.
const BIP341: [(&str, Option<&str>, &str); 7] = [
    (
        "d6889cb081036e0faefa3a35157ad71086b123b2b144b649798b494c300a961d",
        None,
        "53a1f6e454df1aa2776a2814a721372d6258050de330b3c6d10ee8f4e0dda343",
    ),
    (
        "187791b6f712a8ea41c8ecdd0ee77fab3e85263b37e1ec18a3651926b3a6cf27",
        Some("5b75adecf53548f3ec6ad7d78383bf84cc57b55a3127c72b9a2481752dd88b21"),
        "147c9c57132f6e7ecddba9800bb0c4449251c92a1e60371ee77557b6620f3ea3",
    ),
    (
        "93478e9488f956df2396be2ce6c5cced75f900dfa18e7dabd2428aae78451820",
        Some("c525714a7f49c28aedbbba78c005931a81c234b2f6c99a73e4d06082adc8bf2b"),
        "e4d810fd50586274face62b8a807eb9719cef49c04177cc6b76a9a4251d5450e",
    ),
    (
        "ee4fe085983462a184015d1f782d6a5f8b9c2b60130aff050ce221ecf3786592",
        Some("6c2dc106ab816b73f9d07e3cd1ef2c8c1256f519748e0813e4edd2405d277bef"),
        "712447206d7a5238acc7ff53fbe94a3b64539ad291c7cdbc490b7577e4b17df5",
    ),
    (
        "f9f400803e683727b14f463836e1e78e1c64417638aa066919291a225f0e8dd8",
        Some("ab179431c28d3b68fb798957faf5497d69c883c6fb1e1cd9f81483d87bac90cc"),
        "77e30a5522dd9f894c3f8b8bd4c4b2cf82ca7da8a3ea6a239655c39c050ab220",
    ),
    (
        "e0dfe2300b0dd746a3f8674dfd4525623639042569d829c7f0eed9602d263e6f",
        Some("ccbd66c6f7e8fdab47b3a486f59d28262be857f30d4773f2d5ea47f7761ce0e2"),
        "91b64d5324723a985170e4dc5a0f84c041804f2cd12660fa5dec09fc21783605",
    ),
    (
        "55adf4e8967fbd2e29f20ac896e60c3b0f1d5b0efa9d34941b5958c7b0a0312d",
        Some("2f6b2c5397b6d68ca18e09a3f05161668ffe93a988582d55c6f07bd5b3329def"),
        "75169f4001aa68f15bbed28b218df1d0a62cbbcf1188c6665110c293c907b831",
    ),
];

#[test]
fn bip341_output_keys() {
    for (internal, merkle_root, output) in BIP341 {
        let merkle_root = merkle_root.map(|root| Digest(bytes(root)));
        assert_eq!(output_key(&bytes(internal), merkle_root.as_ref()), Ok(bytes(output)), "{internal}");
    }
    assert!(output_key(&bytes(BIP340[5].0), None).is_err(), "no point has this x");
}

/// BIP-86: the account's extended public key, and the output keys of m/0/0, m/0/1 and m/1/0 below it.
const ACCOUNT: &str =
    "xpub6BgBgsespWvERF3LHQu6CnqdvfEvtMcQjYrcRzx53QJjSxarj2afYWcLteoGVky7D3UKDP9QyrLprQ3VCECoY49yfdDEHGCtMMj92pReUsQ";
const BIP86: [(&str, &str); 3] = [
    ("m/0/0", "a60869f0dbcf1dc659c9cecbaf8050135ea9e8cdc487053f1dc6880949dc684c"),
    ("m/0/1", "a82f29944d65b86ae6b5e5cc75e294ead6c59391a1edc5e016e3498c67fc7bbb"),
    ("m/1/0", "882d74e5d0572d5a816cef0041a96b6c1de832f6f9676d9605c44d5e9a97d3dc"),
];

#[test]
fn bip86_children() {
    let account: XPub = ACCOUNT.parse().unwrap();
    let chain_code = Digest(account.attrs().chain_code);
    for (path, output) in BIP86 {
        let path = DerivationPath::parse(path).unwrap();
        let derived = derive(Scheme::Taproot, &account.to_bytes(), &chain_code, &path).unwrap();
        assert_eq!(hex::encode(derived.public_key), output, "{path}");
    }
}

/// libsecp256k1 makes the output key of the child that the `bip32` crate derives, and verifies the signature under it.
fn foreign(key: &Key, input: &SignInput, signature: &Signature) -> Parity {
    let xpub = tally_mpc::xpub(&key.record.public_key, &key.record.chain_code).unwrap();
    let root: XPub = xpub.parse().unwrap();
    let steps = input.path.steps().iter();
    let child = steps.fold(root, |key, step| key.derive_child(bip32::ChildNumber(*step)).unwrap());
    let (internal, parity) = secp256k1::PublicKey::from_slice(&child.to_bytes()).unwrap().x_only_public_key();
    let commits_to = [&internal.serialize()[..], input.merkle_root.as_ref().map_or(&[], |root| &root.0)].concat();
    let tweak = Scalar::from_be_bytes(tagged_hash("TapTweak", &commits_to)).unwrap();
    let (output, _) = internal.add_tweak(SECP256K1, &tweak).unwrap();
    let ours =
        derive_output(Scheme::Taproot, &key.record.public_key, &key.record.chain_code, &input.path, input.merkle_root);
    assert_eq!(XOnlyPublicKey::from_byte_array(ours.unwrap().public_key.try_into().unwrap()), Ok(output));
    schnorr::Signature::from_byte_array(signature.to_bytes()).verify(&input.message, &output).unwrap();
    parity
}

fn tagged_hash(tag: &str, bytes: &[u8]) -> [u8; 32] {
    use sha2::{Digest as _, Sha256};
    let tag = Sha256::digest(tag);
    Sha256::new().chain_update(tag).chain_update(tag).chain_update(bytes).finalize().into()
}

#[test]
fn s_3_13_every_pair_signs_for_outputs_with_and_without_scripts() {
    let key = key_2_of_3(Scheme::Taproot);
    let mut odd = 0;
    for (i, members) in [[1, 2], [1, 3], [2, 3]].into_iter().enumerate() {
        for (j, path) in ["m", "m/0/7", "m/86/0/0/0/2147483647", "m/1", "m/2", "m/3"].into_iter().enumerate() {
            let seed = (10 * i + j) as u64;
            let merkle_root = (j % 2 == 1).then_some(Digest([seed as u8; 32]));
            let input = SignInput { merkle_root, ..input(&[seed as u8 + 1; 32], path) };
            let (signature, partials) = key.sign(&members, &input, seed);
            odd += usize::from(foreign(&key, &input, &signature) == Parity::Odd);
            assert_eq!(combine(&partials, &key.record, &key.signers(&members), &input), Ok(signature));
            // One that commits to other scripts is another output.
            let other = SignInput { merkle_root: Some(Digest([0xEE; 32])), ..input };
            assert!(combine(&partials, &key.record, &key.signers(&members), &other).is_err());
        }
    }
    assert!((3..15).contains(&odd), "children of either parity were tried: {odd} of 18 odd");
}

#[test]
fn keys_of_either_parity_and_other_thresholds_sign() {
    let mut parities = std::collections::BTreeSet::new();
    for seed in 0..6 {
        let key = make_key(Scheme::Taproot, 3, 5, 100 + seed);
        parities.insert(key.record.public_key[0]);
        let input = input(&[7; 32], if seed % 2 == 0 { "m" } else { "m/9" });
        let (signature, _) = key.sign(&[1, 3, 5], &input, seed);
        foreign(&key, &input, &signature);
    }
    assert_eq!(parities, [2, 3].into());
}
