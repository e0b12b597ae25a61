use crate::harness::key_2_of_3;
use bip32::{ChildNumber, XPub};
use curve25519_dalek::edwards::CompressedEdwardsY;
use curve25519_dalek::{EdwardsPoint, Scalar as Dalek};
use hmac::{Hmac, KeyInit as _, Mac as _};
use proptest::prelude::*;
use sha2::Sha512;
use tally_domain::{DerivationPath, Digest, Scheme};
use tally_mpc::fault::Misuse;
use tally_mpc::{Fault, derive, xpub};

/// BIP-32, test vector 2: the chain m.
const MASTER: &str =
    "xpub661MyMwAqRbcFW31YEwpkMuc5THy2PSt5bDMsktWQcFF8syAmRUapSCGu8ED9W6oDMSgv6Zz8idoc4a6mr8BDzTJY47LJhkJ8UB7WEGuduB";

/// Parent, step and child of every step in BIP-32's test vectors that needs no secret key: of vector 1 the chains m/0'/1,
/// m/0'/1/2'/2 and m/0'/1/2'/2/1000000000, of vector 2 m/0, m/0/2147483647'/1 and m/0/2147483647'/1/2147483646'/2. Vectors 3
/// and 4 have hardened steps alone.
const BIP32: [(&str, u32, &str); 6] = [
    (
        "xpub68Gmy5EdvgibQVfPdqkBBCHxA5htiqg55crXYuXoQRKfDBFA1WEjWgP6LHhwBZeNK1VTsfTFUHCdrfp1bgwQ9xv5ski8PX9rL2dZXvgGDnw",
        1,
        "xpub6ASuArnXKPbfEwhqN6e3mwBcDTgzisQN1wXN9BJcM47sSikHjJf3UFHKkNAWbWMiGj7Wf5uMash7SyYq527Hqck2AxYysAA7xmALppuCkwQ",
    ),
    (
        "xpub6D4BDPcP2GT577Vvch3R8wDkScZWzQzMMUm3PWbmWvVJrZwQY4VUNgqFJPMM3No2dFDFGTsxxpG5uJh7n7epu4trkrX7x7DogT5Uv6fcLW5",
        2,
        "xpub6FHa3pjLCk84BayeJxFW2SP4XRrFd1JYnxeLeU8EqN3vDfZmbqBqaGJAyiLjTAwm6ZLRQUMv1ZACTj37sR62cfN7fe5JnJ7dh8zL4fiyLHV",
    ),
    (
        "xpub6FHa3pjLCk84BayeJxFW2SP4XRrFd1JYnxeLeU8EqN3vDfZmbqBqaGJAyiLjTAwm6ZLRQUMv1ZACTj37sR62cfN7fe5JnJ7dh8zL4fiyLHV",
        1_000_000_000,
        "xpub6H1LXWLaKsWFhvm6RVpEL9P4KfRZSW7abD2ttkWP3SSQvnyA8FSVqNTEcYFgJS2UaFcxupHiYkro49S8yGasTvXEYBVPamhGW6cFJodrTHy",
    ),
    (
        MASTER,
        0,
        "xpub69H7F5d8KSRgmmdJg2KhpAK8SR3DjMwAdkxj3ZuxV27CprR9LgpeyGmXUbC6wb7ERfvrnKZjXoUmmDznezpbZb7ap6r1D3tgFxHmwMkQTPH",
    ),
    (
        "xpub6ASAVgeehLbnwdqV6UKMHVzgqAG8Gr6riv3Fxxpj8ksbH9ebxaEyBLZ85ySDhKiLDBrQSARLq1uNRts8RuJiHjaDMBU4Zn9h8LZNnBC5y4a",
        1,
        "xpub6DF8uhdarytz3FWdA8TvFSvvAh8dP3283MY7p2V4SeE2wyWmG5mg5EwVvmdMVCQcoNJxGoWaU9DCWh89LojfZ537wTfunKau47EL2dhHKon",
    ),
    (
        "xpub6ERApfZwUNrhLCkDtcHTcxd75RbzS1ed54G1LkBUHQVHQKqhMkhgbmJbZRkrgZw4koxb5JaHWkY4ALHY2grBGRjaDMzQLcgJvLJuZZvRcEL",
        2,
        "xpub6FnCn6nSzZAw5Tw7cgR9bi15UV96gLZhjDstkXXxvCLsUXBGXPdSnLFbdpq8p9HmGsApME5hQTZ3emM2rnY5agb9rXpVGyy3bdW6EEgAtqt",
    ),
];

fn path(s: &str) -> DerivationPath {
    DerivationPath::parse(s).unwrap()
}

