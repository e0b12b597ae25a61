//! A node whose token hangs: what needs no token goes on, what does is refused with a reason, and all is well afterwards.

use crate::harness::cluster::Cluster;
use crate::harness::orders::*;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tally_client::Order;
use tally_domain::{KeySpec, Purpose, Reason, Scheme, Threshold};

/// The faults of one node's token, through the module `p11fault`.
pub struct Faults(PathBuf);

impl Faults {
    /// Puts the faulting module between node `i`, which does not run yet, and its token.
    pub fn between(cluster: &Cluster, i: usize) -> Self {
        let node = &cluster.nodes[i];
        let module = std::env::current_exe().unwrap().with_file_name(p11fault::FILE_NAME);
        assert!(module.exists(), "{} is missing: run `cargo build -p tally-p11fault`", module.display());
        let config = node.dir.join("node.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        let (real, faulting) = (node.token.module.display().to_string(), module.display().to_string());
        assert!(text.contains(&real));
        std::fs::write(&config, text.replacen(&real, &faulting, 1)).unwrap();
        let faults = Self(node.dir.join("faults"));
        faults.order("");
        faults
    }

    pub fn env(&self) -> &str {
        self.0.to_str().unwrap()
    }

    /// The file that the module writes the names of the calls into that it has done something to.
    pub fn log(&self) -> PathBuf {
        self.0.with_extension("log")
    }

    pub fn order(&self, rules: &str) {
        let next: &Path = &self.0.with_extension("next");
        std::fs::write(next, rules).unwrap();
        std::fs::rename(next, &self.0).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_token_hangs_still_signs_with_the_shares_that_it_has_opened() {
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
    sign(&node, say("opens the share")).await.unwrap();
    assert_eq!(node.node().await.unwrap().hsm.error, None);

    faults.order("* hang");
    // Nobody waits for the token, and nobody holds a thread that others need.
    for n in 0..5 {
        let text = format!("while the token hangs, {n}");
        let said = sign(&node, say(&text)).await.unwrap();
        verified_ed25519(&fast, text.as_bytes(), &said.signature);
    }
    let hsm = node.node().await.unwrap().hsm;
    assert!(hsm.error.as_ref().is_some_and(|e| e.contains("did not answer") || e.contains("is down")), "{hsm:?}");
    // A new share cannot be sealed.
    let spec = KeySpec { scheme: Scheme::Ed25519, threshold: Threshold::new(2, 3).unwrap(), purpose: Purpose::Message };
    let create = node.seal(Order::create_key(key("new"), spec)).unwrap();
    assert_eq!(reason(node.create_key(&create).await), Reason::Hsm);
    let said = sign(&cluster.at(0), say("the others")).await.unwrap();
    verified_ed25519(&fast, b"the others", &said.signature);

    faults.order("");
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let hsm = node.node().await.unwrap().hsm;
        if hsm.error.is_none() && hsm.hung == 0 {
            break;
        }
        assert!(Instant::now() < end, "{hsm:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    node.create_key(&create).await.unwrap();
}
