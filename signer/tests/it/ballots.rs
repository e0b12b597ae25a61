//! Votes that count and votes that do not.

use crate::world::*;
use tally_domain::boot::{BadStatement, Statement};
use tally_domain::dsse::SigningKey;
use tally_domain::ports::store::Write;
use tally_domain::vote::{Abandonment, VoteBody};
use tally_domain::*;
use tally_signer::boot::{BootIdentity, Uncertified};
use tally_signer::claims::{BadVote, Ballot, Binding, Unclosed, vote, vote_body};

fn body(w: &World) -> VoteBody {
    let permit = w.admit(&w.note()).unwrap();
    let binding = Binding {
        attempt: Attempt(2),
        signers: vec![name(0), name(1)],
        nonce: Digest([1; 32]),
        session: Digest([2; 32]),
    };
    vote_body(&unlimited(&permit), &binding)
}

fn by(boot: &BootIdentity, body: &VoteBody) -> Statement {
    body.sign(boot.key(), boot.cert())
}

fn ballot(w: &World) -> Ballot {
    Ballot::open(body(w), name(0), by(&w.boots[0], &body(w)), w.bundle.roster().into())
}

#[test]
fn the_votes_of_all_of_s_make_a_certificate() {
    let w = World::new();
    let roster = w.bundle.roster();
    let mut ballot = ballot(&w);
    assert_eq!(ballot.missing(), [name(1)]);
    ballot.add(&name(1), by(&w.boots[1], &body(&w)), roster).unwrap();
    assert_eq!(ballot.missing(), []);
    let certified = ballot.close(NOW).unwrap();
    assert_eq!(*certified.body(), body(&w));
    assert_eq!(certified.certificate().open(roster), Ok(body(&w)));
}

#[test]
fn the_bytes_of_a_certificate_do_not_depend_on_who_made_it() {
    let w = World::new();
    let made_by = |me: usize, other: usize| {
        let mut ballot = Ballot::open(body(&w), name(me), by(&w.boots[me], &body(&w)), w.bundle.roster().into());
        ballot.add(&name(other), by(&w.boots[other], &body(&w)), w.bundle.roster()).unwrap();
        ballot.close(NOW).unwrap().certificate().clone()
    };
    assert_eq!(made_by(0, 1), made_by(1, 0));
}

/// Key ids are outside the signatures, and votes are within results, which are the same bytes everywhere.
#[test]
fn a_vote_that_names_another_key_than_has_signed_it_does_not_count() {
    let w = World::new();
    let honest = by(&w.boots[1], &body(&w));
    let (mut signed, mut certified) = (honest.clone(), honest.clone());
    signed.signed.as_mut().unwrap().signatures[0].key_id.push('0');
    certified.boot_cert.as_mut().unwrap().signatures[0].key_id.clear();
    for lies in [signed, certified] {
        let mut ballot = ballot(&w);
        assert_eq!(ballot.add(&name(1), lies.clone(), w.bundle.roster()), Err(BadVote::Hint));
        assert_eq!(ballot.add_passed_on(lies, w.bundle.roster()), Err(BadVote::Hint));
        ballot.add(&name(1), honest.clone(), w.bundle.roster()).unwrap();
    }
}

#[test]
fn without_every_vote_there_is_no_certificate() {
    let w = World::new();
    assert_eq!(ballot(&w).close(NOW).err(), Some(Unclosed::Missing));
    // The same vote again counts once.
    let mut again = ballot(&w);
    again.add(&name(0), by(&w.boots[0], &body(&w)), w.bundle.roster()).unwrap();
    assert_eq!(again.missing(), [name(1)]);
    assert_eq!(again.close(NOW).err(), Some(Unclosed::Missing));
}

