//! Decisions on files of bank payments.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail loudly")]

mod common {
    pub mod bundle;
}

use common::bundle::*;
use tally_domain::facts::{Amount, CreditTransfer, Facts, OpaqueFacts, PaymentBlock, PaymentFacts, PaymentTerms};
use tally_domain::{Account, Agent, Currency, Reason};
use tally_policy::{Bundle, Decision};

const OURS: &str = "DE89370400440532013000";
const SUPPLIER: &str = "NL91ABNA0417164300";
const OTHER_SUPPLIER: &str = "other:CHASUS33/12345678";
const UNKNOWN: &str = "GB29NWBK60161331926819";

const POLICY: &str = r#"
@id("suppliers")
permit (principal in Group::"payouts", action == Action::"sign_payment", resource == Key::"bank")
when { context.payment.debtor == Account::"DE89370400440532013000" && context.payment.creditor in List::"suppliers"
       && context.payment.currency == "EUR" && context.payment.amount.lessThanOrEqual(decimal("1000"))
       && context.payment.total.lessThanOrEqual(decimal("2500")) && context.payment.count <= 3 };

@id("instant-small")
permit (principal in Group::"payouts", action == Action::"sign_payment", resource == Key::"bank")
when { context.payment.instrument == "INST" && context.payment.amount.lessThanOrEqual(decimal("10")) };

@id("not-at-their-cost")
forbid (principal, action == Action::"sign_payment", resource)
when { context.payment.charges == "CRED" || context.payment.bank == "CHASUS33" && context.payment.urgent };
"#;

fn files(policy: &str) -> Files {
    let mut files = with("policy.cedar", policy);
    let list = format!("# whom we pay\n{SUPPLIER}\n  {OTHER_SUPPLIER} # by account number\n{VENDOR}\n");
    files.insert("lists/suppliers.txt".into(), list.into_bytes());
    files
}

fn transfer_of(cents: u128, to: &str) -> CreditTransfer {
    CreditTransfer {
        end_to_end_id: "E".into(),
        amount: Amount::from(cents),
        creditor_name: "Payee".into(),
        creditor: Account::parse(to).unwrap(),
        bank: None,
        terms: PaymentTerms::default(),
    }
}

/// A file of one block for each of these lists of transfers.
fn file(blocks: Vec<Vec<CreditTransfer>>) -> PaymentFacts {
    let cents = |t: &CreditTransfer| t.amount.to_string().parse::<u128>().unwrap();
    let total = blocks.iter().flatten().map(cents).sum::<u128>();
    let block = |transfers| PaymentBlock {
        id: "B".into(),
        debtor_name: "Payer".into(),
        debtor: Account::parse(OURS).unwrap(),
        execution: "2026-11-23".into(),
        transfers,
    };
    PaymentFacts {
        message_id: "M".into(),
        created: "2026-11-21T22:01:00".into(),
        initiator: String::new(),
        currency: Currency::parse("EUR").unwrap(),
        total: Amount::from(total),
        blocks: blocks.into_iter().map(block).collect(),
    }
}

fn pay(bundle: &Bundle, payment: PaymentFacts) -> Decision {
    sign_as(bundle, "payout-service", "bank", &Facts::Payment(payment), EVENING)
}

fn first_miss(decision: Decision) -> (String, String) {
    let d = denied(decision);
    assert_eq!((d.reason, d.errors.len(), d.forbidden_by.len()), (Reason::PolicyDenied, 0, 0));
    (d.near_misses[0].rule.clone(), d.near_misses[0].condition.clone())
}

#[test]
fn every_transfer_must_be_permitted() {
    let b = bundle(&files(POLICY));
    assert_eq!(pay(&b, file(vec![vec![transfer_of(100_000, SUPPLIER)]])), permit("suppliers"));
    let mut instant = transfer_of(1_000, UNKNOWN);
    instant.terms.instrument = "INST".into();
    let mixed = file(vec![vec![transfer_of(1, SUPPLIER)], vec![instant.clone(), transfer_of(2, OTHER_SUPPLIER)]]);
    assert_eq!(pay(&b, mixed), permit("suppliers,instant-small"));
    let to_a_stranger = r#"context.payment.creditor in List::"suppliers""#;
    for blocks in [
        vec![vec![transfer_of(1, SUPPLIER), transfer_of(1, UNKNOWN)]],
        vec![vec![transfer_of(1, UNKNOWN)], vec![transfer_of(1, SUPPLIER)]],
        vec![vec![transfer_of(1, SUPPLIER)], vec![transfer_of(1, UNKNOWN)]],
    ] {
        assert_eq!(first_miss(pay(&b, file(blocks))), ("suppliers".into(), to_a_stranger.into()));
    }
    for nothing in [vec![], vec![vec![]]] {
        assert_eq!(denied(pay(&b, file(nothing))).errors, ["the file has no transfers"]);
    }
}

