//! What becomes of a token. A state is what was stored, seen at a moment: nothing has to run for a token to expire.

use std::num::NonZeroU32;
use tally_domain::UnixMillis;
use tally_domain::token::StoredState;

/// What is stored of a token's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// What was written down.
    pub state: StoredState,
    /// From when it is expired.
    pub expires_at: Option<UnixMillis>,
    /// Reveals that are left, if they are counted.
    pub uses_left: Option<u32>,
}

/// A token at a moment.
#[derive(Debug, PartialEq, Eq)]
pub enum Life {
    /// May be revealed.
    Active(Active),
    /// Waits to be resumed.
    Suspended(Suspended),
    /// Has no uses left.
    UsedUp(UsedUp),
    /// Past its time.
    Expired(Expired),
    /// Its card number is gone.
    Shredded(Shredded),
}

/// A token that may be revealed: what a reveal asks for. Only [`Life::at`] and [`Suspended::resume`] give one.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Active {
    expires_at: Option<UnixMillis>,
    uses_left: Option<NonZeroU32>,
}

/// A token that waits.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Suspended {
    stored: Stored,
}

/// A token without uses left.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct UsedUp(());

/// A token past its time.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Expired {
    /// Since when.
    pub since: UnixMillis,
}

/// A token whose card number is gone.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Shredded(());

/// Why a token is not revealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotUsable {
    /// Waits to be resumed.
    #[error("the token is suspended; resume it first")]
    Suspended,
    /// No uses left.
    #[error("the token has been used as often as its domain allows; tokenize the card again")]
    UsedUp,
    /// Past its time.
    #[error("the token has expired; tokenize the card again")]
    Expired,
    /// Gone.
    #[error("the token was shredded; its card number is gone for good")]
    Shredded,
}

impl Life {
    /// What a token is now. Gone goes before expired, expired before used up, and used up before suspended: the first is the
    /// one that no waiting and nobody's change of mind undoes.
    pub fn at(stored: Stored, now: UnixMillis) -> Self {
        match stored {
            Stored { state: StoredState::Shredded, .. } => Self::Shredded(Shredded(())),
            Stored { expires_at: Some(since), .. } if now >= since => Self::Expired(Expired { since }),
            Stored { uses_left: Some(0), .. } => Self::UsedUp(UsedUp(())),
            Stored { state: StoredState::Suspended, .. } => Self::Suspended(Suspended { stored }),
            Stored { state: StoredState::Active, expires_at, uses_left } => {
                Self::Active(Active { expires_at, uses_left: uses_left.and_then(NonZeroU32::new) })
            }
        }
    }

    /// The token if it may be revealed.
    ///
    /// # Errors
    /// [`NotUsable`].
    pub fn usable(self) -> Result<Active, NotUsable> {
        match self {
            Self::Active(active) => Ok(active),
            Self::Suspended(_) => Err(NotUsable::Suspended),
            Self::UsedUp(_) => Err(NotUsable::UsedUp),
            Self::Expired(_) => Err(NotUsable::Expired),
            Self::Shredded(_) => Err(NotUsable::Shredded),
        }
    }

    /// Destroys the card number; of any state, and again.
    pub fn shred(self) -> Shredded {
        Shredded(())
    }

    /// The word in answers.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Active(_) => "active",
            Self::Suspended(_) => "suspended",
            Self::UsedUp(_) => "used-up",
            Self::Expired(_) => "expired",
            Self::Shredded(_) => "shredded",
        }
    }
}

impl Active {
    /// One reveal: what the token is after it.
    pub fn reveal(self) -> Life {
        match self.uses_left.map(|uses| NonZeroU32::new(uses.get() - 1)) {
            Some(None) => Life::UsedUp(UsedUp(())),
            Some(uses_left @ Some(_)) => Life::Active(Self { uses_left, ..self }),
            None => Life::Active(self),
        }
    }

    /// Stops it until it is resumed.
    pub fn suspend(self) -> Suspended {
        Suspended {
            stored: Stored {
                state: StoredState::Suspended,
                expires_at: self.expires_at,
                uses_left: self.uses_left.map(NonZeroU32::get),
            },
        }
    }

    /// What is to be stored.
    pub fn stored(&self) -> Stored {
        let uses_left = self.uses_left.map(NonZeroU32::get);
        Stored { state: StoredState::Active, expires_at: self.expires_at, uses_left }
    }
}

impl Suspended {
    /// Lets it go on; it may have expired meanwhile.
    pub fn resume(self, now: UnixMillis) -> Life {
        Life::at(Stored { state: StoredState::Active, ..self.stored }, now)
    }

    /// What is to be stored.
    pub fn stored(&self) -> Stored {
        self.stored
    }
}
