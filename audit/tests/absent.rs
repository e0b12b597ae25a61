//! A node that shortens its own log, and signs a checkpoint over what is left, is found by what others hold of it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "tests fail loudly")]

#[path = "support/world.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod world;

use tally_audit::event::What;
use tally_audit::verify::*;
use tally_domain::*;
use world::*;

/// What a node writes, and at which second.
type Story = Vec<(u64, What)>;

/// Requests 1 and 2, at seconds 100 and 200, by nodes 1 and 2; node 3 only learns the signatures.
fn story(w: &World, i: usize) -> Story {
    let mut story = vec![(0, w.boot(i)), (1, w.key_active(HOT))];
    for n in [1, 2] {
        let (at, intent) = (100 * u64::from(n), w.intent(n, HOT));
        if i < 2 {
            story.extend(w.request_at(i, &intent, &[0, 1]).into_iter().map(|what| (at, what)));
        }
        story.push((at + 1, w.completed(&intent)));
    }
    story
}

/// Something that the node does alone.
fn alone(at: u64) -> (u64, What) {
    (at, What::SessionFailed { request_id: None, what: "SIGNERS".into(), culprit: None, missing: Vec::new() })
}

fn before(second: u64, mut story: Story) -> Story {
    story.retain(|(at, _)| *at < second);
    story
}

/// The log, with a checkpoint by the node itself; it verifies as long as nobody looks at other logs.
fn export(w: &World, i: usize, story: Story) -> ExportedLog {
    let (times, whats): (Vec<_>, Vec<_>) = story.into_iter().unzip();
    let mut events = w.events(i, whats);
    events.iter_mut().zip(times).for_each(|(event, at)| event.time = UnixMillis(at * 1_000));
    let log = w.seal(i, events.iter().map(|event| event.to_leaf()).collect());
    verify_log(&w.roster, &log.node, &log.entries, &log.checkpoint).unwrap();
    log
}

/// All logs, with one node's replaced.
fn with(w: &World, i: usize, replaced: Story) -> Vec<ExportedLog> {
    let story = |n| if n == i { replaced.clone() } else { story(w, n) };
    (0..3).map(|n| export(w, n, story(n))).collect()
}

fn findings(w: &World, logs: &[ExportedLog]) -> Vec<Finding> {
    verify_together(&w.roster, logs).unwrap_err()
}

/// What node 1's log shows of node 2, whose log it is missing from.
fn vote_removed(n: u8) -> Finding {
    let shown_by = Witness { node: node_name(0), leaf: if n == 1 { 5 } else { 10 } };
    let problem = Problem::VoteRemoved { voter: node_name(1), request: request(n), attempt: Attempt(1), shown_by };
    Finding { node: node_name(1), leaf: None, problem }
}

#[test]
fn s_5_1_an_emptied_log_is_found() {
    let w = World::new();
    assert!(verify_together(&w.roster, &with(&w, 1, story(&w, 1))).unwrap().iter().all(|r| r.warnings.is_empty()));
    for emptied in [vec![], vec![(300, w.boot(1))]] {
        assert_eq!(findings(&w, &with(&w, 1, emptied)), [vote_removed(1), vote_removed(2)]);
    }
    let text = vote_removed(2).to_string();
    let id = request(2);
    assert_eq!(
        text,
        format!(
            "log of node-2: node-2 voted for request {id}, attempt 1, as node-1's leaf 10 shows, but its own log does \
             not hold the vote; leaves were removed"
        )
    );
}

#[test]
fn s_5_1_a_log_whose_tail_was_cut_before_it_went_on_is_found() {
    let w = World::new();
    let mut cut = before(200, story(&w, 1));
    cut.push(alone(300));
    assert_eq!(findings(&w, &with(&w, 1, cut)), [vote_removed(2)]);
    // Within what clocks may differ nothing is proven yet.
    let mut soon = before(200, story(&w, 1));
    soon.push(alone(205));
    verify_together(&w.roster, &with(&w, 1, soon)).unwrap();
}

