use crate::world::{Stub, World, ran};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use x509_parser::prelude::{FromDer as _, GeneralName, Pem, X509Certificate};

#[test]
fn init_makes_a_cluster_whose_secrets_are_its_owners_alone() {
    let world = World::with_cluster(Stub::Ends);
    for secret in [
        "ca.key",
        "client/admins/alice.key",
        "client/admins/carol.key",
        "client/client.key",
        "client/intent.key",
        "node-1/node.key",
        "node-1/pin",
        "node-3/pin",
    ] {
        let mode = std::fs::metadata(world.path("d").join(secret)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o400, "{secret}");
    }
    let pins = ["node-1", "node-2"].map(|n| std::fs::read_to_string(world.path("d").join(n).join("pin")).unwrap());
    assert!(pins[0].len() >= 16 && pins[0] != pins[1]);
    tally_client::Profile::load(&world.path("d/client/profile.toml")).unwrap();
    let checked = world.tally(&["policy", "check", "d/policy", "--json"]);
    assert_eq!(checked.code, 0, "{}", checked.stderr);
    assert_eq!(checked.json()["nodes"], 5);
    // Every node pins the bundle that two of the three admins have signed.
    let shown = world.tally(&["policy", "show", "d/policy.bundle", "--json"]).json();
    assert_eq!(shown["signatures"]["admins"].as_array().unwrap().len(), 2);
    let pinned = format!("pinned = \"sha256:{}\"", shown["bundle"]["digest"].as_str().unwrap());
    for node in ["node-1", "node-5"] {
        let config = std::fs::read_to_string(world.path("d").join(node).join("node.toml")).unwrap();
        assert!(config.contains(&pinned) && !config.contains("bundle_dir"), "{config}");
    }
}

/// The URIs among a certificate's names, its extended key usages (server, client), and the hash of its public key.
fn certificate(path: &Path) -> (Vec<String>, bool, bool, String) {
    let pem = Pem::iter_from_buffer(&std::fs::read(path).unwrap()).next().unwrap().unwrap();
    let (_, cert) = X509Certificate::from_der(&pem.contents).unwrap();
    let names = &cert.subject_alternative_name().unwrap().unwrap().value.general_names;
    let uri = |n: &GeneralName<'_>| match n {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    };
    let usage = cert.extended_key_usage().unwrap().unwrap().value;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, cert.public_key().raw);
    (names.iter().filter_map(uri).collect(), usage.server_auth, usage.client_auth, hex::encode(digest))
}

