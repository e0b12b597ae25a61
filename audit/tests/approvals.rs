//! What the offline check finds about approvals: each by itself, and what is permitted under a rule that asks for them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs, reason = "tests fail loudly")]

#[path = "support/approvals.rs"]
mod approvals;
#[path = "support/resident.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod resident;
#[path = "support/world.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod world;

use approvals::*;
use tally_audit::event::{self, What};
use tally_audit::verify::{ApprovalProblem, Basis, Finding, Problem, verify_log};
use tally_domain::approval::{BadApproval, Verdict};
use tally_domain::cancel::BadCancellation;
use tally_domain::vote::VoteBody;
use tally_domain::*;
use world::*;

fn check(w: &World, log: Vec<What>) -> Vec<Finding> {
    let export = w.export(0, log);
    let basis = Basis::from(&w.roster).with_approvers(&[&Persons]);
    verify_log(basis, &export.node, &export.entries, &export.checkpoint).err().unwrap_or_default()
}

fn permitted(intent: &Intent) -> What {
    decided(intent, event::Verdict::Permitted { rule: LARGE.into() })
}

fn body(w: &World, intent: &Intent, persons: &[&str]) -> VoteBody {
    let approvals = persons.iter().map(|person| digest(intent, person)).collect();
    VoteBody { rule: LARGE.into(), approvals, ..w.vote_body(intent, 1, &[0, 1]) }
}

/// From the key to the signature of request 1, with `said` before the vote on `body`.
fn log(w: &World, intent: &Intent, said: Vec<What>, body: &VoteBody) -> Vec<What> {
    let mut log = vec![w.boot(0), w.key_active(NOTES), w.received(intent), waiting(intent)];
    log.extend(said);
    log.extend([permitted(intent), What::Voted { vote: w.vote(0, body) }, w.released(body, &[0, 1], b"partial")]);
    log.push(w.completed(intent));
    log
}

fn approve(w: &World, intent: &Intent, persons: &[&str]) -> Vec<What> {
    persons.iter().map(|person| w.said(intent, person, Verdict::Approve)).collect()
}

fn only(found: Vec<Finding>) -> ApprovalProblem {
    let [Finding { problem: Problem::Approval(problem), .. }] = &*found else { panic!("{found:?}") };
    assert!(!problem.to_string().is_empty());
    problem.clone()
}

fn person(name: &str) -> PersonName {
    PersonName::parse(name).unwrap()
}

#[test]
fn two_who_approve_before_the_vote_are_enough_with_a_threshold_key_and_in_an_hsm() {
    let w = World::new();
    let intent = w.intent(1, NOTES);
    let both = ["alice", "bob"];
    assert_eq!(check(&w, log(&w, &intent, approve(&w, &intent, &both), &body(&w, &intent, &both))), []);
    let jwt = w.intent(6, "jwt");
    let record = w.hsm_record("jwt", 0, 7);
    let mut resident = vec![w.boot(0), w.hsm_active(&record, &[0, 1]), w.received(&jwt), waiting(&jwt)];
    resident.extend(approve(&w, &jwt, &both));
    resident.extend([permitted(&jwt), w.hsm_completed(&jwt, 7)]);
    assert_eq!(check(&w, resident.clone()), []);
    // One is not, wherever the key is.
    resident.remove(4);
    let not_enough = |request| ApprovalProblem::NotEnough { request, rule: LARGE.into() };
    assert_eq!(only(check(&w, resident)), not_enough(jwt.request_id));
    for persons in [&["alice"][..], &["alice", "carol"], &[]] {
        let found = check(&w, log(&w, &intent, approve(&w, &intent, persons), &body(&w, &intent, persons)));
        assert_eq!(only(found), not_enough(intent.request_id), "{persons:?}");
    }
}

#[test]
fn a_vote_names_approvals_that_the_log_has_and_that_count_for_just_this() {
    let w = World::new();
    let (intent, other) = (w.intent(1, NOTES), w.intent(2, NOTES));
    let both = ["alice", "bob"];
    let good = body(&w, &intent, &both);
    let request = intent.request_id;
    let found = check(&w, log(&w, &intent, approve(&w, &intent, &["alice"]), &good));
    assert_eq!(only(found), ApprovalProblem::NotInLog { request });

    let alice = |change: &dyn Fn(&mut Approval)| {
        let mut approval = statement(&intent, "alice", Verdict::Approve);
        change(&mut approval);
        signed(&approval)
    };
    let of_other = other.digest();
    let cases: [(&str, dsse::Envelope); 4] = [
        ("request_id", alice(&|a| a.request_id = world::request(9))),
        ("intent_digest", alice(&|a| a.intent_digest = of_other)),
        ("bundle", alice(&|a| a.bundle = Digest([1; 32]))),
        ("expires_at", alice(&|a| a.expires_at = UnixMillis(1))),
    ];
    for (field, envelope) in cases {
        let alices = dsse::content_digest(&envelope);
        let vote = VoteBody { approvals: vec![alices, digest(&intent, "bob")], ..good.clone() };
        let mut said = approve(&w, &intent, &["bob"]);
        said.extend([w.received(&other), What::Said { approval: envelope }]);
        let expected = ApprovalProblem::DoesNotCount { request, person: person("alice"), field };
        assert_eq!(only(check(&w, log(&w, &intent, said, &vote))), expected);
    }
    let twice = VoteBody { approvals: vec![digest(&intent, "alice"); 2], ..good };
    let found = check(&w, log(&w, &intent, approve(&w, &intent, &both), &twice));
    assert_eq!(only(found), ApprovalProblem::DoesNotCount { request, person: person("alice"), field: "person" });
}

