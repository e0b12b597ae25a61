//! Nodes whose PKCS#11 module's process is killed, stopped or crashes: shares that are open go on signing, the rest is refused with
//! a reason until another process has taken its place; and no process outlives its node.

use crate::harness::cluster::{Cluster, refuses, tallyd};
use crate::harness::orders::*;
use crate::tokens::Faults;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tally_client::{Client, HsmInfo, Order};
use tally_domain::{Digest, HsmScheme, Purpose, Reason};

/// Longest that a process takes to be replaced, on a loaded machine.
const LONG: Duration = Duration::from_secs(30);

async fn hsm(node: &Client) -> HsmInfo {
    node.node().await.unwrap().hsm
}

fn process(hsm: &HsmInfo) -> Pid {
    Pid::from_raw(i32::try_from(hsm.process.unwrap()).unwrap()).unwrap()
}

/// Waits until the node's token works in a process that has been replaced so often.
async fn replaced(node: &Client, restarts: u32) -> HsmInfo {
    let end = Instant::now() + LONG;
    loop {
        let hsm = hsm(node).await;
        if hsm.error.is_none() && hsm.restarts >= restarts {
            return hsm;
        }
        assert!(Instant::now() < end, "{hsm:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn jwt(text: &str) -> Order {
    Order::sign_message(key("jwt"), text.as_bytes().to_vec())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_goes_on_while_its_tokens_process_is_killed_and_stopped() {
    let cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    let fast = create_fast(&client).await;
    let public = create_hsm(&client, "jwt", &in_hsm_of(1, HsmScheme::EcdsaP256, Purpose::Message)).await.unwrap();
    let node = cluster.at(1);
    sign(&node, say("opens the share")).await.unwrap();
    let first = hsm(&node).await;
    assert_eq!((first.isolation.as_str(), first.restarts), ("process", 0));

    let load = tokio::spawn({
        let node = node.clone();
        async move {
            let mut signed = 0;
            for n in 0.. {
                match sign(&node, jwt(&format!("token {n}"))).await {
                    Ok(_) => signed += 1,
                    refused => assert_eq!(reason(refused), Reason::Hsm),
                }
                if signed > 50 && n > 200 {
                    return n - signed;
                }
            }
            0
        }
    });
    for (round, signal) in (1..).zip([Signal::KILL, Signal::STOP, Signal::KILL]) {
        tokio::time::sleep(Duration::from_millis(300)).await;
        kill_process(process(&hsm(&node).await), signal).unwrap();
        // Nobody waits for the token, and nobody's share is gone.
        let text = format!("without a token, {round}");
        verified_ed25519(&fast, text.as_bytes(), &sign(&node, say(&text)).await.unwrap().signature);
        replaced(&node, round).await;
        let signed = sign(&node, jwt(&format!("after {round}"))).await.unwrap();
        public.verify(&Digest::of(format!("after {round}").as_bytes()).0, &signed.signature).unwrap();
    }
    load.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_that_crashes_does_not_take_its_node_with_it() {
    let mut cluster = Cluster::prepare(3);
    let faults = Faults::between(&cluster, 1);
    let module = cluster.nodes[1].token.module.display().to_string();
    for i in 0..3 {
        let env = [("P11FAULT_MODULE", module.as_str()), ("P11FAULT_FILE", faults.env())];
        cluster.launch(i, if i == 1 { &env } else { &[] });
    }
    cluster.all_serving().await;
    let fast = create_fast(&cluster.client("payouts-1")).await;
    let node = cluster.at(1);
    let home = in_hsm_of(1, HsmScheme::EcdsaP256, Purpose::Message);
    let public = create_hsm(&cluster.client("payouts-1"), "jwt", &home).await.unwrap();
    sign(&node, say("opens the share")).await.unwrap();

    faults.order("C_Sign crash");
    assert_eq!(reason(sign(&node, jwt("crash")).await), Reason::Hsm);
    for n in 0..3 {
        let text = format!("while the module crashes, {n}");
        verified_ed25519(&fast, text.as_bytes(), &sign(&node, say(&text)).await.unwrap().signature);
    }
    let down = hsm(&node).await;
    assert!(down.error.is_some_and(|e| e.contains("SIGABRT") || e.contains("process")) && down.breaker != "closed");

    faults.order("");
    replaced(&node, 1).await;
    let signed = sign(&node, jwt("again")).await.unwrap();
    public.verify(&Digest::of(b"again").0, &signed.signature).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_process_outlives_its_node() {
    let mut cluster = Cluster::start().await;
    let mut processes = Vec::new();
    for i in 0..3 {
        processes.push(process(&hsm(&cluster.at(i)).await));
    }
    // One that hangs does not either.
    kill_process(processes[1], Signal::STOP).unwrap();
    cluster.kill(0);
    cluster.kill(1);
    cluster.stop(2);
    let end = Instant::now() + LONG;
    while processes.iter().any(|process| test_kill_process(*process).is_ok()) {
        assert!(Instant::now() < end, "{processes:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn a_node_without_the_program_for_its_module_says_where_it_belongs() {
    let cluster = Cluster::prepare(1);
    let config = cluster.nodes[0].dir.join("node.toml");
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let alone = dir.path().join("tallyd");
    std::fs::hard_link(env!("CARGO_BIN_EXE_tallyd"), &alone).unwrap();
    let run = |program: &Path| {
        let mut command = Command::new(program);
        command.arg("--config").arg(&config);
        command
    };
    let said = refuses(run(&alone));
    assert!(said.contains(dir.path().join("hsmd").to_str().unwrap()) && said.contains("isolation"), "{said}");
    assert_eq!(said.trim().lines().count(), 1, "{said}");
}

#[test]
fn a_capability_file_is_read_strictly() {
    let cluster = Cluster::prepare(1);
    let config = cluster.nodes[0].dir.join("node.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("[hsm]\n", "[hsm]\nprofile = \"token.toml\"\n")).unwrap();
    let file = cluster.nodes[0].dir.join("token.toml");
    let refused = || refuses(tallyd(&config));
    let said = refused();
    assert!(said.contains("token.toml") && said.contains("cannot read"), "{said}");
    let good = include_str!("../../../hsm-adapter/profiles/softhsm-2.6.toml");
    for (bad, words) in [
        (format!("{good}\nspeed = 9\n"), "speed"),
        (good.replace("gcm_iv = \"caller\"", "gcm_iv = \"nobody\""), "gcm_iv"),
        (good.replace("restart = true", ""), "restart"),
    ] {
        assert_ne!(bad, good);
        std::fs::write(&file, bad).unwrap();
        let said = refused();
        assert!(said.contains(words) && said.contains("token.toml"), "{said}");
    }
    std::fs::write(&file, good.replace("softhsm-2.6", "ours")).unwrap();
    let output = tallyd(&config).arg("--init").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
