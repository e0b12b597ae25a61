//! `tally policy limits`: how much of each limit is taken, by what all nodes together remember.

use crate::output::{Shown, field};
use crate::policy::read::now;
use crate::words::{self, lasting};
use anyhow::Context as _;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tally_client::{Client, Exit, LimitInfo, LimitsInfo, LineInfo, together};
use tally_domain::UnixMillis;

/// Asks every endpoint.
pub async fn run(client: &Client) -> anyhow::Result<Shown> {
    let quorum = client.node().await?.quorum;
    let asked = (0..client.endpoints().count()).filter_map(|index| client.only(index));
    let answers = join_all(asked.map(async |one| one.once().limits().await)).await;
    let answers: Vec<LimitsInfo> = answers.into_iter().filter_map(Result::ok).collect();
    let (limits, heard, now) = (together(&answers), answers.len(), now());
    let is_quorum = u32::try_from(heard).is_ok_and(|heard| heard >= quorum.votes);
    let mut lines: Vec<String> = limits.iter().map(|limit| record(limit, now)).collect();
    if limits.is_empty() {
        lines.push("the bundle has no limits".into());
    } else {
        lines.push(format!(
            "As {heard} of {} voters remember it: what is taken is at most this{}. Failed attempts count until the window has passed.",
            quorum.voters,
            if is_quorum { "" } else { ", but fewer than a quorum were heard, and others may know of more" }
        ));
    }
    let exit = if is_quorum { Exit::Done } else { Exit::Unavailable };
    let document = json!({
        "voters": quorum.voters, "votes": quorum.votes, "heard": heard, "is_quorum": is_quorum,
        "limits": limits.iter().map(to_json).collect::<Vec<_>>(),
    });
    Ok(Shown::with_exit(exit, lines.join("\n"), document))
}

/// What is left of a limit for one value that it counts by, in whole units.
pub async fn left(client: &Client, id: &str, value: &str) -> anyhow::Result<String> {
    let asked = (0..client.endpoints().count()).filter_map(|index| client.only(index));
    let answers = join_all(asked.map(async |one| one.limits().await)).await;
    let limits = together(&answers.into_iter().collect::<Result<Vec<_>, _>>()?);
    let limit = limits.iter().find(|limit| limit.id.as_str() == id).context("there is no such limit")?;
    let is_it = |line: &&LineInfo| line.by.iter().any(|(_, counted)| counted.eq_ignore_ascii_case(value));
    let used = limit.lines.iter().find(is_it).map_or(0, LineInfo::used);
    Ok(units(limit, limit.max.saturating_sub(used)))
}

fn record(limit: &LimitInfo, now: UnixMillis) -> String {
    let scope: Vec<_> = limit.scope.iter().map(|(name, value)| format!("{name} {value}")).collect();
    let about = if scope.is_empty() { "everything".to_owned() } else { scope.join(", ") };
    let mut lines = vec![format!(
        "{}: {} per {} for {about}",
        limit.id,
        units(limit, limit.max),
        tally_policy::span_words(limit.window_ms)
    )];
    if limit.lines.is_empty() {
        lines.push(field("", "nothing is taken"));
    }
    lines.extend(limit.lines.iter().map(|line| field(&name(line), of_line(limit, line, now))));
    lines.join("\n")
}

fn name(line: &LineInfo) -> String {
    line.by.iter().map(|(field, value)| format!("{field} {value}")).collect::<Vec<_>>().join(", ")
}

fn of_line(limit: &LimitInfo, line: &LineInfo, now: UnixMillis) -> String {
    let (used, left) = (line.used(), limit.max.saturating_sub(line.used()));
    let next = line
        .next_free()
        .map_or(String::new(), |at| format!("; the next piece comes free in {}", lasting(at.0.saturating_sub(now.0))));
    let more = if line.more { " and more" } else { "" };
    format!("{}{more} taken, {} left{next}", units(limit, used), units(limit, left))
}

fn units(limit: &LimitInfo, units: u128) -> String {
    words::units(limit.decimals, units)
}

fn to_json(limit: &LimitInfo) -> Value {
    let fields = |fields: &[(String, String)]| {
        Value::Object(fields.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect())
    };
    let line = |line: &LineInfo| {
        json!({
            "line": line.line.0.to_string(), "by": fields(&line.by), "used": units(limit, line.used()),
            "headroom": units(limit, limit.max.saturating_sub(line.used())), "is_lower_bound": line.more,
            "next_free_at_ms": line.next_free().map(|at| at.0),
        })
    };
    json!({
        "id": limit.id.as_str(), "max": units(limit, limit.max), "counts": limit.decimals.is_none(),
        "window_ms": limit.window_ms, "scope": fields(&limit.scope), "lines": limit.lines.iter().map(line).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tally_domain::LimitId;

    #[test]
    fn a_limit_of_which_nothing_is_taken_says_so() {
        let limit = LimitInfo {
            id: LimitId::parse("day").unwrap(),
            max: u128::MAX,
            decimals: None,
            window_ms: 86_400_000,
            scope: Vec::new(),
            lines: Vec::new(),
        };
        let text = record(&limit, UnixMillis(0));
        assert!(text.contains("per 24h for everything") && text.lines().count() == 2, "{text}");
    }
}
