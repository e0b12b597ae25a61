//! Leave to move value, pieces, and typed data: what rules and limits see of them, and what people are shown.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail loudly")]

mod common {
    pub mod bundle;
    pub mod treasury;
}

use common::bundle::*;
use common::treasury::{DAVE, Desk, change, treasury};
use tally_domain::approval::Verdict::{Approve, Reject};
use tally_domain::facts::{Allowance, Amount, AssetRef, Facts, Most, TransactionFacts, TypedDataFacts};
use tally_domain::{ClientId, KeyName, LimitId, Reason, UnixMillis};
use tally_policy::{Bundle, Decision, DecisionRequest, OverLimit, PolicyAction, charges, lines, summary};

const DEED: &str = "0x00000000000000000000000000000000000deed5";
/// Thirteen hours before the example's rules for the night.
const NOON: UnixMillis = UnixMillis(1_795_262_400_000);

fn allowance(asset: AssetRef, most: Most) -> Allowance {
    let keeper = asset.contract().unwrap().to_owned();
    Allowance { asset, most, owner: String::new(), keeper, spender: VENDOR.into(), use_by: None, ends: None }
}

fn usdc_allowance(units: u128) -> Allowance {
    allowance(AssetRef::Contract(USDC.into()), Most::UpTo(amount(units)))
}

fn tx(method: &str, allowances: Vec<Allowance>) -> Facts {
    let method = method.into();
    Facts::Transaction(TransactionFacts { method, allowances, ..transfer(vec![]) })
}

fn typed(allowances: Vec<Allowance>) -> TypedDataFacts {
    TypedDataFacts {
        chain: "eip155:1".into(),
        name: "Vendor".into(),
        version: "1".into(),
        contract: VENDOR.into(),
        salt: String::new(),
        primary_type: "Session".into(),
        allowances,
        fields: vec![("purpose".into(), "invoices".into()), ("to[0]".into(), "a; b".into())],
    }
}

fn decided(bundle: &Bundle, facts: &Facts) -> Decision {
    sign_as(bundle, "payout-service", "hot", facts, NOON)
}

fn charged(bundle: &Bundle, facts: &Facts) -> Result<Vec<(String, u128)>, OverLimit> {
    let (client, key) = (ClientId::parse("payout-service").unwrap(), KeyName::parse("hot").unwrap());
    let all = charges(bundle, &DecisionRequest { client: &client, key: &key, action: PolicyAction::Sign(facts) })?;
    let mut all: Vec<_> = all.into_iter().map(|c| (c.limit.to_string(), c.amount)).collect();
    all.sort();
    Ok(all)
}

/// The example with its rules replaced.
fn ruled(rules: &str) -> Bundle {
    let mut files = treasury();
    files.insert("policy.cedar".into(), rules.into());
    bundle(&files)
}

const ANYTHING_SIGNED: &str = r#"@id("any") permit (principal, action == Action::"sign", resource);"#;
const ANYTHING_ALLOWED: &str = r#"@id("any") permit (principal, action == Action::"sign_allowance", resource);"#;

#[test]
fn a_rule_for_signing_never_gives_leave_and_the_other_way_round() {
    let (moves, lets) = (payout(1), tx("approve", vec![usdc_allowance(1)]));
    let (signs, allows) = (ruled(ANYTHING_SIGNED), ruled(ANYTHING_ALLOWED));
    assert_eq!(decided(&signs, &moves), permit("any"));
    assert_eq!(decided(&allows, &lets), permit("any"));
    for (bundle, facts) in [(&signs, &lets), (&allows, &moves)] {
        assert_eq!(denied(decided(bundle, facts)).reason, Reason::PolicyDenied);
    }
    // Coins sent along with an approval are a movement: both must be permitted.
    let eth = tally_domain::facts::Movement {
        asset: AssetRef::Native,
        amount: amount(1),
        from: String::new(),
        to: USDC.into(),
    };
    let both = Facts::Transaction(TransactionFacts { allowances: vec![usdc_allowance(1)], ..transfer(vec![eth]) });
    assert!(matches!(decided(&signs, &both), Decision::Deny(_)));
    assert!(matches!(decided(&allows, &both), Decision::Deny(_)));
    assert_eq!(
        decided(&ruled(&[ANYTHING_SIGNED, &ANYTHING_ALLOWED.replace("any", "too")].concat()), &both),
        permit("any,too")
    );
    // A transaction of which nothing is known to happen is none.
    assert!(matches!(decided(&signs, &tx("transfer", vec![])), Decision::Deny(_)));
}

