use crate::world::{Stub, World};

const TX: &str = r#"{"chainId":1,"nonce":0,"maxPriorityFeePerGas":1,"maxFeePerGas":2,"gas":21000,
    "to":"0x70997970C51812dc3A010C7d01b50e0d17dc79C8","value":"1"}"#;

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
        vec!["sign", "hot", "--evm-tx", "tx.json", "--request-id", &id],
        vec!["sign", "hot", "--evm-tx", "tx.json", "--path", "m/0'"],
        vec!["sign", "hot", "--evm-tx", "tx.json", "--note", "two\nlines"],
        vec!["sign", "h o t", "--evm-tx", "tx.json"],
        vec!["sign", "fast", "--message", "large"],
        vec!["key", "create", "hot", "--scheme", "rot13", "--threshold", "2"],
        vec!["key", "create", "hot", "--scheme", "ed25519", "--threshold", "2", "--of", "4"],
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
    for args in
        [vec!["node", "status"], vec!["key", "list"], vec!["request", "list"], vec!["audit", "export", "--out", "logs"]]
    {
        let ran = world.client(&args);
        assert_eq!(ran.code, 5, "{args:?}: {}", ran.stderr);
    }
    let status = world.client(&["node", "status", "--json"]).json();
    assert_eq!(status["nodes"].as_array().unwrap().len(), 3);
    assert_eq!(status["nodes"][2]["up"], false);
}

#[test]
fn an_intent_whose_outcome_is_open_is_kept_and_sent_again_byte_for_byte() {
    let world = World::with_cluster(Stub::Ends);
    std::fs::write(world.path("tx.json"), TX).unwrap();
    let failed = world.client(&["sign", "hot", "--evm-tx", "tx.json", "--json"]);
    assert_eq!(failed.code, 5);
    let failed = failed.json();
    assert_eq!(failed["can_be_sent_again"], true);
    let id = failed["request_id"].as_str().unwrap();
    let kept = world.path("d/client/intents").join(id);
    let before = std::fs::read(&kept).unwrap();
    for _ in 0..2 {
        let again = world.client(&["sign", "hot", "--evm-tx", "tx.json", "--request-id", id]);
        assert_eq!(again.code, 5);
        assert!(again.stderr.contains(id));
        assert_eq!(std::fs::read(&kept).unwrap(), before);
    }
    // Bytes that this profile has not signed are not sent.
    std::fs::write(&kept, &before[..before.len() - 1]).unwrap();
    assert_eq!(world.client(&["sign", "hot", "--evm-tx", "tx.json", "--request-id", id]).code, 2);
}

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

#[test]
fn logs_that_do_not_verify_end_with_1_and_a_finding() {
    let world = World::with_cluster(Stub::Ends);
    std::fs::create_dir_all(world.path("logs/node-1")).unwrap();
    assert_eq!(world.tally(&["audit", "verify", "logs/node-1", "--bundle", "d/policy"]).code, 2);
    std::fs::write(world.path("logs/node-1/checkpoint.txt"), "tally/dev/node/node-1\n0\n\n").unwrap();
    for entries in [vec![], vec![0, 0, 0, 1, 7], vec![0, 0, 0, 9]] {
        std::fs::write(world.path("logs/node-1/entries.bin"), entries).unwrap();
        let verified = world.tally(&["audit", "verify", "logs", "--bundle", "d/policy", "--json"]);
        assert_eq!(verified.code, 1, "{}", verified.stdout);
        assert_eq!(verified.json()["verified"], false);
        assert!(verified.json()["findings"][0].as_str().unwrap().contains("node-1"));
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
