use crate::world::{Stub, World};
use tally_audit::merkle::Frontier;
use tally_audit::{Checkpoint, checkpoint};
use tally_domain::dsse::SigningKey;
use tally_domain::{ClusterId, NodeName};

#[test]
fn logs_that_do_not_verify_end_with_1_and_a_finding() {
    let world = World::with_cluster(Stub::Ends);
    std::fs::create_dir_all(world.path("logs/node-1")).unwrap();
    assert_eq!(world.tally(&["audit", "verify", "logs/node-1", "--bundle", "d/policy"]).code, 2);
    std::fs::write(world.path("logs/node-1/checkpoint.txt"), "tally/dev/node/node-1\n0\n\n").unwrap();
    for entries in [vec![], vec![0, 0, 0, 1, 7], vec![0, 0, 0, 9]] {
        std::fs::write(world.path("logs/node-1/entries.bin"), entries).unwrap();
        let verified = world.tally(&["audit", "verify", "logs", "--bundle", "d/policy", "--partial", "--json"]);
        assert_eq!(verified.code, 1, "{}", verified.stdout);
        assert_eq!(verified.json()["verified"], false);
        assert!(verified.json()["findings"][0].as_str().unwrap().contains("node-1"));
    }
}

/// The log of a node that has never started: no leaves, under a checkpoint of its identity key.
fn empty_log(world: &World, i: u8) {
    let (cluster, node) = (ClusterId::parse("dev").unwrap(), NodeName::parse(&format!("node-{i}")).unwrap());
    let (key, origin) = (SigningKey::ed25519(&[i; 32]), checkpoint::origin(&cluster, &node));
    let end = Checkpoint::of(&cluster, &node, &Frontier::new());
    let note = end.with_signature(&origin, &key.verifying_key(), &key.sign(&end.unsigned_note()));
    let dir = world.path("logs").join(node.as_str());
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("checkpoint.txt"), note).unwrap();
    std::fs::write(dir.join("entries.bin"), "").unwrap();
}

#[test]
fn a_node_without_a_log_is_named_unless_the_check_is_partial() {
    let world = World::with_cluster(Stub::Ends);
    let verify = |more: &[&str]| {
        let args = [&["audit", "verify", "logs", "--bundle", "d/policy"], more].concat();
        world.tally(&args)
    };
    [1, 2, 4, 5].into_iter().for_each(|node| empty_log(&world, node));
    let missing = verify(&[]);
    assert_eq!(missing.code, 1);
    assert!(missing.stdout.contains("log of node-3: the log is missing"), "{}", missing.stdout);
    assert_eq!(verify(&["--partial"]).code, 0);
    empty_log(&world, 3);
    assert_eq!(verify(&[]).code, 0);
    // One that is there but cannot be read is not missing, and is told once.
    std::fs::write(world.path("logs/node-3/entries.bin"), [0, 0, 0, 9]).unwrap();
    let damaged = verify(&["--json"]);
    let findings = damaged.json()["findings"].as_array().unwrap().clone();
    assert_eq!((damaged.code, findings.len()), (1, 1), "{findings:?}");
}
