use crate::world::{Ran, Stub, World};
use std::os::unix::fs::PermissionsExt as _;

const REPORT: &str = r#"{
  "findings": [
    {"check": "info", "verdict": "ok", "needed": true, "what": "ACME vault", "todo": null},
    {"check": "AES-GCM vector", "verdict": "crashed", "needed": true, "what": "C_Encrypt ended the process", "todo": "tell ACME"},
    {"check": "HMAC-SHA-256", "verdict": "not-offered", "needed": false, "what": "none", "todo": null}
  ],
  "capability": "name = \"ACME vault\"\n",
  "usable": USABLE
}"#;

/// A stand-in for `hsmd` that notes its order and answers with a report.
fn world(usable: &str) -> World {
    let world = World::new(Stub::Ends);
    std::fs::write(world.path("report"), REPORT.replace("USABLE", usable)).unwrap();
    std::fs::write(world.path("hsmd"), "#!/bin/sh\n[ \"$1\" = doctor ] || exit 9\ncat > order\ncat report\n").unwrap();
    std::fs::set_permissions(world.path("hsmd"), std::fs::Permissions::from_mode(0o755)).unwrap();
    world
}

fn doctor(world: &World, more: &[&str]) -> Ran {
    let usual = ["hsm", "doctor", "--hsmd", "hsmd", "--module", "m.so", "--token", "vault", "--pin-file", "pin"];
    world.tally(&[&usual, more].concat())
}

#[test]
fn the_doctor_says_what_a_node_needs_and_writes_the_capability_file_once() {
    let well = world("true");
    let ran = doctor(&well, &["--out", "vault.toml"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    for words in
        ["ok: ACME vault", "NEEDED, crashed: C_Encrypt", "-> tell ACME", "not offered: none", "can use this token"]
    {
        assert!(ran.stdout.contains(words), "{words}: {}", ran.stdout);
    }
    assert!(!ran.stdout.contains("NEEDED, not offered"));
    assert_eq!(std::fs::read_to_string(well.path("vault.toml")).unwrap(), "name = \"ACME vault\"\n");
    let again = doctor(&well, &["--out", "vault.toml"]);
    assert!(again.code == 1 && again.stderr.contains("vault.toml"), "a file that is there is kept: {}", again.stderr);

    let ill = world("false");
    let ran = doctor(&ill, &[]);
    assert!(
        ran.code == 1 && ran.stdout.contains("cannot use this token") && ran.stdout.contains("name = \"ACME vault\"")
    );
    let ran = doctor(&ill, &["--json"]);
    assert_eq!((ran.code, &ran.json()["findings"][1]["verdict"]), (1, &"crashed".into()));
}

#[test]
fn the_doctor_passes_on_what_it_was_told_and_no_secret() {
    let world = world("true");
    std::fs::write(world.path("pin"), "1234\n").unwrap();
    assert_eq!(doctor(&world, &["--serial", "7", "--write-token-objects", "--dry-run", "--patience", "9"]).code, 0);
    let order = std::fs::read_to_string(world.path("order")).unwrap();
    let said: serde_json::Value = serde_json::from_str(&order).unwrap();
    let module = world.path("m.so");
    let expected = serde_json::json!({
        "module": module, "label": "vault", "serial": "7", "pin_file": "pin", "write_token_objects": true,
        "dry_run": true, "patience_s": 9,
    });
    assert_eq!(said, expected);
    assert!(!order.contains("1234"));
}

#[test]
fn a_doctor_that_does_not_come_or_says_nothing_is_an_error() {
    let world = world("true");
    let usual = ["hsm", "doctor", "--module", "m.so", "--token", "vault", "--pin-file", "pin"];
    let absent = world.tally(&[&usual[..], &["--hsmd", "nowhere"]].concat());
    assert!(absent.code == 2 && absent.stderr.contains("nowhere"), "{}", absent.stderr);
    std::fs::write(world.path("report"), "nonsense").unwrap();
    let silent = doctor(&world, &[]);
    assert!(silent.code == 1 && silent.stderr.contains("no report"), "{}", silent.stderr);
    assert_eq!(world.tally(&["hsm", "doctor", "--module", "m.so"]).code, 2);
}

#[test]
fn the_status_of_tokens_that_cannot_be_asked_is_5() {
    let world = World::with_cluster(Stub::Ends);
    let ran = world.client(&["hsm", "status"]);
    assert!(ran.code == 5 && ran.stdout.matches(" down").count() == 5, "{}", ran.stdout);
    let json = world.client(&["hsm", "status", "--json"]).json();
    assert_eq!((&json["well"], json["tokens"].as_array().unwrap().len()), (&false.into(), 5));
}
