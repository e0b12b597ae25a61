//! Approvals: of whom, for what, how many (S-2.2 step 13).
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail loudly")]

mod common {
    pub mod bundle;
    pub mod treasury;
}

use Verdict::{Approve, Reject};
use common::bundle::*;
use common::treasury::*;
use tally_domain::approval::{Approval, Verdict};
use tally_domain::dsse::Envelope;
use tally_domain::facts::Facts;
use tally_domain::{ClusterId, Digest, PersonName, Reason, RequestId, Tenant, UnixMillis};
use tally_policy::{
    APPROVAL_VALIDITY_MAX_MS, APPROVALS_MAX, Approvals, Decision, Need, VoidApproval, check_approval, decide_approved,
    shown, summary,
};

fn large() -> Facts {
    Facts::Transaction(transfer(vec![whole_usdc(5_000, STRANGER_2)]))
}

const STRANGER_2: &str = "0x00000000000000000000000000000000000a11ce";

fn needs(decision: Decision) -> Vec<Need> {
    match decision {
        Decision::NeedsApproval(needs) => needs,
        other => panic!("{other:?}"),
    }
}

/// (rule, what is missing) of the nearest path of the only need.
fn missing(decision: Decision) -> (String, String) {
    let [need] = needs(decision).try_into().unwrap();
    let path = &need.paths[0];
    let missing: Vec<_> = path.missing.iter().map(|q| format!("{} {}", q.needed, q.group)).collect();
    (path.rule.clone(), missing.join(", "))
}

#[test]
fn a_permit_waits_until_enough_persons_of_each_group_have_approved() {
    let desk = Desk::new(large());
    let all = [("bob", BOB, Approve), ("carol", CAROL, Approve), ("dave", DAVE, Approve)];
    let after = |n: usize| missing(desk.decide(&all[..n]));
    let path = |text: &str| ("payouts-large".to_owned(), text.to_owned());
    assert_eq!(after(0), path("2 treasury, 1 risk"));
    assert_eq!(after(1), path("1 treasury, 1 risk"));
    // Carol is in both groups and counts for one of them.
    assert_eq!(after(2), path("1 risk"));
    assert_eq!(desk.decide(&all), permit("payouts-large"));
    // Whichever group is named first: dave needs the seat that carol could have, and she takes the other.
    let turned = Desk::with(&changed("policy.cedar", "2 of treasury, 1 of risk", "1 of risk, 1 of treasury"), large());
    assert_eq!(turned.decide(&all[1..]), permit("payouts-large"));
}

#[test]
fn a_permit_that_asks_nobody_wins_at_once() {
    let desk = Desk::new(Facts::Transaction(transfer(vec![whole_usdc(1_000, VENDOR)])));
    assert_eq!(desk.decide(&[]), permit("payouts-small"));
    // Nobody was asked, so that nobody can say no.
    assert_eq!(desk.decide(&[("dave", DAVE, Reject)]), permit("payouts-small"));
}

#[test]
fn the_initiator_and_second_keys_do_not_count() {
    let desk = Desk::new(large());
    // Alice operates the client that asks.
    let said = [("alice", ALICE, Approve), ("bob", BOB, Approve), ("dave", DAVE, Approve)];
    assert_eq!(missing(desk.decide(&said)).1, "1 treasury");
    let by_alice = desk.statement("alice", Approve).sign(&key(ALICE));
    assert_eq!(check_approval(&desk.bundle, &desk.subject(), &by_alice, EVENING), Err(VoidApproval::Initiator));
    // Bob approves with both of his keys.
    let said = [("bob", BOB, Approve), ("bob", BOBS_SECOND, Approve), ("dave", DAVE, Approve)];
    assert_eq!(missing(desk.decide(&said)).1, "1 treasury");
    // Without a client of hers asking, alice does count.
    let files = changed("groups.toml", "clients = [\"payout-service\"]\n", "");
    let desk = Desk::with(&files, large());
    let said = [("alice", ALICE, Approve), ("bob", BOB, Approve), ("dave", DAVE, Approve)];
    assert_eq!(desk.decide(&said), permit("payouts-large"));
}

