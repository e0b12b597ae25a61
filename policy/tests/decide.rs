//! Decisions on the example bundle and on small ones.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail loudly")]

mod common {
    pub mod bundle;
}

use common::bundle::*;
use proptest::prelude::*;
use tally_domain::facts::{
    Allowance, Amount, AssetRef, CreditTransfer, Facts, MessageFacts, Most, Movement, OpaqueFacts, PaymentBlock,
    PaymentFacts, PaymentTerms, RawFacts, TransactionFacts, TypedDataFacts,
};
use tally_domain::{
    Account, Currency, HsmKeySpec, HsmScheme, KeySpec, NodeName, Purpose, Reason, Scheme, Threshold, UnixMillis,
};
use tally_policy::{Decision, NEAR_MISSES_MAX, PolicyAction};

/// The rules of the design document, word for word, without the annotation that asks people.
const DESIGN: &str = r#"
@id("payouts-small")
permit (principal in Group::"payouts", action == Action::"sign", resource == Key::"hot")
when { context.tx.method == "transfer" && context.tx.asset == "USDC" && context.tx.to in List::"vendors"
       && context.tx.amount.lessThanOrEqual(decimal("1000")) };

@id("payouts-large")
permit (principal in Group::"payouts", action == Action::"sign", resource == Key::"hot")
when { context.tx.method == "transfer" && context.tx.asset == "USDC" && context.tx.amount.lessThanOrEqual(decimal("500000")) };

@id("no-night-payouts")
forbid (principal, action == Action::"sign", resource == Key::"hot") when { context.now.hour < 6 };
"#;

const USDC_UNIT: u128 = 1_000_000;

