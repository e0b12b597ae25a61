use crate::world::{Stub, World, ran};
use std::os::unix::fs::PermissionsExt as _;

#[test]
fn a_bundle_with_an_error_is_refused_with_its_place() {
    let world = World::with_cluster(Stub::Ends);
    let policy = world.path("d/policy/policy.cedar");
    let text = std::fs::read_to_string(&policy).unwrap();
    std::fs::write(&policy, text.replace("List::\"vendors\"", "List::\"friends\"")).unwrap();
    let checked = world.tally(&["policy", "check", "d/policy"]);
    assert_eq!(checked.code, 1);
    assert!(checked.stderr.contains("d/policy/policy.cedar:5:"), "{}", checked.stderr);
    assert!(checked.stderr.contains("friends"), "{}", checked.stderr);
}

fn warnings(world: &World, dir: &str) -> Vec<String> {
    let checked = world.tally(&["policy", "check", dir, "--json"]);
    assert_eq!(checked.code, 0, "{}", checked.stdout);
    let warnings = checked.json()["warnings"].clone();
    serde_json::from_value(warnings).unwrap()
}

#[test]
fn what_we_ship_bounds_fees_and_what_does_not_is_warned_of() {
    let world = World::with_cluster(Stub::Ends);
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../policy/examples/payouts");
    for shipped in ["d/policy", example] {
        assert_eq!(warnings(&world, shipped), [""; 0]);
    }
    let policy = world.path("d/policy/policy.cedar");
    let text = std::fs::read_to_string(&policy).unwrap();
    let bound = "\n       && context.tx.fee.lessThanOrEqual(decimal(\"0.05\"))";
    std::fs::write(&policy, text.replacen(bound, "", 1)).unwrap();
    let [unbounded] = warnings(&world, "d/policy").try_into().unwrap();
    assert!(unbounded.contains("`payouts-small`") && unbounded.contains("context.tx.fee"), "{unbounded}");
    let shown = world.tally(&["policy", "check", "d/policy"]);
    assert!(shown.code == 0 && shown.stdout.contains("warning") && shown.stdout.contains("payouts-small"));

    std::fs::write(&policy, "// nothing\n").unwrap();
    std::fs::write(world.path("d/policy/lists/friends.txt"), "# nobody\n").unwrap();
    let [nothing, empty] = warnings(&world, "d/policy").try_into().unwrap();
    assert!(nothing.contains("every request will be denied") && empty.contains("`friends` is empty"));
}

fn example(world: &World) {
    let made = world.tally(&["policy", "init", "p"]);
    assert_eq!(made.code, 0, "{}", made.stderr);
}

fn replace(world: &World, file: &str, from: &str, to: &str) {
    let text = std::fs::read_to_string(world.path(file)).unwrap();
    assert!(text.contains(from), "{file} has no {from}");
    std::fs::write(world.path(file), text.replacen(from, to, 1)).unwrap();
}

/// The key of an admin of the example, whose seeds everyone knows.
fn key_file(world: &World, name: &str, seed: u8) {
    let path = world.path(name);
    std::fs::write(&path, format!("ed25519:{}\n", format!("{seed:02x}").repeat(32))).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
}

#[test]
fn the_example_is_checked_and_its_cases_pass() {
    let world = World::new(Stub::Ends);
    example(&world);
    let checked = world.tally(&["policy", "check", "p", "--json"]).json();
    assert_eq!((checked["limits"][0].as_str(), checked["groups"]["risk"].as_u64()), (Some("hot-usdc-day"), Some(2)));
    let [known] = warnings(&world, "p").try_into().unwrap();
    assert!(known.contains("9 keys of persons or admins are those of the example"), "{known}");
    replace(&world, "p/policy.cedar", "2 of treasury, 1 of risk", "3 of treasury");
    let unmet = warnings(&world, "p").into_iter().find(|w| w.contains("3 of treasury")).unwrap();
    for part in ["`payouts-large`", "`payout-service`", "2 of treasury may approve", "(alice)"] {
        assert!(unmet.contains(part), "{unmet}");
    }
    replace(&world, "p/policy.cedar", "3 of treasury", "2 of treasury, 1 of risk");
    let again = world.tally(&["policy", "init", "p"]);
    assert_eq!(again.code, 2, "{}", again.stderr);

    let tested = world.tally(&["policy", "test", "p"]);
    assert_eq!(tested.code, 0, "{}", tested.stdout);
    assert!(
        tested.stdout.ends_with("34 cases as expected; a step of any threshold would be noticed\n"),
        "{}",
        tested.stdout
    );
    replace(&world, "p/policy.cedar", "decimal(\"1000\")", "decimal(\"1001\")");
    let tested = world.tally(&["policy", "test", "p", "--json"]);
    assert_eq!((tested.code, tested.json()["failed"].as_u64()), (1, Some(1)));
    replace(&world, "p/tests/payouts.case.toml", "amount = \"1001\"", "amount = \"1002\"");
    let tested = world.tally(&["policy", "test", "p", "--json"]).json();
    assert_eq!(tested["unnoticed"][0]["could_be"], "1000");
    replace(&world, "p/tests/payouts.case.toml", "expect = \"permit\"", "expect = \"yes\"");
    let tested = world.tally(&["policy", "check", "p"]);
    assert!(tested.code == 1 && tested.stderr.contains("p/tests/payouts.case.toml:"), "{}", tested.stderr);
}

