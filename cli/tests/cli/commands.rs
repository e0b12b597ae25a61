use crate::world::{Stub, World, ran};

pub const TX: &str = r#"{"chainId":1,"nonce":0,"maxPriorityFeePerGas":1,"maxFeePerGas":2,"gas":21000,
    "to":"0x70997970C51812dc3A010C7d01b50e0d17dc79C8","value":"1"}"#;

/// An id that no request has.
const GOOD_ID: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn commands_that_are_wrong_end_with_2() {
    let world = World::with_cluster(Stub::Ends);
    std::fs::write(world.path("tx.json"), TX).unwrap();
    std::fs::write(world.path("bad.json"), TX.replace("gas", "petrol")).unwrap();
    std::fs::write(world.path("large"), vec![b'x'; 65 * 1024]).unwrap();
    let id = "00".repeat(16);
    for args in [
        vec!["nonsense"],
        vec!["sign", "hot"],
        vec!["sign", "hot", "--evm-tx", "tx.json", "--message", "tx.json"],
        vec!["sign", "hot", "--evm-tx", "bad.json"],
        vec!["sign", "hot", "--evm-tx", "missing.json"],
        vec!["sign", "hot", "--typed-data", "bad.json"],
        vec!["sign", "hot", "--typed-data", "tx.json"],
        vec!["sign", "hot", "--typed-data", "missing.json"],
        vec!["sign", "hot", "--personal-message", "missing.json"],
        vec!["sign", "hot", "--personal-message", "tx.json", "--typed-data", "tx.json"],
        vec!["sign", "hot", "--evm-tx", "tx.json", "--request-id", &id],
        vec!["sign", "hot", "--evm-tx", "tx.json", "--path", "m/0'"],
        vec!["sign", "hot", "--evm-tx", "tx.json", "--note", "two\nlines"],
        vec!["sign", "h o t", "--evm-tx", "tx.json"],
        vec!["sign", "fast", "--message", "large"],
        vec!["key", "create", "hot", "--scheme", "rot13", "--threshold", "2"],
        vec!["key", "create", "hot", "--scheme", "ed25519", "--threshold", "2", "--of", "4"],
        vec!["wrap", "wrap", "vault", "--in", "missing"],
        vec!["wrap", "wrap", "vault", "--in", "tx.json", "--context", "app"],
        vec!["wrap", "wrap", "vault", "--in", "tx.json", "--context", "a=1", "--context", "a=2"],
        vec!["wrap", "unwrap", "vault", "--in", "tx.json", "--plaintext-out", "key"],
        vec!["wrap", "unwrap", "vault", "--in", "tx.json", "--plaintext-out", "bad.json"],
        vec!["wrap", "generate", "vault", "--plaintext-out", "-"],
        vec!["wrap", "rewrap", "vault", "--in", "tx.json"],
        vec!["wrap", "disable", "vault", "--version", "0"],
        vec!["wrap", "destroy", "vault", "--version", "1"],
        vec!["wrap", "destroy", "vault", "--version", "1", "--yes", "--after", "soon"],
        vec![
            "key",
            "create",
            "vault",
            "--backing",
            "hsm",
            "--scheme",
            "ed25519",
            "--purpose",
            "wrap",
            "--home",
            "node-1",
        ],
        // Without a terminal nobody has seen what is signed.
        vec!["approve", GOOD_ID, "--key", "d/client/people/alice.key"],
        vec!["reject", GOOD_ID, "--key", "d/client/people/alice.key"],
        vec!["approve", GOOD_ID, "--yes"],
        vec!["approve", &id, "--key", "d/client/people/alice.key", "--yes"],
        vec!["approve", GOOD_ID, "--key", "tx.json", "--yes"],
        vec!["approve", GOOD_ID, "--key", "missing", "--yes"],
        vec!["request", "cancel"],
        vec!["request", "cancel", "0123"],
        vec!["request", "cancel", "--dry-run"],
        vec!["request", "watch", "--count", "some"],
        vec!["sign", "hot", "--evm-tx", "tx.json", "--valid-for", "soon"],
        vec!["freeze", "hot"],
        vec!["freeze", "--key", "h o t"],
        vec!["freeze", "--note", "two\nlines"],
        vec!["audit", "verify", "missing", "--bundle", "d/policy"],
        vec!["policy", "check", "missing"],
        vec!["bench", "sign", "fast", "--concurrency", "0"],
    ] {
        let ran = world.client(&args);
        assert_eq!(ran.code, 2, "{args:?}: {} {}", ran.stdout, ran.stderr);
        assert!(!ran.stderr.is_empty() && ran.stdout.is_empty(), "{args:?}");
    }
    let no_profile = world.tally(&["key", "list"]);
    assert_eq!(no_profile.code, 2);
    assert!(no_profile.stderr.contains("TALLY_PROFILE"));
}

