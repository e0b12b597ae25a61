//! Single calls to one of this node's token domains: admit, have the vault do it, and write down in one step who asked, what
//! was decided and what came of it. Only then is anyone told.

use crate::decisions;
use crate::inflight::Guard;
use crate::lead_hsm::commit;
use crate::node::{Node, now};
use crate::recover;
use crate::reply;
use crate::vault::issue::{Given, Issue, card, subject};
use crate::vault::{self, Loaded, Opened as Row, domain_of};
use prost::Message as _;
use std::sync::Arc;
use std::time::Duration;
use tally_audit::event::Origin;
use tally_domain::dsse::Envelope;
use tally_domain::ports::store::tokens::{TokenRow, VaultWrite};
use tally_domain::ports::store::{Step, Write};
use tally_domain::reason::Class;
use tally_domain::token::Token;
use tally_domain::{Action, ClientId, Reason, Refusal, SecretBytes, Subject};
use tally_proto::v1;
use tally_signer::admit::Opened;
use tally_signer::tokens::{DomainView, Done, TokenPermit, admit_token, check_beside, describe};
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

/// A call that is permitted.
pub struct Entered {
    /// What permits it.
    pub permit: TokenPermit,
    /// The domain.
    pub loaded: Arc<Loaded>,
    /// Who brought it.
    pub origin: Origin,
    /// The stored answer, if this very intent was done before.
    before: Option<Vec<u8>>,
    _guard: Guard,
}

/// Opens an intent, and decides.
///
/// # Errors
/// A [`Refusal`], which is written down; not so `HOME_NODE`.
pub async fn enter(node: &Arc<Node>, caller: ClientId, action: Action, envelope: Envelope) -> Result<Entered, Refusal> {
    let (opened, origin) = decisions::opened_for(action, node, caller, envelope).await?;
    let intent = opened.intent();
    let guard = node.inflight.take(&intent.tenant, intent.request_id).await;
    let decided = recover::completed(node, &opened).and_then(|before| Ok((before, admitted(node, &opened)?)));
    match decided {
        Ok((before, (permit, loaded))) => Ok(Entered { permit, loaded, origin, before, _guard: guard }),
        Err(refusal) if refusal.reason == Reason::HomeNode => Err(refusal),
        Err(refusal) => Err(decisions::refused(node, &opened, origin, refusal).await),
    }
}

fn admitted(node: &Arc<Node>, opened: &Opened) -> Result<(TokenPermit, Arc<Loaded>), Refusal> {
    let held = node.hsm_keys.get(&opened.intent().key).ok_or(Reason::DomainNotFound)?;
    let home = held.record.home == *node.name();
    let loaded = if home { Some(node.vaults.load(&domain_of(&held.record)?)?) } else { None };
    let known = node.freezes.known();
    let doing = loaded.as_ref().map(|loaded| loaded.doing);
    let view = DomainView { record: &held.record, state: held.state(), doing, freezes: &known };
    let permit = admit_token(opened.clone(), view, node.name(), &node.bundle(), now())?;
    Ok((permit, loaded.ok_or(Reason::Bug)?))
}

impl Entered {
    /// Writes a refusal down.
    pub async fn refused(&self, node: &Arc<Node>, refusal: Refusal) -> Refusal {
        decisions::refused(node, self.permit.opened(), self.origin.clone(), refusal).await
    }

    /// The step with what was asked and decided before it.
    fn told(&self, node: &Node, mut step: Step) -> Step {
        let opened = self.permit.opened();
        let summary = describe(opened.intent()).unwrap_or_default();
        let mut leaves = decisions::permit_leaves(node, opened, self.origin.clone(), self.permit.rule(), &summary);
        leaves.append(&mut step.leaves);
        step.writes.insert(0, decisions::claim(opened));
        Step { leaves, ..step }
    }

    async fn commit(&self, node: &Arc<Node>, step: Step) -> Result<(), Refusal> {
        match commit(node, self.told(node, step)).await {
            Ok(()) => Ok(()),
            Err(refusal) => Err(self.failed(node, refusal).await),
        }
    }

