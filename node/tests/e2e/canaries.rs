//! What is secret stays where it is: shares, the key that they make together, nonces, PINs, private keys and data keys are in
//! no log, metric, trace, error or database of a node, as bytes, in hex or in base64 (S-3.1, S-4.5).

use crate::harness::cluster::Cluster;
use crate::harness::orders::*;
use crate::harness::vault::*;
use crate::harness::watch::*;
use base64::Engine as _;
use k256::elliptic_curve::ff::PrimeField as _;
use k256::{ProjectivePoint, Scalar};
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;
use tally_client::Signed;
use tally_domain::NodeName;
use tally_domain::key::KeyRecord;
use tally_domain::ports::hsm::{Hsm as _, SealingKeyId};
use tally_domain::ports::store::Store as _;
use tally_hsm_adapter::testing::PIN;
use tally_hsm_adapter::{PinSource, RemoteConfig, RemoteHsm, Role};

/// Bytes that are looked for together: what is shorter is found by chance.
const WINDOW: usize = 24;

/// A window with as many public bytes together is not looked for: what is public stands in many places, beside other bytes
/// than in a share, and one or two of those agree by chance.
const PUBLIC: usize = 12;

/// A window with fewer different bytes is padding or a length, not a secret.
const DIFFERENT_MIN: usize = 14;

/// Everything secret, as windows; and what is public and stands beside it.
#[derive(Default)]
struct Secrets {
    windows: HashSet<Vec<u8>>,
    public: HashSet<Vec<u8>>,
}

fn windows(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let random = |w: &&[u8]| w.iter().collect::<HashSet<_>>().len() >= DIFFERENT_MIN;
    bytes.windows(WINDOW).filter(random).map(<[u8]>::to_vec)
}

impl Secrets {
    fn plant(&mut self, bytes: &[u8]) {
        let before = self.windows.len();
        self.windows.extend(windows(bytes));
        assert!(self.windows.len() > before, "this is no secret: {bytes:?}");
    }

    fn publish(&mut self, bytes: &[u8]) {
        self.public.extend(bytes.windows(PUBLIC).map(<[u8]>::to_vec));
    }

    fn is_in(&self, bytes: &[u8]) -> bool {
        let is_public = |w: &[u8]| w.windows(PUBLIC).any(|piece| self.public.contains(piece));
        bytes.windows(WINDOW).any(|w| self.windows.contains(w) && !is_public(w))
    }

