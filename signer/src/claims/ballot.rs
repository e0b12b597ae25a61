//! This node's one vote for an attempt at a signature with all that it takes of limits, and the certificate that such
//! votes make.

use crate::approval;
use crate::boot::BootIdentity;
use crate::claims::voter::Claimed;
use crate::result::hints_are_true;
use std::collections::{BTreeMap, BTreeSet};
use tally_audit::event::What;
use tally_domain::boot::{BadStatement, Statement};
use tally_domain::claim::Claimant;
use tally_domain::ports::store::{AttemptId, Step, Write};
use tally_domain::roster::Roster;
use tally_domain::vote::{Certificate, VOTE_TYPE, VoteBody};
use tally_domain::{Attempt, Digest, Electorate, NodeName, UnixMillis};

/// What a session adds to a permit to make it an object of a vote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// Which try.
    pub attempt: Attempt,
    /// Nodes of S, in the order of their party index.
    pub signers: Vec<NodeName>,
    /// Hash of the one-time material of the session.
    pub nonce: Digest,
    /// Session id.
    pub session: Digest,
}

/// What this node would vote for. Needs a permit and claims for what it charges: a node that did not admit a request
/// cannot vote for it, nor for it without its claims.
pub fn vote_body(claimed: &Claimed, binding: &Binding) -> VoteBody {
    let permit = claimed.permit();
    let subject = permit.subject();
    let intent = subject.intent();
    VoteBody {
        tenant: intent.tenant.clone(),
        request_id: intent.request_id,
        intent_digest: subject.opened().digest(),
        attempt: binding.attempt,
        signers: binding.signers.clone(),
        digest: subject.digest_to_sign(),
        nonce_binding: binding.nonce,
        session: binding.session,
        bundle: permit.bundle(),
        rule: permit.rule().into(),
        claims: claimed.claims().cloned(),
        approvals: approval::digests(permit.approvals()),
    }
}

/// Signs the vote and gives the step that must be durable before it leaves. The store refuses it whole if another
/// request's claim is in the way of any piece.
pub fn vote(body: &VoteBody, boot: &BootIdentity, now: UnixMillis) -> (Statement, Step) {
    use prost::Message as _;
    let statement = body.sign(boot.key(), boot.cert());
    let attempt = AttemptId { tenant: body.tenant.clone(), request: body.request_id, attempt: body.attempt };
    let vote = Write::Vote { attempt, statement: statement.encode_to_vec(), body: body.to_bytes() };
    let leaf = boot.leaf(now, What::Voted { vote: statement.clone() });
    (statement, Step { writes: write(body).into_iter().chain([vote]).collect(), leaves: vec![leaf] })
}

/// The write of what a vote takes of limits.
pub(super) fn write(body: &VoteBody) -> Option<Write> {
    let by = Claimant { tenant: body.tenant.clone(), request: body.request_id };
    body.claims.clone().map(|claims| Write::Claim { by, claims })
}

/// Collects votes: those of S, and where a limit applies those of a quorum of all voters.
#[derive(Debug)]
pub struct Ballot {
    body: VoteBody,
    electorate: Electorate,
    votes: BTreeMap<NodeName, Statement>,
    refused: BTreeSet<NodeName>,
}

/// Why a vote does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadVote {
    /// Signature, certificate or form.
    #[error(transparent)]
    Statement(#[from] BadStatement),
    /// It says that another key has signed it than did.
    #[error("the vote names another key than has signed it")]
    Hint,
    /// Signed by another node than the one that sent it.
    #[error("the vote is not the sender's own")]
    NotTheSenders,
    /// For something else than ours.
    #[error("the vote is for something else than ours")]
    Differs {
        /// Whether it contradicts the sender's own earlier messages: a member that is in the session at all has shown,
        /// by its greeting and its echo, that it computes the same session id. Only the intent's envelope and the
        /// one-time material are not in that id; if the difference is there, a third member may have caused it.
        own_words: bool,
    },
}

/// The votes of all of S on exactly what this node voted for, and of a quorum if that takes something of a limit. Only
/// [`Ballot::close`] mints it; a partial signature cannot be computed without it.
#[derive(Debug)]
#[must_use]
pub struct Certified {
    body: VoteBody,
    certificate: Certificate,
}

impl Certified {
    /// What was certified.
    pub fn body(&self) -> &VoteBody {
        &self.body
    }

    /// The votes.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }
}

/// Why a ballot makes no certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unclosed {
    /// Votes are missing.
    #[error("votes are missing")]
    Missing,
    /// The claims were issued too long ago: a signature now could meet others in one window.
    #[error("the claims were issued too long ago")]
    Expired,
    /// What one node does alone releases no partial signature.
    #[error("the votes are on what one node does alone")]
    NoSession,
}

impl Ballot {
    /// Opens a ballot with this node's own vote, which is durable by now.
    pub fn open(body: VoteBody, me: NodeName, own: Statement, electorate: Electorate) -> Self {
        Self { body, electorate, votes: BTreeMap::from([(me, own)]), refused: BTreeSet::new() }
    }

