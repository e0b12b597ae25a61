//! What one log says of token domains: everything was asked for by an intent that the node had permitted, of that domain,
//! while nothing froze it.

use super::Walk;
use crate::event::{Asked, DomainChanged, TokensUsed};
use crate::verify::finding::{Problem, TokenProblem};
use tally_domain::KeyName;
use tally_domain::intent::Action;

impl Walk<'_> {
    pub(super) fn domain_changed(&mut self, changed: DomainChanged) -> Result<(), Problem> {
        let DomainChanged { by, domain, .. } = changed;
        match by {
            Some(by) => {
                self.domain_asked(&by, &domain, |action| matches!(action, Action::CreateDomain | Action::ChangeDomain))
            }
            // What a wish has led to; the wish stands before it.
            None => Ok(()),
        }
    }

    pub(super) fn tokens_used(&mut self, used: TokensUsed) -> Result<(), Problem> {
        self.report.tokens += u64::from(used.rows.saturating_sub(used.refused));
        self.domain_asked(&used.by, &used.domain, |action| action == used.action)
    }

    fn domain_asked(&self, by: &Asked, domain: &KeyName, fits: impl FnOnce(Action) -> bool) -> Result<(), Problem> {
        let (request, domain) = (by.request_id, domain.clone());
        let intent = self.intents.get(&by.intent_digest).and_then(|intent| intent.as_ref().ok());
        let permitted = self.has_permitted(&(by.tenant.clone(), request), by.intent_digest);
        match intent.filter(|_| permitted) {
            None => Err(TokenProblem::NotPermitted { request, domain }.into()),
            Some(intent) if intent.key == domain && fits(intent.action) => self.is_not_frozen(&domain, request),
            Some(_) => Err(TokenProblem::NotAsked { request, domain }.into()),
        }
    }
}