#[test]
fn s_5_1_a_release_that_was_taken_out_is_found() {
    let w = World::new();
    let mut without = story(&w, 1);
    without.retain(|(at, what)| !(*at == 200 && matches!(what, What::Released { .. })));
    without.push(alone(300));
    let shown_by = Witness { node: node_name(0), leaf: 11 };
    let problem = Problem::ReleaseRemoved { signer: node_name(1), request: request(2), attempt: Attempt(1), shown_by };
    assert_eq!(findings(&w, &with(&w, 1, without)), [Finding { node: node_name(1), leaf: None, problem }]);
}

#[test]
fn s_5_1_an_older_export_is_found_and_the_slack_of_live_exports_is_not_a_finding() {
    let w = World::new();
    let older = before(200, story(&w, 1));
    let live = verify_together(&w.roster, &with(&w, 1, older.clone())).unwrap();
    let not_yet = Oddity::NotYetInOwnLog { node: node_name(1), request: request(2), attempt: Attempt(1) };
    assert_eq!(live[0].warnings, [Warning { node: node_name(0), leaf: 10, what: not_yet }]);

    let mut logs = with(&w, 1, older);
    let mut third = story(&w, 2);
    third.push(alone(200 + EXPORT_SLACK_MS / 1_000));
    logs[2] = export(&w, 2, third.clone());
    verify_together(&w.roster, &logs).unwrap();
    third.push(alone(201 + EXPORT_SLACK_MS / 1_000));
    logs[2] = export(&w, 2, third);
    let shown_by = Witness { node: node_name(0), leaf: 10 };
    let problem = Problem::EndsEarly { node: node_name(1), request: request(2), attempt: Attempt(1), shown_by };
    assert_eq!(findings(&w, &logs), [Finding { node: node_name(1), leaf: None, problem }]);
}

#[test]
fn s_5_1_a_missing_log_is_found_unless_the_check_is_partial() {
    let w = World::new();
    let logs = with(&w, 1, story(&w, 1));
    for (i, node) in [(0, 2), (1, 0), (2, 1)] {
        let two = [logs[i].clone(), logs[(i + 1) % 3].clone()];
        let missing = Finding { node: node_name(node), leaf: None, problem: Problem::LogMissing };
        assert_eq!(findings(&w, &two), [missing]);
        verify_partial(&w.roster, &two).unwrap();
    }
    // What is wrong besides is told too.
    let emptied = with(&w, 1, vec![(300, w.boot(1))]);
    let missing = Finding { node: node_name(2), leaf: None, problem: Problem::LogMissing };
    assert_eq!(findings(&w, &emptied[..2]), [missing, vote_removed(1), vote_removed(2)]);
}

#[test]
fn a_signer_that_died_between_its_vote_and_its_release_has_removed_nothing() {
    let w = World::new();
    let intent = w.intent(1, HOT);
    let attempt = |i: usize, attempt: u32, signers: [usize; 2], at: u64| {
        let body = w.vote_body(&intent, attempt, &signers);
        let partial = format!("partial {attempt}");
        let vote = What::Voted { vote: w.vote(i, &body) };
        vec![(at, vote), (at, w.released(&body, &signers, partial.as_bytes()))]
    };
    let begin =
        |i: usize| vec![(0, w.boot(i)), (1, w.key_active(HOT)), (2, w.received(&intent)), (2, w.permitted(&intent))];
    let end = |i: usize| vec![(200, w.completed(&intent)), alone(300 + i as u64)];
    // The second node votes in the first attempt and never hears of the certificate.
    let died = attempt(1, 1, [0, 1], 3).into_iter().take(1).collect();
    let logs = [
        [begin(0), attempt(0, 1, [0, 1], 3), attempt(0, 2, [0, 2], 100), end(0)].concat(),
        [begin(1), died, end(1)].concat(),
        [begin(2), attempt(2, 2, [0, 2], 100), end(2)].concat(),
    ];
    let logs: Vec<_> = logs.into_iter().enumerate().map(|(i, story)| export(&w, i, story)).collect();
    verify_together(&w.roster, &logs).unwrap();
}