#[test]
fn nothing_goes_on_after_a_rejection_and_every_statement_is_the_persons_own() {
    let w = World::new();
    let intent = w.intent(1, NOTES);
    let (request, both) = (intent.request_id, ["alice", "bob"]);
    let mut said = approve(&w, &intent, &both);
    said.push(w.said(&intent, "carol", Verdict::Reject));
    let found = check(&w, log(&w, &intent, said, &body(&w, &intent, &both)));
    assert_eq!(only(found), ApprovalProblem::AfterRejection { request, person: person("carol") });

    let one = |approval| vec![w.boot(0), w.received(&intent), What::Said { approval }];
    let forged = statement(&intent, "alice", Verdict::Approve).sign(&key_of("stranger"));
    assert_eq!(only(check(&w, one(forged))), ApprovalProblem::Statement(BadApproval::Signature));
    let nobody = Approval { person: person("erwin"), ..statement(&intent, "alice", Verdict::Approve) };
    let nobody = nobody.sign(&key_of("stranger"));
    assert_eq!(only(check(&w, one(nobody))), ApprovalProblem::UnknownPerson { person: person("erwin") });
    let garbage = key_of("alice").seal(approval::APPROVAL_TYPE, b"\xff".to_vec());
    assert_eq!(only(check(&w, one(garbage))), ApprovalProblem::Statement(BadApproval::NotCanonical));
    let early = vec![w.boot(0), w.said(&intent, "alice", Verdict::Approve)];
    assert_eq!(only(check(&w, early)), ApprovalProblem::WithoutIntent { person: person("alice"), request });
}

#[test]
fn nothing_goes_on_after_a_cancellation_which_is_the_clients_own() {
    let w = World::new();
    let intent = w.intent(1, NOTES);
    let (request, both) = (intent.request_id, ["alice", "bob"]);
    let good = log(&w, &intent, approve(&w, &intent, &both), &body(&w, &intent, &both));
    let (vote, release, done) = (good.len() - 3, good.len() - 2, good.len());
    // After the vote, and even before it. What others have signed may still be told.
    for (at, found) in [(vote, 2), (release, 1), (done - 1, 0), (done, 0)] {
        let mut log = good.clone();
        log.insert(at, w.cancelled(&intent, None));
        let problems: Vec<_> = check(&w, log).into_iter().map(|finding| finding.problem).collect();
        assert_eq!(problems, vec![Problem::AfterCancellation { request }; found], "at leaf {at}");
    }
    let forged = vec![w.boot(0), w.cancelled(&intent, Some(&key_of("stranger")))];
    let [Finding { problem: Problem::Cancellation(bad), .. }] = &*check(&w, forged) else { panic!("it is believed") };
    assert_eq!(*bad, BadCancellation::Signature);
}

#[test]
fn a_request_waits_only_for_what_its_client_has_signed() {
    let w = World::new();
    let intent = w.intent(1, NOTES);
    let request = intent.request_id;
    let problem = |log: Vec<What>| check(&w, log).into_iter().map(|f| f.problem).collect::<Vec<_>>();
    assert_eq!(problem(vec![w.boot(0), waiting(&intent)]), [Problem::PermitWithoutIntent { request }]);
    let What::Waiting(good) = waiting(&intent) else { panic!() };
    let later = What::Waiting(event::Waiting { expires_at: UnixMillis(3), ..good.clone() });
    let mismatch = |request, field| Problem::IntentMismatch { request, field };
    assert_eq!(problem(vec![w.boot(0), w.received(&intent), later]), [mismatch(request, "expires_at")]);
    let renamed = What::Waiting(event::Waiting { request_id: world::request(7), ..good });
    assert_eq!(problem(vec![w.boot(0), w.received(&intent), renamed]), [mismatch(world::request(7), "request_id")]);
}
