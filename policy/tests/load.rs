//! What is refused when a bundle is loaded, with the place and what to do.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests fail loudly"
)]

mod common {
    pub mod bundle;
}

use common::bundle::*;
use proptest::prelude::*;
use tally_domain::quorum::Tolerance;
use tally_policy::{BUNDLE_MAX_BYTES, Bundle, DEPTH_MAX, Effect, FILES_MAX, Place, Problem, RULE_MAX_BYTES, RULES_MAX};

#[test]
fn the_example_loads_and_is_summed_up() {
    let b = bundle(&example());
    assert_eq!(b.version(), 1);
    let rules: Vec<_> = b.rules().collect();
    assert_eq!(rules[0], ("payouts-small", Effect::Permit));
    assert_eq!(rules[2], ("no-night-payouts", Effect::Forbid));
    let s = b.summary();
    assert_eq!((s.permits.len(), s.forbids.len(), s.lists["vendors"], s.nodes, s.clients), (4, 1, 2, 3, 2));
    assert_eq!(s.assets, ["ETH on eip155:1", "USDC on eip155:1"]);
    assert_eq!(b.roster().signers().count(), 3);
}

#[test]
fn the_digest_is_over_every_path_and_byte() {
    let digest = |files: &Files| bundle(files).digest();
    let plain = digest(&example());
    assert_eq!(plain, digest(&example()));
    for path in example().keys() {
        let mut changed = example();
        changed.get_mut(path).unwrap().push(b'\n');
        assert_ne!(plain, digest(&changed), "{path}");
    }
    assert_ne!(plain, digest(&with("lists/empty.txt", "")));
    assert_ne!(digest(&with("lists/a.txt", "")), digest(&with("lists/b.txt", "")));
}

#[test]
fn files_are_all_of_a_bundle_and_nothing_else() {
    for path in ["policy.cedar", "assets.toml", "roster.toml", "bundle.toml"] {
        let mut files = example();
        files.remove(path);
        let e = refused(&files);
        assert_eq!((e.file.as_str(), e.problem), (path, Problem::Missing));
    }
    for path in ["limits.toml", "groups.toml", "tests/payouts.case.toml"] {
        bundle(&with(path, ""));
    }
    for path in [
        "policy.cedar~",
        "lists/../x.txt",
        "lists/a/b.txt",
        "lists/vendors",
        "lists/.txt",
        "Limits.toml",
        "tests/x.toml",
    ] {
        assert_eq!(refused(&with(path, "")).problem, Problem::UnknownFile, "{path}");
    }
    let mut files = example();
    files.insert("lists/vendors.txt".into(), vec![0xff]);
    assert_eq!(refused(&files).problem, Problem::NotUtf8);
}

#[test]
fn sizes_are_limited() {
    let too_large = |files: &Files| matches!(refused(files).problem, Problem::TooLarge { .. });
    assert!(too_large(&with("lists/x.txt", &"#".repeat(BUNDLE_MAX_BYTES))));
    let mut files = example();
    files.extend((0..FILES_MAX).map(|i| (format!("lists/{i}.txt"), vec![])));
    assert!(too_large(&files));
    let rule = |i: usize| format!("@id(\"r{i}\") forbid (principal, action, resource);\n");
    let rules = |n| (0..n).map(rule).collect::<String>();
    assert_eq!(bundle(&with("policy.cedar", &rules(RULES_MAX))).rules().count(), RULES_MAX);
    let e = refused(&with("policy.cedar", &rules(RULES_MAX + 1)));
    assert_eq!(e.place, Some(Place { line: RULES_MAX + 1, column: 1 }));
    let described = |n| format!("@id(\"r\") @description(\"{}\") forbid (principal, action, resource);", "x".repeat(n));
    let room = RULE_MAX_BYTES - described(0).len();
    bundle(&with("policy.cedar", &described(room)));
    assert!(too_large(&with("policy.cedar", &described(room + 1))));
}

