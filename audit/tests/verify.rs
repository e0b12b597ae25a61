//! The offline check finds what a thief, a liar or a disk can do to one log.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "tests fail loudly")]

#[path = "support/world.rs"]
mod world;

use k256::elliptic_curve::ops::Reduce;
use tally_audit::event::{Event, Verdict, What};
use tally_audit::export::{encode_entries, parse_entries};
use tally_audit::verify::{ExportedLog, Finding, Oddity, Problem, verify_log};
use tally_domain::boot::BadStatement;
use tally_domain::intent::BadIntent;
use tally_domain::*;
use world::*;

fn check(w: &World, log: &ExportedLog) -> Result<tally_audit::verify::Report, Vec<Finding>> {
    verify_log(&w.roster, &log.node, &log.entries, &log.checkpoint)
}

/// The problems of a log that node 1 wrote and signed like this.
fn problems(w: &World, log: Vec<What>) -> Vec<Problem> {
    check(w, &w.export(0, log)).unwrap_err().into_iter().map(|f| f.problem).collect()
}

#[test]
fn honest_logs_verify_and_the_report_counts_what_is_there() {
    let w = World::new();
    let report = check(&w, &w.export(0, w.honest(0))).unwrap();
    assert_eq!((report.entries, report.intents, report.releases, report.signatures, report.keys), (18, 3, 2, 2, 2));
    assert_eq!(report.permits.len(), 2);
    assert_eq!(report.permits[0].rule, "payouts-small");
    let [refused] = report.refusals.as_slice() else { panic!("one refusal") };
    assert_eq!((refused.request_id, refused.reason.as_str()), (request(3), "POLICY_DENIED"));
    assert_eq!((refused.rule.as_str(), refused.leaf), ("payouts-small", 15));
    assert_eq!(report.warnings, []);
    // The third node, with a P-256 identity, took no part: it holds signatures without certificates.
    let report = check(&w, &w.export(2, w.honest(2))).unwrap();
    assert_eq!((report.releases, report.signatures), (0, 2));
}

#[test]
fn s_5_1_every_flipped_byte_of_the_exported_entries_is_found() {
    let w = World::new();
    let log = w.export(0, vec![w.boot(0), w.received(&w.intent(3, HOT)), w.abandoned(0, 4, 1)]);
    let bytes = encode_entries(log.entries.iter().map(Vec::as_slice)).unwrap();
    assert_eq!(parse_entries(&bytes).unwrap(), log.entries);
    check(&w, &log).unwrap();
    for i in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[i] ^= 1 << (i % 8);
        let Ok(entries) = parse_entries(&bad) else { continue };
        assert!(verify_log(&w.roster, &log.node, &entries, &log.checkpoint).is_err(), "byte {i}");
    }
}

#[test]
fn s_5_1_every_flipped_bit_of_the_checkpoint_is_found() {
    let w = World::new();
    for node in [0, 2] {
        let log = w.export(node, vec![w.boot(node)]);
        check(&w, &log).unwrap();
        for i in 0..log.checkpoint.len() {
            for bit in 0..8 {
                let mut bad = log.checkpoint.clone().into_bytes();
                bad[i] ^= 1 << bit;
                let Ok(bad) = String::from_utf8(bad) else { continue };
                assert!(verify_log(&w.roster, &log.node, &log.entries, &bad).is_err(), "byte {i} bit {bit}");
            }
        }
    }
}

#[test]
fn a_node_that_signs_its_forged_signature_leaf_is_found() {
    let w = World::new();
    let honest = w.export(0, w.honest(0));
    let at = 8;
    let event = Event::from_leaf(&honest.entries[at]).unwrap();
    let What::Completed { signature, public_key, to_sign, intent_digest, .. } = event.what else { panic!("completed") };
    for part in [&signature, &public_key, &to_sign, &intent_digest.0.to_vec()] {
        let leaf = &honest.entries[at];
        let from = leaf.windows(part.len()).position(|p| p == part.as_slice()).unwrap();
        for i in from..from + part.len() {
            let mut entries = honest.entries.clone();
            entries[at][i] ^= 1 << (i % 8);
            assert!(check(&w, &w.seal(0, entries)).is_err(), "byte {i}");
        }
    }
}

