//! What one log says of limited work that its node does alone: a vote of its own, then the certificate of a quorum, and only
//! then the work.

use super::Walk;
use crate::verify::finding::{HomeProblem, Problem};
use crate::verify::ledger::{Fact, Request};
use std::rc::Rc;
use tally_domain::vote::Certificate;
use tally_domain::{Attempt, Digest};

impl Walk<'_> {
    pub(super) fn certified(&mut self, certificate: &Certificate) -> Result<(), Problem> {
        let (body, home) = certificate.open_home(self.roster)?;
        let (request_id, body) = (body.request_id, Rc::new(body));
        for voter in certificate.voters(self.roster) {
            self.fact(Fact::Vote { voter, body: Rc::clone(&body) });
        }
        self.fact(Fact::Certificate { body: Rc::clone(&body) });
        if home != self.report.node {
            return Err(HomeProblem::NotItsOwn { request: request_id, home }.into());
        }
        let request = (body.tenant.clone(), request_id);
        if self.votes.get(&(request.clone(), body.attempt)).is_none_or(|own| **own != *body) {
            return Err(HomeProblem::NotVoted { request: request_id }.into());
        }
        self.cleared.insert(request, body.digest);
        self.intent_is_not_frozen(body.intent_digest)
    }

    /// Whoever has asked for votes on its work has it certified before it does it.
    pub(super) fn is_cleared(&self, request: &Request, done: Option<Digest>) -> Result<(), Problem> {
        let mut own = self.votes.range((request.clone(), Attempt(0))..=(request.clone(), Attempt(u32::MAX)));
        match self.cleared.get(request) {
            Some(certified) if done == Some(*certified) => Ok(()),
            Some(_) => Err(HomeProblem::OtherWork { request: request.1 }.into()),
            None if own.any(|(_, body)| body.home().is_some()) => {
                Err(HomeProblem::Uncertified { request: request.1 }.into())
            }
            None => Ok(()),
        }
    }
}