#[test]
fn certificates_say_who_they_are_for_and_the_roster_pins_their_keys() {
    let world = World::with_cluster(Stub::Ends);
    let roster = std::fs::read_to_string(world.path("d/policy/roster.toml")).unwrap();
    for name in ["node-1", "node-2", "node-3"] {
        let (uris, server, client, spki) = certificate(&world.path("d").join(name).join("node.pem"));
        assert_eq!(uris, [format!("spiffe://dev/node/{name}")]);
        assert!(server && client);
        assert!(roster.contains(&spki), "{name}");
    }
    let (uris, server, client, spki) = certificate(&world.path("d/client/client.pem"));
    assert_eq!(uris, ["spiffe://dev/client/payouts-1"]);
    // A client's certificate must not pass for a node's.
    assert!(!server && client);
    assert!(roster.contains(&spki));
    let roles: Vec<_> = roster.lines().filter_map(|line| line.strip_prefix("role = ")).collect();
    assert_eq!(roles, [r#""signer""#, r#""signer""#, r#""signer""#, r#""witness""#, r#""witness""#]);
}

#[test]
fn init_touches_no_directory_that_holds_something() {
    let world = World::with_cluster(Stub::Ends);
    let again = world.tally(&["dev", "init", "--dir", "d", "--tallyd", "tallyd"]);
    assert_eq!(again.code, 2);
    assert!(again.stderr.contains("not empty"));
}

#[test]
fn init_keeps_its_keys_out_of_repositories_and_quotes_what_is_to_be_copied() {
    let world = World::new(Stub::Ends);
    let made = world.tally(&["dev", "init", "--dir", "my cluster", "--base-port", "0", "--tallyd", "tallyd"]);
    assert!(made.stdout.contains("tally dev up --dir 'my cluster'"), "{}{}", made.stdout, made.stderr);
    assert_eq!(std::fs::read_to_string(world.path("my cluster/.gitignore")).unwrap(), "*\n");
}

#[test]
fn up_says_who_has_the_port_and_how_to_get_others() {
    let world = World::with_cluster(Stub::Runs);
    let profile = std::fs::read_to_string(world.path("d/client/profile.toml")).unwrap();
    let address = profile.split("https://").nth(2).unwrap().split('"').next().unwrap();
    let taken = std::net::TcpListener::bind(address).unwrap();
    let up = world.tally(&["dev", "up", "--dir", "d", "--tallyd", "tallyd"]);
    assert_eq!(up.code, 1);
    assert!(up.stderr.contains(address) && up.stderr.contains("--base-port 0"), "{}", up.stderr);
    assert!(!world.path("d/pids").exists());
    drop(taken);
}

#[test]
fn init_says_what_is_missing() {
    let world = World::new(Stub::Ends);
    let no_tallyd = world.tally(&["dev", "init", "--dir", "d", "--tallyd", "nowhere"]);
    assert_eq!((no_tallyd.code, no_tallyd.stderr.as_str()), (2, "error: nowhere is no file\n"));
    let no_softhsm =
        world.command(&["dev", "init", "--dir", "e", "--tallyd", "tallyd"]).env("PATH", "/nowhere").output();
    let no_softhsm = ran(no_softhsm.unwrap());
    assert_eq!(no_softhsm.code, 2);
    assert!(no_softhsm.stderr.contains("apt-get install softhsm2"), "{}", no_softhsm.stderr);
    std::fs::write(world.path("tallyd"), "#!/bin/sh\necho no token >&2; exit 1\n").unwrap();
    let refused = world.tally(&["dev", "init", "--dir", "f", "--tallyd", "tallyd"]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("no token"), "{}", refused.stderr);
}

#[test]
fn nodes_that_end_at_once_are_reported_with_their_log() {
    let world = World::with_cluster(Stub::Ends);
    let up = world.tally(&["dev", "up", "--dir", "d", "--tallyd", "tallyd"]);
    assert_eq!(up.code, 1);
    assert!(up.stderr.contains("node-1 stopped by itself") && up.stderr.contains("this is no node"), "{}", up.stderr);
}

/// Starts `dev up` and waits until all its nodes run; gives their process ids.
fn up(world: &World) -> (Child, Vec<String>) {
    let mut command = world.command(&["dev", "up", "--dir", "d", "--tallyd", "tallyd"]);
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    let listed = || std::fs::read_to_string(world.path("d/pids")).unwrap_or_default();
    while listed().lines().count() < 5 {
        if began.elapsed() > Duration::from_secs(20) {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("the nodes do not start");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    (child, listed().lines().map(|l| l.split_once(' ').unwrap().1.to_owned()).collect())
}

fn runs(pid: &String) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

#[test]
fn up_takes_its_nodes_with_it() {
    let world = World::with_cluster(Stub::Runs);
    let (mut child, pids) = up(&world);
    assert!(pids.iter().all(runs));
    let again = world.tally(&["dev", "up", "--dir", "d", "--tallyd", "tallyd"]);
    assert_eq!(again.code, 2);
    assert!(again.stderr.contains("runs already"), "{}", again.stderr);
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(!pids.iter().any(runs));
    assert!(!world.path("d/pids").exists());
}

#[test]
fn down_stops_the_nodes_of_its_directory_and_no_one_else() {
    let world = World::with_cluster(Stub::Runs);
    assert_eq!(world.tally(&["dev", "down", "--dir", "d"]).stdout, "nothing runs\n");
    let nowhere = world.tally(&["dev", "down", "--dir", "e"]);
    assert_eq!((nowhere.code, nowhere.stderr.as_str()), (2, "error: e is no directory\n"));
    let (mut child, pids) = up(&world);
    let me = std::process::id();
    let noted = std::fs::read_to_string(world.path("d/pids")).unwrap();
    std::fs::write(world.path("d/pids"), format!("node-1 {me}\n{noted}")).unwrap();
    let down = world.tally(&["dev", "down", "--dir", "d", "--json"]);
    assert_eq!(down.json()["stopped"], serde_json::json!(["node-1", "node-2", "node-3", "node-4", "node-5"]));
    assert!(!pids.iter().any(runs));
    child.wait().unwrap();
}
