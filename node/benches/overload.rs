//! What a client that keeps to what there is gets while another one asks for ten times what the nodes can do: its latencies
//! before, during and after, beside a floor from the same moments (a bare call over mTLS), and the memory of the nodes.
//!
//! `cargo bench -p tally-node --bench overload [-- SECONDS]`
//!
//! Nodes and clients share the machine. Who asks too much runs only where nobody else wants to, so that what is seen is what
//! its calls cost the nodes, and not what making them costs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    dead_code,
    missing_docs,
    reason = "a measuring program, run by hand"
)]

#[path = "../tests/e2e/harness"]
mod harness {
    pub mod certs;
    pub mod cluster;
    pub mod orders;
    pub mod people;
}

use harness::cluster::Cluster;
use harness::orders::{create_fast, say};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tally_client::{Client, SealedIntent};
use tally_domain::Reason;
use tokio::runtime::Runtime;

/// How long each phase lasts, unless it is said.
const SECONDS: u64 = 20;

/// Workers that find out what the nodes can do.
const FULL: usize = 16;

/// How many times as much is asked for.
const TIMES: f64 = 10.0;

/// Connections of the one who asks too much, to each node: each carries a hundred calls at once.
const CONNECTIONS: usize = 16;

/// Between two calls of the healthy client.
const PAUSE: Duration = Duration::from_millis(20);

#[derive(Default)]
struct Seen {
    signing: Vec<Duration>,
    floor: Vec<Duration>,
    failed: u64,
    /// Largest resident memory of a node, in KiB.
    memory: u64,
}

impl Seen {
    fn quantiles(times: &mut [Duration]) -> [f64; 2] {
        times.sort();
        [0.5, 0.99].map(|q| {
            let rank = (q * times.len() as f64).ceil() as usize;
            times.get(rank.saturating_sub(1)).map_or(f64::NAN, |time| time.as_secs_f64() * 1_000.0)
        })
    }

    fn show(&mut self, what: &str) -> f64 {
        let ([p50, p99], [floor50, floor99]) = (Self::quantiles(&mut self.signing), Self::quantiles(&mut self.floor));
        let (count, failed, mib) = (self.signing.len(), self.failed, self.memory / 1024);
        println!(
            "{what:<8} {count:>5} signed, {failed} not; p50 {p50:.1} ms, p99 {p99:.1} ms; floor p50 {floor50:.2} ms, p99 {floor99:.2} ms; memory {mib} MiB"
        );
        p99
    }
}

/// The healthy client: a signature, a bare call, a pause.
async fn healthy(cluster: &Cluster, client: &Client, time: Duration, what: &str) -> Seen {
    let (mut seen, began, mut n) = (Seen::default(), Instant::now(), 0_u64);
    while began.elapsed() < time {
        let intent = client.seal(say(&format!("{what} {n}"))).unwrap();
        let client = client.rotated(n as usize);
        let at = Instant::now();
        match client.sign(&intent).await {
            Ok(_) => seen.signing.push(at.elapsed()),
            Err(error) => {
                seen.failed += 1;
                println!("not signed: {error}");
            }
        }
        let at = Instant::now();
        if client.healthy().await.is_ok() {
            seen.floor.push(at.elapsed());
        }
        if n.is_multiple_of(8) {
            seen.memory = seen.memory.max((0..3).map(|i| resident_kib(cluster, i)).max().unwrap());
        }
        n += 1;
        tokio::time::sleep(PAUSE).await;
    }
    seen
}

