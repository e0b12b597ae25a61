//! Persons in a hostile world: nothing is voted for or released that too few of them have approved, who asks never counts,
//! and a rejection is final. `SIM_SEED=n` plays one schedule again, `SIM_RUNS=n` plays so many.
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
use tally_domain::approval::Verdict::{self, Approve, Reject};
use tally_domain::dsse::Envelope;
use tally_domain::{NodeName, Reason, RequestId, Scheme, Tenant};
use tally_sim::world::Limit;
use tally_sim::{Cluster, Faults, Genesis, Lie, World};

const LIMIT: Limit = Limit { max: 80, window_ms: 60_000 };

static TWO_OF_THREE: LazyLock<Genesis> = LazyLock::new(|| Genesis::new(Scheme::Ed25519, 2, 3, 1));
static THREE_OF_FIVE: LazyLock<Genesis> = LazyLock::new(|| Genesis::new(Scheme::Ed25519, 3, 5, 2));
/// Two of three and two witnesses, four of whom vote where the limit applies.
static WITNESSED: LazyLock<Genesis> =
    LazyLock::new(|| Genesis::of(World::new(3, 2, Some(LIMIT)), Scheme::Ed25519, 2, 7));

fn seeds(runs: u64) -> Box<dyn Iterator<Item = u64>> {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    match number("SIM_SEED") {
        Some(seed) => Box::new(std::iter::once(seed)),
        None => Box::new(0..number("SIM_RUNS").unwrap_or(runs)),
    }
}

fn fail_if_broken(cluster: &Cluster, seed: u64) {
    let broken = &cluster.history.violations;
    assert!(broken.is_empty(), "SIM_SEED={seed}:\n{}\n{:#?}", broken.join("\n"), cluster.history.failures);
}

fn says(genesis: &Genesis, request: &Envelope, person: &str, verdict: Verdict) -> Envelope {
    genesis.world.says(&genesis.created.record, request, (person, verdict), person)
}

/// What is said of each of three requests: enough; then a rejection; then what is never enough, with the voice of whoever
/// asks, of a person who is not asked, and of one person twice.
fn words(genesis: &Genesis, requests: &[Envelope]) -> Vec<(usize, Envelope)> {
    let by = |nth: usize, person, verdict| (nth, says(genesis, &requests[nth], person, verdict));
    let again = genesis.world.says(&genesis.created.record, &requests[2], ("alice", Approve), "alice-2");
    let forged = genesis.world.says(&genesis.created.record, &requests[2], ("bob", Approve), "mallory");
    vec![
        by(0, "alice", Approve),
        by(0, "bob", Approve),
        by(1, "alice", Approve),
        by(1, "bob", Approve),
        by(1, "alice", Reject),
        by(2, "alice", Approve),
        by(2, "carol", Approve),
        by(2, "dora", Approve),
        (2, again),
        (2, forged),
    ]
}

/// Whether any node has a result of a request.
fn done_anywhere(cluster: &Cluster, id: u8) -> bool {
    let key = (Tenant::parse("acme").unwrap(), RequestId([id; 16]));
    cluster.world.names.iter().any(|name| cluster.journal(name).results().any(|(request, _)| *request == key))
}

/// What each node that is up answers to a request, its reason if it is a no.
fn answers(cluster: &mut Cluster, request: &Envelope) -> Vec<Option<Reason>> {
    let signers = cluster.world.names[..cluster.world.signers].to_vec();
    let calls: Vec<_> = signers.iter().map(|at| cluster.call(at, request)).collect();
    cluster.run();
    calls.iter().map(|call| cluster.answer(*call).unwrap().as_ref().err().map(|no| no.reason)).collect()
}

/// Requests and words of persons at any nodes and moments; the faults stop; everyone hears of everything.
fn play(genesis: &Genesis, seed: u64, counts: &mut BTreeMap<&'static str, u64>) {
    let mut rng = StdRng::seed_from_u64(seed ^ 0xa55e);
    let mut cluster = Cluster::new(genesis, seed, Faults::drawn(&mut rng));
    let names = genesis.world.names.clone();
    let any = |rng: &mut StdRng, of: usize| names[rng.random_range(0..of)].clone();
    let requests: Vec<_> = (1..=3).map(|id| genesis.world.asked(id, &format!("asked {id}"))).collect();
    let words = words(genesis, &requests);
    for request in &requests {
        for _ in 0..rng.random_range(1..3) {
            let at = any(&mut rng, genesis.world.signers);
            cluster.call(&at, request);
        }
    }
    for (nth, statement) in &words {
        for _ in 0..rng.random_range(1..3) {
            let at = any(&mut rng, names.len());
            cluster.say(&at, &requests[*nth], statement);
        }
    }
    cluster.run();
    cluster.verify(genesis, &requests, |_| true);
    fail_if_broken(&cluster, seed);

    // A client asks again, persons bring everything everywhere.
    cluster.spread_said(&requests);
    for request in &requests {
        answers(&mut cluster, request);
    }
    for (nth, statement) in &words {
        names.iter().for_each(|at| cluster.say(at, &requests[*nth], statement));
    }
    cluster.spread_said(&requests);
    cluster.settle(&requests[..1], None);
    assert!(done_anywhere(&cluster, 1), "SIM_SEED={seed}");
    // A rejection that came after the signature changes nothing; one that came before it is final, at every node.
    let too_late = done_anywhere(&cluster, 2);
    if !too_late {
        let no = Some(Reason::Rejected);
        assert!(answers(&mut cluster, &requests[1]).iter().all(|a| *a == no), "SIM_SEED={seed}");
        assert!(!done_anywhere(&cluster, 2), "SIM_SEED={seed}");
    }
    let no = Some(Reason::ApprovalsRequired);
    assert!(answers(&mut cluster, &requests[2]).iter().all(|a| *a == no), "SIM_SEED={seed}");
    cluster.verify(genesis, &requests, |_| true);
    cluster.verify_logs(|_| true);
    fail_if_broken(&cluster, seed);
    *counts.entry(if too_late { "too late" } else { "rejected" }).or_default() += 1;
    for (what, n) in &cluster.history.counts {
        *counts.entry(what).or_default() += n;
    }
}

