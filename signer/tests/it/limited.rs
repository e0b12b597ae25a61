//! Votes and certificates of requests that a limit applies to: all of S, and a quorum of all nodes.

use crate::world::*;
use tally_domain::boot::Statement;
use tally_domain::claim::{CERTIFICATE_LIFE_MS, Claimant, LineMemory};
use tally_domain::dsse::Envelope;
use tally_domain::evidence::{Contradiction, NoProof, prove};
use tally_domain::ports::store::Write;
use tally_domain::vote::{BadCertificate, Certificate, VoteBody};
use tally_domain::*;
use tally_signer::admit::Permit;
use tally_signer::claims::{
    Ballot, Binding, Concurring, NotAccepted, Unclosed, claim, concur, in_the_way, vote, vote_body,
};

fn charge() -> Charge {
    Charge {
        limit: LimitId::parse("day").unwrap(),
        line: LineId(Digest([9; 32])),
        max: 100,
        window_ms: 60_000,
        amount: 10,
    }
}

fn at(from: u128, issued_at: UnixMillis) -> Claims {
    let place = Interval::new(from, from + 10).unwrap();
    Claims::new(issued_at, vec![LineClaim::new(&charge(), vec![place]).unwrap()]).unwrap()
}

fn permit(w: &World, id: u8) -> Permit {
    w.admit_charged(&Intent { request_id: RequestId([id; 16]), ..w.note() }, &[charge()]).unwrap()
}

fn binding(attempt: u32) -> Binding {
    Binding {
        attempt: Attempt(attempt),
        signers: vec![name(0), name(1)],
        nonce: Digest([1; 32]),
        session: Digest([2; 32]),
    }
}

/// What request `id` votes for when it takes ten units from here.
fn body(w: &World, id: u8, from: u128) -> VoteBody {
    vote_body(&claim(permit(w, id), Some(at(from, NOW)), NOW).unwrap(), &binding(2))
}

fn by(w: &World, i: usize, body: &VoteBody) -> Statement {
    body.sign(w.boots[i].key(), w.boots[i].cert())
}

fn ballot(w: &World, voters: &[usize]) -> Ballot {
    let body = body(w, 1, 0);
    let mut ballot = Ballot::open(body.clone(), name(0), by(w, 0, &body), w.bundle.roster().into());
    for i in voters {
        ballot.add_passed_on(by(w, *i, &body), w.bundle.roster()).unwrap();
    }
    ballot
}

#[test]
fn what_is_charged_cannot_be_voted_for_without_its_claims() {
    let w = World::new();
    let refused = claim(permit(&w, 1), None, NOW).unwrap_err();
    assert_eq!(refused, NotAccepted::Missing { limit: charge().limit });
    let uncharged = claim(w.admit(&w.note()).unwrap(), Some(at(0, NOW)), NOW).unwrap_err();
    assert_eq!(uncharged, NotAccepted::TooMuch);
}

#[test]
fn where_a_limit_applies_the_votes_of_s_are_not_enough() {
    let w = World::new();
    let all_of_s = ballot(&w, &[1]);
    assert_eq!((all_of_s.missing(), all_of_s.wanting()), (vec![], vec![name(2)]));
    assert_eq!(all_of_s.close(NOW).err(), Some(Unclosed::Missing));
    // The quorum without one of S is not enough either.
    let without_one = ballot(&w, &[2]);
    assert_eq!((without_one.missing(), without_one.wanting()), (vec![name(1)], vec![]));
    assert_eq!(without_one.close(NOW).err(), Some(Unclosed::Missing));

    let certified = ballot(&w, &[2, 1]).close(NOW).unwrap();
    let (certificate, roster) = (certified.certificate().clone(), w.bundle.roster());
    assert_eq!(certificate.open(roster), Ok(body(&w, 1, 0)));
    let of_s = certificate.clone().signers_part(2);
    assert_eq!(of_s.open(roster), Err(BadCertificate::TooFew));
    assert_eq!(of_s.open_signers(roster), Ok(body(&w, 1, 0)));
    assert_eq!(certificate.open_signers(roster), Err(BadCertificate::NotAllOfS));
    let votes = vec![certificate.votes[0].clone(), certificate.votes[2].clone()];
    assert_eq!(Certificate { votes }.open(roster), Err(BadCertificate::NotAllOfS));
}

