//! Limits: which match, what is charged, and what is refused when they are loaded.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail loudly")]

mod common {
    pub mod bundle;
    pub mod treasury;
}

use common::bundle::*;
use common::treasury::*;
use tally_domain::claim::LINES_MAX;
use tally_domain::facts::{
    Amount, AssetRef, CreditTransfer, Facts, MessageFacts, Movement, OpaqueFacts, PaymentBlock, PaymentFacts,
    PaymentTerms, RawFacts,
};
use tally_domain::{Account, Charge, ClientId, Currency, KeyName, LimitId, LineId, Reason};
use tally_policy::{DecisionRequest, OverLimit, PolicyAction, charges};

fn limits(text: &str) -> Files {
    let mut files = treasury();
    files.insert("limits.toml".into(), text.as_bytes().to_vec());
    files
}

fn charge(files: &Files, facts: &Facts) -> Result<Vec<Charge>, OverLimit> {
    charge_as(files, "payout-service", "hot", facts)
}

fn charge_as(files: &Files, client: &str, key: &str, facts: &Facts) -> Result<Vec<Charge>, OverLimit> {
    let (client, key) = (ClientId::parse(client).unwrap(), KeyName::parse(key).unwrap());
    charges(&bundle(files), &DecisionRequest { client: &client, key: &key, action: PolicyAction::Sign(facts) })
}

/// (limit, amount), sorted.
fn amounts(charges: Result<Vec<Charge>, OverLimit>) -> Vec<(String, u128)> {
    let mut all: Vec<_> = charges.unwrap().into_iter().map(|c| (c.limit.to_string(), c.amount)).collect();
    all.sort();
    all
}

fn moving(movements: Vec<Movement>) -> Facts {
    Facts::Transaction(transfer(movements))
}

fn limit_id(id: &str) -> LimitId {
    LimitId::parse(id).unwrap()
}

const OTHER_VENDOR: &str = "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc";

#[test]
fn every_limit_that_matches_is_charged_exactly() {
    let files = treasury();
    let got = charge(&files, &moving(vec![usdc(1_000_000_001, VENDOR)])).unwrap();
    let day = got.iter().find(|c| c.limit == limit_id("hot-usdc-day")).unwrap();
    let expected = Charge {
        limit: limit_id("hot-usdc-day"),
        line: LineId::of(&limit_id("hot-usdc-day"), &[("key", "hot")]),
        max: 2_000_000_000_000,
        window_ms: DAY_MS,
        amount: 1_000_000_001,
    };
    assert_eq!((day, got.len()), (&expected, 2));
    // Movement by movement, added up per line; a line for each destination.
    let both = moving(vec![usdc(1, VENDOR), usdc(2, VENDOR), usdc(4, OTHER_VENDOR), usdc(8, STRANGER)]);
    let pair = |id: &str, n| (id.to_owned(), n);
    assert_eq!(
        amounts(charge(&files, &both)),
        [pair("hot-usdc-day", 15), pair("vendor-hour", 1), pair("vendor-hour", 2)]
    );
    // Other keys and assets are other matters; nothing takes nothing, but it is a movement.
    assert_eq!(amounts(charge_as(&files, "payout-service", "cold", &payout(1))), [pair("vendor-hour", 1)]);
    let eth = Movement { asset: AssetRef::Native, amount: amount(5), from: String::new(), to: STRANGER.into() };
    assert_eq!(amounts(charge(&files, &moving(vec![eth]))), []);
    assert_eq!(amounts(charge(&files, &payout(0))), [pair("vendor-hour", 1)]);
}

