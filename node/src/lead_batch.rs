//! Streams of cards and of tokens: one signed opening, then one durable step for each message. What was answered is durable.

use crate::lead_hsm::try_commit;
use crate::lead_token::{Using, enter, usable};
use crate::node::{Node, now};
use crate::reply;
use crate::vault::issue::{Given, Issue, card};
use crate::vault::{self, Opened as Row};
use std::sync::Arc;
use tally_audit::event::digest_of;
use tally_domain::dsse::Envelope;
use tally_domain::ports::hsm::ROWS_MAX;
use tally_domain::ports::store::tokens::{CursorWrite, ImportRow, TokenRow, VaultWrite};
use tally_domain::ports::store::{StoreError, Write};
use tally_domain::token::Token;
use tally_domain::{Action, ClientId, Reason, Refusal, SecretBytes};
use tally_proto::v1;
use tally_signer::tokens::Done;
use tally_tokenization::Call;
use tally_tokenization::call::Import;
use tally_tokenization::pan::Form;

/// A stream that is open.
pub struct Stream {
    using: Using,
    client: ClientId,
    /// Rows that have come so far.
    rows: u64,
    rejected: u64,
    /// Lines of an import that were done before it.
    lines_done: u64,
}

/// A message whose cards are on their way into the vault.
pub struct Prepared {
    first: u64,
    issue: Issue,
    /// The last line of an import.
    line: u64,
}

impl Stream {
    /// Opens a stream; one intent opens one stream.
    ///
    /// # Errors
    /// A [`Refusal`].
    pub async fn open(node: &Arc<Node>, client: ClientId, action: Action, envelope: Envelope) -> Result<Self, Refusal> {
        let using = enter(node, client.clone(), action, envelope).await?.open(node).await?;
        let before = match &using.used.call().call {
            Call::TokenizeMany { import: Some(import), .. } => {
                node.vaults.store.import(&using.loaded.domain, &import.id).map_err(|e| reply::of_store(&e))?
            }
            _ => None,
        };
        let (rejected, lines_done) = before.map_or((0, 0), |row| (row.rejected, row.lines));
        Ok(Self { using, client, rows: 0, rejected, lines_done })
    }

    /// The rule that permitted it.
    pub fn rule(&self) -> String {
        self.using.used.rule().into()
    }

    /// Lines of an import that were done before.
    pub fn lines_done(&self) -> u64 {
        self.lines_done
    }

    fn import(&self) -> Option<Import> {
        match &self.using.used.call().call {
            Call::TokenizeMany { import, .. } => *import,
            _ => None,
        }
    }

    /// Counts the rows of a message; gives the number of its first.
    ///
    /// # Errors
    /// `BATCH_ROWS`.
    pub fn count(&mut self, rows: usize) -> Result<u64, Refusal> {
        let first = self.rows;
        self.rows = first.saturating_add(rows as u64);
        let rows_max = self.using.used.call().call.rows();
        if rows > ROWS_MAX || self.rows > u64::from(rows_max) {
            let refusal = Refusal::new(Reason::BatchRows).with("rows_max", rows_max.to_string());
            return Err(refusal.with("message_rows_max", ROWS_MAX.to_string()));
        }
        Ok(first)
    }

    /// Draws, seals and fingerprints the cards of a message.
    ///
    /// # Errors
    /// `HSM`, `TAMPERED`, `STORAGE`.
    pub fn prepare(
        &self,
        node: &Arc<Node>,
        first: u64,
        cards: Vec<v1::CardRow>,
    ) -> impl Future<Output = Result<Prepared, Refusal>> + Send + use<> {
        let (node, client) = (node.clone(), self.client.clone());
        let loaded = node.vaults.load(&self.using.loaded.domain);
        async move {
            let line = cards.iter().map(|row| row.line).max().unwrap_or(0);
            let read = cards.into_iter().map(|row| {
                let number = SecretBytes::new(row.card);
                card(number.expose(), &row.subject)
            });
            let issue = Issue::prepare(&node, &client, loaded?, read.collect()).await?;
            Ok(Prepared { first, issue, line })
        }
    }

    /// Writes the cards of a message down.
    ///
    /// # Errors
    /// A refusal of all of them.
    pub async fn keep(&mut self, node: &Arc<Node>, prepared: Prepared) -> Result<Vec<v1::TokenizedRow>, Refusal> {
        let Prepared { first, issue, line } = prepared;
        let (using, import, rejected, lines_done) = (&self.using, self.import(), self.rejected, self.lines_done);
        let given = issue
            .commit(node, |mut writes, given| {
                let tokens = given.iter().filter_map(|given| match given {
                    Given::Token { token, .. } => Some(token),
                    Given::Refused(_) => None,
                });
                let made = digest_of(tokens.clone());
                let refused = given.len() - tokens.count();
                let [rows, refused] = [given.len(), refused].map(|n| u32::try_from(n).unwrap_or(u32::MAX));
                // Lines that come again, because whoever sent them has not seen the answer, do not set it back.
                if let Some(Import { id, source }) = import.filter(|_| line > lines_done) {
                    writes.push(Write::Vault(VaultWrite::Cursor(CursorWrite::Imported(ImportRow {
                        domain: using.loaded.domain.clone(),
                        import: id,
                        source: source.0,
                        lines: line,
                        rejected: rejected + u64::from(refused),
                        updated_at: now(),
                    }))));
                }
                let done = Done { tokens: Vec::new(), rows, refused, made: Some(made) };
                using.used.step(writes, done, None, &node.boot, now())
            })
            .await?;
        let rows: Vec<_> = (first..).zip(given).map(|(index, given)| tokenized(index, given)).collect();
        self.rejected += rows.iter().filter(|row| row.token.is_empty()).count() as u64;
        Ok(rows)
    }