#[test]
fn truncated_reordered_and_foreign_leaves_are_found() {
    let w = World::new();
    let honest = w.export(0, w.honest(0));
    let find = |entries: Vec<Vec<u8>>, checkpoint: &str| {
        verify_log(&w.roster, &honest.node, &entries, checkpoint).unwrap_err().remove(0).problem
    };
    let mut cut = honest.entries.clone();
    cut.pop();
    assert_eq!(find(cut, &honest.checkpoint), Problem::Size { checkpoint: 18, entries: 17 });
    let mut moved = honest.entries.clone();
    moved.swap(14, 17);
    assert!(matches!(find(moved, &honest.checkpoint), Problem::Root { .. }));
    // The same, signed again by the node: the order is still wrong where leaves depend on each other.
    let mut moved = honest.entries.clone();
    moved.swap(6, 7);
    let signed = w.seal(0, moved);
    assert!(matches!(find(signed.entries, &signed.checkpoint), Problem::ReleaseWithoutVote { .. }));
    let other = w.export(1, w.honest(1));
    let mut mixed = honest.entries.clone();
    mixed.push(other.entries[17].clone());
    let mixed = w.seal(0, mixed);
    assert_eq!(find(mixed.entries, &mixed.checkpoint), Problem::OtherNode { said: node_name(1) });
    assert!(verify_log(&w.roster, &node_name(0), &other.entries, &other.checkpoint).is_err());
    assert!(verify_log(&w.roster, &node_name(7), &honest.entries, &honest.checkpoint).is_err());
}

#[test]
fn what_was_permitted_was_signed_by_a_known_client() {
    let w = World::new();
    let intent = w.intent(1, HOT);
    assert_eq!(
        problems(&w, vec![w.boot(0), w.permitted(&intent)]),
        [Problem::PermitWithoutIntent { request: request(1) }]
    );

    let forged = |permit: bool| {
        let What::IntentReceived { mut envelope, from, digest } = w.received(&intent) else { panic!("intent") };
        envelope.signatures[0].signature[5] ^= 1;
        let verdict = Verdict::Refused { reason: "INTENT_SIGNATURE".into(), rule: "".into(), condition: "".into() };
        let decision = if permit { w.permitted(&intent) } else { decided(&intent, verdict) };
        vec![w.boot(0), What::IntentReceived { envelope, from, digest }, decision]
    };
    assert_eq!(problems(&w, forged(true)), [Problem::Intent(BadIntent::Signature)]);
    check(&w, &w.export(0, forged(false))).unwrap();

    let mut stranger = intent.clone();
    stranger.client = ClientId::parse("stranger").unwrap();
    assert!(matches!(
        problems(&w, vec![w.boot(0), w.received(&stranger), w.permitted(&stranger)])[..],
        [Problem::UnknownClient { .. }]
    ));
    let mut tenant = intent.clone();
    tenant.tenant = Tenant::parse("other").unwrap();
    assert!(matches!(
        problems(&w, vec![w.boot(0), w.received(&tenant), w.permitted(&tenant)])[..],
        [Problem::OtherTenant { .. }]
    ));
    let What::IntentReceived { envelope, from, .. } = w.received(&intent) else { panic!("intent") };
    let wrong = What::IntentReceived { envelope, from, digest: Digest::of(b"other") };
    assert_eq!(problems(&w, vec![w.boot(0), wrong]), [Problem::IntentDigest]);

    // A forged copy that came first does not spoil the good one.
    let mut log = forged(false);
    log.extend([w.received(&intent), w.permitted(&intent)]);
    check(&w, &w.export(0, log)).unwrap();
    let What::Decided { tenant, intent_digest, verdict, bundle, summary, .. } = w.permitted(&intent) else {
        panic!("decided")
    };
    let other =
        What::Decided { tenant, request_id: request(2), intent_digest, verdict, bundle, summary, limits: Vec::new() };
    assert_eq!(
        problems(&w, vec![w.boot(0), w.received(&intent), other]),
        [Problem::IntentMismatch { request: request(2), field: "request_id" }]
    );
}