fn play_all(genesis: &Genesis, runs: u64, too_late: u64) {
    let mut counts = BTreeMap::new();
    for seed in seeds(runs) {
        let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut of_run = BTreeMap::new();
            play(genesis, seed, &mut of_run);
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
    if std::env::var("SIM_SEED").is_err() {
        let seen = |what| counts.get(what).copied().unwrap_or(0);
        assert!(seen("rejected") > runs / 8 && seen("too late") >= too_late, "{counts:?}");
        assert!(seen("approved vote or release") > runs && seen("statement of a person") > runs, "{counts:?}");
    }
}

#[test]
fn s_2_2_13_two_of_three_sign_what_enough_persons_approved_and_nothing_else() {
    play_all(&TWO_OF_THREE, 60, 6);
}

#[test]
fn s_2_2_13_three_of_five_sign_what_enough_persons_approved_and_nothing_else() {
    play_all(&THREE_OF_FIVE, 16, 1);
}

#[test]
fn s_2_2_13_voters_outside_the_signers_hold_persons_against_their_own_disks_too() {
    play_all(&WITNESSED, 16, 0);
}

/// A leader that has true approvals of the second request shows others something else.
struct Liar<'a> {
    genesis: &'a Genesis,
    cluster: Cluster,
    leader: NodeName,
    first: Envelope,
    second: Envelope,
    seed: u64,
}

impl<'a> Liar<'a> {
    /// The first request has gone well.
    fn new(genesis: &'a Genesis, seed: u64) -> Self {
        let (first, second) = (genesis.world.asked(1, "the first"), genesis.world.asked(2, "the second"));
        let leader = genesis.world.names[seed as usize % 3].clone();
        let mut cluster = Cluster::new(genesis, seed, Faults::NONE);
        cluster.corrupt_leader(&leader, vec![first.clone()]);
        cluster.arm(["alice", "bob"].map(|person| says(genesis, &first, person, Approve)).to_vec(), Vec::new());
        cluster.call(&leader, &first);
        cluster.run();
        assert!(done_anywhere(&cluster, 1), "the leader can lead");
        Self { genesis, cluster, leader, first, second, seed }
    }

    fn true_said(&self) -> Vec<Envelope> {
        ["alice", "bob"].map(|person| says(self.genesis, &self.second, person, Approve)).to_vec()
    }

    /// The leader leads the second request; what honest nodes have answered it.
    fn lead(&mut self, lie: Lie, shown: Vec<Envelope>) -> Vec<Reason> {
        self.cluster.arm(self.true_said(), shown);
        self.cluster.lie(Some(lie));
        self.cluster.call(&self.leader, &self.second);
        self.cluster.run();
        self.cluster.heard().iter().filter_map(|heard| heard.no.as_ref().map(|no| no.reason)).collect()
    }

    /// The leader behaves again, and persons bring their approvals to everyone.
    fn mend(&mut self) {
        self.cluster.lie(None);
        answers(&mut self.cluster, &self.second);
        for statement in self.true_said() {
            let names = self.genesis.world.names.clone();
            names.iter().for_each(|at| self.cluster.say(at, &self.second, &statement));
        }
        self.cluster.spread_said(std::slice::from_ref(&self.second));
    }

    fn check(&mut self) {
        let (leader, both) = (self.leader.clone(), [self.first.clone(), self.second.clone()]);
        self.cluster.verify(self.genesis, &both, |name| *name != leader);
        self.cluster.verify_logs(|name| *name != leader);
        fail_if_broken(&self.cluster, self.seed);
    }
}