#[test]
fn amounts_totals_counts_and_accounts_are_in_the_rules_hands() {
    let b = bundle(&files(POLICY));
    let one = |cents| file(vec![vec![transfer_of(cents, SUPPLIER)]]);
    let miss = |payment| first_miss(pay(&b, payment)).1;
    assert_eq!(miss(one(100_001)), r#"context.payment.amount.lessThanOrEqual(decimal("1000"))"#);
    let three = |cents| file(vec![vec![transfer_of(cents, SUPPLIER); 3]]);
    assert_eq!(pay(&b, three(83_333)), permit("suppliers"));
    assert_eq!(miss(three(83_334)), r#"context.payment.total.lessThanOrEqual(decimal("2500"))"#);
    assert_eq!(miss(file(vec![vec![transfer_of(1, SUPPLIER); 4]])), "context.payment.count <= 3");
    let mut foreign = one(1);
    foreign.currency = Currency::parse("KWD").unwrap();
    assert_eq!(miss(foreign), r#"context.payment.currency == "EUR""#);
    let mut from_elsewhere = one(1);
    from_elsewhere.blocks[0].debtor = Account::parse(UNKNOWN).unwrap();
    assert_eq!(miss(from_elsewhere), format!(r#"context.payment.debtor == Account::"{OURS}""#));

    let mut at_their_cost = one(1);
    at_their_cost.blocks[0].transfers[0].terms.charges = "CRED".into();
    assert_eq!(denied(pay(&b, at_their_cost)).forbidden_by, ["not-at-their-cost"]);
    let mut urgent = one(1);
    urgent.blocks[0].transfers[0].bank = Agent::bic("CHASUS33");
    assert_eq!(pay(&b, urgent.clone()), permit("suppliers"));
    urgent.blocks[0].transfers[0].terms.urgent = true;
    assert_eq!(denied(pay(&b, urgent)).forbidden_by, ["not-at-their-cost"]);
    // The most a decimal holds is 922337203685477.5807.
    assert_eq!(denied(pay(&b, one(u128::MAX))).errors, ["the amount in EUR is more than a rule can express"]);
}

/// Three decimals are exact in rules, which have four.
#[test]
fn amounts_are_in_whole_units_of_the_currency() {
    let rule = r#"@id("r") permit (principal, action == Action::"sign_payment", resource)
        when { context.payment.amount == decimal("12.345") && context.payment.total == decimal("24.69") };"#;
    let b = bundle(&files(rule));
    let mut dinars = file(vec![vec![transfer_of(12_345, SUPPLIER); 2]]);
    dinars.currency = Currency::parse("KWD").unwrap();
    assert_eq!(pay(&b, dinars.clone()), permit("r"));
    dinars.currency = Currency::parse("JPY").unwrap();
    assert!(matches!(pay(&b, dinars), Decision::Deny(_)));
}

/// S-2.2 step 9: only a rule that names the action permits payments, and it permits nothing else.
#[test]
fn only_rules_for_payments_permit_payments() {
    let payment = || file(vec![vec![transfer_of(1, SUPPLIER)]]);
    let others = r#"@id("others") permit (principal,
        action in [Action::"sign", Action::"sign_message", Action::"sign_opaque", Action::"create_key"], resource);"#;
    let d = denied(pay(&bundle(&files(others)), payment()));
    assert_eq!((d.reason, d.near_misses.len()), (Reason::PolicyDenied, 0));
    let payments = r#"@id("all") permit (principal, action == Action::"sign_payment", resource);"#;
    let b = bundle(&files(payments));
    assert_eq!(pay(&b, payment()), permit("all"));
    let opaque = Facts::Opaque(OpaqueFacts { chain: String::new(), to: String::new(), why: String::new(), call: None });
    for facts in [payout(1), opaque] {
        assert!(matches!(sign(&b, &facts), Decision::Deny(_)), "{facts:?}");
    }
}

/// An account is not an address, whatever list both are in.
#[test]
fn lists_hold_accounts_and_addresses() {
    let b = bundle(&files(POLICY));
    assert_eq!(b.summary().lists["suppliers"], 3);
    let rule = format!(
        r#"@id("r") permit (principal, action == Action::"sign_payment", resource)
           when {{ [Account::"{OTHER_SUPPLIER}"].contains(context.payment.creditor) }};"#
    );
    let b = bundle(&files(&rule));
    assert_eq!(pay(&b, file(vec![vec![transfer_of(1, OTHER_SUPPLIER)]])), permit("r"));
    assert!(matches!(pay(&b, file(vec![vec![transfer_of(1, SUPPLIER)]])), Decision::Deny(_)));
    for wrong in ["NL91ABNA0417164301", "NL91 ABNA 0417 1643 00", "nl91abna0417164300", "other:12345678"] {
        let mut files = files(POLICY);
        files.insert("lists/suppliers.txt".into(), format!("\n{wrong}\n").into_bytes());
        let e = refused(&files).to_string();
        assert!(e.starts_with(&format!("lists/suppliers.txt:2:1: `{wrong}` is not a valid address or bank")), "{e}");
    }
}

#[test]
fn names_in_rules_for_payments_exist() {
    let rule = |condition: &str| {
        format!("@id(\"r\") forbid (principal, action == Action::\"sign_payment\", resource)\nwhen {{ {condition} }};")
    };
    for (condition, message) in [
        ("context.payment.creditor == Account::\"NL91ABNA0417164301\"", "is not a valid bank account: an IBAN"),
        ("context.payment.creditor in List::\"supplier\"", "there is no list `supplier`"),
        ("context.payment.currency == \"eur\"", "there is no currency `eur`"),
        ("[\"EUR\", \"EUT\"].contains(context.payment.currency)", "there is no currency `EUT`"),
        ("context.payment.charges == \"OUR\"", "there is no bearer of charges `OUR`"),
        ("context.payment.creditor in Group::\"payouts\"", "policy.cedar:1:"),
        ("context.tx.asset == \"USDC\"", "not found"),
    ] {
        let e = refused(&files(&rule(condition))).to_string();
        assert!(e.starts_with("policy.cedar:") && e.contains(message), "{condition}\n{e}");
    }
    bundle(&files(&rule("context.payment.charges == \"\" && context.payment.currency != \"CHF\"")));
}