#[test]
fn votes_and_releases_follow_permits_and_certificates() {
    let w = World::new();
    let intent = w.intent(1, HOT);
    let body = w.vote_body(&intent, 1, &[0, 1]);
    let vote = |i| What::Voted { vote: w.vote(i, &body) };
    let not_permitted = vec![w.boot(0), w.received(&intent), vote(0)];
    assert_eq!(problems(&w, not_permitted), [Problem::VoteNotPermitted { request: request(1) }]);
    let begin = || vec![w.boot(0), w.received(&intent), w.permitted(&intent)];
    let with = |more: Vec<What>| problems(&w, begin().into_iter().chain(more).collect());
    assert_eq!(with(vec![vote(1)]), [Problem::OtherVoter { voter: node_name(1) }]);
    assert_eq!(with(vec![w.released(&body, &[0, 1], b"p")]), [Problem::ReleaseWithoutVote { request: request(1) }]);

    // A vote of all of S but one, a vote of a stranger to S, a flipped signature.
    assert!(matches!(with(vec![vote(0), w.released(&body, &[0], b"p")])[..], [Problem::Certificate(_)]));
    assert!(matches!(with(vec![vote(0), w.released(&body, &[0, 2], b"p")])[..], [Problem::Certificate(_)]));
    let What::Released { tenant, request_id, attempt, mut certificate, partial_digest } =
        w.released(&body, &[0, 1], b"p")
    else {
        panic!("released")
    };
    certificate.votes[1].signed.as_mut().unwrap().signatures[0].signature[9] ^= 1;
    let forged = What::Released { tenant, request_id, attempt, certificate, partial_digest };
    assert!(matches!(with(vec![vote(0), forged])[..], [Problem::Certificate(_)]));

    let What::Released { tenant, request_id, certificate, partial_digest, .. } = w.released(&body, &[0, 1], b"p")
    else {
        panic!("released")
    };
    let attempt = Attempt(2);
    let moved = What::Released { tenant, request_id, attempt, certificate, partial_digest };
    assert_eq!(with(vec![vote(0), moved]), [Problem::OtherCertificate { request: request(1), attempt }]);
    let mut differs = body.clone();
    differs.session = Digest::of(b"other");
    assert_eq!(
        with(vec![vote(0), w.released(&differs, &[0, 1], b"p")]),
        [
            Problem::ReleaseWithoutVote { request: request(1) },
            Problem::TwoVotes { voter: node_name(0), request: request(1), attempt: Attempt(1) }
        ]
    );

    let others = w.vote_body(&intent, 1, &[1, 2]);
    assert_eq!(with(vec![w.released(&others, &[1, 2], b"p")]), [Problem::NotASigner]);
    let twice = vec![vote(0), w.released(&body, &[0, 1], b"p"), w.released(&body, &[0, 1], b"q")];
    assert_eq!(with(twice), [Problem::TwoPartials { request: request(1) }]);
    let promised = vec![w.abandoned(0, 1, 1), vote(0), w.released(&body, &[0, 1], b"p")];
    assert!(matches!(with(promised)[..], [Problem::ReleasedAndAbandoned { .. }]));
}

#[test]
fn s_3_4_one_digest_for_a_request_and_one_certificate_for_a_nonce() {
    let w = World::new();
    let mut log = w.honest(0);
    let intent = w.intent(1, HOT);
    let mut second = w.vote_body(&intent, 2, &[0, 1]);
    second.digest = Digest::of(b"other");
    log.push(What::Voted { vote: w.vote(0, &second) });
    log.push(w.released(&second, &[0, 1], b"p"));
    assert_eq!(problems(&w, log), [Problem::TwoDigests { request: request(1), other: node_name(0) }]);

    let mut log = w.honest(0);
    let mut second = w.vote_body(&intent, 2, &[0, 1]);
    second.nonce_binding = w.vote_body(&intent, 1, &[0, 1]).nonce_binding;
    log.push(What::Voted { vote: w.vote(0, &second) });
    log.push(w.released(&second, &[0, 1], b"partial"));
    assert_eq!(problems(&w, log), [Problem::NonceReused { request: request(1), other: request(1) }]);

    let mut log = w.honest(0);
    let mut second = w.vote_body(&intent, 1, &[0, 1]);
    second.session = Digest::of(b"other");
    log.push(What::Voted { vote: w.vote(0, &second) });
    assert_eq!(
        problems(&w, log),
        [Problem::TwoVotes { voter: node_name(0), request: request(1), attempt: Attempt(1) }]
    );
}

