//! `tally token`: cards and the tokens that stand for them. A card number is never an argument: it comes on standard input.

mod import;

use crate::domain::with_verdict;
use crate::input;
use crate::intents::Kept;
use crate::output::{Shown, Usage, field};
use crate::profile::ProfileArg;
use crate::words::utc;
use serde_json::{Value, json};
use std::path::Path;
use tally_client::{BoundCard, Client, DoneBy, Exit, Order, TokenInfo};
use tally_domain::token::Token as TokenText;
use tally_domain::{KeyName, RequestId, SecretBytes, Subject};
use tally_tokenization::Call;
use tally_tokenization::pan::Form;
use zeroize::Zeroizing;

/// `tally token ...`
#[derive(Debug, clap::Subcommand)]
pub enum Token {
    /// Keep the card number on standard input, and give a token for it.
    Create(Create),
    /// Show a card number, or part of it, for a purpose.
    Reveal(Reveal),
    /// Find the tokens of the card number on standard input.
    Search(Search),
    /// What may be told of a token; never its card number.
    Show(OfToken),
    /// Have a token not revealed until it is resumed.
    Suspend(OfToken),
    /// Have a suspended token revealed again.
    Resume(OfToken),
    /// Destroy the card number of a token, or all of a subject.
    Delete(Delete),
    /// Keep the card numbers of a file, CSV or NDJSON; done again, it goes on where it was.
    Import(import::Import),
}

/// What all have.
#[derive(Debug, clap::Args)]
pub struct Common {
    /// The token domain.
    #[arg(long, value_name = "DOMAIN")]
    domain: KeyName,
    /// Names the request: 32 hex digits, as for `tally sign`.
    #[arg(long, value_parser = input::request_id, value_name = "HEX32")]
    request_id: Option<RequestId>,
    /// For people: goes into every log.
    #[arg(long, default_value = "")]
    note: String,
}

/// `tally token create`
#[derive(Debug, clap::Args)]
pub struct Create {
    #[command(flatten)]
    common: Common,
    /// Whose card it is: all of a subject's can be deleted together. Not in a domain with `--reuse per-domain`.
    #[arg(long)]
    subject: Option<Subject>,
}

/// `tally token reveal`
#[derive(Debug, clap::Args)]
pub struct Reveal {
    /// The token.
    token: TokenText,
    #[command(flatten)]
    common: Common,
    /// What for: a word of the policy.
    #[arg(long, value_name = "WORD", default_value = "")]
    purpose: String,
    #[command(flatten)]
    form: FormArg,
}

/// How much is shown; masked, if nothing is said.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct FormArg {
    /// All digits.
    #[arg(long)]
    full: bool,
    /// The last four.
    #[arg(long)]
    masked: bool,
    /// The BIN and the last four.
    #[arg(long)]
    bin_last4: bool,
}

/// `tally token search`
#[derive(Debug, clap::Args)]
pub struct Search {
    #[command(flatten)]
    common: Common,
    /// Only of this subject.
    #[arg(long)]
    subject: Option<Subject>,
}

/// `tally token show`
#[derive(Debug, clap::Args)]
pub struct OfToken {
    /// The token.
    token: TokenText,
    #[command(flatten)]
    common: Common,
}

/// `tally token delete`
#[derive(Debug, clap::Args)]
pub struct Delete {
    /// The token.
    #[arg(required_unless_present = "subject", conflicts_with = "subject")]
    token: Option<TokenText>,
    /// All of this subject's; ends with 1 if there are none.
    #[arg(long)]
    subject: Option<Subject>,
    #[command(flatten)]
    common: Common,
}

impl Token {
    /// Runs it.
    pub async fn run(self, profile: &ProfileArg) -> anyhow::Result<Shown> {
        let (client, kept) = (profile.client()?, Kept::beside(profile.path()?));
        match self {
            Self::Create(create) => create.run(&client, &kept).await,
            Self::Reveal(reveal) => reveal.run(&client, &kept).await,
            Self::Search(search) => search.run(&client, &kept).await,
            Self::Show(show) => show.run(&client, &kept).await,
            Self::Suspend(suspend) => suspend.set(&client, &kept, true).await,
            Self::Resume(resume) => resume.set(&client, &kept, false).await,
            Self::Delete(delete) => delete.run(&client, &kept).await,
            Self::Import(import) => import.run(&client).await,
        }
    }
}

