//! What one node does alone where a limit applies: nothing without leave, no leave without a quorum, and no vote on it that
//! could pass for a session's.

use crate::keks::{opened, vault, wish};
use crate::world::*;
use tally_audit::event::{Event, What};
use tally_domain::boot::Statement;
use tally_domain::claim::CERTIFICATE_LIFE_MS;
use tally_domain::evidence::{Contradiction, prove};
use tally_domain::key::KeyState;
use tally_domain::ports::store::Write;
use tally_domain::vote::{BadCertificate, Certificate, VoteBody};
use tally_domain::*;
use tally_policy::PolicyAction;
use tally_signer::admit::open;
use tally_signer::claims::{
    Ballot, Binding, HomeBallot, HomeClaim, HomeWork, NotAccepted, Unclosed, concur, decide_home, vote_body,
};
use tally_signer::freeze::Freezes;
use tally_signer::hsm_sign::{HsmPermit, admit_hsm_sign};
use tally_signer::wrap::{ToldByHome, admit_elsewhere};

const LIMITS: &str = r#"
[[limit]]
id = "tokens-day"
key = "jwt"
count = 100
per = "24h"

[[limit]]
id = "unwraps"
action = "unwrap"
count = 10
per = "24h"
by = ["client"]
"#;

fn world() -> World {
    World::with_limits(LIMITS)
}

fn jwt() -> HsmKeyRecord {
    let key = p256::ecdsa::SigningKey::from_slice(&[5; 32]).unwrap();
    HsmKeyRecord {
        name: KeyName::parse("jwt").unwrap(),
        purpose: Purpose::Message,
        material: Material::Signing(PublicKey::P256(*key.verifying_key())),
        ..vault()
    }
}

fn note(w: &World, id: u8) -> Intent {
    Intent { request_id: RequestId([id; 16]), key: KeyName::parse("jwt").unwrap(), ..w.note() }
}

fn permit(w: &World, id: u8) -> HsmPermit {
    let opened = open(&w.bundle, w.seal(&note(w, id))).unwrap();
    let known = Freezes::default();
    admit_hsm_sign(opened, (&jwt(), KeyState::Active), &name(0), &known, &w.bundle, NOW).unwrap()
}

/// One unit of each line that is charged, from here.
fn claims(work: &HomeWork, from: u128, at: UnixMillis) -> Claims {
    let piece = Interval::new(from, from + 1).unwrap();
    let lines = work.charges().iter().map(|charge| LineClaim::new(charge, vec![piece]).unwrap());
    Claims::new(at, lines.collect()).unwrap()
}

fn claimed(w: &World, id: u8, attempt: u32, from: u128) -> HomeClaim {
    let permit = permit(w, id);
    permit.work().claim(Attempt(attempt), claims(permit.work(), from, NOW), NOW).unwrap()
}

fn by(w: &World, i: usize, body: &VoteBody) -> Statement {
    body.sign(w.boots[i].key(), w.boots[i].cert())
}

fn ballot(w: &World, voters: &[usize]) -> HomeBallot {
    let claim = claimed(w, 1, 1, 0);
    let body = claim.body().clone();
    let mut ballot = claim.ballot(by(w, 0, &body), w.bundle.roster().into());
    voters.iter().for_each(|i| ballot.add(by(w, *i, &body), w.bundle.roster()).unwrap());
    ballot
}

fn reason<T>(outcome: Result<T, Refusal>) -> Reason {
    outcome.map(drop).unwrap_err().reason
}

#[test]
fn what_is_charged_is_not_done_without_the_votes_of_a_quorum() {
    let w = world();
    assert!(permit(&w, 1).work().uncharged().is_none());
    assert_eq!(ballot(&w, &[]).wanting(), [name(1), name(2)]);
    assert_eq!(ballot(&w, &[1]).close(NOW).err(), Some(Unclosed::Missing));
    let certified = ballot(&w, &[1, 2]).close(NOW).unwrap();
    let body = claimed(&w, 1, 1, 0).body().clone();
    assert_eq!(certified.certificate().open_home(w.bundle.roster()), Ok((body.clone(), name(0))));
    let step = certified.step(&w.boots[0], NOW);
    let [Write::Release { attempt, partial, certificate }] = step.writes.as_slice() else { panic!("{step:?}") };
    assert_eq!((attempt.request, attempt.attempt, &partial[..]), (body.request_id, Attempt(1), &body.digest.0[..]));
    assert_eq!(*certificate, prost::Message::encode_to_vec(certified.certificate()));
    let What::Certified { certificate } = Event::from_leaf(&step.leaves[0]).unwrap().what else { panic!("{step:?}") };
    assert_eq!(&certificate, certified.certificate());
    assert!(permit(&w, 1).start(certified.cleared()).is_ok());
}

