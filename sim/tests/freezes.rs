//! Freezes in a hostile world: whoever knows of one releases nothing, and after a majority has lifted it all goes on.
//! `SIM_SEED=n` plays one schedule again, `SIM_RUNS=n` plays so many.
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
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use tally_domain::freeze::UnfreezeCertificate;
use tally_domain::{FreezeName, KeyName, NodeName, Reason, Scheme, Scope};
use tally_sim::world::{HOT, NOTES};
use tally_sim::{Cluster, Faults, Genesis};

static TWO_OF_THREE: LazyLock<Genesis> = LazyLock::new(|| Genesis::new(Scheme::Ed25519, 2, 3, 1));
static THREE_OF_FIVE: LazyLock<Genesis> = LazyLock::new(|| Genesis::new(Scheme::Ed25519, 3, 5, 2));

fn seeds(runs: u64) -> Box<dyn Iterator<Item = u64>> {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    match number("SIM_SEED") {
        Some(seed) => Box::new(std::iter::once(seed)),
        None => Box::new(0..number("SIM_RUNS").unwrap_or(runs)),
    }
}

fn key(name: &str) -> Scope {
    Scope::Key(KeyName::parse(name).unwrap())
}

fn fail_if_broken(cluster: &Cluster, seed: u64) {
    let broken = &cluster.history.violations;
    assert!(broken.is_empty(), "SIM_SEED={seed}:\n{}", broken.join("\n"));
}

/// Lifts all that is in force, scope by scope, with the words of a majority drawn for each.
fn thaw(cluster: &mut Cluster, rng: &mut StdRng, freezes: &[(FreezeName, Scope)]) {
    let names = cluster.world.names.clone();
    let scopes: BTreeSet<&Scope> = freezes.iter().map(|(_, scope)| scope).collect();
    for (id, scope) in (150..).zip(scopes) {
        let lifts = freezes.iter().filter(|(_, s)| s == scope).map(|(name, _)| name.clone()).collect();
        let envelope = cluster.world.unfreeze(id, scope, lifts);
        let mut by = names.clone();
        while by.len() > cluster.world.bundle.roster().majority() {
            by.swap_remove(rng.random_range(0..by.len()));
        }
        cluster.lift(&by, &envelope);
    }
}

/// Requests and freezes of any kind at any nodes and moments; the faults stop; all know; all is lifted.
fn play(genesis: &Genesis, seed: u64, counts: &mut BTreeMap<&'static str, u64>) {
    let mut rng = StdRng::seed_from_u64(seed ^ 0xf1ee);
    let mut cluster = Cluster::new(genesis, seed, Faults::drawn(&mut rng));
    let names = genesis.world.names.clone();
    let any = |rng: &mut StdRng| names[rng.random_range(0..names.len())].clone();
    let requests: Vec<_> = (1..=3).map(|id| genesis.world.note(id, &format!("note {id}"))).collect();
    for envelope in &requests {
        for _ in 0..rng.random_range(1..4) {
            let at = any(&mut rng);
            cluster.call(&at, envelope);
        }
    }
    for id in 100..100 + rng.random_range(1..4) {
        let scope = [Scope::All, key(NOTES), key(HOT)][rng.random_range(0..3)].clone();
        let at = any(&mut rng);
        cluster.freeze(&at, &genesis.world.freeze(id, &scope));
    }
    cluster.run();
    cluster.verify(genesis, &requests, |_| true);
    fail_if_broken(&cluster, seed);

    let freezes = cluster.spread_freezes();
    let stopped = freezes.iter().any(|(_, scope)| scope.covers(&KeyName::parse(NOTES).unwrap()));
    for (envelope, at) in requests.iter().zip(names.iter().cycle()) {
        let call = cluster.call(at, envelope);
        cluster.run();
        match cluster.answer(call).unwrap() {
            Ok(_) => {}
            Err(refusal) => assert_eq!((refusal.reason, stopped), (Reason::Frozen, true), "SIM_SEED={seed}"),
        }
    }
    *counts.entry("stopped").or_default() += u64::from(stopped);
    thaw(&mut cluster, &mut rng, &freezes);
    for name in &names {
        assert_eq!(cluster.journal(name).freezes().in_force().count(), 0, "SIM_SEED={seed}: {name}");
    }
    cluster.settle(&requests, None);
    cluster.verify(genesis, &requests, |_| true);
    cluster.verify_logs(|_| true);
    fail_if_broken(&cluster, seed);
    for (what, n) in &cluster.history.counts {
        *counts.entry(what).or_default() += n;
    }
}

