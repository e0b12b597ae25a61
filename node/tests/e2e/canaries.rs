//! What is secret stays where it is: shares, the key that they make together, nonces, PINs, private keys and data keys are in
//! no log, metric, trace, error or database of a node, as bytes, in hex or in base64 (S-3.1, S-4.5).

use crate::harness::cards::{CANARY, hybrid, make_domain, spec, tokenize};
use crate::harness::cluster::Cluster;
use crate::harness::json_rpc;
use crate::harness::orders::*;
use crate::harness::secrets::{Secrets, written};
use crate::harness::vault::*;
use crate::harness::watch::*;
use base64::Engine as _;
use k256::elliptic_curve::ff::PrimeField as _;
use k256::{ProjectivePoint, Scalar};
use opentelemetry_proto::tonic::trace::v1::Span;
use std::collections::BTreeMap;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;
use tally_client::Signed;
use tally_domain::NodeName;
use tally_domain::key::KeyRecord;
use tally_domain::ports::hsm::{Hsm as _, SealingKeyId};
use tally_domain::ports::store::Store as _;
use tally_hsm_adapter::testing::PIN;
use tally_hsm_adapter::{PinSource, RemoteConfig, RemoteHsm, Role};

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

/// Plants all shares, the key that they make, which no node ever has, and the nonce of a signature.
async fn plant_keys(cluster: &Cluster, signed: &Signed, secrets: &mut Secrets) {
    let mut shares = Vec::new();
    for i in 0..3 {
        for name in ["fast", "hot"] {
            let (record, plain) = share(cluster, i, name, secrets).await;
            assert!(plain.len() > 64);
            secrets.plant(&plain);
            if name == "hot" {
                let party = record.party(&NodeName::parse(&cluster.nodes[i].name).unwrap()).unwrap().get();
                let public = &record.public_shares[usize::from(party) - 1];
                let secret = secret_of(&plain, public);
                secrets.plant_number(&secret.to_repr());
                shares.push((Scalar::from(u64::from(party)), secret));
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
    [whole, nonce, -nonce].iter().for_each(|secret| secrets.plant_number(&secret.to_repr()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_3_1_no_secret_is_in_a_log_metric_trace_error_or_database() {
    let (collector, endpoint) = Collector::start().await;
    let mut cluster = Cluster::prepare(3);
    (0..3).for_each(|i| watch(&cluster, i, &endpoint));
    // A node with the intent key of a client in it.
    json_rpc::provide(&cluster, 0, 1, "{ key = \"hot\" }");
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
    secrets.plant_text("the PIN", PIN);
    secrets.plant_text("a card number", CANARY);
    make_domain(&client, &spec("cards", hybrid())).await.unwrap();
    tokenize(&client, "cards", CANARY).await.unwrap();
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
    }
    // Its bytes are all the same, so that it is no window.
    let intent_key = String::from_utf8(cluster.clients["payouts-1"].seed.to_vec()).unwrap();
    secrets.plant_text("an intent key", &intent_key);
    let sought = |what: &str| places.iter().filter(|(name, place)| name.contains(what) && place.len() > 500).count();
    assert_eq!(["metrics", "a trace", "log", "tally.db"].map(sought), [3, 1, 3, 3], "there is too little to look at");

    plant_keys(&cluster, &signed, &mut secrets).await;
    leaks_would_be_found(&cluster, &collector, &secrets).await;
    for (what, place) in &places {
        secrets.would_be_found_in(what, place);
        assert_eq!(secrets.found_in(place), None, "in {what}");
    }
}

/// The search finds what a database keeps and what a span carries, put there by the engine and by the exporter's own protocol.
async fn leaks_would_be_found(cluster: &Cluster, collector: &Collector, secrets: &Secrets) {
    let (at, secret) = (cluster.dir.path().join("leaking.db"), secrets.sample());
    std::fs::copy(cluster.nodes[0].dir.join("data/tally.db"), &at).unwrap();
    for form in written(secret) {
        let leaking = rusqlite::Connection::open(&at).unwrap();
        leaking.execute("CREATE TABLE leak (kept)", []).unwrap();
        leaking.execute("INSERT INTO leak VALUES (?1)", [&form]).unwrap();
        drop(leaking);
        let kept = std::fs::read(&at).unwrap();
        assert!(secrets.found_in(&kept).is_some(), "a secret in a row would not be found");
        let leaking = rusqlite::Connection::open(&at).unwrap();
        leaking.execute("DROP TABLE leak", []).unwrap();
        leaking.execute("VACUUM", []).unwrap();
    }
    let before = collector.bytes().len();
    collector.take(Span { name: format!("{secret:?}"), ..Span::default() }).await;
    let span = &collector.bytes()[before..];
    assert!(secrets.found_in(span).is_some(), "a secret in a span would not be found");
}

/// What a process has in its memory, as far as nothing else than it has it; nothing if its memory is closed to whoever asks.
fn memory(process: u32) -> Option<Vec<u8>> {
    let maps = std::fs::read_to_string(format!("/proc/{process}/maps")).ok()?;
    let memory = std::fs::File::open(format!("/proc/{process}/mem")).ok()?;
    let mut all = Vec::new();
    for line in maps.lines().filter(|line| line.contains(" rw-p ")) {
        let (from, to) = line.split_whitespace().next()?.split_once('-')?;
        let (from, to) = (u64::from_str_radix(from, 16).ok()?, u64::from_str_radix(to, 16).ok()?);
        let mut piece = vec![0; usize::try_from(to - from).ok()?];
        let read = memory.read_at(&mut piece, from).unwrap_or(0);
        all.extend_from_slice(&piece[..read]);
    }
    Some(all)
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
    let seen = memory(cluster.pid(0));
    let ended = cluster.abort(0);
    assert_eq!((ended.signal(), ended.core_dumped()), (Some(6), false), "{ended:?}");
    // There was something to lose: what a core would have held.
    let mut secrets = Secrets::default();
    let (_, plain) = share(&cluster, 0, "fast", &mut secrets).await;
    secrets.plant(&plain);
    match seen {
        Some(memory) => assert!(secrets.holds(&memory), "the share is not in {} bytes of memory", memory.len()),
        // Only root looks into the memory of a process that is not dumpable.
        None => assert!(!rustix::process::geteuid().is_root()),
    }
}
