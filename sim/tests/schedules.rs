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
use tally_domain::{Attempt, NodeName, Reason, RequestId, Scheme, Tenant};
use tally_sim::world::NIGHT;
use tally_sim::{Cluster, Faults, Genesis};

static TWO_OF_THREE: LazyLock<Genesis> = LazyLock::new(|| Genesis::new(Scheme::Ed25519, 2, 3, 1));
static THREE_OF_FIVE: LazyLock<Genesis> = LazyLock::new(|| Genesis::new(Scheme::Ed25519, 3, 5, 2));
static ECDSA: LazyLock<Genesis> = LazyLock::new(|| Genesis::new(Scheme::EcdsaSecp256k1, 2, 3, 3));
static TAPROOT: LazyLock<Genesis> = LazyLock::new(|| Genesis::new(Scheme::Taproot, 2, 3, 4));

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
        Scheme::Ed25519 | Scheme::Taproot => genesis.world.note(id, &format!("note {id}")),
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

/// Honest clocks differ, and a rule of the bundle looks at them.
fn around_nightfall(cluster: &mut Cluster, rng: &mut StdRng) {
    cluster.skip_to(NIGHT.minus(rng.random_range(0..1_500)));
    for name in cluster.world.names.clone() {
        cluster.set_ahead(&name, rng.random_range(0..1_000));
    }
}

/// One schedule: some requests, each called at one or more nodes; faults; then the good end.
fn play(genesis: &Genesis, seed: u64, requests: u8, counts: &mut BTreeMap<&'static str, u64>) {
    let mut rng = StdRng::seed_from_u64(seed ^ 0x5eed);
    let mut cluster = Cluster::new(genesis, seed, Faults::drawn(&mut rng));
    if seed % 5 == 1 {
        around_nightfall(&mut cluster, &mut rng);
    }
    let envelopes: Vec<_> = (1..=requests).map(|id| request(genesis, id)).collect();
    for envelope in &envelopes {
        for _ in 0..rng.random_range(1..4) {
            cluster.call(&any_node(genesis, &mut rng), envelope);
        }
    }
    // A client that signs two intents under one id deserves no answer; nobody may sign both.
    let twins = match genesis.created.record.scheme {
        Scheme::Ed25519 | Scheme::Taproot => [genesis.world.note(99, "this"), genesis.world.note(99, "that")],
        Scheme::EcdsaSecp256k1 => [genesis.world.payout(99, 1), genesis.world.payout(99, 2)],
    };
    for twin in twins.iter().filter(|_| seed.is_multiple_of(4)) {
        cluster.call(&any_node(genesis, &mut rng), twin);
    }
    cluster.run();
    let all: Vec<_> = envelopes.iter().chain(&twins).cloned().collect();
    cluster.verify(genesis, &all, |_| true);
    fail_if_broken(&cluster, seed);
    if seed.is_multiple_of(3) {
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
    play_all(&TWO_OF_THREE, 250, 3);
}

#[test]
fn ed25519_by_three_of_five_survives_every_schedule() {
    play_all(&THREE_OF_FIVE, 80, 3);
}

#[test]
fn taproot_by_two_of_three_survives_every_schedule() {
    play_all(&TAPROOT, 40, 3);
}

#[test]
fn ecdsa_by_two_of_three_survives_every_schedule() {
    play_all(&ECDSA, 10, 2);
}

#[test]
fn without_faults_every_call_is_answered_with_one_attempt_for_each_request() {
    for genesis in [&*TWO_OF_THREE, &*THREE_OF_FIVE, &*ECDSA, &*TAPROOT] {
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
fn members_whose_clocks_find_different_rules_do_not_sign_together() {
    let genesis = &*TWO_OF_THREE;
    let mut cluster = Cluster::new(genesis, 3, Faults::NONE);
    cluster.skip_to(NIGHT.minus(400));
    for name in &genesis.world.names[1..] {
        cluster.set_ahead(name, 900);
    }
    let note = request(genesis, 1);
    let call = cluster.call(&genesis.world.names[0], &note);
    cluster.run();
    let refusal = cluster.answer(call).unwrap().as_ref().unwrap_err();
    assert_eq!((refusal.reason, &*refusal.metadata["round"]), (Reason::SessionAborted, "hello"));
    assert!(cluster.history.failures.iter().all(|f| f.culprits.is_empty()));
    cluster.skip_to(NIGHT);
    cluster.settle(std::slice::from_ref(&note), None);
    cluster.verify(genesis, &[note], |_| true);
    fail_if_broken(&cluster, 3);
}

/// Two leaders who do not know of each other use one number for two sets. Node 1 votes with node 3, which goes down
/// before it does; then node 3 signs with node 2, and both partials are lost. What node 1 gives up must not count.
#[test]
fn a_vote_that_came_to_nothing_does_not_stand_in_the_way() {
    let genesis = &*TWO_OF_THREE;
    let [one, two, three] = genesis.world.names.as_slice() else { panic!("three nodes") };
    let key = (Tenant::parse("acme").unwrap(), RequestId([1; 16]));
    let note = request(genesis, 1);
    let mut met = 0;
    for seed in 0..2_000 {
        let mut cluster = Cluster::new(genesis, seed, Faults { crash_at_write: 0.2, ..Faults::NONE });
        cluster.mend(Some(two));
        cluster.call(one, &note);
        cluster.run();
        let rows = |cluster: &Cluster, name| cluster.journal(name).attempts(&key);
        if rows(&cluster, one).is_empty() || !rows(&cluster, three).is_empty() {
            continue;
        }
        cluster.set_faults(Faults { drop: 0.15, drop_partial: 1.0, ..Faults::NONE });
        cluster.mend(Some(one));
        cluster.call(two, &note);
        cluster.run();
        let hangs = |name| {
            let released = cluster.journal(name).released(&key, Attempt(1)).is_some();
            released && cluster.journal(name).results().all(|(request, _)| *request != key)
        };
        if ![two, three].into_iter().all(hangs) {
            continue;
        }
        met += 1;
        cluster.settle(std::slice::from_ref(&note), None);
        cluster.verify(genesis, std::slice::from_ref(&note), |_| true);
        cluster.verify_logs(|_| true);
        fail_if_broken(&cluster, seed);
        if met == 3 {
            return;
        }
    }
    panic!("too few schedules came so far");
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
