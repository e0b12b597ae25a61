//! The stage in which members vote, and the leader of a limited request asks voters outside S too.

use super::{SignSession, Stage};
use crate::claims::{self, BadVote, Ballot, Unclosed};
use crate::freeze::unless_frozen;
use crate::release;
use crate::result::SignResult;
use crate::session::{Action, QUORUM, Trouble};
use crate::wire::Message;
use prost::Message as _;
use std::collections::BTreeSet;
use tally_domain::boot::Statement;
use tally_domain::vote::VoteBody;
use tally_domain::{Electorate, NodeName, Reason, Refusal, UnixMillis};

/// What a voter outside S answers.
pub(super) enum Answer {
    Vote(Statement),
    NoVote { voter: NodeName, why: Refusal },
}

/// Whose answer a session waits for when all of S have voted, and a limit needs the votes of others too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quorum {
    /// The voters', which this node has asked.
    OfVoters,
    /// The leader's, which has asked them.
    FromLeader,
}

impl SignSession {
    /// Whether the session waits for a quorum now, and for whom.
    pub fn awaits_quorum(&self) -> Option<Quorum> {
        let Stage::Voting { ballot, .. } = &self.stage else { return None };
        let waits = ballot.missing().is_empty() && !ballot.wanting().is_empty();
        waits.then_some(if self.leads() { Quorum::OfVoters } else { Quorum::FromLeader })
    }

    pub(super) fn vote(
        &mut self,
        from: &NodeName,
        bytes: &[u8],
        now: UnixMillis,
    ) -> Result<Vec<Action<SignResult>>, Trouble> {
        let Stage::Voting { ballot, .. } = &mut self.stage else { return Ok(Vec::new()) };
        let violation = |what: String| Trouble::Violation { from: from.clone(), stage: "vote", what };
        let statement = Statement::decode(bytes).map_err(|_| violation("malformed vote".into()))?;
        match ballot.add(from, statement, self.start.bundle.roster()) {
            Ok(()) => {}
            Err(BadVote::Differs { own_words: false }) => return Err(Trouble::Mismatch { stage: "vote" }),
            Err(bad) => return Err(violation(bad.to_string())),
        }
        self.close_ballot(now)
    }

    /// Asks voters outside S, if this node leads and a limit applies.
    pub(super) fn canvass(&self, body: &VoteBody) -> Option<Action<SignResult>> {
        let voters = claims::wanted(body, &self.electorate(), &BTreeSet::new());
        if !self.leads() || voters.is_empty() {
            return None;
        }
        let permit = self.start.claimed.permit();
        let envelope = Box::new(permit.subject().opened().envelope().clone());
        Some(Action::Canvass { voters, envelope, approvals: permit.approvals().to_vec(), body: body.to_bytes() })
    }

    pub(super) fn electorate(&self) -> Electorate {
        Electorate::from(self.start.bundle.roster())
    }

    /// A voter outside S has answered this node, which leads. While its own vote is being written the answer waits: each
    /// voter that was asked gives one.
    pub(super) fn answered(&mut self, answer: Answer, now: UnixMillis) -> Result<Vec<Action<SignResult>>, Trouble> {
        if matches!(self.stage, Stage::PersistingVote { .. }) {
            self.answers.push(answer);
            return Ok(Vec::new());
        }
        match answer {
            Answer::Vote(vote) => self.canvassed(vote, now),
            Answer::NoVote { voter, why } => self.refused(voter, why),
        }
    }

    /// Once there are enough the members get them, and no more.
    fn canvassed(&mut self, vote: Statement, now: UnixMillis) -> Result<Vec<Action<SignResult>>, Trouble> {
        let Stage::Voting { ballot, .. } = &mut self.stage else { return Ok(Vec::new()) };
        // A vote that does not count is a vote that is not there; one too many would be news to nobody.
        if ballot.wanting().is_empty() || ballot.add_passed_on(vote, self.start.bundle.roster()).is_err() {
            return Ok(Vec::new());
        }
        if !ballot.wanting().is_empty() {
            return Ok(Vec::new());
        }
        let votes = ballot.of_others().iter().map(prost::Message::encode_to_vec).collect();
        let mut actions = self.start.members.to_all(&Message::Votes(votes).encode());
        actions.extend(self.close_ballot(now)?);
        Ok(actions)
    }

    /// A voter outside S will not vote; when too few are left that may, another place on the line has to be tried.
    fn refused(&mut self, voter: NodeName, why: Refusal) -> Result<Vec<Action<SignResult>>, Trouble> {
        let Stage::Voting { ballot, .. } = &mut self.stage else { return Ok(Vec::new()) };
        if ballot.wanting().is_empty() || ballot.refuse(voter) {
            return Ok(Vec::new());
        }
        // When voters are away, all that are.
        let names: Vec<_> = ballot.refused().map(NodeName::as_str).collect();
        Err(Trouble::Own(if why.reason == Reason::Voters { why.with("node", names.join(",")) } else { why }))
    }

    /// The leader passes on what voters outside S have said.
    pub(super) fn passed_on(
        &mut self,
        from: &NodeName,
        votes: &[Vec<u8>],
        now: UnixMillis,
    ) -> Result<Vec<Action<SignResult>>, Trouble> {
        let Stage::Voting { ballot, .. } = &mut self.stage else { return Ok(Vec::new()) };
        let violation = |what: &str| Trouble::Violation { from: from.clone(), stage: "vote", what: what.into() };
        if *from != self.start.leader || ballot.wanting().is_empty() {
            return Err(violation("votes that were not asked for"));
        }
        for vote in votes {
            let vote = Statement::decode(vote.as_slice()).map_err(|_| violation("malformed vote"))?;
            let added = ballot.add_passed_on(vote, self.start.bundle.roster());
            added.map_err(|bad| violation(&bad.to_string()))?;
        }
        if !ballot.wanting().is_empty() {
            return Err(violation("too few votes for the limits that apply"));
        }
        self.close_ballot(now)
    }

    /// Once everyone has voted for the same who has to, the one-time material is spent on it.
    fn close_ballot(&mut self, now: UnixMillis) -> Result<Vec<Action<SignResult>>, Trouble> {
        if !matches!(&self.stage, Stage::Voting { ballot, .. } if ballot.is_complete()) {
            return Ok(Vec::new());
        }
        let Stage::Voting { ballot, presignature } = std::mem::replace(&mut self.stage, Stage::Ended) else {
            return Ok(Vec::new());
        };
        let certified = ballot.close(now).map_err(too_late)?;
        let unreleased =
            release::compute(certified, presignature, &self.start.share, self.start.claimed.permit().subject())
                .map_err(Trouble::Fault)?;
        let step = unless_frozen(unreleased.step(&self.start.boot, now), self.key());
        // If the write's answer is lost, it may be on the disk: never promise not to release from here on.
        self.released = true;
        let id = self.persist_id();
        self.stage = Stage::PersistingRelease { id, unreleased };
        Ok(vec![Action::Persist { id, step }])
    }

    pub(super) fn waiting_for_votes(&self, ballot: &Ballot) -> (&'static str, Vec<NodeName>) {
        match ballot.missing() {
            missing if !missing.is_empty() => (self.stage.name(), missing),
            // Members hear of others' votes from the leader only.
            _ if !self.leads() => (QUORUM, vec![self.start.leader.clone()]),
            _ => (QUORUM, ballot.wanting()),
        }
    }
}

fn too_late(why: Unclosed) -> Trouble {
    Trouble::Own(Refusal::new(Reason::SessionAborted).with("round", "vote").with("detail", why.to_string()))
}
