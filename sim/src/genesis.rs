//! What every run begins with: nodes that have made a key together, by the sessions that make keys.

use crate::byzantine::{read, round_of};
use crate::journal::Journal;
use crate::node::incarnate;
use crate::world::{START_OF_TIME, World};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use tally_audit::event::{Origin, What};
use tally_domain::ports::store::{ClaimRequest, Step, Write};
use tally_domain::{NodeName, PartyIndex, Refusal, Scheme, Threshold};
use tally_signer::admit;
use tally_signer::boot::BootIdentity;
use tally_signer::freeze::Freezes;
use tally_signer::keygen_session::{Created, KeygenSession, Start, activate_step};
use tally_signer::session::{Action, Members, Trouble};
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

/// A node that says nothing from somewhere in a key generation on.
#[derive(Debug, Clone)]
pub struct Silence {
    /// Which.
    pub node: NodeName,
    /// From which round of the threshold protocol on, 0 for the greeting; none: it does not sign the record.
    pub round: Option<u8>,
}

/// What the others are told when they have waited long enough.
#[derive(Debug)]
pub struct Told {
    /// For the caller.
    pub refusal: Refusal,
    /// Who is to blame.
    pub culprits: Vec<NodeName>,
    /// Who was not heard.
    pub missing: Vec<NodeName>,
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
    boots: BTreeMap<NodeName, Arc<BootIdentity>>,
    silence: Option<Silence>,
    rng: StdRng,
}

impl Genesis {
    /// `n` nodes make a key that t of them sign with; messages arrive in an order drawn from `seed`.
    pub fn new(scheme: Scheme, t: u32, n: u8, seed: u64) -> Self {
        Self::of(World::new(n, 0, None), scheme, t, seed)
    }

    /// The signers of a world make a key that t of them sign with; its witnesses are told of the key.
    pub fn of(world: World, scheme: Scheme, t: u32, seed: u64) -> Self {
        let mut making = Making::new(world, seed);
        making.all_begin(scheme, t);
        making.play();
        making.ended()
    }

    /// The same, but a node falls silent: what each of the others is told, once it has waited long enough; and the key, which
    /// the same request makes when the node is back.
    pub fn after(silence: Silence, scheme: Scheme, t: u32, n: u8, seed: u64) -> (BTreeMap<NodeName, Told>, Self) {
        let mut making = Making::new(World::new(n, 0, None), seed);
        let silent = silence.node.clone();
        making.silence = Some(silence);
        making.all_begin(scheme, t);
        making.play();
        let mut told = making.lose_patience();
        told.remove(&silent);
        making.silence = None;
        match making.created.remove(&silent) {
            // It has the words of all the others, and they have its record: they take it from there.
            Some(created) => making.adopt(created),
            None => {
                assert!(making.created.is_empty(), "a key without the silent node's word");
                making.all_begin(scheme, t);
                making.play();
            }
        }
        (told, making.ended())
    }
}

impl Making {
    fn new(world: World, seed: u64) -> Self {
        let world = Arc::new(world);
        Self {
            journals: world.names.iter().map(|name| (name.clone(), Journal::default())).collect(),
            world,
            sessions: BTreeMap::new(),
            created: BTreeMap::new(),
            letters: Vec::new(),
            boots: BTreeMap::new(),
            silence: None,
            rng: StdRng::seed_from_u64(seed),
        }
    }

    fn signers(&self) -> Vec<NodeName> {
        self.world.names.iter().take(self.world.signers).cloned().collect()
    }

    fn all_begin(&mut self, scheme: Scheme, t: u32) {
        for name in self.signers() {
            self.begin(&name, scheme, t);
        }
    }

    /// Delivers until nothing is under way.
    fn play(&mut self) {
        while !self.letters.is_empty() {
            let at = self.rng.random_range(0..self.letters.len());
            let Letter { from, to, bytes } = self.letters.swap_remove(at);
            let session = self.sessions.get_mut(&to).expect("a participant");
            let event = Event::Message { from: &from, bytes: &bytes };
            let actions = session.handle(event, START_OF_TIME, &mut self.rng).expect("an honest message");
            self.act(&to, actions);
        }
    }

    /// Whoever is not done gives up.
    fn lose_patience(&mut self) -> BTreeMap<NodeName, Told> {
        let mut told = BTreeMap::new();
        for (name, session) in std::mem::take(&mut self.sessions) {
            if self.created.contains_key(&name) {
                continue;
            }
            let (stage, missing) = session.waiting_for();
            let failure = session.fail(&Trouble::Silent { missing, stage }, START_OF_TIME);
            self.journals.get_mut(&name).expect("a node").commit(failure.step).expect("a step that fits");
            let (refusal, culprits, missing) = (failure.refusal, failure.culprits, failure.missing);
            told.insert(name, Told { refusal, culprits, missing });
        }
        told
    }

    /// All take a key that one can prove to be certified.
    fn adopt(&mut self, created: Created) {
        for name in self.signers() {
            let step = activate_step(&created, &self.boots[&name], START_OF_TIME);
            self.journals.get_mut(&name).expect("a node").commit(step).expect("the record that it has signed");
            let (record, certificate) = (created.record.clone(), created.certificate.clone());
            self.created.insert(name, Created { record, certificate });
        }
    }

    fn ended(mut self) -> Genesis {
        let mut all: Vec<Created> = std::mem::take(&mut self.created).into_values().collect();
        assert_eq!(all.len(), self.world.signers, "every signer has the key");
        assert!(all.windows(2).all(|w| w[0].record == w[1].record), "every node has the same key");
        let created = all.pop().expect("at least one node");
        for name in self.world.names.clone().iter().skip(self.world.signers) {
            self.tell(name, &created);
        }
        Genesis { journals: self.journals, created, world: self.world }
    }

    /// Whether this does not leave a node that has fallen silent.
    fn is_kept_back(&self, from: &NodeName, bytes: &[u8]) -> bool {
        let Some(silence) = self.silence.as_ref().filter(|silence| silence.node == *from) else { return false };
        let at = read(bytes).as_ref().and_then(round_of);
        match (at, silence.round) {
            (Some(at), Some(round)) => at >= round,
            (None, _) => true,
            (Some(_), None) => false,
        }
    }

    fn begin(&mut self, name: &NodeName, scheme: Scheme, t: u32) {
        let seed = self.rng.random();
        let journal = self.journals.get_mut(name).expect("a node");
        let boot = Arc::new(incarnate(journal, &self.world, name, &seed, START_OF_TIME));
        self.boots.insert(name.clone(), boot.clone());
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
        while let Some(action) = actions.pop_front() {
            if let Action::Send { bytes, .. } = &action
                && self.is_kept_back(at, bytes)
            {
                continue;
            }
            let session = self.sessions.get_mut(at).expect("a participant");
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
