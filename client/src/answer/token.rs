//! What nodes answer about token domains. Card numbers are taken over, and are erased when dropped.

use super::{BadField, some};
use tally_domain::token::Token;
use tally_domain::{KeyName, NodeName, SecretBytes, UnixMillis};
use tally_proto::v1;

/// A token domain as one node tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainInfo {
    /// Its name.
    pub name: KeyName,
    /// The node whose HSM has its keys.
    pub home: NodeName,
    /// `pending`, `active`, `suspended`, `deleted`, or `frozen` while a freeze stops it.
    pub state: String,
    /// What its tokens look like; only its home tells this and what follows.
    pub format: String,
    /// `random`, `per-domain` or `per-subject`.
    pub reuse: String,
    /// `strict`, `hybrid` or `one-way`.
    pub mode: String,
    /// How often each token may be revealed, if that is counted.
    pub uses: Option<u32>,
    /// Seconds that a token lives, if it has an end.
    pub life_s: Option<u32>,
    /// Brands that are taken; any, if none is named.
    pub brands: Vec<String>,
    /// Its keys.
    pub keys: Vec<DomainKeyInfo>,
    /// How far its rotations are.
    pub rotations: Vec<RotationInfo>,
    /// Keys of any domain that the HSM has yet to destroy.
    pub doomed_keys: u32,
}

/// A version of a key of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainKeyInfo {
    /// `kek`, `data` or `index`.
    pub key: String,
    /// Which version.
    pub version: u32,
    /// `filling`, `current`, `previous` or `destroyed`.
    pub state: String,
    /// Data keys, or tokens, that depend on it.
    pub dependents: u64,
    /// When it was made.
    pub made_at: UnixMillis,
    /// Encryptions so far, of a data key.
    pub sealed: u64,
}

/// A rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotationInfo {
    /// `data` or `index`.
    pub key: String,
    /// The version that it leads to.
    pub to_version: u32,
    /// `running`, `paused` or `finished`.
    pub state: String,
    /// Tokens that are done.
    pub done: u64,
    /// Whether what it leaves behind is destroyed.
    pub shred: bool,
}

/// Who did something, and by which rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoneBy {
    /// The rule that permitted it.
    pub rule: String,
    /// The node that did it.
    pub home: NodeName,
}

/// A card's token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokenized {
    /// The token.
    pub token: Token,
    /// Whether it is new.
    pub created: bool,
    /// How it was done.
    pub by: DoneBy,
}

/// A card number, or what was to be shown of it.
pub struct Revealed {
    /// Digits, with a `*` for each that is not shown.
    pub value: SecretBytes,
    /// How it was done.
    pub by: DoneBy,
}

/// Tokens of a card number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// They.
    pub tokens: Vec<Token>,
    /// How it was done.
    pub by: DoneBy,
}

/// What may be told of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenInfo {
    /// The token.
    pub token: Token,
    /// `active`, `suspended`, `used-up`, `expired` or `shredded`.
    pub state: String,
    /// Brand of the card; nothing of a shredded one, here and below.
    pub brand: Option<String>,
    /// First digits.
    pub bin: Option<String>,
    /// Last digits.
    pub last4: Option<String>,
    /// How many digits there are.
    pub digits: u32,
    /// Whose card it is.
    pub subject: Option<String>,
    /// When it was made.
    pub made_at: UnixMillis,
    /// From when it is expired.
    pub expires_at: Option<UnixMillis>,
    /// Reveals that are left, if they are counted.
    pub uses_left: Option<u32>,
}

/// Card numbers that were destroyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleted {
    /// How many.
    pub deleted: u64,
    /// How it was done.
    pub by: DoneBy,
}

pub(crate) fn domain(d: Option<v1::TokenDomain>) -> Result<DomainInfo, BadField> {
    let d = d.ok_or(BadField("domain"))?;
    Ok(DomainInfo {
        name: KeyName::parse(&d.name).map_err(|_| BadField("domain.name"))?,
        home: NodeName::parse(&d.home).map_err(|_| BadField("domain.home"))?,
        state: d.state,
        format: d.format,
        reuse: d.reuse,
        mode: d.mode,
        uses: (d.uses != 0).then_some(d.uses),
        life_s: (d.life_s != 0).then_some(d.life_s),
        brands: d.brands,
        keys: d.keys.into_iter().map(key).collect(),
        rotations: d.rotations.into_iter().map(rotation).collect(),
        doomed_keys: d.doomed_keys,
    })
}

fn key(k: v1::DomainKey) -> DomainKeyInfo {
    DomainKeyInfo {
        key: k.key,
        version: k.version,
        state: k.state,
        dependents: k.dependents,
        made_at: UnixMillis(k.made_at_ms),
        sealed: k.sealed,
    }
}

fn rotation(r: v1::DomainRotation) -> RotationInfo {
    RotationInfo { key: r.key, to_version: r.to_version, state: r.state, done: r.done, shred: r.shred }
}

pub(crate) fn done_by(rule: String, home: &str) -> Result<DoneBy, BadField> {
    Ok(DoneBy { rule, home: NodeName::parse(home).map_err(|_| BadField("home"))? })
}

pub(crate) fn tokenized(r: v1::TokenizeResponse) -> Result<Tokenized, BadField> {
    Ok(Tokenized { token: token(&r.token)?, created: r.created, by: done_by(r.rule, &r.home)? })
}

pub(crate) fn revealed(r: v1::RevealResponse) -> Result<Revealed, BadField> {
    Ok(Revealed { value: SecretBytes::new(r.value), by: done_by(r.rule, &r.home)? })
}

pub(crate) fn found(r: v1::SearchResponse) -> Result<Found, BadField> {
    let tokens = r.tokens.iter().map(|t| token(t)).collect::<Result<_, _>>()?;
    Ok(Found { tokens, by: done_by(r.rule, &r.home)? })
}

pub(crate) fn token_info(r: v1::GetTokenResponse) -> Result<(TokenInfo, DoneBy), BadField> {
    let t = r.token.ok_or(BadField("token"))?;
    let info = TokenInfo {
        token: token(&t.token)?,
        state: t.state,
        brand: some(t.brand),
        bin: some(t.bin),
        last4: some(t.last4),
        digits: t.digits,
        subject: some(t.subject),
        made_at: UnixMillis(t.made_at_ms),
        expires_at: (t.expires_at_ms != 0).then_some(UnixMillis(t.expires_at_ms)),
        uses_left: t.uses_left,
    };
    Ok((info, done_by(r.rule, &r.home)?))
}

pub(crate) fn deleted(r: v1::DeleteTokenResponse) -> Result<Deleted, BadField> {
    Ok(Deleted { deleted: r.deleted, by: done_by(r.rule, &r.home)? })
}

pub(crate) fn token(text: &str) -> Result<Token, BadField> {
    Token::parse(text).map_err(|_| BadField("token"))
}
