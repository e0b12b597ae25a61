//! What every run begins with: nodes that have made a key together, by the sessions that make keys.

use crate::journal::Journal;
use crate::node::incarnate;
use crate::world::{START_OF_TIME, World};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use tally_audit::event::{Origin, What};
use tally_domain::ports::store::{ClaimRequest, Step, Write};
use tally_domain::{NodeName, PartyIndex, Scheme, Threshold};
use tally_signer::admit;
use tally_signer::boot::BootIdentity;
use tally_signer::freeze::Freezes;
use tally_signer::keygen_session::{Created, KeygenSession, Start};
use tally_signer::session::{Action, Members};
use tally_signer::sign_session::Event;

/// A cluster with one key, as its nodes have it on their disks.
pub struct Genesis {
    /// The cluster.
    pub world: Arc<World>,
    /// Each node's disk.
    pub journals: BTreeMap<NodeName, Journal>,
    /// What every node has the same.
    pub created: Created,
}

struct Letter {
    from: NodeName,
    to: NodeName,
    bytes: Vec<u8>,
}

/// Key generation under way.
struct Making {
    world: Arc<World>,
    journals: BTreeMap<NodeName, Journal>,
    sessions: BTreeMap<NodeName, KeygenSession>,
    created: BTreeMap<NodeName, Created>,
    letters: Vec<Letter>,
    rng: StdRng,
}

impl Genesis {
    /// `n` nodes make a key that t of them sign with; messages arrive in an order drawn from `seed`.
    pub fn new(scheme: Scheme, t: u32, n: u8, seed: u64) -> Self {
        Self::of(World::new(n, 0, None), scheme, t, seed)
    }

    /// The signers of a world make a key that t of them sign with; its witnesses are told of the key.
    pub fn of(world: World, scheme: Scheme, t: u32, seed: u64) -> Self {
        let world = Arc::new(world);
        let mut making = Making {
            journals: world.names.iter().map(|name| (name.clone(), Journal::default())).collect(),
            world: world.clone(),
            sessions: BTreeMap::new(),
            created: BTreeMap::new(),
            letters: Vec::new(),
            rng: StdRng::seed_from_u64(seed),
        };
        let (signers, witnesses) = world.names.split_at(world.signers);
        for name in signers {
            making.begin(name, scheme, t);
        }
        while !making.letters.is_empty() {
            let at = making.rng.random_range(0..making.letters.len());
            let Letter { from, to, bytes } = making.letters.swap_remove(at);
            let session = making.sessions.get_mut(&to).expect("a participant");
            let event = Event::Message { from: &from, bytes: &bytes };
            let actions = session.handle(event, START_OF_TIME, &mut making.rng).expect("an honest message");
            making.act(&to, actions);
        }
        let mut all: Vec<Created> = std::mem::take(&mut making.created).into_values().collect();
        assert_eq!(all.len(), signers.len(), "every signer has the key");
        assert!(all.windows(2).all(|w| w[0].record == w[1].record), "every node has the same key");
        let created = all.pop().expect("at least one node");
        for name in witnesses {
            making.tell(name, &created);
        }
        Self { journals: making.journals, created, world }
    }
}

impl Making {
    fn begin(&mut self, name: &NodeName, scheme: Scheme, t: u32) {
        let seed = self.rng.random();
        let journal = self.journals.get_mut(name).expect("a node");
        let boot = Arc::new(incarnate(journal, &self.world, name, &seed, START_OF_TIME));
        let signers = &self.world.names[..self.world.signers];
        let threshold = Threshold::new(t, signers.len().try_into().expect("few nodes")).expect("a threshold");
        let opened = admit::open(&self.world.bundle, self.world.key(scheme, threshold)).expect("an honest intent");
        let permit = admit::admit_create(opened, &Freezes::default(), &self.world.bundle, START_OF_TIME)
            .expect("a permitted key");
        journal.commit(claim(&permit, &boot)).expect("a new request");
        let parties = threshold.parties().zip(signers.iter().cloned());
        let names: BTreeMap<PartyIndex, NodeName> = parties.collect();
        let me = *names.iter().find(|(_, n)| *n == name).expect("a participant").0;
        let start = Start { permit, boot, bundle: self.world.bundle.clone(), members: Members::new(me, names) };
        let (session, actions) = KeygenSession::start(start, &mut self.rng);
        self.sessions.insert(name.clone(), session);
        self.act(name, actions);
    }

    /// A witness has the key's record, and no share of it.
    fn tell(&mut self, name: &NodeName, created: &Created) {
        let seed = self.rng.random();
        let journal = self.journals.get_mut(name).expect("a node");
        incarnate(journal, &self.world, name, &seed, START_OF_TIME);
        let (key, record, at) = (created.record.name.clone(), created.record.to_bytes(), START_OF_TIME);
        let request = created.record.request_id;
        let pending =
            Write::PutPendingKey { name: key.clone(), request, record: record.clone(), sealed_share: Vec::new(), at };
        let active = Write::ActivateKey { name: key, record, certificate: Vec::new(), at };
        journal.commit(Step { writes: vec![pending, active], leaves: Vec::new() }).expect("a free name");
    }

    fn act(&mut self, at: &NodeName, actions: Vec<Action<Created>>) {
        let mut actions = VecDeque::from(actions);
        let session = self.sessions.get_mut(at).expect("a participant");
        while let Some(action) = actions.pop_front() {
            match action {
                Action::Send { to, bytes } => self.letters.push(Letter { from: at.clone(), to, bytes }),
                Action::Persist { id, step } => {
                    self.journals.get_mut(at).expect("a node").commit(step).expect("a step that fits");
                    let event = Event::Persisted(id);
                    actions.extend(session.handle(event, START_OF_TIME, &mut self.rng).expect("no trouble"));
                }
                // The token is played by not sealing at all.
                Action::Seal(request) => {
                    actions.extend(session.sealed(request.share.expose().to_vec(), START_OF_TIME));
                }
                Action::Canvass { .. } => panic!("making a key takes nothing of a limit"),
                Action::Done(created) => {
                    self.created.insert(at.clone(), created);
                }
            }
        }
    }
}

fn claim(permit: &admit::CreatePermit, boot: &BootIdentity) -> Step {
    let (intent, opened) = (permit.intent(), permit.opened());
    let claim = ClaimRequest {
        tenant: intent.tenant.clone(),
        request: intent.request_id,
        intent_digest: opened.digest(),
        client: intent.client.clone(),
        key: intent.key.clone(),
        action: intent.action,
        at: START_OF_TIME,
    };
    let received = What::IntentReceived {
        envelope: opened.envelope().clone(),
        from: Origin::Client(intent.client.clone()),
        digest: opened.digest(),
    };
    let decided = What::Decided {
        tenant: intent.tenant.clone(),
        request_id: intent.request_id,
        intent_digest: opened.digest(),
        verdict: admit::verdict(Ok(permit.rule())),
        bundle: permit.bundle(),
        summary: String::new(),
        limits: Vec::new(),
    };
    let leaves = vec![boot.leaf(START_OF_TIME, received), boot.leaf(START_OF_TIME, decided)];
    Step { writes: vec![Write::ClaimRequest(claim)], leaves }
}
