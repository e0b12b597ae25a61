//! A limit, several leaders at once, a hostile world: no unit is certified twice within a horizon (I4), no window holds
//! more than the limit (I5), and what nobody took can be had. `SIM_SEED=n` plays one schedule again, `SIM_RUNS=n` so many.
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
use tally_domain::claim::horizon_ms;
use tally_domain::dsse::Envelope;
use tally_domain::{NodeName, Reason, Scheme};
use tally_sim::world::Limit;
use tally_sim::{Behaviour, Cluster, Faults, Genesis, World};

const LIMIT: Limit = Limit { max: 60, window_ms: 60_000 };

/// Three signers: a quorum is all of them.
static PLAIN: LazyLock<Genesis> = LazyLock::new(|| genesis(3, 0, 2));
/// Three signers and two witnesses: a quorum is four of five, with one that lies and one that forgets.
static WITNESSED: LazyLock<Genesis> = LazyLock::new(|| genesis(3, 2, 2));

fn genesis(signers: u8, witnesses: u8, t: u32) -> Genesis {
    Genesis::of(World::new(signers, witnesses, Some(LIMIT)), Scheme::Ed25519, t, 7)
}

fn seeds(runs: u64) -> Box<dyn Iterator<Item = u64>> {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    match number("SIM_SEED") {
        Some(seed) => Box::new(std::iter::once(seed)),
        None => Box::new(0..number("SIM_RUNS").unwrap_or(runs)),
    }
}

/// Who is not to be believed in a run.
#[derive(Clone, Copy, PartialEq)]
enum Bad {
    Nobody,
    /// A signer votes for everything and remembers nothing of it, and a witness is restored from an older copy of its
    /// disk, again and again: one bad and one restored voter, which is what four votes of five withstand.
    SignerAndWitness,
}

struct Run<'a> {
    genesis: &'a Genesis,
    cluster: Cluster,
    bad: Bad,
    seed: u64,
}

impl Run<'_> {
    fn honest(&self) -> impl Fn(&NodeName) -> bool + use<> {
        let names = match self.bad {
            Bad::Nobody => Vec::new(),
            Bad::SignerAndWitness => [1, 4].map(|i| self.genesis.world.names[i].clone()).to_vec(),
        };
        move |name| !names.contains(name)
    }

    fn check(&mut self, requests: &[Envelope]) {
        let honest = self.honest();
        self.cluster.verify(self.genesis, requests, honest);
        let broken = &self.cluster.history.violations;
        assert!(
            broken.is_empty(),
            "SIM_SEED={}:\n{}\n{:#?}",
            self.seed,
            broken.join("\n"),
            self.cluster.history.failures
        );
    }

    /// Some requests, each called at one or more signers, in a hostile world.
    fn storm(&mut self, requests: &[Envelope], rng: &mut StdRng) {
        for request in requests {
            for _ in 0..rng.random_range(1..3) {
                let leader = self.genesis.world.names[rng.random_range(0..self.genesis.world.signers)].clone();
                self.cluster.call(&leader, request);
            }
        }
        self.cluster.run();
    }
}

/// How many requests are done.
fn done(cluster: &mut Cluster, requests: &[Envelope], at: &NodeName) -> usize {
    let calls: Vec<_> = requests.iter().map(|request| cluster.call(at, request)).collect();
    cluster.run();
    let answers = calls.iter().map(|call| cluster.answer(*call));
    answers.filter(|answer| matches!(answer, Some(Ok(_)))).count()
}

fn play(genesis: &Genesis, bad: Bad, seed: u64, counts: &mut BTreeMap<&'static str, u64>) {
    let mut rng = StdRng::seed_from_u64(seed ^ 0x11a1);
    let mut run = Run { genesis, cluster: Cluster::new(genesis, seed, Faults::drawn(&mut rng)), bad, seed };
    let last = genesis.world.names.last().unwrap();
    let copy = run.cluster.copy_of(last);
    if bad == Bad::SignerAndWitness {
        run.cluster.corrupt(&genesis.world.names[1]);
        run.cluster.misbehave(Behaviour::VoteForAll);
    }
    let requests: Vec<_> = (1..=9).map(|id| genesis.world.note(id, &"x".repeat(rng.random_range(6..20)))).collect();
    for some in requests.chunks(3) {
        run.storm(some, &mut rng);
        run.check(&requests);
        if bad == Bad::SignerAndWitness {
            run.cluster.restore(last, copy.clone());
        }
    }
    run.cluster.settle(&requests, None);
    run.check(&requests);
    let first = &genesis.world.names[0];
    let before = done(&mut run.cluster, &requests, first);
    // A horizon later the line is free again for what had no room on it.
    run.cluster.skip_to(run.cluster.now().plus(horizon_ms(LIMIT.window_ms)));
    run.cluster.settle(&requests, None);
    run.check(&requests);
    let after = done(&mut run.cluster, &requests, first);
    let honest = run.honest();
    run.cluster.verify_logs(honest);
    run.check(&requests);
    assert!(before < requests.len(), "SIM_SEED={seed}: the limit was never felt");
    assert!(after > before, "SIM_SEED={seed}: {before} done before, {after} after");
    for (what, n) in &run.cluster.history.counts {
        *counts.entry(what).or_default() += n;
    }
}

fn play_all(genesis: &Genesis, bad: Bad, runs: u64) {
    let mut counts = BTreeMap::new();
    for seed in seeds(runs) {
        let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut of_run = BTreeMap::new();
            play(genesis, bad, seed, &mut of_run);
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
    let seen = |what| counts.get(what).copied().unwrap_or(0);
    assert!(seen("limited release") > runs && seen("collision") > 0 && seen("question for a vote") > runs);
}

#[test]
fn i4_i5_three_leaders_share_a_limit_among_three_signers() {
    play_all(&PLAIN, Bad::Nobody, 16);
}

#[test]
fn i4_i5_three_leaders_share_a_limit_with_two_witnesses() {
    play_all(&WITNESSED, Bad::Nobody, 16);
}

#[test]
fn i4_i5_a_signer_that_lies_and_a_witness_that_forgets_do_not_break_the_limit() {
    play_all(&WITNESSED, Bad::SignerAndWitness, 24);
}

/// With one voter away out of five the limit can still be used; with two it cannot, and the answer says so.
#[test]
fn a_quorum_does_without_one_witness_and_not_without_two() {
    let genesis = &WITNESSED;
    let mut cluster = Cluster::new(genesis, 1, Faults::NONE);
    let names = &genesis.world.names;
    let requests = [1, 2].map(|id| genesis.world.note(id, "nine byte"));
    let ask = |cluster: &mut Cluster, request: usize| {
        let call = cluster.call(&names[0], &requests[request]);
        cluster.run();
        cluster.answer(call).cloned().unwrap()
    };
    cluster.crash(&names[4]);
    assert!(ask(&mut cluster, 0).is_ok());
    cluster.crash(&names[3]);
    assert_eq!(ask(&mut cluster, 1).map_err(|refusal| refusal.reason), Err(Reason::Voters));
    cluster.verify(genesis, &requests, |_| true);
    assert!(cluster.history.violations.is_empty());
    cluster.mend(None);
    assert!(ask(&mut cluster, 1).is_ok(), "the same request goes through once they are back");
}
