//! What a node says of its work.

use super::BadField;
use std::time::Duration;
use tally_domain::{KeyName, UnixMillis};
use tally_proto::v1;

/// A key, and when it last signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUse {
    /// Which.
    pub name: KeyName,
    /// Whether it signs.
    pub state: String,
    /// When it last signed, as far as the node knows: since its start, or by the end of its log.
    pub last_signature: Option<UnixMillis>,
}

/// What a node has to do, and how its last reload ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WorkInfo {
    /// Its keys, those that signed last first.
    pub keys: Vec<KeyUse>,
    /// Calls that are being answered, those that wait for room among them.
    pub calls: u32,
    /// Calls that wait for room.
    pub queued: u32,
    /// Requests that it leads or takes part in.
    pub requests: u32,
    /// Its last reload, if there was one: when, and why the old files stay in use, if they do.
    pub reload: Option<(UnixMillis, Option<String>)>,
    /// What the stages of its sessions have taken since its start.
    pub stages: Vec<StageInfo>,
}

/// What a stage of sessions has taken at one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageInfo {
    /// `sign` or `key`.
    pub session: String,
    /// Its name.
    pub stage: String,
    /// How often.
    pub count: u64,
    /// All together.
    pub time: Duration,
}

pub(super) fn work(
    keys: Vec<v1::KeyUse>,
    load: Option<v1::Load>,
    reload: Option<v1::Reload>,
    stages: Vec<v1::StageTime>,
) -> Result<WorkInfo, BadField> {
    let key = |k: v1::KeyUse| {
        let name = KeyName::parse(&k.name).map_err(|_| BadField("key_uses.name"))?;
        Ok(KeyUse { name, state: k.state, last_signature: k.last_signature_ms.map(UnixMillis) })
    };
    let load = load.unwrap_or_default();
    let fault = |text: String| Some(text).filter(|text| !text.is_empty());
    Ok(WorkInfo {
        keys: keys.into_iter().map(key).collect::<Result<_, _>>()?,
        calls: load.calls,
        queued: load.queued,
        requests: load.requests,
        reload: reload.map(|r| (UnixMillis(r.at_ms), fault(r.fault))),
        stages: stages.into_iter().map(stage).collect(),
    })
}

fn stage(s: v1::StageTime) -> StageInfo {
    StageInfo { session: s.session, stage: s.stage, count: s.count, time: Duration::from_micros(s.total_us) }
}
