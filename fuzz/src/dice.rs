//! Changes of the kinds that readers trip over, drawn from a seed.

/// SplitMix64 (Steele, Lea, Flood 2014): small, seeded, and no two seeds alike.
pub struct Dice(pub u64);

/// No change makes more than this: above it every reader stops at once.
const LENGTH_MAX: usize = 256 * 1024;

/// Bytes at which encodings turn: ends of ranges in RLP, varints, UTF-8, and what text is quoted and nested with.
const TURNS: [u8; 20] =
    [0, 1, 7, 8, 0x0a, 0x20, 0x22, 0x2d, 0x30, 0x5b, 0x7b, 0x7f, 0x80, 0xb7, 0xb8, 0xc0, 0xe2, 0xf7, 0xf8, 0xff];

/// Most copies of a piece at once: nesting and lists that grow.
const COPIES_MAX: usize = 200;

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `n`, and 0 if that is 0.
    pub fn below(&mut self, n: usize) -> usize {
        (self.roll() % n.max(1) as u64) as usize
    }

    /// A few changes.
    pub fn change(&mut self, bytes: &mut Vec<u8>, other: &[u8], words: &[&str]) {
        for _ in 0..=self.below(3) {
            self.one_change(bytes, other, words);
        }
        bytes.truncate(LENGTH_MAX);
    }

    fn one_change(&mut self, bytes: &mut Vec<u8>, other: &[u8], words: &[&str]) {
        let at = self.below(bytes.len());
        let most = [4, 40, 400][self.below(3)];
        let length = 1 + self.below(most);
        let end = (at + length).min(bytes.len());
        match self.below(12) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
            1 if !bytes.is_empty() => bytes[at] = TURNS[self.below(TURNS.len())],
            2 if !bytes.is_empty() => bytes[at] = bytes[at].wrapping_add([1, 0xff][self.below(2)]),
            3 => drop(bytes.drain(at..end)),
            4 => bytes.extend_from_within(at..end),
            5 => bytes.truncate(at),
            6 => {
                let from = self.below(other.len());
                let piece = other[from..(from + length).min(other.len())].to_vec();
                drop(bytes.splice(at..end, piece));
            }
            7 => {
                let piece = bytes[at..end].repeat(1 + self.below(COPIES_MAX));
                drop(bytes.splice(at..at, piece));
            }
            8 | 9 if !words.is_empty() => {
                let word = words[self.below(words.len())];
                let end = if self.below(2) == 0 { at } else { end };
                drop(bytes.splice(at..end, word.bytes()));
            }
            10 if !bytes.is_empty() => {
                let to = self.below(bytes.len());
                let piece: Vec<u8> = bytes.drain(at..end).collect();
                let to = to.min(bytes.len());
                drop(bytes.splice(to..to, piece));
            }
            _ => {
                let byte = self.roll() as u8;
                bytes.insert(at, byte);
            }
        }
    }
}
