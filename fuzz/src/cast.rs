//! Two nodes that hold a key together, and a witness, as sessions need them: the simulation's world, with its machines driven
//! by hand.

use crate::sessions::{Done, dialogue};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use tally_audit::event::{Origin, What};
use tally_audit::{Checkpoint, Frontier, checkpoint as checkpoints, merkle};
use tally_domain::boot::Statement;
use tally_domain::dsse::Envelope;
use tally_domain::key::{KeyRecord, KeyState};
use tally_domain::vote::VoteBody;
use tally_domain::{
    Attempt, Charge, Claims, ClusterId, Incarnation, Interval, LineClaim, NodeName, PartyIndex, Scheme, SecretBytes,
    SignerSet, Threshold,
};
use tally_mpc::KeyShare;
use tally_policy::Bundle;
use tally_signer::admit::{self, Opened, Permit, Subject};
use tally_signer::boot::{BootIdentity, Uncertified};
use tally_signer::claims::{claim, concur};
use tally_signer::freeze::Freezes;
use tally_signer::keygen_session::{self, KeygenSession};
use tally_signer::session::{Action, Failure, Members, PersistId, Trouble};
use tally_signer::sign_session::{Event, SignSession, Start};
use tally_sim::world::{Limit, START_OF_TIME, identity, node_name};
use tally_sim::{Genesis, World};

/// A session, and who leads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A message is signed.
    Sign,
    /// A message is signed within a limit, led by the other member: it passes on what the witness has voted.
    LimitedFollowing,
    /// The same, led by the honest member.
    LimitedLeading,
    /// A key is made.
    Make(Scheme),
}

/// All that there are, by number.
pub const SESSIONS: [Kind; 5] = [
    Kind::Sign,
    Kind::LimitedFollowing,
    Kind::LimitedLeading,
    Kind::Make(Scheme::Ed25519),
    Kind::Make(Scheme::Taproot),
];

/// What does not change.
pub struct Cast {
    /// What all decide by.
    pub bundle: Arc<Bundle>,
    world: Arc<World>,
    record: KeyRecord,
    shares: BTreeMap<NodeName, Arc<KeyShare>>,
    boots: BTreeMap<NodeName, Arc<BootIdentity>>,
    /// What node 1 wrote of the making.
    made: Vec<Vec<u8>>,
}

impl Cast {
    /// Makes the key.
    pub fn new() -> Self {
        let limit = Limit { max: 1_000, window_ms: 60_000 };
        let Genesis { world, journals, created } = Genesis::of(World::new(2, 1, Some(limit)), Scheme::Ed25519, 2, 7);
        let share = |(name, journal): (&NodeName, &tally_sim::journal::Journal)| {
            let (_, key) = journal.keys().next()?;
            let share = KeyShare::from_bytes(&SecretBytes::new(key.share.clone())).ok()?;
            Some((name.clone(), Arc::new(share)))
        };
        let boots = world.names.iter().map(|name| (name.clone(), Arc::new(boot(name)))).collect();
        Self {
            bundle: world.bundle.clone(),
            shares: journals.iter().filter_map(share).collect(),
            made: journals[&Self::node(1)].leaves().to_vec(),
            record: created.record,
            world,
            boots,
        }
    }

    /// Nodes 1 and 2 hold the key.
    pub fn node(i: u8) -> NodeName {
        node_name(i)
    }

    /// What the client asks for.
    pub fn subject(&self) -> Subject {
        admit::subject(self.opened(), Some((&self.record, KeyState::Active))).unwrap()
    }

    /// The log of node 1 after it has made the key and signed; and the checkpoint that it signs over such leaves.
    pub fn log(&self) -> Vec<Vec<u8>> {
        let (me, opened) = (Self::node(1), self.opened());
        let (boot, intent) = (&self.boots[&me], opened.intent().clone());
        let permit = self.permit(opened.clone(), Kind::Sign);
        let before = [
            What::Boot { boot_cert: boot.cert().clone(), bundle: self.bundle.digest(), version: "0.1.0".into() },
            What::IntentReceived {
                envelope: opened.envelope().clone(),
                from: Origin::Client(intent.client.clone()),
                digest: opened.digest(),
            },
            What::Decided {
                tenant: intent.tenant,
                request_id: intent.request_id,
                intent_digest: opened.digest(),
                verdict: admit::verdict(Ok(permit.rule())),
                bundle: permit.bundle(),
                summary: String::new(),
                limits: Vec::new(),
            },
        ];
        let before = before.map(|what| boot.leaf(START_OF_TIME, what));
        let signed = dialogue(self, Kind::Sign).leaves;
        self.made.iter().cloned().chain(before).chain(signed).collect()
    }