impl Create {
    async fn run(self, client: &Client, kept: &Kept) -> anyhow::Result<Shown> {
        let Common { domain, request_id, note } = self.common;
        let id = drawn(client, request_id)?;
        let card = BoundCard::new(client.profile(), id, card_on_stdin()?, self.subject)?;
        let order = Order::tokens(domain.clone(), "", Call::Tokenize { card: card.commitment() });
        let asked = kept.seal(client, order.note(&note).request_id(id), request_id)?;
        let given = kept.settle(&asked, client.tokenize(&asked.intent, &card).await)?;
        let known = if given.created { "new" } else { "the card had it" };
        let fields = vec![field("token", format!("{} ({known})", given.token))];
        let document = json!({ "token": given.token.as_str(), "created": given.created });
        Ok(done(&domain, &id, &given.by, fields, document))
    }
}

impl Reveal {
    async fn run(self, client: &Client, kept: &Kept) -> anyhow::Result<Shown> {
        let Common { domain, request_id, note } = self.common;
        let form = match (self.form.full, self.form.bin_last4) {
            (true, _) => Form::Full,
            (_, true) => Form::BinLast4,
            (false, false) => Form::Masked,
        };
        let call = Call::Reveal { token: self.token, form };
        let asked = kept.seal(client, Order::tokens(domain.clone(), &self.purpose, call).note(&note), request_id)?;
        let revealed = kept.settle(&asked, client.reveal(&asked.intent).await)?;
        let value = std::str::from_utf8(revealed.value.expose())?;
        let fields = vec![field("card", value)];
        let document = json!({ "form": form.as_str(), "value": value });
        Ok(done(&domain, &asked.intent.request_id(), &revealed.by, fields, document))
    }
}

impl Search {
    async fn run(self, client: &Client, kept: &Kept) -> anyhow::Result<Shown> {
        let Common { domain, request_id, note } = self.common;
        let id = drawn(client, request_id)?;
        let card = BoundCard::new(client.profile(), id, card_on_stdin()?, self.subject)?;
        let order = Order::tokens(domain.clone(), "", Call::Search { card: card.commitment() });
        let asked = kept.seal(client, order.note(&note).request_id(id), request_id)?;
        let found = kept.settle(&asked, client.search(&asked.intent, &card).await)?;
        let mut fields: Vec<String> = found.tokens.iter().map(|token| field("token", token)).collect();
        if fields.is_empty() {
            fields.push(field("token", "none"));
        }
        let tokens: Vec<&str> = found.tokens.iter().map(TokenText::as_str).collect();
        Ok(done(&domain, &id, &found.by, fields, json!({ "tokens": tokens })))
    }
}

impl OfToken {
    async fn run(self, client: &Client, kept: &Kept) -> anyhow::Result<Shown> {
        let Common { domain, request_id, note } = self.common;
        let order = Order::tokens(domain.clone(), "", Call::Show { token: self.token }).note(&note);
        let asked = kept.seal(client, order, request_id)?;
        let (info, by) = kept.settle(&asked, client.token(&asked.intent).await)?;
        let (fields, document) = told(&info);
        Ok(done(&domain, &asked.intent.request_id(), &by, fields, document))
    }
}

impl OfToken {
    async fn set(self, client: &Client, kept: &Kept, suspended: bool) -> anyhow::Result<Shown> {
        let Common { domain, request_id, note } = self.common;
        let token = self.token.clone();
        let call = if suspended { Call::Suspend { token } } else { Call::Resume { token } };
        let asked = kept.seal(client, Order::tokens(domain.clone(), "", call).note(&note), request_id)?;
        let outcome = match suspended {
            true => client.suspend_token(&asked.intent).await,
            false => client.resume_token(&asked.intent).await,
        };
        let (state, by) = kept.settle(&asked, outcome)?;
        let fields = vec![field("token", &self.token), field("state", &state)];
        let document = json!({ "token": self.token.as_str(), "state": state });
        Ok(done(&domain, &asked.intent.request_id(), &by, fields, document))
    }
}

