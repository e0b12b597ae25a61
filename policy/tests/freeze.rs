//! Who may freeze, and who may lift freezes.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs, reason = "tests fail loudly")]

#[path = "common/bundle.rs"]
mod common;

use common::*;
use tally_domain::{ClientId, KeyName, Scope};
use tally_policy::{Decision, DecisionRequest, PolicyAction, charges, shown};

const POLICY: &str = r#"
@id("stop-hot")
permit (principal == Client::"payout-service", action == Action::"freeze", resource == Key::"hot");

@id("stop-everything")
permit (principal == Client::"operator", action == Action::"freeze", resource)
when { context.freeze.scope == "all" };

@id("go-on")
permit (principal == Client::"operator", action == Action::"unfreeze", resource == Key::"*");
"#;

fn ask_with(policy: &str, client: &str, action: PolicyAction<'_>, key: &str) -> Decision {
    ask(&bundle(&with("policy.cedar", policy)), client, key, action, EVENING)
}

fn freeze(client: &str, scope: &Scope) -> Decision {
    let key = scope.key().map_or("hot", KeyName::as_str);
    ask_with(POLICY, client, PolicyAction::Freeze(scope), key)
}

#[test]
fn a_rule_for_one_key_never_freezes_everything() {
    let key = |name| Scope::Key(KeyName::parse(name).unwrap());
    assert_eq!(freeze("payout-service", &key("hot")), permit("stop-hot"));
    denied(freeze("payout-service", &key("cold")));
    // Even where the intent names the key in its field: what counts is the scope.
    denied(freeze("payout-service", &Scope::All));
    assert_eq!(freeze("operator", &Scope::All), permit("stop-everything"));
    let one = denied(freeze("operator", &key("hot")));
    assert_eq!(near(&one), [("stop-everything", "context.freeze.scope == \"all\"")]);
    // Freezing and lifting are two things.
    let lift = |client, scope: &Scope| ask_with(POLICY, client, PolicyAction::Unfreeze(scope), "hot");
    denied(lift("payout-service", &key("hot")));
    assert_eq!(lift("operator", &Scope::All), permit("go-on"));
    denied(lift("operator", &key("hot")));
}

#[test]
fn a_scope_that_does_not_exist_is_refused_with_its_place() {
    let text = refused_policy(&POLICY.replace("\"all\"", "\"keys\""));
    assert!(text.contains("policy.cedar:7") && text.contains("the scopes are `key` and `all`"), "{text}");
}

/// A freeze must not wait until a window has passed.
#[test]
fn no_limit_holds_back_a_freeze_and_people_are_told_what_it_stops() {
    let limits = "[[limit]]\nid = \"requests\"\ncount = 5\nper = \"1h\"\n";
    let bundle = bundle(&with("limits.toml", limits));
    let (client, hot) = (ClientId::parse("operator").unwrap(), KeyName::parse("hot").unwrap());
    let scope = Scope::Key(hot.clone());
    let request = |action| DecisionRequest { client: &client, key: &hot, action };
    for action in [PolicyAction::Freeze(&scope), PolicyAction::Freeze(&Scope::All), PolicyAction::Unfreeze(&scope)] {
        assert_eq!(charges(&bundle, &request(action)).unwrap(), []);
    }
    let text = |action| shown(&bundle, &request(action)).text;
    assert_eq!(text(PolicyAction::Freeze(&scope)), "client operator asks to freeze key hot");
    assert_eq!(text(PolicyAction::Unfreeze(&Scope::All)), "client operator asks to lift freezes of everything");
}
