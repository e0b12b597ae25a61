//! Rules about token domains: who may do what with which cards, and for which purpose.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail loudly")]

mod common {
    pub mod bundle;
}

use common::bundle::*;
use tally_domain::intent::Action;
use tally_domain::token::{DomainFacts, TokenFacts};
use tally_policy::{Bundle, Decision, PolicyAction};

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
    TokenFacts { action, purpose: "refund", form: "masked", rows: 1 }
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