#[test]
fn a_request_above_the_limit_is_refused_at_once() {
    let files = changed("limits.toml", "2_000_000", "900");
    let over = OverLimit::Amount { limit: limit_id("hot-usdc-day") };
    assert!(charge(&files, &payout(900_000_000)).is_ok());
    assert_eq!(charge(&files, &payout(900_000_001)), Err(over.clone()));
    assert_eq!(charge(&files, &moving(vec![usdc(900_000_000, VENDOR), usdc(1, VENDOR)])), Err(over.clone()));
    let unlimited = Movement { amount: Amount([0xff; 32]), ..usdc(0, VENDOR) };
    assert_eq!(charge(&files, &moving(vec![unlimited])), Err(over));
    // The decision says so before anyone is asked, and names the limit.
    let d = denied(sign(&bundle(&files), &payout(900_000_001)));
    assert_eq!((d.reason, d.limit), (Reason::VelocityLimit, Some(limit_id("hot-usdc-day"))));
    assert_eq!(d.errors, ["the request takes more than limit `hot-usdc-day` ever allows"]);
    let large =
        denied(sign(&bundle(&files), &moving(vec![whole_usdc(5_000, STRANGER.replace("dead", "1234").as_str())])));
    assert_eq!(large.reason, Reason::VelocityLimit);
    // What rules deny is denied for that.
    assert_eq!(denied(sign(&bundle(&files), &payout(900_000_000_001))).reason, Reason::PolicyDenied);
    let count = changed("limits.toml", "count = 20", "count = 1");
    assert!(charge(&count, &payout(1)).is_ok());
    let twice = moving(vec![usdc(1, VENDOR), usdc(1, VENDOR)]);
    assert_eq!(charge(&count, &twice), Err(OverLimit::Amount { limit: limit_id("vendor-hour") }));
}

/// Nobody knows what it moves, so that it counts as if it moved everything.
#[test]
fn what_is_not_known_is_infinite() {
    let opaque =
        Facts::Opaque(OpaqueFacts { chain: "eip155:1".into(), to: STRANGER.into(), why: "a call".into(), call: None });
    let token = Movement {
        asset: AssetRef::Contract(STRANGER.into()),
        amount: amount(0),
        from: String::new(),
        to: VENDOR.into(),
    };
    for facts in [opaque, moving(vec![token]), Facts::Raw(RawFacts { bytes: 32 })] {
        let over = OverLimit::Unknown { limit: limit_id("hot-usdc-day") };
        assert_eq!(charge(&treasury(), &facts), Err(over));
        // A limit for plain transactions alone does not match; one that counts does, whatever its list.
        let files = changed("limits.toml", "key = \"hot\"", "action = \"sign\"\nkey = \"hot\"");
        assert_eq!(amounts(charge(&files, &facts)), [("vendor-hour".to_owned(), 1)]);
    }
    let message = Facts::Message(MessageFacts { bytes: 1, text: true });
    assert_eq!(amounts(charge(&treasury(), &message)), []);
    let counted = limits("[[limit]]\nid = \"all\"\ncount = 5\nper = \"1m\"\n");
    assert_eq!(amounts(charge(&counted, &message)), [("all".to_owned(), 1)]);
}

#[test]
fn limits_match_by_each_of_their_fields() {
    let matching = |fields: &str| {
        let text = format!("[[limit]]\nid = \"l\"\n{fields}\ncount = 9\nper = \"10m\"\n");
        charge(&limits(&text), &payout(1)).unwrap().len()
    };
    for (fields, matches) in [
        ("", 1),
        ("key = \"hot\"", 1),
        ("key = \"cold\"", 0),
        ("client = \"payout-service\"", 1),
        ("client = \"operator\"", 0),
        ("asset = \"USDC\"", 1),
        ("asset = \"ETH\"", 0),
        ("asset = \"EUR\"", 0),
        ("action = \"sign\"", 1),
        ("action = \"sign_opaque\"", 0),
        ("list = \"vendors\"", 1),
        ("list = \"blocked\"", 0),
        (&format!("to = \"{}\"", VENDOR.to_uppercase().replace("0X", "0x")), 1),
        (&format!("to = \"{STRANGER}\""), 0),
        ("to = \"DE89370400440532013000\"", 0),
        ("key = \"hot\"\nlist = \"blocked\"", 0),
    ] {
        assert_eq!(matching(fields), matches, "{fields}");
    }
}

