//! What the log says of token domains. No card number is in it, no fingerprint, and no subject.

use super::Asked;
use tally_domain::intent::Action;
use tally_domain::token::Token;
use tally_domain::{Digest, KeyName};

/// Something became of a token domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainChanged {
    /// Who wanted it; nobody, when it is what an earlier wish has led to.
    pub by: Option<Asked>,
    /// The domain.
    pub domain: KeyName,
    /// What, in words.
    pub what: String,
}

/// Something was done with cards and tokens, and the client is about to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokensUsed {
    /// Who wanted it.
    pub by: Asked,
    /// What, as the intent says.
    pub action: Action,
    /// The domain.
    pub domain: KeyName,
    /// What for.
    pub purpose: String,
    /// How much of card numbers was shown; empty where nothing was.
    pub form: String,
    /// Which tokens. Of a stream that makes tokens only their number and digest.
    pub tokens: Vec<Token>,
    /// How many rows this leaf is about.
    pub rows: u32,
    /// How many of them were refused.
    pub refused: u32,
    /// [`digest_of`] the tokens that a stream has made.
    pub made: Option<Digest>,
}

/// Stands for tokens in their order, one a line.
pub fn digest_of<'a>(tokens: impl IntoIterator<Item = &'a Token>) -> Digest {
    let mut lines = String::new();
    for token in tokens {
        lines.push_str(token.as_str());
        lines.push('\n');
    }
    Digest::of(lines.as_bytes())
}
