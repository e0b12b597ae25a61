//! What KEKs need without anyone's asking: versions whose time has come are destroyed, and keys reach the standby token. A
//! frozen KEK is left as it is until the freeze is lifted.

use crate::backoff::Backoff;
use crate::keks::Transfer;
use crate::lead_hsm::commit;
use crate::node::{Node, now};
use std::sync::Arc;
use std::time::Instant;
use tally_domain::ports::hsm::HsmError;
use tally_domain::{KekEvent, KekState, KekVersion, KeyName, Refusal};
use tally_signer::kek::end_step;

/// Keys that are transferred in one round: some milliseconds each, so that the rest of the round is not held up.
const TRANSFERS_MAX: usize = 32;

/// What KEKs need, from round to round.
#[derive(Default)]
pub struct KekCare {
    ends: Backoff,
    transfers: Backoff,
}

impl KekCare {
    /// One round. What fails is tried again in a later one, ever less often.
    pub async fn round(&mut self, node: &Arc<Node>) {
        if self.ends.is_due(Instant::now()) {
            self.end_due(node).await;
        }
        if self.transfers.is_due(Instant::now()) {
            self.transfer(node).await;
        }
    }

    async fn end_due(&mut self, node: &Arc<Node>) {
        for (kek, version) in node.keks.all() {
            let due = match version.state {
                KekState::PendingDestruction { at } => at <= now(),
                KekState::Destroying => true,
                KekState::Enabled | KekState::Disabled | KekState::Destroyed => false,
            };
            if !due || node.freezes.known().check(&kek).is_err() {
                continue;
            }
            if let Err(error) = end(node, &kek, version).await {
                if self.ends.failed(&error, Instant::now()) {
                    tracing::error!(kek = %kek, version = %version.number, error, "a version is not destroyed yet");
                }
                return;
            }
        }
        if self.ends.worked() {
            tracing::info!("every version whose time has come is destroyed");
        }
    }

    async fn transfer(&mut self, node: &Arc<Node>) {
        for _ in 0..TRANSFERS_MAX {
            let unfrozen = |kek: &KeyName| node.freezes.known().check(kek).is_ok();
            let Some(transfer) = node.keks.untransferred(unfrozen) else { break };
            let (kek, version) = (transfer.kek.clone(), transfer.version.number);
            match transferred(node, transfer).await {
                Ok(()) if self.transfers.worked() => tracing::info!("the standby token takes versions again"),
                Ok(()) => {}
                Err(error) => {
                    if self.transfers.failed(&error.to_string(), Instant::now()) {
                        tracing::warn!(kek = %kek, version = %version, %error, "the standby token does not hold the version yet");
                    }
                    break;
                }
            }
        }
    }
}

/// Says durably that there is no way back, destroys the key on every token, and says durably that it is gone. A node that
/// dies in between goes on where it was: destroying what is not there is done.
async fn end(node: &Arc<Node>, kek: &KeyName, version: KekVersion) -> Result<(), String> {
    let _changing = node.keks.change().await;
    // It may have been cancelled while this waited.
    let current = node.keks.versions(kek).iter().find(|v| v.number == version.number).copied();
    let Some(version) = current.filter(|v| v.state == version.state) else { return Ok(()) };
    let told = |refusal: Refusal| refusal.reason.as_str().to_owned();
    let version = moved(node, kek, version, KekEvent::Destroying).await.map_err(told)?;
    if version.state != KekState::Destroying {
        return Ok(());
    }
    // Said before the freeze, and not done yet: it is not too late.
    node.freezes.known().check(kek).map_err(told)?;
    node.hsm.destroy_kek(version.id).await.map_err(|e| e.to_string())?;
    node.keks.note_transferred(version.id);
    moved(node, kek, version, KekEvent::Destroyed).await.map_err(told)?;
    tracing::info!(kek = %kek, version = %version.number, "the version is destroyed");
    Ok(())
}

/// The version after an event that is durable; as it was, if the event cannot be.
async fn moved(node: &Arc<Node>, kek: &KeyName, version: KekVersion, event: KekEvent) -> Result<KekVersion, Refusal> {
    let Some((step, next)) = end_step(kek, &version, event, &node.boot, now()) else { return Ok(version) };
    commit(node, step).await?;
    node.keks.put(kek, next, None);
    Ok(next)
}

/// Gives the standby token a key and compares check values.
async fn transferred(node: &Arc<Node>, transfer: Transfer) -> Result<(), HsmError> {
    let Transfer { kek, version, wrapped } = transfer;
    match node.hsm.replicate_kek(version.id, wrapped).await {
        Ok(check_value) if check_value == version.check_value => {
            tracing::info!(kek = %kek, version = %version.number, "the standby token holds the version");
        }
        Ok(check_value) => {
            tracing::error!(kek = %kek, version = %version.number, %check_value, "the standby token holds another key");
        }
        // There is no standby in this configuration, or it does not fit: the next start tells.
        Err(error @ HsmError::Configuration { .. }) => {
            tracing::warn!(kek = %kek, version = %version.number, %error, "the version is on one token only");
        }
        Err(error) => return Err(error),
    }
    node.keks.note_transferred(version.id);
    Ok(())
}
