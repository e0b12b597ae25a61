use crate::world::{Stub, World};

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
