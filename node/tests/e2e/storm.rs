//! A storm: three leaders, many callers, far more asked than a limit allows, and nodes that stop and die at random. However
//! it goes, no more is signed than the limit; and when it is over, what nobody took can be had.

use crate::harness::cluster::{Cluster, Makeup, TENANT};
use crate::harness::orders::*;
use crate::main_job::logs_of;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tally_audit::event::{Event, What};
use tally_client::{Client, LimitInfo, Order, RequestState, together};
use tally_domain::{Interval, KeyName, KeySpec, Purpose, Reason, RequestId, Scheme, Threshold};
use tokio::task::JoinSet;

/// How long it storms, unless `TALLY_STORM_SECONDS` says otherwise.
const SECONDS: u64 = 18;

const CALLERS: u64 = 64;

/// USDC for each second of the storm: at full speed as much is signed in less time, so that the limit is reached.
const LIMIT_PER_SECOND: u128 = 60;

/// How many times the limit is asked for with one key. With the other a third of it: three claims for each request, the most
/// that there can be, leave something of the line.
const TIMES: u128 = 10;

/// Longest wait of a caller for one request.
const PATIENCE: Duration = Duration::from_secs(6);

const MICRO: u128 = 1_000_000;

/// What was asked, in whole USDC by request.
type Asked = Mutex<BTreeMap<RequestId, (KeyName, u128)>>;

/// When the storm is over: after its time, and not before enough was asked. A busy machine asks slowly.
struct Calm {
    asked: Asked,
    hot: KeyName,
    enough: u128,
    until: Instant,
}

impl Calm {
    fn has_come(&self) -> bool {
        Instant::now() >= self.until && sum(&self.asked.lock().unwrap(), &self.hot) >= self.enough
    }

    /// Notes a request, unless more than `most` would be asked with its key.
    fn ask(&self, request: RequestId, name: &KeyName, whole: u128, most: u128) -> bool {
        let mut asked = self.asked.lock().unwrap();
        let fits = sum(&asked, name) + whole <= most;
        if fits {
            asked.insert(request, (name.clone(), whole));
        }
        fits
    }
}

