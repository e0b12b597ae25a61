use crate::harness::key_2_of_3;
use bip32::{ChildNumber, XPub};
use proptest::prelude::*;
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
    let derived = derive(&master.to_bytes(), &chain_code, &path("m/0")).unwrap();
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
        let ours = derive(&master.to_bytes(), &chain_code, &DerivationPath::new(steps).unwrap()).unwrap();
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
fn only_the_root_of_an_ed25519_key_and_only_good_points() {
    let ed = key_2_of_3(Scheme::Ed25519).record;
    let root = derive(&ed.public_key, &ed.chain_code, &path("m")).unwrap();
    assert_eq!((root.public_key, root.tweak), (ed.public_key.clone(), [0; 32]));
    let misuse = |what| Some(Fault::Caller { what });
    assert_eq!(derive(&ed.public_key, &ed.chain_code, &path("m/0")).err(), misuse(Misuse::PathWithEd25519));
    assert_eq!(xpub(&ed.public_key, &ed.chain_code).err(), misuse(Misuse::BadPublicKey));

    let good = key_2_of_3(Scheme::EcdsaSecp256k1).record.public_key;
    let uncompressed = secp256k1::PublicKey::from_slice(&good).unwrap().serialize_uncompressed();
    for bad in [&uncompressed[..], &good[1..32], &[0], &[], &[2; 34], &[5; 33]] {
        assert_eq!(derive(bad, &ed.chain_code, &path("m")).err(), misuse(Misuse::BadPublicKey), "{bad:?}");
    }
}
