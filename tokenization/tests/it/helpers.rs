//! Short ways to name things.

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tally_domain::token::TokenDomain;
use tally_domain::{DomainName, Tenant};
use tally_tokenization::Pan;

pub fn pan(text: &str) -> Pan {
    Pan::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e}"))
}

pub fn domain(tenant: &str, name: &str) -> TokenDomain {
    TokenDomain { tenant: Tenant::parse(tenant).unwrap(), name: DomainName::parse(name).unwrap() }
}

pub fn acme() -> TokenDomain {
    domain("acme", "cards")
}

pub fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

/// The digits with their check digit: every tenth number is a card number.
pub fn with_check_digit(stem: &str) -> String {
    (b'0'..=b'9')
        .map(|check| format!("{stem}{}", char::from(check)))
        .find(|text| tally_tokenization::luhn::is_valid(text.bytes().map(|b| b - b'0')))
        .unwrap()
}
