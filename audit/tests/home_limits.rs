//! What an auditor can tell of limited work that one node did alone.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, dead_code, reason = "tests fail loudly")]

#[path = "support/keks.rs"]
mod keks;
#[path = "support/resident.rs"]
mod resident;
#[path = "support/world.rs"]
mod world;

use keks::*;
use tally_audit::event::What;
use tally_audit::verify::{ExportedLog, HomeProblem, Problem, Witness, verify_log, verify_partial};
use tally_domain::boot::BadStatement;
use tally_domain::vote::{BadCertificate, Certificate, HomeTask, VoteBody};
use tally_domain::*;
use world::*;

const JWT: &str = "jwt";
const ISSUED: UnixMillis = UnixMillis(10_000_000);
const ALL: &[usize] = &[0, 1, 2];

fn claims(from: u128) -> Claims {
    let limit = LimitId::parse("day").unwrap();
    let charge = Charge { limit, line: LineId(Digest([9; 32])), max: 100, window_ms: 60_000, amount: 1 };
    let piece = Interval::new(from, from + 1).unwrap();
    Claims::new(ISSUED, vec![LineClaim::new(&charge, vec![piece]).unwrap()]).unwrap()
}

fn task(intent: &Intent, digest: Digest) -> HomeTask {
    HomeTask {
        tenant: tenant(),
        request_id: intent.request_id,
        intent_digest: intent.digest(),
        home: node_name(0),
        digest,
        bundle: bundle(),
        rule: "payouts-small".into(),
        approvals: Vec::new(),
    }
}

fn message(w: &World, n: u8) -> Intent {
    Intent { path: DerivationPath::default(), ..w.intent(n, JWT) }
}

/// What is voted on before node 1 signs a message with its token, for one unit of a limit.
fn body(w: &World, n: u8, from: u128) -> VoteBody {
    let intent = message(w, n);
    task(&intent, Digest::of(&intent.content)).body(Attempt(1), claims(from))
}

fn known(w: &World, i: usize) -> Vec<What> {
    let record = w.hsm_record(JWT, 0, 7);
    vec![w.boot(i), What::HsmKeyPending { record: record.to_bytes() }, w.hsm_active(&record, &[0, 2])]
}

/// What a node writes when it votes.
fn voted(w: &World, i: usize, n: u8, body: &VoteBody) -> Vec<What> {
    let intent = message(w, n);
    vec![w.received(&intent), w.permitted(&intent), What::Voted { vote: w.vote(i, body) }]
}

fn certified(w: &World, body: &VoteBody, voters: &[usize]) -> What {
    What::Certified { certificate: w.certificate(body, voters) }
}

/// What the home writes of one limited signature.
fn signed(w: &World, n: u8, from: u128) -> Vec<What> {
    let body = body(w, n, from);
    [voted(w, 0, n, &body), vec![certified(w, &body, ALL), w.hsm_completed(&message(w, n), 7)]].concat()
}

fn problems(w: &World, i: usize, log: Vec<What>) -> Vec<Problem> {
    let log = w.export(i, [known(w, i), log].concat());
    let checked = verify_log(&w.roster, &log.node, &log.entries, &log.checkpoint);
    checked.map(|_| vec![]).unwrap_or_else(|findings| findings.into_iter().map(|f| f.problem).collect())
}

fn across(w: &World, logs: &[ExportedLog]) -> Vec<Problem> {
    verify_partial(&w.roster, logs).map_or_else(|found| found.into_iter().map(|f| f.problem).collect(), |_| Vec::new())
}

#[test]
fn what_a_quorum_has_certified_before_verifies_alone_and_together() {
    let w = World::new();
    let home = [signed(&w, 1, 0), signed(&w, 2, 1)].concat();
    assert_eq!(problems(&w, 0, home.clone()), []);
    let voter = |i| [known(&w, i), voted(&w, i, 1, &body(&w, 1, 0)), voted(&w, i, 2, &body(&w, 2, 1))].concat();
    let logs = [w.export(0, [known(&w, 0), home].concat()), w.export(1, voter(1)), w.export(2, voter(2))];
    assert_eq!(across(&w, &logs), []);
}

#[test]
fn i4_a_unit_that_one_node_alone_and_others_together_both_took_is_found() {
    let w = World::new();
    let home = w.export(0, [known(&w, 0), signed(&w, 1, 5)].concat());
    let hot = w.intent(2, HOT);
    let session = VoteBody { claims: Some(claims(5)), ..w.vote_body(&hot, 1, &[1, 2]) };
    let vote = What::Voted { vote: w.vote(1, &session) };
    let log = vec![w.boot(1), w.key_active(HOT), w.received(&hot), w.permitted(&hot), vote];
    let together = w.export(1, [log, vec![w.released(&session, ALL, b"partial")]].concat());
    let found = across(&w, &[home, together]);
    let line = Digest([9; 32]);
    assert!(found.contains(&Problem::ClaimsOverlap { line, request: request(2), other: request(1) }), "{found:?}");
    // Two of one node's own.
    let twice = problems(&w, 0, [signed(&w, 1, 5), signed(&w, 2, 5)].concat());
    assert_eq!(twice[0], Problem::ClaimsOverlap { line, request: request(2), other: request(1) });
}

