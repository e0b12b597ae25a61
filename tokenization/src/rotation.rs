//! A rotation: all tokens of a domain, in order, brought under a new key. It can be paused, and goes on after a crash from
//! the last page that was written down with its cursor; the tokens themselves never change.

use tally_domain::UnixMillis;
use tally_domain::ports::store::tokens::{CursorWrite, RotationRow, RotationState};
use tally_domain::token::{Token, TokenDomain};

/// Tokens in a page: enough to share an fsync, few enough that a pause or a stop is obeyed within a second.
pub const PAGE_TOKENS: u32 = 256;

/// A rotation, by what it does.
#[derive(Debug, PartialEq, Eq)]
pub enum Rotation {
    /// Goes on.
    Running(Running),
    /// Waits.
    Paused(Paused),
    /// All tokens are done.
    Finished(Finished),
}

/// A rotation that goes on.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Running(Place);

/// A rotation that waits.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Paused(Place);

/// A rotation at its end: what is under the old key can be counted, and the key retired.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Finished(Place);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    domain: TokenDomain,
    row: RotationRow,
}

/// A page does not go on from the last one. Our bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a page of a rotation does not go on from the one before")]
pub struct Backwards;

impl Rotation {
    /// The rotation that was stored.
    pub fn of(domain: TokenDomain, row: RotationRow) -> Self {
        let state = row.state;
        let place = Place { domain, row };
        match state {
            RotationState::Running => Self::Running(Running(place)),
            RotationState::Paused => Self::Paused(Paused(place)),
            RotationState::Finished => Self::Finished(Finished(place)),
        }
    }

    /// What is stored of it.
    pub fn row(&self) -> &RotationRow {
        match self {
            Self::Running(Running(place)) | Self::Paused(Paused(place)) | Self::Finished(Finished(place)) => &place.row,
        }
    }
}

impl Running {
    /// Behind which token the next page starts.
    pub fn after(&self) -> Option<&Token> {
        self.0.row.after.as_ref()
    }

    /// A page is done, up to its last token. The write goes into the step that has the page.
    ///
    /// # Errors
    /// [`Backwards`] when the token is not behind the last one.
    pub fn page(mut self, last: Token, tokens: u32, at: UnixMillis) -> Result<(Self, CursorWrite), Backwards> {
        if self.after().is_some_and(|after| last <= *after) {
            return Err(Backwards);
        }
        let Place { domain, row } = &mut self.0;
        row.done = row.done.saturating_add(u64::from(tokens));
        row.after = Some(last.clone());
        row.updated_at = at;
        let write = CursorWrite::Rotated { domain: domain.clone(), what: row.what, after: last, tokens, at };
        Ok((self, write))
    }

    /// Waits from now on.
    pub fn pause(self, at: UnixMillis) -> (Paused, CursorWrite) {
        let (place, write) = self.0.become_state(RotationState::Paused, at);
        (Paused(place), write)
    }

    /// There is no token behind the last one.
    pub fn finish(self, at: UnixMillis) -> (Finished, CursorWrite) {
        let (place, write) = self.0.become_state(RotationState::Finished, at);
        (Finished(place), write)
    }
}

impl Paused {
    /// Goes on.
    pub fn resume(self, at: UnixMillis) -> (Running, CursorWrite) {
        let (place, write) = self.0.become_state(RotationState::Running, at);
        (Running(place), write)
    }
}

impl Finished {
    /// The key version that all tokens are under.
    pub fn to(&self) -> u32 {
        self.0.row.to
    }
}

impl Place {
    fn become_state(mut self, state: RotationState, at: UnixMillis) -> (Self, CursorWrite) {
        self.row.state = state;
        self.row.updated_at = at;
        let write = CursorWrite::SetRotation { domain: self.domain.clone(), what: self.row.what, state, at };
        (self, write)
    }
}