/// S-2.2 step 12: a rule of any shape that is let through is checked and evaluated on less stack than a worker thread
/// has.
#[test]
fn the_deepest_rules_fit_a_small_stack() {
    let rule = |before: String, after: String| {
        format!("@id(\"r\") forbid (principal, action, resource) when {{ {before}context.now.hour < 24{after} }};")
    };
    type Shape = fn(usize) -> (String, String);
    let shapes: [Shape; 6] = [
        |n| ("(".repeat(n), ")".repeat(n)),
        |n| ("context.now.hour < 24 && ".repeat(n), String::new()),
        |n| ("context.now.hour == 25 || ".repeat(n), String::new()),
        |n| ("if context.now.hour == 25 then true else ".repeat(n), String::new()),
        |n| ("0 + ".repeat(n), String::new()),
        |n| ("context.now.hour < 24 && [true].contains(".repeat(n), ")".repeat(n)),
    ];
    for shape in shapes {
        let load = |n| {
            let (before, after) = shape(n);
            let files = with("policy.cedar", &rule(before, after));
            let run = move || Bundle::load(&files).map(|b| denied(sign(&b, &payout(1)))).map_err(|e| e.problem);
            std::thread::Builder::new().stack_size(3 * 512 * 1024).spawn(run).unwrap().join().unwrap()
        };
        let deepest = (1..DEPTH_MAX).rev().find_map(|n| load(n).ok()).unwrap();
        assert_eq!((deepest.forbidden_by.len(), deepest.errors), (1, vec![]));
        assert!(matches!(load(DEPTH_MAX), Err(Problem::TooLarge { .. })));
    }
    for chain in [".hour", "[\"hour\"]"] {
        let policy =
            format!("@id(\"r\") forbid (principal, action, resource) when {{ context{} }};", chain.repeat(DEPTH_MAX));
        assert!(matches!(refused(&with("policy.cedar", &policy)).problem, Problem::TooLarge { .. }));
    }
}

/// How an error about what `at` points to begins.
fn place_of(policy: &str, at: &str) -> String {
    let before = &policy[..policy.find(at).unwrap_or_else(|| panic!("no {at} in {policy}"))];
    let line = before.lines().count().max(1) + usize::from(before.ends_with('\n'));
    let column = before.lines().last().filter(|_| !before.ends_with('\n')).map_or(0, str::len) + 1;
    format!("policy.cedar:{line}:{column}: ")
}

/// The policy is refused with this message, at the first place of this text in it.
fn assert_refused(policy: &str, at: &str, message: &str) {
    let e = refused_policy(policy);
    assert!(e.starts_with(&place_of(policy, at)) && e.contains(message), "{policy}\n{e}");
}

#[test]
fn rules_say_nothing_that_would_be_ignored() {
    let scope = "(principal, action == Action::\"sign\", resource);";
    let refused = |policy: String, at, message| assert_refused(&policy, at, message);
    let later = "there is no group of persons `treasury`";
    refused(format!("\n  @id(\"a\")\n @approvals(\"2 of treasury\") permit {scope}"), "@approvals", later);
    let more = r#"@id("a") @approvals("1 of treasury") permit (principal, action in [Action::"sign", Action::"freeze"], resource);"#;
    refused(
        more.into(),
        "@approvals",
        "a rule with @approvals is for signatures and for `reveal`, and names action `freeze`",
    );
    refused(format!("@id(\"a\") @advice(\"x\") permit {scope}"), "@advice", "unknown annotation `@advice`");
    refused(format!("@id(\"a\") permit {scope}\nforbid {scope}"), "forbid", "the rule has no @id");
    let twice = format!("@id(\"a\") permit {scope}\n@id ( \"a\") forbid {scope}");
    refused(twice, "@id (", "rule `a` is there twice");
    refused(format!("@id(\"a,b\") permit {scope}"), "@id", "`a,b` is not a valid rule id");
    let any_action = "@id(\"a\") permit (principal, action, resource);";
    refused(any_action.into(), "@id", "a permit must name its actions");
    let template = "@id(\"a\") permit (principal == ?principal, action, resource);";
    refused(template.into(), "?principal", "the rule is a template");
}

#[test]
fn rules_that_cedar_refuses_are_shown_with_their_place() {
    let rule = |c: &str| {
        format!("// first é\n@id(\"a\") permit (principal, action == Action::\"sign\", resource)\nwhen {{ {c} }};")
    };
    for (condition, at, message) in [
        ("context.tx.amount.lessThan(decimal(\"5\")) && context.tx.ammount == 3", "context.tx.ammount", "`amount`"),
        ("context.tx.chain == = 5", "= 5", "unexpected token"),
        ("context.tx.amount < 5", "context.tx.amount", "expected"),
        ("context.opaque.chain == \"eip155:1\"", "context.opaque", "not found"),
        ("context.tx.fee.lessThan(decimal(\"1.23456\"))", "decimal(", "decimal"),
        ("context.now.hour < 6 && 1 == 2", "@id", "impossible"),
    ] {
        assert_refused(&rule(condition), at, message);
    }
    let misspelt = "@id(\"a\") permit (principal, action == Action::\"sing\", resource);";
    assert_refused(misspelt, "Action::", "Action::\"sing\"");
    let e = refused_policy("@id(\"a\") forbid (principal, action, resource)\nwhen { context.now.hour < 6 }");
    assert!(e.starts_with("policy.cedar:2:") && e.contains("unexpected end"), "{e}");
    let e = refused_policy("@id(\"a) forbid (principal, action, resource);");
    assert!(e.starts_with("policy.cedar:1:"), "{e}");
}