#[test]
fn bip32_test_vectors() {
    for (parent, step, child) in BIP32 {
        let (parent, child): (XPub, XPub) = (parent.parse().unwrap(), child.parse().unwrap());
        let chain_code = Digest(parent.attrs().chain_code);
        let one = path(&format!("m/{step}"));
        let derived = derive(Scheme::EcdsaSecp256k1, &parent.to_bytes(), &chain_code, &one).unwrap();
        assert_eq!(derived.public_key, child.to_bytes());
        assert_eq!(derived.chain_code.0, child.attrs().chain_code);
    }
    // Two steps at once, and the text of a root.
    let (from, to): (XPub, XPub) = (BIP32[1].0.parse().unwrap(), BIP32[2].2.parse().unwrap());
    let both = path("m/2/1000000000");
    let derived = derive(Scheme::EcdsaSecp256k1, &from.to_bytes(), &Digest(from.attrs().chain_code), &both).unwrap();
    assert_eq!(derived.public_key, to.to_bytes());
    let master: XPub = MASTER.parse().unwrap();
    assert_eq!(xpub(&master.to_bytes(), &Digest(master.attrs().chain_code)).unwrap(), MASTER);
    assert!(DerivationPath::parse("m/2147483648").is_err(), "a hardened step needs the secret key");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn derivation_is_that_of_the_bip32_crate(steps in prop::collection::vec(0_u32..1 << 31, 0..=5), chain in any::<[u8; 32]>()) {
        let master: XPub = MASTER.parse().unwrap();
        let chain_code = Digest(chain);
        let mut theirs: XPub = xpub(&master.to_bytes(), &chain_code).unwrap().parse().unwrap();
        for step in &steps {
            theirs = theirs.derive_child(ChildNumber(*step)).unwrap();
        }
        let ours = derive(Scheme::EcdsaSecp256k1, &master.to_bytes(), &chain_code, &DerivationPath::new(steps).unwrap()).unwrap();
        prop_assert_eq!(&ours.public_key[..], &theirs.to_bytes()[..]);
        prop_assert_eq!(ours.chain_code.0, theirs.attrs().chain_code);
        // The tweak is what separates the two secret keys.
        let sum = secp256k1::PublicKey::from_slice(&master.to_bytes()).unwrap();
        let tweaked = match secp256k1::Scalar::from_be_bytes(ours.tweak).unwrap() {
            secp256k1::Scalar::ZERO => sum,
            tweak => sum.add_exp_tweak(secp256k1::SECP256K1, &tweak).unwrap(),
        };
        prop_assert_eq!(&tweaked.serialize()[..], &ours.public_key[..]);
    }
}

#[test]
fn only_good_points_have_children() {
    let misuse = |what| Some(Fault::Caller { what });
    let ed = key_2_of_3(Scheme::Ed25519).record;
    assert_eq!(xpub(&ed.public_key, &ed.chain_code).err(), misuse(Misuse::BadPublicKey));
    let good = key_2_of_3(Scheme::EcdsaSecp256k1).record.public_key;
    let uncompressed = secp256k1::PublicKey::from_slice(&good).unwrap().serialize_uncompressed();
    for bad in [&uncompressed[..], &good[1..32], &[0], &[], &[2; 34], &[5; 33], &ed.public_key] {
        for scheme in [Scheme::EcdsaSecp256k1, Scheme::Taproot] {
            let fault = derive(scheme, bad, &ed.chain_code, &path("m")).err();
            assert_eq!(fault, misuse(Misuse::BadPublicKey), "{bad:?}");
        }
    }
    let mut identity = [0; 32];
    identity[0] = 1;
    let mut order_two = [0xFF; 32];
    (order_two[0], order_two[31]) = (0xEC, 0x7F);
    for bad in [&identity[..], &order_two, &[0xFF; 32], &[], &good] {
        for at in ["m", "m/0"] {
            let fault = derive(Scheme::Ed25519, bad, &ed.chain_code, &path(at)).err();
            assert_eq!(fault, misuse(Misuse::BadPublicKey), "{bad:?}");
        }
    }
}

/// The child of an Ed25519 key as the documentation says it, by another curve library than the one that signs.
fn ed25519_child(root: &[u8], chain_code: [u8; 32], steps: &[u32]) -> ([u8; 32], [u8; 32]) {
    let (mut key, mut chain) = (CompressedEdwardsY::from_slice(root).unwrap(), chain_code);
    for step in steps {
        let mut mac = Hmac::<Sha512>::new_from_slice(&chain).unwrap();
        mac.update(key.as_bytes());
        mac.update(&step.to_be_bytes());
        let output = mac.finalize().into_bytes();
        let tweak = Dalek::from_bytes_mod_order(output[..32].try_into().unwrap());
        key = (key.decompress().unwrap() + EdwardsPoint::mul_base(&tweak)).compress();
        chain = output[32..].try_into().unwrap();
    }
    (key.to_bytes(), chain)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn ed25519_children_are_those_of_another_curve_library(
        steps in prop::collection::vec(0_u32..1 << 31, 0..=5),
        chain in any::<[u8; 32]>(),
        secret in any::<[u8; 32]>(),
    ) {
        let root = EdwardsPoint::mul_base(&Dalek::from_bytes_mod_order(secret)).compress();
        let at = DerivationPath::new(steps.clone()).unwrap();
        let ours = derive(Scheme::Ed25519, root.as_bytes(), &Digest(chain), &at).unwrap();
        let (key, chain) = ed25519_child(root.as_bytes(), chain, &steps);
        prop_assert_eq!(&ours.public_key[..], &key[..]);
        prop_assert_eq!(ours.chain_code.0, chain);
        // The tweak is what separates the two secret scalars.
        let tweak = Dalek::from_canonical_bytes(ours.tweak).unwrap();
        let sum = Dalek::from_bytes_mod_order(secret) + tweak;
        prop_assert_eq!(EdwardsPoint::mul_base(&sum).compress().to_bytes(), key);
    }
}
