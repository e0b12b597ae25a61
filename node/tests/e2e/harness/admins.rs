//! Clusters whose policy is signed: two of three admins, and a first bundle that every node pins.

use super::cluster::Cluster;
use crate::main_job::logs_of;
use std::path::Path;
use std::time::{Duration, Instant};
use tally_audit::verify::{Basis, BundleFacts, Bundles, Report, verify_together};
use tally_client::{Client, ClientError, Proposed};
use tally_domain::activation::BundleName;
use tally_domain::dsse::SigningKey;
use tally_domain::{Digest, UnixMillis};
use tally_policy::{Bundle, Files, SignedBundle, Trust, Validity, changes, tightens_only};

const DAY_MS: u64 = 24 * 3_600_000;

/// Longest that a bundle that loosens waits at these nodes.
pub const DELAY: Duration = Duration::from_secs(3);

pub const ALICE: u8 = 101;
pub const BOB: u8 = 102;
pub const CAROL: u8 = 103;

pub fn admin(seed: u8) -> SigningKey {
    SigningKey::ed25519(&[seed; 32])
}

pub fn now() -> UnixMillis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    UnixMillis(u64::try_from(since.as_millis()).unwrap())
}

/// A bundle with what its nodes need to open the next one.
pub struct Signed {
    pub envelope: SignedBundle,
    pub bundle: Bundle,
    pub files: Files,
}

impl Signed {
    fn of(envelope: SignedBundle) -> Self {
        let files = envelope.files().unwrap();
        let bundle = envelope.open(Trust::Reopened(envelope.digest()), now()).unwrap();
        Self { envelope, bundle, files }
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.envelope.to_bytes()
    }

    pub fn digest(&self) -> Digest {
        self.envelope.digest()
    }

    /// The next one of a number, with one text in one file replaced, signed by these.
    pub fn next(&self, version: u64, (file, from, to): (&str, &str, &str), signers: &[u8]) -> Self {
        self.next_within(version, (file, from, to), signers, 30 * DAY_MS)
    }

    pub fn next_within(
        &self,
        version: u64,
        (file, from, to): (&str, &str, &str),
        signers: &[u8],
        valid_ms: u64,
    ) -> Self {
        let mut files = self.files.clone();
        files.insert("bundle.toml".into(), format!("version = {version}\n").into_bytes());
        let text = String::from_utf8(files[file].clone()).unwrap();
        assert!(text.contains(from), "{file} has no {from}");
        files.insert(file.into(), text.replace(from, to).into_bytes());
        let mut envelope = SignedBundle::pack(&files, Some(&self.bundle), valid(valid_ms)).unwrap();
        signers.iter().for_each(|seed| envelope.sign(&admin(*seed)));
        Self::of(envelope)
    }
}

pub fn valid(ms: u64) -> Validity {
    Validity { not_before: now(), not_after: now().plus(ms) }
}

/// What tightens, and what loosens.
pub const TIGHTER: (&str, &str, &str) = (
    "policy.cedar",
    "@id(\"raw\")",
    "@id(\"no-large\") forbid (principal, action == Action::\"sign_message\", resource) when { context.message.bytes > 64 };\n@id(\"raw\")",
);
pub const LOOSER: (&str, &str, &str) = ("policy.cedar", "decimal(\"1000\")", "decimal(\"5000\")");
pub const SAME: (&str, &str, &str) = ("policy.cedar", "@id(\"raw\")", "@id(\"raw\")");

/// Three nodes under a signed first bundle; nothing runs.
pub fn prepare() -> (Cluster, Signed) {
    prepare_within(30 * DAY_MS)
}

pub fn prepare_within(valid_ms: u64) -> (Cluster, Signed) {
    let cluster = Cluster::prepare(3);
    let dir = cluster.dir.path().join("policy");
    let mut files = Files::new();
    for file in ["bundle.toml", "assets.toml", "roster.toml", "policy.cedar", "groups.toml", "lists/vendors.txt"] {
        files.insert(file.into(), std::fs::read(dir.join(file)).unwrap());
    }
    let mut roster = "admins_needed = 2\n".to_owned() + &String::from_utf8(files["roster.toml"].clone()).unwrap();
    for (name, seed) in [("alice", ALICE), ("bob", BOB), ("carol", CAROL)] {
        roster += &format!("[[admin]]\nname = \"{name}\"\nkeys = [\"{}\"]\n", admin(seed).verifying_key());
    }
    files.insert("roster.toml".into(), roster.into_bytes());
    let mut envelope = SignedBundle::pack(&files, None, valid(valid_ms)).unwrap();
    [ALICE, BOB].iter().for_each(|seed| envelope.sign(&admin(*seed)));
    let first = Signed::of(envelope);
    std::fs::write(cluster.dir.path().join("first.bundle"), first.bytes()).unwrap();
    for node in &cluster.nodes {
        pin(&node.dir.join("node.toml"), &first);
    }
    (cluster, first)
}

fn pin(config: &Path, first: &Signed) {
    let text = std::fs::read_to_string(config).unwrap().replace("bundle_dir = \"../policy\"\n", "");
    let policy = format!(
        "[policy]\npinned = \"sha256:{}\"\nbundle = \"../first.bundle\"\ndelay_max = \"{}s\"\n",
        first.digest(),
        DELAY.as_secs()
    );
    std::fs::write(config, text + &policy).unwrap();
}

/// The same, serving.
pub async fn start() -> (Cluster, Signed) {
    let (mut cluster, first) = prepare();
    for i in 0..3 {
        cluster.launch(i, &[]);
    }
    cluster.all_serving().await;
    (cluster, first)
}

pub async fn propose(client: &Client, bundle: &Signed) -> Result<Proposed, ClientError> {
    client.propose(bundle.bytes()).await
}

/// Every node's log checks offline, under these bundles, the first of them pinned.
pub async fn logs_verify(cluster: &Cluster, chain: &[&Signed]) -> Vec<Report> {
    let logs = logs_of(cluster).await;
    verify_together(Basis::from(chain[0].bundle.roster()).under(&bundles(chain)), &logs).unwrap()
}

pub fn bundles(chain: &[&Signed]) -> Bundles {
    let facts = chain.iter().enumerate().map(|(i, signed)| BundleFacts {
        name: BundleName { version: signed.bundle.version(), digest: signed.digest() },
        roster: signed.bundle.roster().clone(),
        loosening_delay_ms: signed.bundle.header().loosening_delay_ms,
        tightens: i == 0 || tightens_only(&changes(&chain[i - 1].bundle, &signed.bundle)),
    });
    Bundles::after(chain[0].digest(), facts)
}

/// Waits until a node decides by a bundle.
pub async fn decides_by(cluster: &Cluster, i: usize, bundle: &Signed) {
    let end = Instant::now() + Duration::from_secs(30);
    while cluster.at(i).policy().await.map(|p| p.digest).ok() != Some(bundle.digest()) {
        assert!(Instant::now() < end, "node {i} does not decide by the bundle: {}", cluster.log_of(i));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Where a version stands at a node.
pub async fn state(cluster: &Cluster, i: usize, version: u64) -> String {
    let history = cluster.at(i).policy_history().await.unwrap();
    history.iter().find(|p| p.name.version == version).map_or("unknown".into(), |p| p.state.clone())
}