#[test]
fn a_voter_that_refuses_ends_the_search_only_when_no_quorum_is_left() {
    let w = World::new();
    assert!(!ballot(&w, &[1]).refuse(name(2)), "three of three must vote");
    assert!(ballot(&w, &[1, 2]).refuse(name(2)), "a vote that is there stays");
}

#[test]
fn a_certificate_older_than_its_life_is_refused() {
    let w = World::new();
    let life = NOW.plus(CERTIFICATE_LIFE_MS);
    assert!(ballot(&w, &[1, 2]).close(life).is_ok());
    assert_eq!(ballot(&w, &[1, 2]).close(life.plus(1)).err(), Some(Unclosed::Expired));
}

#[test]
fn the_step_of_a_vote_takes_the_claims_first() {
    let w = World::new();
    let body = body(&w, 1, 0);
    let (_, step) = vote(&body, &w.boots[0], NOW);
    let [Write::Claim { by: claimant, claims }, Write::Vote { .. }] = step.writes.as_slice() else {
        panic!("{:?}", step.writes)
    };
    assert_eq!((claimant.request, claims), (RequestId([1; 16]), &at(0, NOW)));
}

fn asked(w: &World, body: VoteBody) -> Result<Concurring, Refusal> {
    concur(permit(w, 1), body, &name(2), NOW)
}

#[test]
fn a_voter_outside_s_votes_for_what_it_admits_itself_and_nothing_else() {
    let w = World::new();
    let good = body(&w, 1, 0);
    let concurring = asked(&w, good.clone()).unwrap();
    let (statement, step) = concurring.vote(&w.boots[2], NOW);
    assert_eq!(statement, by(&w, 2, &good), "asked again it is the same vote");
    assert!(matches!(step.writes.as_slice(), [Write::Claim { .. }]) && step.leaves.len() == 1);

    let other = Digest([77; 32]);
    for bad in [
        VoteBody { digest: other, ..good.clone() },
        VoteBody { intent_digest: other, ..good.clone() },
        VoteBody { bundle: other, ..good.clone() },
        VoteBody { rule: "another".into(), ..good.clone() },
        VoteBody { request_id: RequestId([9; 16]), ..good.clone() },
        VoteBody { tenant: Tenant::parse("other").unwrap(), ..good.clone() },
        VoteBody { signers: vec![name(0)], ..good.clone() },
        VoteBody { signers: vec![name(0), name(7)], ..good.clone() },
        VoteBody { signers: vec![name(0), name(1), name(2)], ..good.clone() },
        VoteBody { signers: vec![name(0), name(0)], ..good.clone() },
        VoteBody { claims: None, ..good.clone() },
    ] {
        assert_eq!(asked(&w, bad.clone()).unwrap_err().reason, Reason::ProtocolViolation, "{bad:?}");
    }
    let day = 86_400_000;
    let skewed = VoteBody { claims: Some(at(0, NOW.plus(day))), ..good };
    assert_eq!(asked(&w, skewed).unwrap_err().reason, Reason::ClockSkew);
    let unlimited = vote_body(&unlimited(&w.admit(&w.note()).unwrap()), &binding(1));
    let no_limit = concur(w.admit(&w.note()).unwrap(), unlimited, &name(2), NOW);
    assert_eq!(no_limit.unwrap_err().reason, Reason::ProtocolViolation, "nobody outside S is asked without a limit");
}

/// Its vote in the session would contradict the one that it gave here, and the proof would name a correct node.
#[test]
fn a_signer_does_not_vote_as_if_it_were_none() {
    let w = World::new();
    for signers in [vec![name(0), name(2)], vec![name(2), name(1)]] {
        let refusal = asked(&w, VoteBody { signers, ..body(&w, 1, 0) }).unwrap_err();
        assert_eq!(refusal.reason, Reason::ProtocolViolation);
        assert_eq!(refusal.metadata["detail"], "a signer votes in the session");
    }
}