#[test]
fn a_bundle_without_cases_has_not_passed_and_is_shown_how_to_write_one() {
    let world = World::new(Stub::Ends);
    example(&world);
    std::fs::remove_dir_all(world.path("p/tests")).unwrap();
    let untried = world.tally(&["policy", "test", "p"]);
    assert_eq!(untried.code, 1, "{}", untried.stdout);
    assert!(untried.stdout.starts_with("there are no cases"), "{}", untried.stdout);
    // What is shown is a case of the example.
    let (_, shown) = untried.stdout.split_once("such as\n").unwrap();
    std::fs::create_dir(world.path("p/tests")).unwrap();
    std::fs::write(world.path("p/tests/shown.case.toml"), shown).unwrap();
    let tried = world.tally(&["policy", "test", "p", "--json"]);
    assert_eq!((tried.code, tried.json()["cases"].as_array().map(Vec::len)), (0, Some(1)), "{}", tried.stdout);
}

#[test]
fn admins_sign_one_after_the_other_and_the_next_bundle_follows() {
    let world = World::new(Stub::Ends);
    example(&world);
    for (name, seed) in [("erin", 16), ("frank", 17), ("stranger", 40)] {
        key_file(&world, name, seed);
    }
    let sign = |args: &[&str]| world.tally(&[&["policy", "sign", "p"], args].concat());
    let dry = sign(&["--dry-run", "--json"]).json();
    assert_eq!((dry["bundle"]["version"].as_u64(), dry["missing"].as_u64()), (Some(1), Some(2)));
    assert_eq!(sign(&[]).code, 2);
    let first = sign(&["--key", "erin", "--out", "1.bundle", "--json"]).json();
    assert_eq!((first["missing"].as_u64(), first["signed_by"][0].as_str()), (Some(1), Some("erin")));
    let digest = first["bundle"]["digest"].clone();
    let stranger = sign(&["--key", "stranger", "--out", "1.bundle"]);
    assert!(
        stranger.code == 2 && stranger.stderr.contains("none of the admins: erin, frank, grace"),
        "{}",
        stranger.stderr
    );
    let second = sign(&["--key", "frank", "--out", "1.bundle", "--json"]).json();
    assert_eq!((second["missing"].as_u64(), &second["bundle"]["digest"]), (Some(0), &digest));

    // The next one, which loosens.
    replace(&world, "p/bundle.toml", "version = 1", "version = 2");
    replace(&world, "p/limits.toml", "count = 20", "count = 30");
    let other = sign(&["--key", "frank", "--out", "1.bundle"]);
    assert!(other.code == 1 && other.stderr.contains("is not the bundle of p"), "{}", other.stderr);
    let next = ["--previous", "1.bundle", "--out", "2.bundle", "--key", "erin", "--key", "frank", "--json"];
    let signed = sign(&next).json();
    assert_eq!((signed["missing"].as_u64(), &signed["bundle"]["previous"]), (Some(0), &digest));
    assert_eq!(signed["diff"]["at_once"], false);
    let diff = world.tally(&["policy", "diff", "1.bundle", "2.bundle"]);
    assert!(
        diff.code == 0 && diff.stdout.contains("looser") && diff.stdout.contains("vendor-hour: the limit is higher"),
        "{}",
        diff.stdout
    );
    let back = world.tally(&["policy", "diff", "2.bundle", "1.bundle", "--json"]).json();
    assert_eq!((back["at_once"].as_bool(), back["changes"][0]["direction"].as_str()), (Some(true), Some("tighter")));

    let shown = world.tally(&["policy", "show", "2.bundle", "--previous", "1.bundle"]);
    assert!(
        shown.stdout.contains("erin, frank; 2 of 2 needed") && shown.stdout.contains("@id(\"payouts-small\")"),
        "{}",
        shown.stdout
    );
    assert!(world.tally(&["policy", "show", "2.bundle"]).stdout.contains("not checked"));
    replace(&world, "p/bundle.toml", "version = 2", "version = 40");
    let gap = sign(&["--previous", "2.bundle", "--dry-run"]);
    assert!(gap.code == 1 && gap.stderr.contains("version 40 does not follow: the next is 2 + 1"), "{}", gap.stderr);
    let long = sign(&["--days", "31", "--dry-run"]);
    assert!(
        long.code == 1 && long.stderr.contains("valid for 31 days; it must be more than none and at most 30 days"),
        "{}",
        long.stderr
    );
    let torn = std::fs::read(world.path("2.bundle")).unwrap();
    std::fs::write(world.path("torn.bundle"), &torn[..torn.len() - 1]).unwrap();
    let shown = world.tally(&["policy", "show", "torn.bundle"]);
    assert!(shown.code == 1 && shown.stderr.contains("torn.bundle: this is not a signed bundle"), "{}", shown.stderr);
}