    /// The checkpoint that node 1 signs over leaves, whatever they are.
    pub fn checkpoint(leaves: &[Vec<u8>]) -> String {
        let (cluster, me) = (cluster(), Self::node(1));
        let (mut frontier, key) = (Frontier::new(), identity(&me));
        leaves.iter().for_each(|leaf| frontier.append(merkle::leaf_hash(leaf)));
        let checkpoint = Checkpoint::of(&cluster, &me, &frontier);
        let signature = key.sign(&checkpoint.unsigned_note());
        checkpoint.with_signature(&checkpoints::origin(&cluster, &me), &key.verifying_key(), &signature)
    }

    fn opened(&self) -> Opened {
        admit::open(&self.bundle, self.world.note(2, "what is signed")).unwrap()
    }

    fn permit(&self, opened: Opened, kind: Kind) -> Permit {
        let charges = |subject: &Subject| match kind {
            Kind::Sign | Kind::Make(_) => Ok(Vec::new()),
            Kind::LimitedFollowing | Kind::LimitedLeading => self.world.charges(subject),
        };
        let key = Some((&self.record, KeyState::Active));
        admit::admit_sign(opened, key, &Freezes::default(), &self.bundle, START_OF_TIME, charges).unwrap()
    }

    fn members(&self, me: &NodeName) -> Members {
        let names: BTreeMap<PartyIndex, NodeName> =
            threshold().parties().zip(self.world.names.iter().cloned()).collect();
        let mine = *names.iter().find(|(_, name)| *name == me).unwrap().0;
        Members::new(mine, names)
    }

    fn signing(&self, kind: Kind, me: &NodeName) -> Start {
        let permit = self.permit(self.opened(), kind);
        let claims = claims(permit.charges());
        let parties: Vec<PartyIndex> = threshold().parties().collect();
        Start {
            claimed: claim(permit, claims, START_OF_TIME).unwrap(),
            share: self.shares[me].clone(),
            boot: self.boots[me].clone(),
            bundle: self.bundle.clone(),
            members: self.members(me),
            signers: SignerSet::new(threshold(), &parties).unwrap(),
            attempt: Attempt(1),
            leader: node_name(if kind == Kind::LimitedLeading { 1 } else { 2 }),
        }
    }

    /// What a voter answers the leader.
    fn witness(&self, kind: Kind, voter: &NodeName, envelope: &Envelope, body: &[u8]) -> Statement {
        let permit = self.permit(admit::open(&self.bundle, envelope.clone()).unwrap(), kind);
        let concurring = concur(permit, VoteBody::from_bytes(body).unwrap(), voter, START_OF_TIME).unwrap();
        concurring.vote(&self.boots[voter], START_OF_TIME).0
    }

    fn making(&self, scheme: Scheme, me: &NodeName) -> keygen_session::Start {
        let opened = admit::open(&self.bundle, self.world.key(scheme, threshold())).unwrap();
        let permit = admit::admit_create(opened, &Freezes::default(), &self.bundle, START_OF_TIME);
        keygen_session::Start {
            permit: permit.unwrap(),
            boot: self.boots[me].clone(),
            bundle: self.bundle.clone(),
            members: self.members(me),
        }
    }
}

fn cluster() -> ClusterId {
    ClusterId::parse("sim").unwrap()
}

fn threshold() -> Threshold {
    Threshold::new(2, 2).unwrap()
}

/// Another start than the one in which the key was made.
fn boot(name: &NodeName) -> BootIdentity {
    let seed = [name.as_str().as_bytes()[5]; 32];
    let boot = Uncertified::new(cluster(), name.clone(), Incarnation(9), &seed);
    let identity = identity(name);
    let signature = identity.sign(&boot.to_sign());
    boot.certified(identity.verifying_key().to_string(), signature)
}

/// The first units of each line.
fn claims(charges: &[Charge]) -> Option<Claims> {
    let line = |charge: &Charge| LineClaim::new(charge, vec![Interval::new(0, charge.amount).unwrap()]).unwrap();
    let lines: Vec<_> = charges.iter().map(line).collect();
    (!lines.is_empty()).then(|| Claims::new(START_OF_TIME, lines).unwrap())
}

/// What leaves a member.
#[derive(Default)]
pub struct Out {
    /// Messages to the other one.
    pub sent: Vec<Vec<u8>>,
    /// Leaves of its log.
    pub leaves: Vec<Vec<u8>>,
}

