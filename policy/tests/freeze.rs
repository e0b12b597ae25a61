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

/// An amount is not taken of, and a count of one key's not by what stops everything, whatever key the intent names.
#[test]
fn a_freeze_moves_nothing_and_people_are_told_what_it_stops() {
    let limits = r#"
[[limit]]
id = "hot-usdc-day"
asset = "USDC"
max = "10"
per = "24h"

[[limit]]
id = "hot-requests"
key = "hot"
count = 5
per = "1h"

[[limit]]
id = "freezes"
action = "freeze"
count = 9
per = "1h"
by = ["key"]
"#;
    let bundle = bundle(&with("limits.toml", limits));
    let (client, hot) = (ClientId::parse("operator").unwrap(), KeyName::parse("hot").unwrap());
    let scope = Scope::Key(hot.clone());
    let request = |action| DecisionRequest { client: &client, key: &hot, action };
    let taken = |action| -> Vec<(String, u128)> {
        let charges = charges(&bundle, &request(action)).unwrap();
        charges.into_iter().map(|c| (c.limit.to_string(), c.amount)).collect()
    };
    let mut of_key = taken(PolicyAction::Freeze(&scope));
    of_key.sort();
    assert_eq!(of_key, [("freezes".into(), 1), ("hot-requests".into(), 1)]);
    assert_eq!(taken(PolicyAction::Freeze(&Scope::All)), [("freezes".into(), 1)]);
    assert_eq!(taken(PolicyAction::Unfreeze(&scope)), [("hot-requests".into(), 1)]);
    assert_eq!(taken(PolicyAction::Unfreeze(&Scope::All)), []);
    let text = |action| shown(&bundle, &request(action)).text;
    assert_eq!(text(PolicyAction::Freeze(&scope)), "client operator asks to freeze key hot");
    assert_eq!(text(PolicyAction::Unfreeze(&Scope::All)), "client operator asks to lift freezes of everything");
}
