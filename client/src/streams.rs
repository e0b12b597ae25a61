//! Streams of cards and of tokens. A stream is opened once and is not sent again: what was answered is durable, and of the
//! rest whoever opened it asks anew.

use crate::answer::token;
use crate::client::Client;
use crate::error::ClientError;
use crate::order::SealedIntent;
use std::time::Duration;
use tally_domain::token::Token;
use tally_domain::{Reason, SecretBytes, Subject};
use tally_proto::v1;
use tally_proto::v1::token_service_client::TokenServiceClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

/// Most rows of one message.
pub const MESSAGE_ROWS_MAX: usize = 256;

/// Messages that wait to be sent.
const UNSENT_MAX: usize = 2;

/// Longest wait for one answer: a message of rows takes milliseconds, a token that hangs its deadline.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// A card of a stream.
pub struct CardRow {
    /// Its number.
    pub number: SecretBytes,
    /// Whose it is.
    pub subject: Option<Subject>,
    /// Of an import: the line of the file, from 1.
    pub line: u64,
}

/// A row that was refused: why, and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowRefused {
    /// Why.
    pub reason: Reason,
    /// What is wrong.
    pub detail: String,
}

/// What came of a row, by its number in the stream, from 0.
#[derive(Debug)]
pub struct Row<T> {
    /// Which.
    pub index: u64,
    /// What.
    pub outcome: Result<T, RowRefused>,
}

/// A card's token in a stream, and whether it is new.
pub type GivenToken = (Token, bool);

/// A stream of cards.
pub struct CardStream {
    to: Option<mpsc::Sender<v1::BatchTokenizeRequest>>,
    from: Streaming<v1::BatchTokenizeResponse>,
    endpoint: String,
    /// The rule that permitted it.
    pub rule: String,
    /// Lines of an import that were done before.
    pub lines_done: u64,
}

/// A stream of tokens.
pub struct TokenStream {
    to: Option<mpsc::Sender<v1::BatchRevealRequest>>,
    from: Streaming<v1::BatchRevealResponse>,
    endpoint: String,
    /// The rule that permitted it.
    pub rule: String,
}

impl Client {
    /// Opens a stream of cards at the domain's home.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn tokenize_many(&self, intent: &SealedIntent) -> Result<CardStream, ClientError> {
        let mut refused = None;
        for link in self.links_from_home(&intent.intent().key) {
            let (to, unsent) = mpsc::channel(UNSENT_MAX);
            let first = v1::BatchTokenizeRequest { intent: Some(intent.to_wire()), cards: Vec::new() };
            drop(to.send(first).await);
            let calling = async {
                let mut service = TokenServiceClient::new(link.channel.clone());
                let mut from = service.batch_tokenize(ReceiverStream::new(unsent)).await?.into_inner();
                let opened = from.message().await?.ok_or_else(|| Status::unavailable("the stream has ended"))?;
                Ok::<_, Status>((from, opened))
            };
            match tokio::time::timeout(ANSWER_MAX, calling).await {
                Ok(Ok((from, opened))) => {
                    let (endpoint, rule, lines_done) = (link.endpoint.to_string(), opened.rule, opened.lines_done);
                    return Ok(CardStream { to: Some(to), from, endpoint, rule, lines_done });
                }
                Ok(Err(status)) => refused = Some(self.elsewhere(&link.endpoint, &status)?),
                Err(_) => return Err(link.deadline()),
            }
        }
        Err(refused.unwrap_or(ClientError::Deadline { endpoint: "the cluster".into() }))
    }

    /// Opens a stream of tokens at the domain's home.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn reveal_many(&self, intent: &SealedIntent) -> Result<TokenStream, ClientError> {
        let mut refused = None;
        for link in self.links_from_home(&intent.intent().key) {
            let (to, unsent) = mpsc::channel(UNSENT_MAX);
            let first = v1::BatchRevealRequest { intent: Some(intent.to_wire()), tokens: Vec::new() };
            drop(to.send(first).await);
            let calling = async {
                let mut service = TokenServiceClient::new(link.channel.clone());
                let mut from = service.batch_reveal(ReceiverStream::new(unsent)).await?.into_inner();
                let opened = from.message().await?.ok_or_else(|| Status::unavailable("the stream has ended"))?;
                Ok::<_, Status>((from, opened))
            };
            match tokio::time::timeout(ANSWER_MAX, calling).await {
                Ok(Ok((from, opened))) => {
                    return Ok(TokenStream {
                        to: Some(to),
                        from,
                        endpoint: link.endpoint.to_string(),
                        rule: opened.rule,
                    });
                }
                Ok(Err(status)) => refused = Some(self.elsewhere(&link.endpoint, &status)?),
                Err(_) => return Err(link.deadline()),
            }
        }
        Err(refused.unwrap_or(ClientError::Deadline { endpoint: "the cluster".into() }))
    }

    /// Another node may be the home, or be there; anything else is the answer.
    fn elsewhere(&self, endpoint: &str, status: &Status) -> Result<ClientError, ClientError> {
        let error = ClientError::from_status(endpoint, status);
        let home = error.refused().is_some_and(|refused| refused.reason == Reason::HomeNode);
        if home || matches!(error, ClientError::Unreachable { .. }) { Ok(error) } else { Err(error) }
    }
}

