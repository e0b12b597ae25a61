//! Rules about token domains: who may do what with which cards, and for which purpose.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail loudly")]

mod common {
    pub mod bundle;
    pub mod treasury;
}

use common::bundle::*;
use common::treasury::treasury;
use tally_domain::facts::{Facts, MessageFacts};
use tally_domain::intent::Action;
use tally_domain::token::{DomainFacts, TokenFacts};
use tally_domain::{ClientId, KeyName};
use tally_policy::{Bundle, Decision, DecisionRequest, PolicyAction, charges, lines, shown};

const POLICY: &str = r#"
@id("keep-cards")
permit (principal in Group::"payouts", action in [Action::"tokenize", Action::"show_token"], resource == Domain::"cards");

@id("show-for-refunds")
permit (principal in Group::"payouts", action == Action::"reveal", resource == Domain::"cards")
when { context.token.purpose == "refund" && context.token.form != "full" && context.token.rows <= 100 };

@id("keys-are-no-domains")
permit (principal in Group::"payouts", action == Action::"wrap", resource == Key::"cards");

@id("keep-house")
permit (principal in Group::"payouts", action == Action::"manage_domain", resource)
when { context.domain.mode == "strict" && context.domain.change != "delete" };
"#;

fn facts(action: Action) -> TokenFacts<'static> {
    TokenFacts { action, purpose: "refund", form: "masked", rows: 1, token: "" }
}

fn of(b: &Bundle, domain: &str, facts: TokenFacts<'_>) -> Decision {
    ask(b, "payout-service", domain, PolicyAction::Token(facts), EVENING)
}

