//! What is secret, and the search for it: as bytes, and in all ways in which programs write bytes.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use std::collections::HashSet;

/// Bytes that are looked for together: what is shorter is found by chance.
pub const WINDOW: usize = 24;

/// A window with as many public bytes together is not looked for: what is public stands in many places, beside other bytes
/// than in a share, and one or two of those agree by chance.
const PUBLIC: usize = 12;

/// A window with fewer different bytes is padding or a length, not a secret.
const DIFFERENT_MIN: usize = 14;

/// How much of a place is taken to show that the search works there.
const SAMPLE_BYTES: usize = 4 * 1024;

/// Everything secret, as windows; what is public and stands beside it; and what is too short for windows, as it is written.
pub struct Secrets {
    windows: HashSet<Vec<u8>>,
    /// Whether a window begins with these two bytes: most places of most files need no more than this look.
    firsts: Vec<bool>,
    public: HashSet<Vec<u8>>,
    texts: Vec<(&'static str, Vec<Vec<u8>>)>,
    /// As `firsts`, for texts.
    text_firsts: Vec<bool>,
    /// One of the secrets, for showing that it would be found.
    sample: Vec<u8>,
}

fn first(window: &[u8]) -> usize {
    usize::from(window[0]) << 8 | usize::from(window[1])
}

impl Default for Secrets {
    fn default() -> Self {
        let (windows, public, none) = (HashSet::new(), HashSet::new(), vec![false; 1 << 16]);
        Self { windows, firsts: none.clone(), public, texts: Vec::new(), text_firsts: none, sample: Vec::new() }
    }
}

impl Secrets {
    /// At least a window of bytes that nobody guesses.
    pub fn plant(&mut self, bytes: &[u8]) {
        let random = |w: &&[u8]| w.iter().collect::<HashSet<_>>().len() >= DIFFERENT_MIN;
        let mut windows = bytes.windows(WINDOW).filter(random).peekable();
        assert!(windows.peek().is_some(), "this is no secret: {bytes:?}");
        for window in windows {
            self.firsts[first(window)] = true;
            self.windows.insert(window.to_vec());
        }
        if self.sample.is_empty() {
            self.sample = bytes.to_vec();
        }
    }

    /// A number: libraries write it from either end.
    pub fn plant_number(&mut self, bytes: &[u8]) {
        self.plant(bytes);
        self.plant(&bytes.iter().rev().copied().collect::<Vec<_>>());
    }

    /// A word, which is looked for as a whole.
    pub fn plant_text(&mut self, name: &'static str, text: &str) {
        let mut forms = written(text.as_bytes());
        // Within more base64 its ends are written with what stands beside them.
        for skip in 1..3 {
            let padded = [&vec![0; skip], text.as_bytes()].concat();
            let inner = STANDARD_NO_PAD.encode(padded);
            forms.push(inner.as_bytes()[4..inner.len() - 2].to_vec());
        }
        forms.iter().for_each(|form| self.text_firsts[first(form)] = true);
        self.texts.push((name, forms));
    }

    pub fn publish(&mut self, bytes: &[u8]) {
        self.public.extend(bytes.windows(PUBLIC).map(<[u8]>::to_vec));
    }

    /// Whether a secret is in the bytes as it is.
    pub fn holds(&self, bytes: &[u8]) -> bool {
        let is_public = |w: &[u8]| w.windows(PUBLIC).any(|piece| self.public.contains(piece));
        bytes.windows(WINDOW).any(|w| self.firsts[first(w)] && self.windows.contains(w) && !is_public(w))
    }

    fn text_in(&self, place: &[u8]) -> Option<&'static str> {
        let likely = place.windows(2).enumerate().filter(|(_, two)| self.text_firsts[first(two)]);
        let begins = |at: usize| {
            let here = |(_, forms): &&(_, Vec<Vec<u8>>)| forms.iter().any(|form| place[at..].starts_with(form));
            self.texts.iter().find(here).map(|(name, _)| *name)
        };
        likely.map(|(at, _)| at).find_map(begins)
    }

