//! What an auditor finds about policy bundles: a chain by quorums, decisions under it, votes once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    dead_code,
    reason = "tests fail loudly"
)]

#[path = "support/world.rs"]
mod world;

use prost::Message as _;
use tally_audit::event::{BundleEvent, Event, What};
use tally_audit::verify::{Basis, BundleFacts, BundleProblem, Bundles, ExportedLog, Oddity, Problem, verify_partial};
use tally_domain::activation::{BundleCertificate, BundleName, BundleVeto, BundleVote};
use tally_domain::boot::Statement;
use tally_domain::dsse::{Envelope, content_digest};
use tally_domain::{Digest, UnixMillis};
use world::*;

const DAY_MS: u64 = 86_400_000;

/// A bundle is an envelope here: what is in it is for whoever opens it.
fn envelope(n: u8) -> Vec<u8> {
    Envelope { payload: vec![n], payload_type: "bundle".into(), signatures: Vec::new() }.encode_to_vec()
}

fn name(n: u8) -> BundleName {
    let envelope = Envelope::decode(envelope(n).as_slice()).unwrap();
    BundleName { version: n.into(), digest: content_digest(&envelope) }
}

fn facts(w: &World, n: u8, tightens: bool) -> BundleFacts {
    BundleFacts { name: name(n), roster: w.roster.clone(), loosening_delay_ms: DAY_MS, tightens }
}

fn known(w: &World) -> Bundles {
    Bundles::after(name(1).digest, [facts(w, 1, true), facts(w, 2, true), facts(w, 3, false)])
}

fn vote(w: &World, i: usize, previous: u8, n: u8) -> Statement {
    let (key, cert) = &w.boots[i];
    BundleVote { cluster: w.roster.cluster.clone(), previous: name(previous).digest, bundle: name(n) }.sign(key, cert)
}

fn veto(w: &World, i: usize, n: u8) -> Statement {
    let (key, cert) = &w.boots[i];
    let (cluster, intent) = (w.roster.cluster.clone(), Digest::of(b"intent"));
    BundleVeto { cluster, bundle: name(n), intent, time: UnixMillis(1) }.sign(key, cert)
}

fn certificate(w: &World, voters: &[usize], previous: u8, n: u8) -> BundleCertificate {
    BundleCertificate { votes: voters.iter().map(|i| vote(w, *i, previous, n)).collect() }
}

fn began(w: &World, i: usize) -> Vec<What> {
    let boot = What::Boot { boot_cert: w.boots[i].1.clone(), bundle: name(1).digest, version: "0.1.0".into() };
    vec![boot, What::Bundle(BundleEvent::Began { envelope: envelope(1) })]
}

fn seen(n: u8, tightens: bool) -> What {
    What::Bundle(BundleEvent::Seen { envelope: envelope(n), tightens })
}

fn voted(w: &World, i: usize, previous: u8, n: u8) -> What {
    What::Bundle(BundleEvent::Voted { statement: vote(w, i, previous, n) })
}

fn activated(w: &World, voters: &[usize], previous: u8, n: u8) -> What {
    What::Bundle(BundleEvent::Activated { certificate: certificate(w, voters, previous, n), envelope: Vec::new() })
}

/// What is wrong with a log that goes on like this after its beginning.
fn problems(w: &World, i: usize, more: Vec<What>) -> Vec<BundleProblem> {
    problems_of(w, &[(i, more)])
}

fn problems_of(w: &World, logs: &[(usize, Vec<What>)]) -> Vec<BundleProblem> {
    let logs: Vec<ExportedLog> =
        logs.iter().map(|(i, more)| log(w, *i, [began(w, *i), more.clone()].concat())).collect();
    let findings = match verify_partial(Basis::from(&w.roster).under(&known(w)), &logs) {
        Ok(_) => return Vec::new(),
        Err(findings) => findings,
    };
    let bundle = |problem: Problem| match problem {
        Problem::Bundle(problem) => problem,
        other => panic!("{other}"),
    };
    findings.into_iter().map(|f| bundle(f.problem)).collect()
}

fn log(w: &World, i: usize, whats: Vec<What>) -> ExportedLog {
    w.export(i, whats)
}

fn refused_under(bundle: u8) -> What {
    use tally_audit::event::Verdict;
    What::Decided {
        tenant: tenant(),
        request_id: request(1),
        intent_digest: Digest::of(b"nobody asked"),
        verdict: Verdict::Refused { reason: "POLICY_DENIED".into(), rule: String::new(), condition: String::new() },
        bundle: name(bundle).digest,
        summary: String::new(),
        limits: Vec::new(),
    }
}

#[test]
fn a_chain_of_bundles_by_all_votes_verifies_and_decisions_follow_it() {
    let w = World::new();
    let good =
        vec![refused_under(1), seen(2, true), voted(&w, 0, 1, 2), activated(&w, &[0, 1, 2], 1, 2), refused_under(2)];
    assert_eq!(problems(&w, 0, good.clone()), []);
    let late = [good, vec![refused_under(1)]].concat();
    let (bundle, active) = (name(1).digest, name(2).digest);
    assert_eq!(problems(&w, 0, late), [BundleProblem::DecidedUnderOther { request: request(1), bundle, active }]);
    let early = vec![refused_under(2)];
    assert!(matches!(problems(&w, 0, early)[..], [BundleProblem::DecidedUnderOther { .. }]));
}

