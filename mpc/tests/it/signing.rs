use crate::harness::{Key, input, key_2_of_3, make_key, party};
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{Message, PublicKey, SECP256K1};
use std::collections::BTreeMap;
use tally_domain::{Digest, Scheme};
use tally_mpc::fault::{BadMessage, Cheat, Disagreement, Misuse};
use tally_mpc::{Fault, SignInput, Signature, combine, partial, verify};

const SUBSETS: [[u8; 2]; 3] = [[1, 2], [1, 3], [2, 3]];

/// libsecp256k1 verifies (it refuses high s) and recovers the key.
fn foreign_ecdsa(public_key: &[u8], digest: &[u8], signature: &Signature) {
    let Signature::Ecdsa { recovery_id, .. } = signature else { panic!("not ECDSA") };
    let key = PublicKey::from_slice(public_key).unwrap();
    let message = Message::from_digest(digest.try_into().unwrap());
    let id = RecoveryId::try_from(i32::from(*recovery_id)).unwrap();
    let recoverable = RecoverableSignature::from_compact(&signature.to_bytes(), id).unwrap();
    SECP256K1.verify_ecdsa(message, &recoverable.to_standard(), &key).unwrap();
    assert_eq!(SECP256K1.recover_ecdsa(message, &recoverable).unwrap(), key);
}

fn foreign_ed25519(public_key: &[u8], message: &[u8], signature: &Signature) {
    let key = ed25519_dalek::VerifyingKey::from_bytes(public_key.try_into().unwrap()).unwrap();
    key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(&signature.to_bytes())).unwrap();
}

#[test]
fn s_3_13_every_pair_signs_ecdsa_at_root_and_children() {
    let key = key_2_of_3(Scheme::EcdsaSecp256k1);
    for (i, members) in SUBSETS.into_iter().enumerate() {
        for (j, path) in ["m", "m/0/7", "m/44/60/0/0/2147483647"].into_iter().enumerate() {
            let seed = (10 * i + j) as u64;
            let input = input(&[seed as u8 + 1; 32], path);
            let (signature, partials) = key.sign(&members, &input, seed);
            let child = key.child(&input.path);
            foreign_ecdsa(&child, &input.message, &signature);
            assert!(verify(Scheme::EcdsaSecp256k1, &child, &input.message, &signature));
            assert_eq!(combine(&partials, &key.record, &key.signers(&members), &input), Ok(signature));
        }
    }
}

#[test]
fn every_pair_signs_ed25519_at_root_and_children() {
    let key = key_2_of_3(Scheme::Ed25519);
    for (seed, members) in SUBSETS.into_iter().enumerate() {
        for (message, path) in [(&b""[..], "m"), (b"pay bob", "m/0/7"), (&[0xAB; 5000], "m/44/501/0/0/2147483647")] {
            let input = input(message, path);
            let (signature, partials) = key.sign(&members, &input, seed as u64);
            foreign_ed25519(&key.child(&input.path), message, &signature);
            let root = ed25519_dalek::VerifyingKey::from_bytes(key.record.public_key[..].try_into().unwrap()).unwrap();
            let signed = ed25519_dalek::Signature::from_bytes(&signature.to_bytes());
            assert_eq!(root.verify_strict(message, &signed).is_ok(), input.path.is_root());
            assert_eq!(combine(&partials, &key.record, &key.signers(&members), &input), Ok(signature));
        }
    }
}

#[test]
fn three_of_five_sign() {
    let key = make_key(Scheme::Ed25519, 3, 5, 21);
    for members in [[1, 2, 3], [1, 3, 5], [3, 4, 5]] {
        let (signature, _) = key.sign(&members, &input(b"three", "m"), 4);
        foreign_ed25519(&key.record.public_key, b"three", &signature);
    }
    let key = make_key(Scheme::EcdsaSecp256k1, 3, 5, 22);
    for members in [[1, 2, 3], [2, 4, 5]] {
        let input = input(&[8; 32], "m/1");
        let (signature, _) = key.sign(&members, &input, 4);
        let child = key.child(&input.path);
        foreign_ecdsa(&child, &input.message, &signature);
    }
}