fn sum(asked: &BTreeMap<RequestId, (KeyName, u128)>, key: &KeyName) -> u128 {
    asked.values().filter(|(name, _)| name == key).map(|(_, whole)| whole).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_signs_no_more_than_the_limit_and_leaves_the_rest_usable() {
    let seconds = std::env::var("TALLY_STORM_SECONDS").ok().map_or(SECONDS, |s| s.parse().unwrap());
    let limit = LIMIT_PER_SECOND * u128::from(seconds);
    let seed = rand::random::<u64>();
    println!("seed {seed}, {seconds} s, {limit} USDC");
    let text = format!(
        "[[limit]]\nid = \"key-usdc-day\"\nasset = \"USDC\"\nmax = \"{limit}\"\nper = \"24h\"\nby = [\"key\"]\n"
    );
    let mut cluster = Cluster::prepare_as(Makeup { signers: 3, witnesses: 2, limits: Some(&text) });
    (0..cluster.nodes.len()).for_each(|i| cluster.launch(i, &[]));
    cluster.all_serving().await;
    let client = cluster.client("payouts-1");
    let (hot, cold) = (key("hot"), key("cold"));
    for name in [&hot, &cold] {
        let spec = KeySpec {
            scheme: Scheme::EcdsaSecp256k1,
            threshold: Threshold::new(2, 3).unwrap(),
            purpose: Purpose::Transaction,
        };
        client.create_key(&client.seal(Order::create_key(name.clone(), spec)).unwrap()).await.unwrap();
    }

    let until = Instant::now() + Duration::from_secs(seconds);
    let calm = Arc::new(Calm { asked: Asked::default(), hot: hot.clone(), enough: TIMES * limit, until });
    let mut callers = JoinSet::new();
    let numbers = Arc::new(AtomicU64::new(0));
    for caller in 0..CALLERS {
        let client = cluster.client("payouts-1").rotated(usize::try_from(caller % 3).unwrap());
        let (name, most) = if caller % 8 == 0 { (cold.clone(), limit * 3 / 10) } else { (hot.clone(), u128::MAX) };
        let (calm, numbers) = (calm.clone(), numbers.clone());
        callers.spawn(async move { call(&client, &name, most, &numbers, &calm).await });
    }
    rage(&mut cluster, StdRng::seed_from_u64(seed), &calm).await;
    let refused: u64 = callers.join_all().await.into_iter().sum();
    let asked = calm.asked.lock().unwrap().clone();
    assert!(refused > 0, "the limit was never reached");

    for name in [&hot, &cold] {
        let signed = signed(&cluster, &asked, name).await;
        assert!(signed > 0 && signed <= limit, "{signed} of {limit} signed with {name}");
        println!("{name}: {signed} of {limit} signed, {} requests", asked.len());
    }
    let rest = take_the_rest(&cluster, &cold).await;
    println!("cold: {rest:?} of what was left");
    let released = released(&cluster, &asked).await;
    assert!(released[&hot] <= limit, "{released:?}");
    assert!(released[&cold] + rest.iter().sum::<u128>() / MICRO <= limit, "{released:?} and {rest:?}");
}

/// One request after the other until the storm is over, or so much was asked with this key; gives how many the limit refused.
async fn call(client: &Client, name: &KeyName, most: u128, numbers: &AtomicU64, calm: &Calm) -> u64 {
    let mut refused = 0;
    while !calm.has_come() {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        let whole = u128::from(5 + number * 37 % 60);
        let intent = client.seal(Order::sign_evm(name.clone(), "eip155:1", usdc(1, number, whole * MICRO))).unwrap();
        if !calm.ask(intent.request_id(), name, whole, most) {
            break;
        }
        loop {
            match tokio::time::timeout(PATIENCE, client.sign(&intent)).await {
                Ok(Ok(_)) => break,
                Ok(Err(e)) if e.refused().is_some_and(|r| r.reason == Reason::VelocityLimit) => {
                    refused += 1;
                    break;
                }
                // Away, or shed, or nobody knows. A key that is asked for little asks for the same again; for the other there
                // is enough, and the nodes are asked when it is over.
                _ if most == u128::MAX || calm.has_come() => break,
                _ => {}
            }
        }
    }
    refused
}

/// Stops random nodes for a while, or kills them and starts them again; leaves all running.
async fn rage(cluster: &mut Cluster, mut rng: StdRng, calm: &Calm) {
    while !calm.has_come() {
        let victims: BTreeSet<usize> = (0..rng.random_range(1..=3)).map(|_| rng.random_range(0..5)).collect();
        let pause = Duration::from_millis(rng.random_range(100..1_200));
        if rng.random_bool(0.6) {
            victims.iter().for_each(|i| cluster.freeze(*i, true));
            tokio::time::sleep(pause).await;
            victims.iter().for_each(|i| cluster.freeze(*i, false));
        } else {
            victims.iter().for_each(|i| cluster.kill(*i));
            tokio::time::sleep(pause).await;
            for i in victims {
                cluster.launch(i, &[]);
                cluster.serving(i).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(rng.random_range(100..800))).await;
    }
}

/// What was signed with a key, by the results of all nodes.
async fn signed(cluster: &Cluster, asked: &BTreeMap<RequestId, (KeyName, u128)>, name: &KeyName) -> u128 {
    let mut done = BTreeSet::new();
    for i in 0..3 {
        let client = cluster.at(i);
        let mut page = None;
        loop {
            let answer = client.requests(200, page.as_deref()).await.unwrap();
            let completed = answer.requests.iter().filter(|r| matches!(r.state, RequestState::Completed(_)));
            done.extend(completed.map(|r| r.request_id));
            page = answer.next;
            if page.is_none() {
                break;
            }
        }
    }
    done.iter().filter_map(|id| asked.get(id)).filter(|(n, _)| n == name).map(|(_, whole)| whole).sum()
}

/// What any node released a partial signature for, by the nodes' logs: at least what was signed.
async fn released(cluster: &Cluster, asked: &BTreeMap<RequestId, (KeyName, u128)>) -> BTreeMap<KeyName, u128> {
    let mut requests = BTreeSet::new();
    for log in logs_of(cluster).await {
        for leaf in &log.entries {
            if let What::Released { tenant, request_id, .. } = Event::from_leaf(leaf).unwrap().what {
                assert_eq!(tenant.as_str(), TENANT);
                requests.insert(request_id);
            }
        }
    }
    let mut sums = BTreeMap::from([(key("hot"), 0), (key("cold"), 0)]);
    for (name, whole) in requests.iter().filter_map(|id| asked.get(id)) {
        *sums.get_mut(name).unwrap() += whole;
    }
    sums
}

/// Asks for all that nobody has taken of a key's line, in as few requests as policy and the pieces of a claim allow. Gives
/// what was signed, in millionths.
async fn take_the_rest(cluster: &Cluster, name: &KeyName) -> Vec<u128> {
    let client = cluster.client("payouts-1");
    let mut taken = Vec::new();
    for nonce in 1_000_000.. {
        let gaps = gaps(&limit_of(cluster).await, name);
        let micro = gaps.iter().take(8).sum::<u128>().min(1_000 * MICRO);
        if micro == 0 {
            break;
        }
        let intent = client.seal(Order::sign_evm(name.clone(), "eip155:1", usdc(1, nonce, micro))).unwrap();
        client.sign(&intent).await.expect("what nobody has taken can be had");
        taken.push(micro);
        assert!(taken.len() < 100, "the line never ends");
    }
    assert!(!taken.is_empty(), "the storm cannot have taken three times what was asked");
    taken
}

async fn limit_of(cluster: &Cluster) -> LimitInfo {
    let mut answers = Vec::new();
    for i in 0..cluster.nodes.len() {
        answers.push(cluster.at(i).limits().await.unwrap());
    }
    together(&answers).remove(0)
}

/// Units that no node has voted for, the longest stretch first.
fn gaps(limit: &LimitInfo, name: &KeyName) -> Vec<u128> {
    let line = limit.lines.iter().find(|line| line.by == [("key".to_owned(), name.to_string())]).unwrap();
    assert!(!line.more);
    let mut free_from = 0;
    let mut gaps = Vec::new();
    for (piece, _) in &line.taken {
        gaps.extend(Interval::new(free_from, piece.from()).map(Interval::units));
        free_from = piece.to();
    }
    gaps.extend(Interval::new(free_from, limit.max).map(Interval::units));
    gaps.sort_unstable_by(|a, b| b.cmp(a));
    gaps
}