impl Delete {
    async fn run(self, client: &Client, kept: &Kept) -> anyhow::Result<Shown> {
        let Common { domain, request_id, note } = self.common;
        let id = drawn(client, request_id)?;
        let whose = self.subject.map(|subject| BoundCard::of_subject(client.profile(), id, subject)).transpose()?;
        let call = match (&whose, self.token) {
            (Some(whose), _) => Call::DeleteSubject { subject: whose.commitment() },
            (None, Some(token)) => Call::Delete { token },
            (None, None) => return Err(Usage("name a token, or give --subject".into()).into()),
        };
        let order = Order::tokens(domain.clone(), "", call).note(&note).request_id(id);
        let asked = kept.seal(client, order, request_id)?;
        let deleted = kept.settle(&asked, client.delete_token(&asked.intent, whose.as_ref()).await)?;
        let (what, exit) = match (deleted.deleted, &whose) {
            // A name that was mistyped would look as if there were nothing left.
            (0, Some(_)) => ("none: the domain has no card numbers of this subject".into(), Exit::Other),
            (0, None) => ("none: it was deleted before".into(), Exit::Done),
            (1, _) => ("1 card number".into(), Exit::Done),
            (many, _) => (format!("{many} card numbers"), Exit::Done),
        };
        let document = json!({ "deleted": deleted.deleted });
        Ok(done(&domain, &id, &deleted.by, vec![field("deleted", what)], document).ending(exit))
    }
}

fn drawn(client: &Client, given: Option<RequestId>) -> anyhow::Result<RequestId> {
    Ok(match given {
        Some(id) => id,
        None => client.draw_request_id()?,
    })
}

/// A card number, without the end of its line.
fn card_on_stdin() -> anyhow::Result<SecretBytes> {
    let bytes = Zeroizing::new(input::read(Path::new("-"))?);
    let card = bytes.trim_ascii();
    if card.is_empty() {
        return Err(Usage("give the card number on standard input".into()).into());
    }
    Ok(SecretBytes::new(card.to_vec()))
}

fn told(t: &TokenInfo) -> (Vec<String>, Value) {
    let mut fields = vec![field("token", &t.token), field("state", &t.state), field("made", utc(t.made_at))];
    fields.extend(t.brand.as_ref().map(|brand| field("brand", brand)));
    if let (Some(bin), Some(last4)) = (&t.bin, &t.last4) {
        fields.push(field("card", format!("{bin}…{last4}, {} digits", t.digits)));
    }
    fields.extend(t.subject.as_ref().map(|subject| field("subject", subject)));
    fields.extend(t.expires_at.map(|at| field("expires", utc(at))));
    fields.extend(t.uses_left.map(|uses| field("uses left", uses)));
    let document = json!({
        "token": t.token.as_str(), "state": t.state, "brand": t.brand, "bin": t.bin, "last4": t.last4,
        "digits": t.digits, "subject": t.subject, "made_at_ms": t.made_at.0,
        "expires_at_ms": t.expires_at.map(|at| at.0), "uses_left": t.uses_left,
    });
    (fields, document)
}

fn done(domain: &KeyName, id: &RequestId, by: &DoneBy, fields: Vec<String>, mut document: Value) -> Shown {
    let mut lines = vec![format!("PERMITTED by rule {}", by.rule), field("request", id), field("domain", domain)];
    lines.extend(fields);
    with_verdict(&mut document, &by.rule, id);
    if let Value::Object(members) = &mut document {
        members.insert("domain".into(), domain.as_str().into());
        members.insert("home".into(), by.home.as_str().into());
    }
    Shown::done(lines.join("\n"), document)
}
