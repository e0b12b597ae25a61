//! Card numbers and token domains as tests use them.

use super::orders::key;
use super::vault::home;
use std::collections::BTreeSet;
use tally_client::{
    BoundCard, CardRow, Client, ClientError, Deleted, DomainInfo, DoneBy, Found, Order, Revealed, TokenInfo, Tokenized,
};
use tally_domain::token::{Reuse, Token, TokenDomain};
use tally_domain::{DomainName, SecretBytes, Subject, Tenant};
use tally_tokenization::pan::Form;
use tally_tokenization::spec::{Keeping, Mode};
use tally_tokenization::{Call, DomainChange, DomainSpec, Format};

/// A test card of a network, which must never be in any file.
pub const CANARY: &str = "4000056655665556";

pub fn hybrid() -> Keeping {
    Keeping::Reversible { mode: Mode::Hybrid, uses: None }
}

pub fn strict() -> Keeping {
    Keeping::Reversible { mode: Mode::Strict, uses: None }
}

/// A domain at the first node that gives a card its token again.
pub fn spec(name: &str, keeping: Keeping) -> DomainSpec {
    DomainSpec {
        domain: TokenDomain { tenant: Tenant::parse("acme").unwrap(), name: DomainName::parse(name).unwrap() },
        home: home(0),
        format: Format::Opaque,
        reuse: Reuse::PerDomain,
        keeping,
        life_s: None,
        brands: BTreeSet::new(),
    }
}

pub async fn make_domain(client: &Client, spec: &DomainSpec) -> Result<DomainInfo, ClientError> {
    let intent = client.seal(Order::create_domain(spec).unwrap()).unwrap();
    Ok(client.create_domain(&intent).await?.0)
}

pub async fn change(client: &Client, domain: &str, change: DomainChange) -> Result<DoneBy, ClientError> {
    client.change_domain(&client.seal(Order::change_domain(key(domain), change)).unwrap()).await
}

/// A card bound to a new request, and the order that has it.
pub fn bound(client: &Client, card: &str, whose: Option<&str>) -> (tally_domain::RequestId, BoundCard) {
    let id = client.draw_request_id().unwrap();
    let subject = whose.map(|whose| Subject::parse(whose).unwrap());
    (id, BoundCard::new(client.profile(), id, SecretBytes::new(card.as_bytes().to_vec()), subject).unwrap())
}

pub async fn tokenize_of(
    client: &Client,
    domain: &str,
    card: &str,
    whose: Option<&str>,
) -> Result<Tokenized, ClientError> {
    let (id, card) = bound(client, card, whose);
    let order = Order::tokens(key(domain), "", Call::Tokenize { card: card.commitment() }).request_id(id);
    client.tokenize(&client.seal(order).unwrap(), &card).await
}

pub async fn tokenize(client: &Client, domain: &str, card: &str) -> Result<Tokenized, ClientError> {
    tokenize_of(client, domain, card, None).await
}

pub async fn search(client: &Client, domain: &str, card: &str) -> Result<Found, ClientError> {
    let (id, card) = bound(client, card, None);
    let order = Order::tokens(key(domain), "", Call::Search { card: card.commitment() }).request_id(id);
    client.search(&client.seal(order).unwrap(), &card).await
}

pub fn reveal_order(domain: &str, token: &Token, form: Form, purpose: &str) -> Order {
    Order::tokens(key(domain), purpose, Call::Reveal { token: token.clone(), form })
}

pub async fn reveal_as(
    client: &Client,
    domain: &str,
    token: &Token,
    form: Form,
    purpose: &str,
) -> Result<String, ClientError> {
    client.reveal(&client.seal(reveal_order(domain, token, form, purpose)).unwrap()).await.map(|r| text(&r))
}

/// In full, for a refund.
pub async fn reveal(client: &Client, domain: &str, token: &Token) -> Result<String, ClientError> {
    reveal_as(client, domain, token, Form::Full, "refund").await
}

pub fn text(revealed: &Revealed) -> String {
    String::from_utf8(revealed.value.expose().to_vec()).unwrap()
}

pub async fn show(client: &Client, domain: &str, token: &Token) -> Result<TokenInfo, ClientError> {
    let order = Order::tokens(key(domain), "", Call::Show { token: token.clone() });
    Ok(client.token(&client.seal(order).unwrap()).await?.0)
}

/// Suspends a token, or resumes it; its state then.
pub async fn set_suspended(client: &Client, domain: &str, token: &Token, on: bool) -> Result<String, ClientError> {
    let token = token.clone();
    let call = if on { Call::Suspend { token } } else { Call::Resume { token } };
    let intent = client.seal(Order::tokens(key(domain), "", call)).unwrap();
    let done = if on { client.suspend_token(&intent).await } else { client.resume_token(&intent).await };
    Ok(done?.0)
}

pub async fn delete(client: &Client, domain: &str, token: &Token) -> Result<Deleted, ClientError> {
    let order = Order::tokens(key(domain), "", Call::Delete { token: token.clone() });
    client.delete_token(&client.seal(order).unwrap(), None).await
}

pub async fn delete_subject(client: &Client, domain: &str, whose: &str) -> Result<Deleted, ClientError> {
    let id = client.draw_request_id().unwrap();
    let whose = BoundCard::of_subject(client.profile(), id, Subject::parse(whose).unwrap()).unwrap();
    let order = Order::tokens(key(domain), "", Call::DeleteSubject { subject: whose.commitment() }).request_id(id);
    client.delete_token(&client.seal(order).unwrap(), Some(&whose)).await
}

/// The n-th of many card numbers, over many issuers: the guard lets a client ask about a few of one BIN and last four.
pub fn nth_card(n: u64) -> String {
    let body = format!("4{:05}{:09}", n % 60_013, n);
    let sum: u32 = body.bytes().rev().enumerate().map(|(at, b)| doubled(at, u32::from(b - b'0'))).sum();
    format!("{body}{}", (10 - sum % 10) % 10)
}

fn doubled(at: usize, digit: u32) -> u32 {
    let value = if at.is_multiple_of(2) { digit * 2 } else { digit };
    if value > 9 { value - 9 } else { value }
}

pub fn row(card: &str) -> CardRow {
    CardRow { number: SecretBytes::new(card.as_bytes().to_vec()), subject: None, line: 0 }
}

/// Tokens of cards, given in one stream.
pub async fn many(client: &Client, domain: &str, cards: &[String]) -> Vec<Token> {
    let call = Call::TokenizeMany { rows_max: 100_000, import: None };
    let mut stream = client.tokenize_many(&client.seal(Order::tokens(key(domain), "", call)).unwrap()).await.unwrap();
    let mut tokens = Vec::new();
    for chunk in cards.chunks(200) {
        stream.send(chunk.iter().map(|card| row(card)).collect()).await.unwrap();
        let rows = stream.next().await.unwrap().unwrap();
        tokens.extend(rows.into_iter().map(|row| row.outcome.unwrap().0));
    }
    stream.end();
    assert!(stream.next().await.unwrap().is_none());
    tokens
}