/// What has been done for a session.
enum After {
    /// A step is durable.
    Persisted(PersistId),
    /// These are to be asked for their votes on this.
    Canvass(Vec<NodeName>, Box<Envelope>, Vec<u8>),
    /// The share is sealed, as it is.
    Sealed(Vec<u8>),
}

/// One member's session, with its own fixed randomness. Whatever it writes is durable at once, and no token seals.
pub enum Session {
    /// Of a signature.
    Sign(Kind, Box<SignSession>, StdRng),
    /// Of a key.
    Make(Box<KeygenSession>, StdRng),
}

impl Session {
    /// Begins; gives what is sent.
    pub fn start(cast: &Cast, kind: Kind, me: &NodeName) -> (Self, Vec<Vec<u8>>) {
        let mut rng = StdRng::seed_from_u64(me.as_str().as_bytes()[5].into());
        match kind {
            Kind::Make(scheme) => {
                let (session, actions) = KeygenSession::start(cast.making(scheme, me), &mut rng);
                (Self::Make(Box::new(session), rng), greetings(actions))
            }
            Kind::Sign | Kind::LimitedFollowing | Kind::LimitedLeading => {
                let (session, actions) = SignSession::start(cast.signing(kind, me), &mut rng);
                (Self::Sign(kind, Box::new(session), rng), greetings(actions))
            }
        }
    }

    /// Takes a message, and does what follows from it.
    ///
    /// # Errors
    /// What ends the session.
    pub fn message(
        &mut self,
        cast: &Cast,
        from: &NodeName,
        bytes: &[u8],
        out: &mut Out,
    ) -> Result<Option<Done>, Trouble> {
        let event = Event::Message { from, bytes };
        match self {
            Self::Sign(kind, session, rng) => {
                let first = session.handle(event, START_OF_TIME, rng)?;
                let done = follow(first, out, |after| match after {
                    After::Persisted(id) => session.handle(Event::Persisted(id), START_OF_TIME, rng),
                    After::Canvass(voters, envelope, body) => {
                        let mut more = Vec::new();
                        for voter in voters {
                            let vote = cast.witness(*kind, &voter, &envelope, &body);
                            more.extend(session.handle(Event::Vote(vote), START_OF_TIME, rng)?);
                        }
                        Ok(more)
                    }
                    After::Sealed(_) => panic!("signing seals nothing"),
                })?;
                Ok(done.map(|result| Done::Signed(Box::new(result))))
            }
            Self::Make(session, rng) => {
                let first = session.handle(event, START_OF_TIME, rng)?;
                let done = follow(first, out, |after| match after {
                    After::Persisted(id) => session.handle(Event::Persisted(id), START_OF_TIME, rng),
                    After::Sealed(share) => Ok(session.sealed(share, START_OF_TIME)),
                    After::Canvass(..) => panic!("making a key takes nothing of a limit"),
                })?;
                Ok(done.map(|created| Done::Made(Box::new(created))))
            }
        }
    }

    /// What it waits for.
    pub fn stage(&self) -> &'static str {
        match self {
            Self::Sign(_, session, _) => session.waiting_for().0,
            Self::Make(session, _) => session.waiting_for().0,
        }
    }

    /// Ends it.
    pub fn fail(self, trouble: &Trouble) -> Failure {
        match self {
            Self::Sign(_, session, _) => session.fail(trouble, START_OF_TIME),
            Self::Make(session, _) => session.fail(trouble, START_OF_TIME),
        }
    }
}

fn greetings<R>(actions: Vec<Action<R>>) -> Vec<Vec<u8>> {
    let mut out = Out::default();
    let done = follow(actions, &mut out, |_| panic!("a session begins with greetings"));
    assert!(matches!(done, Ok(None)));
    out.sent
}

/// Sends what is to be sent, and leaves all else to `act`, to the end.
fn follow<R>(
    first: Vec<Action<R>>,
    out: &mut Out,
    mut act: impl FnMut(After) -> Result<Vec<Action<R>>, Trouble>,
) -> Result<Option<R>, Trouble> {
    let (mut actions, mut done) = (VecDeque::from(first), None);
    while let Some(action) = actions.pop_front() {
        match action {
            Action::Send { bytes, .. } => out.sent.push(bytes),
            Action::Done(result) => done = Some(result),
            Action::Persist { id, step } => {
                out.leaves.extend(step.leaves);
                actions.extend(act(After::Persisted(id))?);
            }
            Action::Canvass { voters, envelope, body, .. } => {
                actions.extend(act(After::Canvass(voters, envelope, body))?)
            }
            Action::Seal(request) => actions.extend(act(After::Sealed(request.share.expose().to_vec()))?),
        }
    }
    Ok(done)
}
