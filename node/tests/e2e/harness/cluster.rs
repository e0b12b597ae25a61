//! A cluster of real processes in a directory of its own, stopped when it is dropped.

use super::certs::{Authority, Issued, write_secret};
use super::people;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tally_client::{Client, Profile};
use tally_domain::dsse::SigningKey;
use tally_hsm_adapter::testing::SoftHsmToken;
use tempfile::TempDir;

pub const CLUSTER: &str = "test";
pub const TENANT: &str = "acme";
pub const VENDOR: &str = "0x1111111111111111111111111111111111111111";
pub const USDC: &str = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48";

/// Longest wait for a node to serve: a debug build on a busy machine starts in a second or two.
const START_MAX: Duration = Duration::from_secs(60);

pub struct Cluster {
    pub dir: TempDir,
    pub nodes: Vec<NodeProcess>,
    pub authority: Authority,
    pub clients: BTreeMap<String, TestClient>,
}

/// What a cluster is made of.
#[derive(Clone, Copy)]
pub struct Makeup<'a> {
    pub signers: usize,
    pub witnesses: usize,
    /// `limits.toml`
    pub limits: Option<&'a str>,
}

pub struct NodeProcess {
    pub name: String,
    role: &'static str,
    pub port: u16,
    pub dir: PathBuf,
    pub tls: Issued,
    pub token: SoftHsmToken,
    child: Option<Child>,
}

pub struct TestClient {
    pub tls: Issued,
    pub seed: [u8; 32],
    pub kind: &'static str,
}

impl TestClient {
    pub fn intent_key(&self) -> SigningKey {
        match self.kind {
            "p256" => SigningKey::p256(&self.seed).unwrap(),
            _ => SigningKey::ed25519(&self.seed),
        }
    }
}

impl Cluster {
    /// Three nodes that serve, with clients `payouts-1` (Ed25519), `payouts-2` (P-256) and `reader` (no groups).
    pub async fn start() -> Self {
        let mut cluster = Self::prepare(3);
        for i in 0..3 {
            cluster.launch(i, &[]);
        }
        cluster.all_serving().await;
        cluster
    }

    /// Three signers and two witnesses that serve, with these limits: four of five must agree.
    pub async fn limited(limits: &str) -> Self {
        let mut cluster = Self::prepare_as(Makeup { signers: 3, witnesses: 2, limits: Some(limits) });
        for i in 0..cluster.nodes.len() {
            cluster.launch(i, &[]);
        }
        cluster.all_serving().await;
        cluster
    }

    /// Everything on disk, nothing running.
    pub fn prepare(n: usize) -> Self {
        Self::prepare_as(Makeup { signers: n, witnesses: 0, limits: None })
    }

    /// The same, made otherwise.
    pub fn prepare_as(makeup: Makeup<'_>) -> Self {
        let dir = TempDir::new().unwrap();
        let authority = Authority::new();
        let mut clients = BTreeMap::new();
        for (id, kind, seed) in [("payouts-1", "ed25519", 11), ("payouts-2", "p256", 12), ("reader", "ed25519", 13)] {
            let tls = authority.issue(&format!("spiffe://{CLUSTER}/client/{id}"));
            clients.insert(id.to_owned(), TestClient { tls, seed: [seed; 32], kind });
        }
        let role = |i| if i <= makeup.signers { "signer" } else { "witness" };
        let nodes = 1..=makeup.signers + makeup.witnesses;
        let nodes = nodes.map(|i| node(dir.path(), &authority, i, role(i))).collect();
        let cluster = Self { dir, nodes, authority, clients };
        cluster.write_files(makeup.limits);
        cluster
    }

    fn write_files(&self, limits: Option<&str>) {
        let root = self.dir.path();
        std::fs::write(root.join("ca.pem"), self.authority.pem()).unwrap();
        std::fs::create_dir(root.join("policy")).unwrap();
        std::fs::create_dir(root.join("policy/lists")).unwrap();
        self.nodes.iter().for_each(|n| n.write_config());
        let identities: Vec<String> = self.nodes.iter().map(NodeProcess::init_identity).collect();
        std::fs::write(root.join("policy/bundle.toml"), "version = 1\n").unwrap();
        std::fs::write(root.join("policy/policy.cedar"), include_str!("policy.cedar")).unwrap();
        std::fs::write(root.join("policy/groups.toml"), people::groups()).unwrap();
        std::fs::write(root.join("policy/assets.toml"), include_str!("assets.toml")).unwrap();
        std::fs::write(root.join("policy/lists/vendors.txt"), format!("{VENDOR}\n")).unwrap();
        std::fs::write(root.join("policy/roster.toml"), self.roster(&identities)).unwrap();
        if let Some(limits) = limits {
            std::fs::write(root.join("policy/limits.toml"), limits).unwrap();
        }
        self.clients.iter().for_each(|(id, c)| self.write_client(id, c));
    }

