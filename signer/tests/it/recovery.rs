//! What is done with what earlier attempts left (G3, G4).

use crate::world::*;
use tally_domain::boot::Statement;
use tally_domain::vote::{Abandonment, VoteBody};
use tally_domain::*;
use tally_signer::claims::{Binding, vote_body};
use tally_signer::recovery::{End, Next, Report, next, proves_dead};

fn vote(w: &World, attempt: u32, signers: &[usize]) -> VoteBody {
    let permit = w.admit(&w.note()).unwrap();
    let binding = Binding {
        attempt: Attempt(attempt),
        signers: signers.iter().map(|i| name(*i)).collect(),
        nonce: Digest::of(&[u8::try_from(attempt).unwrap(), u8::try_from(signers[0]).unwrap()]),
        session: Digest([2; 32]),
    };
    vote_body(&unlimited(&permit), &binding)
}

fn promise(w: &World, who: usize, attempt: u32) -> Statement {
    let vote = vote(w, attempt, &[0, 1]);
    Abandonment { tenant: vote.tenant, request_id: vote.request_id, attempt: Attempt(attempt) }
        .sign(w.boots[who].key(), w.boots[who].cert())
}

fn abandoned(w: &World, who: usize, attempt: u32, signers: &[usize]) -> Report {
    Report { node: name(who), vote: vote(w, attempt, signers), end: End::Abandoned(promise(w, who, attempt)) }
}

fn released(w: &World, who: usize, attempt: u32, signers: &[usize]) -> Report {
    let vote = vote(w, attempt, signers);
    let certificate = w.certificate(&vote, signers);
    Report { node: name(who), vote, end: End::Released { partial: vec![u8::try_from(who).unwrap()], certificate } }
}

fn start(attempt: u32, abandonments: Vec<Statement>) -> Next {
    Next::Start { attempt: Attempt(attempt), abandonments }
}

fn in_doubt(attempt: u32, missing: &[usize]) -> Next {
    Next::InDoubt { attempt: Attempt(attempt), missing: missing.iter().map(|i| name(*i)).collect() }
}

fn combine(w: &World, attempt: u32, signers: &[usize]) -> Next {
    let vote = vote(w, attempt, signers);
    Next::Combine {
        certificate: w.certificate(&vote, signers),
        vote: Box::new(vote),
        partials: signers.iter().map(|i| (name(*i), vec![u8::try_from(*i).unwrap()])).collect(),
    }
}

#[test]
fn next_depends_on_how_every_attempt_ended() {
    let w = World::new();
    let (first, second) = (promise(&w, 0, 1), promise(&w, 1, 2));
    let table: Vec<(&str, Vec<Report>, Next)> = vec![
        ("nobody knows of any", vec![], start(1, vec![])),
        ("one promise ends an attempt", vec![abandoned(&w, 0, 1, &[0, 1])], start(2, vec![first.clone()])),
        (
            "also when the other has released",
            vec![released(&w, 1, 1, &[0, 1]), abandoned(&w, 0, 1, &[0, 1])],
            start(2, vec![first.clone()]),
        ),
        (
            "each attempt needs its own",
            vec![abandoned(&w, 0, 1, &[0, 1]), abandoned(&w, 1, 2, &[1, 2])],
            start(3, vec![first.clone(), second.clone()]),
        ),
        ("only one has been heard", vec![released(&w, 1, 1, &[0, 1])], in_doubt(1, &[0])),
        ("all have released", vec![released(&w, 1, 1, &[0, 1]), released(&w, 0, 1, &[0, 1])], combine(&w, 1, &[0, 1])),
        (
            "an end after a dead attempt",
            vec![abandoned(&w, 0, 1, &[0, 1]), released(&w, 1, 2, &[1, 2]), released(&w, 2, 2, &[1, 2])],
            combine(&w, 2, &[1, 2]),
        ),
        (
            "a later promise does not end an earlier attempt",
            vec![released(&w, 0, 1, &[0, 1]), abandoned(&w, 1, 2, &[1, 2])],
            in_doubt(1, &[1]),
        ),
    ];
    for (what, reports, expected) in table {
        assert_eq!(next(&reports), expected, "{what}");
    }
}

