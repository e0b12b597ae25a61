//! The vault's half of the store port: token domains, their keys, tokens, fingerprints, rotations and imports.
//!
//! Nothing here is a card number: card numbers come sealed, and fingerprints were made by a key that the HSM keeps.

mod keks;
mod rows;

pub use keks::*;
pub use rows::*;

use crate::ids::{KeyName, NodeName, Subject};
use crate::kek::KekNumber;
use crate::time::UnixMillis;
use crate::token::{
    Bin, Brand, DataKeyNumber, DomainState, Fingerprint, IndexKeyNumber, Last4, Reuse, Token, TokenDomain,
};

/// Encryptions under one data key, ever: half of what NIST SP 800-38D allows with random 96-bit nonces.
pub const DATA_KEY_SEALS_MAX: u64 = 1 << 31;

/// One write to the vault with the condition under which it is allowed. All need the domain, and all but deletion and purge
/// that it is not deleted: otherwise [`VaultConflict::NoDomain`] or [`VaultConflict::Deleted`]. New tokens and uses need it
/// to be active: otherwise [`VaultConflict::Suspended`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VaultWrite {
    /// A new domain with its first keys. Again with the same record: nothing changes. With another, or the name of a
    /// deleted one: [`VaultConflict::DomainExists`].
    PutDomain(NewDomain),
    /// Suspends or resumes a domain.
    SetDomainState {
        /// Which.
        domain: TokenDomain,
        /// [`DomainState::Active`] or [`DomainState::Suspended`].
        state: DomainState,
        /// When.
        at: UnixMillis,
    },
    /// Deletes a domain: its wrapped data keys are overwritten at once, and the token is to destroy its keys. Its name
    /// stays taken; its rows go by [`VaultWrite::PurgeDomain`].
    DeleteDomain {
        /// Which.
        domain: TokenDomain,
        /// When.
        at: UnixMillis,
    },
    /// Removes rows of a deleted domain, at most so many tokens. A domain that is not deleted: [`VaultConflict::NotDeleted`].
    PurgeDomain {
        /// Which.
        domain: TokenDomain,
        /// At most so many tokens.
        tokens_max: u32,
    },
    /// New tokens, all or none. Each that does not fit is named by its place: [`VaultConflict::Tokens`].
    PutTokens {
        /// Where.
        domain: TokenDomain,
        /// In order.
        tokens: Vec<NewToken>,
        /// When.
        at: UnixMillis,
    },
    /// A reveal: counts one use, if uses are counted. The token must be active, not expired, and have one left: otherwise
    /// [`VaultConflict::Token`].
    Use {
        /// Where.
        domain: TokenDomain,
        /// Which.
        token: Token,
        /// When.
        at: UnixMillis,
    },
    /// Suspends or resumes a token. A shredded one: [`VaultConflict::Token`].
    Suspend {
        /// Where.
        domain: TokenDomain,
        /// Which.
        token: Token,
        /// Whether to suspend it, or to resume it.
        suspended: bool,
    },
    /// Destroys card numbers: ciphertext, metadata and fingerprints are overwritten, the tokens stay taken. One that is
    /// unknown: [`VaultConflict::Token`]; one that is shredded stays so.
    Shred {
        /// Where.
        domain: TokenDomain,
        /// Which.
        tokens: Vec<Token>,
    },
    /// The token has destroyed a key. One that was not to be destroyed: nothing changes.
    Gone(DoomedKey),
    /// About a domain's keys; see there.
    Key(KeyWrite),
    /// How far a rotation or an import is; see there.
    Cursor(CursorWrite),
}

/// See [`VaultWrite::PutDomain`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDomain {
    /// Its name.
    pub domain: TokenDomain,
    /// Encoded record: what the domain is, for ever.
    pub record: Vec<u8>,
    /// The node whose HSM has its keys.
    pub home: NodeName,
    /// Whether a card number that comes again gets the token that it has.
    pub reuse: Reuse,
    /// First KEK and, under it, first data key; none in a domain that cannot be revealed.
    pub data_key: Option<(DomainKek, WrappedKey)>,
    /// First blind-index key, by its name on the token (`CKA_ID`).
    pub index_key: [u8; 16],
    /// When.
    pub at: UnixMillis,
}

