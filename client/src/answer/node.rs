//! Nodes and the policy that they hold.

use super::load::work;
use super::{BadField, FreezeInfo, WorkInfo, freezes};
use tally_domain::roster::NodeRole;
use tally_domain::{ClusterId, Digest, Epoch, Incarnation, KeyName, NodeName, UnixMillis};
use tally_proto::v1;

/// How a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInfo {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its name.
    pub node: NodeName,
    /// Its program's version.
    pub version: String,
    /// How many times it has started.
    pub incarnation: Incarnation,
    /// Its policy bundle.
    pub bundle_digest: Digest,
    /// Its policy bundle's number.
    pub bundle_version: u64,
    /// Its clock.
    pub time: UnixMillis,
    /// When it started.
    pub started_at: UnixMillis,
    /// Leaves in its log.
    pub log_size: u64,
    /// Sessions that are running.
    pub sessions: u32,
    /// Keys that it has.
    pub keys: u32,
    /// Its HSM.
    pub hsm: HsmInfo,
    /// The other nodes as it sees them.
    pub peers: Vec<PeerInfo>,
    /// Whom it has banned.
    pub bans: Vec<BanInfo>,
    /// Its peers have fenced it: it was restored from an older copy, and takes part in nothing.
    pub recovering: bool,
    /// Freezes in force there.
    pub freezes: Vec<FreezeInfo>,
    /// What it does.
    pub role: NodeRole,
    /// How many voters must agree where a limit applies.
    pub quorum: QuorumInfo,
    /// What it has to do, and when its keys last signed.
    pub work: WorkInfo,
    /// Until when its policy bundle is valid; nothing of a directory, which does not expire.
    pub bundle_not_after: Option<UnixMillis>,
}

/// How many voters must agree where a limit applies, by one node's bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuorumInfo {
    /// All voters.
    pub voters: u32,
    /// Those that must agree.
    pub votes: u32,
    /// How many of them may be bad.
    pub faulty: u32,
    /// How many more may have forgotten what they voted.
    pub restored: u32,
    /// Whether the bundle has limits.
    pub limits: bool,
}

/// A node's HSM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HsmInfo {
    /// Path of the PKCS#11 module.
    pub module: String,
    /// Manufacturer and model.
    pub model: String,
    /// Token label.
    pub label: String,
    /// Token serial number.
    pub serial: String,
    /// The token's hardware version.
    pub hardware: String,
    /// The token's firmware version.
    pub firmware: String,
    /// The version of PKCS#11 that the module speaks.
    pub cryptoki: String,
    /// Where the module runs: `thread` or `process`.
    pub isolation: String,
    /// The number of the module's process, if it has one of its own that runs.
    pub process: Option<u32>,
    /// How often that process has been replaced.
    pub restarts: u32,
    /// Worker sessions open.
    pub sessions: u32,
    /// What is wrong, if anything.
    pub error: Option<String>,
    /// What is known of this kind of token, in one line.
    pub capabilities: String,
    /// Whether operations reach the token: `closed`, `open` or `half-open`.
    pub breaker: String,
    /// Operations that wait for a worker.
    pub queued: u32,
    /// Workers that a call into the module has not given back.
    pub hung: u32,
    /// What the token says of the PIN.
    pub pin: String,
    /// How long ago the identity key last signed, in milliseconds.
    pub proven_ms_ago: Option<u64>,
    /// How long its operations take.
    pub latencies: Vec<LatencyInfo>,
    /// The node's other token, if it has one.
    pub standby: Option<Box<HsmInfo>>,
}

/// How long an operation takes at an HSM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatencyInfo {
    /// Which.
    pub operation: String,
    /// How often it has succeeded since the start.
    pub count: u64,
    /// The half is faster, in microseconds.
    pub p50_us: u64,
    /// All but one in a hundred are faster, in microseconds.
    pub p99_us: u64,
}

/// A node as another one sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInfo {
    /// Its name.
    pub node: NodeName,
    /// Where it serves.
    pub address: String,
    /// Whether it answers.
    pub reachable: bool,
    /// Its start.
    pub incarnation: Incarnation,
    /// Its policy bundle, once it is known.
    pub bundle_digest: Option<Digest>,
    /// Its clock minus the telling node's, in milliseconds, once it has been heard of.
    pub clock_offset_ms: Option<i64>,
    /// The telling node has fenced it: it was restored from an older copy.
    pub fenced: bool,
    /// What it does.
    pub role: NodeRole,
}

/// A durable ban.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BanInfo {
    /// For which key.
    pub key: KeyName,
    /// For which generation of its shares.
    pub epoch: Epoch,
    /// Who.
    pub node: NodeName,
    /// Which check failed.
    pub what: String,
}

