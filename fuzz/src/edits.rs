//! Changes of messages on their way, as bytes say: for what answers randomness of the same run, which no recorded bytes do.

/// Which message, what kind of change, where (two bytes), with what.
const EDIT_BYTES: usize = 5;

/// Most changes of one run: more of them only refuse it earlier.
const EDITS_MAX: usize = 6;

/// Bytes of a scalar, and of the larger part of a point.
const FIELD_BYTES: usize = 32;

/// What a field is replaced by: values at the ends of what scalars and points can be.
const ENDS: [&str; 8] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    // The order of secp256k1, and one less; its prime.
    "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",
    "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364140",
    "fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f",
    // The order of Ed25519's subgroup, its neutral element, and a point of order 8 (RFC 8032, 5.1; little-endian).
    "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
];

/// Changes, read from the bytes of an input.
pub struct Edits<'a>(pub &'a [u8]);

impl Edits<'_> {
    /// The message that is sent after those before it, as it arrives.
    pub fn of(&self, before: &[Vec<u8>], sent: &[u8]) -> Vec<u8> {
        let mut bytes = sent.to_vec();
        for edit in self.0.chunks_exact(EDIT_BYTES).take(EDITS_MAX) {
            if usize::from(edit[0]) == before.len() && !bytes.is_empty() {
                let at = usize::from(u16::from_be_bytes([edit[2], edit[3]])) % bytes.len();
                change(&mut bytes, edit[1], at, edit[4], before);
            }
        }
        bytes
    }
}

fn change(bytes: &mut Vec<u8>, kind: u8, at: usize, value: u8, before: &[Vec<u8>]) {
    let end = (at + FIELD_BYTES).min(bytes.len());
    let earlier = before.get(usize::from(value) % before.len().max(1));
    match kind % 9 {
        0 => bytes[at] ^= value,
        1 => bytes[at] = value,
        2 => bytes.truncate(at),
        3 => bytes.insert(at, value),
        4 => drop(bytes.remove(at)),
        5 => {
            let field = hex::decode(ENDS[usize::from(value) % ENDS.len()]).unwrap();
            bytes[at..end].copy_from_slice(&field[..end - at]);
        }
        6 => {
            if let Some(field) = earlier.and_then(|earlier| earlier.get(at..end)) {
                bytes[at..end].copy_from_slice(field);
            }
        }
        7 => {
            if let Some(earlier) = earlier {
                bytes.clone_from(earlier);
            }
        }
        _ => bytes.extend_from_within(at..),
    }
}