#[test]
fn leave_is_for_one_request_and_one_work() {
    let w = world();
    let leave = || ballot(&w, &[1, 2]).close(NOW).unwrap().cleared();
    assert_eq!(reason(permit(&w, 2).start(leave())), Reason::Bug);
    let free = World::new();
    let uncharged = permit(&free, 1).work().uncharged().unwrap();
    assert_eq!(reason(permit(&w, 1).start(uncharged)), Reason::Bug, "decided under a bundle without the limit");
}

#[test]
fn a_ballot_that_is_late_or_cannot_be_won_is_over() {
    let w = world();
    let life = NOW.plus(CERTIFICATE_LIFE_MS);
    assert!(ballot(&w, &[1, 2]).close(life).is_ok());
    assert_eq!(ballot(&w, &[1, 2]).close(life.plus(1)).err(), Some(Unclosed::Expired));
    assert!(!ballot(&w, &[1]).refuse(name(2)), "three of three must vote");
    let mut ballot = ballot(&w, &[]);
    for other in [claimed(&w, 2, 1, 0), claimed(&w, 1, 2, 0), claimed(&w, 1, 1, 1)] {
        assert!(ballot.add(by(&w, 1, other.body()), w.bundle.roster()).is_err());
    }
    assert!(!ballot.is_complete());
}

#[test]
fn the_home_votes_once_in_an_attempt_and_others_guard_the_lines_alone() {
    let w = world();
    let claim = claimed(&w, 1, 3, 0);
    let (own, step) = claim.vote(&w.boots[0], NOW);
    assert!(
        matches!(step.writes.as_slice(), [Write::Claim { .. }, Write::Vote { attempt, .. }] if attempt.attempt.0 == 3)
    );
    let (vote, step) = claim.vote(&w.boots[1], NOW);
    assert!(matches!(step.writes.as_slice(), [Write::Claim { .. }]) && step.leaves.len() == 1);
    assert_eq!((own, vote), (by(&w, 0, claim.body()), by(&w, 1, claim.body())));
}

#[test]
fn a_voter_votes_for_what_it_computes_itself_and_only_for_the_home() {
    let w = world();
    let work = permit(&w, 1).into_work();
    let good = claimed(&w, 1, 1, 0).body().clone();
    assert_eq!(work.concur(&good, &name(0), NOW).unwrap().body(), &good);
    assert_eq!(reason(work.concur(&good, &name(1), NOW)), Reason::ProtocolViolation);
    let other = Digest([77; 32]);
    for bad in [
        VoteBody { digest: other, ..good.clone() },
        VoteBody { intent_digest: other, ..good.clone() },
        VoteBody { nonce_binding: other, ..good.clone() },
        VoteBody { session: other, ..good.clone() },
        VoteBody { bundle: other, ..good.clone() },
        VoteBody { rule: "another".into(), ..good.clone() },
        VoteBody { attempt: Attempt(2), ..good.clone() },
        VoteBody { request_id: RequestId([9; 16]), ..good.clone() },
        VoteBody { signers: vec![name(1)], ..good.clone() },
        VoteBody { signers: vec![name(0), name(1)], ..good.clone() },
        VoteBody { signers: vec![], ..good.clone() },
        VoteBody { claims: None, ..good.clone() },
    ] {
        assert_eq!(reason(work.concur(&bad, &name(0), NOW)), Reason::ProtocolViolation, "{bad:?}");
    }
    let late = VoteBody { claims: Some(claims(&work, 0, NOW.plus(86_400_000))), ..good };
    assert_eq!(reason(work.concur(&late, &name(0), NOW)), Reason::ClockSkew);
    let charge = Charge { amount: 2, ..work.charges()[0].clone() };
    let two = LineClaim::new(&charge, vec![Interval::new(0, 2).unwrap()]).unwrap();
    let too_much = work.claim(Attempt(1), Claims::new(NOW, vec![two]).unwrap(), NOW).map(drop);
    assert_eq!(too_much, Err(NotAccepted::Differs { limit: charge.limit }));
}

/// What a session of a threshold key votes for that is charged the same.
fn of_a_session(w: &World, signers: &[usize]) -> VoteBody {
    let home = permit(w, 1);
    let permit = w.admit_charged(&w.note(), home.work().charges()).unwrap();
    let claimed = tally_signer::claims::claim(permit, Some(claims(home.work(), 0, NOW)), NOW).unwrap();
    let (nonce, session) = (Digest([1; 32]), Digest([2; 32]));
    let signers = signers.iter().map(|i| name(*i)).collect();
    vote_body(&claimed, &Binding { attempt: Attempt(1), signers, nonce, session })
}

