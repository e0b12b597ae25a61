//! What all machines share: whose turn it is, what has come, what came early, and when a round is complete.

use crate::fault::{BadMessage, Fault, Misuse};
use crate::session::SessionId;
use crate::wire::{self, Address, Kind};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use tally_domain::PartyIndex;
use zeroize::Zeroizing;

/// A message to one party. The bytes may hold secrets for that party: they belong in the encrypted channel to it and
/// nowhere else, so there is no `Debug`.
pub struct Outgoing {
    /// Who gets it.
    pub to: PartyIndex,
    /// What to send.
    pub bytes: Vec<u8>,
}

/// What a message led to.
pub enum Progress<T> {
    /// Send these (there may be none) and wait.
    Wait(Vec<Outgoing>),
    /// Send these (there may be none); the machine is done.
    Done(Vec<Outgoing>, T),
}

/// Who we are in which session.
pub(crate) struct Seat {
    pub(crate) kind: Kind,
    pub(crate) session: SessionId,
    pub(crate) me: PartyIndex,
    /// Everyone else.
    pub(crate) peers: BTreeSet<PartyIndex>,
}

impl Seat {
    fn seal(&self, round: u8, messages: Messages) -> Vec<Outgoing> {
        let Self { kind, session, me, .. } = *self;
        let seal = |(to, body): (PartyIndex, Zeroizing<Vec<u8>>)| {
            let address = Address { kind, session, round, from: me, to };
            Outgoing { to, bytes: address.seal(&body) }
        };
        messages.0.into_iter().map(seal).collect()
    }
}

/// Bodies to send in one round.
pub(crate) struct Messages(Vec<(PartyIndex, Zeroizing<Vec<u8>>)>);

impl Messages {
    /// One body for each receiver.
    pub(crate) fn each<T: Serialize>(
        receivers: impl IntoIterator<Item = PartyIndex>,
        mut body: impl FnMut(PartyIndex) -> Result<T, Fault>,
    ) -> Result<Self, Fault> {
        let encode = |to| Ok((to, wire::encode(&body(to)?)?));
        receivers.into_iter().map(encode).collect::<Result<_, _>>().map(Self)
    }
}

/// All bodies of one complete round.
pub(crate) struct Bodies {
    round: u8,
    by_sender: BTreeMap<PartyIndex, Zeroizing<Vec<u8>>>,
}

impl Bodies {
    /// Each body as received, in the order of the sender.
    pub(crate) fn raw(&self) -> impl Iterator<Item = (PartyIndex, &[u8])> {
        self.by_sender.iter().map(|(from, body)| (*from, body.as_slice()))
    }

    /// Decodes every body and checks it; the first bad one names its sender.
    pub(crate) fn decode<T: Serialize + DeserializeOwned>(
        &self,
        check: impl Fn(PartyIndex, &T) -> Result<(), BadMessage>,
    ) -> Result<BTreeMap<PartyIndex, T>, Fault> {
        let read = |(from, body)| {
            let value = wire::decode::<T>(body).ok_or(BadMessage::Malformed);
            value.and_then(|value| check(from, &value).map(|()| (from, value))).map_err(|what| Fault::Violation {
                culprit: from,
                round: self.round,
                what,
            })
        };
        self.raw().map(read).collect()
    }
}

/// What a round leads to.
pub(crate) enum Step<S, T> {
    /// The next round.
    Next(S, Messages),
    /// The end.
    Done(T),
}

/// A protocol in some round. It ends at the first fault: its state is gone and zeroed.
pub(crate) struct Machine<S> {
    seat: Seat,
    round: u8,
    state: Option<S>,
    now: BTreeMap<PartyIndex, Zeroizing<Vec<u8>>>,
    /// At most one message a sender, of the next round only: a faster peer can be no further ahead than that.
    early: BTreeMap<PartyIndex, Zeroizing<Vec<u8>>>,
}

impl<S> Machine<S> {
    /// A machine in round 1, and that round's messages.
    pub(crate) fn start(seat: Seat, state: S, messages: Messages) -> (Self, Vec<Outgoing>) {
        let outgoing = seat.seal(1, messages);
        (Self { seat, round: 1, state: Some(state), now: BTreeMap::new(), early: BTreeMap::new() }, outgoing)
    }

    /// The round whose messages we wait for, from 1.
    pub(crate) fn round(&self) -> u8 {
        self.round
    }

    /// Whose message of this round is missing.
    pub(crate) fn missing(&self) -> Vec<PartyIndex> {
        let waiting = self.state.is_some();
        self.seat.peers.iter().copied().filter(|p| waiting && !self.now.contains_key(p)).collect()
    }

    /// Takes a message; runs every round that it completes.
    pub(crate) fn message<T>(
        &mut self,
        from: PartyIndex,
        bytes: &[u8],
        mut step: impl FnMut(&Seat, S, Bodies) -> Result<Step<S, T>, Fault>,
    ) -> Result<Progress<T>, Fault> {
        // An outsider must not be able to end a session (S-3.22).
        if !self.seat.peers.contains(&from) {
            return Err(Fault::caller(Misuse::NotAMember(from)));
        }
        // Taken before anything can fail: a fault leaves nothing behind to go on with.
        let mut state = self.state.take().ok_or(Fault::caller(Misuse::Ended))?;
        self.accept(from, bytes).map_err(|what| Fault::Violation { culprit: from, round: self.round, what })?;
        let mut outgoing = Vec::new();
        while self.now.len() == self.seat.peers.len() {
            let bodies = Bodies { round: self.round, by_sender: std::mem::take(&mut self.now) };
            match step(&self.seat, state, bodies)? {
                Step::Next(next, messages) => {
                    state = next;
                    self.round += 1;
                    self.now = std::mem::take(&mut self.early);
                    outgoing.extend(self.seat.seal(self.round, messages));
                }
                Step::Done(output) => return Ok(Progress::Done(outgoing, output)),
            }
        }
        self.state = Some(state);
        Ok(Progress::Wait(outgoing))
    }

    fn accept(&mut self, from: PartyIndex, bytes: &[u8]) -> Result<(), BadMessage> {
        let Seat { kind, session, me, .. } = self.seat;
        let round = wire::round_of(kind, bytes)?;
        let slot = if round == self.round {
            &mut self.now
        } else if round == self.round + 1 && round <= kind.rounds() {
            &mut self.early
        } else {
            return Err(BadMessage::OutOfTurn);
        };
        let body = wire::open(&Address { kind, session, round, from, to: me }, bytes)?;
        if slot.insert(from, body).is_some() { Err(BadMessage::Duplicate) } else { Ok(()) }
    }
}
