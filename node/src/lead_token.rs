//! Single calls to one of this node's token domains: admit, have the vault do it, and write down in one step who asked, what
//! was decided and what came of it. Only then is anyone told.

mod entered;
mod suspend;

pub use entered::{Using, enter, keep};
pub use suspend::suspend;

use crate::node::{Node, now};
use crate::reply;
use crate::vault::issue::{Given, Issue, card, subject};
use crate::vault::{self, Loaded, Opened as Row};
use prost::Message as _;
use std::sync::Arc;
use std::time::Duration;
use tally_domain::dsse::Envelope;
use tally_domain::ports::store::Write;
use tally_domain::ports::store::tokens::{TokenRow, VaultWrite};
use tally_domain::token::{StoredState, Token};
use tally_domain::{Action, ClientId, Reason, Refusal, SecretBytes, Subject};
use tally_proto::v1;
use tally_signer::tokens::{Done, check_beside};
use tally_tokenization::Call;
use tally_tokenization::life::{Life, NotUsable, Stored};

/// Longest time for one call. A token's deadline is shorter; a disk that is behind may take the rest.
const CALL_DEADLINE: Duration = Duration::from_secs(10);

/// Most tokens that a search gives.
pub const FOUND_MAX: u32 = 100;

/// Tokens of a subject that are shredded in one step.
const SHREDDED_MAX: u32 = 1_000;

/// What travels beside an intent.
pub struct Beside {
    /// The commitment's salt.
    pub salt: Vec<u8>,
    /// A card number, or nothing.
    pub card: SecretBytes,
    /// Whose it is, or nobody's.
    pub subject: String,
}

/// Does one call of a client's within its time.
pub async fn in_time<T>(work: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
    tokio::time::timeout(CALL_DEADLINE, work).await.unwrap_or(Err(Reason::Deadline.into()))
}

/// Keeps a card number and gives a token for it.
///
/// # Errors
/// A [`Refusal`], here and below.
pub async fn tokenize(
    node: &Arc<Node>,
    caller: ClientId,
    envelope: Envelope,
    beside: Beside,
) -> Result<v1::TokenizeResponse, Refusal> {
    let entered = enter(node, caller.clone(), Action::Tokenize, envelope).await?;
    if let Some(before) = &entered.before {
        return v1::TokenizeResponse::decode(before.as_slice()).map_err(|_| Reason::Tampered.into());
    }
    let Call::Tokenize { card: bound } = &entered.permit.call().call else { return Err(Reason::Bug.into()) };
    let read = read_beside(bound, &beside).and_then(|_| card(beside.card.expose(), &beside.subject));
    let card = match read {
        Ok(card) => card,
        Err(refusal) => return Err(entered.refused(node, refusal).await),
    };
    drop(beside);
    let using = entered.begin(node).await?;
    let (rule, home) = using.answer(node);
    let answer = |given: &Given| match given {
        Given::Token { token, created } => {
            let (token, rule, home) = (token.to_string(), rule.clone(), home.clone());
            Some(v1::TokenizeResponse { token, created: *created, rule, home })
        }
        Given::Refused(_) => None,
    };
    let issue = Issue::prepare(node, &caller, using.loaded.clone(), vec![Ok(card)]).await?;
    if let Some(refusal) = issue.refusal() {
        return Err(using.refused(node, refusal).await);
    }
    let outcome = issue
        .commit(node, |writes, given| {
            let (done, result) = match given.first() {
                Some(Given::Token { token, .. }) => (Done::one(token.clone()), given.first().and_then(answer)),
                _ => (Done { tokens: vec![], rows: 1, refused: 1, made: None }, None),
            };
            let result = result.map(|result| result.encode_to_vec());
            using.told(node, using.used.step(writes, done, result, &node.boot, now()))
        })
        .await;
    match outcome {
        Ok(given) => match given.into_iter().next() {
            Some(Given::Refused(refusal)) => Err(using.refused(node, refusal).await),
            given => given.as_ref().and_then(answer).ok_or(Reason::Bug.into()),
        },
        Err(refusal) => Err(using.failed(node, refusal).await),
    }
}

/// Shows a card number, or part of it. The same intent again shows it again and is told again, and is one use.
pub async fn reveal(
    node: &Arc<Node>,
    caller: ClientId,
    envelope: Envelope,
) -> Result<(v1::RevealResponse, SecretBytes), Refusal> {
    let entered = enter(node, caller, Action::Reveal, envelope).await?;
    let Call::Reveal { token, form } = entered.permit.call().call.clone() else { return Err(Reason::Bug.into()) };
    let again = entered.before.is_some();
    let row = match usable(node, &entered.loaded, &token, again) {
        Ok(row) => row,
        Err(refusal) => return Err(entered.refused(node, refusal).await),
    };
    let using = entered.begin(node).await?;
    let pan = match one(node, &using.loaded, row).await {
        Ok(pan) => pan,
        Err(refusal) => return Err(using.failed(node, refusal).await),
    };
    let (rule, home) = using.answer(node);
    let answer = v1::RevealResponse { rule, home, value: Vec::new() };
    let result = answer.encode_to_vec();
    let uses = VaultWrite::Use { domain: using.loaded.domain.clone(), token: token.clone(), at: now() };
    let (writes, kept) = if again { (Vec::new(), None) } else { (vec![Write::Vault(uses)], Some(result.clone())) };
    using.commit(node, using.used.step(writes, Done::one(token), kept, &node.boot, now())).await?;
    using.tell_others(node, &result);
    Ok((answer, vault::shown(pan, form)))
}