#[test]
fn what_is_in_the_way_is_told_with_what_else_is_taken() {
    let mut memory = LineMemory::default();
    let claimant = |n| Claimant { tenant: Tenant::parse("acme").unwrap(), request: RequestId([n; 16]) };
    for (n, from) in [(1, 0), (2, 50)] {
        let claims = at(from, NOW);
        let voted = memory.consider(&claimant(n), &claims.lines()[0], NOW).unwrap();
        memory.keep(voted, charge().window_ms);
    }
    let asked = at(5, NOW);
    let found = in_the_way(&claimant(3), &asked.lines()[0], NOW, &memory).unwrap().unwrap();
    let piece = |from, to| Interval::new(from, to).unwrap();
    assert_eq!((found.line, found.taken), (charge().line, vec![piece(0, 10), piece(50, 60)]));
    assert_eq!(in_the_way(&claimant(1), &at(0, NOW).lines()[0], NOW, &memory), Ok(None));
    let early = UnixMillis(1_000);
    let forgotten = in_the_way(&claimant(3), &at(90, early).lines()[0], early, &memory).unwrap_err();
    assert_eq!(forgotten.reason, Reason::ClockSkew);
    for from in [10, 20, 30] {
        let claims = at(from, NOW);
        let voted = memory.consider(&claimant(3), &claims.lines()[0], NOW).unwrap();
        memory.keep(voted, charge().window_ms);
    }
    let often = in_the_way(&claimant(3), &at(40, NOW).lines()[0], NOW, &memory).unwrap_err();
    assert_eq!(often.reason, Reason::VelocityLimit);
}

#[test]
fn two_votes_for_one_unit_prove_who_gave_both() {
    let w = World::new();
    let roster = w.bundle.roster();
    let (mine, over, beside) = (body(&w, 1, 0), body(&w, 2, 5), body(&w, 2, 10));
    let requests = [RequestId([1; 16]), RequestId([2; 16])];
    let proof = prove(&by(&w, 2, &mine), &by(&w, 2, &over), roster).unwrap();
    assert_eq!(proof, (name(2), Contradiction::Line { line: charge().line, requests }));
    assert_eq!(prove(&by(&w, 2, &mine), &by(&w, 2, &beside), roster), Err(NoProof::NoContradiction));
    assert_eq!(prove(&by(&w, 2, &mine), &by(&w, 1, &over), roster), Err(NoProof::TwoVoters));
    assert_eq!(prove(&by(&w, 2, &mine), &by(&w, 2, &mine), roster), Err(NoProof::NoContradiction));

    let another_time = VoteBody { nonce_binding: Digest([5; 32]), ..mine.clone() };
    let attempt = Contradiction::Attempt { request: requests[0], attempt: Attempt(2) };
    assert_eq!(prove(&by(&w, 0, &mine), &by(&w, 0, &another_time), roster), Ok((name(0), attempt)));
    assert_eq!(prove(&by(&w, 2, &mine), &by(&w, 2, &another_time), roster), Err(NoProof::NoContradiction), "outside S");
    let another_intent = VoteBody { attempt: Attempt(3), intent_digest: Digest([6; 32]), ..mine.clone() };
    let request = Contradiction::Request { request: requests[0] };
    assert_eq!(prove(&by(&w, 2, &mine), &by(&w, 2, &another_intent), roster), Ok((name(2), request)));
}

#[test]
fn a_changed_byte_anywhere_makes_no_proof_and_no_vote() {
    let w = World::new();
    let (mine, over) = (body(&w, 1, 0), body(&w, 2, 5));
    let (first, second) = (by(&w, 2, &mine), by(&w, 2, &over));
    let signed = second.signed.clone().unwrap();
    for at in 0..signed.payload.len() {
        let mut payload = signed.payload.clone();
        payload[at] ^= 1;
        let signed = Some(Envelope { payload, ..signed.clone() });
        let changed = Statement { signed, ..second.clone() };
        assert!(matches!(prove(&first, &changed, w.bundle.roster()), Err(NoProof::Vote(_))), "byte {at}");
    }
}