#[test]
fn s_2_3_an_activation_needs_a_quorum_signatures_and_the_bundle_before_it() {
    let w = World::new();
    // Plain two of three: all three.
    let few = problems(&w, 0, vec![activated(&w, &[0, 1], 1, 2)]);
    assert!(matches!(few[..], [BundleProblem::NoQuorum(_)]), "{few:?}");
    let unsigned = problems(&w, 0, vec![activated(&w, &[0, 1, 2], 1, 4)]);
    assert_eq!(unsigned, [BundleProblem::NotSigned { digest: name(4).digest }]);
    let broken = problems(&w, 0, vec![activated(&w, &[0, 1, 2], 2, 3)]);
    assert_eq!(broken, [BundleProblem::BrokenChain { bundle: name(3), active: name(1).digest }]);
    let back = vec![activated(&w, &[0, 1, 2], 1, 3), activated(&w, &[0, 1, 2], 3, 2)];
    assert_eq!(problems(&w, 0, back), [BundleProblem::WentBack { bundle: name(2), before: 3 }]);
}

#[test]
fn s_2_4_a_start_under_another_bundle_is_found() {
    let w = World::new();
    let (What::Boot { boot_cert, version, .. }, ..) = w.second_boot(0) else { panic!("a boot") };
    let again =
        |bundle: u8| What::Boot { boot_cert: boot_cert.clone(), bundle: name(bundle).digest, version: version.clone() };
    let up = vec![activated(&w, &[0, 1, 2], 1, 2)];
    let whats = |last| [began(&w, 0), up.clone(), vec![last]].concat();
    let check = |last| {
        let log = w.export(0, whats(last));
        verify_partial(Basis::from(&w.roster).under(&known(&w)), &[log]).map(drop).map_err(|f| f[0].problem.clone())
    };
    assert_eq!(check(again(2)), Ok(()));
    let (before, now) = (name(2).digest, name(1).digest);
    assert_eq!(check(again(1)), Err(Problem::Bundle(BundleProblem::OtherAtStart { before, now })));
}

#[test]
fn votes_are_given_once_by_the_node_itself_and_not_for_what_is_vetoed() {
    let w = World::new();
    let foreign = problems(&w, 0, vec![voted(&w, 1, 1, 2)]);
    assert_eq!(foreign, [BundleProblem::NotItsOwn { by: node_name(1) }]);
    let vetoed = vec![What::Bundle(BundleEvent::Vetoed { statement: veto(&w, 1, 3) }), voted(&w, 0, 1, 3)];
    assert_eq!(problems(&w, 0, vetoed), [BundleProblem::VotedVetoed { bundle: name(3) }]);
    let own = vec![What::Bundle(BundleEvent::Vetoed { statement: veto(&w, 0, 3) })];
    assert_eq!(problems(&w, 0, own), [BundleProblem::VetoNotPermitted]);
    let twice = vec![voted(&w, 0, 1, 2), voted(&w, 0, 1, 3)];
    let two = BundleProblem::TwoVotes { voter: node_name(0), previous: name(1).digest };
    assert_eq!(problems(&w, 0, twice), std::slice::from_ref(&two));
    // In two logs, too: what a certificate shows, and what its voter has written down.
    let split = [(0, vec![voted(&w, 0, 1, 3)]), (1, vec![activated(&w, &[0, 1, 2], 1, 2)])];
    assert_eq!(problems_of(&w, &split), [two]);
    let apart = [(0, vec![activated(&w, &[0, 1, 2], 1, 2)]), (1, vec![activated(&w, &[0, 1, 2], 1, 3)])];
    let found = problems_of(&w, &apart);
    let expected = BundleProblem::TwoActive { previous: name(1).digest, other: node_name(0) };
    assert!(found.contains(&expected), "{found:?}");
}

#[test]
fn what_loosens_is_not_taken_for_tight_and_an_early_vote_is_shown() {
    let w = World::new();
    let tight = problems(&w, 0, vec![seen(3, true)]);
    assert_eq!(tight, [BundleProblem::FalselyTight { bundle: name(3) }]);
    let early = log(&w, 0, [began(&w, 0), vec![seen(3, false), voted(&w, 0, 1, 3)]].concat());
    let reports = verify_partial(Basis::from(&w.roster).under(&known(&w)), &[early]).unwrap();
    assert!(reports[0].warnings.iter().any(|warning| warning.what == Oddity::VotedEarly { version: 3 }));
    let other = [
        What::Boot { boot_cert: w.boots[0].1.clone(), bundle: name(2).digest, version: "0.1.0".into() },
        What::Bundle(BundleEvent::Began { envelope: envelope(2) }),
    ];
    let findings = verify_partial(Basis::from(&w.roster).under(&known(&w)), &[log(&w, 0, other.to_vec())]).unwrap_err();
    let expected = BundleProblem::NotPinned { pinned: name(1).digest, found: name(2).digest };
    assert_eq!(findings[0].problem, Problem::Bundle(expected));
    let leaf = Event {
        node: node_name(0),
        incarnation: tally_domain::Incarnation(1),
        time: UnixMillis(1),
        what: other[1].clone(),
    };
    assert_eq!(Event::from_leaf(&leaf.to_leaf()).unwrap(), leaf);
}