    /// Whether a secret is in `place`, as it is or written in letters.
    fn are_in(&self, place: &[u8]) -> bool {
        let hex = runs(place, WINDOW * 2, |b| b.is_ascii_hexdigit());
        let hex = hex.flat_map(|run| [run, &run[1..]]).filter_map(|run| hex::decode(&run[..run.len() / 2 * 2]).ok());
        let base64 = runs(place, WINDOW * 4 / 3, |b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/');
        let base64 = base64.flat_map(|run| (0..4).map(move |skip| &run[skip..]));
        let engine = base64::engine::general_purpose::STANDARD_NO_PAD;
        let base64 = base64.filter_map(|run| engine.decode(&run[..run.len() / 4 * 4]).ok());
        self.is_in(place) || hex.chain(base64).any(|bytes| self.is_in(&bytes))
    }
}

/// The longest pieces that are made of such bytes.
fn runs(bytes: &[u8], min: usize, of: impl Fn(u8) -> bool + 'static) -> impl Iterator<Item = &[u8]> {
    bytes.split(move |b| !of(*b)).filter(move |run| run.len() > min)
}

/// A node's share of a key, out of its stopped node's store and token.
async fn share(cluster: &Cluster, i: usize, name: &str, secrets: &mut Secrets) -> (KeyRecord, Vec<u8>) {
    let node = &cluster.nodes[i];
    let store = tally_store::SqliteStore::open(&node.dir.join("data/tally.db")).unwrap();
    let row = store.key(&key(name)).unwrap().unwrap();
    let record = KeyRecord::from_bytes(&row.record).unwrap();
    secrets.publish(&row.record);
    secrets.publish(&row.certificate.unwrap());
    let hsm = RemoteHsm::connect(RemoteConfig {
        program: std::path::Path::new(env!("CARGO_BIN_EXE_tallyd")).with_file_name("hsmd"),
        env: BTreeMap::from([(node.token.env.0.to_owned(), node.token.env.1.clone())]),
        module: node.token.module.clone(),
        token_label: node.token.label.clone(),
        token_serial: Some(node.token.serial.clone()),
        pin: PinSource::File(node.token.pin_file.clone()),
        workers: 1,
        deadline: Duration::from_secs(10),
        role: Role::Only,
        mode: tally_hsm_adapter::Mode::Development,
        profile: None,
        log_level: "error".into(),
        log_json: false,
    })
    .unwrap();
    let id = SealingKeyId::of(&record.name, record.epoch, &record.request_id);
    let me = NodeName::parse(&node.name).unwrap();
    let plain = hsm.open(id, record.share_aad(&me).0.to_vec(), row.sealed_share).await.unwrap();
    (record, plain.expose().to_vec())
}

fn scalar(bytes: &[u8]) -> Option<Scalar> {
    Scalar::from_repr(<[u8; 32]>::try_from(bytes).ok()?.into()).into_option()
}

/// The 32 bytes within a share that are the secret of this public share.
fn secret_of(share: &[u8], public: &[u8]) -> Scalar {
    let is = |s: &Scalar| {
        use k256::elliptic_curve::group::GroupEncoding as _;
        (ProjectivePoint::GENERATOR * s).to_affine().to_bytes().as_slice() == public
    };
    let reversed = |w: &[u8]| w.iter().rev().copied().collect::<Vec<_>>();
    let found = share.windows(32).flat_map(|w| [scalar(w), scalar(&reversed(w))]).flatten().find(is);
    found.expect("the share holds its secret")
}

/// Plants all shares, the key that they make, which no node ever has, and the nonce of a signature; gives the nonce.
async fn plant_keys(cluster: &Cluster, signed: &Signed, secrets: &mut Secrets) -> Vec<u8> {
    let mut shares = Vec::new();
    for i in 0..3 {
        for name in ["fast", "hot"] {
            let (record, plain) = share(cluster, i, name, secrets).await;
            assert!(plain.len() > 64);
            secrets.plant(&plain);
            if name == "hot" {
                let party = record.party(&NodeName::parse(&cluster.nodes[i].name).unwrap()).unwrap().get();
                let public = &record.public_shares[usize::from(party) - 1];
                shares.push((Scalar::from(u64::from(party)), secret_of(&plain, public)));
                for public in record.public_shares.iter().chain([&record.public_key]) {
                    secrets.publish(public);
                }
            }
        }
    }
    let [(x1, s1), (x2, s2), ..] = shares[..] else { panic!("{} shares", shares.len()) };
    let whole = (s1 * x2 - s2 * x1) * (x2 - x1).invert().unwrap();
    let (r, s) = (scalar(&signed.signature[..32]).unwrap(), scalar(&signed.signature[32..]).unwrap());
    let digest = scalar(&signed.signed_bytes).unwrap();
    let nonce = (digest + r * whole) * s.invert().unwrap();
    let point = (ProjectivePoint::GENERATOR * nonce).to_affine();
    use k256::elliptic_curve::point::AffineCoordinates as _;
    assert_eq!(point.x().as_slice(), &signed.signature[..32], "this is the nonce");
    for secret in [whole, nonce, -nonce] {
        let bytes = secret.to_repr().to_vec();
        secrets.plant(&bytes);
        secrets.plant(&bytes.into_iter().rev().collect::<Vec<_>>());
    }
    nonce.to_repr().to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_3_1_no_secret_is_in_a_log_metric_trace_error_or_database() {
    let (collector, endpoint) = Collector::start().await;
    let mut cluster = Cluster::prepare(3);
    (0..3).for_each(|i| watch(&cluster, i, &endpoint));
    for node in &cluster.nodes {
        // As much as the nodes' own code ever says.
        let file = node.dir.join("node.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let level = ["node", "signer", "mpc", "store", "hsm_adapter", "policy", "chains", "domain", "audit"];
        let level: String = level.iter().map(|name| format!(",tally_{name}=trace")).collect();
        std::fs::write(&file, text.replace("level = \"info\"", &format!("level = \"debug{level}\""))).unwrap();
    }
    (0..3).for_each(|i| cluster.launch(i, &[]));
    cluster.all_serving().await;
    let ports: Vec<u16> = (0..3).map(|i| port(&cluster, i)).collect();
    let client = cluster.at(0);
    create_fast(&client).await;
    create_hot(&client).await;
    create_kek(&client, "vault", 0).await.unwrap();
    let mut secrets = Secrets::default();
    secrets.plant(draw(&client, "vault", 32, true).await.unwrap().plaintext.unwrap().expose());
    let signed = sign(&client, pay(0, 250)).await.unwrap();
    sign(&client, say("quietly")).await.unwrap();
    let mut errors = format!("{:?}", sign(&client, pay(1, 5_000)).await.unwrap_err());
    cluster.freeze(1, true);
    cluster.freeze(2, true);
    errors += &format!("{:?}", sign(&client, pay(2, 250)).await.unwrap_err());
    cluster.freeze(1, false);
    cluster.freeze(2, false);

    let mut places: Vec<(String, Vec<u8>)> = vec![("an error".into(), errors.into_bytes())];
    places.extend(ports.iter().map(|port| ("metrics".into(), metrics(*port).into_bytes())));
    for i in 0..3 {
        let limits = cluster.proc_file(i, "limits").unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
        // The last spans are sent at the end.
        cluster.stop(i);
    }
    places.push(("a trace".into(), collector.bytes()));
    for node in &cluster.nodes {
        places.push((format!("{}'s log", node.name), std::fs::read(node.dir.join("tallyd.log")).unwrap()));
        for file in std::fs::read_dir(node.dir.join("data")).unwrap().map(|file| file.unwrap().path()) {
            places.push((file.display().to_string(), std::fs::read(file).unwrap()));
        }
        let pem = node.tls.key.lines().filter(|line| !line.starts_with('-')).collect::<String>();
        secrets.plant(&base64::engine::general_purpose::STANDARD.decode(pem).unwrap());
        let spki = cluster.authority.pem() + &node.tls.cert;
        assert!(!spki.contains(PIN));
    }
    let sought = |what: &str| places.iter().filter(|(name, place)| name.contains(what) && place.len() > 500).count();
    assert_eq!(["metrics", "a trace", "log", "tally.db"].map(sought), [3, 1, 3, 3], "there is too little to look at");

    let nonce = plant_keys(&cluster, &signed, &mut secrets).await;

    // That the search finds what is there.
    let base64 = base64::engine::general_purpose::STANDARD.encode(&nonce);
    let planted =
        [[b"bytes: ".as_slice(), &nonce].concat(), format!("hex: {}.", hex::encode(&nonce)).into(), base64.into()];
    assert!(planted.iter().all(|place| secrets.are_in(place)));
    for (what, place) in &places {
        assert!(!secrets.are_in(place), "{what} holds a secret");
        assert!(!place.windows(PIN.len()).any(|w| w == PIN.as_bytes()), "{what} holds the PIN");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_3_1_neither_a_node_nor_its_tokens_process_leaves_a_core_when_it_crashes() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    use std::os::unix::process::ExitStatusExt as _;
    // As generous as a system can be to those who crash.
    let maximum = getrlimit(Resource::Core).maximum;
    setrlimit(Resource::Core, Rlimit { current: maximum, maximum }).unwrap();
    let mut cluster = Cluster::start().await;
    let crash = ["-c", "kill -ABRT $$"];
    let other = std::process::Command::new("sh").args(crash).current_dir(cluster.dir.path()).status().unwrap();
    println!("another process that crashes leaves a core here: {}", other.core_dumped());
    let client = cluster.at(0);
    create_fast(&client).await;
    sign(&client, say("with a share in memory")).await.unwrap();

    let process = client.node().await.unwrap().hsm.process.unwrap();
    let limits = std::fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    let ended = cluster.abort(0);
    assert_eq!((ended.signal(), ended.core_dumped()), (Some(6), false), "{ended:?}");
}