impl CardStream {
    /// Sends cards, at most [`MESSAGE_ROWS_MAX`]; each such message has one answer.
    ///
    /// # Errors
    /// [`ClientError`] when the stream has ended; [`CardStream::next`] says why.
    pub async fn send(&mut self, rows: Vec<CardRow>) -> Result<(), ClientError> {
        let cards = rows.into_iter().map(|row| v1::CardRow {
            card: row.number.expose().to_vec(),
            subject: row.subject.map(|subject| subject.to_string()).unwrap_or_default(),
            line: row.line,
        });
        let message = v1::BatchTokenizeRequest { intent: None, cards: cards.collect() };
        let sent = match &self.to {
            Some(to) => to.send(message).await.is_ok(),
            None => false,
        };
        if sent { Ok(()) } else { Err(ClientError::Deadline { endpoint: self.endpoint.clone() }) }
    }

    /// No more is sent.
    pub fn end(&mut self) {
        self.to = None;
    }

    /// What came of the next message; nothing once all are answered.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn next(&mut self) -> Result<Option<Vec<Row<GivenToken>>>, ClientError> {
        let Some(answer) = answered(self.from.message(), &self.endpoint).await? else { return Ok(None) };
        let wrong = |field| ClientError::Answer { endpoint: self.endpoint.clone(), field };
        let row = |row: v1::TokenizedRow| {
            let outcome = match refused(&row.reason, row.detail).ok_or(wrong("reason"))? {
                Some(refused) => Err(refused),
                None => Ok((token(&row.token).map_err(|_| wrong("token"))?, row.created)),
            };
            Ok(Row { index: row.index, outcome })
        };
        answer.rows.into_iter().map(row).collect::<Result<_, _>>().map(Some)
    }
}

impl TokenStream {
    /// Sends tokens, at most [`MESSAGE_ROWS_MAX`]; each such message has one answer.
    ///
    /// # Errors
    /// As [`CardStream::send`].
    pub async fn send(&mut self, tokens: Vec<Token>) -> Result<(), ClientError> {
        let tokens = tokens.iter().map(ToString::to_string).collect();
        let message = v1::BatchRevealRequest { intent: None, tokens };
        let sent = match &self.to {
            Some(to) => to.send(message).await.is_ok(),
            None => false,
        };
        if sent { Ok(()) } else { Err(ClientError::Deadline { endpoint: self.endpoint.clone() }) }
    }

    /// No more is sent.
    pub fn end(&mut self) {
        self.to = None;
    }

    /// What came of the next message; nothing once all are answered.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn next(&mut self) -> Result<Option<Vec<Row<SecretBytes>>>, ClientError> {
        let Some(answer) = answered(self.from.message(), &self.endpoint).await? else { return Ok(None) };
        let row = |row: v1::RevealedRow| {
            let value = SecretBytes::new(row.value);
            let known = refused(&row.reason, row.detail);
            let known = known.ok_or(ClientError::Answer { endpoint: self.endpoint.clone(), field: "reason" })?;
            let outcome = known.map_or(Ok(value), Err);
            Ok(Row { index: row.index, outcome })
        };
        answer.rows.into_iter().map(row).collect::<Result<_, _>>().map(Some)
    }
}

async fn answered<T>(
    next: impl Future<Output = Result<Option<T>, Status>>,
    endpoint: &str,
) -> Result<Option<T>, ClientError> {
    match tokio::time::timeout(ANSWER_MAX, next).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(status)) => Err(ClientError::from_status(endpoint, &status)),
        Err(_) => Err(ClientError::Deadline { endpoint: endpoint.into() }),
    }
}

/// Nothing refused, a refusal, or a word that is no reason.
fn refused(reason: &str, detail: String) -> Option<Option<RowRefused>> {
    if reason.is_empty() {
        return Some(None);
    }
    Reason::parse(reason).map(|reason| Some(RowRefused { reason, detail }))
}
