//! Card numbers: those that networks and processors publish for testing, and what is none.

use crate::helpers::{pan, with_check_digit};
use proptest::prelude::*;
use tally_domain::token::Brand;
use tally_tokenization::Pan;
use tally_tokenization::pan::{BadPan, Form, Shown};

/// Test numbers as published (read 2026-11-21): Stripe, Braintree (with its UnionPay page), Cybersource, Mastercard Gateway,
/// Cashfree and PayU (RuPay), T-Bank, Payture and Tochka (Mir). The brand is what the publisher calls it.
const PUBLISHED: &[(Brand, &[&str])] = &[
    (Brand::Visa, &["4111111111111111", "4242424242424242", "4012888888881881", "4222222222222", "4000056655665556"]),
    (Brand::Visa, &["4005519200000004", "4009348888881881", "4217651111111119", "4508750015741019", "4007000000027"]),
    (Brand::Mastercard, &["5555555555554444", "5105105105105100", "5200828282828210", "2223003122003222"]),
    (Brand::Mastercard, &["2223000048400011", "2222420000001113", "2222630000001125", "5123450000000008"]),
    (Brand::Amex, &["378282246310005", "371449635398431", "371881634498004", "370000000000002"]),
    (Brand::Discover, &["6011111111111117", "6011000990139424", "6011981111111113", "6011003179988686"]),
    (Brand::Diners, &["30569309025904", "38520000023237", "36227206271667", "3056930009020004", "36259600000004"]),
    (Brand::Jcb, &["3566002020360505", "3530111333300000", "3528000000000007", "3528111100000001"]),
    (Brand::UnionPay, &["6200000000000005", "6200000000000047", "6205500000000000004", "6212345678901265"]),
    (Brand::UnionPay, &["62123456789002", "621234567890003", "62123456789000003", "621234567890000002"]),
    (Brand::UnionPay, &["6212345678900000003", "6221261111117766", "8100010000000142", "8100010000000688"]),
    (Brand::Maestro, &["6304000000000000", "50339619890917", "586824160825533338", "6759411100000008"]),
    (Brand::Maestro, &["6759560045005727054", "5641821111166669", "5000000000000000005", "6390028880000000010"]),
    (Brand::Mir, &["2201382000000013", "2201382000000021", "2202208311110010", "2200000000000053", "2200111753579001"]),
    (Brand::RuPay, &["6074825972083818", "6074828163369590", "6082015309577308"]),
    (Brand::Uatp, &["135412345678911"]),
];

fn refused(input: &[u8]) -> BadPan {
    Pan::parse(input).err().unwrap_or_else(|| panic!("{:?} was taken", String::from_utf8_lossy(input)))
}

fn shown(text: &str, form: Form) -> String {
    match pan(text).show(form) {
        Shown::Full(full) => String::from_utf8(full.expose().to_vec()).unwrap(),
        Shown::Part(part) => part,
    }
}

#[test]
fn published_test_numbers_are_read_and_their_brands_known() {
    for (brand, numbers) in PUBLISHED {
        for number in *numbers {
            assert_eq!(pan(number).brand(), *brand, "{number}");
        }
    }
}

#[test]
fn published_test_numbers_with_another_check_digit_are_refused() {
    for number in PUBLISHED.iter().flat_map(|(_, numbers)| *numbers) {
        let (stem, check) = number.split_at(number.len() - 1);
        for wrong in (0..10).map(|d| d.to_string()).filter(|d| d != check) {
            assert_eq!(refused(format!("{stem}{wrong}").as_bytes()), BadPan::Luhn, "{number}");
        }
    }
}

#[test]
fn the_borders_of_the_two_series_of_mastercard_are_kept() {
    let brand = |stem: &str| pan(&with_check_digit(&format!("{stem:0<15}"))).brand();
    assert_eq!(
        [brand("222099"), brand("222100"), brand("272099"), brand("272100")].map(|b| b == Brand::Mastercard),
        [false, true, true, false]
    );
    assert_eq!(
        [brand("509999"), brand("510000"), brand("559999"), brand("560000")].map(|b| b == Brand::Mastercard),
        [false, true, true, false]
    );
}