/// Partials of an honest session.
fn partials(key: &Key, input: &SignInput) -> BTreeMap<tally_domain::PartyIndex, Vec<u8>> {
    key.sign(&[1, 2], input, 9).1
}

#[test]
fn a_bad_frost_partial_names_its_maker() {
    // The share is the last 32 bytes. Its lowest byte is the first of them where it is little-endian, else the last.
    for (scheme, lowest, path) in [
        (Scheme::Ed25519, 32, "m"),
        (Scheme::Ed25519, 32, "m/4"),
        (Scheme::Taproot, 1, "m"),
        (Scheme::Taproot, 1, "m/4"),
    ] {
        let key = key_2_of_3(scheme);
        let input = input(&[6; 32], path);
        let mut all = partials(&key, &input);
        let bytes = all.get_mut(&party(2)).unwrap();
        let at = bytes.len() - lowest;
        bytes[at] ^= 1;
        let fault = combine(&all, &key.record, &key.signers(&[1, 2]), &input).unwrap_err();
        assert_eq!(fault, Fault::Malicious { culprit: party(2), round: 2, what: Cheat::Partial }, "{scheme} {path}");
        assert_eq!(fault.bans(), Some(party(2)));
    }
}

#[test]
fn a_bad_ecdsa_partial_blames_nobody_and_gives_no_signature() {
    let key = key_2_of_3(Scheme::EcdsaSecp256k1);
    let input = input(&[4; 32], "m/3");
    let mut all = partials(&key, &input);
    *all.get_mut(&party(2)).unwrap().last_mut().unwrap() ^= 1;
    let fault = combine(&all, &key.record, &key.signers(&[1, 2]), &input).unwrap_err();
    assert_eq!(fault, Fault::Mismatch { round: 3, what: Disagreement::Signature });
    assert_eq!(fault.bans(), None);
}

#[test]
fn s_3_18_partials_for_another_input_are_told_from_bad_ones() {
    for (scheme, round) in [(Scheme::EcdsaSecp256k1, 3), (Scheme::Ed25519, 2), (Scheme::Taproot, 2)] {
        let key = key_2_of_3(scheme);
        let (one, two) = (input(&[1; 32], "m"), input(&[2; 32], "m"));
        let signers = key.signers(&[1, 2]);
        let all = partials(&key, &one);
        let mismatch = Err(Fault::Mismatch { round, what: Disagreement::Input });
        assert_eq!(combine(&all, &key.record, &signers, &two), mismatch);
        let entropy = SignInput { entropy: Digest([1; 32]), ..one.clone() };
        assert_eq!(combine(&all, &key.record, &signers, &entropy), mismatch);
        assert_eq!(combine(&all, &key.record, &signers, &input(&[1; 32], "m/0")), mismatch);
        // Partials of two sessions do not mix.
        let mut mixed = key.sign(&[1, 2], &one, 77).1;
        mixed.insert(party(1), all[&party(1)].clone());
        assert_eq!(combine(&mixed, &key.record, &signers, &one), mismatch);
    }
}

