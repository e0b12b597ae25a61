//! Claims: this node's one vote for an attempt, and the certificate that all of S make of theirs.

use crate::admit::Permit;
use crate::boot::BootIdentity;
use std::collections::BTreeMap;
use tally_audit::event::What;
use tally_domain::boot::{BadStatement, Statement};
use tally_domain::ports::store::{AttemptId, Step, Write};
use tally_domain::roster::Roster;
use tally_domain::vote::{Certificate, VOTE_TYPE, VoteBody};
use tally_domain::{Attempt, Digest, NodeName, UnixMillis};

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

/// What this node would vote for. Needs a permit: a node that did not admit a request cannot vote for it.
pub fn vote_body(permit: &Permit, binding: &Binding) -> VoteBody {
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
    }
}

/// Signs the vote and gives the step that must be durable before it leaves.
pub fn vote(body: &VoteBody, boot: &BootIdentity, now: UnixMillis) -> (Statement, Step) {
    use prost::Message as _;
    let statement = body.sign(boot.key(), boot.cert());
    let write = Write::Vote {
        attempt: AttemptId { tenant: body.tenant.clone(), request: body.request_id, attempt: body.attempt },
        statement: statement.encode_to_vec(),
        body: body.to_bytes(),
    };
    let leaf = boot.leaf(now, What::Voted { vote: statement.clone() });
    (statement, Step { writes: vec![write], leaves: vec![leaf] })
}

/// Collects the votes of S.
#[derive(Debug)]
pub struct Ballot {
    body: VoteBody,
    votes: BTreeMap<NodeName, Statement>,
}

/// Why a vote does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadVote {
    /// Signature, certificate or form.
    #[error(transparent)]
    Statement(#[from] BadStatement),
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

/// The votes of all of S on exactly what this node voted for. Only [`Ballot::close`] mints it; a partial signature
/// cannot be computed without it.
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

impl Ballot {
    /// Opens a ballot with this node's own vote, which is durable by now.
    pub fn open(body: VoteBody, me: NodeName, own: Statement) -> Self {
        Self { body, votes: BTreeMap::from([(me, own)]) }
    }

    /// Counts a vote that `from` sent.
    ///
    /// # Errors
    /// [`BadVote`]; the ballot is unchanged.
    pub fn add(&mut self, from: &NodeName, vote: Statement, roster: &Roster) -> Result<(), BadVote> {
        let (cert, bytes) = vote.open(VOTE_TYPE, roster)?;
        if cert.node != *from {
            return Err(BadVote::NotTheSenders);
        }
        let theirs = VoteBody::from_bytes(bytes)?;
        if theirs != self.body {
            let VoteBody { intent_digest, nonce_binding, .. } = theirs.clone();
            let blameless = VoteBody { intent_digest, nonce_binding, ..self.body.clone() };
            return Err(BadVote::Differs { own_words: theirs != blameless });
        }
        self.votes.insert(from.clone(), vote);
        Ok(())
    }

    /// Who has not voted.
    pub fn missing(&self) -> Vec<NodeName> {
        self.body.signers.iter().filter(|s| !self.votes.contains_key(*s)).cloned().collect()
    }

    /// The certificate, once all of S have voted. Ask [`Ballot::missing`] first: a ballot that is closed too early is gone.
    pub fn close(self) -> Option<Certified> {
        if !self.missing().is_empty() {
            return None;
        }
        // Ordered by party, so that every member makes the same bytes of it.
        let votes = self.body.signers.iter().filter_map(|s| self.votes.get(s).cloned()).collect();
        Some(Certified { body: self.body, certificate: Certificate { votes } })
    }
}
