//! The step with a card.

use super::search;
use super::tour::{Told, Tour};
use crate::domain::settled;
use anyhow::{bail, ensure};
use std::collections::BTreeSet;
use tally_client::{BoundCard, Client, ClientError, Order};
use tally_domain::token::{Reuse, Token, TokenDomain};
use tally_domain::{DomainName, KeyName, Reason, SecretBytes};
use tally_tokenization::pan::Form;
use tally_tokenization::spec::{Keeping, Mode};
use tally_tokenization::{Call, DomainChange, DomainSpec, Format, RotatedKey};

/// A test card of a network.
pub const CARD: &str = "4242424242424242";

/// A card that is kept, found, shown, refused, carried over to another key, and shredded; and then is in no file.
pub async fn kept(tour: &Tour) -> Told {
    let dir = tour.dir.clone();
    let client = tour.client()?;
    let (domain, home, rule) = created(client).await?;
    let mut lines = vec![format!("cards: tokens in the HSM of {home}, hybrid, by rule {rule}")];

    let given = tokenized(client, &domain).await?;
    lines.push(format!("a card ending in 4242: {}", given.as_str()));
    let (id, card) = bound(client)?;
    let search = Order::tokens(domain.clone(), "", Call::Search { card: card.commitment() }).request_id(id);
    let found = client.search(&client.seal(search)?, &card).await?;
    ensure!(found.tokens == [given.clone()], "the card's token was not found");
    let masked = shown(client, &domain, &given, Form::Masked, "support").await?;
    let full = shown(client, &domain, &given, Form::Full, "refund").await?;
    ensure!(masked == "************4242" && full == CARD, "another card was shown");
    lines.push(format!("found by its number; shown as {masked} for support, and in full for a refund"));
    let none = refusal(shown(client, &domain, &given, Form::Full, "").await)?;
    let wrong = refusal(shown(client, &domain, &given, Form::Full, "support").await)?;
    ensure!((none, wrong) == (Reason::PurposeRequired, Reason::PolicyDenied), "{none:?} {wrong:?}");
    lines.push(format!("without a purpose: {}; in full for support: {}", none.as_str(), wrong.as_str()));

    changed(client, &domain, DomainChange::Rotate(RotatedKey::Data)).await?;
    settled(client, &domain, false).await?;
    ensure!(shown(client, &domain, &given, Form::Full, "refund").await? == CARD, "the card is another");
    ensure!(tokenized(client, &domain).await? == given, "the token is another");
    lines.push("the data key was rotated: the same token, the same card".into());

    let delete = Order::tokens(domain.clone(), "", Call::Delete { token: given.clone() });
    client.delete_token(&client.seal(delete)?, None).await?;
    changed(client, &domain, DomainChange::Shred).await?;
    let left = settled(client, &domain, true).await?;
    let destroyed = left.keys.iter().filter(|key| key.state == "destroyed").count();
    let gone = refusal(shown(client, &domain, &given, Form::Full, "refund").await)?;
    ensure!(gone == Reason::TokenShredded, "{gone:?}");
    lines.push(format!("deleted and shredded: {}, {destroyed} old keys destroyed", gone.as_str()));

    let (files, (pages, counted)) = (search::files(&dir)?, search::metrics(&dir).await?);
    ensure!(counted, "no node has counted the card's call");
    lines.push(format!("{files} files and {pages} pages of metrics searched for the card number: 0 hits"));
    Ok(lines)
}

async fn created(client: &Client) -> anyhow::Result<(KeyName, String, String)> {
    let home = client.node().await?.node;
    let spec = DomainSpec {
        domain: TokenDomain { tenant: client.profile().tenant.clone(), name: DomainName::parse("cards")? },
        home,
        format: Format::Opaque,
        reuse: Reuse::PerDomain,
        keeping: Keeping::Reversible { mode: Mode::Hybrid, uses: None },
        life_s: None,
        brands: BTreeSet::new(),
    };
    let (domain, rule) = client.create_domain(&client.seal(Order::create_domain(&spec)?.note("demo"))?).await?;
    ensure!(domain.state == "active", "the domain is {}", domain.state);
    Ok((domain.name, domain.home.to_string(), rule))
}

fn bound(client: &Client) -> anyhow::Result<(tally_domain::RequestId, BoundCard)> {
    let id = client.draw_request_id()?;
    Ok((id, BoundCard::new(client.profile(), id, SecretBytes::new(CARD.as_bytes().to_vec()), None)?))
}

async fn tokenized(client: &Client, domain: &KeyName) -> anyhow::Result<Token> {
    let (id, card) = bound(client)?;
    let order = Order::tokens(domain.clone(), "", Call::Tokenize { card: card.commitment() }).request_id(id);
    Ok(client.tokenize(&client.seal(order)?, &card).await?.token)
}

async fn shown(
    client: &Client,
    domain: &KeyName,
    token: &Token,
    form: Form,
    purpose: &str,
) -> Result<String, ClientError> {
    let order = Order::tokens(domain.clone(), purpose, Call::Reveal { token: token.clone(), form });
    let revealed = client.reveal(&client.seal(order)?).await?;
    Ok(String::from_utf8_lossy(revealed.value.expose()).into_owned())
}

async fn changed(client: &Client, domain: &KeyName, change: DomainChange) -> anyhow::Result<()> {
    client.change_domain(&client.seal(Order::change_domain(domain.clone(), change).note("demo"))?).await?;
    Ok(())
}

fn refusal(outcome: Result<String, ClientError>) -> anyhow::Result<Reason> {
    match outcome {
        Err(ClientError::Refused(refused)) => Ok(refused.reason),
        Err(other) => Err(other.into()),
        Ok(_) => bail!("a card was shown that must not be"),
    }
}