    /// Reveals the tokens of a message.
    ///
    /// # Errors
    /// A refusal of all of them.
    pub async fn reveal(
        &mut self,
        node: &Arc<Node>,
        first: u64,
        tokens: Vec<String>,
    ) -> Result<Vec<v1::RevealedRow>, Refusal> {
        let form = self.using.used.call().call.form().ok_or(Reason::Bug)?;
        let loaded = node.vaults.load(&self.using.loaded.domain)?;
        let read = |text: &String| {
            let token = Token::parse(text).map_err(|_| Refusal::from(Reason::TokenNotFound))?;
            usable(node, &loaded, &token, false)
        };
        let mut outcomes: Vec<Result<TokenRow, Refusal>> = tokens.iter().map(read).collect();
        let rows: Vec<TokenRow> = outcomes.iter().filter_map(|row| row.as_ref().ok().cloned()).collect();
        let mut opened = vault::open(node, &loaded, &rows).await?.into_iter();
        let mut shown: Vec<Result<(Token, Row), Refusal>> = Vec::with_capacity(outcomes.len());
        for outcome in outcomes.drain(..) {
            shown.push(outcome.and_then(|row| match opened.next() {
                Some(opened @ Row::Pan(_)) => Ok((row.token, opened)),
                // The keys changed just now; asked again, it is found.
                Some(Row::OtherKeys) => Err(Reason::Contention.into()),
                Some(Row::Tampered | Row::Nothing) | None => {
                    tracing::error!(token = %row.token, "the row does not open");
                    Err(Reason::Tampered.into())
                }
            }));
        }
        let told = self.told(node, &shown).await?;
        let rows = (first..).zip(shown.into_iter().zip(told));
        Ok(rows.map(|(index, (row, told))| revealed(index, told.and(row), form)).collect())
    }

    /// Writes down what is about to be shown, and counts its uses: all in one step, or, where one token is used up just
    /// then, each in its own.
    async fn told(
        &self,
        node: &Arc<Node>,
        shown: &[Result<(Token, Row), Refusal>],
    ) -> Result<Vec<Result<(), Refusal>>, Refusal> {
        let tokens: Vec<&Token> = shown.iter().filter_map(|row| row.as_ref().ok().map(|(token, _)| token)).collect();
        let refused = shown.len() - tokens.len();
        match self.used(node, &tokens, refused).await {
            Ok(()) => Ok(shown.iter().map(|_| Ok(())).collect()),
            Err(StoreError::Vault(tally_domain::ports::store::tokens::VaultConflict::Token(_))) => {
                let mut all = Vec::with_capacity(shown.len());
                for row in shown {
                    all.push(match row {
                        Ok((token, _)) => self.used(node, &[token], 0).await.map_err(|e| reply::of_store(&e)),
                        Err(_) => Ok(()),
                    });
                }
                Ok(all)
            }
            Err(error) => Err(reply::of_store(&error)),
        }
    }

    async fn used(&self, node: &Arc<Node>, tokens: &[&Token], refused: usize) -> Result<(), StoreError> {
        let domain = &self.using.loaded.domain;
        let uses = tokens
            .iter()
            .map(|token| Write::Vault(VaultWrite::Use { domain: domain.clone(), token: (*token).clone(), at: now() }));
        let [rows, refused] = [tokens.len() + refused, refused].map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        let done = Done { tokens: tokens.iter().map(|token| (*token).clone()).collect(), rows, refused, made: None };
        try_commit(node, self.using.used.step(uses.collect(), done, None, &node.boot, now())).await
    }
}

fn tokenized(index: u64, given: Given) -> v1::TokenizedRow {
    let none =
        v1::TokenizedRow { index, token: String::new(), created: false, reason: String::new(), detail: String::new() };
    match given {
        Given::Token { token, created } => v1::TokenizedRow { token: token.to_string(), created, ..none },
        Given::Refused(refusal) => {
            v1::TokenizedRow { reason: refusal.reason.as_str().into(), detail: detail(&refusal), ..none }
        }
    }
}

fn revealed(index: u64, row: Result<(Token, Row), Refusal>, form: Form) -> v1::RevealedRow {
    let none = v1::RevealedRow { index, value: Vec::new(), reason: String::new(), detail: String::new() };
    match row {
        // A copy for the wire, which the transport frees without erasing it.
        Ok((_, Row::Pan(pan))) => v1::RevealedRow { value: vault::shown(pan, form).expose().to_vec(), ..none },
        Ok(_) => v1::RevealedRow { reason: Reason::Bug.as_str().into(), ..none },
        Err(refusal) => v1::RevealedRow { reason: refusal.reason.as_str().into(), detail: detail(&refusal), ..none },
    }
}

fn detail(refusal: &Refusal) -> String {
    refusal.metadata.get("detail").cloned().unwrap_or_else(|| refusal.reason.sentence().into())
}
