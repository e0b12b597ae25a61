//! Token domains: their bytes are canonical, and what cannot be is refused with a reason.

use crate::helpers::acme;
use std::num::NonZeroU32;
use tally_domain::intent::BadIntent;
use tally_domain::token::{Brand, Reuse};
use tally_domain::{NodeName, UnixMillis};
use tally_tokenization::spec::{BadSpec, Keeping, LIFE_MAX_S, LIFE_MIN_S, Mode, USES_MAX};
use tally_tokenization::{DomainSpec, Format};

fn spec() -> DomainSpec {
    DomainSpec {
        domain: acme(),
        home: NodeName::parse("node-1").unwrap(),
        format: Format::Opaque,
        reuse: Reuse::Random,
        keeping: Keeping::Reversible { mode: Mode::Hybrid, uses: NonZeroU32::new(3) },
        life_s: NonZeroU32::new(86_400),
        brands: [Brand::Visa, Brand::Mastercard].into(),
    }
}

fn refused(spec: DomainSpec) -> BadSpec {
    spec.check().unwrap_err()
}

#[test]
fn bytes_read_back() {
    let bare = DomainSpec { life_s: None, brands: [].into(), ..spec() };
    let strict = DomainSpec { keeping: Keeping::Reversible { mode: Mode::Strict, uses: None }, ..spec() };
    let one_way = DomainSpec { keeping: Keeping::OneWay, reuse: Reuse::PerSubject, ..spec() };
    for spec in [spec(), bare, strict, one_way] {
        assert_eq!(DomainSpec::from_bytes(&spec.to_bytes()).unwrap(), spec);
    }
}

/// Frozen: domains that were made must go on being read.
#[test]
fn a_domain_that_was_made_stays_readable() {
    assert_eq!(
        hex::encode(spec().to_bytes()),
        "0a0461636d65120563617264731a066e6f64652d3120012801300238034080a3054a020102"
    );
}

#[test]
fn every_other_encoding_is_refused() {
    let good = spec().to_bytes();
    let not_canonical = |bytes: &[u8]| {
        let error = DomainSpec::from_bytes(bytes).unwrap_err();
        assert!(matches!(error, BadSpec::Encoding(_)), "{error}");
    };
    not_canonical(&[]);
    not_canonical(&[good.as_slice(), &[0x98, 0x06, 0x01]].concat());
    for cut in 1..good.len() {
        if let Ok(other) = DomainSpec::from_bytes(&good[..cut]) {
            assert_eq!(other.to_bytes(), good[..cut]);
        }
    }
    for (at, bit) in (0..good.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        let mut bad = good.clone();
        bad[at] ^= 1 << bit;
        if let Ok(other) = DomainSpec::from_bytes(&bad) {
            assert_eq!(other.to_bytes(), bad);
            assert_ne!(other, spec());
        }
    }
    // Brands out of order, and twice: the last two bytes are the packed list.
    let mut swapped = good.clone();
    let end = swapped.len();
    swapped[end - 2..].reverse();
    assert_eq!(DomainSpec::from_bytes(&swapped), Err(BadSpec::Encoding(BadIntent::Field { field: "brands" })));
    swapped[end - 1] = swapped[end - 2];
    assert_eq!(DomainSpec::from_bytes(&swapped), Err(BadSpec::Encoding(BadIntent::Field { field: "brands" })));
}

#[test]
fn a_format_too_small_for_a_demanded_brand_is_refused_with_the_arithmetic() {
    let of = |format, brands: &[Brand]| DomainSpec { format, brands: brands.iter().copied().collect(), ..spec() };
    let said = refused(of(Format::Bin6Last4LuhnInvalid, &[Brand::Visa, Brand::Amex])).to_string();
    assert!(said.starts_with("amex: ") && said.contains("10^5 - 10^4 = 90000 tokens"), "{said}");
    assert!(of(Format::Bin6Last4Alnum, &[Brand::Visa, Brand::Amex]).check().is_ok());
    assert!(of(Format::Bin8Last4Alnum, &[Brand::Amex]).check().is_err());
    assert!(of(Format::Bin6Last4LuhnInvalid, &[]).check().is_ok());
}

#[test]
fn a_domain_says_which_card_numbers_are_too_short_for_its_format_and_why() {
    let of = |format, brands: &[Brand]| {
        let brands = brands.iter().copied().collect();
        DomainSpec { format, brands, ..spec() }.check().unwrap()
    };
    let (any, visa) = (of(Format::Bin8Last4Alnum, &[]), of(Format::Bin8Last4Alnum, &[Brand::Visa]));
    for checked in [any, visa] {
        let why = checked.too_small().unwrap().to_string();
        assert!(why.contains("36^3 - 10^3 = 45656 tokens for a card number of 15 digits"), "{why}");
        assert_eq!(checked.digits_min(), 16);
    }
    let luhn = of(Format::Bin6Last4LuhnInvalid, &[]);
    assert!(luhn.too_small().unwrap().to_string().contains("10^5 - 10^4 = 90000 tokens for a card number of 15"));
    for all in [of(Format::Opaque, &[]), of(Format::Bin8Last4Alnum, &[Brand::Mastercard])] {
        assert_eq!(all.too_small(), None);
    }
    assert_eq!(of(Format::Opaque, &[]).digits_min(), 12);
}

#[test]
fn lives_and_uses_have_limits() {
    let life = |s| DomainSpec { life_s: NonZeroU32::new(s), ..spec() };
    assert_eq!(refused(life(LIFE_MIN_S - 1)), BadSpec::Life);
    assert_eq!(refused(life(LIFE_MAX_S + 1)), BadSpec::Life);
    assert!(life(LIFE_MIN_S).check().is_ok() && life(LIFE_MAX_S).check().is_ok());
    let uses = |n, reuse| {
        let keeping = Keeping::Reversible { mode: Mode::Strict, uses: NonZeroU32::new(n) };
        DomainSpec { keeping, reuse, ..spec() }
    };
    assert_eq!(refused(uses(USES_MAX + 1, Reuse::Random)), BadSpec::Uses);
    assert_eq!(refused(uses(1, Reuse::PerDomain)), BadSpec::UsesOfReused);
    assert_eq!(refused(uses(1, Reuse::PerSubject)), BadSpec::UsesOfReused);
    assert!(uses(0, Reuse::PerDomain).check().is_ok());
}

#[test]
fn a_checked_domain_says_what_its_tokens_are_like() {
    let checked = spec().check().unwrap();
    assert!(checked.takes(Brand::Visa) && !checked.takes(Brand::Amex) && !checked.takes(Brand::Unknown));
    assert_eq!(checked.expiry(UnixMillis(5)), Some(UnixMillis(86_400_005)));
    assert_eq!(checked.uses(), Some(3));
    let open = DomainSpec { brands: [].into(), life_s: None, keeping: Keeping::OneWay, ..spec() }.check().unwrap();
    assert!(open.takes(Brand::Unknown));
    assert_eq!((open.expiry(UnixMillis(5)), open.uses()), (None, None));
    assert_eq!(open.spec().format, Format::Opaque);
}