/// Cedar takes a misspelt name for one of nothing: a forbid with it would forbid nothing.
#[test]
fn names_in_rules_exist() {
    let rule = |scope: &str, c: &str| format!("@id(\"a\") forbid ({scope})\nwhen {{ {c} }};");
    let refused = |scope: &str, condition: &str, name: &str, message: &str| {
        assert_refused(&rule(scope, condition), &format!("\"{name}\""), message);
    };
    let sign = "principal, action == Action::\"sign\", resource";
    for (condition, name, message) in [
        ("context.tx.to in List::\"vendor\"", "vendor", "there is no list `vendor`"),
        ("context.tx.to in [List::\"vendors\", List::\"x\"]", "x", "there is no list `x`"),
        ("principal in Group::\"payout\"", "payout", "there is no group `payout`"),
        ("context.tx.asset == \"USDT\"", "USDT", "there is no asset `USDT`"),
        ("\"USDT\" != context[\"tx\"].asset", "USDT", "there is no asset `USDT`"),
        ("![\"USDC\", \"USDT\"].contains(context.tx.asset)", "USDT", "there is no asset `USDT`"),
        ("context.tx.method == \"tranfer\"", "tranfer", "there is no method `tranfer`"),
        ("context.tx.chain == \"eip155:01\"", "eip155:01", "there is no chain `eip155:01`"),
    ] {
        refused(sign, condition, name, message);
    }
    let mixed_case = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
    let to = format!("context.tx.to == Address::\"{mixed_case}\"");
    refused(sign, &to, mixed_case, "is not a valid address in lower case");
    let create = "principal, action == Action::\"create_key\", resource";
    refused(create, "context.spec.scheme == \"ecdsa\"", "ecdsa", "there is no scheme `ecdsa`");
    refused(create, "context.spec.purpose == \"attest\"", "attest", "there is no purpose `attest`");
    refused(create, "context.spec.backing == \"cloud\"", "cloud", "there is no backing `cloud`");
    for (principal, name, message) in [
        ("principal in Group::\"payout\"", "payout", "there is no group `payout`"),
        ("principal is Client in Group::\"payout\"", "payout", "there is no group `payout`"),
        ("principal == Client::\"payouts\"", "payouts", "there is no client `payouts`"),
    ] {
        refused(&format!("{principal}, action, resource"), "context.now.hour < 6", name, message);
    }
    // Keys need not exist yet.
    let later = rule("principal in Group::\"operators\", action, resource == Key::\"later\"", "context.now.hour < 6");
    bundle(&with("policy.cedar", &later));
}

#[test]
fn assets_are_told_apart() {
    let eth = "[[asset]]\nsymbol = \"ETH\"\nchain = \"eip155:1\"\ndecimals = 18\n";
    let usdc = format!("[[asset]]\nsymbol = \"USDC\"\nchain = \"eip155:1\"\ncontract = \"{USDC}\"\ndecimals = 6\n");
    let refused = |text: &str| refused(&with("assets.toml", text)).to_string();
    for (text, start) in [
        (
            format!("{eth}{usdc}{}", usdc.replace("USDC", "DAI").replace("0xa", "0xA")),
            "assets.toml:13:12: contract or native coin of",
        ),
        (
            format!("{eth}{usdc}{}", usdc.replace("0xa0", "0xa1")),
            "assets.toml:11:10: asset `USDC on eip155:1` is there twice",
        ),
        (format!("{eth}{}", eth.replace("ETH", "WEI")), "assets.toml:7:9: contract or native coin of `eip155:1`"),
        (usdc.clone(), "assets.toml:3:9: chain `eip155:1` has assets but no native coin"),
        (usdc.replace("0xa", "a"), "assets.toml:4:12: `a0b8"),
        (eth.replace("18", "78"), "assets.toml:4:12: `78` is not a valid number of decimals"),
        (eth.replace("eip155:1", "Ethereum"), "assets.toml:3:9: `Ethereum` is not a valid chain"),
        (eth.replace("decimals", "decimal"), "assets.toml:4:1: unknown field `decimal`"),
        (eth.replace("18", "x"), "assets.toml:4:12:"),
    ] {
        let e = refused(&text);
        assert!(e.starts_with(start), "{e}");
    }
    // One symbol may be on several chains.
    let files = with("assets.toml", &format!("{eth}{usdc}{}", eth.replace("eip155:1", "eip155:10")));
    assert_eq!(bundle(&files).summary().assets.len(), 3);
}

