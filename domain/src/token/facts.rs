//! What rules are asked about token domains.

use crate::intent::Action;

/// What a client wants of cards and tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenFacts<'a> {
    /// What it asks for; a stream is asked about as what it does row by row.
    pub action: Action,
    /// What for; empty if it does not say.
    pub purpose: &'a str,
    /// How much of card numbers is shown: `full`, `masked`, `bin-last4`, or nothing.
    pub form: &'a str,
    /// At most so many rows.
    pub rows: u32,
    /// The token that it is about, or empty. Persons are shown it; no rule sees it.
    pub token: &'a str,
}

/// What is to become of a token domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DomainFacts<'a> {
    /// What: see [`DOMAIN_CHANGES`].
    pub change: &'a str,
    /// The key that it is about: `kek`, `data`, `index`, or none.
    pub key: &'a str,
    /// `strict`, `hybrid` or `one-way`.
    pub mode: &'a str,
    /// What its tokens look like.
    pub format: &'a str,
}

/// What can become of a domain.
pub const DOMAIN_CHANGES: &[&str] =
    &["create", "rotate", "shred", "pause", "continue", "retire", "suspend", "resume", "delete"];

/// What can be shown of a card number.
pub const FORMS: &[&str] = &["full", "masked", "bin-last4", ""];

/// How domains keep card numbers.
pub const MODES: &[&str] = &["strict", "hybrid", "one-way"];

impl TokenFacts<'_> {
    /// The action as rules name it.
    pub fn rule_action(&self) -> &'static str {
        match self.action {
            Action::TokenizeMany => Action::Tokenize.as_str(),
            Action::RevealMany => Action::Reveal.as_str(),
            action => action.as_str(),
        }
    }
}
