//! Every metric of a node: the one place that dashboards, alert rules and `docs/operating.md` take their names from.

/// What kind of number it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Seconds, in buckets.
    Seconds,
}

/// One metric.
#[derive(Debug)]
pub struct Metric {
    /// As Prometheus shows it, without the endings of a histogram.
    pub name: &'static str,
    /// What kind of number.
    pub kind: Kind,
    /// Its labels. Their values come from closed lists, from the roster or from the bundle, never from what a caller sends.
    pub labels: &'static [&'static str],
    /// For people.
    pub help: &'static str,
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, labels, help }
}

const fn seconds(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Seconds, labels, help }
}

macro_rules! table {
    ($($id:ident = $metric:expr;)*) => {
        $(#[doc = "See its help text."] pub const $id: Metric = $metric;)*
        /// All of them.
        pub const TABLE: &[Metric] = &[$($metric),*];
    };
}

table! {
    BUILD = gauge("tally_build_info", &["version"], "1, with the version of the program.");
    STARTED = gauge("tally_started_timestamp_seconds", &[], "When this start of the node began.");
    CALLS = counter("tally_calls_total", &["method", "outcome"], "Calls answered, by method and by `ok` or the reason.");
    CALL_SECONDS = seconds("tally_call_seconds", &["method"], "From a call's head to its answer.");
    CALLS_PENDING = gauge("tally_calls_pending", &[], "Calls that are being worked on.");
    CALLS_QUEUED = gauge("tally_calls_queued", &[], "Calls that wait for room.");
    CALLS_LIMIT = gauge("tally_calls_limit", &[], "Calls that take rounds or a token which are worked on at once at most, as processors are.");
    SHED = counter("tally_calls_shed_total", &["caller"], "Calls refused because there was no room, of clients and of peers.");
    CONNECTIONS = gauge("tally_connections", &[], "Connections whose caller is known.");
    CONNECTIONS_SHED = counter("tally_connections_shed_total", &["why"], "Connections closed because there were too many.");
    STAGE_SECONDS = seconds("tally_stage_seconds", &["session", "stage"], "Stages of signing and of key generation.");
    COMMIT_SECONDS = seconds("tally_commit_seconds", &[], "Steps made durable, waiting for the writer included.");
    SIGNATURES = counter("tally_signatures_total", &["part"], "Signatures that this node led, took part in, or was told of.");
    LAST_SIGNATURE = gauge("tally_last_signature_timestamp_seconds", &[], "When this node last knew of a new signature; 0: not since its start.");
    REFUSALS = counter("tally_refusals_total", &["reason", "rule", "from"], "Requests refused after a decision, by reason and deciding rule.");
    SESSION_FAILURES = counter("tally_session_failures_total", &["session", "reason"], "Sessions that ended without a result.");
    BLAME = counter("tally_blame_total", &["peer"], "Sessions whose failure this node attributes to a peer.");
    MISSING = counter("tally_missing_total", &["peer"], "Sessions that ended because a peer was silent or away.");
    SESSIONS = gauge("tally_sessions", &[], "Sessions whose rounds are pending.");
    REQUESTS = gauge("tally_requests_inflight", &[], "Requests that are being worked on.");
    WAITING = gauge("tally_requests_waiting_for_persons", &[], "Requests that wait for approvals.");
    PEER_UP = gauge("tally_peer_reachable", &["peer"], "1 if the last call to the peer went through.");
    PEER_FENCED = gauge("tally_peer_fenced", &["peer"], "1 if this node has fenced the peer.");
    CLOCK_OFFSET = gauge("tally_peer_clock_offset_seconds", &["peer"], "The peer's clock minus this node's.");
    RECOVERING = gauge("tally_recovering", &[], "1 if peers have fenced this node.");
    BANS = gauge("tally_bans", &[], "Bans of peers for keys that are in force here.");
    FREEZES = gauge("tally_freezes", &[], "Freezes in force here.");
    KEYS = gauge("tally_keys", &[], "Keys that this node knows.");
    LOG_LEAVES = gauge("tally_log_leaves", &[], "Leaves of the audit log.");
    BUNDLE = gauge("tally_bundle_version", &[], "Version of the active policy bundle.");
    HSM_UP = gauge("tally_hsm_up", &["token"], "1 if the token signed when it was tried.");
    HSM_QUEUED = gauge("tally_hsm_queued", &["token"], "Operations that wait for a worker.");
    HSM_HUNG = gauge("tally_hsm_hung", &["token"], "Workers that a call into the module has not given back.");
    HSM_RESTARTS = gauge("tally_hsm_restarts", &["token"], "How often the module's process has been replaced since the start.");
    HSM_CALLS = counter("tally_hsm_calls_total", &["operation", "outcome"], "Operations asked of the token.");
    HSM_SECONDS = seconds("tally_hsm_call_seconds", &["operation"], "Operations of the token, waiting for a worker included.");
    RELOAD_FAILED = gauge("tally_reload_failed", &[], "1 if the last reload was refused and what was there before stays in use.");
}