#[test]
fn a_certificate_is_whole_and_its_homes_own() {
    let w = World::new();
    let good = body(&w, 1, 0);
    let with = |leaf: What| problems(&w, 0, [voted(&w, 0, 1, &good), vec![leaf]].concat());
    assert_eq!(with(certified(&w, &good, ALL)), []);
    let certificate = |bad| [Problem::Certificate(bad)];
    assert_eq!(with(certified(&w, &good, &[0, 1])), certificate(BadCertificate::TooFew));
    assert_eq!(with(certified(&w, &good, &[1, 2])), certificate(BadCertificate::NotAllOfS));
    let mut votes = w.certificate(&good, ALL).votes;
    let last = votes[2].signed.as_mut().unwrap().payload.last_mut().unwrap();
    *last ^= 1;
    let tampered = with(What::Certified { certificate: Certificate { votes } });
    assert_eq!(tampered, certificate(BadCertificate::Vote(BadStatement::Signature)));
    let other = w.certificate(&body(&w, 1, 1), &[2]).votes;
    let mixed = [w.certificate(&good, &[0, 1]).votes, other].concat();
    assert_eq!(
        with(What::Certified { certificate: Certificate { votes: mixed } }),
        certificate(BadCertificate::Differ)
    );

    let elsewhere = [voted(&w, 1, 1, &good), vec![certified(&w, &good, ALL)]].concat();
    let not_its_own = HomeProblem::NotItsOwn { request: request(1), home: node_name(0) };
    assert_eq!(problems(&w, 1, elsewhere), [Problem::Home(not_its_own)]);
    let unvoted = problems(&w, 0, vec![certified(&w, &good, ALL)]);
    assert_eq!(unvoted, [Problem::Home(HomeProblem::NotVoted { request: request(1) })]);
}

#[test]
fn a_certificate_of_one_kind_of_work_is_none_of_the_other() {
    let w = World::new();
    let good = body(&w, 1, 0);
    let other_kind = [Problem::Certificate(BadCertificate::OtherKind)];
    let released = [voted(&w, 0, 1, &good), vec![w.released(&good, ALL, b"partial")]].concat();
    assert_eq!(problems(&w, 0, released), other_kind);
    let hot = w.intent(2, HOT);
    let session = VoteBody { claims: Some(claims(5)), ..w.vote_body(&hot, 1, &[0, 1]) };
    let vote = What::Voted { vote: w.vote(0, &session) };
    let log = vec![w.key_active(HOT), w.received(&hot), w.permitted(&hot), vote, certified(&w, &session, ALL)];
    assert_eq!(problems(&w, 0, log), other_kind);
}

#[test]
fn work_that_was_voted_on_is_done_only_as_it_was_certified() {
    let w = World::new();
    let (good, done) = (body(&w, 1, 0), w.hsm_completed(&message(&w, 1), 7));
    let uncertified = [voted(&w, 0, 1, &good), vec![done.clone()]].concat();
    let problem = Problem::Home(HomeProblem::Uncertified { request: request(1) });
    assert_eq!(problems(&w, 0, uncertified), [problem]);
    let other = task(&message(&w, 1), Digest::of(b"another")).body(Attempt(1), claims(0));
    let otherwise = [voted(&w, 0, 1, &other), vec![certified(&w, &other, ALL), done]].concat();
    let problem = Problem::Home(HomeProblem::OtherWork { request: request(1) });
    assert_eq!(problems(&w, 0, otherwise), [problem]);

    let wish = w.wrap_wish(110, WrapCall::Unwrap { blob: blob() });
    let certify = |digest| {
        let body = task(&wish, digest).body(Attempt(1), claims(0));
        let vote = What::Voted { vote: w.vote(0, &body) };
        (vec![w.received(&wish), w.permitted(&wish), vote], certified(&w, &body, ALL))
    };
    let (asked, certificate) = certify(wish.digest());
    let opened = |middle: &[What]| {
        let log = [w.kek_birth(0), middle.to_vec(), vec![wrapped(&wish, 1, None)]].concat();
        problems(&w, 0, log)
    };
    assert_eq!(opened(&[asked.clone(), vec![certificate]].concat()), []);
    assert_eq!(opened(&asked), [Problem::Home(HomeProblem::Uncertified { request: request(110) })]);
    let (asked, certificate) = certify(Digest([1; 32]));
    let problem = Problem::Home(HomeProblem::OtherWork { request: request(110) });
    assert_eq!(opened(&[asked, vec![certificate]].concat()), [problem]);
}

#[test]
fn s_5_1_a_voter_whose_log_does_not_hold_its_vote_is_found() {
    let w = World::new();
    let home = w.export(0, [known(&w, 0), signed(&w, 1, 0)].concat());
    let emptied = w.seal(2, Vec::new());
    let shown_by = Witness { node: node_name(0), leaf: 6 };
    let problem = Problem::VoteRemoved { voter: node_name(2), request: request(1), attempt: Attempt(1), shown_by };
    assert_eq!(across(&w, &[home, emptied]), [problem]);
}