/// The row of a token that may be revealed now. One that this very intent has used up already is.
pub fn usable(node: &Node, loaded: &Loaded, token: &Token, again: bool) -> Result<TokenRow, Refusal> {
    let row = find(node, loaded, token)?;
    if loaded.mode().is_none() {
        return Err(Reason::DomainOneWay.into());
    }
    match life(&row).usable() {
        Ok(_active) => Ok(row),
        Err(NotUsable::UsedUp) if again => Ok(row),
        Err(not) => Err(of_life(not).into()),
    }
}

/// The row of a token, whatever its state.
pub fn find(node: &Node, loaded: &Loaded, token: &Token) -> Result<TokenRow, Refusal> {
    let row = node.vaults.store.token(&loaded.domain, token).map_err(|e| reply::of_store(&e))?;
    row.ok_or(Reason::TokenNotFound.into())
}

/// Why a token is not revealed.
pub fn of_life(not: NotUsable) -> Reason {
    match not {
        NotUsable::Suspended => Reason::TokenSuspended,
        NotUsable::UsedUp => Reason::TokenUsedUp,
        NotUsable::Expired => Reason::TokenExpired,
        NotUsable::Shredded => Reason::TokenShredded,
    }
}

fn life(row: &TokenRow) -> Life {
    Life::at(Stored { state: row.state, expires_at: row.expires_at, uses_left: row.uses_left }, now())
}

async fn one(node: &Arc<Node>, loaded: &Arc<Loaded>, row: TokenRow) -> Result<tally_tokenization::Pan, Refusal> {
    let rows = vec![row];
    let mut loaded = loaded.clone();
    for _ in 0..2 {
        match vault::open(node, &loaded, &rows).await?.into_iter().next() {
            Some(Row::Pan(pan)) => return Ok(pan),
            Some(Row::Tampered) => return Err(Reason::Tampered.into()),
            Some(Row::Nothing) | None => return Err(Reason::Tampered.into()),
            Some(Row::OtherKeys) => {
                node.vaults.forget(&loaded.domain);
                loaded = node.vaults.load(&loaded.domain)?;
            }
        }
    }
    Err(Reason::Tampered.into())
}

/// Finds the tokens of a card number.
pub async fn search(
    node: &Arc<Node>,
    caller: ClientId,
    envelope: Envelope,
    beside: Beside,
) -> Result<v1::SearchResponse, Refusal> {
    let entered = enter(node, caller.clone(), Action::SearchToken, envelope).await?;
    let Call::Search { card: bound } = &entered.permit.call().call else { return Err(Reason::Bug.into()) };
    let read = read_beside(bound, &beside).and_then(|_| card(beside.card.expose(), &beside.subject));
    let fits = read.and_then(|card| entered.loaded.keeps_subject(card.subject.as_ref()).map(|()| card));
    let asked = fits.and_then(|card| node.vaults.ask(&caller, &card.pan).map(|()| card));
    let card = match asked {
        Ok(card) => card,
        Err(refusal) => return Err(entered.refused(node, refusal).await),
    };
    drop(beside);
    let using = entered.begin(node).await?;
    let loaded = &using.loaded;
    let key = loaded.current_index().ok_or(Reason::Tampered)?;
    // Found or not, the token is asked once, the vault once, and one step is written.
    let prints = vault::fingerprints(node, loaded, key, &[&card.pan]).await?;
    let print = prints.first().copied().ok_or(Reason::Hsm)?;
    let found = node.vaults.store.tokens_of_card(&loaded.domain, (key.number, print), card.subject.as_ref(), FOUND_MAX);
    let found = found.map_err(|e| reply::of_store(&e))?;
    let (rule, home) = using.answer(node);
    // Which tokens it were is not kept with the request: it may be shredded, and the answer is found again.
    let stored = v1::SearchResponse { rule, home, tokens: Vec::new() };
    let done = Done { tokens: found.clone(), rows: 1, refused: 0, made: None };
    let step = using.used.step(Vec::new(), done, Some(stored.encode_to_vec()), &node.boot, now());
    using.commit(node, step).await?;
    Ok(v1::SearchResponse { tokens: found.iter().map(ToString::to_string).collect(), ..stored })
}