    /// Counts a vote that `from` sent.
    ///
    /// # Errors
    /// [`BadVote`]; the ballot is unchanged.
    pub fn add(&mut self, from: &NodeName, vote: Statement, roster: &Roster) -> Result<(), BadVote> {
        let (voter, theirs) = read(&vote, roster)?;
        if voter != *from {
            return Err(BadVote::NotTheSenders);
        }
        self.count(voter, &theirs, vote)
    }

    /// Counts a vote that somebody else has passed on.
    ///
    /// # Errors
    /// [`BadVote`]; the ballot is unchanged.
    pub fn add_passed_on(&mut self, vote: Statement, roster: &Roster) -> Result<(), BadVote> {
        let (voter, theirs) = read(&vote, roster)?;
        self.count(voter, &theirs, vote)
    }

    fn count(&mut self, voter: NodeName, theirs: &VoteBody, vote: Statement) -> Result<(), BadVote> {
        if *theirs != self.body {
            let VoteBody { intent_digest, nonce_binding, .. } = theirs.clone();
            let blameless = VoteBody { intent_digest, nonce_binding, ..self.body.clone() };
            return Err(BadVote::Differs { own_words: *theirs != blameless });
        }
        self.votes.insert(voter, vote);
        Ok(())
    }

    /// What is voted for.
    pub fn body(&self) -> &VoteBody {
        &self.body
    }

    /// Who of S has not voted.
    pub fn missing(&self) -> Vec<NodeName> {
        self.body.signers.iter().filter(|s| !self.votes.contains_key(*s)).cloned().collect()
    }

    /// Voters outside S, while a limit applies and too few have voted.
    pub fn wanting(&self) -> Vec<NodeName> {
        wanted(&self.body, &self.electorate, &self.votes.keys().cloned().collect())
    }

    /// A voter outside S will not vote. Whether there are still enough who may.
    pub fn refuse(&mut self, voter: NodeName) -> bool {
        self.refused.insert(voter);
        let mut possible = self.electorate.voters();
        possible.retain(|v| !self.refused.contains(v) || self.votes.contains_key(v));
        self.electorate.reached(&possible)
    }

    /// Voters outside S that will not vote.
    pub fn refused(&self) -> impl Iterator<Item = &NodeName> {
        self.refused.iter()
    }

    /// The votes of voters outside S, for passing on.
    pub fn of_others(&self) -> Vec<Statement> {
        let others = self.votes.iter().filter(|(voter, _)| !self.body.signers.contains(voter));
        others.map(|(_, vote)| vote.clone()).collect()
    }

    /// The certificate, once everyone has voted who has to. Ask [`Ballot::is_complete`] first: a ballot that is closed
    /// too early is gone.
    ///
    /// # Errors
    /// [`Unclosed`].
    pub fn close(self, now: UnixMillis) -> Result<Certified, Unclosed> {
        if self.body.home().is_some() {
            return Err(Unclosed::NoSession);
        }
        let (body, certificate) = self.into_certificate(now)?;
        Ok(Certified { body, certificate })
    }

    /// What is certified, whatever it is, and the votes.
    pub(super) fn into_certificate(self, now: UnixMillis) -> Result<(VoteBody, Certificate), Unclosed> {
        if !self.is_complete() {
            return Err(Unclosed::Missing);
        }
        if !self.body.claims.as_ref().is_none_or(|claims| claims.alive(now)) {
            return Err(Unclosed::Expired);
        }
        // Those of S ordered by party, so that every member makes the same bytes of them.
        let of_signers = self.body.signers.iter().filter_map(|s| self.votes.get(s).cloned());
        let votes = of_signers.chain(self.of_others()).collect();
        Ok((self.body, Certificate { votes }))
    }

    /// Whether everyone has voted who has to.
    pub fn is_complete(&self) -> bool {
        let voted = self.votes.keys().cloned().collect();
        self.missing().is_empty() && (self.body.claims.is_none() || self.electorate.reached(&voted))
    }
}

/// Voters outside S who may still vote, while a limit applies and too few of these have voted. Votes of S come by
/// themselves, so they are counted as if they were there.
pub(crate) fn wanted(body: &VoteBody, electorate: &Electorate, voted: &BTreeSet<NodeName>) -> Vec<NodeName> {
    let with_signers = voted.iter().chain(&body.signers).cloned().collect();
    if body.claims.is_none() || electorate.reached(&with_signers) {
        return Vec::new();
    }
    electorate.voters().difference(&with_signers).cloned().collect()
}

/// Checks a vote; gives whose it is and what it is for.
fn read(vote: &Statement, roster: &Roster) -> Result<(NodeName, VoteBody), BadVote> {
    let (cert, bytes) = vote.open(VOTE_TYPE, roster)?;
    if !hints_are_true(vote, roster) {
        return Err(BadVote::Hint);
    }
    Ok((cert.node, VoteBody::from_bytes(bytes)?))
}
