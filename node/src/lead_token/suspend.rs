//! Suspending a single token and resuming it.

use super::{enter, find, life};
use crate::node::{Node, now};
use prost::Message as _;
use std::sync::Arc;
use tally_domain::dsse::Envelope;
use tally_domain::ports::store::Write;
use tally_domain::ports::store::tokens::{TokenRow, VaultWrite};
use tally_domain::token::StoredState;
use tally_domain::{Action, ClientId, Reason, Refusal};
use tally_proto::v1;
use tally_signer::tokens::Done;
use tally_tokenization::Call;

/// Does what the action says, of these two. A reveal that is under way is refused if this is durable before it is.
///
/// # Errors
/// A [`Refusal`]: `TOKEN_NOT_FOUND`, `TOKEN_SHREDDED`.
pub async fn suspend(
    node: &Arc<Node>,
    caller: ClientId,
    action: Action,
    envelope: Envelope,
) -> Result<v1::SuspendTokenResponse, Refusal> {
    let entered = enter(node, caller, action, envelope).await?;
    if let Some(before) = &entered.before {
        return v1::SuspendTokenResponse::decode(before.as_slice()).map_err(|_| Reason::Tampered.into());
    }
    let (token, suspended) = match entered.permit.call().call.clone() {
        Call::Suspend { token } => (token, true),
        Call::Resume { token } => (token, false),
        _ => return Err(Reason::Bug.into()),
    };
    let using = entered.begin(node).await?;
    let row = match find(node, &using.loaded, &token) {
        Ok(row) if row.state != StoredState::Shredded => row,
        Ok(_) => return Err(using.failed(node, Reason::TokenShredded.into()).await),
        Err(refusal) => return Err(using.failed(node, refusal).await),
    };
    let state = if suspended { StoredState::Suspended } else { StoredState::Active };
    let after = life(&TokenRow { state, ..row }).as_str().into();
    let (rule, home) = using.answer(node);
    let answer = v1::SuspendTokenResponse { rule, home, state: after };
    let write = VaultWrite::Suspend { domain: using.loaded.domain.clone(), token: token.clone(), suspended };
    let result = Some(answer.encode_to_vec());
    let step = using.used.step(vec![Write::Vault(write)], Done::one(token), result, &node.boot, now());
    using.commit(node, step).await?;
    Ok(answer)
}
