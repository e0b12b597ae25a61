//! How a call to a token domain is let in: opened, decided, and with leave of every limit that applies before the vault is
//! asked for anything.

use crate::approve;
use crate::deadline;
use crate::decisions;
use crate::home_claims;
use crate::hsm_keys::HsmHeld;
use crate::inflight::Guard;
use crate::lead_hsm::commit;
use crate::node::{Node, now};
use crate::recover;
use crate::vault::{Loaded, domain_of};
use std::sync::Arc;
use tally_audit::event::Origin;
use tally_domain::dsse::Envelope;
use tally_domain::ports::store::{Step, Write};
use tally_domain::reason::Class;
use tally_domain::{Action, ClientId, NodeName, Reason, Refusal};
use tally_signer::admit::Opened;
use tally_signer::tokens::{DomainView, TokenPermit, TokenUse, admit_token, describe};

/// A call that is permitted.
pub struct Entered {
    /// What permits it.
    pub permit: TokenPermit,
    /// The domain.
    pub loaded: Arc<Loaded>,
    /// The stored answer, if this very intent was done before.
    pub before: Option<Vec<u8>>,
    origin: Origin,
    guard: Guard,
}

/// A call that no limit is in the way of.
pub struct Using {
    /// What is done.
    pub used: TokenUse,
    /// The domain.
    pub loaded: Arc<Loaded>,
    origin: Origin,
    /// Whether its permit is written down already.
    announced: bool,
    _guard: Guard,
}

/// Opens an intent, and decides.
///
/// # Errors
/// A [`Refusal`], which is written down; not so `HOME_NODE`.
pub async fn enter(node: &Arc<Node>, caller: ClientId, action: Action, envelope: Envelope) -> Result<Entered, Refusal> {
    let (opened, origin) = decisions::opened_for(action, node, caller, envelope).await?;
    let intent = opened.intent();
    let guard = node.inflight.take(&intent.tenant, intent.request_id).await;
    deadline::check()?;
    let before = match recover::completed(node, &opened) {
        Ok(before) => before,
        Err(refusal) => return Err(decisions::refused(node, &opened, origin, refusal).await),
    };
    let done = before.is_some();
    match approve::decided(node, &opened, |opened| admitted(node, opened, done)).await {
        Ok((permit, loaded)) => Ok(Entered { permit, loaded, before, origin, guard }),
        Err(refusal) if refusal.reason == Reason::HomeNode => Err(refusal),
        // What was done waits for nobody.
        Err(refusal) if done => Err(decisions::refused(node, &opened, origin, refusal).await),
        Err(refusal) => Err(approve::refused(node, &opened, origin, refusal).await),
    }
}

/// Keeps what the home of a domain says of a request that waited for persons here too: it waits no longer.
///
/// # Errors
/// `PROTOCOL_VIOLATION` when it is not its home that says so; `STORAGE`.
pub async fn keep(
    node: &Arc<Node>,
    opened: &Opened,
    peer: &NodeName,
    held: &HsmHeld,
    result: Vec<u8>,
) -> Result<(), Refusal> {
    let intent = opened.intent();
    if held.record.home != *peer || held.record.tenant != intent.tenant {
        return Err(Refusal::new(Reason::ProtocolViolation).with("round", "complete"));
    }
    let (tenant, request) = (intent.tenant.clone(), intent.request_id);
    let done = Write::Complete { tenant, request, result, at: now() };
    let leaves = vec![decisions::received(node, opened, Origin::Peer(peer.clone()))];
    node.commit(Step { writes: vec![decisions::claim(opened), done], leaves }).await.map(|_| ())
}

fn admitted(node: &Arc<Node>, opened: Opened, done: bool) -> Result<(TokenPermit, Arc<Loaded>), Refusal> {
    let held = node.hsm_keys.get(&opened.intent().key).ok_or(Reason::DomainNotFound)?;
    let home = held.record.home == *node.name();
    let loaded = if home { Some(node.vaults.load(&domain_of(&held.record)?)?) } else { None };
    let known = node.freezes.known();
    let doing = loaded.as_ref().map(|loaded| loaded.doing);
    let view = DomainView { record: &held.record, state: held.state(), doing, freezes: &known };
    let permit = admit_token(opened, view, done, node.name(), &node.bundle(), now())?;
    Ok((permit, loaded.ok_or(Reason::Bug)?))
}