#[test]
fn combining_takes_exactly_the_signers_and_only_readable_partials() {
    let key = key_2_of_3(Scheme::Ed25519);
    let input = input(b"m", "m");
    let signers = key.signers(&[1, 2]);
    let all = partials(&key, &input);
    let not_all = Err(Fault::Caller { what: Misuse::NotAllOfS });
    let only = BTreeMap::from([(party(1), all[&party(1)].clone())]);
    assert_eq!(combine(&only, &key.record, &signers, &input), not_all);
    let mut more = all.clone();
    more.insert(party(3), all[&party(1)].clone());
    assert_eq!(combine(&more, &key.record, &signers, &input), not_all);

    let (mut combiner, _) = {
        let mine = key.presignatures(&signers, 9).remove(&party(1)).unwrap();
        partial(mine, &key.shares[&party(1)], &key.record.chain_code, &input).unwrap()
    };
    let violation = |what| Err(Fault::Violation { culprit: party(2), round: 2, what });
    let good = &all[&party(2)];
    assert_eq!(combiner.add(party(3), good), Err(Fault::Caller { what: Misuse::NotAMember(party(3)) }));
    assert_eq!(combiner.add(party(2), &[good, &[0][..]].concat()), violation(BadMessage::Malformed));
    assert_eq!(combiner.add(party(2), &good[1..]), violation(BadMessage::Version));
    assert_eq!(combiner.add(party(2), &[0; 5000]), violation(BadMessage::Oversized));
    let own = combiner.add(party(1), &all[&party(1)]);
    assert_eq!(own, Err(Fault::Violation { culprit: party(1), round: 2, what: BadMessage::Duplicate }));
    // Refused ones leave the combiner as it was.
    assert!(combiner.add(party(2), good).unwrap().is_some());
}

#[test]
fn calls_that_do_not_fit_the_key_are_refused() {
    let ecdsa = key_2_of_3(Scheme::EcdsaSecp256k1);
    let ed = key_2_of_3(Scheme::Ed25519);
    let misuse = |what| Some(Fault::Caller { what });
    let presignature = |key: &Key| key.presignatures(&key.signers(&[1, 2]), 1).remove(&party(1)).unwrap();
    let share = |key: &Key, input: &SignInput, i| {
        partial(presignature(key), &key.shares[&party(i)], &key.record.chain_code, input).err()
    };
    assert_eq!(share(&ecdsa, &input(b"short", "m"), 1), misuse(Misuse::DigestLength));
    assert_eq!(share(&ecdsa, &input(&[1; 32], "m"), 2), misuse(Misuse::OtherKey));
    let scripts = SignInput { merkle_root: Some(Digest([1; 32])), ..input(&[1; 32], "m") };
    for key in [&ecdsa, &ed] {
        assert_eq!(share(key, &scripts, 1), misuse(Misuse::Scripts));
    }
    let taproot = key_2_of_3(Scheme::Taproot);
    assert_eq!(share(&taproot, &input(b"short", "m"), 1), misuse(Misuse::DigestLength));
    let other = partial(presignature(&ed), &ecdsa.shares[&party(1)], &ed.record.chain_code, &input(b"m", "m")).err();
    assert_eq!(other, misuse(Misuse::OtherKey));
}

#[test]
fn s_3_13_verification_is_strict() {
    let key = key_2_of_3(Scheme::EcdsaSecp256k1);
    let input = input(&[6; 32], "m");
    let (signature, _) = key.sign(&[1, 3], &input, 2);
    let Signature::Ecdsa { r, s, recovery_id } = signature else { panic!("not ECDSA") };
    let check = |signature, message: &[u8]| verify(Scheme::EcdsaSecp256k1, &key.record.public_key, message, &signature);
    assert!(check(signature, &[6; 32]));
    assert!(!check(signature, &[7; 32]));
    assert!(!check(signature, &[6; 31]));
    assert!(!check(Signature::Ecdsa { r, s, recovery_id: recovery_id ^ 1 }, &[6; 32]));
    assert!(!check(Signature::Ecdsa { r, s, recovery_id: 4 }, &[6; 32]));
    assert!(!check(Signature::Ecdsa { r, s: [0; 32], recovery_id }, &[6; 32]));
    assert!(!check(Signature::Ed25519([1; 64]), &[6; 32]));
    // The mirror image with high s is valid mathematics and not accepted.
    let low = secp256k1::SecretKey::from_byte_array(s).unwrap();
    let high = low.negate().secret_bytes();
    assert!(!check(Signature::Ecdsa { r, s: high, recovery_id: recovery_id ^ 1 }, &[6; 32]));
}