#[test]
fn all_there_is_and_will_be_is_more_than_any_amount() {
    let usdc = |most| tx("approve", vec![allowance(AssetRef::Contract(USDC.into()), most)]);
    let bounded = ruled(
        r#"@id("bounded") permit (principal, action == Action::"sign_allowance", resource)
           when { context.allowance.amount.lessThanOrEqual(decimal("922337203685477.5806")) };"#,
    );
    assert!(matches!(decided(&bounded, &usdc(Most::Unlimited)), Decision::Deny(_)));
    assert_eq!(denied(decided(&bounded, &usdc(Most::Unlimited))).near_misses.len(), 1);
    let mut files = treasury();
    let rule = ANYTHING_ALLOWED.replace("resource);", "resource) when { context.allowance.unlimited };");
    files.insert("policy.cedar".into(), rule.into());
    // A limit of amounts never allows it, whatever the rules say; without limits the rules decide.
    let over = denied(decided(&bundle(&files), &usdc(Most::Unlimited)));
    assert_eq!((over.reason, over.limit), (Reason::VelocityLimit, Some(LimitId::parse("hot-usdc-day").unwrap())));
    files.remove("limits.toml");
    assert_eq!(decided(&bundle(&files), &usdc(Most::Unlimited)), permit("any"));
    // What is less than all but more than can be said is refused, not rounded.
    let near_all = denied(decided(&bundle(&files), &usdc(Most::UpTo(Amount::MAX))));
    assert!(near_all.errors[0].contains("more than a rule can express"), "{near_all:?}");
}

#[test]
fn limits_count_what_may_be_moved_as_if_it_were() {
    let b = bundle(&treasury());
    let line = |limit: &str, n| (limit.to_owned(), n);
    let twice = tx("multicall", vec![usdc_allowance(5), usdc_allowance(7)]);
    assert_eq!(charged(&b, &twice), Ok(vec![line("hot-usdc-day", 12), line("vendor-hour", 2)]));
    let permitted = Facts::TypedData(typed(vec![usdc_allowance(5)]));
    assert_eq!(charged(&b, &permitted), Ok(vec![line("hot-usdc-day", 5), line("vendor-hour", 1)]));
    assert_eq!(charged(&b, &tx("approve", vec![usdc_allowance(0)])), Ok(vec![line("vendor-hour", 1)]));
    let day = LimitId::parse("hot-usdc-day").unwrap();
    let all = tx("approve", vec![allowance(AssetRef::Contract(USDC.into()), Most::Unlimited)]);
    assert_eq!(charged(&b, &all), Err(OverLimit::Amount { limit: day.clone() }));
    // Of what nobody understands nobody knows how much it is.
    assert_eq!(charged(&b, &Facts::TypedData(typed(vec![]))), Err(OverLimit::Unknown { limit: day }));

    let mut files = treasury();
    change(&mut files, "limits.toml", "asset = \"USDC\"", "asset = \"USDC\"\naction = \"sign\"");
    assert_eq!(charged(&bundle(&files), &all).map(|c| c.len()), Ok(1));
    change(&mut files, "limits.toml", "action = \"sign\"", "action = \"sign_allowance\"");
    assert_eq!(charged(&bundle(&files), &payout(1)).map(|c| c.len()), Ok(1));
    assert!(charged(&bundle(&files), &all).is_err());
}

