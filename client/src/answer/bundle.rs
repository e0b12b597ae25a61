//! Policy bundles as nodes tell them.

use super::freeze::told;
use super::{BadField, Told, some};
use tally_domain::activation::BundleName;
use tally_domain::{Digest, NodeName, UnixMillis};
use tally_proto::v1;

/// A signed bundle as one node knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProposalInfo {
    /// Which.
    pub name: BundleName,
    /// Digest of the one before it; none for the first.
    pub previous: Option<Digest>,
    /// `active`, `replaced`, `waiting`, `ready`, `vetoed` or `overtaken`; later versions have more words.
    pub state: String,
    /// When the node first saw it.
    pub first_seen: UnixMillis,
    /// When the node votes for it; none for the first.
    pub due: Option<UnixMillis>,
    /// When it became the active one there.
    pub activated: Option<UnixMillis>,
    /// Whether it only tightens the one before it.
    pub tightens: bool,
    /// Who has vetoed it.
    pub vetoed_by: Vec<NodeName>,
    /// Whose votes have activated it.
    pub voted_by: Vec<NodeName>,
    /// What it changes, while it waits.
    pub changes: Vec<ChangeInfo>,
}

/// One change of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeInfo {
    /// `tighter` or `looser`.
    pub direction: String,
    /// The file.
    pub file: String,
    /// The rule, limit or list; empty where it is about the file.
    pub item: String,
    /// What changed.
    pub words: String,
}

/// A bundle that was proposed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposed {
    /// Where it stands.
    pub proposal: ProposalInfo,
    /// Who has it.
    pub told: Told,
    /// Why it is not active though nothing is left to wait for; the nodes go on with it by themselves.
    pub not_active: Option<NotActive>,
}

/// What keeps a bundle that is to be active at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotActive {
    /// The reason's word.
    pub reason: String,
    /// Votes that it needs, and has; 0 where the reason is another.
    pub votes_needed: u32,
    /// See there.
    pub votes: u32,
}

/// A bundle that was vetoed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VetoedBundle {
    /// Where it stands.
    pub proposal: ProposalInfo,
    /// The rule that permitted it; nothing when the very intent had vetoed before.
    pub rule: Option<String>,
    /// Who has heard of it.
    pub told: Told,
}

pub(crate) fn proposed(r: v1::ProposeResponse) -> Result<Proposed, BadField> {
    let (votes_needed, votes) = (r.votes_needed, r.votes);
    let not_active = some(r.reason).map(|reason| NotActive { reason, votes_needed, votes });
    Ok(Proposed { proposal: proposal(r.proposal)?, told: told(r.told)?, not_active })
}

pub(crate) fn vetoed(r: v1::VetoResponse) -> Result<VetoedBundle, BadField> {
    Ok(VetoedBundle { proposal: proposal(r.proposal)?, rule: some(r.rule), told: told(r.told)? })
}

pub(crate) fn history(r: v1::HistoryResponse) -> Result<Vec<ProposalInfo>, BadField> {
    r.proposals.into_iter().map(|p| proposal(Some(p))).collect()
}

pub(crate) fn proposal(p: Option<v1::Proposal>) -> Result<ProposalInfo, BadField> {
    let p = p.ok_or(BadField("proposal"))?;
    let previous = match p.previous.as_slice() {
        [] => None,
        bytes => Some(Digest::from_slice(bytes).ok_or(BadField("proposal.previous"))?),
    };
    let change = |c: v1::Change| ChangeInfo { direction: c.direction, file: c.file, item: c.item, words: c.words };
    Ok(ProposalInfo {
        name: name(p.version, &p.digest)?,
        previous,
        state: p.state,
        first_seen: UnixMillis(p.first_seen_ms),
        due: (p.due_ms > 0).then_some(UnixMillis(p.due_ms)),
        activated: (p.activated_ms > 0).then_some(UnixMillis(p.activated_ms)),
        tightens: p.tightens,
        vetoed_by: nodes(&p.vetoed_by)?,
        voted_by: nodes(&p.voted_by)?,
        changes: p.changes.into_iter().map(change).collect(),
    })
}

pub(super) fn name(version: u64, digest: &[u8]) -> Result<BundleName, BadField> {
    Ok(BundleName { version, digest: Digest::from_slice(digest).ok_or(BadField("digest"))? })
}

fn nodes(names: &[String]) -> Result<Vec<NodeName>, BadField> {
    names.iter().map(|n| NodeName::parse(n).map_err(|_| BadField("nodes"))).collect()
}