#[test]
fn a_rejection_is_final() {
    let desk = Desk::new(large());
    let all = [("bob", BOB, Approve), ("carol", CAROL, Approve), ("dave", DAVE, Approve)];
    let with = |said: (&'static str, u8, Verdict)| desk.decide(&[all[0], all[1], all[2], said]);
    let d = denied(with(("carol", CAROL, Reject)));
    assert_eq!((d.reason, d.rejected_by), (Reason::Rejected, vec![PersonName::parse("carol").unwrap()]));
    // Those who are not asked cannot, nor can who initiated it.
    let mut files = treasury();
    let groups = text(&files, "groups.toml").replace("persons = [\"alice\", ", "persons = [")
        + "\n[[group]]\nname = \"guests\"\npersons = [\"alice\"]\n";
    files.insert("groups.toml".into(), groups.into_bytes());
    let guests = Desk::with(&files, large());
    assert_eq!(guests.decide(&[all[0], all[1], all[2], ("alice", ALICE, Reject)]), permit("payouts-large"));
    // It outlives its expiry, the bundle, and what was shown: only a new request starts anew.
    let rejection = Approval {
        bundle: Digest([1; 32]),
        summary_digest: Digest([2; 32]),
        expires_at: UnixMillis(0),
        ..desk.statement("dave", Reject)
    };
    let signed = rejection.sign(&key(DAVE));
    assert_eq!(check_approval(&desk.bundle, &desk.subject(), &signed, EVENING), Ok(rejection.clone()));
    let other = Approval { request_id: RequestId([9; 16]), ..rejection }.sign(&key(DAVE));
    assert_eq!(check_approval(&desk.bundle, &desk.subject(), &other, EVENING), Err(VoidApproval::OtherRequest));
}

#[test]
fn an_approval_is_for_one_request_as_it_was_shown_under_one_bundle() {
    let desk = Desk::new(large());
    let good = desk.statement("dave", Approve);
    let check = |a: &Approval, now| check_approval(&desk.bundle, &desk.subject(), &a.sign(&key(DAVE)), now);
    assert_eq!(check(&good, EVENING), Ok(good.clone()));
    let digest = Digest([1; 32]);
    for (void, why) in [
        (Approval { cluster: ClusterId::parse("other").unwrap(), ..good.clone() }, VoidApproval::OtherRequest),
        (Approval { tenant: Tenant::parse("other").unwrap(), ..good.clone() }, VoidApproval::OtherRequest),
        (Approval { request_id: RequestId([9; 16]), ..good.clone() }, VoidApproval::OtherRequest),
        (Approval { intent_digest: digest, ..good.clone() }, VoidApproval::OtherIntent),
        (Approval { summary_digest: digest, ..good.clone() }, VoidApproval::OtherSummary),
        (Approval { bundle: digest, ..good.clone() }, VoidApproval::OtherBundle),
        (
            Approval { person: PersonName::parse("bob").unwrap(), ..good.clone() },
            VoidApproval::Bad(tally_domain::approval::BadApproval::Signature),
        ),
        (Approval { person: PersonName::parse("mallory").unwrap(), ..good.clone() }, VoidApproval::UnknownPerson),
        (Approval { expires_at: EVENING, ..good.clone() }, VoidApproval::Expired),
        (
            Approval { expires_at: EVENING.plus(APPROVAL_VALIDITY_MAX_MS + 1_001), ..good.clone() },
            VoidApproval::TooLong,
        ),
    ] {
        assert_eq!(check(&void, EVENING), Err(why));
    }
    assert!(check(&good, UnixMillis(good.expires_at.0 - 1)).is_ok());
    assert_eq!(check(&good, good.expires_at), Err(VoidApproval::Expired));
    // All of them void: still waiting.
    let said = [("bob", BOB, Approve), ("carol", CAROL, Approve), ("dave", DAVE, Approve)];
    assert_eq!(desk.decide_at(&said, EVENING.plus(3_600_000 - 1)), permit("payouts-large"));
    assert_eq!(missing(desk.decide_at(&said, EVENING.plus(3_600_000))).1, "2 treasury, 1 risk");
}

#[test]
fn too_many_approvals_are_none() {
    let desk = Desk::new(large());
    let said = [("bob", BOB), ("carol", CAROL), ("dave", DAVE)];
    let mut envelopes: Vec<Envelope> = said.map(|(who, seed)| desk.statement(who, Approve).sign(&key(seed))).into();
    envelopes.resize(APPROVALS_MAX, envelopes[0].clone());
    let decide = |envelopes: &[Envelope]| {
        let approvals = Approvals::collect(&desk.bundle, &desk.subject(), envelopes, EVENING);
        decide_approved(&desk.bundle, &desk.request(), &approvals, EVENING)
    };
    assert_eq!(decide(&envelopes), permit("payouts-large"));
    envelopes.push(envelopes[0].clone());
    assert_eq!(missing(decide(&envelopes)).1, "2 treasury, 1 risk");
}

#[test]
fn every_path_is_a_way_and_the_nearest_comes_first() {
    let mut files = treasury();
    let policy = text(&files, "policy.cedar")
        + "\n@id(\"board\") @approvals(\"1 of risk\") permit (principal, action == Action::\"sign\", resource) when { context.tx.asset == \"USDC\" };\n";
    files.insert("policy.cedar".into(), policy.into_bytes());
    let desk = Desk::with(&files, large());
    let [need] = needs(desk.decide(&[])).try_into().unwrap();
    let rules: Vec<_> = need.paths.iter().map(|p| p.rule.as_str()).collect();
    assert_eq!(rules, ["board", "payouts-large"]);
    assert_eq!(desk.decide(&[("dave", DAVE, Approve)]), permit("board"));
    // A forbid forbids, whoever approves.
    let blocked = Desk::with(&files, Facts::Transaction(transfer(vec![whole_usdc(1, STRANGER)])));
    let d = denied(blocked.decide(&[("dave", DAVE, Approve)]));
    assert_eq!(d.forbidden_by, ["never-to-these"]);
}

#[test]
fn each_movement_has_needs_of_its_own() {
    let both = |a, b| {
        Desk::new(Facts::Transaction(transfer(vec![
            whole_usdc(1, VENDOR),
            whole_usdc(a, STRANGER_2),
            whole_usdc(b, STRANGER_2),
        ])))
    };
    let all = [("bob", BOB, Approve), ("carol", CAROL, Approve), ("dave", DAVE, Approve)];
    assert_eq!(needs(both(2, 3).decide(&[])).len(), 1);
    assert_eq!(both(2, 3).decide(&all), permit("payouts-small,payouts-large"));
    // One movement that nothing permits denies all, with nobody asked.
    assert!(matches!(both(2, 500_001).decide(&[]), Decision::Deny(_)));
}

#[test]
fn groups_are_read_strictly() {
    let e = |from, to| refused(&changed("groups.toml", from, to)).to_string();
    for (from, to, start) in [
        ("name = \"bob\"", "name = \"alice\"", "groups.toml:9:8: person `alice` is there twice"),
        (
            "persons = [\"carol\", \"dave\"]",
            "persons = [\"carol\", \"eve\"]",
            "groups.toml:29:21: there is no person `eve`",
        ),
        ("[\"carol\", \"dave\"]", "[\"carol\", \"carol\"]", "groups.toml:29:21: person `carol` is there twice"),
        ("name = \"risk\"", "name = \"treasury\"", "groups.toml:28:8: group `treasury` is there twice"),
        ("\"payout-service\"", "\"nobody\"", "groups.toml:6:12: there is no client `nobody`"),
        ("0beef5", "0b5", "groups.toml:17:9: `ed25519:0b5a9e6"),
        (
            "ed25519:0beef5a9e679e6a3e134fe27837bff32c7cb5f5d44ea09bcb0e542bad6a4c0cc",
            "p256:0360fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6",
            "groups.toml:17:9: `p256:",
        ),
        (
            "66be7e332c7a453332bd9d0a7f7db055f5c5ef1a06ada66d98b39fb6810c473a",
            "0b513ad9b4924015ca0902ed079044d3ac5dbec2306f06948c10da8eb6e39f2d",
            "groups.toml:11:5: public key `ed25519:0b513ad",
        ),
        // Nobody approves with the key of a client.
        (
            "66be7e332c7a453332bd9d0a7f7db055f5c5ef1a06ada66d98b39fb6810c473a",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "groups.toml:5:9: public key `ed25519:d75a98",
        ),
        (
            "[\"ed25519:d9bf2148748a85c89da5aad8ee0b0fc2d105fd39d41a4c796536354f0ae2900c\"]",
            "[]",
            "groups.toml:21:8: `dave` has no keys",
        ),
        ("persons =", "people =", "groups.toml:25:1: unknown field `people`"),
        ("name = \"risk\"", "name = \"ri sk\"", "groups.toml:28:8: `ri sk` is not a valid group"),
    ] {
        let e = e(from, to);
        assert!(e.starts_with(start), "{from}: {e}");
    }
}

#[test]
fn quorums_that_nobody_can_meet_fail_the_load() {
    let e = |approvals: &str| refused(&changed("policy.cedar", "2 of treasury, 1 of risk", approvals)).to_string();
    let value = "is not a valid list of approvals";
    for (approvals, part) in [
        ("4 of treasury", "group `treasury` has 3 persons, fewer than the 4"),
        ("1 of owners", "there is no group of persons `owners`"),
        // Carol cannot sit in both: the groups have four persons together, and five are needed.
        ("3 of treasury, 2 of risk", "needs more persons than its groups have together"),
        ("", value),
        ("0 of risk", value),
        ("two of risk", value),
        ("1 of risk and 1 of treasury", value),
        ("1 of risk,", value),
        ("1 of risk, 1 of risk", value),
        ("1 risk", value),
        ("+1 of risk", value),
        ("99999999999999999999 of risk", value),
    ] {
        let e = e(approvals);
        assert!(e.starts_with("policy.cedar:13:1: ") && e.contains(part), "{approvals}: {e}");
    }
    assert!(bundle(&changed("policy.cedar", "2 of treasury, 1 of risk", "3 of  treasury,1 of risk")).has_limits());
    let e = refused(&changed(
        "policy.cedar",
        "@id(\"never-to-these\")",
        "@id(\"never-to-these\")\n@approvals(\"1 of risk\")",
    ));
    assert!(e.to_string().contains("a forbid has no @approvals"), "{e}");
}

/// S-2.2 step 14: what is shown is made of what was decoded, and every part of it is under the digest.
#[test]
fn what_is_shown_says_who_what_and_how_much() {
    let desk = Desk::new(large());
    let text = "client payout-service asks to sign with key hot\n\
                transfer on eip155:1\n  \
                5000 USDC (0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48) to 0x00000000000000000000000000000000000a11ce\n  \
                fee at most 0.001 ETH";
    assert_eq!(shown(&desk.bundle, &desk.request()).text, text);
    let digest = |facts: Facts| Desk::new(facts).subject().summary_digest;
    let tx = transfer(vec![whole_usdc(5_000, STRANGER_2)]);
    let mut fee = tx.clone();
    fee.fee_max = amount(1_000_000_000_000_001);
    let others = [
        transfer(vec![usdc(5_000_000_001, STRANGER_2)]),
        transfer(vec![whole_usdc(5_000, STRANGER)]),
        transfer(vec![whole_usdc(5_000, STRANGER_2), usdc(0, STRANGER_2)]),
        fee,
    ];
    for other in others {
        assert_ne!(digest(Facts::Transaction(other)), digest(Facts::Transaction(tx.clone())));
    }
    let foreign = tally_domain::facts::TransactionFacts { chain: "eip155:5".into(), ..tx };
    let shown = summary(&desk.bundle, &Facts::Transaction(foreign));
    assert!(shown.contains("5000000000 smallest units of 0xa0b86991"), "{shown}");
}

#[test]
fn a_permit_that_asks_more_persons_than_are_left_beside_the_initiator_is_found() {
    let unmet = |files: &Files| -> Vec<(String, String, usize, usize, Vec<String>)> {
        let found = bundle(files).unmet().into_iter();
        found
            .map(|u| {
                let operators = u.operators.iter().map(ToString::to_string).collect();
                (format!("{} {}", u.rule, u.client), u.asked.group, u.asked.needed, u.missing, operators)
            })
            .collect()
    };
    assert_eq!(unmet(&treasury()), []);
    // Alice operates the client of the rule, so two of three are left; nobody operates any other client.
    let alice = || vec!["alice".to_owned()];
    let three = changed("policy.cedar", "2 of treasury, 1 of risk", "3 of treasury");
    let who = || "payouts-large payout-service".to_owned();
    assert_eq!(unmet(&three), [(who(), "treasury".into(), 3, 1, alice())]);
    // Bob and carol fill treasury, and without dave nobody is left for risk.
    let mut shared = treasury();
    change(&mut shared, "groups.toml", "persons = [\"carol\", \"dave\"]", "persons = [\"alice\", \"carol\"]");
    assert_eq!(unmet(&shared).len(), 1, "{:?}", unmet(&shared));
    // A decision agrees: with everyone's approval it still waits.
    let desk = Desk::with(&three, large());
    let all = [("alice", ALICE, Approve), ("bob", BOB, Approve), ("carol", CAROL, Approve), ("dave", DAVE, Approve)];
    assert_eq!(missing(desk.decide(&all)).1, "1 treasury");
    // Only the scope says whose requests are meant.
    let scoped = |scope: &str| {
        let permit = "@approvals(\"2 of treasury, 1 of risk\")\npermit (principal in Group::\"payouts\"";
        changed("policy.cedar", permit, &format!("@approvals(\"3 of treasury\")\npermit ({scope}"))
    };
    for (scope, named) in [
        ("principal in Group::\"operators\"", 0),
        ("principal == Client::\"operator\"", 0),
        ("principal == Client::\"payout-service\"", 1),
        ("principal is Client in Group::\"payouts\"", 1),
        ("principal", 1),
    ] {
        assert_eq!(unmet(&scoped(scope)).len(), named, "{scope}");
    }
}
