//! What one log says of policy bundles: each follows the active one by the votes of a quorum, and decisions are under it.

use super::Walk;
use crate::event::BundleEvent;
use crate::verify::finding::{BundleProblem, Problem};
use crate::verify::warning::Oddity;
use prost::Message as _;
use std::collections::{BTreeMap, BTreeSet};
use tally_domain::activation::{BundleCertificate, BundleName, BundleVeto, BundleVote, VetoSpec};
use tally_domain::boot::Statement;
use tally_domain::dsse::{Envelope, content_digest};
use tally_domain::{Action, Digest, Intent, NodeName, RequestId, UnixMillis};

/// What a log says of bundles.
#[derive(Default)]
pub(in crate::verify) struct Trace {
    active: Option<Digest>,
    version: u64,
    seen: BTreeMap<Digest, (UnixMillis, bool)>,
    vetoed: BTreeSet<Digest>,
    /// Leaf, voter, the bundle before, and the one that was voted for.
    pub(in crate::verify) votes: Vec<(u64, NodeName, Digest, Digest)>,
    /// Leaf, the bundle before, and the one that became active.
    pub(in crate::verify) activations: Vec<(u64, Digest, Digest)>,
}

impl Walk<'_> {
    /// A node goes on with the bundle that it stopped under; only a directory may be another one at each start.
    pub(super) fn booted_under(&mut self, bundle: Digest) -> Result<(), Problem> {
        let before = self.bundles.active.replace(bundle);
        self.follow(bundle);
        match before {
            Some(before) if before != bundle && self.known.get(&before).is_some() => {
                Err(BundleProblem::OtherAtStart { before, now: bundle }.into())
            }
            _ => Ok(()),
        }
    }

    /// Who takes part is from here on what the active bundle says.
    fn follow(&mut self, bundle: Digest) {
        if let Some(facts) = self.known.get(&bundle) {
            self.roster = &facts.roster;
            self.bundles.version = facts.name.version;
        }
    }

    pub(super) fn is_active(&self, request: RequestId, bundle: Digest) -> Result<(), Problem> {
        match self.bundles.active {
            Some(active) if active != bundle => {
                Err(BundleProblem::DecidedUnderOther { request, bundle, active }.into())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn bundle(&mut self, event: &BundleEvent) -> Result<(), Problem> {
        match event {
            BundleEvent::Began { envelope } => self.bundle_began(envelope),
            BundleEvent::Seen { envelope, tightens } => self.bundle_seen(envelope, *tightens),
            BundleEvent::Voted { statement } => self.bundle_voted(statement),
            BundleEvent::Vetoed { statement } => self.bundle_vetoed(statement),
            BundleEvent::Activated { certificate, .. } => self.bundle_activated(certificate),
            // Of the admins, not of the node.
            BundleEvent::Forked { .. } => Ok(()),
        }
    }

    fn bundle_began(&mut self, envelope: &[u8]) -> Result<(), Problem> {
        let found = digest(envelope)?;
        match self.known.first() {
            Some(pinned) if pinned != found => Err(BundleProblem::NotPinned { pinned, found }.into()),
            _ if self.bundles.active != Some(found) => {
                let now = self.bundles.active.unwrap_or(found);
                Err(BundleProblem::OtherAtStart { before: found, now }.into())
            }
            _ => Ok(()),
        }
    }

    fn bundle_seen(&mut self, envelope: &[u8], tightens: bool) -> Result<(), Problem> {
        let digest = digest(envelope)?;
        self.bundles.seen.insert(digest, (self.time, tightens));
        if !self.known.are_given() {
            return Ok(());
        }
        let facts = self.known.get(&digest).ok_or(BundleProblem::NotSigned { digest })?;
        if tightens && !facts.tightens {
            return Err(BundleProblem::FalselyTight { bundle: facts.name }.into());
        }
        Ok(())
    }

    fn bundle_voted(&mut self, statement: &Statement) -> Result<(), Problem> {
        let (by, vote) = BundleVote::open(statement, self.roster).map_err(BundleProblem::Statement)?;
        if by != self.report.node {
            return Err(BundleProblem::NotItsOwn { by }.into());
        }
        self.bundles.votes.push((self.leaf, by, vote.previous, vote.bundle.digest));
        if self.bundles.vetoed.contains(&vote.bundle.digest) {
            return Err(BundleProblem::VotedVetoed { bundle: vote.bundle }.into());
        }
        let wait = self.known.get(&vote.previous).map_or(0, |before| before.loosening_delay_ms);
        let seen = self.bundles.seen.get(&vote.bundle.digest);
        // Development may shorten the wait, so that this is for a person to judge.
        if seen.is_some_and(|(at, tightens)| !tightens && self.time < at.plus(wait)) {
            self.warn(Oddity::VotedEarly { version: vote.bundle.version });
        }
        Ok(())
    }

    fn bundle_vetoed(&mut self, statement: &Statement) -> Result<(), Problem> {
        let (by, veto) = BundleVeto::open(statement, self.roster).map_err(BundleProblem::Statement)?;
        self.bundles.vetoed.insert(veto.bundle.digest);
        if by != self.report.node || self.veto_was_permitted(&veto) {
            return Ok(());
        }
        Err(BundleProblem::VetoNotPermitted.into())
    }

    fn veto_was_permitted(&self, veto: &BundleVeto) -> bool {
        let asked = |intent: &Intent| {
            let spec = VetoSpec::from_bytes(&intent.content);
            intent.action == Action::VetoPolicy && spec.is_ok_and(|spec| spec.bundle == veto.bundle)
        };
        let intent = self.intents.get(&veto.intent).and_then(|intent| intent.as_ref().ok());
        intent.is_some_and(|i| asked(i) && self.has_permitted(&(i.tenant.clone(), i.request_id), veto.intent))
    }

    fn bundle_activated(&mut self, certificate: &BundleCertificate) -> Result<(), Problem> {
        let vote = certificate.open(self.roster).map_err(BundleProblem::NoQuorum)?;
        for statement in &certificate.votes {
            let (by, vote) = BundleVote::open(statement, self.roster).map_err(BundleProblem::Statement)?;
            self.bundles.votes.push((self.leaf, by, vote.previous, vote.bundle.digest));
        }
        let BundleName { version, digest } = vote.bundle;
        self.bundles.activations.push((self.leaf, vote.previous, digest));
        let (before, active) = (self.bundles.version, self.bundles.active.replace(digest));
        self.bundles.version = version;
        self.follow(digest);
        if let Some(active) = active.filter(|active| *active != vote.previous) {
            return Err(BundleProblem::BrokenChain { bundle: vote.bundle, active }.into());
        }
        if version <= before {
            return Err(BundleProblem::WentBack { bundle: vote.bundle, before }.into());
        }
        if self.known.are_given() && self.known.get(&digest).is_none() {
            return Err(BundleProblem::NotSigned { digest }.into());
        }
        Ok(())
    }
}

fn digest(envelope: &[u8]) -> Result<Digest, BundleProblem> {
    let malformed = BundleProblem::Statement(tally_domain::boot::BadStatement::Malformed);
    Envelope::decode(envelope).map(|envelope| content_digest(&envelope)).map_err(|_| malformed)
}
