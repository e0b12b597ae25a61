//! What the vault gives back, and how it is asked.

use super::super::StoreError;
use super::{CardFacts, DomainKekRow, DoomedKey, Sealed, WrappedKey};
use crate::ids::{NodeName, RequestId, Subject};
use crate::time::UnixMillis;
use crate::token::{
    DataKeyNumber, DomainState, Fingerprint, IndexKeyNumber, Reuse, StoredState, Token, TokenDomain, VersionState,
};

/// A domain as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainRow {
    /// Its name.
    pub domain: TokenDomain,
    /// Encoded record.
    pub record: Vec<u8>,
    /// Its home.
    pub home: NodeName,
    /// Whether a card number that comes again gets the token that it has.
    pub reuse: Reuse,
    /// What it does.
    pub state: DomainState,
    /// When it was made.
    pub made_at: UnixMillis,
}

/// A version of a data key as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataKeyRow {
    /// Which.
    pub number: DataKeyNumber,
    /// What it does.
    pub state: VersionState,
    /// The key under its KEK, unless it is destroyed.
    pub wrapped: Option<WrappedKey>,
    /// Encryptions so far.
    pub sealed: u64,
    /// Tokens under it.
    pub tokens: u64,
    /// When it was made.
    pub made_at: UnixMillis,
}

/// A version of a blind-index key as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexKeyRow {
    /// Which.
    pub number: IndexKeyNumber,
    /// What it does.
    pub state: VersionState,
    /// Its name on the token.
    pub object: [u8; 16],
    /// When it was made.
    pub made_at: UnixMillis,
}

/// A token as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    /// The token.
    pub token: Token,
    /// What was written down of its state.
    pub state: StoredState,
    /// Its card number, unless it cannot be revealed or is shredded.
    pub sealed: Option<Sealed>,
    /// What may be told of its card number, unless it is shredded.
    pub about: Option<CardFacts>,
    /// Whose card it is.
    pub subject: Option<Subject>,
    /// From when it is expired.
    pub expires_at: Option<UnixMillis>,
    /// Reveals that are left, if they are counted.
    pub uses_left: Option<u32>,
    /// When it was made.
    pub made_at: UnixMillis,
}

/// What is rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rotated {
    /// The data key: rows are sealed anew.
    DataKey,
    /// The blind-index key: fingerprints are made anew.
    IndexKey,
}

/// What a rotation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RotationState {
    /// Goes on, also after a restart.
    Running,
    /// Waits to be resumed.
    Paused,
    /// All tokens are done.
    Finished,
}

/// How far a rotation is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotationRow {
    /// What is rotated.
    pub what: Rotated,
    /// The version that it leads to.
    pub to: u32,
    /// What it does.
    pub state: RotationState,
    /// The last token that is done; none before the first.
    pub after: Option<Token>,
    /// How many are done.
    pub done: u64,
    /// Whether what it leaves behind is destroyed at its end.
    pub shred: bool,
    /// Last change.
    pub updated_at: UnixMillis,
}

/// How far an import is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportRow {
    /// Where to.
    pub domain: TokenDomain,
    /// Which: the request that began it.
    pub import: RequestId,
    /// SHA-256 of the source, so that another file is not taken for the rest of this one.
    pub source: [u8; 32],
    /// Lines that are done.
    pub lines: u64,
    /// Of them rejected.
    pub rejected: u64,
    /// Last change.
    pub updated_at: UnixMillis,
}

/// Durable state of the vault. Reads see every step whose future was ready before they began.
pub trait Vault: Send + Sync {
    /// One domain.
    ///
    /// # Errors
    /// [`StoreError`], here and in all reads below.
    fn token_domain(&self, domain: &TokenDomain) -> Result<Option<DomainRow>, StoreError>;

    /// All domains by tenant and name.
    ///
    /// # Errors
    /// [`StoreError`].
    fn token_domains(&self) -> Result<Vec<DomainRow>, StoreError>;

    /// All versions of a domain's data key, in order.
    ///
    /// # Errors
    /// [`StoreError`].
    fn data_keys(&self, domain: &TokenDomain) -> Result<Vec<DataKeyRow>, StoreError>;

    /// All versions of a domain's blind-index key, in order.
    ///
    /// # Errors
    /// [`StoreError`].
    fn index_keys(&self, domain: &TokenDomain) -> Result<Vec<IndexKeyRow>, StoreError>;

    /// All versions of a domain's KEK, in order.
    ///
    /// # Errors
    /// [`StoreError`].
    fn domain_keks(&self, domain: &TokenDomain) -> Result<Vec<DomainKekRow>, StoreError>;

    /// Whether a domain, a deleted one too, has tokens yet.
    ///
    /// # Errors
    /// [`StoreError`].
    fn has_rows(&self, domain: &TokenDomain) -> Result<bool, StoreError>;

    /// Keys that the token is to destroy.
    ///
    /// # Errors
    /// [`StoreError`].
    fn doomed_keys(&self) -> Result<Vec<DoomedKey>, StoreError>;

    /// One token.
    ///
    /// # Errors
    /// [`StoreError`].
    fn token(&self, domain: &TokenDomain, token: &Token) -> Result<Option<TokenRow>, StoreError>;

    /// Tokens of a domain behind `after`, in order, at most `limit`; what is shredded is among them.
    ///
    /// # Errors
    /// [`StoreError`].
    fn tokens(&self, domain: &TokenDomain, after: Option<&Token>, limit: u32) -> Result<Vec<TokenRow>, StoreError>;

    /// Tokens of one subject behind `after`, in order, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    fn tokens_of_subject(
        &self,
        domain: &TokenDomain,
        subject: &Subject,
        after: Option<&Token>,
        limit: u32,
    ) -> Result<Vec<Token>, StoreError>;

    /// Tokens with a fingerprint under one of these index keys, in order, at most `limit`. Given the subject: of this one.
    ///
    /// # Errors
    /// [`StoreError`].
    fn tokens_of_card(
        &self,
        domain: &TokenDomain,
        fingerprint: (IndexKeyNumber, Fingerprint),
        subject: Option<&Subject>,
        limit: u32,
    ) -> Result<Vec<Token>, StoreError>;

    /// A rotation, if there ever was one.
    ///
    /// # Errors
    /// [`StoreError`].
    fn rotation(&self, domain: &TokenDomain, what: Rotated) -> Result<Option<RotationRow>, StoreError>;

    /// An import.
    ///
    /// # Errors
    /// [`StoreError`].
    fn import(&self, domain: &TokenDomain, import: &RequestId) -> Result<Option<ImportRow>, StoreError>;

    /// Brings what was overwritten and deleted out of the write-ahead log too, so that no file of the store holds it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when a reader was in the way; ask again.
    fn forget(&self) -> Result<(), StoreError>;
}