/// What may be told of a token.
pub async fn show(node: &Arc<Node>, caller: ClientId, envelope: Envelope) -> Result<v1::GetTokenResponse, Refusal> {
    let entered = enter(node, caller, Action::ShowToken, envelope).await?;
    let Call::Show { token } = entered.permit.call().call.clone() else { return Err(Reason::Bug.into()) };
    let using = entered.begin(node).await?;
    let row = match find(node, &using.loaded, &token) {
        Ok(row) => row,
        Err(refusal) => return Err(using.failed(node, refusal).await),
    };
    let (rule, home) = using.answer(node);
    let stored = v1::GetTokenResponse { rule, home, token: None };
    let step = using.used.step(Vec::new(), Done::one(token), Some(stored.encode_to_vec()), &node.boot, now());
    using.commit(node, step).await?;
    Ok(v1::GetTokenResponse { token: Some(info(&row)), ..stored })
}

fn info(row: &TokenRow) -> v1::TokenInfo {
    let about = row.about.as_ref();
    v1::TokenInfo {
        token: row.token.to_string(),
        state: life(row).as_str().into(),
        brand: about.map(|a| a.brand.as_str().into()).unwrap_or_default(),
        bin: about.map(|a| a.bin.as_str().into()).unwrap_or_default(),
        last4: about.map(|a| a.last4.as_str().into()).unwrap_or_default(),
        digits: about.map(|a| u32::from(a.digits)).unwrap_or_default(),
        subject: row.subject.as_ref().map(ToString::to_string).unwrap_or_default(),
        made_at_ms: row.made_at.0,
        expires_at_ms: row.expires_at.map(|at| at.0).unwrap_or_default(),
        uses_left: row.uses_left,
    }
}

/// Destroys the card number of a token, or all of a subject.
pub async fn delete(
    node: &Arc<Node>,
    caller: ClientId,
    envelope: Envelope,
    beside: Beside,
) -> Result<v1::DeleteTokenResponse, Refusal> {
    let entered = enter(node, caller, Action::DeleteToken, envelope).await?;
    if let Some(before) = &entered.before {
        return v1::DeleteTokenResponse::decode(before.as_slice()).map_err(|_| Reason::Tampered.into());
    }
    let (rule, home) = (entered.permit.rule().to_owned(), node.name().to_string());
    let answer = v1::DeleteTokenResponse { rule, home, deleted: 0 };
    let deleted = match entered.permit.call().call.clone() {
        Call::Delete { token } => {
            let using = entered.begin(node).await?;
            match find(node, &using.loaded, &token) {
                // It was deleted before: nothing is destroyed, and the request is done all the same.
                Ok(row) if row.state == StoredState::Shredded => shredded(node, &using, Vec::new(), 0, true).await?,
                Ok(_) => shredded(node, &using, vec![token], 0, true).await?,
                Err(refusal) => return Err(using.failed(node, refusal).await),
            }
        }
        Call::DeleteSubject { subject: bound } => {
            let whose = match read_beside(&bound, &beside) {
                Ok(Some(whose)) => whose,
                Ok(None) => {
                    return Err(entered.refused(node, Refusal::new(Reason::Malformed).with("field", "subject")).await);
                }
                Err(refusal) => return Err(entered.refused(node, refusal).await),
            };
            of_subject(node, &entered.begin(node).await?, &whose).await?
        }
        _ => return Err(Reason::Bug.into()),
    };
    vault::forget_log(node).await;
    Ok(v1::DeleteTokenResponse { deleted, ..answer })
}

/// Step by step; the last one has the answer. After a crash the same intent does the rest.
async fn of_subject(node: &Arc<Node>, using: &Using, whose: &Subject) -> Result<u64, Refusal> {
    let mut deleted = 0;
    loop {
        let store = &node.vaults.store;
        let tokens = store.tokens_of_subject(&using.loaded.domain, whose, None, SHREDDED_MAX);
        let tokens = tokens.map_err(|e| reply::of_store(&e))?;
        let last = tokens.len() < SHREDDED_MAX as usize;
        deleted = shredded(node, using, tokens, deleted, last).await?;
        if last {
            return Ok(deleted);
        }
    }
}

async fn shredded(
    node: &Arc<Node>,
    using: &Using,
    tokens: Vec<Token>,
    before: u64,
    last: bool,
) -> Result<u64, Refusal> {
    let deleted = before + tokens.len() as u64;
    let (rule, home) = using.answer(node);
    let result = last.then(|| v1::DeleteTokenResponse { rule, home, deleted }.encode_to_vec());
    let rows = u32::try_from(tokens.len()).unwrap_or(u32::MAX);
    let shred = VaultWrite::Shred { domain: using.loaded.domain.clone(), tokens: tokens.clone() };
    let done = Done { tokens, rows, refused: 0, made: None };
    using.commit(node, using.used.step(vec![Write::Vault(shred)], done, result, &node.boot, now())).await?;
    Ok(deleted)
}

/// Checks what travels beside an intent; gives whose card it is.
fn read_beside(bound: &tally_domain::Digest, beside: &Beside) -> Result<Option<Subject>, Refusal> {
    let whose = subject(&beside.subject)?;
    check_beside(bound, &beside.salt, beside.card.expose(), whose.as_ref())?;
    Ok(whose)
}
