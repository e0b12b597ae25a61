//! Starting with something wrong: one clear sentence, a non-zero exit, no retry storm.

use crate::harness::cluster::{Cluster, refuses, tallyd};
use std::path::Path;

/// Runs a node that must not start; gives what it says.
fn refused(config: &Path) -> String {
    refuses(tallyd(config))
}

/// A copy of node 1's configuration with one change.
fn changed(cluster: &Cluster, name: &str, from: &str, to: &str) -> std::path::PathBuf {
    let text = std::fs::read_to_string(cluster.nodes[0].dir.join("node.toml")).unwrap();
    assert!(text.contains(from), "{from}");
    let path = cluster.nodes[0].dir.join(format!("{name}.toml"));
    std::fs::write(&path, text.replace(from, to)).unwrap();
    path
}

#[test]
fn a_node_that_cannot_start_says_why_in_one_sentence() {
    let cluster = Cluster::prepare(2);
    let node = &cluster.nodes[0];
    let pin = node.token.pin_file.display().to_string();

    let wrong_pin = node.dir.join("wrong-pin");
    crate::harness::certs::write_secret(&wrong_pin, b"000000\n");
    let config = changed(&cluster, "pin", &pin, &wrong_pin.display().to_string());
    let said = refused(&config);
    assert_eq!(said.matches("check the PIN file").count(), 1, "{said}");

    let open_pin = node.dir.join("open-pin");
    std::fs::write(&open_pin, "000000\n").unwrap();
    let config = changed(&cluster, "open", &pin, &open_pin.display().to_string());
    assert!(refused(&config).contains("open-pin"));

    let module = node.token.module.display().to_string();
    let config = changed(&cluster, "module", &module, "/nonexistent/module.so");
    assert!(refused(&config).contains("/nonexistent/module.so"));
    let config = changed(&cluster, "token", &node.token.serial, "ffffffffffffffff");
    assert!(refused(&config).contains("ffffffffffffffff"));
    let config = changed(&cluster, "field", "[log]", "surprise = 1\n[log]");
    assert!(refused(&config).contains("surprise"));
    let config = changed(&cluster, "level", "level = \"info\"", "level = \"loud\"");
    assert!(refused(&config).contains("`loud`"));
    let other = cluster.nodes[1].dir.join("node");
    let foreign = std::fs::read_to_string(node.dir.join("node.toml")).unwrap();
    let foreign = foreign.replace("\"node.pem\"", &format!("\"{}.pem\"", other.display()));
    let foreign = foreign.replace("\"node.key\"", &format!("\"{}.key\"", other.display()));
    std::fs::write(node.dir.join("foreign.toml"), foreign).unwrap();
    assert!(refused(&node.dir.join("foreign.toml")).contains("not the one that the roster names"));
    let open_key = node.dir.join("open.key");
    std::fs::write(&open_key, &node.tls.key).unwrap();
    let config = changed(&cluster, "key", "\"node.key\"", "\"open.key\"");
    assert!(refused(&config).contains("chmod 0400"));
    let config = changed(&cluster, "name", "name = \"node-1\"", "name = \"node-9\"");
    assert!(refused(&config).contains("has no node `node-9`"));
    let other = cluster.nodes[1].name.clone();
    let config = changed(&cluster, "other", "name = \"node-1\"", &format!("name = \"{other}\""));
    assert!(refused(&config).contains("not the one that the roster names"));
}

#[test]
fn s_4_5_pins_that_are_given_twice_and_modules_that_write_them_down_are_refused() {
    let cluster = Cluster::prepare(2);
    let node = &cluster.nodes[0];
    let config = changed(&cluster, "two-pins", "env = ", "pin_fd = 9\nenv = ");
    assert!(refused(&config).contains("exactly one of `pin_file`, `pin_fd` and `pin_credential`"));
    let pin = format!("pin_file = \"{}\"", node.token.pin_file.display());
    let config = changed(&cluster, "no-pin", &pin, "");
    assert!(refused(&config).contains("[hsm] needs exactly one"));
    let config = changed(&cluster, "no-descriptor", &pin, "pin_fd = 999");
    assert!(refused(&config).contains("descriptor 999 cannot be read"));
    let config = changed(&cluster, "no-credential", &pin, "pin_credential = \"pin\"");
    assert!(refused(&config).contains("CREDENTIALS_DIRECTORY is not set"));
    let spy = node.dir.join("pkcs11-spy.so");
    std::fs::copy(&node.token.module, &spy).unwrap();
    let config = changed(&cluster, "spy", &node.token.module.display().to_string(), &spy.display().to_string());
    let production = std::fs::read_to_string(&config).unwrap().replace("\"development\"", "\"production\"");
    std::fs::write(&config, production).unwrap();
    assert!(refused_init(&config).contains("refused in production mode"));
}

#[test]
fn two_tokens_become_a_pair_when_a_node_is_initialised() {
    let cluster = Cluster::prepare(2);
    let node = &cluster.nodes[0];
    let other =
        tally_hsm_adapter::testing::SoftHsmToken::create(node.token.pin_file.parent().unwrap(), "other").unwrap();
    let standby = |serial: &str| {
        format!(
            "[hsm.standby]\nmodule = \"{}\"\ntoken_label = \"other\"\ntoken_serial = \"{serial}\"\npin_file = \"{}\"\n[log]",
            other.module.display(),
            other.pin_file.display()
        )
    };
    let config = changed(&cluster, "pair", "[log]", &standby(&other.serial));
    let init = |config: &Path| {
        let output = tallyd(config).arg("--init").output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    // The node stays who it was before it had two.
    let (done, alone) = init(&node.dir.join("node.toml"));
    assert!(done);
    for _ in 0..2 {
        assert_eq!(init(&config), (true, alone.clone()));
    }
    let config = changed(&cluster, "lost", "[log]", &standby("ffffffffffffffff"));
    assert!(refused_init(&config).contains("ffffffffffffffff"));
}

fn refused_init(config: &Path) -> String {
    let mut command = tallyd(config);
    command.arg("--init");
    refuses(command)
}

#[test]
fn a_bundle_with_an_error_is_shown_with_file_and_line() {
    let cluster = Cluster::prepare(2);
    let policy = cluster.dir.path().join("policy/policy.cedar");
    let text =
        std::fs::read_to_string(&policy).unwrap() + "\npermit (principal, action, resource) when { context.tx };\n";
    std::fs::write(&policy, text).unwrap();
    let said = refused(&cluster.nodes[0].dir.join("node.toml"));
    assert!(said.contains("policy.cedar:"), "{said}");
}