    /// What was refused for a reason of the caller's is written down.
    async fn failed(&self, node: &Arc<Node>, refusal: Refusal) -> Refusal {
        match refusal.reason.class() {
            _ if refusal.reason == Reason::RequestIdConflict => {
                decisions::unclaimed(node, self.permit.opened(), self.origin.clone(), refusal).await
            }
            Class::Unavailable | Class::Internal | Class::Aborted | Class::DeadlineExceeded => refusal,
            _ => self.refused(node, refusal).await,
        }
    }

    fn answer(&self, node: &Node) -> (String, String) {
        (self.permit.rule().into(), node.name().to_string())
    }
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
    let (rule, home) = entered.answer(node);
    let answer = |given: &Given| match given {
        Given::Token { token, created } => {
            let (token, rule, home) = (token.to_string(), rule.clone(), home.clone());
            Some(v1::TokenizeResponse { token, created: *created, rule, home })
        }
        Given::Refused(_) => None,
    };
    let issue = Issue::prepare(node, &caller, entered.loaded.clone(), vec![Ok(card)]).await?;
    if let Some(refusal) = issue.refusal() {
        return Err(entered.refused(node, refusal).await);
    }
    let outcome = issue
        .commit(node, |writes, given| {
            let (done, result) = match given.first() {
                Some(Given::Token { token, .. }) => (Done::one(token.clone()), given.first().and_then(answer)),
                _ => (Done { tokens: vec![], rows: 1, refused: 1, made: None }, None),
            };
            let result = result.map(|result| result.encode_to_vec());
            entered.told(node, entered.permit.step(writes, done, result, &node.boot, now()))
        })
        .await;
    match outcome {
        Ok(given) => match given.into_iter().next() {
            Some(Given::Refused(refusal)) => Err(entered.refused(node, refusal).await),
            given => given.as_ref().and_then(answer).ok_or(Reason::Bug.into()),
        },
        Err(refusal) => Err(entered.failed(node, refusal).await),
    }
}

/// Shows a card number, or part of it. The same intent again shows it again and is told again, and is one use.
pub async fn reveal(
    node: &Arc<Node>,
    caller: ClientId,
    envelope: Envelope,
) -> Result<(v1::RevealResponse, SecretBytes), Refusal> {
    let entered = enter(node, caller, Action::Reveal, envelope).await?;
    let Call::Reveal { token, form } = &entered.permit.call().call else { return Err(Reason::Bug.into()) };
    let again = entered.before.is_some();
    let found = usable(node, &entered.loaded, token, again);
    let opened = match found {
        Ok(row) => one(node, &entered.loaded, row).await,
        Err(refusal) => Err(refusal),
    };
    let pan = match opened {
        Ok(pan) => pan,
        Err(refusal) => return Err(entered.failed(node, refusal).await),
    };
    let (rule, home) = entered.answer(node);
    let answer = v1::RevealResponse { rule, home, value: Vec::new() };
    let uses = VaultWrite::Use { domain: entered.loaded.domain.clone(), token: token.clone(), at: now() };
    let (writes, result) =
        if again { (Vec::new(), None) } else { (vec![Write::Vault(uses)], Some(answer.encode_to_vec())) };
    let step = entered.permit.step(writes, Done::one(token.clone()), result, &node.boot, now());
    entered.commit(node, step).await?;
    Ok((answer, vault::shown(pan, *form)))
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
    let asked = read.and_then(|card| node.vaults.ask(&caller, &card.pan).map(|()| card));
    let card = match asked {
        Ok(card) => card,
        Err(refusal) => return Err(entered.refused(node, refusal).await),
    };
    drop(beside);
    let loaded = &entered.loaded;
    let key = loaded.current_index().ok_or(Reason::Tampered)?;
    // Found or not, the token is asked once, the vault once, and one step is written.
    let prints = vault::fingerprints(node, loaded, key, &[&card.pan]).await?;
    let print = prints.first().copied().ok_or(Reason::Hsm)?;
    let found = node.vaults.store.tokens_of_card(&loaded.domain, (key.number, print), card.subject.as_ref(), FOUND_MAX);
    let found = found.map_err(|e| reply::of_store(&e))?;
    let (rule, home) = entered.answer(node);
    // Which tokens it were is not kept with the request: it may be shredded, and the answer is found again.
    let stored = v1::SearchResponse { rule, home, tokens: Vec::new() };
    let done = Done { tokens: found.clone(), rows: 1, refused: 0, made: None };
    let step = entered.permit.step(Vec::new(), done, Some(stored.encode_to_vec()), &node.boot, now());
    entered.commit(node, step).await?;
    Ok(v1::SearchResponse { tokens: found.iter().map(ToString::to_string).collect(), ..stored })
}

