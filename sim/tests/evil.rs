//! A leader lies, with up to f - 1 others in league with it and one voter that forgets: nothing that must hold breaks, no
//! honest node is named, and honest nodes say what the table says. `SIM_SEED=n` plays one schedule of each again,
//! `SIM_RUNS=n` plays so many.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail loudly"
)]

use std::sync::LazyLock;
use tally_audit::event::{Event, Origin, Verdict, What};
use tally_domain::dsse::Envelope;
use tally_domain::{KeyName, NodeName, Reason, RequestId, Scheme, Scope, Tenant};
use tally_sim::world::{Limit, NOTES};
use tally_sim::{Behaviour, Cluster, Faults, Genesis, Lie, World};

const LIMIT: Limit = Limit { max: 80, window_ms: 60_000 };

/// What a client also says under the id of the second request.
const TWIN: &str = "nine else";

/// Two of three, and no limit.
static FREE: LazyLock<Genesis> = LazyLock::new(|| Genesis::new(Scheme::Ed25519, 2, 3, 1));
/// Two of three with a limit: all three vote.
static PLAIN: LazyLock<Genesis> = LazyLock::new(|| limited(3, 0, 2));
/// Two of three and two witnesses: four of five vote, with one that lies and one that forgets.
static WITNESSED: LazyLock<Genesis> = LazyLock::new(|| limited(3, 2, 2));
/// Three of five and a witness: five of six vote, with two that lie and one that forgets.
static LEAGUE: LazyLock<Genesis> = LazyLock::new(|| limited(5, 1, 3));

fn limited(signers: u8, witnesses: u8, t: u32) -> Genesis {
    Genesis::of(World::new(signers, witnesses, Some(LIMIT)), Scheme::Ed25519, t, 7)
}