#[test]
fn purpose_form_and_rows_decide_and_a_stream_is_asked_about_as_what_it_does() {
    let b = bundle(&with("policy.cedar", POLICY));
    let reveal = facts(Action::Reveal);
    assert_eq!(of(&b, "cards", reveal), permit("show-for-refunds"));
    let many = TokenFacts { rows: 100, ..facts(Action::RevealMany) };
    assert_eq!(of(&b, "cards", many), permit("show-for-refunds"));
    assert_eq!(of(&b, "cards", facts(Action::TokenizeMany)), permit("keep-cards"));
    let condition = |facts| near(&denied(of(&b, "cards", facts)))[0].1.to_owned();
    assert_eq!(condition(TokenFacts { purpose: "", ..reveal }), r#"context.token.purpose == "refund""#);
    assert_eq!(condition(TokenFacts { form: "full", ..reveal }), r#"context.token.form != "full""#);
    assert_eq!(condition(TokenFacts { rows: 101, ..many }), "context.token.rows <= 100");
    for (domain, action) in [("other", Action::Reveal), ("cards", Action::DeleteToken), ("cards", Action::SearchToken)]
    {
        denied(of(&b, domain, facts(action)));
    }
}

#[test]
fn a_domain_is_managed_by_what_it_is_and_what_is_to_become_of_it() {
    let b = bundle(&with("policy.cedar", POLICY));
    let manage = |change, mode| {
        let facts = DomainFacts { change, key: "", mode, format: "opaque" };
        ask(&b, "payout-service", "cards", PolicyAction::ManageDomain(facts), EVENING)
    };
    assert_eq!(manage("create", "strict"), permit("keep-house"));
    denied(manage("create", "hybrid"));
    denied(manage("delete", "strict"));
}

#[test]
fn words_that_never_match_are_refused_when_the_bundle_is_loaded() {
    for (from, to) in [("\"full\"", "\"Full\""), ("\"strict\"", "\"safe\""), ("\"delete\"", "\"drop\"")] {
        let policy = POLICY.replace(from, to);
        assert!(tally_policy::Bundle::load(&with("policy.cedar", &policy)).is_err(), "{to}");
    }
}

/// What persons are shown of a request of the payout service's, and its digest.
fn seen(domain: &str, facts: TokenFacts<'_>) -> (String, tally_domain::Digest) {
    let (client, key) = (ClientId::parse("payout-service").unwrap(), KeyName::parse(domain).unwrap());
    let request = DecisionRequest { client: &client, key: &key, action: PolicyAction::Token(facts) };
    let shown = shown(&bundle(&treasury()), &request);
    (shown.text, shown.digest)
}

#[test]
fn persons_are_shown_the_token_the_domain_the_view_and_the_purpose() {
    let one = TokenFacts { token: "tok_a", ..facts(Action::Reveal) };
    let text = "client payout-service asks to reveal a card number of token domain cards\n\
                token tok_a, shown masked, for purpose `refund`";
    assert_eq!(seen("cards", one).0, text);
    let many = TokenFacts { rows: 300, ..facts(Action::RevealMany) };
    let text = "client payout-service asks to reveal up to 300 card numbers of token domain cards\n\
                of tokens that it names later, shown masked, for purpose `refund`";
    assert_eq!(seen("cards", many).0, text);
    // What persons sign is over all of it.
    let others = [
        seen("other", one),
        seen("cards", TokenFacts { token: "tok_b", ..one }),
        seen("cards", TokenFacts { form: "full", ..one }),
        seen("cards", TokenFacts { purpose: "support", ..one }),
        seen("cards", many),
    ];
    assert!(others.iter().all(|(_, digest)| *digest != seen("cards", one).1));
}

/// Limits with these fields, and what a request takes of them.
fn taken(fields: &str, domain: &str, action: PolicyAction<'_>) -> Vec<u128> {
    let mut files = treasury();
    let limit = format!("[[limit]]\nid = \"l\"\n{fields}\ncount = 500\nper = \"24h\"\n");
    files.insert("limits.toml".into(), limit.into_bytes());
    let (client, key) = (ClientId::parse("payout-service").unwrap(), KeyName::parse(domain).unwrap());
    let bundle = bundle(&files);
    let request = DecisionRequest { client: &client, key: &key, action };
    charges(&bundle, &request).unwrap().into_iter().map(|charge| charge.amount).collect()
}

#[test]
fn i4_a_limit_counts_cards_and_a_stream_takes_as_many_as_it_announces() {
    let many = TokenFacts { rows: 300, ..facts(Action::RevealMany) };
    for (fields, one, stream) in [
        ("", vec![1], vec![300]),
        ("domain = \"cards\"", vec![1], vec![300]),
        ("domain = \"cards\"\naction = \"reveal\"", vec![1], vec![300]),
        ("domain = \"other\"", vec![], vec![]),
        ("key = \"cards\"", vec![], vec![]),
        ("action = \"tokenize\"", vec![], vec![]),
        ("client = \"operator\"", vec![], vec![]),
    ] {
        assert_eq!(taken(fields, "cards", PolicyAction::Token(facts(Action::Reveal))), one, "{fields}");
        assert_eq!(taken(fields, "cards", PolicyAction::Token(many)), stream, "{fields}");
    }
    let of = |action| taken("domain = \"cards\"", "cards", PolicyAction::Token(facts(action)));
    assert_eq!([of(Action::Tokenize), of(Action::SearchToken)], [[1], [1]]);
    // No limit keeps a card number from being destroyed.
    assert!(of(Action::DeleteToken).is_empty() && of(Action::ShowToken).is_empty());
    let message = Facts::Message(MessageFacts { bytes: 4, text: true });
    assert!(taken("domain = \"hot\"", "hot", PolicyAction::Sign(&message)).is_empty());
}

#[test]
fn a_limit_by_domain_has_a_line_for_each_of_them() {
    let mut files = treasury();
    let limit = "[[limit]]\nid = \"l\"\naction = \"reveal\"\ncount = 5\nper = \"1h\"\nby = [\"client\", \"domain\"]\n";
    files.insert("limits.toml".into(), limit.into());
    let bundle = bundle(&files);
    let client = ClientId::parse("payout-service").unwrap();
    let named = |domain: &str| {
        let key = KeyName::parse(domain).unwrap();
        let action = PolicyAction::Token(facts(Action::Reveal));
        lines(&bundle, &DecisionRequest { client: &client, key: &key, action }).remove(0)
    };
    assert_ne!(named("cards").line, named("other").line);
    let by = [("domain".to_owned(), "cards".to_owned()), ("client".to_owned(), "payout-service".to_owned())];
    assert_eq!(named("cards").by, by);
}

#[test]
fn persons_are_asked_about_streams_over_a_size() {
    let rules = r#"
@id("few")
permit (principal in Group::"payouts", action == Action::"reveal", resource == Domain::"cards")
when { context.token.purpose == "refund" && context.token.rows <= 100 };

@id("many") @approvals("2 of treasury")
permit (principal in Group::"payouts", action == Action::"reveal", resource == Domain::"cards")
when { context.token.purpose == "refund" && context.token.rows <= 10000 };
"#;
    let mut files = treasury();
    files.insert("policy.cedar".into(), rules.into());
    let b = bundle(&files);
    let many = |rows| of(&b, "cards", TokenFacts { rows, ..facts(Action::RevealMany) });
    assert_eq!(many(100), permit("few"));
    assert!(matches!(many(101), Decision::NeedsApproval(needs) if needs[0].paths[0].rule == "many"));
    denied(many(10_001));
    let elsewhere = rules.replace("\"reveal\"", "\"tokenize\"");
    files.insert("policy.cedar".into(), elsewhere.into());
    assert!(refused(&files).to_string().contains("names action `tokenize`"));
}