/// What may be told of a token.
pub async fn show(node: &Arc<Node>, caller: ClientId, envelope: Envelope) -> Result<v1::GetTokenResponse, Refusal> {
    let entered = enter(node, caller, Action::ShowToken, envelope).await?;
    let Call::Show { token } = &entered.permit.call().call else { return Err(Reason::Bug.into()) };
    let row = match find(node, &entered.loaded, token) {
        Ok(row) => row,
        Err(refusal) => return Err(entered.failed(node, refusal).await),
    };
    let (rule, home) = entered.answer(node);
    let stored = v1::GetTokenResponse { rule, home, token: None };
    let step =
        entered.permit.step(Vec::new(), Done::one(token.clone()), Some(stored.encode_to_vec()), &node.boot, now());
    entered.commit(node, step).await?;
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
    let deleted = match &entered.permit.call().call {
        Call::Delete { token } => shredded(node, &entered, vec![token.clone()], 0, true).await?,
        Call::DeleteSubject { subject: bound } => {
            let whose = match read_beside(bound, &beside) {
                Ok(Some(whose)) => whose,
                Ok(None) => {
                    return Err(entered.refused(node, Refusal::new(Reason::Malformed).with("field", "subject")).await);
                }
                Err(refusal) => return Err(entered.refused(node, refusal).await),
            };
            of_subject(node, &entered, &whose).await?
        }
        _ => return Err(Reason::Bug.into()),
    };
    vault::forget_log(node).await;
    let (rule, home) = entered.answer(node);
    Ok(v1::DeleteTokenResponse { rule, home, deleted })
}

/// Step by step; the last one has the answer. After a crash the same intent does the rest.
async fn of_subject(node: &Arc<Node>, entered: &Entered, whose: &Subject) -> Result<u64, Refusal> {
    let mut deleted = 0;
    loop {
        let store = &node.vaults.store;
        let tokens = store.tokens_of_subject(&entered.loaded.domain, whose, None, SHREDDED_MAX);
        let tokens = tokens.map_err(|e| reply::of_store(&e))?;
        let last = tokens.len() < SHREDDED_MAX as usize;
        deleted = shredded(node, entered, tokens, deleted, last).await?;
        if last {
            return Ok(deleted);
        }
    }
}

async fn shredded(
    node: &Arc<Node>,
    entered: &Entered,
    tokens: Vec<Token>,
    before: u64,
    last: bool,
) -> Result<u64, Refusal> {
    let deleted = before + tokens.len() as u64;
    let (rule, home) = entered.answer(node);
    let result = last.then(|| v1::DeleteTokenResponse { rule, home, deleted }.encode_to_vec());
    let rows = u32::try_from(tokens.len()).unwrap_or(u32::MAX);
    let shred = VaultWrite::Shred { domain: entered.loaded.domain.clone(), tokens: tokens.clone() };
    let done = Done { tokens, rows, refused: 0, made: None };
    entered.commit(node, entered.permit.step(vec![Write::Vault(shred)], done, result, &node.boot, now())).await?;
    Ok(deleted)
}

/// Checks what travels beside an intent; gives whose card it is.
fn read_beside(bound: &tally_domain::Digest, beside: &Beside) -> Result<Option<Subject>, Refusal> {
    let whose = subject(&beside.subject)?;
    check_beside(bound, &beside.salt, beside.card.expose(), whose.as_ref())?;
    Ok(whose)
}