#[test]
fn the_designs_rules_work_as_written() {
    let b = bundle(&with("policy.cedar", DESIGN));
    assert_eq!(sign(&b, &payout(1_000 * USDC_UNIT)), permit("payouts-small"));
    assert_eq!(sign(&b, &payout(500_000 * USDC_UNIT)), permit("payouts-large"));
    let stranger = Facts::Transaction(transfer(vec![usdc(USDC_UNIT, STRANGER)]));
    assert_eq!(sign(&b, &stranger), permit("payouts-large"));
    let d = denied(sign(&b, &payout(500_001 * USDC_UNIT)));
    assert_eq!((d.reason, d.forbidden_by.len(), d.errors.len()), (Reason::PolicyDenied, 0, 0));
    let conditions = [
        ("payouts-small", r#"context.tx.amount.lessThanOrEqual(decimal("1000"))"#),
        ("payouts-large", r#"context.tx.amount.lessThanOrEqual(decimal("500000"))"#),
    ];
    assert_eq!(near(&d), conditions);
}

#[test]
fn a_denial_names_the_first_condition_that_does_not_hold() {
    let b = bundle(&example());
    let d = denied(sign(&b, &payout(1_000 * USDC_UNIT + 1)));
    let conditions = [
        ("payouts-small", r#"context.tx.amount.lessThanOrEqual(decimal("1000"))"#),
        ("payouts-gas", r#"context.tx.asset == "ETH""#),
    ];
    assert_eq!(near(&d), conditions);
    let stranger = Facts::Transaction(transfer(vec![usdc(1, STRANGER)]));
    let d = denied(sign(&b, &stranger));
    assert_eq!(near(&d)[0], ("payouts-small", r#"context.tx.to in List::"vendors""#));

    let mut gas =
        transfer(vec![Movement { asset: AssetRef::Native, amount: amount(1), from: String::new(), to: VENDOR.into() }]);
    assert_eq!(sign(&b, &Facts::Transaction(gas.clone())), permit("payouts-gas"));
    gas.fee_max = amount(10_000_000_000_000_001);
    let d = denied(sign(&b, &Facts::Transaction(gas)));
    let fee = r#"unless { context.tx.fee.greaterThan(decimal("0.01")) }"#;
    assert_eq!(near(&d)[0], ("payouts-gas", fee));
}

#[test]
fn other_clients_keys_and_actions_are_not_near() {
    let b = bundle(&example());
    for (client, key) in [("operator", "hot"), ("nobody", "hot"), ("payout-service", "cold")] {
        let d = denied(sign_as(&b, client, key, &payout(1), EVENING));
        assert_eq!((d.reason, near(&d)), (Reason::PolicyDenied, vec![]), "{client} {key}");
    }
}

#[test]
fn forbid_wins_and_hours_are_utc() {
    let b = bundle(&example());
    let d = denied(sign_as(&b, "payout-service", "hot", &payout(1), LAST_OF_NIGHT));
    assert_eq!(d.forbidden_by, ["no-night-payouts"]);
    // The permit that matches is no near miss.
    assert_eq!(near(&d), [("payouts-gas", r#"context.tx.asset == "ETH""#)]);
    let morning = UnixMillis(LAST_OF_NIGHT.0 + 1);
    assert_eq!(sign_as(&b, "payout-service", "hot", &payout(1), morning), permit("payouts-small"));
    let saturday = r#"@id("weekend") permit (principal, action == Action::"sign", resource)
        when { context.now.weekday == 6 && context.now.hour == 22 };"#;
    assert_eq!(sign(&bundle(&with("policy.cedar", saturday)), &payout(1)), permit("weekend"));
}

/// Cedar alone skips a rule that errors: the forbid here overflows and would not forbid.
#[test]
fn a_rule_that_errors_denies() {
    let policy = r#"@id("anyone") permit (principal, action == Action::"sign", resource);
        @id("window") forbid (principal, action, resource)
        when { context.now.hour + 9223372036854775807 > 9223372036854775807 };"#;
    let b = bundle(&with("policy.cedar", policy));
    let d = denied(sign(&b, &payout(1)));
    assert_eq!((d.reason, d.forbidden_by.len(), d.errors.len()), (Reason::PolicyDenied, 0, 1));
    assert!(d.errors[0].contains("window") && d.errors[0].contains("overflow"), "{}", d.errors[0]);
    let midnight = UnixMillis(0);
    assert_eq!(sign_as(&b, "payout-service", "hot", &payout(1), midnight), permit("anyone"));
}

#[test]
fn amounts_are_rounded_up() {
    let b = bundle(&example());
    assert_eq!(sign(&b, &payout(1_000_000_000)), permit("payouts-small"));
    // 1000.00001 USDC is 1000.0001 to a rule, which is above 1000.
    assert!(matches!(sign(&b, &payout(1_000_000_010)), Decision::Deny(_)));
    assert!(matches!(sign(&b, &payout(1_000_000_001)), Decision::Deny(_)));
}

#[test]
fn what_a_decimal_cannot_hold_is_denied() {
    let b = bundle(&with(
        "policy.cedar",
        r#"@id("any") permit (principal, action in [Action::"sign", Action::"sign_opaque"], resource);"#,
    ));
    // The most a decimal holds is 922337203685477.5807.
    let most = 922_337_203_685_477_580_700;
    assert_eq!(sign(&b, &payout(most)), permit("any"));
    let d = denied(sign(&b, &payout(most + 1)));
    assert_eq!(d.errors, ["the amount in USDC is more than a rule can express"]);
    let mut costly = transfer(vec![usdc(1, VENDOR)]);
    costly.fee_max = Amount([0xff; 32]);
    let d = denied(sign(&b, &Facts::Transaction(costly)));
    assert_eq!(d.errors, ["the fee in ETH is more than a rule can express"]);
}

#[test]
fn every_movement_must_be_permitted() {
    let b = bundle(&example());
    let gas = |wei| Movement { asset: AssetRef::Native, amount: amount(wei), from: String::new(), to: VENDOR.into() };
    let both = Facts::Transaction(transfer(vec![gas(1), usdc(1, VENDOR), gas(2)]));
    assert_eq!(sign(&b, &both), permit("payouts-gas,payouts-small"));
    for movements in [
        vec![gas(1), usdc(1, STRANGER)],
        vec![usdc(1, STRANGER), gas(1)],
        vec![usdc(1, VENDOR), gas(50_000_000_000_000_001)],
        vec![],
    ] {
        let facts = Facts::Transaction(transfer(movements));
        assert!(matches!(sign(&b, &facts), Decision::Deny(_)), "{facts:?}");
    }
}

/// S-2.2 step 9: what was not understood is permitted only by a rule that says so.
#[test]
fn opaque_transactions_need_a_rule_of_their_own() {
    let opaque = Facts::Opaque(OpaqueFacts {
        chain: "eip155:1".into(),
        to: STRANGER.into(),
        why: "contract call with selector 0xdeadbeef".into(),
        call: None,
    });
    let token = Movement {
        asset: AssetRef::Contract(STRANGER.into()),
        amount: amount(0),
        from: String::new(),
        to: VENDOR.into(),
    };
    let unknown_token = Facts::Transaction(transfer(vec![token]));
    let unknown_chain =
        Facts::Transaction(TransactionFacts { chain: "eip155:5".into(), ..transfer(vec![usdc(0, VENDOR)]) });

    let generous = r#"@id("all-signing") permit (principal, action == Action::"sign", resource);"#;
    let b = bundle(&with("policy.cedar", generous));
    let whys = [
        "contract call with selector 0xdeadbeef".to_owned(),
        format!("token contract {STRANGER} of `eip155:1` is not in assets.toml"),
        format!("token contract {USDC} of `eip155:5` is not in assets.toml"),
    ];
    for (facts, why) in [&opaque, &unknown_token, &unknown_chain].into_iter().zip(whys) {
        let d = denied(sign(&b, facts));
        assert_eq!((d.reason, d.why_opaque), (Reason::TxOpaque, Some(why)));
    }

    let explicit = format!(
        r#"@id("staking") permit (principal, action == Action::"sign_opaque", resource)
           when {{ context.opaque.chain == "eip155:1" && context.opaque.to == Address::"{STRANGER}" }};"#
    );
    let b = bundle(&with("policy.cedar", &explicit));
    assert_eq!(sign(&b, &opaque), permit("staking"));
    assert_eq!(sign(&b, &unknown_token), permit("staking"));
    let d = denied(sign(&b, &unknown_chain));
    assert_eq!((d.reason, near(&d)), (Reason::TxOpaque, vec![("staking", r#"context.opaque.chain == "eip155:1""#)]));
    assert!(matches!(sign(&b, &payout(1)), Decision::Deny(_)));

    let forbidden = format!("{explicit} @id(\"never\") forbid (principal, action, resource);");
    let d = denied(sign(&bundle(&with("policy.cedar", &forbidden)), &opaque));
    assert_eq!((d.reason, d.forbidden_by), (Reason::PolicyDenied, vec!["never".to_owned()]));
}

#[test]
fn messages_and_keys_are_decided_too() {
    let b = bundle(&example());
    let message = |bytes, text| Facts::Message(MessageFacts { bytes, text });
    assert_eq!(sign_as(&b, "payout-service", "receipts", &message(1024, true), EVENING), permit("receipts"));
    let d = denied(sign_as(&b, "payout-service", "receipts", &message(u64::MAX, true), EVENING));
    assert_eq!(near(&d), [("receipts", "context.message.bytes <= 1024")]);
    let d = denied(sign_as(&b, "payout-service", "receipts", &message(1, false), EVENING));
    assert_eq!(near(&d), [("receipts", "context.message.text")]);

    let spec =
        |t, n| KeySpec { scheme: Scheme::Ed25519, threshold: Threshold::new(t, n).unwrap(), purpose: Purpose::Message };
    let create = |client, spec| ask(&b, client, "new", PolicyAction::CreateKey(&spec), EVENING);
    assert_eq!(create("operator", spec(2, 3)), permit("operators-make-keys"));
    assert_eq!(near(&denied(create("operator", spec(4, 6)))), [("operators-make-keys", "context.spec.n <= 5")]);
    assert!(matches!(create("payout-service", spec(2, 3)), Decision::Deny(_)));
}

#[test]
fn near_misses_are_bounded() {
    let rule = |i| {
        format!(
            r#"@id("r{i}") permit (principal, action == Action::"sign", resource) when {{ context.now.hour < 0 }};"#
        )
    };
    let policy: String = (0..NEAR_MISSES_MAX + 5).map(rule).collect();
    let d = denied(sign(&bundle(&with("policy.cedar", &policy)), &payout(1)));
    assert_eq!(d.near_misses.len(), NEAR_MISSES_MAX);
}

#[test]
fn a_list_of_ten_thousand_addresses_works() {
    let addresses: Vec<String> = (0..10_000u32).map(|i| format!("0x{i:040X}")).collect();
    let b = bundle(&with("lists/vendors.txt", &addresses.join("\r\n")));
    assert_eq!(b.summary().lists["vendors"], 10_000);
    let to = |i: u32| Facts::Transaction(transfer(vec![usdc(1, &format!("0x{i:040x}"))]));
    assert_eq!(sign(&b, &to(9_999)), permit("payouts-small"));
    assert!(matches!(sign(&b, &to(10_000)), Decision::Deny(_)));
}

#[test]
fn raw_digests_are_permitted_only_by_a_rule_for_sign_raw() {
    let rules = |raw: &str| {
        format!(
            r#"@id("sign") permit (principal, action == Action::"sign", resource) when {{ context.tx.fee.lessThan(decimal("9")) }};
               @id("messages") permit (principal, action == Action::"sign_message", resource);
               @id("opaque") permit (principal, action == Action::"sign_opaque", resource);
               {raw}"#
        )
    };
    let facts = Facts::Raw(RawFacts { bytes: 32 });
    let without = bundle(&with("policy.cedar", &rules("")));
    assert_eq!(denied(sign(&without, &facts)).reason, Reason::PolicyDenied);
    let raw =
        r#"@id("raw") permit (principal, action == Action::"sign_raw", resource) when { context.raw.bytes == 32 };"#;
    let b = bundle(&with("policy.cedar", &rules(raw)));
    assert_eq!(sign(&b, &facts), permit("raw"));
    assert_eq!(near(&denied(sign(&b, &Facts::Raw(RawFacts { bytes: 31 })))), [("raw", "context.raw.bytes == 32")]);
}

#[test]
fn rules_tell_keys_in_an_hsm_from_keys_in_shares() {
    let rules = r#"@id("hsm-keys") permit (principal, action == Action::"create_key", resource)
                   when { context.spec.backing == "hsm" && ["ecdsa-p256", "rsa-3072"].contains(context.spec.scheme)
                          && context.spec.purpose != "raw" };"#;
    let b = bundle(&with("policy.cedar", rules));
    let hsm = |scheme, purpose| {
        let spec = HsmKeySpec { scheme, purpose, home: NodeName::parse("node-1").unwrap() };
        ask(&b, "operator", "new", PolicyAction::CreateHsmKey(&spec), EVENING)
    };
    assert_eq!(hsm(HsmScheme::EcdsaP256, Purpose::Message), permit("hsm-keys"));
    assert_eq!(hsm(HsmScheme::Rsa3072, Purpose::Message), permit("hsm-keys"));
    assert!(matches!(hsm(HsmScheme::Ed25519, Purpose::Message), Decision::Deny(_)));
    assert!(matches!(hsm(HsmScheme::EcdsaP256, Purpose::Raw), Decision::Deny(_)));
    let spec = KeySpec { scheme: Scheme::Ed25519, threshold: Threshold::new(2, 3).unwrap(), purpose: Purpose::Message };
    let shares = ask(&b, "operator", "new", PolicyAction::CreateKey(&spec), EVENING);
    assert_eq!(near(&denied(shares)), [("hsm-keys", r#"context.spec.backing == "hsm""#)]);
    // The example's operators make keys of two signers or more: a key in an HSM has one.
    let spec = HsmKeySpec {
        scheme: HsmScheme::EcdsaP256,
        purpose: Purpose::Message,
        home: NodeName::parse("node-1").unwrap(),
    };
    let example = ask(&bundle(&example()), "operator", "new", PolicyAction::CreateHsmKey(&spec), EVENING);
    assert_eq!(near(&denied(example)), [("operators-make-keys", "context.spec.t >= 2")]);
}

fn any_movement() -> impl Strategy<Value = Movement> {
    let asset =
        prop_oneof![Just(AssetRef::Native), Just(AssetRef::Contract(USDC.into())), ".*".prop_map(AssetRef::Contract)];
    (asset, any::<[u8; 32]>(), any::<u128>(), any::<bool>(), ".*").prop_map(|(asset, wide, narrow, vendor, other)| {
        Movement {
            asset,
            amount: if vendor { amount(narrow >> 64) } else { Amount(wide) },
            from: String::new(),
            to: if vendor { VENDOR.into() } else { other },
        }
    })
}

fn allowances() -> impl Strategy<Value = Vec<Allowance>> {
    let one = (any_movement(), any::<bool>(), any::<Option<u64>>(), any::<Option<u64>>()).prop_map(
        |(Movement { asset, amount, from, to }, unlimited, use_by, ends)| {
            let most = if unlimited { Most::Unlimited } else { Most::UpTo(amount) };
            Allowance { asset, most, owner: from, keeper: to.clone(), spender: to, use_by, ends }
        },
    );
    proptest::collection::vec(one, 0..2)
}

fn any_facts() -> impl Strategy<Value = Facts> {
    let chain = || prop_oneof![Just("eip155:1".to_owned()), ".*"];
    let fee = prop_oneof![any::<u64>().prop_map(|f| amount(f.into())), any::<[u8; 32]>().prop_map(Amount)];
    let movements = proptest::collection::vec(any_movement(), 0..3);
    prop_oneof![
        (chain(), ".*", movements, allowances(), fee, any::<u64>()).prop_map(
            |(chain, method, movements, allowances, fee_max, nonce)| {
                Facts::Transaction(TransactionFacts { chain, method, movements, allowances, fee_max, nonce })
            }
        ),
        (chain(), ".*", ".*", allowances()).prop_map(|(chain, name, to, allowances)| {
            let (version, contract, primary_type) = (name.clone(), to.clone(), name.clone());
            let (salt, fields) = (to.clone(), vec![(name.clone(), to)]);
            Facts::TypedData(TypedDataFacts { chain, name, version, contract, salt, primary_type, allowances, fields })
        }),
        (any::<u64>(), any::<bool>()).prop_map(|(bytes, text)| Facts::Message(MessageFacts { bytes, text })),
        any::<u64>().prop_map(|bytes| Facts::Raw(RawFacts { bytes })),
        (chain(), ".*", ".*").prop_map(|(chain, to, why)| Facts::Opaque(OpaqueFacts { chain, to, why, call: None })),
        (any::<[u8; 32]>(), ".*", ".*").prop_map(|(n, code, to)| payment(Amount(n), code, to)),
    ]
}

fn payment(amount: Amount, code: String, to: String) -> Facts {
    let account = Account::iban("DE89370400440532013000").unwrap();
    let transfer = CreditTransfer {
        end_to_end_id: to.clone(),
        amount,
        creditor_name: to.clone(),
        creditor: account.clone(),
        bank: None,
        terms: PaymentTerms { service: code.clone(), instrument: code.clone(), charges: code, urgent: true },
    };
    let (debtor_name, execution, transfers) = (to.clone(), to.clone(), vec![transfer]);
    let blocks = vec![PaymentBlock { id: to.clone(), debtor_name, debtor: account, execution, transfers }];
    let (message_id, created, initiator) = (to.clone(), to.clone(), to);
    let currency = Currency::parse("EUR").unwrap();
    Facts::Payment(PaymentFacts { message_id, created, initiator, currency, total: amount, blocks })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Never panics, and never permits what the example's rules for the key do not speak of.
    #[test]
    fn any_facts_are_decided(facts in any_facts(), now in any::<u64>(), key in "[a-z]{1,5}|hot|receipts") {
        let b = example_bundle();
        let first = sign_as(b, "payout-service", &key, &facts, UnixMillis(now));
        prop_assert_eq!(&first, &sign_as(b, "payout-service", &key, &facts, UnixMillis(now)));
        if let Decision::Permit { .. } = first {
            let fits = match &facts {
                Facts::Transaction(t) => {
                    key == "hot" && t.allowances.is_empty() && t.movements.iter().all(|m| m.to == VENDOR)
                }
                Facts::Message(m) => key == "receipts" && m.text,
                Facts::Opaque(_) | Facts::Payment(_) | Facts::Raw(_) | Facts::TypedData(_) => false,
            };
            prop_assert!(fits);
        }
    }
}

fn example_bundle() -> &'static tally_policy::Bundle {
    static BUNDLE: std::sync::OnceLock<tally_policy::Bundle> = std::sync::OnceLock::new();
    BUNDLE.get_or_init(|| bundle(&example()))
}