#[test]
fn signatures_verify_are_certified_and_are_one_for_a_request() {
    let w = World::new();
    let intent = w.intent(1, HOT);
    let with = |more: Vec<What>| problems(&w, w.honest(0).into_iter().chain(more).collect());
    // Really signed, but not what the certificate says.
    let other = w.completed_over(&intent, Digest::of(b"other").0.to_vec());
    assert_eq!(
        with(vec![other]),
        [
            Problem::TwoSignatures { request: request(1), other: node_name(0) },
            Problem::NotCertified { request: request(1) }
        ]
    );
    // The same signature in its high-s form.
    let What::Completed { tenant, request_id, intent_digest, key, path, signature, public_key, to_sign } =
        w.completed(&intent)
    else {
        panic!("completed")
    };
    let low = k256::ecdsa::Signature::from_slice(&signature).unwrap();
    let high = k256::ecdsa::Signature::from_scalars(low.r(), -low.s()).unwrap().to_vec();
    let leaf = |signature: Vec<u8>, public_key: Vec<u8>, path| What::Completed {
        tenant: tenant.clone(),
        request_id,
        intent_digest,
        key: key.clone(),
        path,
        signature,
        public_key,
        to_sign: to_sign.clone(),
    };
    assert_eq!(with(vec![leaf(high, public_key.clone(), path.clone())]), [Problem::Signature { request: request(1) }]);
    // Another path than the intent's, and so not the child that signed.
    let elsewhere = with(vec![leaf(signature, public_key, DerivationPath::parse("m/0/8").unwrap())]);
    assert_eq!(
        elsewhere,
        [
            Problem::IntentMismatch { request: request(1), field: "path" },
            Problem::OtherKey { request: request(1), key: key_name(HOT) }
        ]
    );
}

#[test]
fn s_3_13_one_nonce_point_for_two_requests_of_a_key_is_found() {
    let w = World::new();
    for key in [HOT, NOTES] {
        let mut log = vec![w.boot(0), w.key_active(key)];
        for n in [5, 6] {
            // The deterministic signatures of one message are the same, and so is their nonce.
            let mut intent = w.intent(n, key);
            intent.content = vec![5, 5];
            log.extend(w.request_at(0, &intent, &[0, 1]));
            log.push(w.completed(&intent));
        }
        let same = Problem::SameNonce { key: key_name(key), request: request(6), other: request(5) };
        assert_eq!(problems(&w, log), [same]);
    }
}

#[test]
fn s_3_13_two_signatures_of_one_request_with_one_nonce_are_found() {
    let w = World::new();
    let intent = w.intent(1, HOT);
    let What::Completed { signature, to_sign, .. } = w.completed(&intent) else { panic!("completed") };
    let other = Digest::of(b"other").0;
    let mut second = w.completed_over(&intent, other.to_vec());
    // Whoever has the private key can solve for the nonce and use it again: k = (z + r d) / s.
    let first = k256::ecdsa::Signature::from_slice(&signature).unwrap();
    let scalar =
        |bytes: &[u8]| <k256::Scalar as Reduce<k256::FieldBytes>>::reduce(&k256::FieldBytes::try_from(bytes).unwrap());
    let d = *w.child(&intent.path).private_key().as_nonzero_scalar().as_ref();
    let (r, s) = (*first.r().as_ref(), *first.s().as_ref());
    let k = (scalar(&to_sign) + r * d) * s.invert().unwrap();
    let again = (scalar(&other) + r * d) * k.invert().unwrap();
    let reused = k256::ecdsa::Signature::from_scalars(r, again).unwrap().normalize_s();
    let What::Completed { signature, .. } = &mut second else { panic!("completed") };
    *signature = reused.to_vec();
    let found = problems(&w, w.honest(0).into_iter().chain([second]).collect());
    assert_eq!(found[0], Problem::SameNonce { key: key_name(HOT), request: request(1), other: request(1) });
    assert_eq!(found[1], Problem::TwoSignatures { request: request(1), other: node_name(0) });
}

