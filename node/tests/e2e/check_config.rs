//! Looking at a configuration without starting: what is wrong is said in words, and what to do about it.

use crate::harness::admins;
use crate::harness::certs::{Authority, write_secret};
use crate::harness::cluster::{CLUSTER, Cluster, tallyd};
use std::path::{Path, PathBuf};
use std::process::Command;

fn checked(config: &Path) -> (bool, String) {
    let output = tallyd(config).arg("--check-config").output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn all_faults_of_a_configuration_are_told_at_once_and_nothing_is_started() {
    let cluster = Cluster::prepare(1);
    let node = &cluster.nodes[0];
    let file = node.dir.join("node.toml");
    let (good, said) = checked(&file);
    assert!(good && said.contains("is good"), "{said}");
    assert!(!node.dir.join("data").exists());

    let text = std::fs::read_to_string(&file).unwrap();
    let pin = node.token.pin_file.display().to_string();
    std::fs::write(node.dir.join("open-pin"), "1\n").unwrap();
    let bad = text
        .replace("name = \"node-1\"", "name = \"node-9\"")
        .replace(&format!("cluster = \"{CLUSTER}\""), "cluster = \"another\"")
        .replace("level = \"info\"", "level = \"loud\"")
        .replace("cert = \"node.pem\"", "cert = \"missing.pem\"")
        .replace(&node.token.module.display().to_string(), "/nonexistent/module.so")
        .replace(&pin, &node.dir.join("open-pin").display().to_string())
        .replace("data_dir = \"data\"", "data_dir = \"node.pem/data\"")
        .replace("[metrics]\nlisten = \"127.0.0.1:0\"", &format!("[metrics]\nlisten = \"127.0.0.1:{}\"", node.port));
    std::fs::write(&file, bad).unwrap();
    let (good, said) = checked(&file);
    assert!(!good);
    for fault in [
        "`node-9`",
        "`another`",
        "`loud`",
        "missing.pem",
        "module.so is no file",
        "open-pin",
        "data_dir",
        "metrics.listen",
    ] {
        assert!(said.contains(fault), "{fault} is not told: {said}");
    }
    assert!(said.contains("8 faults") && said.matches("\n- ").count() == 8, "{said}");
}

/// Node 1's files, one fault at a time.
struct Desk {
    cluster: Cluster,
    text: String,
}

impl Desk {
    fn new(cluster: Cluster) -> Self {
        let text = std::fs::read_to_string(cluster.nodes[0].dir.join("node.toml")).unwrap();
        Self { cluster, text }
    }

    fn dir(&self) -> &Path {
        &self.cluster.nodes[0].dir
    }

    /// A configuration with one change has one fault, and what is said of it has these words.
    fn fault(&self, from: &str, to: &str, words: &[&str]) {
        assert!(self.text.contains(from), "{from}");
        let file = self.dir().join("changed.toml");
        std::fs::write(&file, self.text.replacen(from, to, 1)).unwrap();
        let (good, said) = checked(&file);
        assert!(!good && said.contains("1 fault\n- ") && said.matches("\n- ").count() == 1, "{to}: {said}");
        words.iter().for_each(|words| assert!(said.contains(words), "{to}: `{words}` is not in {said}"));
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

#[test]
fn each_fault_of_the_file_itself_says_what_to_do() {
    let desk = Desk::new(Cluster::prepare(1));
    let (good, said) = checked(Path::new("nowhere.toml"));
    assert!(!good && said.contains("`--config` names a node.toml"), "{said}");
    desk.fault("mode =", "mood =", &["unknown field `mood`", "`mode`"]);
    desk.fault("cluster =", "# cluster =", &["missing field `cluster`"]);
    desk.fault("[tls]", "[tls", &["not valid", "line"]);
    let port = desk.cluster.nodes[0].port;
    let listen = format!("listen = \"127.0.0.1:{port}\"");
    for address in ["localhost:7101", "10.0.0.1", "10.0.0.1:99999"] {
        let words = [address, "no address to listen on", "an IP address of this machine and a port"];
        desk.fault(&listen, &format!("listen = \"{address}\""), &words);
    }
    // 203.0.113.0/24 is for documentation (RFC 5737).
    let elsewhere = format!("listen = \"203.0.113.7:{port}\"");
    desk.fault(&listen, &elsewhere, &["`listen` is 203.0.113.7", "no address 203.0.113.7", "use one that it has"]);
    let same = format!("[metrics]\n{listen}");
    desk.fault("[metrics]\nlisten = \"127.0.0.1:0\"", &same, &["`listen` and `metrics.listen`", "a port of its own"]);
    desk.fault("level = \"info\"", "level = \"loud\"", &["`loud`", "use off, error, warn"]);
    desk.fault("data_dir = \"data\"", "data_dir = \"node.pem/data\"", &["no directory", "name another directory"]);
}

#[test]
fn each_fault_of_certificates_keys_and_pins_says_what_to_do() {
    let desk = Desk::new(Cluster::prepare(1));
    let node = &desk.cluster.nodes[0];
    let (uri, authority) = (format!("spiffe://{CLUSTER}/node/node-1"), &desk.cluster.authority);
    desk.fault("\"node.pem\"", "\"gone.pem\"", &["gone.pem", "put the PEM file there, or correct `cert`"]);
    desk.fault("\"../ca.pem\"", "\"gone.pem\"", &["gone.pem", "or correct `ca`"]);
    desk.fault("\"node.key\"", "\"gone.key\"", &["gone.key", "put the key there"]);
    desk.write("nonsense.pem", "nonsense");
    desk.fault("\"node.pem\"", "\"nonsense.pem\"", &["holds no certificate", "a PEM file"]);
    desk.fault("\"node.key\"", "\"node.pem\"", &["node.pem holds no private key", "correct the path"]);
    desk.write("open.key", &node.tls.key);
    desk.fault("\"node.key\"", "\"open.key\"", &["others can read it", "chmod 0400"]);

    let cert = |name: &str, issued: &crate::harness::certs::Issued| drop(desk.write(name, &issued.cert));
    let expired = authority.renew_as(&uri, &node.tls, |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    cert("expired.pem", &expired);
    desk.fault("\"node.pem\"", "\"expired.pem\"", &["not valid now", "expired", "renewed for the same key"]);
    cert("early.pem", &authority.renew_as(&uri, &node.tls, |p| p.not_before = rcgen::date_time_ymd(2099, 1, 1)));
    desk.fault("\"node.pem\"", "\"early.pem\"", &["not valid now", "its time has not come", "clock"]);
    cert("foreign.pem", &Authority::new().renew(&uri, &node.tls));
    desk.fault("\"node.pem\"", "\"foreign.pem\"", &["not valid now", "another authority", "add the other"]);
    let server_only = |p: &mut rcgen::CertificateParams| p.extended_key_usages.truncate(1);
    cert("server.pem", &authority.renew_as(&uri, &node.tls, server_only));
    desk.fault("\"node.pem\"", "\"server.pem\"", &["not valid now", "clientAuth"]);
    let another = authority.issue(&uri);
    cert("another.pem", &another);
    desk.fault("\"node.pem\"", "\"another.pem\"", &["do not fit", "must belong together"]);
    write_secret(&desk.dir().join("another.key"), another.key.as_bytes());
    let both = "cert = \"node.pem\"\nkey = \"node.key\"";
    let words = ["is not the one that the roster names", "renewed for the old key"];
    desk.fault(both, "cert = \"another.pem\"\nkey = \"another.key\"", &words);

    let pin = node.token.pin_file.display().to_string();
    desk.write("open-pin", "1234\n");
    desk.fault(&pin, "open-pin", &["open-pin", "mode 0400 or 0600"]);
    desk.fault(&pin, "no-pin", &["no-pin", "cannot be read", "a file with one line, the PIN"]);
    write_secret(&desk.dir().join("empty-pin"), b"\n");
    desk.fault(&pin, "empty-pin", &["empty-pin", "is empty"]);
    let two = format!("pin_file = \"{pin}\"\npin_fd = 7");
    desk.fault(&format!("pin_file = \"{pin}\""), &two, &["exactly one of `pin_file`, `pin_fd` and `pin_credential`"]);
    let module = node.token.module.display().to_string();
    desk.fault(&module, "/nonexistent/module.so", &["module.so is no file", "install the PKCS#11 module"]);
    desk.write("other.so", "\u{7f}ELF and no such function");
    desk.fault(&module, "other.so", &["other.so is no PKCS#11 module", "C_GetFunctionList", "correct the path"]);
    let pin_line = format!("pin_file = \"{pin}\"");
    let conf = node.token.env.1.display().to_string();
    desk.fault(&conf, "nope.conf", &["[hsm] `env`", "nope.conf is no file", "correct `SOFTHSM2_CONF`"]);
    desk.fault(&pin_line, &format!("{pin_line}\nworkers = 0"), &["1 to 64 workers"]);
    desk.fault(&pin_line, "pin = \"998877\"", &["unknown field `pin`", "`pin_file`"]);
}

#[test]
fn a_certificate_of_the_right_key_and_authority_names_this_node_and_where_it_is() {
    let desk = Desk::new(Cluster::prepare(1));
    let node = &desk.cluster.nodes[0];
    let (uri, authority) = (format!("spiffe://{CLUSTER}/node/node-1"), &desk.cluster.authority);
    let cert = |name: &str, issued: &crate::harness::certs::Issued| drop(desk.write(name, &issued.cert));
    let exact = ["does not name this node", "exactly one URI", &uri, "for the same key"];
    let uri_of =
        |p: &mut rcgen::CertificateParams| p.subject_alt_names.retain(|n| !matches!(n, rcgen::SanType::URI(_)));
    cert("bare.pem", &authority.renew_as(&uri, &node.tls, |p| p.subject_alt_names.clear()));
    cert("nameless.pem", &authority.renew_as(&uri, &node.tls, uri_of));
    let twice = rcgen::SanType::URI(format!("spiffe://{CLUSTER}/node/node-2").as_str().try_into().unwrap());
    cert("twice.pem", &authority.renew_as(&uri, &node.tls, |p| p.subject_alt_names.push(twice)));
    cert("other.pem", &authority.renew(&format!("spiffe://{CLUSTER}/node/node-2"), &node.tls));
    cert("strange.pem", &authority.renew("spiffe://another/node/node-1", &node.tls));
    for name in ["bare", "nameless", "twice", "other", "strange"] {
        desk.fault("\"node.pem\"", &format!("\"{name}.pem\""), &exact);
    }
    let hostless =
        |p: &mut rcgen::CertificateParams| p.subject_alt_names.retain(|n| matches!(n, rcgen::SanType::URI(_)));
    cert("hostless.pem", &authority.renew_as(&uri, &node.tls, hostless));
    desk.fault("\"node.pem\"", "\"hostless.pem\"", &["is not for 127.0.0.1:", "the roster says", "that host among"]);
}

#[test]
fn each_fault_of_the_policy_and_the_roster_says_what_to_do() {
    let (cluster, first) = admins::prepare();
    let desk = Desk::new(cluster);
    assert_eq!(checked(&desk.dir().join("node.toml")), (true, good(&desk.dir().join("node.toml"))));
    desk.fault(
        "name = \"node-1\"",
        "name = \"node-9\"",
        &["has no node `node-9`", "node-1, node-2, node-3", "correct `name`"],
    );
    let cluster = format!("cluster = \"{CLUSTER}\"");
    desk.fault(&cluster, "cluster = \"another\"", &["the configuration for `another`", "correct `cluster`"]);
    // A wrong pin.
    let wrong = format!("sha256:{}", "ab".repeat(32));
    let digest = first.digest().to_string();
    let pinned = format!("sha256:{digest}");
    let words = ["not the one that [policy] pins", &digest, "tally policy show", "correct `pinned`"];
    desk.fault(&pinned, &wrong, &words);
    desk.fault(&pinned, "sha256:12", &["`pinned` is `sha256:` and the 64 hex digits"]);
    desk.fault("first.bundle", "gone.bundle", &["gone.bundle", "correct `bundle` under [policy]"]);
    desk.write("nonsense.bundle", "nonsense");
    desk.fault("\"../first.bundle\"", "\"nonsense.bundle\"", &["nonsense.bundle", "no signed policy bundle"]);
    let development = desk.text.replace("mode = \"development\"", "mode = \"production\"");
    assert!(checked(&desk.write("production.toml", &development)).1.contains("`delay_max`"));

    // The endpoint for EVM libraries.
    let port = desk.cluster.nodes[0].port;
    let rpc = |client: &str, key: &str, port: u16| {
        format!(
            "[rpc]\nlisten = \"127.0.0.1:{port}\"\nclient = \"{client}\"\nintent_key = \"{key}\"\nchains = [1]\n\
             accounts = [{{ key = \"hot\" }}]\n[tls]"
        )
    };
    let own = "../payouts-1/intent.key";
    desk.fault("[tls]", &rpc("payouts-1", own, port), &["[rpc] `listen`", "a port of its own"]);
    desk.fault("[tls]", &rpc("payouts-9", own, 1), &["no client `payouts-9`", "have it added"]);
    desk.fault("[tls]", &rpc("payouts-1", "../reader/intent.key", 1), &["is not the key", "that client's own file"]);
    desk.fault("[tls]", &rpc("payouts-1", "gone.key", 1), &["[rpc] `intent_key`", "put the key there"]);
    desk.write("open-intent.key", "ed25519:00\n");
    desk.fault("[tls]", &rpc("payouts-1", "open-intent.key", 1), &["chmod 0400"]);
}

fn good(file: &Path) -> String {
    format!("{} is good; the token has not been tried (`tally hsm doctor` does)\n", file.display())
}

#[test]
fn a_shell_and_man_are_told_each_option_of_tallyd() {
    let run = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_tallyd")).args(args).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let help = run(&["--help"]);
    let words = help.split_whitespace().map(|word| word.trim_matches(|c: char| !c.is_ascii_lowercase() && c != '-'));
    let options: std::collections::BTreeSet<_> = words.filter(|word| word.starts_with("--")).collect();
    assert!(options.len() >= 7 && options.contains("--check-config"), "{options:?}");
    let page = run(&["--man"]);
    for option in &options {
        assert!(page.contains(&option.replace('-', "\\-")), "the page has no {option}");
        for shell in ["bash", "zsh", "fish"] {
            let script = run(&["--completion", shell]);
            // fish has no dashes in front of long names.
            assert!(script.contains(option.trim_start_matches('-')), "{shell} is not told of {option}");
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("tallyd.bash");
    std::fs::write(&script, run(&["--completion", "bash"])).unwrap();
    let asked =
        "source \"$1\"; COMP_WORDS=(tallyd --che); COMP_CWORD=1; _tallyd tallyd --che tallyd; echo \"${COMPREPLY[@]}\"";
    let output = Command::new("bash").args(["-c", asked, "bash"]).arg(&script).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "--check-config", "{output:?}");
    let bare = Command::new(env!("CARGO_BIN_EXE_tallyd")).output().unwrap();
    assert!(!bare.status.success() && String::from_utf8_lossy(&bare.stderr).contains("--config"), "{bare:?}");
}
