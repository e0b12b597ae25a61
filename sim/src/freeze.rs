//! Freezes, as `node/src/lead_freeze.rs` and `freeze_news.rs` have them: a node freezes alone and tells the others, whose
//! packets may be lost; a majority lifts.

use crate::cluster::{Cluster, Stop};
use crate::faults::Faults;
use crate::member::request_key;
use crate::packet::Body;
use rand::RngExt as _;
use std::collections::BTreeSet;
use std::sync::Arc;
use tally_audit::event::Origin;
use tally_domain::boot::Statement;
use tally_domain::dsse::Envelope;
use tally_domain::freeze::UnfreezeCertificate;
use tally_domain::ports::store::Step;
use tally_domain::{Freeze, FreezeId, FreezeName, NodeName, Scope, Tenant};
use tally_signer::admit::{self, Opened};
use tally_signer::freeze::{Frozen, admit_freeze, admit_unfreeze, lift_step};

impl Cluster {
    /// A client will have `at` freeze at some moment, once it is up.
    pub fn freeze(&mut self, at: &NodeName, envelope: &Envelope) {
        self.frosts.push((at.clone(), envelope.clone()));
    }

    /// Perhaps a freeze happens now.
    pub(crate) fn frost(&mut self, calm: bool) -> bool {
        let soon = if calm { 0.3 } else { 0.05 };
        if self.frosts.is_empty() || !self.rng.random_bool(soon) {
            return false;
        }
        let which = self.rng.random_range(0..self.frosts.len());
        let (at, envelope) = self.frosts[which].clone();
        if self.is_up(&at) {
            self.frosts.swap_remove(which);
            self.freeze_now(&at, &envelope);
        }
        true
    }

    fn freeze_now(&mut self, at: &NodeName, envelope: &Envelope) {
        let opened = admit::open(&self.world.bundle, envelope.clone()).expect("clients are honest");
        let tenant = opened.intent().tenant.clone();
        let permit = admit_freeze(opened.clone(), Some(&tenant), &self.world.bundle, self.now).expect("permitted");
        let rule = permit.rule().to_owned();
        let mut step = self.decided(at, &opened, &rule);
        let (id, now) = (FreezeId(self.rng.random()), self.now);
        let boot = self.live(at).boot.clone();
        let frozen = permit.freeze(id, &boot, now);
        let Step { writes, leaves } = frozen.step(&boot, now);
        step.writes.extend(writes);
        step.leaves.extend(leaves);
        if self.commit(at, step).is_ok() {
            self.history.froze();
            self.tell_news(at, &Body::Freeze { statement: Arc::new(frozen.statement) });
        }
    }

    /// The claim of a request and the leaves of its permit.
    fn decided(&mut self, at: &NodeName, opened: &Opened, rule: &str) -> Step {
        let origin = Origin::Client(opened.intent().client.clone());
        let leaves = self.decision_leaves(at, opened, &origin, Ok(rule));
        Step { writes: vec![self.claim(opened)], leaves }
    }

    fn tell_news(&mut self, at: &NodeName, body: &Body) {
        for peer in self.world.names.clone().iter().filter(|n| *n != at) {
            self.send(at, peer, body.clone());
        }
    }

    /// A node hears of a freeze, whoever tells it.
    pub(crate) fn hear_freeze(&mut self, at: &NodeName, statement: &Statement) {
        let Ok((by, freeze)) = Freeze::open(statement, self.world.bundle.roster()) else { return };
        let frozen = Frozen { by, freeze, statement: statement.clone() };
        if !self.nodes[at].journal.freezes().knows(&frozen.name()) {
            let (boot, now) = (self.live(at).boot.clone(), self.now);
            // What cannot be written down is told again.
            let _ = self.commit(at, frozen.step(&boot, now));
        }
    }

    /// A node hears that freezes are lifted.
    pub(crate) fn hear_lift(&mut self, at: &NodeName, certificate: &UnfreezeCertificate) {
        let Ok(unfreeze) = certificate.open(self.world.bundle.roster()) else { return };
        let (boot, now) = (self.live(at).boot.clone(), self.now);
        let _ = self.commit(at, lift_step(&unfreeze, certificate, &boot, now));
    }

    /// Stops all faults, and lets every node hear of every freeze; gives them.
    pub fn spread_freezes(&mut self) -> Vec<(FreezeName, Scope)> {
        self.set_faults(Faults::NONE);
        self.mend(None);
        self.run();
        let mut known = BTreeSet::new();
        for name in self.world.names.clone() {
            let frozen: Vec<Frozen> = self.nodes[&name].journal.freezes().in_force().cloned().collect();
            for frozen in frozen {
                known.insert((frozen.name(), frozen.freeze.scope.clone()));
                self.tell_news(&name, &Body::Freeze { statement: Arc::new(frozen.statement) });
            }
        }
        self.run();
        known.into_iter().collect()
    }

    /// Has the freezes of a scope lifted by the words of `by`; gives the certificate, whether it is enough or not.
    pub fn lift(&mut self, by: &[NodeName], envelope: &Envelope) -> UnfreezeCertificate {
        let opened = admit::open(&self.world.bundle, envelope.clone()).expect("clients are honest");
        let tenant: Tenant = request_key(&opened).0;
        let mut statements = Vec::new();
        for at in by {
            let known = self.nodes[at].journal.freezes().clone();
            let permit = admit_unfreeze(opened.clone(), Some(&tenant), &known, &self.world.bundle, self.now);
            let permit = permit.expect("permitted, and known to all");
            let decided = self.decided(at, &opened, permit.rule());
            let (boot, now) = (self.live(at).boot.clone(), self.now);
            let (statement, word) = permit.word(&boot, now);
            for step in [decided, word] {
                assert!(!matches!(self.commit(at, step), Err(Stop::Crashed)), "no faults");
            }
            statements.push(statement);
        }
        let certificate = UnfreezeCertificate { statements };
        if let (Some(first), Ok(_)) = (by.first(), certificate.open(self.world.bundle.roster())) {
            self.hear_lift(first, &certificate);
            self.tell_news(first, &Body::Lift { certificate: Arc::new(certificate.clone()) });
            self.run();
        }
        certificate
    }
}
