//! What persons must approve: which statements a node counts, which of them a vote names, and what it waits for.

use crate::world::*;
use tally_domain::approval::Verdict;
use tally_domain::dsse::{Envelope, content_digest};
use tally_domain::key::KeyState;
use tally_domain::ports::store::{ApprovalRow, ApprovalWrite, Write};
use tally_domain::time::{APPROVED_INTENT_VALIDITY_MAX_MS, CLOCK_TOLERANCE_MS};
use tally_domain::*;
use tally_signer::admit::{self, Opened, Permit, open};
use tally_signer::approval::{Question, Standing, said_step};
use tally_signer::claims::{Binding, claim, vote_body};
use tally_signer::freeze::Freezes;

const HOUR: u64 = 60 * MINUTE;

fn large(w: &World) -> Intent {
    let expires_at = NOW.plus(8 * HOUR);
    Intent { key: KeyName::parse("treasury").unwrap(), expires_at, ..w.payout() }
}

fn opened(w: &World, intent: &Intent, said: &[Envelope]) -> Opened {
    open(&w.bundle, w.seal(intent)).unwrap().with_said(said.to_vec())
}

fn admit(w: &World, intent: &Intent, said: &[Envelope], now: UnixMillis) -> Result<Permit, Refusal> {
    let record = w.record(&intent.key);
    let key = Some((&record, KeyState::Active));
    admit::admit_sign(opened(w, intent, said), key, &Freezes::default(), &w.bundle, now, |_| Ok(Vec::new()))
}

