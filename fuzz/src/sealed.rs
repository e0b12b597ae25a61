//! What is sealed, taken apart: wrapped data as clients bring it back, and shares as they come out of the token's seal.

use crate::rounds;
use crate::target::Verdict;
use crate::world;
use tally_domain::ports::hsm::KekId;
use tally_domain::{Digest, EncryptionContext, KekNumber, SecretBytes, WrapLabel, WrappedKey};
use tally_mpc::KeyShare;

/// Reads wrapped data. What its label is bound to changes with every byte of the label.
pub fn wrapped_key(bytes: &[u8]) -> Verdict {
    let read = WrappedKey::from_bytes(bytes);
    if let Ok(wrapped) = &read {
        assert_eq!(wrapped.to_bytes(), bytes, "another encoding");
        let same = wrapped.label == label();
        assert_eq!(same, aad(&wrapped.label) == aad(&label()), "two labels, one binding");
    }
    Verdict::of(read, |wrapped| format!("sealed: {}", !wrapped.sealed.is_empty()))
}

fn aad(label: &WrapLabel) -> Digest {
    let context = EncryptionContext::from_pairs([("app".to_owned(), "a".to_owned())]).unwrap();
    label.aad(&world::cluster(), &world::tenant(), &context)
}

fn label() -> WrapLabel {
    WrapLabel { kek: world::key_name(), number: KekNumber(1), id: KekId([3; 16]), bytes: 32 }
}

pub fn wrapped_keys() -> Vec<Vec<u8>> {
    [60, 0].map(|sealed| WrappedKey { label: label(), sealed: vec![7; sealed] }.to_bytes()).into()
}

/// Reads a share. It holds together or is refused: a node would sign with it.
pub fn share(bytes: &[u8]) -> Verdict {
    let read = KeyShare::from_bytes(&SecretBytes::new(bytes.to_vec()));
    if let Ok(share) = &read {
        assert_eq!(share.to_bytes().unwrap().expose(), bytes, "another encoding");
    }
    Verdict::of(read, |_| bytes[1].to_string())
}

/// One share of each scheme.
pub fn shares() -> Vec<Vec<u8>> {
    rounds::keys().map(|key| key.share().to_bytes().unwrap().expose().to_vec()).collect()
}