#[test]
fn s_3_24_keys_are_certified_by_all_and_are_one_for_a_name() {
    let w = World::new();
    let mut half = w.key_certificate(&w.record(HOT));
    half.statements.pop();
    let log = vec![w.boot(0), What::KeyActive { certificate: half }];
    assert_eq!(problems(&w, log), [Problem::Key(BadStatement::Malformed)]);
    let mut other = w.record(HOT);
    other.public_key = w.record(NOTES).public_key;
    let log = vec![w.boot(0), w.key_active(HOT), What::KeyActive { certificate: w.key_certificate(&other) }];
    assert_eq!(problems(&w, log), [Problem::TwoKeys { key: key_name(HOT), other: node_name(0) }]);
    let mut shares = w.record(HOT);
    shares.public_shares[0][5] ^= 1;
    let log = vec![w.boot(0), w.key_active(HOT), What::KeyActive { certificate: w.key_certificate(&shares) }];
    assert_eq!(problems(&w, log), [Problem::TwoKeys { key: key_name(HOT), other: node_name(0) }]);
    shares.epoch = Epoch(2);
    let log = vec![w.boot(0), w.key_active(HOT), What::KeyActive { certificate: w.key_certificate(&shares) }];
    assert_eq!(check(&w, &w.export(0, log)).unwrap().keys, 1);
    let mut without = w.record(HOT);
    without.participants[0] = node_name(8);
    let log = vec![w.boot(0), What::KeyPending { record: without.to_bytes() }];
    assert_eq!(problems(&w, log), [Problem::NotAParticipant { key: key_name(HOT) }]);
    let mut cluster = w.record(HOT);
    cluster.cluster = ClusterId::parse("other").unwrap();
    let log = vec![w.boot(0), What::KeyActive { certificate: w.key_certificate(&cluster) }];
    assert_eq!(problems(&w, log), [Problem::OtherCluster { key: key_name(HOT) }]);
    // Without the key's certificate a signature is only worth what its leaf says: a warning.
    let report = check(&w, &w.export(2, vec![w.boot(2), w.completed(&w.intent(1, HOT))])).unwrap();
    assert_eq!(report.warnings[0].what, Oddity::KeyElsewhere { key: key_name(HOT) });
}

#[test]
fn s_3_5_starts_only_count_up_and_leaves_belong_to_the_last_one() {
    let w = World::new();
    let (second, key, cert) = w.second_boot(0);
    let intent = w.intent(1, HOT);
    let body = w.vote_body(&intent, 1, &[0, 1]);
    let begin = [w.boot(0), second.clone(), w.received(&intent), w.permitted(&intent)];
    let log = |vote| begin.iter().cloned().chain([What::Voted { vote }]).collect::<Vec<_>>();
    check(&w, &w.export(0, log(body.sign(&key, &cert)))).unwrap();
    // A vote under the boot key of the start before is a clone's.
    assert_eq!(problems(&w, log(w.vote(0, &body))), [Problem::OtherVoter { voter: node_name(0) }]);

    assert_eq!(problems(&w, vec![second.clone()]), [Problem::OtherBoot]);
    let mut events = w.events(0, vec![w.boot(0), second, w.received(&intent)]);
    events[2].incarnation = Incarnation(1);
    let signed = w.seal(0, events.iter().map(Event::to_leaf).collect());
    let found = check(&w, &signed).unwrap_err();
    assert_eq!(found[0].problem, Problem::NotBooted { said: Incarnation(1) });
    events.swap(0, 1);
    let swapped = w.seal(0, events.iter().take(2).map(Event::to_leaf).collect());
    let found = check(&w, &swapped).unwrap_err();
    assert_eq!(found[0].problem, Problem::BootNotNewer { before: Incarnation(2), now: Incarnation(1) });

    let mut events = w.events(0, w.honest(0));
    events[5].time = UnixMillis(1);
    let report = check(&w, &w.seal(0, events.iter().map(Event::to_leaf).collect())).unwrap();
    assert_eq!(report.warnings[0].what, Oddity::ClockWentBack { ms: 1_003 });
    // Two steps that waited for the disk together.
    let mut events = w.events(0, w.honest(0));
    events[5].time = UnixMillis(events[4].time.0 - 900);
    assert_eq!(check(&w, &w.seal(0, events.iter().map(Event::to_leaf).collect())).unwrap().warnings, []);
}

#[test]
fn findings_read_as_sentences_with_a_place() {
    let w = World::new();
    let log = w.export(0, vec![w.boot(0), w.permitted(&w.intent(1, HOT))]);
    let found = check(&w, &log).unwrap_err();
    let id = request(1);
    let expected =
        format!("log of node-1, leaf 1: request {id} was permitted, but the log has no intent of that digest before");
    assert_eq!(found[0].to_string(), expected);
}
