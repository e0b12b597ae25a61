//! What a node has to do, when its keys last signed, and how its last reload ended.

use crate::output::field;
use crate::words::utc;
use serde_json::{Value, json};
use tally_client::{KeyUse, WorkInfo};
use tally_domain::UnixMillis;

/// Keys that are shown to people; scripts get all that the node tells.
const KEYS_MAX: usize = 12;

/// Lines of a node's record.
pub fn lines(work: &WorkInfo, now: UnixMillis) -> Vec<String> {
    let WorkInfo { calls, queued, requests, .. } = work;
    let mut lines = vec![field("queue", format!("{calls} calls, {queued} of them wait; {requests} requests"))];
    let signed = |key: &KeyUse| match key.last_signature {
        Some(at) => format!("last signature {} ago", age(now, at)),
        None => "no signature of late".into(),
    };
    let shown = work.keys.iter().take(KEYS_MAX);
    lines.extend(shown.map(|key| field("key", format!("{} ({}): {}", key.name, key.state, signed(key)))));
    match work.keys.len().saturating_sub(KEYS_MAX) {
        0 => {}
        more => lines.push(field("", format!("and {more} more; --json shows them"))),
    }
    lines.extend(work.reload.iter().map(|(at, fault)| match fault {
        None => field("reload", format!("certificates read again {} ago", age(now, *at))),
        Some(fault) => field("RELOAD REFUSED", format!("at {}: {fault}", utc(*at))),
    }));
    lines
}

/// The same for scripts.
pub fn to_json(work: &WorkInfo, now: UnixMillis) -> Value {
    let key = |key: &KeyUse| {
        json!({
            "name": key.name.as_str(), "state": key.state, "last_signature_ms": key.last_signature.map(|at| at.0),
            "age_ms": key.last_signature.map(|at| now.0.saturating_sub(at.0)),
        })
    };
    json!({
        "calls": work.calls, "queued": work.queued, "requests": work.requests,
        "keys": work.keys.iter().map(key).collect::<Vec<_>>(),
        "reload": work.reload.as_ref().map(|(at, fault)| json!({ "at_ms": at.0, "fault": fault })),
    })
}

/// In the largest unit of which there are two.
fn age(now: UnixMillis, then: UnixMillis) -> String {
    let seconds = now.0.saturating_sub(then.0) / 1_000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tally_domain::KeyName;

    #[test]
    fn ages_refused_reloads_and_how_many_keys_are_left_out_are_said() {
        let now = UnixMillis(1_000_000_000);
        let key = |i: usize, ago: Option<u64>| KeyUse {
            name: KeyName::parse(&format!("key-{i}")).unwrap(),
            state: "active".into(),
            last_signature: ago.map(|s| UnixMillis(now.0 - s * 1_000)),
        };
        let ages = [Some(3), Some(600), Some(90_000), Some(900_000), None];
        let keys = (0..15).map(|i| key(i, ages[i.min(4)])).collect();
        let refused = (UnixMillis(0), Some("node.pem is not valid now".to_owned()));
        let work = WorkInfo { keys, calls: 40, queued: 8, requests: 32, reload: Some(refused), ..WorkInfo::default() };
        let text = lines(&work, now).join("\n");
        for part in [
            "40 calls, 8 of them wait; 32 requests",
            "key-0 (active): last signature 3 s ago",
            "key-1 (active): last signature 10 min ago",
            "key-2 (active): last signature 25 h ago",
            "key-3 (active): last signature 10 days ago",
            "key-4 (active): no signature of late",
            "and 3 more",
            "RELOAD REFUSED",
            "1970-01-01T00:00:00.000Z: node.pem is not valid now",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(!text.contains("key-12"));
        let json = to_json(&work, now);
        assert_eq!((json["keys"].as_array().unwrap().len(), &json["keys"][1]["age_ms"]), (15, &json!(600_000)));
    }
}
