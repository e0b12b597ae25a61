//! What rows and fingerprints are bound to: every part counts, and no two ways of cutting give the same.

use crate::helpers::{acme, domain, pan};
use std::collections::BTreeSet;
use tally_domain::token::{DataKeyNumber, Token, TokenDomain};
use tally_tokenization::bind::{data_key_aad, index_input, row_aad};

fn token(text: &str) -> Token {
    Token::parse(text).unwrap()
}

#[test]
fn a_row_is_bound_to_tenant_domain_token_and_key() {
    let all = [
        row_aad(&acme(), &token("a"), DataKeyNumber(1)),
        row_aad(&acme(), &token("a"), DataKeyNumber(2)),
        row_aad(&acme(), &token("b"), DataKeyNumber(1)),
        row_aad(&domain("acme", "other"), &token("a"), DataKeyNumber(1)),
        row_aad(&domain("globex", "cards"), &token("a"), DataKeyNumber(1)),
        row_aad(&domain("acm", "ecards"), &token("a"), DataKeyNumber(1)),
        data_key_aad(&acme(), DataKeyNumber(1)),
        data_key_aad(&acme(), DataKeyNumber(2)),
        data_key_aad(&domain("acme", "other"), DataKeyNumber(1)),
    ];
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
}

/// Frozen: rows that were written must go on opening, and fingerprints go on being found.
#[test]
fn bindings_that_were_used_stay_the_same() {
    let aad = row_aad(&acme(), &token("tok_a"), DataKeyNumber(7));
    assert_eq!(aad.to_string(), "47fa13b97137e62b6906f80d1f5cec562e99b9cfaa3c01e821f1dc2216ccc7cc");
    let input = index_input(&acme(), &pan("4111 1111 1111 1111"));
    let expected = [
        "0000000000000014",
        "74616c6c792f76312f626c696e642d696e646578", // tally/v1/blind-index
        "0000000000000004",
        "61636d65", // acme
        "0000000000000005",
        "6361726473", // cards
        "0000000000000010",
        "34313131313131313131313131313131", // the digits
    ];
    assert_eq!(hex::encode(input.expose()), expected.concat());
}

#[test]
fn an_index_input_is_of_the_digits_however_they_were_written_and_of_the_domain() {
    let of = |domain: TokenDomain, text| index_input(&domain, &pan(text)).expose().to_vec();
    assert_eq!(of(acme(), "4111-1111-1111-1111"), of(acme(), "4111111111111111"));
    let all = [
        of(acme(), "4111111111111111"),
        of(acme(), "5555555555554444"),
        of(domain("acme", "card"), "4111111111111111"),
        of(domain("acmec", "ards"), "4111111111111111"),
    ];
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
}