impl Entered {
    /// Writes a refusal down.
    pub async fn refused(&self, node: &Arc<Node>, refusal: Refusal) -> Refusal {
        decisions::refused(node, self.permit.opened(), self.origin.clone(), refusal).await
    }

    /// Gets leave of every limit that applies. Whatever takes time, and whatever the call may be refused for, comes before.
    ///
    /// # Errors
    /// A [`Refusal`]: `VELOCITY_LIMIT`, `VOTERS`, `CONTENTION`.
    pub async fn begin(self, node: &Arc<Node>) -> Result<Using, Refusal> {
        let Self { permit, loaded, origin, guard, .. } = self;
        let announced = !permit.work().charges().is_empty();
        // What waits for votes is written down before; of all else one step in the end tells everything.
        let summary = if announced { describe(permit.opened().intent()).unwrap_or_default() } else { String::new() };
        if announced {
            home_claims::permitted(node, permit.opened(), origin.clone(), permit.work(), &summary).await?;
        }
        let leave = match home_claims::certify(node, permit.opened(), permit.work(), None).await {
            Ok(leave) => leave,
            Err(refusal) => {
                return Err(home_claims::refused(node, permit.opened(), origin, refusal, permit.work()).await);
            }
        };
        if announced {
            home_claims::found_room(node, permit.opened(), &origin, permit.work(), &summary).await?;
        }
        Ok(Using { used: permit.start(leave)?, loaded, origin, announced, _guard: guard })
    }

    /// The same for a stream, which opens with that.
    ///
    /// # Errors
    /// As [`Self::begin`]; `REQUEST_ID_CONFLICT` when the intent has opened one already.
    pub async fn open(self, node: &Arc<Node>) -> Result<Using, Refusal> {
        if self.before.is_some() {
            let refusal = Refusal::new(Reason::RequestIdConflict).with("detail", "an intent opens one stream, once");
            return Err(decisions::unclaimed(node, self.permit.opened(), self.origin, refusal).await);
        }
        let using = self.begin(node).await?;
        using.commit(node, using.used.opening(now())).await?;
        using.tell_others(node, tally_signer::tokens::OPENED);
        Ok(Using { announced: true, ..using })
    }
}

impl Using {
    /// Writes a refusal down.
    pub async fn refused(&self, node: &Arc<Node>, refusal: Refusal) -> Refusal {
        decisions::refused(node, self.used.opened(), self.origin.clone(), refusal).await
    }

    /// The step with what was asked and decided before it.
    pub fn told(&self, node: &Node, mut step: Step) -> Step {
        if self.announced {
            return step;
        }
        let opened = self.used.opened();
        let summary = describe(opened.intent()).unwrap_or_default();
        let mut leaves = decisions::permit_leaves(node, opened, self.origin.clone(), self.used.rule(), &summary);
        leaves.append(&mut step.leaves);
        step.writes.insert(0, decisions::claim(opened));
        Step { leaves, ..step }
    }

    /// Makes a step durable.
    ///
    /// # Errors
    /// A [`Refusal`].
    pub async fn commit(&self, node: &Arc<Node>, step: Step) -> Result<(), Refusal> {
        match commit(node, self.told(node, step)).await {
            Ok(()) => Ok(()),
            Err(refusal) => Err(self.failed(node, refusal).await),
        }
    }

    /// What was refused for a reason of the caller's is written down.
    pub async fn failed(&self, node: &Arc<Node>, refusal: Refusal) -> Refusal {
        match refusal.reason.class() {
            _ if refusal.reason == Reason::RequestIdConflict => {
                decisions::unclaimed(node, self.used.opened(), self.origin.clone(), refusal).await
            }
            Class::Unavailable | Class::Internal | Class::Aborted | Class::DeadlineExceeded => refusal,
            _ => self.refused(node, refusal).await,
        }
    }

    /// The others hold what persons have approved, and must know that it waits no longer.
    pub fn tell_others(&self, node: &Arc<Node>, result: &[u8]) {
        if self.used.waited() {
            approve::tell_result(node, self.used.opened(), result);
        }
    }

    /// The rule and the home, for answers.
    pub fn answer(&self, node: &Node) -> (String, String) {
        (self.used.rule().into(), node.name().to_string())
    }
}
