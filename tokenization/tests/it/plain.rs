//! Card numbers are found in text that is kept as it is, and nothing else is.

use crate::helpers::{acme, pan, rng};
use std::collections::BTreeSet;
use tally_domain::token::{Reuse, Token};
use tally_domain::wrap::{WrapCall, WrapSpec};
use tally_domain::{
    Action, ClientId, ClusterId, ContentKind, DerivationPath, Digest, DomainName, EncryptionContext, Intent, KeyName,
    NodeName, Purpose, RequestId, Tenant, UnixMillis,
};
use tally_tokenization::pan::Form;
use tally_tokenization::plain::{card_field, holds_card, without_digits};
use tally_tokenization::spec::Keeping;
use tally_tokenization::{Call, DomainSpec, Format, TokenCall};

const CARD: &str = "4111111111111111";

fn intent(kind: ContentKind, content: Vec<u8>) -> Intent {
    Intent {
        request_id: RequestId([3; 16]),
        tenant: Tenant::parse("acme").unwrap(),
        client: ClientId::parse("payouts-1").unwrap(),
        action: Action::Reveal,
        key: KeyName::parse("cards").unwrap(),
        path: DerivationPath::parse("m").unwrap(),
        kind,
        chain: String::new(),
        content,
        purpose: Purpose::Tokenize,
        not_before: UnixMillis(1_795_298_460_000),
        expires_at: UnixMillis(1_795_298_760_000),
        min_bundle_version: 1,
        note: "invoice 7 of 2026-11-22".into(),
        cluster: ClusterId::parse("prod").unwrap(),
    }
}

fn call(purpose: &str, token: &str) -> Vec<u8> {
    let token = Token::parse(token).unwrap();
    TokenCall { purpose: purpose.into(), call: Call::Reveal { token, form: Form::Full } }.to_bytes()
}

fn wrap(key: &str, value: &str) -> Vec<u8> {
    let context = EncryptionContext::from_pairs([(key.to_owned(), value.to_owned())]).unwrap();
    WrapSpec { context, call: WrapCall::Unwrap { blob: Digest([7; 32]) } }.to_bytes()
}

fn domain(name: &str) -> Vec<u8> {
    let mut domain = acme();
    domain.name = DomainName::parse(name).unwrap();
    let (home, format) = (NodeName::parse("node-1").unwrap(), Format::Opaque);
    let (reuse, keeping, brands) = (Reuse::Random, Keeping::OneWay, BTreeSet::new());
    DomainSpec { domain, home, format, reuse, keeping, life_s: None, brands }.to_bytes()
}

#[test]
fn a_card_number_in_a_field_for_plain_text_is_found_and_the_field_named() {
    let plain = || intent(ContentKind::TokenCall, call("refund", "tok_a"));
    assert_eq!(card_field(&plain()), None);
    let with = |kind, content| card_field(&intent(kind, content));
    for (found, field) in [
        (card_field(&Intent { note: format!("card {CARD}, urgent"), ..plain() }), "note"),
        (card_field(&Intent { note: "4111-1111 1111-1111".into(), ..plain() }), "note"),
        (card_field(&Intent { key: KeyName::parse(CARD).unwrap(), ..plain() }), "key"),
        (card_field(&Intent { key: KeyName::parse("of-4111-1111-1111-1111").unwrap(), ..plain() }), "key"),
        (card_field(&Intent { chain: CARD.into(), ..plain() }), "chain"),
        (with(ContentKind::TokenCall, call(CARD, "tok_a")), "purpose"),
        (with(ContentKind::TokenCall, call("refund", CARD)), "token"),
        (with(ContentKind::WrapSpec, wrap("card", CARD)), "context"),
        (with(ContentKind::WrapSpec, wrap(CARD, "1")), "context"),
        (with(ContentKind::DomainSpec, domain(CARD)), "name"),
        // Not a call: what it says instead of a purpose is kept all the same.
        (with(ContentKind::TokenCall, call("4111 1111 1111 1111", "tok_a")), "content"),
        (with(ContentKind::DomainChange, CARD.into()), "content"),
    ] {
        assert_eq!(found, Some(field));
    }
}

#[test]
fn what_is_signed_may_have_long_numbers() {
    for kind in [ContentKind::Message, ContentKind::Iso20022, ContentKind::TypedData, ContentKind::PersonalMessage] {
        assert_eq!(card_field(&intent(kind, format!("pay {CARD}").into_bytes())), None, "{kind:?}");
    }
}

#[test]
fn no_token_of_any_format_is_taken_for_a_card_number() {
    let mut rng = rng(22);
    for card in [CARD, "5555555555554444", "6205500000000000004", "378282246310005"] {
        for format in Format::ALL.into_iter().filter(|format| format.fits(pan(card).digits()).is_ok()) {
            for _ in 0..500 {
                let token = format.draw(&acme(), &pan(card), &mut rng).unwrap();
                assert!(!holds_card(token.as_str().as_bytes()), "{} {token}", format.as_str());
            }
        }
    }
}

#[test]
fn a_person_is_not_repeated_what_may_be_a_card_number_mistyped_or_not() {
    for (text, shown) in [
        ("'4111111111111111' for", "'[PAN]' for"),
        ("'4111 1111-1111 1112' for", "'[PAN]' for"),
        ("card4111111111111112", "card[PAN]"),
        ("411111111111 ", "[PAN] "),
        ("41111111111", "41111111111"),
        ("'00000000000000000000000000000000' for", "'00000000000000000000000000000000' for"),
        ("at most 100 of 2026-11-22", "at most 100 of 2026-11-22"),
        ("line 1\nline 2", "line 1\nline 2"),
        ("", ""),
    ] {
        assert_eq!(without_digits(text), shown);
    }
}
