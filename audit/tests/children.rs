//! Signatures by children of keys: the log must show that they are children of the certified key, under its scheme.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    dead_code,
    reason = "tests fail loudly"
)]

#[path = "support/world.rs"]
mod world;

use curve25519_dalek::{EdwardsPoint, Scalar};
use hmac::{Hmac, KeyInit as _, Mac as _};
use k256::elliptic_curve::PrimeField as _;
use sha2::{Digest as _, Sha256, Sha512};
use tally_audit::event::What;
use tally_audit::verify::{Problem, verify_log};
use tally_domain::key::KeyRecord;
use tally_domain::*;
use world::*;

const TAP: &str = "tap";
const SOLANA: &str = "solana";

fn problems(w: &World, record: &KeyRecord, intent: &Intent, to_sign: &[u8], leaf: What) -> Vec<Problem> {
    let mut body = w.vote_body(intent, 1, &[0, 1]);
    body.digest = match record.scheme {
        Scheme::Taproot if to_sign.len() == 32 => Digest::from_slice(to_sign).unwrap(),
        _ => Digest::of(to_sign),
    };
    let active = What::KeyActive { certificate: w.key_certificate(record) };
    let voted = What::Voted { vote: w.vote(0, &body) };
    let released = w.released(&body, &[0, 1], b"partial");
    let log = vec![w.boot(0), active, w.received(intent), w.permitted(intent), voted, released, leaf];
    let log = w.export(0, log);
    let checked = verify_log(&w.roster, &log.node, &log.entries, &log.checkpoint);
    checked.map(|_| vec![]).unwrap_or_else(|findings| findings.into_iter().map(|f| f.problem).collect())
}

fn completed(intent: &Intent, signature: Vec<u8>, public_key: Vec<u8>, to_sign: &[u8]) -> What {
    What::Completed {
        tenant: tenant(),
        request_id: intent.request_id,
        intent_digest: intent.digest(),
        key: intent.key.clone(),
        path: intent.path.clone(),
        signature,
        public_key,
        to_sign: to_sign.to_vec(),
    }
}

/// The key that spends an output of a child, by `k256`.
fn output(internal: &[u8; 32], merkle_root: &[u8]) -> k256::schnorr::SigningKey {
    let internal = k256::schnorr::SigningKey::from_slice(internal).unwrap();
    let tag = Sha256::digest("TapTweak");
    let x = internal.verifying_key().to_bytes();
    let hash = Sha256::new().chain_update(tag).chain_update(tag).chain_update(x).chain_update(merkle_root).finalize();
    let tweak = k256::Scalar::from_repr(hash).unwrap();
    // The library keeps the scalar whose point has an even y.
    let sum = **internal.as_nonzero_scalar() + tweak;
    k256::schnorr::SigningKey::from_slice(&sum.to_repr()).unwrap()
}

#[test]
fn outputs_of_taproot_keys_are_children_of_the_certified_key() {
    let w = World::new();
    let mut record = w.record(HOT);
    (record.name, record.scheme) = (key_name(TAP), Scheme::Taproot);
    let other = Problem::OtherKey { request: request(1), key: key_name(TAP) };
    let mut path = 0;
    for root in [&[][..], &[9; 32]] {
        for at in ["m", "m/0/7", "m/0/8", "m/1"] {
            path += 1;
            let intent = Intent { path: DerivationPath::parse(at).unwrap(), ..w.intent(1, TAP) };
            let internal: [u8; 32] = w.child(&intent.path).private_key().to_bytes().into();
            let digest = [path; 32];
            let to_sign = [&digest[..], root].concat();
            let check = |key: &k256::schnorr::SigningKey, to_sign: &[u8], record: &KeyRecord| {
                let signature = key.sign_raw(&digest, &[1; 32]).unwrap().to_bytes().to_vec();
                let public_key = key.verifying_key().to_bytes().to_vec();
                problems(&w, record, &intent, to_sign, completed(&intent, signature, public_key, to_sign))
            };
            let key = output(&internal, root);
            assert_eq!(check(&key, &to_sign, &record), [], "{at}");
            // The internal key is not the output's; nor is the key of an output with other scripts.
            let untweaked = k256::schnorr::SigningKey::from_slice(&internal).unwrap();
            assert_eq!(check(&untweaked, &to_sign, &record), std::slice::from_ref(&other));
            let scripts = [&digest[..], &[8; 32]].concat();
            assert_eq!(check(&key, &scripts, &record), std::slice::from_ref(&other));
            // A key of another scheme did not make it, whatever its bytes.
            let mut ecdsa = record.clone();
            ecdsa.scheme = Scheme::EcdsaSecp256k1;
            assert!(check(&key, &to_sign, &ecdsa).contains(&other));
        }
    }
}

/// The secret scalar of a child of an Ed25519 key.
fn child(root: Scalar, chain_code: [u8; 32], steps: &[u32]) -> Scalar {
    let (mut secret, mut chain) = (root, chain_code);
    for step in steps {
        let mut mac = Hmac::<Sha512>::new_from_slice(&chain).unwrap();
        mac.update(EdwardsPoint::mul_base(&secret).compress().as_bytes());
        mac.update(&step.to_be_bytes());
        let output = mac.finalize().into_bytes();
        secret += Scalar::from_bytes_mod_order(output[..32].try_into().unwrap());
        chain = output[32..].try_into().unwrap();
    }
    secret
}

/// RFC 8032 with the scalar itself, which no seed hashes to.
fn sign_ed25519(secret: Scalar, message: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let public_key = EdwardsPoint::mul_base(&secret).compress().to_bytes();
    let nonce = Scalar::from_bytes_mod_order([5; 32]);
    let big_r = EdwardsPoint::mul_base(&nonce).compress().to_bytes();
    let hash: [u8; 64] = Sha512::digest([&big_r[..], &public_key, message].concat()).into();
    let s = nonce + Scalar::from_bytes_mod_order_wide(&hash) * secret;
    ([big_r, s.to_bytes()].concat(), public_key.to_vec())
}

#[test]
fn children_of_ed25519_keys_are_found_below_the_certified_key_and_nowhere_else() {
    let w = World::new();
    let root = Scalar::from_bytes_mod_order([3; 32]);
    let mut record = w.record(NOTES);
    record.name = key_name(SOLANA);
    record.public_key = EdwardsPoint::mul_base(&root).compress().to_bytes().to_vec();
    let intent = Intent { path: DerivationPath::parse("m/0/7").unwrap(), ..w.intent(1, SOLANA) };
    let message = intent.content.clone();
    let by = |steps: &[u32]| {
        let (signature, public_key) = sign_ed25519(child(root, record.chain_code.0, steps), &message);
        problems(&w, &record, &intent, &message, completed(&intent, signature, public_key, &message))
    };
    assert_eq!(by(&[0, 7]), []);
    let other = Problem::OtherKey { request: request(1), key: key_name(SOLANA) };
    for elsewhere in [&[][..], &[0], &[0, 8], &[7, 0]] {
        assert_eq!(by(elsewhere), std::slice::from_ref(&other), "{elsewhere:?}");
    }
}