    /// Which secret is in `place`, as it is or written in letters.
    pub fn found_in(&self, place: &[u8]) -> Option<&'static str> {
        if let Some(name) = self.text_in(place) {
            return Some(name);
        }
        let hex = runs(place, WINDOW * 2, |b| b.is_ascii_hexdigit());
        let hex = hex.flat_map(|run| [run, &run[1..]]).filter_map(|run| hex::decode(&run[..run.len() / 2 * 2]).ok());
        let base64 = |engine: &'static base64::engine::GeneralPurpose, more: [u8; 2]| {
            let runs = runs(place, WINDOW * 4 / 3, move |b| b.is_ascii_alphanumeric() || more.contains(&b));
            let runs = runs.flat_map(|run| (0..4).map(move |skip| &run[skip..]));
            runs.filter_map(|run| engine.decode(&run[..run.len() / 4 * 4]).ok())
        };
        let letters = hex.chain(base64(&STANDARD_NO_PAD, *b"+/")).chain(base64(&URL_SAFE_NO_PAD, *b"-_"));
        let found = self.holds(place)
            || letters.chain(numbers(place)).any(|bytes| self.holds(&bytes))
            || self.holds(&unescaped(place));
        found.then_some("a secret")
    }

    /// That the search would find what is looked for in this very place, however it was written into the middle of it.
    pub fn would_be_found_in(&self, what: &str, place: &[u8]) {
        let middle = place.len() / 2;
        let half = SAMPLE_BYTES / 2;
        let (before, behind) =
            (&place[middle.saturating_sub(half)..middle], &place[middle..place.len().min(middle + half)]);
        for form in written(&self.sample) {
            let planted = [before, b" ", form.as_slice(), b" ", behind].concat();
            assert!(self.found_in(&planted).is_some(), "a secret in {what} would not be found");
        }
        for (name, forms) in &self.texts {
            let planted = |form: &Vec<u8>| [before, form.as_slice(), behind].concat();
            assert!(
                forms.iter().all(|form| self.text_in(&planted(form)) == Some(name)),
                "{name} in {what} is not found"
            );
        }
    }

    /// One of the secrets.
    pub fn sample(&self) -> &[u8] {
        &self.sample
    }
}

/// Bytes as programs write them: as they are, in hex of either case, in base64 of either alphabet, as lists of numbers (Rust's
/// `Debug` and JSON), and escaped.
pub fn written(bytes: &[u8]) -> Vec<Vec<u8>> {
    let json = bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(",");
    vec![
        bytes.to_vec(),
        hex::encode(bytes).into(),
        hex::encode_upper(bytes).into(),
        STANDARD_NO_PAD.encode(bytes).into(),
        URL_SAFE_NO_PAD.encode(bytes).into(),
        format!("{bytes:?}").into(),
        format!("{bytes:#?}").into(),
        format!("[{json}]").into(),
        bytes.escape_ascii().to_string().into(),
    ]
}

/// The longest pieces that are made of such bytes.
fn runs(bytes: &[u8], min: usize, of: impl Fn(u8) -> bool + 'static) -> impl Iterator<Item = &[u8]> {
    bytes.split(move |b| !of(*b)).filter(move |run| run.len() > min)
}

/// Lists of numbers that are bytes.
fn numbers(place: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let lists = runs(place, WINDOW * 2, |b| b.is_ascii_digit() || b", \n".contains(&b));
    lists.map(|list| {
        let words = list.split(|b| !b.is_ascii_digit()).filter(|word| !word.is_empty());
        words.filter_map(|word| std::str::from_utf8(word).ok()?.parse().ok()).collect()
    })
}

fn unescaped(place: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::with_capacity(place.len()), place);
    while let Some((byte, behind)) = rest.split_first() {
        let (byte, behind) = match (byte, behind) {
            (b'\\', [b'x', high, low, behind @ ..]) => match hex::decode([*high, *low]).as_deref() {
                Ok([byte]) => (*byte, behind),
                _ => (b'\\', &rest[1..]),
            },
            (b'\\', [letter, behind @ ..]) => match letter {
                b'n' => (b'\n', behind),
                b'r' => (b'\r', behind),
                b't' => (b'\t', behind),
                b'0' => (0, behind),
                other => (*other, behind),
            },
            _ => (*byte, behind),
        };
        out.push(byte);
        rest = behind;
    }
    out
}

#[test]
fn a_secret_is_found_in_whichever_way_it_is_written_and_nothing_else_is() {
    let secret: Vec<u8> = (0..40_u8).map(|i| i.wrapping_mul(89) ^ 0x5c).collect();
    let other: Vec<u8> = (0..40_u8).map(|i| i.wrapping_mul(61) ^ 0xa3).collect();
    let mut secrets = Secrets::default();
    secrets.plant(&secret);
    secrets.plant_text("the word", "tally-throw-away");
    for form in written(&secret) {
        assert_eq!(secrets.found_in(&[b"before ", form.as_slice(), b" behind"].concat()), Some("a secret"), "{form:?}");
        assert_eq!(secrets.found_in(&[b"f", form.as_slice()].concat()), Some("a secret"), "at an odd place: {form:?}");
    }
    assert!(written(&other).iter().chain(&written(b"tally-throw-awry")).all(|form| secrets.found_in(form).is_none()));
    for place in [&b"plain text of no interest, 1, 2, 3"[..], &other.repeat(3)] {
        secrets.would_be_found_in("a place", place);
        assert_eq!(secrets.found_in(place), None);
    }
    // What is public beside it does not count.
    secrets.publish(&secret);
    assert_eq!(secrets.found_in(&secret), None);
}