fn play_all(genesis: &Genesis, runs: u64) {
    let mut counts = BTreeMap::new();
    for seed in seeds(runs) {
        play(genesis, seed, &mut counts);
    }
    println!("{counts:?}");
    if std::env::var("SIM_SEED").is_err() {
        assert!(counts["freeze"] > runs && counts["stopped"] > runs / 3, "{counts:?}");
    }
}

#[test]
fn s_2_16_nothing_is_released_by_two_of_three_once_they_know_a_freeze() {
    play_all(&TWO_OF_THREE, 120);
}

#[test]
fn s_2_16_nothing_is_released_by_three_of_five_once_they_know_a_freeze() {
    play_all(&THREE_OF_FIVE, 40);
}

/// Of all moments at which a freeze can come into one signature, none lets it through at the node that froze, and some
/// come between its vote and its release.
#[test]
fn a_freeze_in_the_middle_of_a_signature_stops_it_there() {
    let genesis = &*TWO_OF_THREE;
    let [one, two, three] = genesis.world.names.as_slice() else { panic!("three nodes") };
    let (note, mut between) = (genesis.world.note(1, "late"), 0);
    for seed in 0..400 {
        let mut cluster = Cluster::new(genesis, seed, Faults::NONE);
        cluster.mend(Some(three));
        let call = cluster.call(one, &note);
        cluster.freeze(two, &genesis.world.freeze(100, &Scope::All));
        cluster.run();
        fail_if_broken(&cluster, seed);
        let attempts: Vec<_> = cluster.journal(two).all_attempts().collect();
        let released = cluster.history.counts.get("partial").copied().unwrap_or_default();
        let voted = attempts.iter().any(|(_, row)| row.vote_body.is_some());
        let stopped_between = voted && released < 2;
        between += u32::from(stopped_between);
        match cluster.answer(call).unwrap() {
            Ok(_) => assert_eq!(released, 2, "SIM_SEED={seed}"),
            Err(refusal) => {
                assert!(matches!(refusal.reason, Reason::Frozen | Reason::InDoubt), "SIM_SEED={seed}: {refusal:?}");
            }
        }
        if !stopped_between {
            continue;
        }
        let freezes = cluster.spread_freezes();
        thaw(&mut cluster, &mut StdRng::seed_from_u64(seed), &freezes);
        cluster.settle(std::slice::from_ref(&note), None);
        cluster.verify(genesis, std::slice::from_ref(&note), |_| true);
        cluster.verify_logs(|_| true);
        fail_if_broken(&cluster, seed);
    }
    assert!(between > 5, "{between}");
}

#[test]
fn one_node_of_three_lifts_nothing() {
    let genesis = &*TWO_OF_THREE;
    let mut cluster = Cluster::new(genesis, 5, Faults::NONE);
    let names: Vec<NodeName> = genesis.world.names.clone();
    cluster.freeze(&names[0], &genesis.world.freeze(100, &Scope::All));
    let freezes = cluster.spread_freezes();
    let lifts = freezes.iter().map(|(name, _)| name.clone()).collect();
    let envelope = genesis.world.unfreeze(101, &Scope::All, lifts);
    let certificate: UnfreezeCertificate = cluster.lift(&names[..1], &envelope);
    assert!(certificate.open(genesis.world.bundle.roster()).is_err());
    for name in &names {
        assert_eq!(cluster.journal(name).freezes().in_force().count(), 1, "{name}");
    }
    cluster.verify_logs(|_| true);
    fail_if_broken(&cluster, 5);
}
