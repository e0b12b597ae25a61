//! Places to work in, and who gets the next one: the client that has fewest of them, and of several the one whose last place
//! was given longest ago. So a client that asks for ten times what there is stands behind one that asks for little.

use super::pace::{Pace, WORK_MAX};
use crate::turn::Took;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Clients that ask within this time of each other share what there is.
const SHARED_FOR: Duration = Duration::from_secs(1);

/// How long turns wait for each hundred that they run, while clients share. Where there is one signature at a time it is ten,
/// and with three at once for each processor fifty: then they are busy nine tenths of the time.
const SHARED_WAIT_MAX: u32 = 50;

/// The same for a client that is alone. From here on more at once gives no more signatures.
const ALONE_WAIT_MAX: u32 = 300;

/// All places of a node.
#[derive(Default)]
pub struct Places(Mutex<State>);

struct State {
    /// For a client that is alone.
    alone: Pace,
    /// For clients that share.
    shared: Pace,
    last: Option<Asked>,
    /// Until then clients share: more than one has asked a short while ago.
    shared_until: Option<Instant>,
    working: usize,
    /// Counts the places that were given.
    given: u64,
    clients: HashMap<String, Client>,
}

/// Who asked last, and when.
struct Asked {
    client: String,
    at: Instant,
}

/// A client that has places or waits for some.
#[derive(Default)]
struct Client {
    working: usize,
    last_given: u64,
    waiting: VecDeque<oneshot::Sender<Given>>,
}

/// A place; given back on drop.
pub struct Given {
    places: Arc<Places>,
    client: String,
}

impl Drop for Given {
    fn drop(&mut self) {
        let mut state = self.places.state();
        state.working -= 1;
        if let Some(client) = state.clients.get_mut(&self.client) {
            client.working -= 1;
            client.forget_gone();
            if client.working == 0 && client.waiting.is_empty() {
                state.clients.remove(&self.client);
            }
        }
        drop(state);
        self.places.give();
    }
}

impl Places {
    /// A place at once, if there is one.
    pub fn try_take(self: &Arc<Self>, client: &str) -> Option<Given> {
        // Whom a greater limit lets in of those who wait goes first.
        self.change(|state| state.asks(client, Instant::now()));
        let mut state = self.state();
        state.has_room(client).then(|| state.begin(client))?;
        Some(Given { places: self.clone(), client: client.to_owned() })
    }

    /// A place, when it is this client's turn.
    pub async fn take(self: &Arc<Self>, client: &str) -> Option<Given> {
        let (sender, receiver) = oneshot::channel();
        self.state().clients.entry(client.to_owned()).or_default().waiting.push_back(sender);
        self.give();
        receiver.await.ok()
    }

    /// What a turn of a session has taken.
    pub fn turn_took(self: &Arc<Self>, took: Took) {
        self.change(|state| {
            let now = Instant::now();
            state.alone.turn(took, state.working, now);
            state.shared.turn(took, state.working, now);
        });
    }

    /// How much may be worked on at once, as things are.
    pub fn limit(&self) -> usize {
        self.state().limit()
    }

    fn change(self: &Arc<Self>, change: impl FnOnce(&mut State)) {
        let more = {
            let mut state = self.state();
            let before = state.limit();
            change(&mut state);
            state.limit() > before
        };
        if more {
            self.give();
        }
    }

    /// Gives what is free to those who wait.
    fn give(self: &Arc<Self>) {
        loop {
            let next = self.state().next();
            let Some((sender, client)) = next else { return };
            // Who has gone meanwhile gives it back, here and now.
            drop(sender.send(Given { places: self.clone(), client }));
        }
    }

    /// Nothing is left half-done under the lock by whoever panicked, so poison is ignored.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            alone: Pace::new(ALONE_WAIT_MAX),
            shared: Pace::new(SHARED_WAIT_MAX),
            last: None,
            shared_until: None,
            working: 0,
            given: 0,
            clients: HashMap::new(),
        }
    }
}

impl State {
    /// Somebody asks for a place.
    fn asks(&mut self, client: &str, now: Instant) {
        self.alone.asked(now);
        self.shared.asked(now);
        match &mut self.last {
            Some(last) if last.client == client => last.at = now,
            last => {
                if last.as_ref().is_some_and(|last| now.saturating_duration_since(last.at) < SHARED_FOR) {
                    self.shared_until = Some(now + SHARED_FOR);
                }
                *last = Some(Asked { client: client.to_owned(), at: now });
            }
        }
        self.shared_until = self.shared_until.filter(|until| now < *until);
    }