/// A data key under a KEK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedKey {
    /// The KEK: the domain's own, which has its name.
    pub kek: KeyName,
    /// Its version.
    pub kek_version: KekNumber,
    /// What the KEK made of it.
    pub wrapped: Vec<u8>,
}

/// A write about the keys of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyWrite {
    /// A new KEK, current from now on.
    AddKek {
        /// Where.
        domain: TokenDomain,
        /// The key.
        kek: DomainKek,
        /// When.
        at: UnixMillis,
    },
    /// Gives a previous KEK to the token to destroy. While a data key is under it: [`VaultConflict::Needed`]; the current
    /// one: [`VaultConflict::Key`].
    RetireKek {
        /// Where.
        domain: TokenDomain,
        /// Which.
        number: KekNumber,
        /// When.
        at: UnixMillis,
    },
    /// A new data key, current from now on, and the rotation that brings old rows under it. Needs that no data key is being
    /// rotated: otherwise [`VaultConflict::Rotating`].
    AddDataKey {
        /// Where.
        domain: TokenDomain,
        /// The key.
        key: WrappedKey,
        /// Whether what is left behind is destroyed at the end.
        shred: bool,
        /// When.
        at: UnixMillis,
    },
    /// A data key under another KEK or version: the very one that is there is replaced, or [`VaultConflict::Key`].
    Rewrap {
        /// Where.
        domain: TokenDomain,
        /// Which.
        number: DataKeyNumber,
        /// What is there.
        from: WrappedKey,
        /// What is to be there.
        to: WrappedKey,
    },
    /// Rows under the current data key. One that is gone, or not under `from` with that IV any more, is left as it is.
    Reseal {
        /// Where.
        domain: TokenDomain,
        /// The rows.
        rows: Vec<Resealed>,
    },
    /// Overwrites a previous data key. While a token is under it: [`VaultConflict::Needed`]; the current one:
    /// [`VaultConflict::Key`].
    RetireDataKey {
        /// Where.
        domain: TokenDomain,
        /// Which.
        number: DataKeyNumber,
        /// When.
        at: UnixMillis,
    },
    /// A new blind-index key, filled by a rotation from now on. Needs that no index key is being rotated.
    AddIndexKey {
        /// Where.
        domain: TokenDomain,
        /// Its name on the token.
        object: [u8; 16],
        /// Whether what is left behind is destroyed at the end.
        shred: bool,
        /// When.
        at: UnixMillis,
    },
    /// Fingerprints of old tokens under the index key that is being filled. A token that is gone is left out.
    PutFingerprints {
        /// Where.
        domain: TokenDomain,
        /// Token and fingerprint.
        rows: Vec<(Token, Fingerprint)>,
    },
    /// The filled index key becomes current, the old one previous. Needs that its rotation has ended, otherwise
    /// [`VaultConflict::Cursor`], and that no token lacks a fingerprint: otherwise [`VaultConflict::Needed`].
    SwitchIndexKey {
        /// Where.
        domain: TokenDomain,
        /// When.
        at: UnixMillis,
    },
    /// Removes fingerprints under a previous index key, at most so many; the version that has none left is given to the
    /// token to destroy.
    RetireIndexKey {
        /// Where.
        domain: TokenDomain,
        /// Which.
        number: IndexKeyNumber,
        /// At most so many fingerprints.
        fingerprints_max: u32,
        /// When.
        at: UnixMillis,
    },
}

/// A row under another data key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resealed {
    /// Whose.
    pub token: Token,
    /// The key it was under.
    pub from: DataKeyNumber,
    /// The IV it had.
    pub old_iv: [u8; 12],
    /// Under the current key.
    pub sealed: Sealed,
}

/// A sealed card number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Under which data key.
    pub key: DataKeyNumber,
    /// IV of AES-GCM.
    pub iv: [u8; 12],
    /// Ciphertext and tag.
    pub ciphertext: Vec<u8>,
}

