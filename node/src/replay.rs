//! What a draft would have done with the requests of the past: each request of the log once, at the time of the decision
//! that counted, with what persons have said of it, and in the order of the log, so that the draft's limits fill as they
//! would have.

mod story;
mod windows;

use crate::judgements::{codes, judged, lines_out, missing, rules};
use crate::node::Node;
use crate::past::{self, Happened, Logged, Past, look_back};
use std::sync::Arc;
use story::{Outcome, Story, stories};
use tally_audit::event::LineStood;
use tally_domain::claim::horizon_ms;
use tally_domain::{Reason, Refusal, UnixMillis};
use tally_policy::Bundle;
use tally_proto::v1;
use tally_proto::v1::replay_response::Part;
use tally_signer::judge::{Judged, People};
use tokio::sync::mpsc;
use tonic::Status;
use windows::Windows;

/// What a replay takes for granted, for whoever reads its result.
const ASSUMES: [&str; 5] = [
    "Each request is decided once, at the time and with the intent of the decision that counted in this node's log.",
    "Limits of the draft are filled in the order of the log, with what was signed before the time asked for, too: each \
     request that the draft permits takes its charge if it was signed then, or was not permitted then.",
    "What a request takes is free again after the window and as long as a claim is held beyond it; attempts that failed \
     took pieces of lines, and take nothing here.",
    "Whoever approved a request then would approve it under the draft, and whoever rejected it would reject it.",
    "Requests that this node has not heard of, and what KEKs wrap, are not in it.",
];

/// What the draft makes of a request.
struct Drafted {
    outcome: Outcome,
    full: Vec<v1::LimitCharge>,
    missing: Vec<String>,
}

struct Replay<'a> {
    node: &'a Node,
    draft: &'a Bundle,
    windows: Windows,
    counts: v1::ReplayCounts,
}

/// Sends each change; gives the counts. Blocks: for a thread of its own.
///
/// # Errors
/// `STORAGE`, `TAMPERED`.
pub fn replay(
    node: &Node,
    draft: &Arc<Bundle>,
    since: UnixMillis,
    out: &mpsc::Sender<Result<v1::ReplayResponse, Status>>,
) -> Result<v1::ReplayCounts, Refusal> {
    let longest_ms = draft.limits_shown().iter().map(|limit| horizon_ms(limit.window_ms)).max().unwrap_or(0);
    // What comes later than this does not change any story.
    let (from, end) = (since.minus(longest_ms), past::size(node)?);
    let stories = stories(node, from, end)?;
    let mut replay = Replay { node, draft, windows: Windows::default(), counts: v1::ReplayCounts::default() };
    let mut listening = true;
    look_back(node, from, end, |past| {
        let story = stories.get(&(past.tenant.clone(), past.request));
        let Some(story) = story.filter(|story| story.leaf == past.leaf) else { return Ok(true) };
        if let Some(change) = replay.step(&past, story, past.time >= since) {
            let response = v1::ReplayResponse { part: Some(Part::Change(change)) };
            listening = out.blocking_send(Ok(response)).is_ok();
        }
        Ok(listening)
    })?;
    let assumes = ASSUMES.map(str::to_owned).to_vec();
    Ok(v1::ReplayCounts { assumes, ..replay.counts })
}

impl Replay<'_> {
    /// One request, which is counted if it is asked about, and fills lines in any case.
    fn step(&mut self, past: &Past, story: &Story, asked: bool) -> Option<v1::ReplayChange> {
        let Happened::Decided(logged) = &past.what else { return None };
        let was = story.outcome(logged);
        let now = self.drafted(past, logged, story, was.as_ref());
        if !asked {
            return None;
        }
        self.counts.requests += 1;
        let (Some(was), Some(now)) = (was, now) else {
            self.counts.skipped += 1;
            return None;
        };
        // Of a denial the log has the nearest rule, and the draft only those that forbid.
        let same_rule = was.verdict == "deny" || was.rule.is_empty() || was.rule == now.outcome.rule;
        if was.words() == now.outcome.words() && same_rule {
            self.counts.unchanged += 1;
            return None;
        }
        match now.outcome.reach().cmp(&was.reach()) {
            std::cmp::Ordering::Less => self.counts.tightened += 1,
            std::cmp::Ordering::Greater => self.counts.loosened += 1,
            std::cmp::Ordering::Equal => self.counts.otherwise += 1,
        }
        Some(v1::ReplayChange {
            time_ms: past.time.0,
            tenant: past.tenant.to_string(),
            request_id: past.request.0.to_vec(),
            summary: logged.summary.clone(),
            was: was.words(),
            was_rule: was.rule,
            now: now.outcome.words(),
            now_rule: now.outcome.rule,
            limits: now.full,
            missing: now.missing,
        })
    }

    fn drafted(&mut self, past: &Past, logged: &Logged, story: &Story, was: Option<&Outcome>) -> Option<Drafted> {
        let (approved, rejected) = story.persons(logged.digest, past.time);
        let people = People::Supposed { approved: &approved, rejected: &rejected };
        let denied = |reason: Reason| Outcome { verdict: "deny", reason: reason.as_str().into(), rule: String::new() };
        let judged = match judged(self.node, logged.intent.as_ref()?, people, self.draft, past.time) {
            Ok(judged) => judged?,
            // The draft's roster does not have the client any more: that is a denial, too.
            Err(refused) if refused.reason == Reason::UnknownClient => {
                return Some(Drafted { outcome: denied(refused.reason), full: Vec::new(), missing: Vec::new() });
            }
            Err(_) => return None,
        };
        let (verdict, reason) = codes(&judged.decision);
        if verdict == "permit" {
            let full = self.fill(past.time, &judged, story.signed || was.is_none_or(|was| was.verdict != "permit"));
            if !full.is_empty() {
                let full = lines_out(Some(self.draft), &judged.lines, &full);
                return Some(Drafted { outcome: denied(Reason::VelocityLimit), full, missing: Vec::new() });
            }
        }
        let reason = reason.map(|r| r.as_str().into()).unwrap_or_default();
        let outcome = Outcome { verdict, reason, rule: rules(&judged.decision).join(",") };
        Some(Drafted { outcome, full: Vec::new(), missing: missing(&judged.decision) })
    }

    /// Takes what is charged, if there is room; gives the lines that have none.
    fn fill(&mut self, at: UnixMillis, judged: &Judged, takes: bool) -> Vec<LineStood> {
        let mut stands = self.windows.stands(&judged.charges, at);
        stands.retain(|line| line.room_at.is_some());
        if stands.is_empty() && takes {
            self.windows.take(&judged.charges, at);
        }
        stands
    }
}
