//! Giving tokens for card numbers: drawn, sealed and fingerprinted first, and then written down, again and again with what
//! did not fit put right.

use super::{Loaded, fingerprints, seal};
use crate::lead_hsm::try_commit;
use crate::node::{Node, fresh_rng, now};
use crate::reply;
use std::sync::Arc;
use tally_domain::ports::store::tokens::{CardFacts, NewToken, TokenConflict, VaultConflict, VaultWrite};
use tally_domain::ports::store::{Step, StoreError, Write};
use tally_domain::token::{Reuse, Token};
use tally_domain::{ClientId, Reason, Refusal, Subject};
use tally_tokenization::Pan;
use tally_tokenization::format::DrawError;
use tally_tokenization::plain::holds_card;

/// How often cards are written down before others are taken to be in the way for good. A token that is taken is drawn anew:
/// where half of all are, which is the most, one card in 64 needs more than six draws.
const ROUNDS_MAX: u32 = 16;

/// A card number that is to be kept.
pub struct Card {
    /// The number.
    pub pan: Pan,
    /// Whose it is.
    pub subject: Option<Subject>,
}

/// What came of a card number.
#[derive(Debug, Clone)]
pub enum Given {
    /// It has a token.
    Token {
        /// Which.
        token: Token,
        /// Whether it is new.
        created: bool,
    },
    /// It has none.
    Refused(Refusal),
}

/// Card numbers on their way into the vault.
pub struct Issue {
    loaded: Arc<Loaded>,
    cards: Vec<Option<Card>>,
    given: Vec<Option<Given>>,
    new: Vec<(usize, NewToken)>,
}

impl Issue {
    /// Draws, seals and fingerprints. Cards that are no card numbers come as their refusals.
    ///
    /// # Errors
    /// `HSM`, `TAMPERED`: then nothing is known of any.
    pub async fn prepare(
        node: &Arc<Node>,
        client: &ClientId,
        loaded: Arc<Loaded>,
        cards: Vec<Result<Card, Refusal>>,
    ) -> Result<Self, Refusal> {
        let mut this = Self {
            loaded,
            cards: Vec::with_capacity(cards.len()),
            given: Vec::with_capacity(cards.len()),
            new: vec![],
        };
        let mut wanted = Vec::with_capacity(cards.len());
        for (at, card) in cards.into_iter().enumerate() {
            match card.and_then(|card| this.acceptable(node, client, &card).map(|()| card)) {
                Ok(card) => {
                    this.cards.push(Some(card));
                    this.given.push(None);
                    wanted.push(at);
                }
                Err(refusal) => {
                    this.cards.push(None);
                    this.given.push(Some(Given::Refused(refusal)));
                }
            }
        }
        this.make(node, wanted).await?;
        Ok(this)
    }

    /// In a domain that gives a card its token again, every question tells whether the card is known.
    fn acceptable(&self, node: &Node, client: &ClientId, card: &Card) -> Result<(), Refusal> {
        let brand = card.pan.brand();
        if !self.loaded.checked.takes(brand) {
            return Err(Refusal::new(Reason::CardBrand).with("brand", brand.as_str()));
        }
        self.loaded.keeps_subject(card.subject.as_ref())?;
        match self.loaded.checked.spec().reuse {
            Reuse::Random => Ok(()),
            Reuse::PerDomain | Reuse::PerSubject => node.vaults.ask(client, &card.pan),
        }
    }

    /// Why a single card is refused before anything is written down.
    pub fn refusal(&self) -> Option<Refusal> {
        match self.given.first() {
            Some(Some(Given::Refused(refusal))) => Some(refusal.clone()),
            _ => None,
        }
    }

    async fn make(&mut self, node: &Arc<Node>, wanted: Vec<usize>) -> Result<(), Refusal> {
        let (checked, domain) = (&self.loaded.checked, &self.loaded.domain);
        let format = checked.spec().format;
        let mut drawn: Vec<(usize, Token)> = Vec::with_capacity(wanted.len());
        {
            let mut rng = fresh_rng();
            for at in wanted {
                let Some(Some(card)) = self.cards.get(at) else { continue };
                match format.draw(domain, &card.pan, &mut rng) {
                    Ok(token) => drawn.push((at, token)),
                    Err(error) => {
                        if let Some(place) = self.given.get_mut(at) {
                            *place = Some(Given::Refused(of_draw(&error)));
                        }
                    }
                }
            }
        }
        let card = |at: &usize| self.cards.get(*at).and_then(Option::as_ref);
        let pans: Vec<&Pan> = drawn.iter().filter_map(|(at, _)| card(at).map(|card| &card.pan)).collect();
        let mut prints: Vec<Vec<_>> = drawn.iter().map(|_| Vec::with_capacity(2)).collect();
        for key in self.loaded.live_indexes() {
            let of_key = fingerprints(node, &self.loaded, key, &pans).await?;
            prints.iter_mut().zip(of_key).for_each(|(all, print)| all.push((key.number, print)));
        }
        let rows: Vec<(&Token, &Pan)> = drawn.iter().map(|(_, token)| token).zip(pans.iter().copied()).collect();
        let seals = seal(node, &self.loaded, &rows).await?;
        let at = now();
        let mut new = Vec::with_capacity(drawn.len());
        for (((place, token), fingerprints), sealed) in drawn.iter().zip(prints).zip(seals) {
            let Some(Card { pan, subject }) = card(place) else { continue };
            let (Some(bin), Some(last4)) = (pan.bin(), pan.last4()) else { return Err(Reason::Bug.into()) };
            let token = NewToken {
                token: token.clone(),
                sealed,
                fingerprints,
                about: CardFacts { brand: pan.brand(), bin, last4, digits: pan.digits() },
                subject: subject.clone(),
                expires_at: checked.expiry(at),
                uses_left: checked.uses(),
                bucket: format.bucket(pan).map(|bucket| (bucket.name, bucket.tokens_max)),
            };
            new.push((*place, token));
        }
        self.new.extend(new);
        self.new.sort_by_key(|(place, _)| *place);
        Ok(())
    }