/// How far something long is. Goes in the step that did it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CursorWrite {
    /// A rotation has come to a token, and has done so many more. It must be running, and the token must be behind the last
    /// one: otherwise [`VaultConflict::Cursor`].
    Rotated {
        /// Where.
        domain: TokenDomain,
        /// Which rotation.
        what: Rotated,
        /// The last token that is done.
        after: Token,
        /// So many more.
        tokens: u32,
        /// When.
        at: UnixMillis,
    },
    /// A rotation is paused, resumed or at its end. Not out of another state than those that lead there:
    /// [`VaultConflict::Cursor`].
    SetRotation {
        /// Where.
        domain: TokenDomain,
        /// Which rotation.
        what: Rotated,
        /// What it is now.
        state: RotationState,
        /// When.
        at: UnixMillis,
    },
    /// An import has come to a line. It never goes back, and never changes its source: [`VaultConflict::Cursor`].
    Imported(ImportRow),
}

/// A new token. One that cannot be revealed has nothing sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    /// The token; it must be new.
    pub token: Token,
    /// Its card number, under the current data key.
    pub sealed: Option<Sealed>,
    /// Its card number's fingerprint under each index key that is current or being filled.
    pub fingerprints: Vec<(IndexKeyNumber, Fingerprint)>,
    /// What may be told of its card number.
    pub about: CardFacts,
    /// Whose card it is.
    pub subject: Option<Subject>,
    /// From when it is expired.
    pub expires_at: Option<UnixMillis>,
    /// How often it may be revealed.
    pub uses_left: Option<u32>,
    /// Tokens that share its kept digits, and how many may ever be drawn.
    pub bucket: Option<(String, u64)>,
}

/// What may be told of a card number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardFacts {
    /// Brand.
    pub brand: Brand,
    /// First digits.
    pub bin: Bin,
    /// Last digits.
    pub last4: Last4,
    /// How many digits there are.
    pub digits: u8,
}

/// A write to the vault did not fit what is stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultConflict {
    /// The name is taken by another domain.
    #[error("the token domain's name is taken")]
    DomainExists,
    /// There is no such domain.
    #[error("there is no such token domain")]
    NoDomain,
    /// The domain was deleted.
    #[error("the token domain is deleted")]
    Deleted,
    /// The domain is suspended.
    #[error("the token domain is suspended")]
    Suspended,
    /// The domain is not deleted.
    #[error("the token domain is not deleted")]
    NotDeleted,
    /// New tokens that do not fit, by their place.
    #[error("{} of the new tokens do not fit", .0.len())]
    Tokens(Vec<(usize, TokenConflict)>),
    /// A token is not in the state for it.
    #[error(transparent)]
    Token(TokenConflict),
    /// There is no such key version, or it is in another state.
    #[error("there is no such key version in that state")]
    Key,
    /// Tokens still need the key version.
    #[error("{tokens} tokens, or as many data keys, still need the key version")]
    Needed {
        /// How many.
        tokens: u64,
    },
    /// Such a rotation is under way.
    #[error("a rotation is under way")]
    Rotating,
    /// A cursor would go back, or is in another state.
    #[error("the cursor does not go on from there")]
    Cursor,
    /// An import has come further, or is of another file.
    #[error("the import does not go on from there")]
    Import,
}

/// Why a token does not fit, or is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenConflict {
    /// The card number has a token: this one. It may be one of an earlier place among the new tokens.
    #[error("the card number has a token")]
    Fingerprint(Token),
    /// Something else has this token.
    #[error("the token is taken")]
    Taken,
    /// Too many tokens share the kept digits.
    #[error("too many tokens share the kept digits")]
    BucketFull,
    /// It was made for another data key or other index keys than the domain has now.
    #[error("the domain's keys have changed")]
    Keys,
    /// The data key has encrypted as often as it may.
    #[error("the data key has encrypted as often as it may")]
    Spent,
    /// There is none.
    #[error("there is no such token")]
    Unknown,
    /// It is suspended.
    #[error("the token is suspended")]
    Suspended,
    /// It has no uses left.
    #[error("the token is used up")]
    UsedUp,
    /// It is past its time.
    #[error("the token has expired")]
    Expired,
    /// Its card number is gone.
    #[error("the token is shredded")]
    Shredded,
}