#[test]
fn s_3_19_votes_of_one_kind_of_work_are_worth_nothing_for_the_other() {
    let w = world();
    let roster = w.bundle.roster();
    let alone = claimed(&w, 1, 1, 0).body().clone();
    assert_eq!(alone.home(), Some(&name(0)));
    let votes = |body: &VoteBody| Certificate { votes: (0..3).map(|i| by(&w, i, body)).collect() };
    assert_eq!(votes(&alone).open(roster), Err(BadCertificate::OtherKind));
    assert_eq!(votes(&alone).open_signers(roster), Err(BadCertificate::OtherKind));
    for signers in [&[0, 1][..], &[0]] {
        let session = of_a_session(&w, signers);
        assert_eq!(session.home(), None);
        assert_eq!(votes(&session).open_home(roster), Err(BadCertificate::OtherKind));
        // Nor with the words of the other around it.
        let dressed = VoteBody { nonce_binding: alone.nonce_binding, session: alone.session, ..session };
        assert_eq!(dressed.home(), None);
    }
    // A ballot of the session's kind mints no certificate of it.
    let mut ballot = Ballot::open(alone.clone(), name(0), by(&w, 0, &alone), roster.into());
    (1..3).for_each(|i| ballot.add(&name(i), by(&w, i, &alone), roster).unwrap());
    assert_eq!(ballot.close(NOW).err(), Some(Unclosed::NoSession));
    // And no voter takes it for a session of a key that it knows.
    let charged = permit(&w, 1);
    let session = w.admit_charged(&w.note(), charged.work().charges()).unwrap();
    assert_eq!(reason(concur(session, alone, &name(2), NOW)), Reason::ProtocolViolation);
}

#[test]
fn two_votes_for_one_unit_prove_who_gave_both_whatever_the_work() {
    let w = world();
    let roster = w.bundle.roster();
    let (alone, session) = (claimed(&w, 2, 1, 0).body().clone(), of_a_session(&w, &[0, 1]));
    let line = permit(&w, 1).work().charges()[0].line;
    let requests = [RequestId([2; 16]), RequestId([1; 16])];
    let proof = prove(&by(&w, 2, &alone), &by(&w, 2, &session), roster);
    assert_eq!(proof, Ok((name(2), Contradiction::Line { line, requests })));
    let again = claimed(&w, 2, 1, 7).body().clone();
    let attempt = Contradiction::Attempt { request: requests[0], attempt: Attempt(1) };
    assert_eq!(prove(&by(&w, 0, &alone), &by(&w, 0, &again), roster), Ok((name(0), attempt)));
}

#[test]
fn a_voter_decides_on_a_keks_work_by_the_intent_and_believes_only_what_it_does_not_say() {
    let w = world();
    let ask = |call: WrapCall, bytes, version| {
        let (intent, known) = (wish(&w, call), Freezes::default());
        let told = ToldByHome { bytes, version: KekNumber(version) };
        admit_elsewhere(&opened(&w, &intent), (&vault(), KeyState::Active), &known, told, &w.bundle, NOW)
    };
    let unwrap = || WrapCall::Unwrap { blob: Digest([3; 32]) };
    let work = ask(unwrap(), 32, 1).unwrap();
    assert_eq!((work.task().home.clone(), work.task().rule.as_str()), (name(0), "wrap-ledger"));
    assert_eq!(work.task().digest, work.task().intent_digest);
    assert_eq!((work.charges().len(), work.charges()[0].limit.as_str()), (1, "unwraps"));
    assert_eq!(reason(ask(unwrap(), 65, 1)), Reason::PolicyDenied, "the rule has a length");
    for bytes in [0, 4_097] {
        assert_eq!(reason(ask(unwrap(), bytes, 1)), Reason::ProtocolViolation);
    }
    let draw = |version| WrapCall::GenerateDataKey { bytes: 32, plaintext: true, version };
    assert!(ask(draw(None), 32, 7).unwrap().uncharged().is_some());
    assert_eq!(reason(ask(draw(None), 33, 1)), Reason::ProtocolViolation);
    assert_eq!(reason(ask(draw(Some(KekNumber(2))), 32, 1)), Reason::ProtocolViolation);
    let rewrap = WrapCall::Rewrap { blob: Digest([3; 32]), version: Some(KekNumber(2)) };
    assert_eq!(reason(ask(rewrap, 32, 1)), Reason::ProtocolViolation);
    let wrap = WrapCall::Wrap { commitment: Digest([3; 32]), version: None };
    assert!(ask(wrap, 32, 7).unwrap().uncharged().is_some());
}

#[test]
fn any_action_is_decided_and_charged_in_one_place() {
    let w = world();
    let opened = open(&w.bundle, w.seal(&note(&w, 1))).unwrap();
    let facts = facts::Facts::Message(facts::MessageFacts { bytes: 5, text: true });
    let decide = |action| decide_home(&opened, &name(0), Digest([1; 32]), action, &w.bundle, NOW);
    assert_eq!(decide(PolicyAction::Sign(&facts)).unwrap().charges(), permit(&w, 1).work().charges());
    let long = facts::Facts::Message(facts::MessageFacts { bytes: 17, text: true });
    assert_eq!(reason(decide(PolicyAction::Sign(&long))), Reason::PolicyDenied);
}
