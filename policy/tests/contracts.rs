//! Calls of contracts whose ABI the bundle has: which are read, what rules and limits see of them, and what people are shown.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail loudly")]

mod common {
    pub mod bundle;
}

use common::bundle::*;
use tally_domain::facts::{Facts, OpaqueFacts, UnreadCall};
use tally_domain::{ClientId, KeyName, Reason};
use tally_policy::{
    Bundle, Case, Decision, DecisionRequest, Direction, OverLimit, PolicyAction, changes, charges, summary, unnoticed,
};

const CONTRACT: &str = "0x0000000000000000000000000000000000004626";

/// The example of a bundle with a contract.
fn vault() -> Files {
    let file = |path: &str, text: &str| (path.to_owned(), text.as_bytes().to_vec());
    Files::from([
        file("policy.cedar", include_str!("../examples/vault/policy.cedar")),
        file("assets.toml", include_str!("../examples/vault/assets.toml")),
        file("roster.toml", include_str!("../examples/vault/roster.toml")),
        file("bundle.toml", include_str!("../examples/vault/bundle.toml")),
        file("contracts.toml", include_str!("../examples/vault/contracts.toml")),
        file("abi/erc4626.json", include_str!("../examples/vault/abi/erc4626.json")),
        file("lists/own.txt", include_str!("../examples/vault/lists/own.txt")),
        file("tests/vault.case.toml", include_str!("../examples/vault/tests/vault.case.toml")),
    ])
}

fn put(files: &mut Files, path: &str, text: &str) {
    files.insert(path.into(), text.as_bytes().to_vec());
}

/// A bundle with one contract of this ABI, and these rules.
fn with_abi(abi: &str, rules: &str) -> Files {
    let mut files = with("policy.cedar", rules);
    put(&mut files, "abi/x.json", abi);
    let row = format!("[[contract]]\nname = \"c\"\nchain = \"eip155:1\"\naddress = \"{CONTRACT}\"\nabi = \"x\"\n");
    put(&mut files, "contracts.toml", &row);
    files
}

const ANY_CALL: &str = r#"@id("any") permit (principal, action in Action::"sign_call", resource);"#;