/// The policy bundle in force at a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyInfo {
    /// Its digest.
    pub digest: Digest,
    /// Its number.
    pub version: u64,
    /// Its rules in the order of the file.
    pub rules: Vec<ActiveRule>,
    /// Until when it is valid; nothing of a directory, which does not expire.
    pub not_after: Option<UnixMillis>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveRule {
    /// Its id.
    pub id: String,
    /// `permit` or `forbid`.
    pub effect: String,
}

pub(crate) fn node(s: v1::GetStatusResponse) -> Result<NodeInfo, BadField> {
    let hsm = s.hsm.ok_or(BadField("hsm"))?;
    let quorum = s.quorum.ok_or(BadField("quorum"))?;
    Ok(NodeInfo {
        cluster: ClusterId::parse(&s.cluster).map_err(|_| BadField("cluster"))?,
        node: NodeName::parse(&s.node).map_err(|_| BadField("node"))?,
        version: s.version,
        incarnation: Incarnation(s.incarnation),
        bundle_digest: Digest::from_slice(&s.bundle_digest).ok_or(BadField("bundle_digest"))?,
        bundle_version: s.bundle_version,
        time: UnixMillis(s.time_ms),
        started_at: UnixMillis(s.started_at_ms),
        log_size: s.log_size,
        sessions: s.sessions,
        keys: s.keys,
        hsm: hsm_info(hsm),
        peers: s.peers.into_iter().map(peer).collect::<Result<_, _>>()?,
        bans: s.bans.into_iter().map(ban).collect::<Result<_, _>>()?,
        recovering: s.recovering,
        freezes: freezes(s.freezes)?,
        role: NodeRole::parse(&s.role).ok_or(BadField("role"))?,
        quorum: QuorumInfo {
            voters: quorum.voters,
            votes: quorum.votes,
            faulty: quorum.faulty,
            restored: quorum.restored,
            limits: quorum.limits,
        },
        work: work(s.key_uses, s.load, s.reload, s.stages)?,
        bundle_not_after: (s.bundle_not_after_ms != 0).then_some(UnixMillis(s.bundle_not_after_ms)),
    })
}

pub(crate) fn policy(p: v1::GetActiveResponse) -> Result<PolicyInfo, BadField> {
    Ok(PolicyInfo {
        digest: Digest::from_slice(&p.digest).ok_or(BadField("digest"))?,
        version: p.version,
        rules: p.rules.into_iter().map(|r| ActiveRule { id: r.id, effect: r.effect }).collect(),
        not_after: (p.not_after_ms != 0).then_some(UnixMillis(p.not_after_ms)),
    })
}

fn hsm_info(hsm: v1::HsmStatus) -> HsmInfo {
    let latency =
        |l: v1::HsmLatency| LatencyInfo { operation: l.operation, count: l.count, p50_us: l.p50_us, p99_us: l.p99_us };
    HsmInfo {
        module: hsm.module,
        model: hsm.model,
        label: hsm.label,
        serial: hsm.serial,
        hardware: hsm.hardware,
        firmware: hsm.firmware,
        cryptoki: hsm.cryptoki,
        isolation: hsm.isolation,
        process: hsm.process,
        restarts: hsm.restarts,
        sessions: hsm.sessions,
        error: (!hsm.ok).then_some(hsm.error),
        capabilities: hsm.capabilities,
        breaker: hsm.breaker,
        queued: hsm.queued,
        hung: hsm.hung,
        pin: hsm.pin,
        proven_ms_ago: hsm.proven_ms_ago,
        latencies: hsm.latencies.into_iter().map(latency).collect(),
        standby: hsm.standby.map(|other| Box::new(hsm_info(*other))),
    }
}

fn peer(p: v1::Peer) -> Result<PeerInfo, BadField> {
    Ok(PeerInfo {
        node: NodeName::parse(&p.node).map_err(|_| BadField("peers.node"))?,
        address: p.address,
        reachable: p.reachable,
        incarnation: Incarnation(p.incarnation),
        bundle_digest: Digest::from_slice(&p.bundle_digest),
        clock_offset_ms: p.clock_known.then_some(p.clock_offset_ms),
        fenced: p.fenced,
        role: NodeRole::parse(&p.role).ok_or(BadField("peers.role"))?,
    })
}

fn ban(b: v1::Ban) -> Result<BanInfo, BadField> {
    Ok(BanInfo {
        key: KeyName::parse(&b.key).map_err(|_| BadField("bans.key"))?,
        epoch: Epoch(b.epoch),
        node: NodeName::parse(&b.node).map_err(|_| BadField("bans.node"))?,
        what: b.what,
    })
}