/// What is decided about, without whether it is.
fn asked<T>(w: &World, intent: &Intent, about: impl FnOnce(Question<'_>) -> T) -> T {
    let record = w.record(&intent.key);
    let subject = admit::subject(opened(w, intent, &[]), Some((&record, KeyState::Active))).unwrap();
    about(Question::new(subject.opened(), subject.facts()))
}

fn statement(w: &World, intent: &Intent, person: &str) -> Approval {
    Approval {
        cluster: intent.cluster.clone(),
        tenant: intent.tenant.clone(),
        request_id: intent.request_id,
        intent_digest: opened(w, intent, &[]).digest(),
        summary_digest: asked(w, intent, |q| q.shown(&w.bundle).digest),
        bundle: w.bundle.digest(),
        verdict: Verdict::Approve,
        person: PersonName::parse(person).unwrap(),
        expires_at: intent.expires_at,
    }
}

fn approves(w: &World, intent: &Intent, person: &str) -> Envelope {
    statement(w, intent, person).sign(&person_key(person))
}

fn row(approval: &Approval, envelope: &Envelope, w: &World) -> ApprovalRow {
    let step = said_step(approval, envelope, &w.boots[0], NOW);
    let [Write::Approval(ApprovalWrite::Put(row))] = &*step.writes else { panic!("{step:?}") };
    assert_eq!(step.leaves.len(), 1, "what a person says is in the log");
    row.clone()
}

#[test]
fn enough_persons_make_a_permit_and_a_vote_names_what_they_signed() {
    let w = World::new();
    let intent = large(&w);
    let (alice, bob) = (approves(&w, &intent, "alice"), approves(&w, &intent, "bob"));
    let missing = |said: &[Envelope]| {
        let refusal = admit(&w, &intent, said, NOW).unwrap_err();
        assert_eq!(refusal.reason, Reason::ApprovalsRequired);
        refusal.metadata["missing_1"].clone()
    };
    assert_eq!(missing(&[]), "payouts-large: 2 of treasury");
    assert_eq!(missing(std::slice::from_ref(&alice)), "payouts-large: 1 of treasury");
    let permit = admit(&w, &intent, &[alice.clone(), bob.clone()], NOW).unwrap();
    assert_eq!((permit.rule(), permit.approvals()), ("payouts-large", &[alice.clone(), bob.clone()][..]));
    let binding = Binding {
        attempt: Attempt(1),
        signers: vec![name(0), name(1)],
        nonce: Digest([1; 32]),
        session: Digest([2; 32]),
    };
    let body = vote_body(&claim(permit, None, NOW).unwrap(), &binding);
    assert_eq!(body.approvals, [content_digest(&alice), content_digest(&bob)]);
    assert_eq!(tally_domain::vote::VoteBody::from_bytes(&body.to_bytes()), Ok(body));
    // Where nobody is asked, what was brought along is not voted for.
    let small = w.payout();
    let permit = admit(&w, &small, &[approves(&w, &large(&w), "alice")], NOW).unwrap();
    assert_eq!(permit.approvals(), []);
}

#[test]
fn s_2_2_13_one_void_statement_among_those_proposed_refuses_them_all() {
    let w = World::new();
    let intent = large(&w);
    let good = |person: &str| statement(&w, &intent, person);
    let (alice, bob) = (approves(&w, &intent, "alice"), approves(&w, &intent, "bob"));
    let other = Digest([9; 32]);
    use Reason::*;
    for (what, second, reason) in [
        ("the initiator's", approves(&w, &intent, "carol"), ApprovalInitiator),
        ("with a second key", good("alice").sign(&person_key("alice-2")), AlreadyApproved),
        ("forged", good("bob").sign(&person_key("dora")), ApprovalSignature),
        (
            "of another intent",
            Approval { intent_digest: other, ..good("bob") }.sign(&person_key("bob")),
            ApprovalMismatch,
        ),
        (
            "of another text",
            Approval { summary_digest: other, ..good("bob") }.sign(&person_key("bob")),
            ApprovalMismatch,
        ),
        ("under another bundle", Approval { bundle: other, ..good("bob") }.sign(&person_key("bob")), ApprovalMismatch),
        (
            "of another request",
            Approval { request_id: RequestId([7; 16]), ..good("bob") }.sign(&person_key("bob")),
            ApprovalMismatch,
        ),
        ("expired", Approval { expires_at: NOW, ..good("bob") }.sign(&person_key("bob")), ApprovalExpired),
        (
            "for too long",
            Approval { expires_at: NOW.plus(25 * HOUR), ..good("bob") }.sign(&person_key("bob")),
            ApprovalExpired,
        ),
        ("a rejection", Approval { verdict: Verdict::Reject, ..good("bob") }.sign(&person_key("bob")), Rejected),
        ("of a person who is not asked", approves(&w, &intent, "dora"), ApprovalsRequired),
    ] {
        let refusal = admit(&w, &intent, &[alice.clone(), second], NOW).unwrap_err();
        assert_eq!(refusal.reason, reason, "{what}");
    }
    assert_eq!(
        admit(&w, &intent, &[bob.clone(), alice.clone()], NOW).unwrap_err().reason,
        AlreadyApproved,
        "one order"
    );
    let many = vec![alice.clone(); 33];
    assert_eq!(admit(&w, &intent, &many, NOW).unwrap_err().reason, Malformed);
    // What was enough is not when it has expired.
    let at_its_end = intent.expires_at;
    assert_eq!(admit(&w, &intent, &[alice, bob], at_its_end).unwrap_err().reason, ApprovalExpired);
}

#[test]
fn only_what_persons_approve_may_live_for_a_day() {
    let w = World::new();
    let living = |intent: &Intent, ms| Intent { expires_at: intent.not_before.plus(ms), ..intent.clone() };
    let day = living(&large(&w), APPROVED_INTENT_VALIDITY_MAX_MS);
    assert_eq!(admit(&w, &day, &[], NOW).unwrap_err().reason, Reason::ApprovalsRequired);
    let longer = living(&large(&w), APPROVED_INTENT_VALIDITY_MAX_MS + 1);
    assert_eq!(admit(&w, &longer, &[], NOW).unwrap_err().reason, Reason::ValidityTooLong);
    let small = living(&w.payout(), HOUR);
    assert_eq!(admit(&w, &small, &[], NOW).unwrap_err().reason, Reason::ValidityTooLong);
    let note = living(&w.note(), HOUR);
    assert_eq!(admit(&w, &note, &[], NOW).unwrap_err().reason, Reason::ValidityTooLong);
    let over = day.expires_at.plus(CLOCK_TOLERANCE_MS);
    assert_eq!(admit(&w, &day, &[], over).unwrap_err().reason, Reason::Expired);
}

#[test]
fn a_statement_is_taken_once_a_person_and_a_rejection_ends_it() {
    let w = World::new();
    let intent = large(&w);
    let check = |envelope: &Envelope, known: &[ApprovalRow]| {
        asked(&w, &intent, |q| q.check(&w.bundle, envelope, known, NOW).map_err(|refusal| refusal.reason))
    };
    let standing = |known: &[ApprovalRow]| asked(&w, &intent, |q| q.standing(&w.bundle, known, NOW));
    let alice = approves(&w, &intent, "alice");
    let approval = check(&alice, &[]).unwrap();
    assert_eq!(approval, statement(&w, &intent, "alice"));
    let one = row(&approval, &alice, &w);
    let second_key = statement(&w, &intent, "alice").sign(&person_key("alice-2"));
    assert_eq!(check(&second_key, std::slice::from_ref(&one)), Err(Reason::AlreadyApproved));
    assert!(matches!(standing(std::slice::from_ref(&one)), Standing::Waiting(needs) if needs.len() == 1));
    let bob = approves(&w, &intent, "bob");
    let two = row(&check(&bob, std::slice::from_ref(&one)).unwrap(), &bob, &w);
    assert_eq!(standing(&[one.clone(), two.clone()]), Standing::Approved);
    // Whoever has approved may still say no, and nobody can say yes after that.
    let no = Approval { verdict: Verdict::Reject, ..statement(&w, &intent, "alice") };
    let rejection = no.sign(&person_key("alice"));
    let rejected = row(&check(&rejection, &[one.clone(), two.clone()]).unwrap(), &rejection, &w);
    let all = [one, rejected, two];
    assert_eq!(standing(&all), Standing::Rejected(vec![PersonName::parse("alice").unwrap()]));
    assert_eq!(check(&bob, &all), Err(Reason::Rejected));
    assert_eq!(check(&approves(&w, &intent, "dora"), &[]), Err(Reason::NotAnApprover));
    // What nobody is asked about takes none.
    let small = w.payout();
    let refused = asked(&w, &small, |q| q.check(&w.bundle, &approves(&w, &small, "alice"), &[], NOW));
    assert_eq!(refused.unwrap_err().reason, Reason::NotWaiting);
}
