//! Threshold protocols to their end, with what the other party sends changed on its way: what is sent in later rounds answers
//! randomness of the same run.

use crate::edits::Edits;
use crate::rounds::{Key, Made, Run, SCHEMES, keys, me, other, run};
use crate::target::Verdict;
use secp256k1::{Message, XOnlyPublicKey, ecdsa, schnorr};
use tally_domain::dsse::VerifyingKey;
use tally_domain::{DerivationPath, Digest, PartyIndex, Scheme};
use tally_mpc::fault::Disagreement;
use tally_mpc::{Combiner, Fault, KeyShare, Presignature, SignInput, Signature, derive_output, partial};

/// The first byte says which protocol: making a key, preparing a signature, or preparing and making one. Behind it are changes.
/// The honest party blames nobody or the other one. What it makes holds together, and a signature verifies elsewhere.
pub fn round(bytes: &[u8]) -> Verdict {
    let Some((which, edits)) = bytes.split_first() else { return Verdict::said("nothing") };
    let (which, edits) = (usize::from(*which), Edits(edits));
    if which >= 3 * SCHEMES.len() {
        return Verdict::said("no protocol");
    }
    let signs = which >= 2 * SCHEMES.len();
    let offline = if signs { which - SCHEMES.len() } else { which };
    let mut run = match run(offline, |before, sent| edits.of(before, sent)) {
        Ok(run) => run,
        Err(fault) => return blamed(which, &fault),
    };
    match (run.made.remove(&me()), run.made.remove(&other())) {
        (None, _) => Verdict::Refused(format!("{} waits", name(which))),
        (Some(Made::Key(key)), theirs) => {
            let share = KeyShare::from_bytes(&key.share.to_bytes().unwrap()).unwrap();
            assert_eq!((share.party(), share.public_key()), (me(), key.public_key.as_slice()));
            // Whoever has the same transcript has the same key: that is what the record is signed for.
            if let Some(Made::Key(theirs)) = theirs {
                let same = theirs.transcript == key.transcript;
                let public =
                    |key: &tally_mpc::KeygenOutput| (key.public_key.clone(), key.public_shares.clone(), key.chain_code);
                assert!(!same || public(&key) == public(&theirs), "one transcript, two keys");
            }
            Verdict::Read(format!("{} made", name(which)))
        }
        (Some(Made::Presignature(mine)), Some(Made::Presignature(theirs))) if signs => {
            signed(which, *mine, *theirs, &run, &edits)
        }
        (Some(Made::Presignature(_)), _) => Verdict::Read(format!("{} prepared", name(which))),
    }
}

/// The honest party puts the partials together, if both prepared the same.
fn signed(which: usize, mine: Presignature, theirs: Presignature, run: &Run, edits: &Edits<'_>) -> Verdict {
    if mine.binding() != theirs.binding() {
        return Verdict::Refused(format!("{} prepared apart", name(which)));
    }
    let key = keys().find(|key| key.scheme == SCHEMES[which % SCHEMES.len()]).unwrap();
    let (mut combiner, _) = half(key, me(), mine);
    let (_, sent) = half(key, other(), theirs);
    let arrived = edits.of(&run.sent, &sent);
    match combiner.add(other(), &arrived) {
        Ok(Some(signature)) => {
            verified(key, &signature);
            Verdict::Read(format!("{} signed", name(which)))
        }
        Ok(None) => panic!("two of two have signed, and there is no signature"),
        Err(fault) => {
            assert_ne!(arrived, sent, "both prepared the same, and nothing was changed since: {fault:?}");
            // Of DKLs23 nobody can say whose partial is wrong, nor of another input.
            let unnamed = matches!(fault, Fault::Mismatch { what: Disagreement::Signature | Disagreement::Input, .. });
            assert!(unnamed || fault.culprit() == Some(other()), "{fault:?}");
            blamed(which, &fault)
        }
    }
}

fn half(key: &Key, at: PartyIndex, presignature: Presignature) -> (Combiner, Vec<u8>) {
    partial(presignature, &key.share_of(at), &key.chain_code, &input()).unwrap()
}

fn input() -> SignInput {
    let path = DerivationPath::parse("m/0/7").unwrap();
    SignInput { message: vec![9; 32], path, merkle_root: None, entropy: Digest([8; 32]) }
}

/// By libraries that the protocols do not use, and by ed25519-dalek.
fn verified(key: &Key, signature: &Signature) {
    let (share, input) = (key.share(), input());
    let child = derive_output(key.scheme, share.public_key(), &key.chain_code, &input.path, None).unwrap().public_key;
    let (bytes, digest) = (signature.to_bytes(), <[u8; 32]>::try_from(input.message).unwrap());
    let holds = match key.scheme {
        Scheme::Ed25519 => VerifyingKey::ed25519(&child).unwrap().verify(&digest, &bytes).is_ok(),
        Scheme::EcdsaSecp256k1 => {
            let signature = ecdsa::Signature::from_compact(&bytes).unwrap();
            let mut low = signature;
            low.normalize_s();
            assert_eq!(low, signature, "a high s");
            let public = secp256k1::PublicKey::from_slice(&child).unwrap();
            signature.verify(Message::from_digest(digest), &public).is_ok()
        }
        Scheme::Taproot => {
            let public = XOnlyPublicKey::from_byte_array(child.try_into().unwrap()).unwrap();
            schnorr::Signature::from_byte_array(bytes).verify(&digest, &public).is_ok()
        }
    };
    assert!(holds, "a signature that does not verify");
}

fn blamed(which: usize, fault: &Fault) -> Verdict {
    assert!(!matches!(fault, Fault::Bug { .. } | Fault::Caller { .. }), "{fault:?}");
    assert!(fault.culprit().is_none_or(|culprit| culprit == other()), "{fault:?}");
    Verdict::refused(&format_args!("{} {fault:?}", name(which)))
}

/// Without digits, which words leave out.
fn name(which: usize) -> &'static str {
    const NAMES: [&str; 9] = [
        "Ed key",
        "Taproot key",
        "ECDSA key",
        "Ed nonce",
        "Taproot nonce",
        "ECDSA nonce",
        "Ed sign",
        "Taproot sign",
        "ECDSA sign",
    ];
    NAMES[which]
}

/// Each protocol without a change; and with one that changes nothing, so that there are places to change.
pub fn runs() -> Vec<Vec<u8>> {
    let idle = |message: u8| [message, 0, 0, 40 * message, 0];
    (0..9).flat_map(|which| [vec![which], [vec![which], (0..5).flat_map(idle).collect()].concat()]).collect()
}