fn resident_kib(cluster: &Cluster, i: usize) -> u64 {
    let status = cluster.proc_file(i, "status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// What the nodes can do: signatures a second with all workers busy.
async fn capacity(client: &Client, time: Duration) -> f64 {
    let (began, done) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..FULL {
        let (client, done) = (client.rotated(worker), done.clone());
        workers.spawn(async move {
            let mut n = 0;
            while began.elapsed() < time {
                let intent = client.seal(say(&format!("capacity {worker} {n}"))).unwrap();
                done.fetch_add(u64::from(client.sign(&intent).await.is_ok()), Ordering::Relaxed);
                n += 1;
            }
        });
    }
    workers.join_all().await;
    done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64()
}

#[derive(Default)]
struct Counts {
    asked: AtomicU64,
    signed: AtomicU64,
    shed: AtomicU64,
    other: AtomicU64,
}

/// Asks so many times a second, whatever is answered. All is sealed beforehand.
async fn flood(clients: Vec<Client>, sealed: Vec<SealedIntent>, rate: f64, counts: Arc<Counts>) {
    let began = Instant::now();
    for (n, intent) in sealed.into_iter().enumerate() {
        let due = Duration::from_secs_f64(n as f64 / rate);
        if let Some(early) = due.checked_sub(began.elapsed()).filter(|early| *early > Duration::from_millis(2)) {
            tokio::time::sleep(early).await;
        }
        let (client, counts) = (clients[n % clients.len()].rotated(n).once(), counts.clone());
        counts.asked.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            let count = match client.sign(&intent).await {
                Ok(_) => &counts.signed,
                Err(error) if error.refused().is_some_and(|r| r.reason == Reason::Overloaded) => &counts.shed,
                Err(_) => &counts.other,
            };
            count.fetch_add(1, Ordering::Relaxed);
        });
    }
}

fn runtime(idle: bool) -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().worker_threads(2).on_thread_start(move || {
        if idle {
            // Runs where nobody else wants to: a low priority alone still keeps others waiting for a slice of its time.
            let thread = std::fs::read_link("/proc/thread-self").unwrap();
            let thread = thread.file_name().unwrap().to_owned();
            let done = Command::new("chrt").args(["--idle", "--pid", "0"]).arg(thread).status();
            assert!(done.is_ok_and(|status| status.success()), "`chrt` is of the package util-linux");
        }
    });
    builder.build().unwrap()
}

fn main() {
    let seconds = std::env::args().find_map(|word| word.parse().ok()).unwrap_or(SECONDS);
    let time = Duration::from_secs(seconds);
    let (usual, low) = (runtime(false), runtime(true));
    let (cluster, client) = usual.block_on(async {
        let cluster = Cluster::start().await;
        let client = cluster.client("payouts-1");
        create_fast(&client).await;
        (cluster, client)
    });
    let rate = usual.block_on(capacity(&client, time / 2));
    println!("the nodes can do {rate:.0} signatures a second, with {FULL} workers");
    let mut before = usual.block_on(healthy(&cluster, &client, time, "before"));

    let asked = TIMES * rate;
    let sealed: Vec<_> = {
        let _entered = low.enter();
        let hog = cluster.client("payouts-2");
        let count = (asked * time.as_secs_f64() * 1.2) as u64;
        (0..count).map(|n| hog.seal(say(&format!("flood {n}"))).unwrap()).collect()
    };
    let counts = Arc::new(Counts::default());
    let clients = {
        let _entered = low.enter();
        (0..CONNECTIONS).map(|_| cluster.client("payouts-2")).collect()
    };
    let flood = low.spawn(flood(clients, sealed, asked, counts.clone()));
    // Its connections are made before it counts.
    std::thread::sleep(Duration::from_secs(1));
    let began = Instant::now();
    let first = counts.asked.load(Ordering::Relaxed);
    let mut under = usual.block_on(healthy(&cluster, &client, time, "under"));
    let offered = (counts.asked.load(Ordering::Relaxed) - first) as f64 / began.elapsed().as_secs_f64();
    flood.abort();
    low.shutdown_timeout(Duration::from_secs(1));
    let mut after = usual.block_on(healthy(&cluster, &client, time / 4, "after"));

    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    println!(
        "asked {offered:.0} a second, {:.1} times what they can do: {} signed, {} shed, {} otherwise or not answered yet",
        offered / rate,
        count(&counts.signed),
        count(&counts.shed),
        count(&counts.asked) - count(&counts.signed) - count(&counts.shed),
    );
    let quiet = before.show("before");
    let busy = under.show("under");
    after.show("after");
    println!("p99 under load is {:.1} times what it was (the aim is at most 3)", busy / quiet);
    println!("memory is {:.2} times what it was (the aim is at most 1.5)", under.memory as f64 / before.memory as f64);
}
