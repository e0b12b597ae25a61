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

/// BIP-32, test vector 2: the chains m and m/0.
const MASTER: &str =
    "xpub661MyMwAqRbcFW31YEwpkMuc5THy2PSt5bDMsktWQcFF8syAmRUapSCGu8ED9W6oDMSgv6Zz8idoc4a6mr8BDzTJY47LJhkJ8UB7WEGuduB";
const CHILD: &str =
    "xpub69H7F5d8KSRgmmdJg2KhpAK8SR3DjMwAdkxj3ZuxV27CprR9LgpeyGmXUbC6wb7ERfvrnKZjXoUmmDznezpbZb7ap6r1D3tgFxHmwMkQTPH";

fn path(s: &str) -> DerivationPath {
    DerivationPath::parse(s).unwrap()
}

#[test]
fn bip32_test_vector_2() {
    let (master, child): (XPub, XPub) = (MASTER.parse().unwrap(), CHILD.parse().unwrap());
    let chain_code = Digest(master.attrs().chain_code);
    let derived = derive(Scheme::EcdsaSecp256k1, &master.to_bytes(), &chain_code, &path("m/0")).unwrap();
    assert_eq!(derived.public_key, child.to_bytes());
    assert_eq!(derived.chain_code.0, child.attrs().chain_code);
    assert_eq!(xpub(&master.to_bytes(), &chain_code).unwrap(), MASTER);
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