    /// A client that is alone may have all that a node can do, if it does not mind that each signature comes later.
    fn limit(&self) -> usize {
        if self.shared_until.is_some() { self.shared.limit() } else { self.alone.limit() }
    }

    /// Of that, how much may be one client's: however much it asks, a quarter is for others.
    fn limit_of_one(&self) -> usize {
        (self.limit() * 3).div_ceil(4)
    }

    /// Who has nothing going on does not wait for those who have.
    fn has_room(&self, client: &str) -> bool {
        let of_client = self.clients.get(client).map_or(0, |client| client.working);
        let limit = if of_client == 0 { WORK_MAX } else { self.limit() };
        self.working < limit && of_client < self.limit_of_one()
    }

    fn begin(&mut self, client: &str) {
        self.working += 1;
        self.given += 1;
        let of_client = self.clients.entry(client.to_owned()).or_default();
        of_client.working += 1;
        of_client.last_given = self.given;
    }

    /// Whose turn it is, if there is a place for anyone; the place is that one's now.
    fn next(&mut self) -> Option<(oneshot::Sender<Given>, String)> {
        self.clients.values_mut().for_each(Client::forget_gone);
        let waiting = self.clients.iter().filter(|(name, client)| !client.waiting.is_empty() && self.has_room(name));
        let name =
            waiting.min_by_key(|(_, client)| (client.working, client.last_given)).map(|(name, _)| name.clone())?;
        let sender = self.clients.get_mut(&name)?.waiting.pop_front()?;
        self.begin(&name);
        Some((sender, name))
    }
}

impl Client {
    /// Those who do not wait any more do not stand in the way, and do not pile up.
    fn forget_gone(&mut self) {
        self.waiting.retain(|sender| !sender.is_closed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    /// Turns wait so long for each hundred that they run, and have for a while.
    fn turns(places: &Arc<Places>, waited: u32) {
        let took = Took { ran: Duration::from_millis(100), waited: Duration::from_millis(u64::from(waited)) };
        (0..10_000).for_each(|_| places.turn_took(took));
    }

    /// The pace is at its least.
    fn overload(places: &Arc<Places>) {
        turns(places, ALONE_WAIT_MAX * 10);
    }

    #[tokio::test]
    async fn who_has_least_is_next() {
        let places = Arc::new(Places::default());
        let mut hogs: Vec<_> = (0..8).map(|_| places.try_take("hog").expect("there is room")).collect();
        overload(&places);
        assert!(places.try_take("hog").is_none());
        let mut waits = Box::pin(places.take("hog"));
        assert!(waits.as_mut().now_or_never().is_none());
        // Not after those of the hog that wait, nor after those that work.
        let first = places.try_take("honest").expect("who has nothing does not wait");
        assert!(places.try_take("honest").is_none(), "the second one is for later");
        let mut second = Box::pin(places.take("honest"));
        hogs.truncate(1);
        assert!(second.as_mut().now_or_never().is_none(), "one of each is more than there is room for");
        drop(hogs);
        let _hog = waits.as_mut().now_or_never().expect("each may have one");
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        assert!(second.as_mut().now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_client_that_is_alone_goes_on_until_more_at_once_is_of_no_use() {
        let places = Arc::new(Places::default());
        let _some: Vec<_> = (0..8).map(|_| places.try_take("one").expect("there is room")).collect();
        turns(&places, (SHARED_WAIT_MAX + ALONE_WAIT_MAX) / 2);
        let more = places.try_take("one").expect("alone there is room");
        drop(more);
        drop(places.try_take("another"));
        assert!(places.try_take("one").is_none(), "with another there is not");
    }

    #[tokio::test]
    async fn those_who_have_gone_neither_pile_up_nor_stand_in_the_way() {
        let places = Arc::new(Places::default());
        let one = places.try_take("one").expect("there is room");
        overload(&places);
        for _ in 0..1_000 {
            assert!(places.take("one").now_or_never().is_none());
        }
        let mut stays = Box::pin(places.take("one"));
        assert!(stays.as_mut().now_or_never().is_none());
        assert_eq!(places.state().clients["one"].waiting.len(), 1);
        drop(one);
        drop(stays.as_mut().now_or_never().expect("the place is free").expect("places do not end"));
        assert!(places.state().clients.is_empty());
        assert_eq!(places.state().working, 0);
    }
}