    fn roster(&self, identities: &[String]) -> String {
        let mut text = format!("cluster = \"{CLUSTER}\"\n");
        for (n, identity) in self.nodes.iter().zip(identities) {
            let (name, role, port, spki) = (&n.name, n.role, n.port, &n.tls.spki);
            write!(
                text,
                "[[node]]\nname = \"{name}\"\nrole = \"{role}\"\naddress = \"127.0.0.1:{port}\"\n\
                 identity = \"{identity}\"\ntls_spki_sha256 = \"{spki}\"\n"
            )
            .unwrap();
        }
        for (id, c) in &self.clients {
            let groups = if id == "reader" { "[]" } else { r#"["payouts", "operators", "auditors"]"# };
            let (key, spki) = (c.intent_key().verifying_key(), &c.tls.spki);
            write!(
                text,
                "[[client]]\nid = \"{id}\"\ntenant = \"{TENANT}\"\nintent_key = \"{key}\"\n\
                 tls_spki_sha256 = [\"{spki}\"]\ngroups = {groups}\n"
            )
            .unwrap();
        }
        text
    }

    fn write_client(&self, id: &str, client: &TestClient) {
        let dir = self.dir.path().join(id);
        std::fs::create_dir(&dir).unwrap();
        client.tls.write(&dir, "client");
        let seed: String = client.seed.iter().map(|b| format!("{b:02x}")).collect();
        write_secret(&dir.join("intent.key"), format!("{}:{seed}\n", client.kind).as_bytes());
        let endpoints: Vec<String> = self.nodes.iter().map(|n| format!("\"https://127.0.0.1:{}\"", n.port)).collect();
        let profile = format!(
            "tenant = \"{TENANT}\"\nclient = \"{id}\"\ncluster = \"{CLUSTER}\"\nendpoints = [{}]\n\
             ca = \"../ca.pem\"\ncert = \"client.pem\"\nkey = \"client.key\"\nintent_key = \"intent.key\"\n",
            endpoints.join(", ")
        );
        std::fs::write(dir.join("profile.toml"), profile).unwrap();
    }

    /// A client that tries all nodes in order.
    pub fn client(&self, id: &str) -> Client {
        Client::new(Profile::load(&self.dir.path().join(id).join("profile.toml")).unwrap()).unwrap()
    }

    /// A client that asks one node, once.
    pub fn at(&self, i: usize) -> Client {
        self.client("payouts-1").only(i).unwrap().once()
    }

    /// Starts a node, with more environment.
    pub fn launch(&mut self, i: usize, env: &[(&str, &str)]) {
        let node = &mut self.nodes[i];
        let log = std::fs::OpenOptions::new().create(true).append(true).open(node.dir.join("tallyd.log")).unwrap();
        let child = tallyd(&node.dir.join("node.toml"))
            .envs(env.iter().copied())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        node.child = Some(child);
    }

    pub async fn serving(&mut self, i: usize) {
        let client = self.at(i);
        let end = Instant::now() + START_MAX;
        while !client.healthy().await.unwrap_or(false) {
            let exited = self.nodes[i].child.as_mut().unwrap().try_wait().unwrap();
            let log = || std::fs::read_to_string(self.nodes[i].dir.join("tallyd.log")).unwrap();
            assert!(exited.is_none(), "node {i} stopped: {}", log());
            assert!(Instant::now() < end, "node {i} does not serve: {}", log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn all_serving(&mut self) {
        for i in 0..self.nodes.len() {
            self.serving(i).await;
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self, i: usize) {
        let mut child = self.nodes[i].child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn proc(&self, i: usize, name: &str) -> PathBuf {
        let pid = self.nodes[i].child.as_ref().unwrap().id();
        Path::new("/proc").join(pid.to_string()).join(name)
    }

    /// A file below the node's `/proc` directory.
    pub fn proc_file(&self, i: usize, name: &str) -> std::io::Result<String> {
        std::fs::read_to_string(self.proc(i, name))
    }

    /// A node's process.
    pub fn pid(&self, i: usize) -> u32 {
        self.nodes[i].child.as_ref().unwrap().id()
    }

    /// How many descriptors a node has open.
    pub fn descriptors(&self, i: usize) -> usize {
        std::fs::read_dir(self.proc(i, "fd")).unwrap().count()
    }

    /// Stops a node's processor time (SIGSTOP) or gives it back (SIGCONT): it is there, and says nothing.
    pub fn freeze(&self, i: usize, frozen: bool) {
        use rustix::process::{Pid, Signal, kill_process};
        let pid = Pid::from_child(self.nodes[i].child.as_ref().unwrap());
        kill_process(pid, if frozen { Signal::STOP } else { Signal::CONT }).unwrap();
    }

    /// SIGHUP.
    pub fn hang_up(&self, i: usize) {
        use rustix::process::{Pid, Signal, kill_process};
        kill_process(Pid::from_child(self.nodes[i].child.as_ref().unwrap()), Signal::HUP).unwrap();
    }

    /// SIGABRT: what a node that finds itself broken does. How it has ended.
    pub fn abort(&mut self, i: usize) -> std::process::ExitStatus {
        use rustix::process::{Pid, Signal, kill_process};
        let mut child = self.nodes[i].child.take().unwrap();
        kill_process(Pid::from_child(&child), Signal::ABORT).unwrap();
        child.wait().unwrap()
    }

    /// SIGTERM, and waits for a clean end.
    pub fn stop(&mut self, i: usize) {
        use rustix::process::{Pid, Signal, kill_process};
        let mut child = self.nodes[i].child.take().unwrap();
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        assert!(child.wait().unwrap().success());
    }

    /// Starts a node that must refuse to; gives what it says.
    pub fn refuses_to_start(&self, i: usize) -> String {
        refuses(tallyd(&self.nodes[i].dir.join("node.toml")))
    }

    /// Waits until a node has killed itself at a failpoint.
    pub async fn died(&mut self, i: usize) {
        let end = Instant::now() + Duration::from_secs(30);
        let child = self.nodes[i].child.as_mut().unwrap();
        while child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < end, "node {i} did not reach its failpoint");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.nodes[i].child = None;
    }

    /// What a node has logged.
    pub fn log_of(&self, i: usize) -> String {
        std::fs::read_to_string(self.nodes[i].dir.join("tallyd.log")).unwrap()
    }
}

impl NodeProcess {
    fn write_config(&self) {
        self.tls.write(&self.dir, "node");
        let (name, port, token) = (&self.name, self.port, &self.token);
        let config = format!(
            "cluster = \"{CLUSTER}\"\nname = \"{name}\"\nlisten = \"127.0.0.1:{port}\"\ndata_dir = \"data\"\n\
             mode = \"development\"\nbundle_dir = \"../policy\"\n[tls]\nca = \"../ca.pem\"\ncert = \"node.pem\"\nkey = \"node.key\"\n\
             [hsm]\nmodule = \"{}\"\ntoken_label = \"{}\"\ntoken_serial = \"{}\"\npin_file = \"{}\"\n\
             env = {{ {} = \"{}\" }}\n[log]\nlevel = \"info\"\n\
             [wrap]\ndestroy_delay_min = \"1s\"\n[metrics]\nlisten = \"127.0.0.1:0\"\n",
            token.module.display(),
            token.label,
            token.serial,
            token.pin_file.display(),
            token.env.0,
            token.env.1.display(),
        );
        std::fs::write(self.dir.join("node.toml"), config).unwrap();
    }

    fn init_identity(&self) -> String {
        let output = tallyd(&self.dir.join("node.toml")).arg("--init").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.split('"').nth(3).unwrap().to_owned()
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn node(root: &Path, authority: &Authority, i: usize, role: &'static str) -> NodeProcess {
    let name = format!("node-{i}");
    let dir = root.join(&name);
    std::fs::create_dir(&dir).unwrap();
    let token = SoftHsmToken::create(&dir.join("token"), &format!("tally-{name}")).unwrap();
    let tls = authority.issue(&format!("spiffe://{CLUSTER}/node/{name}"));
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    NodeProcess { name, role, port, dir, tls, token, child: None }
}

pub fn tallyd(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tallyd"));
    command.arg("--config").arg(config);
    command
}

/// Runs a node that must refuse to start; gives what it says.
pub fn refuses(mut command: Command) -> String {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let end = Instant::now() + START_MAX;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > end {
            child.kill().unwrap();
            panic!("the node has started: {command:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}