#[test]
fn lines_are_told_apart_by_what_they_count_by() {
    let line = |by: &str, client: &str, key: &str, to: &str| {
        let files =
            limits(&format!("[[limit]]\nid = \"l\"\nasset = \"USDC\"\nmax = \"9\"\nper = \"10m\"\nby = [{by}]\n"));
        charge_as(&files, client, key, &moving(vec![usdc(1, to)])).unwrap()[0].line
    };
    let base = |by| line(by, "payout-service", "hot", VENDOR);
    for (by, differs) in [
        ("", [false; 3]),
        ("\"client\"", [true, false, false]),
        ("\"key\"", [false, true, false]),
        ("\"to\"", [false, false, true]),
        ("\"to\", \"key\"", [false, true, true]),
        ("\"asset\", \"action\"", [false; 3]),
    ] {
        let others = [
            line(by, "operator", "hot", VENDOR),
            line(by, "payout-service", "cold", VENDOR),
            line(by, "payout-service", "hot", STRANGER),
        ];
        assert_eq!(others.map(|other| other != base(by)), differs, "{by}");
    }
    // Another order of words is no other line.
    assert_eq!(base("\"to\", \"key\""), base("\"key\", \"to\""));
}

/// An asset is counted in the finest units that it has on any chain.
#[test]
fn one_line_counts_an_asset_of_several_chains() {
    let mut files = limits("[[limit]]\nid = \"l\"\nasset = \"USDC\"\nmax = \"2\"\nper = \"1d\"\n");
    let assets = text(&files, "assets.toml")
        + "\n[[asset]]\nsymbol = \"BNB\"\nchain = \"eip155:56\"\ndecimals = 18\n"
        + &format!("\n[[asset]]\nsymbol = \"USDC\"\nchain = \"eip155:56\"\ncontract = \"{USDC}\"\ndecimals = 18\n");
    files.insert("assets.toml".into(), assets.into_bytes());
    let on = |chain: &str, units| {
        let tx = tally_domain::facts::TransactionFacts { chain: chain.into(), ..transfer(vec![usdc(units, VENDOR)]) };
        charge(&files, &Facts::Transaction(tx)).map(|c| (c[0].amount, c[0].max))
    };
    let max = 2 * 10u128.pow(18);
    assert_eq!(on("eip155:1", 1), Ok((10u128.pow(12), max)));
    assert_eq!(on("eip155:56", 1), Ok((1, max)));
    assert_eq!(on("eip155:1", 2_000_000), Ok((max, max)));
    assert!(on("eip155:1", 2_000_001).is_err());
    assert!(on("eip155:1", u128::MAX).is_err());
}

#[test]
fn bank_money_is_limited_like_coins() {
    let transfer = |cents: u128| CreditTransfer {
        end_to_end_id: "E".into(),
        amount: Amount::from(cents),
        creditor_name: "Payee".into(),
        creditor: Account::parse("NL91ABNA0417164300").unwrap(),
        bank: None,
        terms: PaymentTerms::default(),
    };
    let block = PaymentBlock {
        id: "B".into(),
        debtor_name: "Payer".into(),
        debtor: Account::parse("DE89370400440532013000").unwrap(),
        execution: "2026-11-23".into(),
        transfers: vec![transfer(100), transfer(50)],
    };
    let facts = Facts::Payment(PaymentFacts {
        message_id: "M".into(),
        created: "2026-11-21T22:01:00".into(),
        initiator: String::new(),
        currency: Currency::parse("EUR").unwrap(),
        total: Amount::from(150),
        blocks: vec![block],
    });
    let files = limits(
        "[[limit]]\nid = \"eur\"\nasset = \"EUR\"\nmax = \"1.50\"\nper = \"1d\"\n\
         [[limit]]\nid = \"to\"\nto = \"NL91ABNA0417164300\"\naction = \"sign_payment\"\ncount = 2\nper = \"1d\"\n",
    );
    assert_eq!(amounts(charge(&files, &facts)), [("eur".to_owned(), 150), ("to".to_owned(), 2)]);
    let tight = limits("[[limit]]\nid = \"eur\"\nasset = \"EUR\"\nmax = \"1.49\"\nper = \"1d\"\n");
    assert_eq!(charge(&tight, &facts), Err(OverLimit::Amount { limit: limit_id("eur") }));
}

#[test]
fn lines_of_one_request_are_bounded() {
    let files = limits("[[limit]]\nid = \"l\"\ncount = 9\nper = \"1d\"\nby = [\"to\"]\n");
    let to = |n: usize| moving((0..n).map(|i| usdc(1, &format!("0x{i:040x}"))).collect());
    assert_eq!(charge(&files, &to(LINES_MAX)).unwrap().len(), LINES_MAX);
    assert_eq!(charge(&files, &to(LINES_MAX + 1)), Err(OverLimit::Lines { limit: limit_id("l") }));
}