/// The JSON ABI of functions such as `f(uint256 a, bool)`; types are words.
fn abi(functions: &[&str]) -> String {
    let function = |signature: &&str| {
        let (name, args) = signature.trim_end_matches(')').split_once('(').unwrap();
        let input = |arg: &str| {
            let (of, name) = arg.trim().split_once(' ').unwrap_or((arg.trim(), ""));
            format!(r#"{{"internalType":"{of}","name":"{name}","type":"{of}"}}"#)
        };
        let inputs: Vec<_> = args.split(',').filter(|arg| !arg.is_empty()).map(input).collect();
        let head = format!(r#""inputs":[{}],"name":"{name}","outputs":[]"#, inputs.join(","));
        format!(r#"{{{head},"stateMutability":"nonpayable","type":"function"}}"#)
    };
    format!("[{}]", functions.iter().map(function).collect::<Vec<_>>().join(","))
}

fn call_of(to: &str, value: u128, input: &[u8]) -> Facts {
    let fee_max = amount(1_000_000_000_000_000);
    let call = UnreadCall { value: amount(value), input: input.to_vec(), fee_max, nonce: 0 };
    let why = "contract call with a selector".into();
    Facts::Opaque(OpaqueFacts { chain: "eip155:1".into(), to: to.into(), why, call: Some(call) })
}

fn call(input: &[u8]) -> Facts {
    call_of(CONTRACT, 0, input)
}

/// Call data: a selector, and words or bytes in hex.
fn data(selector: &str, words: &[&str]) -> Vec<u8> {
    let hex: String = std::iter::once(selector.to_owned()).chain(words.iter().map(|w| format!("{w:0>64}"))).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    hex.as_bytes().chunks(2).map(byte).collect()
}

fn word(address: &str) -> &str {
    address.strip_prefix("0x").unwrap()
}

fn deposit(assets: u128, receiver: &str) -> Vec<u8> {
    data("6e553f65", &[&format!("{assets:x}"), word(receiver)])
}

/// What is read of call data, as people are shown it: without what every call has.
fn read(bundle: &Bundle, input: &[u8]) -> Option<String> {
    let shown = summary(bundle, &call(input));
    let shown = shown.strip_prefix("c.")?.split_once(" of 0x")?;
    let (_, args) = shown.1.split_once("on eip155:1")?;
    let args = args.strip_suffix("; fee at most 0.001 ETH")?;
    Some(format!("{}{args}", shown.0))
}

/// The examples of Solidity's documentation ("Contract ABI Specification"), but the one with lists of lists.
#[test]
fn the_published_examples_are_read() {
    let functions = abi(&[
        "baz(uint32 x, bool y)",
        "bar(bytes3[2])",
        "sam(bytes, bool, uint256[])",
        "f(uint256,uint32[],bytes10,bytes)",
        "g(uint256[][],string[])",
    ]);
    let b = bundle(&with_abi(&functions, ANY_CALL));
    let left = |hex: &str| format!("{hex:0<64}");
    let (abc, def, dave) = (left("616263"), left("646566"), left("64617665"));
    let (digits, hello) = (left("31323334353637383930"), left("48656c6c6f2c20776f726c6421"));
    for (input, shown) in [
        (data("cdcd77c0", &["45", "1"]), "baz; x = 69; y = true"),
        (data("fce353f6", &[&abc, &def]), "bar; arg0 = [0x616263, 0x646566]"),
        (
            data("a5643bf2", &["60", "1", "a0", "4", &dave, "3", "1", "2", "3"]),
            "sam; arg0 = 0x64617665; arg1 = true; arg2 = [1, 2, 3]",
        ),
        (
            data("8be65246", &["123", "80", &digits, "e0", "2", "456", "789", "d", &hello]),
            "f; arg0 = 291; arg1 = [1110, 1929]; arg2 = 0x31323334353637383930; arg3 = 0x48656c6c6f2c20776f726c6421",
        ),
    ] {
        assert_eq!(read(&b, &input).as_deref(), Some(shown));
        assert_eq!(sign(&b, &call(&input)), permit("any"));
        assert_one_encoding(&b, &input, shown);
    }
    let nested = denied(sign(&b, &call(&data("2289b18c", &["0"]))));
    assert_eq!(nested.reason, Reason::TxOpaque);
    let why = nested.why_opaque.unwrap();
    assert!(why.contains("g(uint256[][],string[]): its argument of type uint256[][] is not read"), "{why}");
}

/// No other bytes are read as this.
fn assert_one_encoding(b: &Bundle, input: &[u8], shown: &str) {
    for at in 0..input.len() {
        for bit in 0..8 {
            let mut other = input.to_vec();
            other[at] ^= 1 << bit;
            assert_ne!(read(b, &other).as_deref(), Some(shown), "byte {at} bit {bit}");
        }
        assert_eq!(read(b, &input[..at]), None, "the first {at} bytes");
    }
    assert_eq!(read(b, &[input, &[0]].concat()), None);
    assert_eq!(read(b, &[input, &[0; 32]].concat()), None);
}

#[test]
fn s_2_2_values_outside_of_their_type_are_opaque() {
    let functions = abi(&["f(uint8 n)", "g(int8 n)", "h(bool b)", "i(address a)", "j(bytes4 b)", "k(string s)"]);
    let b = bundle(&with_abi(&functions, ANY_CALL));
    let selectors = ["f(uint8)", "g(int8)", "h(bool)", "i(address)", "j(bytes4)", "k(string)"].map(selector);
    let [f, g, h, i, j, k] = selectors.each_ref().map(String::as_str);
    let ones = "f".repeat(64);
    assert_eq!(read(&b, &data(f, &["ff"])).as_deref(), Some("f; n = 255"));
    assert_eq!(read(&b, &data(g, &[&ones])).as_deref(), Some("g; n = -1"));
    let least = format!("{}80", "f".repeat(62));
    assert_eq!(read(&b, &data(g, &[&least])).as_deref(), Some("g; n = -128"));
    let accent = "c3a9".to_owned() + &"0".repeat(60);
    assert_eq!(read(&b, &data(k, &["20", "2", &accent])).as_deref(), Some("k; s = é"));
    let not_utf8 = "c3".to_owned() + &"0".repeat(62);
    let wide = "1".to_owned() + &"0".repeat(40);
    let beyond = "01".repeat(5) + &"0".repeat(54);
    let bad = [
        data(f, &["100"]),
        data(g, &["80"]),
        data(h, &["2"]),
        data(i, &[&wide]),
        data(j, &[&beyond]),
        data(k, &["20", "1", &not_utf8]),
        // Four bytes that the length does not name.
        data(k, &["20", "1", &accent]),
        data(k, &["40", "0", "1", &accent]),
    ];
    for input in bad {
        assert_eq!(denied(sign(&b, &call(&input))).reason, Reason::TxOpaque, "{input:x?}");
    }
}

/// The first four bytes of Keccak-256, by the decoder's own library.
fn selector(signature: &str) -> String {
    let hash = alloy_primitives::keccak256(signature);
    hash[..4].iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn a_call_is_permitted_by_one_argument_and_denied_by_another() {
    let b = bundle(&vault());
    let ask = |facts: &Facts| sign_as(&b, "payout-service", "reserve", facts, EVENING);
    assert_eq!(ask(&call(&deposit(5_000_000_000, VENDOR))), permit("keep"));
    // Rounded up: a millionth more is more.
    let more = denied(ask(&call(&deposit(5_000_000_001, VENDOR))));
    assert_eq!(more.reason, Reason::PolicyDenied);
    assert_eq!(near(&more), [("keep", "context.tx.args.assets.lessThanOrEqual(decimal(\"5000\"))")]);
    let elsewhere = denied(ask(&call(&deposit(1, STRANGER))));
    assert_eq!(near(&elsewhere), [("keep", "context.tx.args.receiver in List::\"own\"")]);
    let beyond = denied(ask(&call(&deposit(u128::MAX, VENDOR))));
    assert!(beyond.errors[0].contains("assets: the amount in USDC is more than a rule can express"), "{beyond:?}");
    // At night no function of any contract is called.
    let night = denied(sign_as(&b, "payout-service", "reserve", &call(&deposit(1, VENDOR)), LAST_OF_NIGHT));
    assert_eq!(night.forbidden_by, ["no-night-calls"]);
    // Neither another contract, nor another chain, nor a function that the ABI has not.
    let Facts::Opaque(mut other) = call(&deposit(1, VENDOR)) else { panic!() };
    other.chain = "eip155:10".into();
    for opaque in [call_of(STRANGER, 0, &deposit(1, VENDOR)), Facts::Opaque(other), call(&data("deadbeef", &[]))] {
        assert_eq!(denied(ask(&opaque)).reason, Reason::TxOpaque);
    }
    let unknown = denied(ask(&call(&data("deadbeef", &[])))).why_opaque.unwrap();
    assert!(unknown.ends_with("which the ABI of contract vault has not"), "{unknown}");
}

#[test]
fn the_examples_cases_pass_and_notice_every_threshold() {
    let files = vault();
    let b = bundle(&files);
    let cases = Case::load_all(&b, &files).unwrap_or_else(|e| panic!("{e}"));
    for report in cases.iter().map(|case| case.run(&b)) {
        assert_eq!(report.wrong, None, "{}: {}", report.name, report.found);
    }
    assert_eq!(unnoticed(&files, &cases).unwrap(), []);
    assert_eq!(b.summary().contracts.into_iter().collect::<Vec<_>>(), [("vault".to_owned(), 4)]);
}

#[test]
fn coins_that_are_sent_along_are_a_movement_of_their_own() {
    let functions = abi(&["stake(address for)"]);
    let stake = data(&selector("stake(address)"), &[word(VENDOR)]);
    let (with_coins, without) = (call_of(CONTRACT, 5, &stake), call(&stake));
    let called = r#"@id("c") permit (principal, action == Action::"c.stake", resource);"#;
    let sent =
        r#"@id("s") permit (principal, action == Action::"sign", resource) when { context.tx.method == "stake" };"#;
    let both = bundle(&with_abi(&functions, &format!("{called}\n{sent}")));
    assert_eq!((sign(&both, &without), sign(&both, &with_coins)), (permit("c"), permit("c,s")));
    let only = bundle(&with_abi(&functions, called));
    assert_eq!((sign(&only, &without), denied(sign(&only, &with_coins)).reason), (permit("c"), Reason::PolicyDenied));
    // A rule for what is opaque says nothing of a call that is understood, nor the other way round.
    let opaque = r#"@id("o") permit (principal, action == Action::"sign_opaque", resource);"#;
    let b = bundle(&with_abi(&functions, opaque));
    assert!(matches!(sign(&b, &without), Decision::Deny(_)));
    assert_eq!(sign(&b, &call(&data("deadbeef", &[]))), permit("o"));
    assert!(summary(&both, &with_coins).contains("; 0.000000000000000005 ETH are sent along"));
}

#[test]
fn limits_of_amounts_take_a_call_for_everything_and_counts_count_it() {
    let limit = |scope: &str| format!("[[limit]]\nid = \"l\"\n{scope}\nper = \"1h\"\n");
    let charged = |limits: &str, value| {
        let mut files = with_abi(&abi(&["stake()"]), ANY_CALL);
        put(&mut files, "limits.toml", limits);
        let b = bundle(&files);
        let facts = call_of(CONTRACT, value, &data(&selector("stake()"), &[]));
        let (client, key) = (ClientId::parse("payout-service").unwrap(), KeyName::parse("hot").unwrap());
        let request = DecisionRequest { client: &client, key: &key, action: PolicyAction::Sign(&facts) };
        charges(&b, &request).map(|all| all.iter().map(|charge| charge.amount).sum::<u128>())
    };
    assert_eq!(charged(&limit("count = 3"), 0), Ok(1));
    assert_eq!(charged(&limit("action = \"sign_call\"\ncount = 3"), 7), Ok(1));
    assert!(matches!(charged(&limit("asset = \"USDC\"\nmax = \"5\""), 0), Err(OverLimit::Unknown { .. })));
    // Coins are counted exactly by a limit for movements alone.
    assert_eq!(charged(&limit("action = \"sign\"\nasset = \"ETH\"\nmax = \"5\""), 7), Ok(7));
}

#[test]
fn arguments_are_typed_and_rules_that_misname_them_do_not_load() {
    let functions = abi(&["f(uint48 small, uint256 large, address who, bytes4 b)", "o(bool)", "o(uint8)"]);
    let rule =
        |when: &str| format!("@id(\"r\") permit (principal, action == Action::\"c.f\", resource)\nwhen {{ {when} }};");
    let loads = |when: &str| Bundle::load(&with_abi(&functions, &rule(when))).map(|_| ()).map_err(|e| e.to_string());
    for good in [
        "context.tx.args.small < 5 && context.tx.args.large == \"115792089237316195423570985008687907853\"",
        "context.tx.args.who in List::\"vendors\" && context.tx.args.b == \"0x01020304\"",
        "context.tx.method == \"f\" && context.tx.value.lessThan(decimal(\"1\"))",
        "[Address::\"0x0000000000000000000000000000000000000001\"].contains(context.tx.args.who)",
    ] {
        assert_eq!(loads(good), Ok(()), "{good}");
    }
    for bad in
        ["context.tx.args.smal < 5", "context.tx.args.large < 5", "context.tx.args.who == \"x\"", "context.tx.to == 1"]
    {
        let e = loads(bad).unwrap_err();
        assert!(e.starts_with("policy.cedar:2:"), "{e}");
    }
    let named = |action: &str| {
        let rules = format!("@id(\"r\") permit (principal, action == Action::\"{action}\", resource);");
        Bundle::load(&with_abi(&functions, &rules)).map(|_| ()).map_err(|e| e.to_string())
    };
    assert_eq!((named("c.o(bool)"), named("c.o(uint8)")), (Ok(()), Ok(())));
    for missing in ["c.o", "d.f", "f"] {
        assert!(named(missing).unwrap_err().starts_with("policy.cedar:1:"), "{missing}");
    }
    let approved = r#"@id("r") @approvals("1 of x") permit (principal, action == Action::"c.f", resource);"#;
    let e = refused(&with_abi(&functions, approved)).to_string();
    assert!(e.contains("group") && !e.contains("wait"), "persons can approve calls: {e}");
}

#[test]
fn tuples_are_records_and_lists_are_sets() {
    let json = r#"[{"type":"function","name":"swap","stateMutability":"payable","outputs":[],"inputs":[
        {"name":"p","type":"tuple","components":[{"name":"in","type":"address"},{"name":"amount","type":"uint256"}]},
        {"name":"to","type":"address[]"}]}]"#;
    let rules = r#"@id("r") permit (principal, action == Action::"c.swap", resource)
        when { context.tx.args.p["in"] in List::"vendors" && context.tx.args.p.amount.lessThan(decimal("2"))
               && [Address::"0x70997970c51812dc3a010c7d01b50e0d17dc79c8"].containsAll(context.tx.args.to) };"#;
    let mut files = with_abi(json, rules);
    let row = String::from_utf8(files["contracts.toml"].clone()).unwrap();
    put(&mut files, "contracts.toml", &format!("{row}amounts = {{ \"swap.p.amount\" = \"USDC\" }}\n"));
    let b = bundle(&files);
    let swap = |amount: &str, to: &[&str]| {
        let length = format!("{:x}", to.len());
        let mut words = vec![word(VENDOR), amount, "60", &length];
        words.extend(to.iter().map(|to| word(to)));
        call(&data(&selector("swap((address,uint256),address[])"), &words))
    };
    assert_eq!(sign(&b, &swap("f4240", &[VENDOR, VENDOR])), permit("r"));
    assert_eq!(sign(&b, &swap("f4240", &[])), permit("r"));
    assert!(matches!(sign(&b, &swap("f4240", &[VENDOR, STRANGER])), Decision::Deny(_)));
    assert!(matches!(sign(&b, &swap("1e8480", &[VENDOR])), Decision::Deny(_)));
    let shown = summary(&b, &swap("f4240", &[STRANGER]));
    assert!(shown.contains(&format!("; p.in = {VENDOR}; p.amount = 1 USDC; to = [{STRANGER}]; ")), "{shown}");
    let many: Vec<_> = std::iter::repeat_n(VENDOR, 65).collect();
    let why = denied(sign(&b, &swap("1", &many[..]))).why_opaque.unwrap();
    assert!(why.ends_with("argument to: a list of 65; up to 64 are looked into"), "{why}");
}

#[test]
fn what_is_wrong_with_an_abi_or_a_contract_is_said_with_its_place() {
    let one = abi(&["f(uint256 a)"]);
    let whole = |abi: &str, row: &str| {
        let mut files = with_abi(abi, ANY_CALL);
        if !row.is_empty() {
            put(&mut files, "contracts.toml", row);
        }
        refused(&files).to_string()
    };
    for (bad, says) in [
        ("{", "abi/x.json:1:1: this is not the ABI of a contract"),
        (
            "[\n  {\"type\": \"function\"}\n]",
            "abi/x.json:3:1: this is not the ABI of a contract, as Solidity's compiler writes it: missing field `name`",
        ),
        ("[\n\n 5]", "abi/x.json:3:"),
        (&abi(&["f(uint256 a, bool a)"]), "abi/x.json: argument `a` is there twice"),
        (&abi(&["f(uint256 a)", "f(uint256 b)"]), "abi/x.json: function or selector of `f(uint256)` is there twice"),
        (&" ".repeat(300 * 1024), "abi/x.json: the size in bytes is over the limit"),
    ] {
        let e = whole(bad, "");
        assert!(e.starts_with(says), "{e}");
    }
    let row = |name: &str, chain: &str, address: &str, rest: &str| {
        format!("[[contract]]\nname = \"{name}\"\nchain = \"{chain}\"\naddress = \"{address}\"\nabi = \"x\"\n{rest}\n")
    };
    let good = row("c", "eip155:1", CONTRACT, "");
    for (bad, says) in [
        (row("c c", "eip155:1", CONTRACT, ""), "contracts.toml:2:8: `c c` is not a valid contract name"),
        (row("c", "eip155:9", CONTRACT, ""), "contracts.toml:3:9: chain `eip155:9` has assets but no native coin"),
        (row("c", "eip155:1", "0x12", ""), "contracts.toml:4:11: `0x12` is not a valid contract"),
        (
            row("c", "eip155:1", "0x000000000022D473030F116dDEE9F6B43aC78BA3", ""),
            "contracts.toml:4:11: `0x000000000022d473030f116ddee9f6b43ac78ba3` is not a valid contract: no ABI explains Permit2",
        ),
        (good.replace("\"x\"", "\"y\""), "contracts.toml:5:7: there is no ABI `y`"),
        (row("c", "eip155:1", CONTRACT, "colour = 1"), "contracts.toml:6:1: unknown field"),
        (
            row("c", "eip155:1", CONTRACT, "amounts = { \"f.b\" = \"USDC\" }"),
            "contracts.toml:6:13: there is no amount `f.b`",
        ),
        (
            row("c", "eip155:1", CONTRACT, "amounts = { \"f.a\" = \"DAI\" }"),
            "contracts.toml:6:21: there is no asset `DAI`",
        ),
        (format!("{good}{good}"), "contracts.toml:8:8: contract `c` is there twice"),
        (format!("{good}{}", row("d", "eip155:1", CONTRACT, "")), "contracts.toml:10:11: address `0x"),
    ] {
        let e = whole(&one, &bad);
        assert!(e.starts_with(says), "{e}");
    }
}

#[test]
fn functions_of_standards_and_those_that_change_nothing_are_no_actions() {
    let mut functions = abi(&["transfer(address to, uint256 amount)", "approve(address a, uint256 b)", "f()"]);
    functions = functions.replace("\"nonpayable\",\"type\":\"function\"}]", "\"view\",\"type\":\"function\"}]");
    let b = bundle(&with_abi(&functions, "@id(\"no\") forbid (principal, action, resource);"));
    assert_eq!(b.summary().contracts["c"], 0);
    // No contract gives a rule for all calls anything to say.
    let e = refused(&with_abi(&functions, ANY_CALL)).to_string();
    assert!(e.starts_with("policy.cedar:1:"), "{e}");
}

#[test]
fn a_changed_abi_or_contract_loosens_and_a_bundle_without_them_is_as_it_was() {
    let loosens = |change: &dyn Fn(&mut Files)| {
        let mut files = vault();
        change(&mut files);
        let all = changes(&bundle(&vault()), &bundle(&files));
        let contracts: Vec<_> = all.iter().filter(|change| change.file == "contracts.toml").collect();
        assert!(contracts.iter().all(|change| change.direction == Direction::Looser));
        !contracts.is_empty()
    };
    let edit = |path: &'static str, from: &'static str, to: &'static str| {
        move |files: &mut Files| {
            let text = String::from_utf8(files[path].clone()).unwrap();
            assert!(text.contains(from));
            put(files, path, &text.replacen(from, to, 1));
        }
    };
    assert!(loosens(&edit("contracts.toml", "4626\"", "4627\"")));
    assert!(loosens(&edit("contracts.toml", ", \"withdraw.assets\" = \"USDC\"", "")));
    assert!(loosens(&edit("abi/erc4626.json", "\"name\": \"redeem\"", "\"name\": \"redeem2\"")));
    assert!(
        !loosens(&edit("abi/erc4626.json", "\"name\": \"Deposit\"", "\"name\": \"Kept\"")),
        "events decide nothing"
    );
    assert!(!loosens(&|_| ()));
    // The digest of a bundle that has none of it is what it was before there could be any.
    let payouts = bundle(&example());
    assert!(payouts.summary().contracts.is_empty());
    assert_eq!(payouts.schema(), tally_policy::SCHEMA);
}