#[test]
fn the_lines_of_leave_are_called_by_whoever_may_move_it() {
    let desk = Desk::new(tx("approve", vec![usdc_allowance(5)]));
    let charged = charges(&desk.bundle, &desk.request()).unwrap();
    let named = lines(&desk.bundle, &desk.request());
    let (charged, lines): (Vec<_>, Vec<_>) =
        (charged.iter().map(|c| c.line).collect(), named.iter().map(|n| n.line).collect());
    assert_eq!(charged, lines);
    let hour = named.iter().find(|n| n.limit.as_str() == "vendor-hour").unwrap();
    assert_eq!(hour.by, [("to".to_owned(), VENDOR.to_owned())]);
}

#[test]
fn leave_waits_for_the_persons_whom_its_rule_asks() {
    let mut files = treasury();
    let asks = ANYTHING_ALLOWED.replace("\"any\")", "\"leave\") @approvals(\"1 of risk\")");
    files.insert("policy.cedar".into(), [ANYTHING_SIGNED, &asks].concat().into());
    let eth = tally_domain::facts::Movement {
        asset: AssetRef::Native,
        amount: amount(1),
        from: String::new(),
        to: USDC.into(),
    };
    let given = vec![usdc_allowance(1)];
    let both = Facts::Transaction(TransactionFacts { allowances: given.clone(), ..transfer(vec![eth]) });
    for (facts, rule) in [
        (tx("approve", given.clone()), "leave"),
        (Facts::TypedData(typed(given)), "leave"),
        // Nobody is asked about the coins that are sent along.
        (both, "any,leave"),
    ] {
        let desk = Desk::with(&files, facts);
        let Decision::NeedsApproval(needs) = desk.decide(&[]) else { panic!("{:?}", desk.decide(&[])) };
        assert_eq!(needs.iter().map(|need| need.paths[0].rule.as_str()).collect::<Vec<_>>(), ["leave"]);
        assert_eq!(desk.decide(&[("dave", DAVE, Approve)]), permit(rule));
        assert_eq!(denied(desk.decide(&[("dave", DAVE, Reject)])).reason, Reason::Rejected);
    }
    // What a limit never allows nobody is asked about.
    let desk = Desk::with(&files, tx("approve", vec![allowance(AssetRef::Contract(USDC.into()), Most::Unlimited)]));
    assert_eq!(denied(desk.decide(&[])).reason, Reason::VelocityLimit);
}