/// What honest nodes say.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Says {
    /// A no with this reason and these words. A clock or another leader might have caused it.
    No(Reason, &'static str),
    /// The same, and in the log, with the leader as who brought it.
    Logged(Reason, &'static str),
    /// The leader is named as who broke the protocol.
    Named(&'static str),
    /// The leader is named as who is missing. It cannot be told apart from a network that fails.
    Missing(&'static str),
    /// Someone is missing, whoever loses patience first says so. It cannot be told apart from a network that fails either.
    Stalled,
    /// The members differ, and it could be anyone's doing.
    Differs(&'static str),
    /// Whoever is told does not believe it, and keeps nothing.
    Unbelieved,
    /// The honest logs together prove it.
    Proved(&'static str),
    /// Nothing: it is allowed, and the request is signed.
    Nothing,
}
use Says::*;

const BROKEN: Reason = Reason::ProtocolViolation;

const LIES: [(Lie, Says); 64] = [
    (Lie::None, Nothing),
    (Lie::IntentToMember, Differs("Mismatch")),
    (Lie::IntentToVoter, Logged(BROKEN, "something else than this node admits")),
    (Lie::IntentForged, No(Reason::IntentSignature, "")),
    (Lie::IntentTwins, No(Reason::RequestIdConflict, "")),
    (Lie::SignersWithoutLeader, Logged(Reason::ParameterRange, "")),
    (Lie::SignersWithoutMember, Logged(Reason::ParameterRange, "")),
    (Lie::SignersDiffer, Differs("Mismatch")),
    (Lie::TwoSets, Proved("signed two different votes")),
    (Lie::TwoSessions, No(Reason::Contention, "")),
    (Lie::Vanish, Missing("offline")),
    (Lie::AttemptZero, No(Reason::InDoubt, "")),
    (Lie::AttemptFarAhead, Nothing),
    (Lie::AttemptAgain, No(Reason::InDoubt, "")),
    (Lie::PromiseOmitted, No(Reason::InDoubt, "")),
    (Lie::PromiseForged, No(Reason::InDoubt, "")),
    (Lie::PromiseOfAnotherRequest, No(Reason::InDoubt, "")),
    (Lie::PromiseBroken, Nothing),
    (Lie::BundleStale, No(Reason::BundleMismatch, "")),
    (Lie::BundleInVote, Logged(BROKEN, "something else than this node admits")),
    (Lie::ClaimsOmitted, Logged(BROKEN, "applies and is not claimed")),
    (Lie::ClaimsOfAnotherLine, Logged(BROKEN, "applies and is not claimed")),
    (Lie::ClaimsShort, Logged(BROKEN, "not for what this node charges")),
    (Lie::ClaimsLong, Logged(BROKEN, "not for what this node charges")),
    (Lie::ClaimsOfLongerLine, Logged(BROKEN, "not for what this node charges")),
    (Lie::ClaimsOfShorterWindow, Logged(BROKEN, "not for what this node charges")),
    (Lie::ClaimsOnMoreLines, Logged(BROKEN, "more is claimed")),
    (Lie::ClaimsOutside, Logged(Reason::Malformed, "claims")),
    (Lie::ClaimsInNinePieces, Logged(Reason::Malformed, "claims")),
    (Lie::ClaimsOverlapThemselves, Logged(Reason::Malformed, "claims")),
    (Lie::ClaimsOnOneLineTwice, Logged(Reason::Malformed, "claims")),
    (Lie::ClaimsMalformed, Logged(Reason::Malformed, "claims")),
    (Lie::ClaimsOfThePast, Logged(Reason::ClockSkew, "away from this node's clock")),
    (Lie::ClaimsOfTheFuture, Logged(Reason::ClockSkew, "away from this node's clock")),
    (Lie::ClaimsAtTheEdge, Nothing),
    (Lie::ClaimsOfAnEarlierRequest, No(Reason::Contention, "")),
    (Lie::ClaimsWithOneUnitTaken, No(Reason::Contention, "")),
    (Lie::ClaimsInFourPlaces, No(Reason::VelocityLimit, "three times")),
    (Lie::ClaimsDifferForMembers, Differs("Mismatch")),
    (Lie::ClaimsDifferForVoters, Named("something else than ours")),
    (Lie::OwnVoteWithheld, Missing("vote")),
    (Lie::VotesWithheld, Missing("quorum")),
    (Lie::VotesWithheldFromOne, Stalled),
    (Lie::VotesTooFew, Named("too few votes")),
    (Lie::VotesOfOneForTwo, Named("too few votes")),
    (Lie::VotesForged, Named("signature does not verify")),
    (Lie::VotesOfStranger, Named("not in the roster")),
    (Lie::VotesOfAnotherRequest, Named("something else than ours")),
    (Lie::VotesOfAnotherAttempt, Named("something else than ours")),
    (Lie::VotesMalformed, Named("malformed vote")),
    (Lie::VotesUnasked, Named("Violation")),
    (Lie::VotesTwice, Named("Violation")),
    (Lie::VoteOfMember, Logged(BROKEN, "a signer votes in the session")),
    (Lie::VoteForOtherSigners, Logged(BROKEN, "signers are not the key's")),
    (Lie::VoteForNoClaims, Logged(BROKEN, "applies and is not claimed")),
    (Lie::PartialWithheld, Missing("combine")),
    (Lie::ResultOfAnother, Unbelieved),
    (Lie::ResultMadeUp, Unbelieved),
    (Lie::ResultChanged, Unbelieved),
    (Lie::ResultByAnotherRule, Unbelieved),
    (Lie::Frozen, Logged(Reason::Frozen, "")),
    (Lie::LiftByOne, Logged(Reason::Frozen, "")),
    (Lie::LiftForged, Logged(Reason::Frozen, "")),
    (Lie::FreezeForged, Nothing),
];

/// A lie and where it can be told.
fn fits(lie: Lie, genesis: &Genesis) -> bool {
    let (limit, t) = (genesis.world.limit.is_some(), genesis.created.record.threshold.t());
    let witnesses = genesis.world.names.len() > genesis.world.signers;
    match lie {
        Lie::SignersDiffer | Lie::ClaimsDifferForMembers | Lie::VotesWithheldFromOne => t > 2,
        // Two signers that vote for one thing each are all that an unlimited request needs: `SECURITY.md` says so.
        Lie::IntentTwins => limit,
        Lie::VotesUnasked => !limit,
        // It takes two votes of voters outside S.
        Lie::VotesOfOneForTwo | Lie::ClaimsDifferForVoters => limit && witnesses,
        Lie::IntentToVoter | Lie::BundleInVote => limit,
        Lie::OwnVoteWithheld => true,
        lie => limit || !["Claims", "Vote"].iter().any(|of| format!("{lie:?}").starts_with(of)),
    }
}

/// What is said of a lie where it is told.
fn said_of(lie: Lie, says: Says, genesis: &Genesis) -> Says {
    let to_spare = genesis.world.limit.is_none() || genesis.world.names.len() == genesis.world.signers + 2;
    match lie {
        // While the one set signs, its votes are missing to the other's quorum.
        Lie::TwoSets | Lie::IntentTwins if !to_spare => No(Reason::Contention, ""),
        _ => says,
    }
}

struct Run<'a> {
    genesis: &'a Genesis,
    cluster: Cluster,
    leader: NodeName,
    /// In league with the leader; then the voter that forgets.
    friend: Option<NodeName>,
    forgets: Option<NodeName>,
    requests: Vec<Envelope>,
    /// Whether the request of the lie was signed.
    signed: bool,
    /// Failures before the lie.
    before: usize,
    lie: Lie,
    what: String,
}

impl<'a> Run<'a> {
    /// A first request goes well. Then the leader lies about the second, and has more of the client's intents at hand.
    fn new(genesis: &'a Genesis, lie: Lie, seed: u64) -> Self {
        let names = &genesis.world.names;
        let (leader, league) = (names[seed as usize % 3].clone(), genesis.created.record.threshold.t() > 2);
        let friend = league.then(|| names[4].clone());
        let forgets = (names.len() > genesis.world.signers).then(|| names.last().unwrap().clone());
        let requests: Vec<_> = (1..=3).map(|id| genesis.world.note(id, "nine byte")).collect();
        let twin = genesis.world.note(2, TWIN);
        let mut cluster = Cluster::new(genesis, seed, Faults::NONE);
        if let Some(friend) = &friend {
            cluster.corrupt(friend);
            cluster.misbehave(Behaviour::VoteForAll);
        }
        cluster.corrupt_leader(&leader, vec![requests[2].clone(), twin]);
        let what = format!("{lie:?} of {leader}, SIM_SEED={seed}");
        let mut this =
            Self { genesis, cluster, leader, friend, forgets, requests, signed: false, before: 0, lie, what };
        this.play(lie);
        this
    }

    fn play(&mut self, lie: Lie) {
        let copy = self.forgets.as_ref().map(|name| (name.clone(), self.cluster.copy_of(name)));
        assert!(self.lead(Lie::None, 0), "{}: the leader can lead", self.what);
        if lie == Lie::PromiseOfAnotherRequest {
            self.lead(Lie::OwnVoteWithheld, 2);
        }
        if let Some(before) = lie.follows() {
            self.lead(before, 1);
        }
        if let Some((name, copy)) = copy {
            self.cluster.restore(&name, copy);
        }
        if matches!(lie, Lie::Frozen | Lie::LiftByOne | Lie::LiftForged) {
            let key = Scope::Key(KeyName::parse(NOTES).unwrap());
            let at = self.honest_nodes().remove(0);
            self.cluster.freeze(&at, &self.genesis.world.freeze(100, &key));
            self.cluster.run();
        }
        self.before = self.cluster.history.failures.len();
        self.signed = self.lead(lie, 1);
    }

    /// The leader is called for a request, and lies; whether it was signed.
    fn lead(&mut self, lie: Lie, request: usize) -> bool {
        self.cluster.lie(Some(lie));
        let call = self.cluster.call(&self.leader.clone(), &self.requests[request]);
        self.cluster.run();
        matches!(self.cluster.answer(call), Some(Ok(_)))
    }

    /// Whose disks and words count.
    fn honest(&self) -> impl Fn(&NodeName) -> bool + use<> {
        let bad = [Some(self.leader.clone()), self.friend.clone(), self.forgets.clone()];
        move |name| !bad.contains(&Some(name.clone()))
    }

    fn honest_nodes(&self) -> Vec<NodeName> {
        self.genesis.world.names.iter().filter(|n| self.honest()(n)).cloned().collect()
    }

    fn log(&self, name: &NodeName) -> Vec<What> {
        self.cluster.journal(name).leaves().iter().map(|leaf| Event::from_leaf(leaf).unwrap().what).collect()
    }

    /// Whether some honest node has a refusal of what the leader brought in its log.
    fn logged(&self, reason: Reason) -> bool {
        let by_leader =
            |what: &What| matches!(what, What::IntentReceived { from: Origin::Peer(p), .. } if *p == self.leader);
        let refused = |what: &What| matches!(what, What::Decided { verdict: Verdict::Refused { reason: r, .. }, .. } if r == reason.as_str());
        self.honest_nodes().iter().any(|n| self.log(n).windows(2).any(|pair| by_leader(&pair[0]) && refused(&pair[1])))
    }

    /// Whether some honest node has the leader in its log as whose fault the end of a session is, or as missing there.
    fn told_of(&self, silent: bool) -> bool {
        let tells = |what: &What| match what {
            What::SessionFailed { missing, .. } if silent => missing.contains(&self.leader),
            What::SessionFailed { culprit, .. } => culprit.as_ref() == Some(&self.leader),
            _ => false,
        };
        self.honest_nodes().iter().any(|n| self.log(n).iter().any(tells))
    }

    /// The honest nodes say what the table says, and name nobody else.
    fn judge(&mut self, says: Says) {
        let honest = self.honest();
        let failures = self.cluster.history.failures[self.before..].iter();
        let failures: Vec<_> = failures.filter(|f| honest(&f.node)).cloned().collect();
        let what = &self.what;
        assert!(failures.iter().flat_map(|f| &f.culprits).all(|c| *c == self.leader), "{what}: {failures:#?}");
        let said = |words: &str| failures.iter().any(|f| f.trouble.contains(words));
        let refused = |reason: Reason, words: &str| {
            let heard = self.cluster.heard().iter().filter(|h| honest(&h.from)).filter_map(|h| h.no.as_ref());
            let mut of_it = heard.filter(|no| no.reason == reason);
            of_it.any(|no| words.is_empty() || no.metadata.values().any(|v| v.contains(words)))
        };
        let holds = match says {
            No(reason, words) => refused(reason, words),
            Logged(reason, words) => refused(reason, words) && self.logged(reason),
            Named(words) => {
                let mut of_leader = failures.iter().filter(|f| f.culprits.contains(&self.leader));
                of_leader.any(|f| f.trouble.contains(words)) && self.told_of(false)
            }
            // Whom the leader has kept from answering is missing all the same; nobody is to blame for that.
            Missing(words) => {
                let mut of_leader = failures.iter().filter(|f| f.missing.contains(&self.leader));
                let blamed = failures.iter().any(|f| !f.culprits.is_empty());
                of_leader.any(|f| f.trouble.contains(words)) && self.told_of(true) && !blamed
            }
            Stalled => {
                let silent = failures.iter().any(|f| f.trouble.contains("Silent"));
                silent && failures.iter().all(|f| f.culprits.is_empty())
            }
            Differs(words) => said(words) && failures.iter().all(|f| !f.culprits.contains(&self.leader)),
            Unbelieved => self.signed && self.untold(),
            Nothing => self.signed && failures.is_empty(),
            Proved(_) => self.signed,
        };
        // What is said too much may come when nobody listens any more.
        let more = matches!(self.lie, Lie::VotesTwice | Lie::VotesUnasked | Lie::TwoSessions);
        let holds = holds || more && self.signed && failures.is_empty();
        assert!(holds, "{what}: {says:?}, {failures:#?}\n{:#?}", self.cluster.heard());
    }

    /// Whether only those who took part have a result of the request.
    fn untold(&self) -> bool {
        let key = (Tenant::parse("acme").unwrap(), RequestId([2; 16]));
        let told = |n: &NodeName| self.cluster.journal(n).results().any(|(request, _)| *request == key);
        let took_part = |n: &NodeName| !self.cluster.journal(n).attempts(&key).is_empty();
        self.honest_nodes().iter().all(|n| took_part(n) || !told(n))
    }

    /// What must hold, now and after the leader has left off and the limit has been used up by others.
    fn hold(mut self, says: Says) {
        self.check();
        if self.frozen() {
            return self.check_logs(says);
        }
        self.cluster.lie(None);
        self.cluster.misbehave(Behaviour::Watch);
        // More than is left of the limit, where there is one.
        self.requests.extend((4..=6).map(|id| self.genesis.world.note(id, "of twenty characters")));
        let mut due = self.requests.clone();
        if self.lie == Lie::IntentTwins {
            // A client that signs two intents under one id deserves no answer.
            due.remove(1);
        }
        self.cluster.settle(&due, None);
        self.check();
        self.check_logs(says);
    }

    /// The honest logs agree, or prove who lied.
    fn check_logs(&mut self, says: Says) {
        let before = self.cluster.history.violations.len();
        self.cluster.verify_logs(self.honest());
        let found = &self.cluster.history.violations[before..];
        let holds = match says {
            Proved(words) => found.iter().any(|f| f.contains(words) && f.contains(self.leader.as_str())),
            _ => found.is_empty(),
        };
        assert!(holds, "{}:\n{}", self.what, found.join("\n"));
    }

    fn frozen(&self) -> bool {
        self.honest_nodes().iter().any(|n| self.cluster.journal(n).freezes().in_force().count() > 0)
    }

    fn check(&mut self) {
        let (honest, mut requests) = (self.honest(), self.requests.clone());
        requests.push(self.genesis.world.note(2, TWIN));
        self.cluster.verify(self.genesis, &requests, &honest);
        // A leader that votes twice, or breaks its promise, can have a second signature over the same digest (ADR 2).
        let priced = |v: &&String| match self.lie {
            Lie::TwoSets => !v.starts_with("I14"),
            Lie::PromiseBroken => !v.starts_with("G4") && !v.starts_with("I14"),
            _ => true,
        };
        let broken: Vec<_> = self.cluster.history.violations.iter().filter(priced).cloned().collect();
        assert!(broken.is_empty(), "{}:\n{}", self.what, broken.join("\n"));
    }
}

/// From another seed on for each lie, so that different nodes lead.
fn seeds(from: usize, runs: u64) -> Box<dyn Iterator<Item = u64>> {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let from = from as u64;
    match number("SIM_SEED") {
        Some(seed) => Box::new(std::iter::once(seed)),
        None => Box::new(from..from + number("SIM_RUNS").unwrap_or(runs)),
    }
}

/// All lies, and in the end which of them did harm or were not told of.
fn tell_all(genesis: &Genesis, runs: u64) {
    let mut failed = Vec::new();
    for (from, (lie, says)) in LIES.into_iter().enumerate().filter(|(_, (lie, _))| fits(*lie, genesis)) {
        let says = said_of(lie, says, genesis);
        let told = |seed| {
            let mut run = Run::new(genesis, lie, seed);
            run.judge(says);
            run.hold(says);
        };
        failed.extend(
            seeds(from, runs).filter(|seed| std::panic::catch_unwind(|| told(*seed)).is_err()).map(|seed| (lie, seed)),
        );
    }
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn s_2_1_a_lying_leader_of_an_unlimited_key_breaks_nothing_and_is_named_where_it_can_be() {
    tell_all(&FREE, 1);
}

#[test]
fn i4_i5_a_lying_leader_of_three_voters_breaks_no_limit() {
    tell_all(&PLAIN, 1);
}

#[test]
fn i4_i5_a_lying_leader_and_a_witness_that_forgets_break_no_limit() {
    tell_all(&WITNESSED, 1);
}

#[test]
fn i4_i5_a_lying_leader_a_friend_and_a_witness_that_forgets_break_no_limit() {
    tell_all(&LEAGUE, 1);
}