/// Appends a rule to the example's.
fn add_rule(world: &World, rule: &str) {
    let path = world.path("p/policy.cedar");
    let policy = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{policy}\n{rule}\n")).unwrap();
}

/// Lines of a proof, without their indentation.
fn proof(world: &World, args: &[&str], code: i32) -> Vec<String> {
    let proven = world.tally(&[&["policy", "check", "p", "--prove"], args].concat());
    assert_eq!(proven.code, code, "{}\n{}", proven.stdout, proven.stderr);
    proven.stdout.lines().map(|line| line.trim().to_owned()).collect()
}

#[test]
fn rules_that_fail_or_never_decide_are_found_by_proof() {
    let world = World::new(Stub::Ends);
    example(&world);
    let proven = proof(&world, &[], 0);
    assert_eq!(proven, ["proven: none of the 12 rules can fail", "proven: every rule decides some request"]);
    // Within payouts-small, which asks nobody either.
    let small = std::fs::read_to_string(world.path("p/policy.cedar")).unwrap();
    let small = small.split("@description").nth(1).unwrap().split_once("permit").unwrap().1.split_once(';').unwrap().0;
    add_rule(&world, &format!("@id(\"tiny\") permit {};", small.replace("1000", "10")));
    let [found, _, count] = proof(&world, &[], 0).try_into().unwrap();
    assert!(found.starts_with("never decides") && found.ends_with("tiny"), "{found}");
    assert!(count.starts_with("1 rules never decide"), "{count}");
    let overflow =
        "@id(\"late\") forbid (principal, action, resource) when { context.now.hour * 4611686018427387904 > 3 };";
    add_rule(&world, overflow);
    let found = proof(&world, &[], 1);
    assert!(found.iter().any(|l| l.starts_with("can fail") && l.ends_with("late")), "{found:?}");
    assert!(found.iter().any(|l| l.contains("hour: ")), "{found:?}");
}

#[test]
fn what_a_draft_permits_beyond_the_old_rules_is_shown_by_an_example() {
    let world = World::new(Stub::Ends);
    example(&world);
    let copied = std::process::Command::new("cp").args(["-r", "p", "old"]).current_dir(world.dir.path()).status();
    assert!(copied.unwrap().success());
    let nothing = "proven: nothing is permitted that the old rules do not permit as easily";
    assert!(proof(&world, &["--against", "old"], 0).iter().any(|l| l == nothing));
    // More without asking: payouts-large permits it too, but asks.
    replace(&world, "p/policy.cedar", "decimal(\"1000\")", "decimal(\"1000.0001\")");
    let found = proof(&world, &["--against", "old"], 0);
    assert!(found.iter().any(|l| l.starts_with("permits more") && l.ends_with("payouts-small")), "{found:?}");
    assert!(
        found.iter().any(|l| l.contains("amount: decimal(\"1000.0001\")") && l.contains("asset: \"USDC\"")),
        "{found:?}"
    );
    assert!(found.iter().any(|l| l.ends_with("is in List::\"vendors\"")), "{found:?}");
    // Asking more is no loosening, asking less is.
    replace(&world, "p/policy.cedar", "decimal(\"1000.0001\")", "decimal(\"1000\")");
    replace(&world, "p/policy.cedar", "2 of treasury, 1 of risk", "3 of treasury, 1 of risk");
    assert!(proof(&world, &["--against", "old"], 0).iter().any(|l| l == nothing));
    replace(&world, "p/policy.cedar", "3 of treasury, 1 of risk", "1 of treasury, 1 of risk");
    let found = proof(&world, &["--against", "old"], 0);
    assert!(found.iter().any(|l| l.starts_with("permits more") && l.ends_with("payouts-large")), "{found:?}");
}

#[test]
fn without_a_solver_it_is_said_how_to_get_one() {
    let world = World::new(Stub::Ends);
    example(&world);
    let args = ["policy", "check", "p", "--prove"];
    let missing = ran(world.command(&args).env("CVC5", "/nowhere/cvc5").output().unwrap());
    assert!(missing.code == 2 && missing.stderr.contains("apt-get install cvc5"), "{}", missing.stderr);
    let silent = ran(world.command(&args).env("CVC5", "/bin/true").output().unwrap());
    assert!(silent.code == 1 && silent.stderr.contains("cvc5 has no answer"), "{}", silent.stderr);
}
