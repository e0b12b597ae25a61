//! Card numbers in the wrong place: no error repeats one, and nothing with one in it is signed or kept.

use crate::world::{Ran, Stub, World, ran};
use std::fs::File;

const CARD: &str = "4111111111111111";

/// With a card on standard input.
fn with_card(world: &World, args: &[&str]) -> Ran {
    std::fs::write(world.path("pan"), "4242424242424242\n").unwrap();
    let mut command = world.command(args);
    command.env("TALLY_PROFILE", "d/client/profile.toml").stdin(File::open(world.path("pan")).unwrap());
    ran(command.output().unwrap())
}

fn says_none(ran: &Ran, args: &[&str]) {
    let said = format!("{}{}", ran.stdout, ran.stderr);
    for part in ["411111", "4111 1111", "4111-1111", "1111 1111", "4242"] {
        assert!(!said.contains(part), "{args:?}: {said}");
    }
}

#[test]
fn no_error_repeats_what_may_be_a_card_number() {
    let world = World::with_cluster(Stub::Ends);
    for args in [
        vec!["token", "tokenize", CARD],
        vec!["token", "create", CARD],
        vec!["token", "create", "4111-1111-1111-1112", "--domain", "cards"],
        vec!["token", "create", "--domain", "4111 1111 1111 1111"],
        vec!["token", "create", "--domain", "cards", "--subject", "4111 1111 1111 1112"],
        vec!["token", "create", "--domain", "cards", "--request-id", CARD],
        vec!["token", CARD],
        vec![CARD, "show"],
        vec!["token", "delete", "4111 1111 1111 1111", "--domain", "cards"],
        vec!["domain", "create", "cards", "--format", CARD],
        vec!["domain", "create", "cards", "--life", CARD],
        vec!["sign", "hot", "--evm-tx", CARD],
        vec!["token", "import", CARD, "--domain", "cards", "--out", "o", "--rejects", "r"],
    ] {
        for json in [false, true] {
            let args: Vec<&str> = args.iter().copied().chain(json.then_some("--json")).collect();
            let ran = with_card(&world, &args);
            assert_eq!(ran.code, 2, "{args:?}: {} {}", ran.stdout, ran.stderr);
            says_none(&ran, &args);
            assert_eq!(ran.stdout.is_empty(), !json, "{args:?}: {}", ran.stdout);
            let is_named = args[1] == "tokenize" || format!("{}{}", ran.stdout, ran.stderr).contains("[PAN]");
            assert!(is_named, "{args:?}: {}", ran.stderr);
        }
    }
    let told = world.tally(&["token", "create", CARD]).stderr;
    assert!(told.contains("it comes on standard input"), "{told}");
    // A long number that is none is shown where it is not long enough for one.
    assert!(world.tally(&["token", "show", "12345678901", "extra"]).stderr.contains("extra"));
}

#[test]
fn no_text_with_a_card_number_is_signed() {
    let world = World::with_cluster(Stub::Ends);
    for (args, field) in [
        (vec!["token", "create", "--domain", "cards", "--note", "card 4111 1111 1111 1111"], "note"),
        (vec!["token", "create", "--domain", CARD], "key"),
        (vec!["token", "create", "--domain", "cards", "--subject", CARD], "subject"),
        (vec!["token", "search", "--domain", "cards", "--subject", CARD], "subject"),
        (vec!["token", "delete", "--domain", "cards", "--subject", CARD], "subject"),
        (vec!["token", "reveal", CARD, "--domain", "cards", "--purpose", "refund"], "token"),
        (vec!["token", "reveal", "tok_a", "--domain", "cards", "--purpose", CARD], "purpose"),
        (vec!["token", "show", CARD, "--domain", "cards"], "token"),
        (vec!["token", "suspend", CARD, "--domain", "cards"], "token"),
        (vec!["token", "delete", CARD, "--domain", "cards"], "token"),
        (vec!["domain", "create", CARD, "--home", "node-1"], "key"),
        (vec!["domain", "suspend", "cards", "--note", CARD], "note"),
        (vec!["freeze", "--key", "hot", "--note", CARD], "note"),
        (vec!["wrap", "generate", "vault", "--context", "card=4111111111111111", "--out", "o"], "context"),
    ] {
        let ran = with_card(&world, &args);
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(&format!("`{field}`")), "{args:?}: {}", ran.stderr);
        says_none(&ran, &args);
        assert!(!world.path("d/client/intents").exists(), "{args:?}");
    }
    // Tokens of digits alone, and long numbers that no brand has, are nobody's card.
    for args in [
        ["token", "show", "9000000000000000001", "--domain", "cards"],
        ["token", "show", "tok_4111111111111112", "--domain", "cards"],
    ] {
        assert_eq!(with_card(&world, &args).code, 5, "{args:?}");
    }
}