/// Node 1 voted for attempt 1 with node 3 and was cut off; node 3, which had not, then made attempt 1 with node 2.
#[test]
fn a_promise_ends_only_what_its_maker_was_needed_for() {
    let w = World::new();
    let cut_off = abandoned(&w, 0, 1, &[0, 2]);
    let both = [released(&w, 1, 1, &[1, 2]), released(&w, 2, 1, &[1, 2])];
    for reports in
        [[std::slice::from_ref(&cut_off), &both[..]].concat(), [&both[..], std::slice::from_ref(&cut_off)].concat()]
    {
        assert_eq!(next(&reports), combine(&w, 1, &[1, 2]));
    }
    assert_eq!(next(&[cut_off.clone(), both[0].clone()]), in_doubt(1, &[2]));
    // Both sets are dead when a node of each has promised, and both promises are shown.
    let other = abandoned(&w, 1, 1, &[1, 2]);
    assert_eq!(next(&[cut_off.clone(), other]), start(2, vec![promise(&w, 0, 1), promise(&w, 1, 1)]));
    // A node that both sets needed ends both with one.
    let needed = abandoned(&w, 2, 1, &[1, 2]);
    assert_eq!(next(&[both[0].clone(), needed.clone()]), start(2, vec![promise(&w, 2, 1)]));
    assert_eq!(next(&[cut_off, needed]), start(2, vec![promise(&w, 0, 1), promise(&w, 2, 1)]));
}

#[test]
fn an_attempt_number_at_the_end_does_not_wrap() {
    let w = World::new();
    let mut last = abandoned(&w, 0, 1, &[0, 1]);
    last.vote.attempt = Attempt(u32::MAX);
    assert!(matches!(next(&[last]), Next::Start { attempt: Attempt(u32::MAX), .. }));
}

#[test]
fn a_new_attempt_is_voted_for_only_when_every_earlier_own_one_is_proved_dead() {
    let w = World::new();
    let permit = w.admit(&w.note()).unwrap();
    let dead = |voted: &[(u32, &[usize])], attempt: u32, promises: &[Statement]| {
        let voted: Vec<_> = voted
            .iter()
            .map(|(a, signers)| (Attempt(*a), signers.iter().map(|i| name(*i)).collect::<Vec<_>>()))
            .collect();
        proves_dead(&voted, Attempt(attempt), permit.subject(), promises, w.bundle.roster())
    };
    assert!(dead(&[], 1, &[]));
    assert!(dead(&[(2, &[0, 1])], 2, &[]), "only earlier attempts matter");
    assert!(!dead(&[(1, &[0, 1])], 2, &[]));
    assert!(dead(&[(1, &[0, 1])], 2, &[promise(&w, 0, 1)]));
    assert!(!dead(&[(1, &[0, 1])], 2, &[promise(&w, 0, 2)]), "of another attempt");
    assert!(!dead(&[(1, &[0, 1])], 2, &[promise(&w, 2, 1)]), "of a node that was not needed");
    assert!(!dead(&[(1, &[0, 1]), (2, &[1, 2])], 3, &[promise(&w, 0, 1)]), "one of two");
    assert!(dead(&[(1, &[0, 1]), (2, &[1, 2])], 3, &[promise(&w, 2, 2), promise(&w, 0, 1)]));

    let other = |change: fn(&mut Abandonment)| {
        let vote = vote(&w, 1, &[0, 1]);
        let mut promise = Abandonment { tenant: vote.tenant, request_id: vote.request_id, attempt: Attempt(1) };
        change(&mut promise);
        promise.sign(w.boots[0].key(), w.boots[0].cert())
    };
    assert!(!dead(&[(1, &[0, 1])], 2, &[other(|p| p.request_id = RequestId([8; 16]))]));
    assert!(!dead(&[(1, &[0, 1])], 2, &[other(|p| p.tenant = Tenant::parse("other").unwrap())]));
    let mut forged = promise(&w, 0, 1);
    forged.signed.as_mut().unwrap().signatures[0].signature[0] ^= 1;
    assert!(!dead(&[(1, &[0, 1])], 2, &[forged]));
}