#[test]
fn a_length_that_a_brand_does_not_issue_has_no_brand() {
    assert_eq!(pan(&with_check_digit("51051051051051000")).brand(), Brand::Unknown);
    assert_eq!(pan(&with_check_digit("3782822463100050")).brand(), Brand::Unknown);
    assert_eq!(pan("9999999999999995").brand(), Brand::Unknown);
}

#[test]
fn spaces_and_dashes_are_left_out_and_nothing_else_is() {
    for written in ["4111 1111 1111 1111", "4111-1111-1111-1111", " 4111111111111111 ", "4111 1111-11111111"] {
        assert_eq!(shown(written, Form::Full), "4111111111111111");
    }
    for odd in [
        &b"4111.1111.1111.1111"[..],
        b"4111_1111_1111_1111",
        b"4111111111111111\n",
        b"\t4111111111111111",
        b"O111111111111111",
        "４１１１１１１１１１１１１１１１".as_bytes(),
        b"4111111111111111\0",
        b"+4111111111111111",
    ] {
        assert_eq!(refused(odd), BadPan::Character);
    }
}

#[test]
fn too_few_and_too_many_digits_are_refused() {
    assert_eq!(refused(b""), BadPan::Length);
    assert_eq!(refused(b"41111111111"), BadPan::Length);
    assert_eq!(refused(b"41111111111111111111"), BadPan::Length);
    assert_eq!(refused(&[b' '; 40]), BadPan::Length);
    assert_eq!(refused(format!("4111111111111111{}", " ".repeat(24)).as_bytes()), BadPan::Length);
}

#[test]
fn a_number_that_no_issuer_can_have_is_refused_though_its_check_digit_is_right() {
    for number in ["0000000000000000", "000000000000", "0111111111111110", "0000-0000-0000-0000"] {
        assert_eq!(refused(number.as_bytes()), BadPan::Issuer, "{number}");
    }
}

#[test]
fn a_refusal_repeats_nothing_of_what_was_given() {
    for bad in [BadPan::Character, BadPan::Length, BadPan::Issuer, BadPan::Luhn] {
        let digits: Vec<_> = format!("{bad} {bad:?}").split(|c: char| !c.is_ascii_digit()).map(str::len).collect();
        assert!(digits.iter().all(|run| *run <= 2), "{bad}");
    }
}

#[test]
fn what_is_shown_leaves_at_least_four_digits_hidden() {
    assert_eq!(shown("4111111111111111", Form::Masked), "************1111");
    assert_eq!(shown("4111111111111111", Form::BinLast4), "41111111****1111");
    assert_eq!(shown("378282246310005", Form::BinLast4), "378282*****0005");
    assert_eq!(shown("6205500000000000004", Form::BinLast4), "62055000*******0004");
    for length in 12..=19 {
        let text = with_check_digit(&"5".repeat(length - 1));
        let part = shown(&text, Form::BinLast4);
        assert_eq!(part.len(), length);
        assert!(part.matches('*').count() >= 4, "{part}");
        let (bin, last4) = (pan(&text).bin().unwrap(), pan(&text).last4().unwrap());
        assert!(part.starts_with(bin.as_str()) && part.ends_with(last4.as_str()));
    }
}

#[test]
fn forms_have_words() {
    for form in [Form::Full, Form::Masked, Form::BinLast4] {
        assert_eq!(Form::parse(form.as_str()), Some(form));
    }
    assert_eq!(Form::parse("FULL"), None);
}

proptest! {
    #[test]
    fn whatever_comes_in_is_read_or_refused(input in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(pan) = Pan::parse(&input) {
            let digits: Vec<u8> = input.iter().copied().filter(u8::is_ascii_digit).collect();
            prop_assert_eq!(pan.expose(), digits.as_slice());
        }
    }

    #[test]
    fn every_number_with_its_check_digit_is_read(stem in "[1-9][0-9]{10,17}") {
        let text = with_check_digit(&stem);
        let pan = pan(&text);
        prop_assert_eq!(pan.expose(), text.as_bytes());
        prop_assert_eq!(usize::from(pan.digits()), text.len());
    }
}