/// What a leader shows of persons, and what honest nodes say to it.
fn lies(genesis: &Genesis, run: &Liar<'_>) -> Vec<(&'static str, Vec<Envelope>, Reason)> {
    let (said, record) = (run.true_said(), &genesis.created.record);
    let (alice, bob) = (said[0].clone(), said[1].clone());
    let by = |person, verdict, with| genesis.world.says(record, &run.second, (person, verdict), with);
    let of_first = |person| says(genesis, &run.first, person, Approve);
    let mut moved = bob.clone();
    moved.payload = of_first("bob").payload;
    use Reason::*;
    vec![
        ("nobody", vec![], ApprovalsRequired),
        ("one of two", vec![alice.clone()], ApprovalsRequired),
        ("one person twice", vec![alice.clone(), alice.clone()], AlreadyApproved),
        ("one person with both keys", vec![alice.clone(), by("alice", Approve, "alice-2")], AlreadyApproved),
        ("who asks", vec![alice.clone(), by("carol", Approve, "carol")], ApprovalInitiator),
        ("a person who is not asked", vec![alice.clone(), by("dora", Approve, "dora")], ApprovalsRequired),
        ("a person's name and a stranger's key", vec![alice.clone(), by("bob", Approve, "mallory")], ApprovalSignature),
        ("a person's name and another's key", vec![alice.clone(), by("bob", Approve, "alice")], ApprovalSignature),
        ("what was signed of another request", vec![of_first("alice"), of_first("bob")], ApprovalMismatch),
        ("a signature under another text", vec![alice.clone(), moved], ApprovalSignature),
        ("a rejection for an approval", vec![alice.clone(), by("bob", Reject, "bob")], Rejected),
        ("them in another order", vec![bob, alice], AlreadyApproved),
    ]
}

#[test]
fn s_2_2_13_a_leader_that_forges_replays_or_keeps_back_approvals_gets_no_signature() {
    for genesis in [&*TWO_OF_THREE, &*WITNESSED] {
        for seed in seeds(2) {
            for nth in 0..lies(genesis, &Liar::new(genesis, seed)).len() {
                let mut run = Liar::new(genesis, seed);
                let (what, shown, expected) = lies(genesis, &run).swap_remove(nth);
                let mut ways = vec![Lie::SaidToMembers];
                ways.extend(genesis.world.limit.is_some().then_some(Lie::SaidToVoters));
                let way = ways[seed as usize % ways.len()];
                let heard = run.lead(way, shown);
                assert!(heard.contains(&expected), "{way:?} {what}, SIM_SEED={seed}: {heard:?}");
                assert!(!done_anywhere(&run.cluster, 2), "{way:?} {what}, SIM_SEED={seed}");
                run.check();
                run.mend();
                assert!(done_anywhere(&run.cluster, 2), "{way:?} {what}, SIM_SEED={seed}");
                run.check();
            }
        }
    }
}

#[test]
fn s_2_2_13_a_leader_with_true_approvals_signs_only_where_nobody_knows_of_a_rejection() {
    for seed in seeds(6) {
        let genesis = &*TWO_OF_THREE;
        let mut run = Liar::new(genesis, seed);
        let honest: Vec<_> = genesis.world.names.iter().filter(|n| **n != run.leader).cloned().collect();
        // The request waits everywhere, and one honest node hears the rejection, which it tells.
        run.cluster.call(&honest[0], &run.second);
        run.cluster.run();
        run.cluster.say(&honest[0], &run.second, &says(genesis, &run.second, "bob", Reject));
        run.cluster.run();
        let heard = run.lead(Lie::None, Vec::new());
        assert_eq!(heard, [Reason::Rejected], "SIM_SEED={seed}");
        run.check();
        // It stays rejected for everyone, whatever persons sign afterwards.
        run.mend();
        assert!(!done_anywhere(&run.cluster, 2), "SIM_SEED={seed}");
        assert!(answers(&mut run.cluster, &run.second).iter().all(|a| *a == Some(Reason::Rejected)), "SIM_SEED={seed}");
        run.check();
    }
}

#[test]
fn a_node_that_keeps_approvals_to_itself_stops_nobody_who_asks_elsewhere() {
    for seed in seeds(6) {
        let genesis = &*TWO_OF_THREE;
        let mut run = Liar::new(genesis, seed);
        let honest: Vec<_> = genesis.world.names.iter().filter(|n| **n != run.leader).cloned().collect();
        run.cluster.call(&honest[0], &run.second);
        run.cluster.run();
        let bring = |run: &mut Liar<'_>, at: &NodeName| {
            run.true_said().iter().for_each(|said| run.cluster.say(at, &run.second, said));
            run.cluster.run();
        };
        let leader = run.leader.clone();
        bring(&mut run, &leader);
        assert!(!done_anywhere(&run.cluster, 2), "SIM_SEED={seed}");
        // The owner signs with the other honest node, without the client.
        bring(&mut run, &honest[1]);
        assert!(done_anywhere(&run.cluster, 2), "SIM_SEED={seed}");
        run.check();
    }
}
