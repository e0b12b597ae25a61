//! Honest nodes, a hostile world: seeded schedules with crashes, lost and repeated packets, partitions and races.
//! `SIM_SEED=n` plays one schedule again, `SIM_RUNS=n` plays so many of each kind.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests fail loudly"
)]

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::BTreeMap;
use std::sync::LazyLock;
use tally_domain::dsse::Envelope;
use tally_domain::{NodeName, Scheme};
use tally_sim::{Cluster, Faults, Genesis};

static TWO_OF_THREE: LazyLock<Genesis> = LazyLock::new(|| Genesis::new(Scheme::Ed25519, 2, 3, 1));
static THREE_OF_FIVE: LazyLock<Genesis> = LazyLock::new(|| Genesis::new(Scheme::Ed25519, 3, 5, 2));
static ECDSA: LazyLock<Genesis> = LazyLock::new(|| Genesis::new(Scheme::EcdsaSecp256k1, 2, 3, 3));

/// The seeds of a kind of schedule.
fn seeds(runs: u64) -> Box<dyn Iterator<Item = u64>> {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    match number("SIM_SEED") {
        Some(seed) => Box::new(std::iter::once(seed)),
        None => Box::new(0..number("SIM_RUNS").unwrap_or(runs)),
    }
}

fn request(genesis: &Genesis, id: u8) -> Envelope {
    match genesis.created.record.scheme {
        Scheme::Ed25519 => genesis.world.note(id, &format!("note {id}")),
        Scheme::EcdsaSecp256k1 => genesis.world.payout(id, u32::from(id)),
    }
}

fn any_node(genesis: &Genesis, rng: &mut StdRng) -> NodeName {
    let names = &genesis.world.names;
    names[rng.random_range(0..names.len())].clone()
}

fn fail_if_broken(cluster: &Cluster, seed: u64) {
    let broken = &cluster.history.violations;
    assert!(broken.is_empty(), "SIM_SEED={seed}:\n{}\n{:#?}", broken.join("\n"), cluster.history.failures);
}

/// One schedule: some requests, each called at one or more nodes; faults; then the good end.
fn play(genesis: &Genesis, seed: u64, requests: u8, counts: &mut BTreeMap<&'static str, u64>) {
    let mut rng = StdRng::seed_from_u64(seed ^ 0x5eed);
    let mut cluster = Cluster::new(genesis, seed, Faults::ALL);
    let envelopes: Vec<_> = (1..=requests).map(|id| request(genesis, id)).collect();
    for envelope in &envelopes {
        for _ in 0..rng.random_range(1..4) {
            cluster.call(&any_node(genesis, &mut rng), envelope);
        }
    }
    // A client that signs two intents under one id deserves no answer; nobody may sign both.
    let twins = match genesis.created.record.scheme {
        Scheme::Ed25519 => [genesis.world.note(99, "this"), genesis.world.note(99, "that")],
        Scheme::EcdsaSecp256k1 => [genesis.world.payout(99, 1), genesis.world.payout(99, 2)],
    };
    for twin in twins.iter().filter(|_| seed % 4 == 0) {
        cluster.call(&any_node(genesis, &mut rng), twin);
    }
    cluster.run();
    let all: Vec<_> = envelopes.iter().chain(&twins).cloned().collect();
    cluster.verify(genesis, &all, |_| true);
    fail_if_broken(&cluster, seed);
    if seed % 3 == 0 {
        let down = any_node(genesis, &mut rng);
        cluster.settle(&envelopes, Some(&down));
        cluster.verify(genesis, &all, |_| true);
        fail_if_broken(&cluster, seed);
    }
    cluster.settle(&envelopes, None);
    cluster.verify(genesis, &all, |_| true);
    cluster.verify_logs(|_| true);
    fail_if_broken(&cluster, seed);
    for (what, n) in &cluster.history.counts {
        *counts.entry(what).or_default() += n;
    }
}

fn play_all(genesis: &Genesis, runs: u64, requests: u8) {
    let mut counts = BTreeMap::new();
    for seed in seeds(runs) {
        let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut of_run = BTreeMap::new();
            play(genesis, seed, requests, &mut of_run);
            of_run
        }));
        match played {
            Ok(of_run) => of_run.into_iter().for_each(|(what, n)| *counts.entry(what).or_insert(0) += n),
            Err(panic) => {
                println!("SIM_SEED={seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    println!("{counts:?}");
}

#[test]
fn ed25519_by_two_of_three_survives_every_schedule() {
    play_all(&TWO_OF_THREE, 300, 3);
}

#[test]
fn ed25519_by_three_of_five_survives_every_schedule() {
    play_all(&THREE_OF_FIVE, 100, 3);
}

#[test]
fn ecdsa_by_two_of_three_survives_every_schedule() {
    play_all(&ECDSA, 10, 2);
}

#[test]
fn without_faults_every_call_is_answered_with_one_attempt_for_each_request() {
    for genesis in [&*TWO_OF_THREE, &*THREE_OF_FIVE, &*ECDSA] {
        let t = u64::from(genesis.created.record.threshold.t());
        let mut cluster = Cluster::new(genesis, 7, Faults::NONE);
        let envelopes = [request(genesis, 1), request(genesis, 2)];
        let calls = envelopes.each_ref().map(|e| cluster.call(&genesis.world.names[0], e));
        cluster.run();
        for call in calls {
            assert!(matches!(cluster.answer(call), Some(Ok(_))), "{:?}", cluster.answer(call));
        }
        // Each member sends its vote and its partial to each of the others, once.
        assert_eq!(cluster.history.counts["vote"], 2 * t * (t - 1));
        assert_eq!(cluster.history.counts["partial"], 2 * t * (t - 1));
        assert!(cluster.history.failures.is_empty());
        cluster.verify(genesis, &envelopes, |_| true);
        let reports = cluster.verify_logs(|_| true);
        fail_if_broken(&cluster, 7);
        assert!(reports.iter().all(|r| r.signatures == 2 && r.keys == 1 && r.warnings.is_empty()));
        assert_eq!(reports.iter().map(|r| r.releases).sum::<u64>(), 2 * t);
    }
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let played = || {
        let mut counts = BTreeMap::new();
        play(&TWO_OF_THREE, 5, 3, &mut counts);
        counts
    };
    assert_eq!(played(), played());
}
