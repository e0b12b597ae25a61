//! Rules about keys that wrap other keys.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail loudly")]

mod common {
    pub mod bundle;
}

use common::bundle::*;
use tally_domain::{EncryptionContext, KekChange, KekNumber, Reason, WrapFacts, WrapKind};
use tally_policy::{Bundle, Decision, PolicyAction};

const POLICY: &str = r#"
@id("seal-ledger")
permit (principal in Group::"payouts", action in [Action::"wrap", Action::"generate_data_key"], resource == Key::"vault")
when { context.wrap.context.contains("app=ledger") && context.wrap.bytes <= 32 && context.wrap.version >= 2 };

@id("open-ledger")
permit (principal in Group::"payouts", action == Action::"unwrap", resource == Key::"vault")
when { context.wrap.context.containsAll(["app=ledger", "env=prod"]) };

@id("no-plaintext-at-night")
forbid (principal, action, resource) when { context has wrap && context.wrap.plaintext && context.now.hour < 6 };

@id("keep-house")
permit (principal in Group::"payouts", action == Action::"change_kek", resource)
when { context.kek.change == "rotate" || context.kek.change == "destroy" && context.kek.delay_hours >= 24 };

@id("make-keks")
permit (principal in Group::"payouts", action == Action::"create_kek", resource);
"#;

fn context(pairs: &[(&str, &str)]) -> EncryptionContext {
    EncryptionContext::from_pairs(pairs.iter().map(|(k, v)| ((*k).into(), (*v).into()))).unwrap()
}

fn facts(kind: WrapKind, context: &EncryptionContext) -> WrapFacts<'_> {
    WrapFacts { kind, context, bytes: 32, plaintext: false, version: KekNumber(2) }
}

fn wrap(b: &Bundle, facts: WrapFacts<'_>) -> Decision {
    ask(b, "payout-service", "vault", PolicyAction::Wrap(facts), EVENING)
}

#[test]
fn the_call_its_context_length_and_version_decide() {
    let b = bundle(&with("policy.cedar", POLICY));
    let ledger = context(&[("app", "ledger"), ("env", "prod")]);
    let (wrapped, drawn) = (facts(WrapKind::Wrap, &ledger), facts(WrapKind::GenerateDataKey, &ledger));
    assert_eq!(wrap(&b, wrapped), permit("seal-ledger"));
    assert_eq!(wrap(&b, WrapFacts { plaintext: true, ..drawn }), permit("seal-ledger"));
    assert_eq!(wrap(&b, facts(WrapKind::Unwrap, &ledger)), permit("open-ledger"));

    let condition = |facts| near(&denied(wrap(&b, facts)))[0].1.to_owned();
    assert_eq!(condition(WrapFacts { bytes: 33, ..wrapped }), "context.wrap.bytes <= 32");
    assert_eq!(condition(WrapFacts { version: KekNumber(1), ..wrapped }), "context.wrap.version >= 2");
    let other = context(&[("app", "ledger2")]);
    assert_eq!(condition(facts(WrapKind::Wrap, &other)), r#"context.wrap.context.contains("app=ledger")"#);
    let half = context(&[("app", "ledger")]);
    assert_eq!(
        condition(facts(WrapKind::Unwrap, &half)),
        r#"context.wrap.context.containsAll(["app=ledger", "env=prod"])"#
    );
    let none = EncryptionContext::default();
    assert_eq!(denied(wrap(&b, facts(WrapKind::Wrap, &none))).reason, Reason::PolicyDenied);
    // Nothing names it.
    assert_eq!(near(&denied(wrap(&b, facts(WrapKind::Rewrap, &ledger)))), vec![]);
    let elsewhere = ask(&b, "payout-service", "other", PolicyAction::Wrap(wrapped), EVENING);
    assert_eq!(near(&denied(elsewhere)), vec![]);
    let night = WrapFacts { plaintext: true, ..drawn };
    let night = ask(&b, "payout-service", "vault", PolicyAction::Wrap(night), LAST_OF_NIGHT);
    assert_eq!(denied(night).forbidden_by, ["no-plaintext-at-night"]);
}

#[test]
fn a_value_with_a_sign_of_equality_is_no_other_pair() {
    let b = bundle(&with("policy.cedar", POLICY));
    let tricky = context(&[("x", "app=ledger")]);
    assert_eq!(denied(wrap(&b, facts(WrapKind::Wrap, &tricky))).reason, Reason::PolicyDenied);
}

#[test]
fn changes_are_permitted_by_what_they_do_and_how_soon() {
    let b = bundle(&with("policy.cedar", POLICY));
    let ask_change = |change, version| {
        ask(&b, "payout-service", "vault", PolicyAction::ChangeKek(change, KekNumber(version)), EVENING)
    };
    assert_eq!(ask(&b, "payout-service", "vault", PolicyAction::CreateKek, EVENING), permit("make-keks"));
    assert_eq!(ask_change(KekChange::Rotate, 2), permit("keep-house"));
    let destroy = |seconds| ask_change(KekChange::Destroy(KekNumber(1), seconds), 1);
    assert_eq!(destroy(24 * 3_600), permit("keep-house"));
    // A second less is no day.
    assert_eq!(near(&denied(destroy(24 * 3_600 - 1))).len(), 1);
    assert_eq!(denied(ask_change(KekChange::Disable(KekNumber(1)), 1)).reason, Reason::PolicyDenied);
}

#[test]
fn words_that_mean_nothing_are_refused_when_the_bundle_is_loaded() {
    let rule = |action: &str, condition: &str| {
        format!("@id(\"r\") permit (principal, action == Action::\"{action}\", resource) when {{ {condition} }};")
    };
    for (action, condition, says) in [
        ("change_kek", r#"context.kek.change == "shred""#, "there is no change of a KEK `shred`"),
        ("wrap", r#"context.wrap.context.contains("ledger")"#, "there is no pair `ledger`"),
        ("wrap", r#"context.wrap.context.containsAny(["a=b", "ledger"])"#, "there is no pair `ledger`"),
        ("create_key", r#"context.spec.purpose == "wrap""#, "there is no purpose `wrap`"),
    ] {
        let error = refused_policy(&rule(action, condition));
        assert!(error.contains(says), "{error}");
    }
    // Neither has the other's facts.
    for (action, condition) in [("wrap", "context.kek.version == 1"), ("change_kek", "context.wrap.bytes == 1")] {
        refused(&with("policy.cedar", &rule(action, condition)));
    }
}
