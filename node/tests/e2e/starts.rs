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
fn a_bundle_with_an_error_is_shown_with_file_and_line() {
    let cluster = Cluster::prepare(2);
    let policy = cluster.dir.path().join("policy/policy.cedar");
    let text =
        std::fs::read_to_string(&policy).unwrap() + "\npermit (principal, action, resource) when { context.tx };\n";
    std::fs::write(&policy, text).unwrap();
    let said = refused(&cluster.nodes[0].dir.join("node.toml"));
    assert!(said.contains("policy.cedar:"), "{said}");
}