#[test]
fn limits_are_read_strictly() {
    let limit = |fields: &str| format!("[[limit]]\nid = \"l\"\nper = \"24h\"\n{fields}\n");
    let usdc = |max: &str| limit(&format!("asset = \"USDC\"\nmax = \"{max}\""));
    let both = "limit `l` must have either `max`, an amount, or `count`, a number of movements, and not both";
    let range = "`max` has more than the 6 decimals";
    for (text, start) in [
        (
            limit("asset = \"USDT\"\nmax = \"1\""),
            "limits.toml:4:9: there is no asset with decimals `USDT`; a limit counts assets of assets.toml",
        ),
        (limit("max = \"1\""), "limits.toml:4:7: a limit with `max` must name its `asset`"),
        (limit(""), &format!("limits.toml:2:6: {both}")),
        (limit("asset = \"USDC\"\nmax = \"1\"\ncount = 1"), &format!("limits.toml:2:6: {both}")),
        (usdc("0"), "limits.toml:5:7: `0` is not a valid max"),
        (usdc("0.000_000"), "limits.toml:5:7: `0.000_000` is not a valid max"),
        (usdc("-1"), "limits.toml:5:7: `-1` is not a valid max"),
        (usdc("1,000"), "limits.toml:5:7: `1,000` is not a valid max"),
        (usdc("0.0000001"), &format!("limits.toml:5:7: {range}")),
        (usdc(&"9".repeat(40)), &format!("limits.toml:5:7: {range}")),
        (limit("count = 0"), "limits.toml:4:9: `0` is not a valid count"),
        (limit("count = -1"), "limits.toml:4:9:"),
        (limit("count = 1\nlist = \"vendor\""), "limits.toml:5:8: there is no list `vendor`"),
        (limit("count = 1\naction = \"sing\""), "limits.toml:5:10: there is no action `sing`"),
        (limit("count = 1\nclient = \"payouts\""), "limits.toml:5:10: there is no client `payouts`"),
        (limit("count = 1\nkey = \"a b\""), "limits.toml:5:7: `a b` is not a valid key name"),
        (limit("count = 1\nto = \"0x12\""), "limits.toml:5:6: `0x12` is not a valid address"),
        (limit("count = 1\nto = \"DE00\""), "limits.toml:5:6: `DE00` is not a valid bank account"),
        (
            limit("count = 1\naction = \"create_key\""),
            "limits.toml:5:10: `create_key` is not a valid action of a limit",
        ),
        (limit("count = 1\nkey = \"hot\"\ndomain = \"shop\""), "limits.toml:6:10: a limit names a `key` or a `domain`"),
        (limit("count = 1\ndomain = \"a b\""), "limits.toml:5:10: `a b` is not a valid name of a token domain"),
        (
            limit("count = 1\naction = \"delete_token\""),
            "limits.toml:5:10: `delete_token` is not a valid action of a limit",
        ),
        (limit("count = 1\nby = [\"list\"]"), "limits.toml:5:7: `list` is not a valid field to count by"),
        (limit("count = 1\nby = [\"key\", \"key\"]"), "limits.toml:5:14: field to count by `key` is there twice"),
        (limit("count = 1\nkeys = \"hot\""), "limits.toml:5:1: unknown field `keys`"),
        (format!("{}{}", limit("count = 1"), limit("count = 2")), "limits.toml:6:6: limit `l` is there twice"),
        (
            limit("count = 1").replace("24h", "59s"),
            "limits.toml:3:7: `59s` is not a valid window of a limit: a whole number and a unit",
        ),
        (limit("count = 1").replace("24h", "0m"), "limits.toml:3:7: `0m` is not a valid window of a limit"),
        (
            limit("count = 1").replace("24h", "367d"),
            "limits.toml:3:7: `367d` is not a valid window of a limit: 1m to 366d",
        ),
        (limit("count = 1").replace("\"l\"", "\"a b\""), "limits.toml:2:6: `a b` is not a valid limit id"),
        (
            (0..101).map(|i| limit("count = 1").replace("\"l\"", &format!("\"l{i}\""))).collect(),
            "limits.toml:402:6: the number of limits is over the limit of 100",
        ),
    ] {
        let e = refused(&limits(&text)).to_string();
        assert!(e.starts_with(start), "{text}{e}");
    }
}
