//! Limits: where a leader looks for room, and what voters outside S answer it.

use crate::cluster::{Cluster, Stop};
use crate::member::request_key;
use crate::node::{Call, SessionKey};
use crate::packet::{Body, No};
use prost::Message as _;
use std::convert::Infallible;
use std::sync::Arc;
use tally_audit::event::Origin;
use tally_domain::boot::Statement;
use tally_domain::claim::Claimant;
use tally_domain::dsse::Envelope;
use tally_domain::ports::store::{Step, Write};
use tally_domain::vote::VoteBody;
use tally_domain::{Claims, NodeName, Reason, Refusal};
use tally_signer::admit;
use tally_signer::approval::unless_rejected;
use tally_signer::claims::{self, InTheWay, NoRoom, Room, Search};
use tally_signer::sign_session::Event;

impl Cluster {
    /// Room for the request on its lines, as far as the leader can tell.
    pub(crate) fn place(&mut self, at: &NodeName, call: Call) -> Result<Option<Claims>, NoRoom> {
        let now = self.clock(at);
        let permit = self.lead(at, call).permit().clone();
        let by = claimant(permit.subject().opened());
        let placer = self.lead(at, call).placer.clone();
        let journal = &self.nodes[at].journal;
        let see = |search: &Search<'_>, rng: &mut _| {
            let memory = journal.line(&search.charge.line);
            Ok(Room::of(&memory, search.charge, now).see(&memory, &by, search, std::iter::empty(), rng))
        };
        let Ok(placed) = placer.place::<Infallible, _>(see, now, &mut self.rng);
        placed
    }

    /// What this node remembers that is in the way of a request's claims.
    pub(crate) fn in_the_way(
        &self,
        at: &NodeName,
        opened: &admit::Opened,
        claims: Option<&Claims>,
    ) -> Result<Vec<InTheWay>, Refusal> {
        let Some(claims) = claims.filter(|_| !self.holds_to_nothing(at)) else { return Ok(Vec::new()) };
        let (by, journal) = (claimant(opened), &self.nodes[at].journal);
        let look = |c| claims::in_the_way(&by, c, claims.issued_at(), &journal.line(&c.line())).transpose();
        claims.lines().iter().filter_map(look).collect()
    }

    /// Whether this node votes for whatever it is asked to.
    pub(crate) fn holds_to_nothing(&self, at: &NodeName) -> bool {
        self.cheat.as_ref().is_some_and(|c| c.node == *at && c.votes_for_all())
    }

    /// The leader's session asks voters outside S.
    pub(crate) fn canvass(
        &mut self,
        at: &NodeName,
        key: SessionKey,
        voters: &[NodeName],
        (envelope, said): (Envelope, Vec<Envelope>),
        body: Vec<u8>,
    ) {
        let (envelope, said, body) = (Arc::new(envelope), Arc::new(said), Arc::new(body));
        for voter in voters {
            let (envelope, said, body) = (envelope.clone(), said.clone(), body.clone());
            self.send(at, voter, Body::Vote { key, envelope, said, body });
        }
    }

    /// A voter is asked for its vote.
    pub(crate) fn asked_for_vote(
        &mut self,
        at: &NodeName,
        leader: &NodeName,
        key: SessionKey,
        (envelope, said): (&Envelope, &[Envelope]),
        body: &[u8],
    ) {
        if self.holds_to_nothing(at) {
            let body = VoteBody::from_bytes(body).expect("it votes for what can be read");
            let boot = self.live(at).boot.clone();
            let answer = Ok(body.sign(boot.key(), boot.cert()).encode_to_vec());
            return self.send(at, leader, Body::Voted { key, answer });
        }
        let answer = match self.vote_for(at, leader, (envelope, said), body) {
            Ok(Ok(vote)) => Ok(vote),
            Ok(Err(in_the_way)) => Err(No { refusal: Reason::Contention.into(), in_the_way }),
            Err(Stop::Crashed) => return,
            Err(Stop::Refused(refusal)) => Err(refusal.into()),
        };
        self.send(at, leader, Body::Voted { key, answer });
    }

    fn vote_for(
        &mut self,
        at: &NodeName,
        leader: &NodeName,
        (envelope, said): (&Envelope, &[Envelope]),
        body: &[u8],
    ) -> Result<Result<Vec<u8>, Vec<InTheWay>>, Stop> {
        let opened = admit::open(&self.world.bundle, envelope.clone())?.with_said(said.to_vec());
        let asked = VoteBody::from_bytes(body).map_err(|_| Refusal::new(Reason::Malformed).with("field", "vote"))?;
        if self.live(at).guards.contains(&request_key(&opened)) || self.completed(at, &opened)?.is_some() {
            return Err(Reason::Contention.into());
        }
        let origin = Origin::Peer(leader.clone());
        let permit = self.admitted(at, &opened, origin.clone())?;
        let concurring = match claims::concur(permit, asked, at, self.clock(at)) {
            Ok(concurring) => concurring,
            Err(refusal) => return Err(self.refused(at, &opened, &origin, refusal)),
        };
        let found = self.in_the_way(at, &opened, concurring.body().claims.as_ref())?;
        if !found.is_empty() {
            return Ok(Err(found));
        }
        self.adopt_said(at, &opened, concurring.permit().approvals())?;
        let now = self.now;
        let (statement, step) = concurring.vote(&self.live(at).boot, now);
        self.commit(at, unless_rejected(step, opened.intent()))?;
        Ok(Ok(statement.encode_to_vec()))
    }

    /// Writes down why this node takes no part, with who brought it.
    pub(crate) fn refused(&mut self, at: &NodeName, opened: &admit::Opened, from: &Origin, refusal: Refusal) -> Stop {
        let (tenant, request) = request_key(opened);
        let refuse = Write::Refuse { tenant, request, reason: refusal.reason.as_str().into(), at: self.now };
        let leaves = self.decision_leaves(at, opened, from, Err(&refusal));
        match self.commit(at, Step { writes: vec![refuse], leaves }) {
            Ok(()) => Stop::Refused(refusal),
            Err(stop) => stop,
        }
    }

    /// A voter has answered the leader.
    pub(crate) fn voted(&mut self, at: &NodeName, from: &NodeName, key: SessionKey, answer: Result<Vec<u8>, No>) {
        match answer {
            Ok(bytes) => {
                let vote = Statement::decode(bytes.as_slice()).expect("voters answer with statements");
                self.session_event(at, key, Event::Vote(vote));
            }
            Err(No { refusal, in_the_way }) => {
                let live = self.live(at);
                let call = live.sessions.get(&key).and_then(|running| running.leads);
                if let Some(lead) = call.and_then(|call| live.leading.get_mut(&call)) {
                    lead.placer.met(&in_the_way);
                }
                self.session_event(at, key, Event::NoVote { voter: from.clone(), why: refusal });
            }
        }
    }
}

/// Claims as a proposal carries them.
pub(crate) fn claims_in(bytes: &[u8]) -> Result<Option<Claims>, Refusal> {
    if bytes.is_empty() {
        return Ok(None);
    }
    Claims::from_bytes(bytes).map(Some).map_err(|_| Refusal::new(Reason::Malformed).with("field", "claims"))
}

fn claimant(opened: &admit::Opened) -> Claimant {
    let intent = opened.intent();
    Claimant { tenant: intent.tenant.clone(), request: intent.request_id }
}