#[test]
fn a_vote_for_anything_else_does_not_count_and_says_whose_fault_it_is() {
    let w = World::new();
    let mine = body(&w);
    let elsewhere = Digest([9; 32]);
    let others = [
        (true, VoteBody { tenant: Tenant::parse("other").unwrap(), ..mine.clone() }),
        (true, VoteBody { request_id: RequestId([9; 16]), ..mine.clone() }),
        (true, VoteBody { attempt: Attempt(3), ..mine.clone() }),
        (true, VoteBody { signers: vec![name(1), name(2)], ..mine.clone() }),
        (true, VoteBody { digest: elsewhere, ..mine.clone() }),
        (true, VoteBody { session: elsewhere, ..mine.clone() }),
        (true, VoteBody { bundle: elsewhere, ..mine.clone() }),
        (true, VoteBody { bundle: elsewhere, nonce_binding: elsewhere, ..mine.clone() }),
        (false, VoteBody { intent_digest: elsewhere, ..mine.clone() }),
        (false, VoteBody { nonce_binding: elsewhere, ..mine }),
    ];
    for (own_words, other) in others {
        let mut ballot = ballot(&w);
        let refused = ballot.add(&name(1), by(&w.boots[1], &other), w.bundle.roster());
        assert_eq!(refused, Err(BadVote::Differs { own_words }), "{other:?}");
        assert_eq!(ballot.missing(), [name(1)]);
    }
}

#[test]
fn s_3_20_a_vote_counts_only_for_the_node_that_sent_it() {
    let w = World::new();
    let refused = ballot(&w).add(&name(1), by(&w.boots[0], &body(&w)), w.bundle.roster());
    assert_eq!(refused, Err(BadVote::NotTheSenders));
}

#[test]
fn a_vote_is_believed_only_under_a_boot_key_that_the_nodes_identity_certified() {
    let w = World::new();
    let add = |vote: Statement| ballot(&w).add(&name(1), vote, w.bundle.roster());
    let signature = Err(BadVote::Statement(BadStatement::Signature));
    let forged = Uncertified::new(ClusterId::parse("test").unwrap(), name(1), Incarnation(2), &[7; 32]);
    let wrong = SigningKey::ed25519(&[8; 32]);
    let by_wrong_token = wrong.sign(&forged.to_sign());
    let forged = forged.certified(wrong.verifying_key().to_string(), by_wrong_token);
    assert_eq!(add(by(&forged, &body(&w))), signature);
    // The certificate of one start with the key of another.
    let reboot = w.reboot(1, 2);
    assert_eq!(add(body(&w).sign(reboot.key(), w.boots[1].cert())), signature);
    assert_eq!(add(by(&reboot, &body(&w))), Ok(()));
    // A statement of another kind with the bytes of a vote.
    let other_kind = Statement::sign("application/x", body(&w).to_bytes(), w.boots[1].key(), w.boots[1].cert());
    assert_eq!(add(other_kind), signature);
    let promise = Abandonment { tenant: body(&w).tenant, request_id: body(&w).request_id, attempt: Attempt(2) };
    assert_eq!(add(promise.sign(w.boots[1].key(), w.boots[1].cert())), signature);
    let elsewhere = Uncertified::new(ClusterId::parse("elsewhere").unwrap(), name(1), Incarnation(1), &[7; 32]);
    let elsewhere = elsewhere.certified(String::new(), Vec::new());
    assert_eq!(add(by(&elsewhere, &body(&w))), Err(BadVote::Statement(BadStatement::UnknownNode)));
    let empty = Statement { signed: None, boot_cert: None };
    assert_eq!(add(empty), Err(BadVote::Statement(BadStatement::Malformed)));
}

#[test]
fn the_step_of_a_vote_writes_exactly_the_vote_that_leaves() {
    let w = World::new();
    let (statement, step) = vote(&body(&w), &w.boots[0], NOW);
    let [Write::Vote { attempt, statement: written, body: asked }] = step.writes.as_slice() else {
        panic!("{:?}", step.writes)
    };
    assert_eq!((attempt.attempt, asked), (Attempt(2), &body(&w).to_bytes()));
    assert_eq!(*written, prost::Message::encode_to_vec(&statement));
    assert_eq!(step.leaves.len(), 1);
}