    /// Writes the cards down in the step that is made of their writes and of what is then given; nothing is given before.
    ///
    /// # Errors
    /// A refusal of all: `STORAGE`, `FROZEN`, `TOKEN_DOMAIN_SUSPENDED`...
    pub async fn commit(
        mut self,
        node: &Arc<Node>,
        step: impl Fn(Vec<Write>, &[Given]) -> Step,
    ) -> Result<Vec<Given>, Refusal> {
        for _ in 0..ROUNDS_MAX {
            let given = self.outcome();
            let tokens: Vec<NewToken> = self.new.iter().map(|(_, new)| new.clone()).collect();
            let put = VaultWrite::PutTokens { domain: self.loaded.domain.clone(), tokens, at: now() };
            let writes = if self.new.is_empty() { Vec::new() } else { vec![Write::Vault(put)] };
            match try_commit(node, step(writes, &given)).await {
                Ok(()) => return Ok(given),
                Err(StoreError::Vault(VaultConflict::Tokens(conflicts))) => self.put_right(node, conflicts).await?,
                Err(error) => return Err(reply::of_store(&error)),
            }
        }
        Err(Reason::Contention.into())
    }

    /// What is given if everything new is written down.
    fn outcome(&self) -> Vec<Given> {
        let mut all = self.given.clone();
        for (place, new) in &self.new {
            if let Some(given) = all.get_mut(*place) {
                *given = Some(Given::Token { token: new.token.clone(), created: true });
            }
        }
        all.into_iter().map(|given| given.unwrap_or(Given::Refused(Reason::Bug.into()))).collect()
    }

    async fn put_right(&mut self, node: &Arc<Node>, conflicts: Vec<(usize, TokenConflict)>) -> Result<(), Refusal> {
        let mut again = Vec::new();
        let mut keys_changed = false;
        for (at, conflict) in conflicts {
            let Some((place, _)) = self.new.get(at) else { continue };
            let place = *place;
            let given = match conflict {
                TokenConflict::Fingerprint(token) => Some(Given::Token { token, created: false }),
                TokenConflict::Taken => None,
                TokenConflict::Keys => {
                    keys_changed = true;
                    None
                }
                other => Some(Given::Refused(reply::of_token(&other))),
            };
            if given.is_none() {
                again.push(place);
            }
            if let Some(known) = self.given.get_mut(place) {
                *known = given.or(known.take());
            }
        }
        let settled = |place: &usize| self.given.get(*place).is_some_and(Option::is_some);
        let gone: Vec<usize> =
            self.new.iter().map(|(place, _)| *place).filter(|p| settled(p) || again.contains(p)).collect();
        self.new.retain(|(place, _)| !gone.contains(place));
        if keys_changed {
            node.vaults.forget(&self.loaded.domain);
            self.loaded = node.vaults.load(&self.loaded.domain)?;
            // Whatever was made with the old keys is made again.
            again.extend(self.new.drain(..).map(|(place, _)| place));
        }
        self.make(node, again).await
    }
}

fn of_draw(error: &DrawError) -> Refusal {
    match error {
        DrawError::Format(bad) => Refusal::new(Reason::ParameterRange).with("detail", bad.to_string()),
        DrawError::Randomness => Reason::Bug.into(),
    }
}

/// Reads a card number; what was given is not repeated.
///
/// # Errors
/// `CARD_INVALID`; `MALFORMED` for a subject that is none, `CARD_IN_TEXT` for one that looks like a card number.
pub fn card(number: &[u8], subject: &str) -> Result<Card, Refusal> {
    let pan = Pan::parse(number).map_err(|bad| Refusal::new(Reason::CardInvalid).with("detail", bad.to_string()))?;
    Ok(Card { pan, subject: self::subject(subject)? })
}

/// Reads whose card it is; nobody's, if nothing is said.
///
/// # Errors
/// `MALFORMED`; `CARD_IN_TEXT`.
pub fn subject(text: &str) -> Result<Option<Subject>, Refusal> {
    let malformed = |_| Refusal::new(Reason::Malformed).with("field", "subject");
    if holds_card(text.as_bytes()) {
        return Err(Refusal::new(Reason::CardInText).with("field", "subject"));
    }
    if text.is_empty() { Ok(None) } else { Subject::parse(text).map(Some).map_err(malformed) }
}