/// `approve` and `transferFrom` of ERC-20 and ERC-721 are the same bytes; the bundle says which contract is which.
#[test]
fn what_is_an_amount_of_a_token_is_the_number_of_a_piece() {
    let b = ruled(
        r#"@id("piece") permit (principal, action in [Action::"sign_allowance"], resource)
           when { context.allowance.item == "7" && context.allowance.amount == decimal("1") };
           @id("moved") permit (principal, action == Action::"sign", resource)
           when { context.tx.item == "7" && context.tx.amount == decimal("1") };"#,
    );
    let seven = |asset| vec![allowance(asset, Most::UpTo(amount(7)))];
    let deed = || AssetRef::Contract(DEED.into());
    assert_eq!(decided(&b, &tx("approve", seven(deed()))), permit("piece"));
    let item = AssetRef::Item { contract: DEED.into(), id: amount(7) };
    assert_eq!(decided(&b, &tx("approve", vec![allowance(item.clone(), Most::UpTo(amount(1)))])), permit("piece"));
    let moved = |asset, n| {
        let movement =
            tally_domain::facts::Movement { asset, amount: amount(n), from: VENDOR.into(), to: VENDOR.into() };
        Facts::Transaction(transfer(vec![movement]))
    };
    assert_eq!(decided(&b, &moved(deed(), 7)), permit("moved"));
    assert_eq!(decided(&b, &moved(item.clone(), 1)), permit("moved"));
    assert!(matches!(decided(&b, &moved(deed(), 1)), Decision::Deny(_)));
    assert_eq!(
        summary(&b, &moved(deed(), 7)).split("; ").nth(1),
        Some(&*format!("1 DEED number 7 ({DEED}) from {VENDOR} to {VENDOR}"))
    );

    // All pieces are asked for by `setApprovalForAll` alone, and a piece of what has none is not understood.
    let all = ruled(ANYTHING_ALLOWED);
    let operator = |contract: &str| vec![allowance(AssetRef::Collection(contract.into()), Most::Unlimited)];
    let opaque = |facts: &Facts| denied(decided(&all, facts)).reason;
    let mut files = treasury();
    files.insert("policy.cedar".into(), ANYTHING_ALLOWED.into());
    files.remove("limits.toml");
    assert_eq!(decided(&bundle(&files), &tx("setApprovalForAll", operator(DEED))), permit("any"));
    assert_eq!(opaque(&tx("setApprovalForAll", operator(USDC))), Reason::TxOpaque);
    assert_eq!(opaque(&tx("approve", vec![allowance(deed(), Most::Unlimited)])), Reason::TxOpaque);
    let of_token = AssetRef::Item { contract: USDC.into(), id: amount(7) };
    assert_eq!(opaque(&tx("approve", vec![allowance(of_token, Most::UpTo(amount(1)))])), Reason::TxOpaque);
    assert_eq!(opaque(&tx("approve", operator(STRANGER))), Reason::TxOpaque);
}

#[test]
fn typed_data_that_is_not_understood_is_decided_by_its_domain_alone() {
    let b = bundle(&treasury());
    let session = typed(vec![]);
    let portal =
        |typed: &TypedDataFacts| sign_as(&b, "payout-service", "portal", &Facts::TypedData(typed.clone()), NOON);
    assert_eq!(portal(&session), permit("vendor-sessions"));
    let hot = denied(decided(&b, &Facts::TypedData(session.clone())));
    assert_eq!((hot.reason, hot.near_misses), (Reason::PolicyDenied, vec![]));
    for other in [
        TypedDataFacts { chain: String::new(), ..session.clone() },
        TypedDataFacts { name: "vendor".into(), ..session.clone() },
        TypedDataFacts { version: "2".into(), ..session.clone() },
        TypedDataFacts { contract: String::new(), ..session.clone() },
        TypedDataFacts { primary_type: "Order".into(), ..session.clone() },
        TypedDataFacts { fields: vec![("purpose".into(), "payouts".into())], ..session.clone() },
        // One value cannot pass for another by what is in it.
        TypedDataFacts { fields: vec![("note".into(), "purpose=invoices".into())], ..session.clone() },
    ] {
        let d = denied(portal(&other));
        assert_eq!(near(&d)[0].0, "vendor-sessions", "{other:?}");
    }
    let salted = TypedDataFacts { salt: "0x07".into(), ..session.clone() };
    let asked = ruled(
        r#"@id("salted") permit (principal, action == Action::"sign_typed_data", resource)
           when { context.typed.salt == "0x07" };"#,
    );
    let with_salt = |typed: TypedDataFacts| sign_as(&asked, "payout-service", "portal", &Facts::TypedData(typed), NOON);
    assert_eq!(with_salt(salted), permit("salted"));
    assert_eq!(near(&denied(with_salt(session)))[0].0, "salted");
    // Once it gives leave to move something, it is decided by that.
    let permit = denied(decided(&b, &Facts::TypedData(typed(vec![usdc_allowance(1)]))));
    let about: Vec<_> = near(&permit).into_iter().map(|(rule, _)| rule).collect();
    assert_eq!(about, ["approve-vendors", "permit-vendors-once", "deeds-are-lent"]);
    let token = allowance(AssetRef::Contract(STRANGER.into()), Most::UpTo(amount(1)));
    assert_eq!(denied(decided(&b, &Facts::TypedData(typed(vec![token])))).reason, Reason::TxOpaque);
}