/// S-3.20: no key, certificate or name stands for two.
#[test]
fn the_roster_has_nobody_twice() {
    let files = example();
    let roster = std::str::from_utf8(&files["roster.toml"]).unwrap();
    let refused = |from: &str, to: &str| refused(&with("roster.toml", &roster.replacen(from, to, 1))).to_string();
    let line = |start: &str| roster.lines().find(|l| l.starts_with(start)).unwrap().to_owned();
    let first_identity = line("identity");
    let second_identity = "identity = \"p256:036b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296\"";
    let client_key = "intent_key = \"ed25519:3d40";
    let operator_key = roster.lines().find(|l| l.starts_with(client_key)).unwrap();
    for (from, to, part) in [
        ("node-2\"", "node-1\"", "14:8: node `node-1` is there twice"),
        ("id = \"operator\"", "id = \"payout-service\"", "client `payout-service` is there twice"),
        (second_identity, &first_identity, "public key `p256:0360fed"),
        // Another spelling would be another name for the same key.
        (
            second_identity,
            &first_identity.to_uppercase().replace("IDENTITY", "identity").replace("P256", "p256"),
            "is not a valid public key",
        ),
        (operator_key, &first_identity.replace("identity", "intent_key"), "public key `p256:0360fed"),
        (&"2".repeat(64), &"1".repeat(64), "certificate `1111"),
        (&"5".repeat(64), &"1".repeat(64), "certificate `1111"),
        ("\"signer\"", "\"Signer\"", "`Signer` is not a valid role: `signer` or `witness`"),
        ("node-1.example:7001", "node-1.example", "is not a valid address: host:port"),
        ("p256:0360", "p256:0060", "is not a valid public key"),
        (&"1".repeat(64), "11", "`11` is not a valid SHA-256"),
        ("groups = [\"payouts\"]", "group = [\"payouts\"]", "unknown field `group`"),
        ("[\"payouts\"]", "[\"pay outs\"]", "`pay outs` is not a valid group"),
        ("cluster = \"example\"", "", "missing field `cluster`"),
    ] {
        assert!(roster.contains(from), "{from}");
        let e = refused(from, to);
        assert!(e.starts_with("roster.toml:") && e.contains(part), "{from}: {e}");
    }
}

#[test]
fn what_certificates_withstand_is_the_usual_unless_the_roster_says_otherwise() {
    let roster = String::from_utf8(example()["roster.toml"].clone()).unwrap();
    let voting = |text: &str| with("roster.toml", &format!("{roster}\n[voting]\n{text}\n"));
    let nodes = bundle(&example()).roster().nodes.len();
    assert_eq!(bundle(&example()).roster().tolerance, Tolerance::usual(nodes, nodes));
    let given = bundle(&voting("faulty = 0\nrestored = 1")).roster().tolerance;
    assert_eq!(given, Tolerance { faulty: 0, restored: 1 });
    for (text, part) in [
        (
            "faulty = 200\nrestored = 0",
            "`faulty = 200, restored = 0` is not a valid tolerance: together fewer than the nodes",
        ),
        ("faulty = 1", "missing field `restored`"),
        ("faulty = 1\nrestored = 1\nquorum = 2", "unknown field `quorum`"),
        ("faulty = -1\nrestored = 0", "invalid value"),
    ] {
        let e = refused(&voting(text)).to_string();
        assert!(e.starts_with("roster.toml:") && e.contains(part), "{text}: {e}");
    }
}

#[test]
fn versions_and_lists_are_read_strictly() {
    for text in ["version = 0", "version = -1", "version = \"1\"", "version = 1\nnote = 2", ""] {
        let e = refused(&with("bundle.toml", text)).to_string();
        assert!(e.starts_with("bundle.toml"), "{e}");
    }
    assert_eq!(bundle(&with("bundle.toml", "version = 18446744073709551615")).version(), u64::MAX);
    let e = refused(&with("lists/vendors.txt", "# é\n\n  0x12 # short")).to_string();
    let start =
        "lists/vendors.txt:3:3: `0x12` is not a valid address or bank account: 0x and 40 hex digits, or an IBAN";
    assert!(e.starts_with(start), "{e}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is done to the text, it loads or is refused with a place in that file.
    #[test]
    fn loading_never_panics(at in any::<prop::sample::Index>(), with_text in "[(){};@\"/&|=a-zé \n]{0,4}", file in 0usize..5) {
        let mut files = example();
        let path = files.keys().nth(file).unwrap().clone();
        let text = String::from_utf8(files[&path].clone()).unwrap();
        let (before, after) = text.split_at((0..=text.len()).rev().find(|b| *b <= at.index(text.len()) && text.is_char_boundary(*b)).unwrap());
        files.insert(path.clone(), format!("{before}{with_text}{}", after.get(1..).unwrap_or_default()).into_bytes());
        if let Err(e) = Bundle::load(&files) {
            prop_assert!(!matches!(e.problem, Problem::Internal { .. }), "{}", e);
        }
    }
}
