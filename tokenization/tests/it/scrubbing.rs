//! The scrubber finds card numbers however they are cut, and leaves what only looks like one.

use crate::helpers::{acme, pan, rng, with_check_digit};
use proptest::prelude::*;
use tally_tokenization::Format;
use tally_tokenization::scrub::{Scrubber, scrub};

fn scrubbed(text: &str) -> String {
    String::from_utf8(scrub(text.as_bytes()).0).unwrap()
}

#[test]
fn card_numbers_are_taken_out_of_what_surrounds_them() {
    for (line, expected) in [
        (r#"{"pan":"4111111111111111"}"#, r#"{"pan":"[PAN]"}"#),
        ("pan=4111-1111-1111-1111;x", "pan=[PAN];x"),
        ("4111 1111 1111 1111 12/29 123", "[PAN] 12/29 123"),
        ("3782 822463 10005\n", "[PAN]\n"),
        ("a 5555555555554444 b 6205500000000000004", "a [PAN] b [PAN]"),
        (";4111111111111111=29121010000", ";[PAN]=29121010000"),
        ("id 12 4111111111111111", "id 12 [PAN]"),
        ("_4111111111111111_", "_[PAN]_"),
        ("3056 930902 5904", "[PAN]"),
    ] {
        assert_eq!(scrubbed(line), expected);
    }
    assert_eq!(scrub(b"4111111111111111, 4242424242424242").1, 2);
}

#[test]
fn what_only_looks_like_one_is_left() {
    for line in [
        "4111111111111112",                  // check digit
        "1795298460000 1795298460000000000", // times in milliseconds and nanoseconds
        "2026-11-21 22:01:00.123456789",     // a date
        "deadbeef4111111111111111",          // in a word
        "4111111111111111deadbeef",          // in a digest
        "0x4111111111111111",                // a number in base 16
        "41111111111111114111111111111111",  // too long
        "9999999999999995",                  // nobody's range
        "41 11 11 11 11 11 11 1",            // too short
        "",
    ] {
        assert_eq!(scrubbed(line), line);
    }
}

#[test]
fn published_numbers_are_found_with_and_without_separators() {
    for number in ["4111111111111111", "5555555555554444", "378282246310005", "6759560045005727054", "2201382000000013"]
    {
        let grouped: Vec<_> = number.as_bytes().chunks(4).map(|c| std::str::from_utf8(c).unwrap()).collect();
        for text in [number.to_owned(), grouped.join(" "), grouped.join("-")] {
            assert_eq!(scrubbed(&format!("<{text}>")), "<[PAN]>");
        }
    }
}

/// How often it fires on what we log. One digest in a hundred thousand would already be noise in an investigation.
#[test]
fn it_leaves_digests_ids_tokens_and_times_alone() {
    let (mut rng, mut fired) = (rng(9), [0_u64; 6]);
    const SAMPLES: u64 = 20_000;
    for _ in 0..SAMPLES {
        let digest: [u8; 32] = rng.random();
        let id: [u8; 16] = rng.random();
        let millis = 1_700_000_000_000 + rng.random_range(0..200_000_000_000_u64);
        let draw = |format: Format, rng: &mut _| format.draw(&acme(), &pan("4111111111111111"), rng).unwrap();
        let samples = [
            hex::encode(digest),
            hex::encode(id),
            draw(Format::Uuid, &mut rng).to_string(),
            draw(Format::Opaque, &mut rng).to_string(),
            draw(Format::Num19, &mut rng).to_string(),
            format!("at={millis} ns={}", millis * 1_000_000 + rng.random_range(0..1_000_000)),
        ];
        for (count, sample) in fired.iter_mut().zip(samples) {
            *count += scrub(sample.as_bytes()).1;
        }
    }
    println!("fired on digests, ids, UUIDs, opaque, num19, times: {fired:?} of {SAMPLES} each");
    assert!(fired.iter().all(|count| *count <= SAMPLES / 10_000), "{fired:?}");
}

proptest! {
    #[test]
    fn pieces_of_any_size_give_the_same(text in "[0-9a-f -]{0,80}(4111 1111 1111 1111|5555555555554444)?[0-9 \n-]{0,60}", cuts in prop::collection::vec(1_usize..7, 0..80)) {
        let (whole, masked) = scrub(text.as_bytes());
        let (mut scrubber, mut out, mut rest) = (Scrubber::new(), Vec::new(), text.as_bytes());
        for cut in cuts {
            let (piece, next) = rest.split_at(cut.min(rest.len()));
            scrubber.feed(piece, &mut out);
            rest = next;
        }
        scrubber.feed(rest, &mut out);
        prop_assert_eq!(scrubber.finish(&mut out), masked);
        prop_assert_eq!(out, whole);
    }

    #[test]
    fn what_is_no_card_number_comes_out_as_it_went_in(text in prop::collection::vec(any::<u8>(), 0..200)) {
        let (out, masked) = scrub(&text);
        if masked == 0 {
            prop_assert_eq!(out, text);
        }
    }

    #[test]
    fn a_card_number_between_marks_never_comes_out(stem in "(4|51|2221|37)[0-9]{10,14}", before in "[^0-9a-zA-Z -]{1,5}", after in "[^0-9a-zA-Z -]{1,5}") {
        let number = with_check_digit(&stem);
        prop_assume!(pan(&number).brand() != tally_domain::token::Brand::Unknown);
        let out = scrubbed(&format!("{before}{number}{after}"));
        prop_assert_eq!(out, format!("{before}[PAN]{after}"));
    }
}
