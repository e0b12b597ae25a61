//! What another node says is the result, and what is believed of it.

use crate::world::*;
use prost::Message as _;
use tally_domain::ports::store::Write;
use tally_domain::vote::VoteBody;
use tally_domain::*;
use tally_signer::admit::Permit;
use tally_signer::claims::{Binding, vote_body};
use tally_signer::result::{SignResult, build, check, complete_step};

fn permit(w: &World) -> Permit {
    w.admit(&w.note()).unwrap()
}

fn body(permit: &Permit, signers: &[usize]) -> VoteBody {
    let binding = Binding {
        attempt: Attempt(1),
        signers: signers.iter().map(|i| name(*i)).collect(),
        nonce: Digest([1; 32]),
        session: Digest([2; 32]),
    };
    vote_body(&unlimited(permit), &binding)
}

fn result(w: &World, permit: &Permit) -> SignResult {
    let subject = permit.subject();
    let certificate = w.certificate(&body(permit, &[0, 1]), &[0, 1]);
    build(subject, permit.rule(), &w.sign(subject), certificate).unwrap()
}

fn believed(w: &World, permit: &Permit, result: &SignResult) -> Result<(), Reason> {
    check(&result.encode_to_vec(), permit.subject(), w.bundle.roster()).map(drop).map_err(|r| r.reason)
}

#[test]
fn a_true_result_is_believed_and_stored_as_it_came() {
    let w = World::new();
    let permit = permit(&w);
    let result = result(&w, &permit);
    let bytes = result.encode_to_vec();
    let read = check(&bytes, permit.subject(), w.bundle.roster()).unwrap();
    assert_eq!(read, result);
    let step = complete_step(permit.subject(), &read, &w.boots[0], NOW);
    assert!(matches!(step.writes.as_slice(), [Write::Complete { result, .. }] if *result == bytes));
    assert_eq!(step.leaves.len(), 1);
}

#[test]
fn no_flipped_bit_of_a_result_is_believed() {
    let w = World::new();
    let permit = permit(&w);
    let bytes = result(&w, &permit).encode_to_vec();
    // The rule is the one field that no signature covers.
    let rule = bytes.windows(5).position(|at| at == permit.rule().as_bytes()).unwrap();
    for at in (0..bytes.len()).filter(|at| !(rule..rule + 5).contains(at)) {
        let mut bad = bytes.clone();
        bad[at] ^= 1 << (at % 8);
        let refused = check(&bad, permit.subject(), w.bundle.roster()).map(drop).map_err(|r| r.reason);
        assert_eq!(refused, Err(Reason::ProtocolViolation), "byte {at}");
    }
    for cut in [0, 1, bytes.len() / 2, bytes.len() - 1] {
        assert!(check(&bytes[..cut], permit.subject(), w.bundle.roster()).is_err());
    }
    let longer = [&bytes[..], &[0x98, 0x06, 0x01]].concat();
    assert!(check(&longer, permit.subject(), w.bundle.roster()).is_err());
}

#[test]
fn the_result_of_another_request_is_not_believed() {
    let w = World::new();
    let permit = permit(&w);
    let mine = result(&w, &permit);
    let others: [fn(&mut Intent); 3] =
        [|i| i.request_id = RequestId([7; 16]), |i| i.content = b"other".to_vec(), |i| i.note = "other".into()];
    for change in others {
        let mut intent = w.note();
        change(&mut intent);
        let other = w.admit(&intent).unwrap();
        assert_eq!(believed(&w, &other, &mine), Err(Reason::ProtocolViolation));
        assert_eq!(believed(&w, &permit, &result(&w, &other)), Err(Reason::ProtocolViolation));
    }
}

#[test]
fn the_signature_of_another_key_is_not_believed_or_built() {
    let w = World::new();
    let permit = permit(&w);
    let stranger = tally_domain::dsse::SigningKey::ed25519(&[77; 32]);
    let signature = stranger.sign(&permit.subject().bytes_to_sign());
    let mut foreign = result(&w, &permit);
    foreign.signature.as_mut().unwrap().bytes.clone_from(&signature);
    assert_eq!(believed(&w, &permit, &foreign), Err(Reason::ProtocolViolation));
    let signature = tally_mpc::Signature::Ed25519(signature.try_into().unwrap());
    let certificate = w.certificate(&body(&permit, &[0, 1]), &[0, 1]);
    let refused = build(permit.subject(), permit.rule(), &signature, certificate).unwrap_err();
    assert_eq!(refused.reason, Reason::Bug);
}

#[test]
fn a_result_needs_the_votes_of_exactly_t_share_holders_for_this_intent() {
    let w = World::new();
    let permit = permit(&w);
    let good = body(&permit, &[0, 1]);
    let with = |body: &VoteBody, voters: &[usize]| {
        let mut bad = result(&w, &permit);
        bad.certificate = Some(w.certificate(body, voters));
        believed(&w, &permit, &bad)
    };
    assert_eq!(with(&good, &[0, 1]), Ok(()));
    assert_eq!(with(&body(&permit, &[1, 2]), &[1, 2]), Ok(()));
    let refused = Err(Reason::ProtocolViolation);
    assert_eq!(with(&good, &[0]), refused, "a vote is missing");
    assert_eq!(with(&good, &[0, 2]), refused, "the votes of others");
    assert_eq!(with(&good, &[0, 1, 1]), refused, "a vote twice");
    assert_eq!(with(&body(&permit, &[0, 1, 2]), &[0, 1, 2]), refused, "more than t");
    assert_eq!(with(&body(&permit, &[0]), &[0]), refused, "fewer than t");
    let elsewhere = Digest([9; 32]);
    assert_eq!(with(&VoteBody { digest: elsewhere, ..good.clone() }, &[0, 1]), refused);
    assert_eq!(with(&VoteBody { intent_digest: elsewhere, ..good.clone() }, &[0, 1]), refused);
    assert_eq!(with(&VoteBody { request_id: RequestId([9; 16]), ..good.clone() }, &[0, 1]), refused);
    assert_eq!(with(&VoteBody { tenant: Tenant::parse("other").unwrap(), ..good }, &[0, 1]), refused);
    let mut none = result(&w, &permit);
    none.certificate = None;
    assert_eq!(believed(&w, &permit, &none), refused);
}
