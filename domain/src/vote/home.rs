//! Votes on what one node does alone: a signature with a key of its HSM, what a KEK of it wraps or opens. Voters guard the
//! limits that apply to it, and the one intent of its request; there is no session and no one-time material.
//!
//! Such a vote is told from one of a signing session by three fields at once: S is the home alone, which no threshold key
//! has, and both hashes, which a session computes of other things in other domains, say what it is. What is certified as
//! one of the two is therefore never taken for the other.

use super::{BadCertificate, Certificate, VoteBody};
use crate::claim::Claims;
use crate::digest::{Digest, TaggedHash};
use crate::ids::{Attempt, NodeName, RequestId, Tenant};
use crate::quorum::Electorate;
use crate::roster::Roster;

/// What a node is about to do alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HomeTask {
    /// Tenant of the request.
    pub tenant: Tenant,
    /// The request.
    pub request_id: RequestId,
    /// Digest of the client's intent.
    pub intent_digest: Digest,
    /// The node that does it.
    pub home: NodeName,
    /// What is done: the digest that is signed; of all else, which the intent says in full, the intent's.
    pub digest: Digest,
    /// The policy bundle that decided.
    pub bundle: Digest,
    /// The rule that decided.
    pub rule: String,
    /// As in [`VoteBody::approvals`].
    pub approvals: Vec<Digest>,
}

impl HomeTask {
    /// What is voted on. An attempt is one vote of the home: to claim other pieces, or at another time, takes the next.
    pub fn body(&self, attempt: Attempt, claims: Claims) -> VoteBody {
        let body = VoteBody {
            tenant: self.tenant.clone(),
            request_id: self.request_id,
            intent_digest: self.intent_digest,
            attempt,
            signers: vec![self.home.clone()],
            digest: self.digest,
            nonce_binding: Digest([0; 32]),
            session: Digest([0; 32]),
            bundle: self.bundle,
            rule: self.rule.clone(),
            claims: Some(claims),
            approvals: self.approvals.clone(),
        };
        let [nonce_binding, session] = marks(&body, &self.home);
        VoteBody { nonce_binding, session, ..body }
    }
}

impl VoteBody {
    /// The node that does this alone, if it is what one node does alone.
    pub fn home(&self) -> Option<&NodeName> {
        let [home] = self.signers.as_slice() else { return None };
        (marks(self, home) == [self.nonce_binding, self.session]).then_some(home)
    }
}

/// What stands where a session has its one-time material and its id. The first differs from attempt to attempt, as
/// one-time material does.
fn marks(body: &VoteBody, home: &NodeName) -> [Digest; 2] {
    ["tally/v1/home-task", "tally/v1/home-session"].map(|tag| {
        TaggedHash::new(tag)
            .field(home.as_str().as_bytes())
            .field(body.tenant.as_str().as_bytes())
            .field(&body.request_id.0)
            .field(&body.intent_digest.0)
            .number(body.attempt.0.into())
            .field(&body.digest.0)
            .finish()
    })
}

impl Certificate {
    /// As [`Certificate::open`], for what one node does alone; gives what was voted and who does it.
    ///
    /// # Errors
    /// [`BadCertificate`].
    pub fn open_home(&self, roster: &Roster) -> Result<(VoteBody, NodeName), BadCertificate> {
        let (body, voters) = self.read(roster)?;
        let home = body.home().cloned().ok_or(BadCertificate::OtherKind)?;
        if !voters.contains(&home) {
            return Err(BadCertificate::NotAllOfS);
        }
        // Nothing is asked of voters where no limit applies.
        if body.claims.is_none() || !Electorate::from(roster).reached(&voters) {
            return Err(BadCertificate::TooFew);
        }
        Ok((body, home))
    }
}
