//! gRPC handlers: who calls, one span with the request id, and the use case. Nothing else.

mod approval;
mod audit;
mod batch;
mod clients;
mod freeze;
mod limits;
mod load;
mod peer;
mod policy;
mod sees;
mod token;
mod watch;
mod wrap;

pub use approval::service as approval;
pub use audit::service as audit;
pub use clients::{key, node, signing};
pub use freeze::service as freeze;
pub use limits::service as limits;
pub use peer::service as peer;
pub use policy::service as policy;
pub use token::service as token;
#[cfg(feature = "testing")]
pub use watch::place;
pub use wrap::service as wrap;

use crate::caller;
use crate::node::Node;
use crate::reply;
use tally_domain::key::KeyState;
use tally_domain::roster::RosterClient;
use tally_domain::{KeyName, Reason, Refusal, Tenant};
use tonic::{Request, Status};

/// Full names, for health checks of one service.
pub const NAMES: [&str; 11] = [
    "tally.v1.SigningService",
    "tally.v1.ApprovalService",
    "tally.v1.KeyService",
    "tally.v1.KeyWrapService",
    "tally.v1.TokenService",
    "tally.v1.FreezeService",
    "tally.v1.PolicyService",
    "tally.v1.LimitService",
    "tally.v1.AuditService",
    "tally.v1.NodeService",
    "tally.v1.PeerService",
];

/// The client that calls, as the roster of the active bundle has it.
fn client<T>(node: &Node, request: &Request<T>) -> Result<RosterClient, Status> {
    caller::client(request, node.bundle().roster()).cloned().map_err(|r| reply::status(&r))
}

/// The state that is shown of a key that is active while a freeze covers it.
const FROZEN: &str = "frozen";

/// Whether an active key is shown as frozen.
fn is_stopped(node: &Node, key: &KeyName, state: &str) -> bool {
    state == KeyState::Active.as_str() && node.freezes.known().check(key).is_err()
}

/// Group whose clients may read logs, which show every tenant's requests, and see rules.
const AUDITORS: &str = "auditors";

fn is_auditor(client: &RosterClient) -> bool {
    client.groups.iter().any(|group| group == AUDITORS)
}

/// A client sees only its own tenant's requests.
fn same_tenant(client: &RosterClient, tenant: &Tenant) -> Result<(), Status> {
    if client.tenant == *tenant { Ok(()) } else { Err(refused(Reason::Acl)) }
}

fn refused(reason: Reason) -> Status {
    reply::status(&Refusal::new(reason))
}
