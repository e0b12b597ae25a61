//! Refusals as JSON-RPC errors: the numbers of JSON-RPC 2.0, EIP-1193 and EIP-1474, and in `data` what a gRPC client is told.

use crate::reply;
use serde_json::{Value, json};
use tally_domain::reason::ERROR_DOMAIN;
use tally_domain::{Reason, Refusal, RequestId};
use tonic::Code;
use tonic_types::StatusExt as _;

/// JSON-RPC 2.0.
const PARSE_ERROR: i32 = -32700;
const INVALID_REQUEST: i32 = -32600;
const METHOD_NOT_FOUND: i32 = -32601;
const INVALID_PARAMS: i32 = -32602;
const INTERNAL_ERROR: i32 = -32603;

/// EIP-1474.
const SERVER_ERROR: i32 = -32000;
const NOT_FOUND: i32 = -32001;
const UNAVAILABLE: i32 = -32002;
const REJECTED: i32 = -32003;
const LIMIT_EXCEEDED: i32 = -32005;

/// EIP-1193.
const UNAUTHORIZED: i32 = 4100;

/// Why a call has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    reason: Reason,
    code: i32,
    message: String,
    data: Value,
}

impl Fault {
    /// The body is not JSON.
    pub fn not_json() -> Self {
        Self::malformed(PARSE_ERROR, "The body is not JSON.")
    }

    /// JSON, but no call.
    pub fn no_call(what: &str) -> Self {
        Self::malformed(INVALID_REQUEST, what)
    }

    /// Nothing of that name.
    pub fn no_method(method: &str) -> Self {
        let shown: String = method.chars().filter(|c| !c.is_control()).take(64).collect();
        Self::malformed(
            METHOD_NOT_FOUND,
            &format!(
                "There is no method `{shown}`: this endpoint only signs. It knows eth_accounts, eth_chainId, \
                 eth_signTransaction, eth_signTypedData_v4 and personal_sign; ask a node of the chain for anything else."
            ),
        )
    }

    /// Its parameters are not what the method takes.
    pub fn params(what: impl Into<String>) -> Self {
        Self::malformed(INVALID_PARAMS, &what.into())
    }

    fn malformed(code: i32, message: &str) -> Self {
        let reason = Reason::Malformed;
        let data = json!({ "domain": ERROR_DOMAIN, "reason": reason.as_str(), "code": "INVALID_ARGUMENT" });
        Self { reason, code, message: message.into(), data }
    }

    /// What a gRPC client would be told, and the request's id if one was drawn.
    pub fn refusal(refusal: &Refusal, request: Option<RequestId>) -> Self {
        let status = reply::status(refusal);
        let info = status.get_details_error_info();
        let (code, word) = of(status.code());
        let data = json!({
            "domain": ERROR_DOMAIN,
            "reason": refusal.reason.as_str(),
            "code": word,
            "requestId": request.map(|id| id.to_string()),
            "metadata": info.map(|info| info.metadata).unwrap_or_default(),
            "retryAfterMs": reply::retry_after_ms(&status),
        });
        Self { reason: refusal.reason, code, message: status.message().to_owned(), data }
    }

    /// For those who count.
    pub fn reason(&self) -> &'static str {
        self.reason.as_str()
    }

    /// As JSON-RPC has it.
    pub fn to_json(&self) -> Value {
        json!({ "code": self.code, "message": self.message, "data": self.data })
    }
}

/// The number for libraries, and gRPC's own word.
fn of(code: Code) -> (i32, &'static str) {
    match code {
        Code::InvalidArgument => (INVALID_PARAMS, "INVALID_ARGUMENT"),
        Code::Unauthenticated => (UNAUTHORIZED, "UNAUTHENTICATED"),
        Code::PermissionDenied => (REJECTED, "PERMISSION_DENIED"),
        Code::FailedPrecondition => (SERVER_ERROR, "FAILED_PRECONDITION"),
        Code::NotFound => (NOT_FOUND, "NOT_FOUND"),
        Code::AlreadyExists => (SERVER_ERROR, "ALREADY_EXISTS"),
        Code::ResourceExhausted => (LIMIT_EXCEEDED, "RESOURCE_EXHAUSTED"),
        Code::Aborted => (UNAVAILABLE, "ABORTED"),
        Code::Unavailable => (UNAVAILABLE, "UNAVAILABLE"),
        Code::DeadlineExceeded => (UNAVAILABLE, "DEADLINE_EXCEEDED"),
        Code::DataLoss => (INTERNAL_ERROR, "DATA_LOSS"),
        _ => (INTERNAL_ERROR, "INTERNAL"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s_7_1_every_reason_is_a_json_rpc_error_that_says_which_it_is() {
        for reason in Reason::ALL {
            let id = RequestId([7; 16]);
            let shown = Fault::refusal(&Refusal::new(*reason).with("rule", "night"), Some(id)).to_json();
            assert_eq!(shown["message"], reason.sentence());
            assert_eq!(shown["data"]["reason"], reason.as_str());
            assert_eq!(shown["data"]["requestId"], "07".repeat(16));
            assert_eq!(shown["data"]["metadata"]["rule"], "night");
            assert_eq!(shown["data"]["code"] == "INTERNAL", *reason == Reason::Bug, "{reason:?}");
        }
        let shed = Fault::refusal(&Reason::Overloaded.into(), None).to_json();
        assert_eq!((shed["code"].as_i64(), shed["data"]["retryAfterMs"].as_u64()), (Some(-32005), Some(1_000)));
        let denied = Fault::refusal(&Reason::PolicyDenied.into(), None).to_json();
        assert_eq!((denied["code"].as_i64(), denied["data"]["requestId"].is_null()), (Some(-32003), true));
        assert!(denied["data"]["retryAfterMs"].is_null());
    }
}