#[test]
fn a_profile_beside_is_found_and_one_with_an_open_key_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::with_cluster(Stub::Ends);
    let mut there = world.command(&["key", "list"]);
    assert_eq!(there.current_dir(world.path("d")).output().unwrap().status.code(), Some(5));
    std::fs::set_permissions(world.path("d/client/intent.key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let open = world.client(&["key", "list"]);
    assert_eq!(open.code, 2);
    assert!(open.stderr.contains("chmod 0400"), "{}", open.stderr);
}

#[test]
fn without_nodes_everything_that_needs_one_ends_with_5() {
    let world = World::with_cluster(Stub::Ends);
    for args in [
        vec!["node", "status"],
        vec!["policy", "limits"],
        vec!["key", "list"],
        vec!["request", "list"],
        vec!["request", "cancel", GOOD_ID],
        vec!["request", "cancel", GOOD_ID, "--dry-run", "--json"],
        vec!["wrap", "list"],
        vec!["audit", "export", "--out", "logs"],
        vec!["freeze", "--key", "hot"],
        vec!["unfreeze", "--dry-run"],
    ] {
        let ran = world.client(&args);
        assert_eq!(ran.code, 5, "{args:?}: {}", ran.stderr);
    }
    let status = world.client(&["node", "status", "--json"]).json();
    assert_eq!(status["nodes"].as_array().unwrap().len(), 5);
    assert_eq!(status["nodes"][2]["up"], false);
}

#[test]
fn with_json_every_error_is_one_document() {
    let world = World::with_cluster(Stub::Ends);
    for (args, message) in [
        (vec!["--json", "nonsense"], "nonsense"),
        (vec!["sign", "hot", "--json"], "--evm-tx"),
        (vec!["key", "--json"], "requires a subcommand"),
        (vec!["--json", "key"], "requires a subcommand"),
        (vec!["--json"], "requires a subcommand"),
        (vec!["sign", "hot", "--evm-tx", "missing.json", "--json"], "missing.json"),
        (vec!["key", "create", "hot", "--scheme", "rot13", "--threshold", "2", "--json"], "rot13"),
    ] {
        let ran = world.client(&args);
        assert_eq!((ran.code, ran.stderr.as_str()), (2, ""), "{args:?}");
        let error = &ran.json()["error"];
        assert_eq!(error["kind"], "usage", "{args:?}");
        let told = error["message"].as_str().unwrap();
        assert!(told.contains(message) && !told.contains("Usage:") && !told.starts_with("error"), "{args:?}: {told}");
    }
    let help = world.tally(&["--json", "--help"]);
    assert!(help.code == 0 && help.stdout.contains("Usage: tally"));
}

#[test]
fn no_error_says_the_same_twice() {
    let world = World::with_cluster(Stub::Ends);
    std::fs::write(world.path("tx.json"), TX).unwrap();
    let no_profile = world.tally(&["key", "list", "--profile", "nowhere", "--json"]).json();
    let message = no_profile["error"]["message"].as_str().unwrap();
    assert_eq!(message.matches("No such file").count(), 1, "{message}");
    let away = world.client(&["sign", "hot", "--evm-tx", "tx.json", "--json"]).json();
    let message = away["error"]["message"].as_str().unwrap();
    assert_eq!(message.matches("cannot be reached").count(), 1, "{message}");
    assert_eq!(away["error"]["kind"], "unavailable");
}

#[test]
fn fees_that_no_chain_takes_are_refused_before_anything_is_signed() {
    let world = World::with_cluster(Stub::Ends);
    for (tx, word) in [(TX.replace("21000", "20999"), "21000"), (TX.replace("Gas\":1,", "Gas\":3,"), "maxFeePerGas")] {
        std::fs::write(world.path("tx.json"), tx).unwrap();
        let ran = world.client(&["sign", "hot", "--evm-tx", "tx.json"]);
        assert_eq!(ran.code, 2);
        assert!(ran.stderr.contains(word), "{}", ran.stderr);
        assert!(!world.path("d/client/intents").exists());
    }
}

#[test]
fn the_tour_fails_when_a_step_fails() {
    let world = World::new(Stub::Ends);
    let demo = world.tally(&["demo", "--keep", "tour", "--tallyd", "tallyd", "--json"]);
    assert_eq!(demo.code, 1);
    let demo = demo.json();
    assert_eq!(demo["verdict"], "FAILED");
    assert_eq!(demo["steps"].as_array().unwrap().len(), 1);
    assert!(demo["steps"][0]["details"][0].as_str().unwrap().contains("this is no node"));
    assert!(!world.path("tour/pids").exists());
}

#[test]
fn a_tour_that_ends_before_any_node_ran_leaves_nothing_behind() {
    let world = World::new(Stub::Ends);
    std::fs::create_dir(world.path("tmp")).unwrap();
    let demo = world.command(&["demo", "--tallyd", "/bin/true", "--json"]).env("TMPDIR", world.path("tmp")).output();
    let demo = ran(demo.unwrap());
    assert_eq!((demo.code, &demo.json()["dir"]), (1, &serde_json::Value::Null));
    assert_eq!(std::fs::read_dir(world.path("tmp")).unwrap().count(), 0);
    // With a node that ran there is a log to read.
    let demo = world.command(&["demo", "--tallyd", "tallyd", "--json"]).env("TMPDIR", world.path("tmp")).output();
    let kept = ran(demo.unwrap()).json()["dir"].as_str().unwrap().to_owned();
    assert!(std::path::Path::new(&kept).join("node-1/tallyd.log").exists());
}

#[test]
fn what_cannot_be_written_is_not_done() {
    let world = World::with_cluster(Stub::Ends);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = world.command(&["policy", "check", "d/policy"]).stdout(full).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && said.contains("cannot write to standard output"), "{said}");
}
