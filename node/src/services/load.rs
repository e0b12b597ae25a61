//! What `GetStatus` says of a node's work.

use super::sees::Sees;
use crate::metrics::StageTotal;
use crate::node::Node;
use crate::reload::Reloaded;
use tally_domain::key::KeyState;
use tally_domain::{KeyName, UnixMillis};
use tally_proto::v1;

/// Keys that are told: an operator looks at the first ones, and the message has an end.
const KEYS_MAX: usize = 256;

/// Keys that a caller is shown, and when each last signed; those that signed last first.
pub fn key_uses(node: &Node, sees: &Sees) -> Vec<v1::KeyUse> {
    let threshold = node.keys.all().into_iter().filter(|held| sees.owned_by(Some(&held.record.tenant)));
    let threshold = threshold.map(|held| (held.record.name.clone(), held.state));
    let resident = node.hsm_keys.all().into_iter().filter(|held| sees.owned_by(Some(&held.record.tenant)));
    let resident = resident.map(|held| (held.record.name.clone(), held.state()));
    let mut uses: Vec<_> = threshold.chain(resident).map(|(name, state)| key_use(node, &name, state)).collect();
    uses.sort_by(|a, b| b.last_signature_ms.cmp(&a.last_signature_ms).then_with(|| a.name.cmp(&b.name)));
    uses.truncate(KEYS_MAX);
    uses
}

fn key_use(node: &Node, name: &KeyName, state: KeyState) -> v1::KeyUse {
    let last_signature_ms = node.signed.last(name).map(|UnixMillis(ms)| ms);
    v1::KeyUse { name: name.to_string(), state: state.as_str().into(), last_signature_ms }
}

/// How much is going on.
pub fn load(node: &Node) -> v1::Load {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let (calls, queued) = node.admission.counts();
    v1::Load { calls: count(calls), queued: count(queued), requests: count(node.inflight.count()) }
}

/// What stages of sessions have taken.
pub fn stages(node: &Node) -> Vec<v1::StageTime> {
    let all = node.metrics.stages().into_iter();
    let one = |((session, stage), total): ((String, String), StageTotal)| {
        let total_us = u64::try_from(total.time.as_micros()).unwrap_or(u64::MAX);
        v1::StageTime { session, stage, count: total.count, total_us }
    };
    all.map(one).collect()
}

/// How the last reload ended.
pub fn reload(last: Reloaded) -> v1::Reload {
    v1::Reload { at_ms: last.at.0, fault: last.fault.unwrap_or_default() }
}