#[test]
fn people_are_shown_who_may_move_what_and_until_when() {
    let b = bundle(&treasury());
    let shown = |facts: &Facts| summary(&b, facts);
    let text = shown(&tx("approve", vec![usdc_allowance(1_500_000)]));
    assert_eq!(
        text,
        format!("approve on eip155:1; {VENDOR} may move up to 1.5 USDC ({USDC}) without end; fee at most 0.001 ETH")
    );
    let all = allowance(AssetRef::Contract(USDC.into()), Most::Unlimited);
    assert!(shown(&tx("approve", vec![all.clone()])).contains(&format!("may move any amount of USDC ({USDC})")));
    let operator = allowance(AssetRef::Collection(DEED.into()), Most::Unlimited);
    assert!(shown(&tx("setApprovalForAll", vec![operator])).contains(&format!("all pieces of DEED ({DEED})")));
    let permit = Allowance { owner: STRANGER.into(), use_by: Some(7), ends: Some(8), ..usdc_allowance(1) };
    let text = shown(&Facts::TypedData(typed(vec![permit])));
    let line = format!(
        "may move up to 0.000001 USDC ({USDC}) of {STRANGER} until 1970-01-01T00:00:08.000Z, \
         if handed in by 1970-01-01T00:00:07.000Z"
    );
    assert!(
        text.starts_with(&format!("typed data Session of Vendor for contract {VENDOR} on eip155:1; "))
            && text.contains(&line),
        "{text}"
    );
    let far = Allowance { ends: Some(253_402_300_800), ..usdc_allowance(1) };
    let text = shown(&Facts::TypedData(typed(vec![far])));
    assert!(text.contains("until the second 253402300800 since 1970, after all calendars"), "{text}");
    let block = Allowance { ends: Some(0), ..usdc_allowance(1) };
    let text = shown(&tx("approve", vec![block]));
    assert!(text.contains(&format!("USDC ({USDC}) within the block of this transaction alone; fee")), "{text}");
    let salted = TypedDataFacts { salt: "0x07".into(), ..typed(vec![]) };
    let text = shown(&Facts::TypedData(salted));
    assert!(text.contains(" on eip155:1 with salt 0x07; what it moves"), "{text}");
    let text = shown(&Facts::TypedData(typed(vec![])));
    assert!(text.ends_with("; what it moves is not known; purpose = invoices; to[0] = a\u{fffd} b"), "{text}");
}

#[test]
fn words_of_rules_about_leave_must_exist() {
    for (condition, part) in [
        (r#"context.allowance.method == "aprove""#, "there is no method `aprove`"),
        (r#"context.allowance.asset == "USDT""#, "there is no asset `USDT`"),
        (r#"context.allowance.chain == "eip155:7""#, "there is no chain `eip155:7`"),
    ] {
        let mut files = treasury();
        let rule = ANYTHING_ALLOWED.replace("resource);", &format!("resource) when {{ {condition} }};"));
        files.insert("policy.cedar".into(), rule.into());
        assert!(refused(&files).to_string().contains(part), "{}", refused(&files));
    }
    for method in ["setApprovalForAll", "PermitWitnessTransferFrom", "PermitBatchWitnessTransferFrom"] {
        let condition = format!("resource) when {{ context.allowance.method == \"{method}\" }};");
        let b = ruled(&ANYTHING_ALLOWED.replace("resource);", &condition));
        assert_eq!(decided(&b, &tx(method, vec![usdc_allowance(1)])), permit("any"));
    }
    let mut files = treasury();
    change(&mut files, "assets.toml", "decimals = 0", "decimals = 1");
    assert!(refused(&files).to_string().contains("number of decimals of pieces"), "{}", refused(&files));
}
