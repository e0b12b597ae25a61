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
        "e907831f80848d1069a5371b402410364bdf1c5f8307b0084c55f1ce2dca821525f66a4a85ea8b71e482a74f382d2ce5ebeee8fdb2172f477df4900d310536c0",
        true,
    ),
    (
        "dff1d77f2a671c5f36183726db2341be58feae1da2deced843240f7b502ba659",
        "243f6a8885a308d313198a2e03707344a4093822299f31d0082efa98ec4e6c89",
        "6896bd60eeae296db48a229ff71dfe071bde413e6d43f917dc8dcf8c78de33418906d11ac976abccb20b091292bff4ea897efcb639ea871cfa95f6de339e4b0a",
        true,
    ),
    (
        "dd308afec5777e13121fa72b9cc1b7cc0139715309b086c960e18fd969774eb8",
        "7e2d58d8b3bcdf1abadec7829054f90dda9805aab56c77333024b9d0a508b75c",
        "5831aaeed7b44bb74e5eab94ba9d4294c49bcf2a60728d8b4c200f50dd313c1bab745879a5ad954a72c45a91c3a51d3c7adea98d82f8481e0e1e03674a6f3fb7",
        true,
    ),
    (
        "25d1dff95105f5253c4022f628a996ad3a0d95fbf21d468a1b33f8c160d8f517",
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "7eb0509757e246f19449885651611cb965ecc1a187dd51b64fda1edc9637d5ec97582b9cb13db3933705b32ba982af5af25fd78881ebb32771fc5922efc66ea3",
        true,
    ),
    (
        "d69c3509bb99e412e68b0fe8544e72837dfa30746d8be2aa65975f29d22dc7b9",
        "4df3c3f68fcc83b27e9d42c90431a72499f17875c81a599b566c9889b9696703",
        "00000000000000000000003b78ce563f89a0ed9414f5aa28ad0d96d6795f9c6376afb1548af603b3eb45c9f8207dee1060cb71c04e80f593060b07d28308d7f4",
        true,
    ),
    (
        "eefdea4cdb677750a420fee807eacf21eb9898ae79b9768766e4faa04a2d4a34",
        "243f6a8885a308d313198a2e03707344a4093822299f31d0082efa98ec4e6c89",
        "6cff5c3ba86c69ea4b7376f31a9bcb4f74c1976089b2d9963da2e5543e17776969e89b4c5564d00349106b8497785dd7d1d713a8ae82b32fa79d5f7fc407d39b",
        false,
    ),
    (
        "dff1d77f2a671c5f36183726db2341be58feae1da2deced843240f7b502ba659",
        "243f6a8885a308d313198a2e03707344a4093822299f31d0082efa98ec4e6c89",
        "fff97bd5755eeea420453a14355235d382f6472f8568a18b2f057a14602975563cc27944640ac607cd107ae10923d9ef7a73c643e166be5ebeafa34b1ac553e2",
        false,
    ),
    (
        "dff1d77f2a671c5f36183726db2341be58feae1da2deced843240f7b502ba659",
        "243f6a8885a308d313198a2e03707344a4093822299f31d0082efa98ec4e6c89",
        "1fa62e331edbc21c394792d2ab1100a7b432b013df3f6ff4f99fcb33e0e1515f28890b3edb6e7189b630448b515ce4f8622a954cfe545735aaea5134fccdb2bd",
        false,
    ),
    (
        "dff1d77f2a671c5f36183726db2341be58feae1da2deced843240f7b502ba659",
        "243f6a8885a308d313198a2e03707344a4093822299f31d0082efa98ec4e6c89",
        "6cff5c3ba86c69ea4b7376f31a9bcb4f74c1976089b2d9963da2e5543e177769961764b3aa9b2ffcb6ef947b6887a226e8d7c93e00c5ed0c1834ff0d0c2e6da6",
        false,
    ),
    (
        "dff1d77f2a671c5f36183726db2341be58feae1da2deced843240f7b502ba659",
        "243f6a8885a308d313198a2e03707344a4093822299f31d0082efa98ec4e6c89",
        "0000000000000000000000000000000000000000000000000000000000000000123dda8328af9c23a94c1feecfd123ba4fb73476f0d594dcb65c6425bd186051",
        false,
    ),
    (
        "dff1d77f2a671c5f36183726db2341be58feae1da2deced843240f7b502ba659",
        "243f6a8885a308d313198a2e03707344a4093822299f31d0082efa98ec4e6c89",
        "00000000000000000000000000000000000000000000000000000000000000017615fbaf5ae28864013c099742deadb4dba87f11ac6754f93780d5a1837cf197",
        false,
    ),
    (
        "dff1d77f2a671c5f36183726db2341be58feae1da2deced843240f7b502ba659",
        "243f6a8885a308d313198a2e03707344a4093822299f31d0082efa98ec4e6c89",
        "4a298dacae57395a15d0795ddbfd1dcb564da82b0f269bc70a74f8220429ba1d69e89b4c5564d00349106b8497785dd7d1d713a8ae82b32fa79d5f7fc407d39b",
        false,
    ),
    (
        "dff1d77f2a671c5f36183726db2341be58feae1da2deced843240f7b502ba659",
        "243f6a8885a308d313198a2e03707344a4093822299f31d0082efa98ec4e6c89",
        "fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f69e89b4c5564d00349106b8497785dd7d1d713a8ae82b32fa79d5f7fc407d39b",
        false,
    ),
    (
        "dff1d77f2a671c5f36183726db2341be58feae1da2deced843240f7b502ba659",
        "243f6a8885a308d313198a2e03707344a4093822299f31d0082efa98ec4e6c89",
        "6cff5c3ba86c69ea4b7376f31a9bcb4f74c1976089b2d9963da2e5543e177769fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",
        false,
    ),
    (
        "fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc30",
        "243f6a8885a308d313198a2e03707344a4093822299f31d0082efa98ec4e6c89",
        "6cff5c3ba86c69ea4b7376f31a9bcb4f74c1976089b2d9963da2e5543e17776969e89b4c5564d00349106b8497785dd7d1d713a8ae82b32fa79d5f7fc407d39b",
        false,
    ),
];

#[test]
fn bip340_vectors_verify_as_they_should() {
    for (index, (key, message, signature, verifies)) in BIP340.into_iter().enumerate() {
        let [key, message] = [key, message].map(bytes::<32>);
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
