//! `[metrics]` and `[traces]`: what a node shows of its work to those who watch it.

use serde::Deserialize;
use std::net::SocketAddr;

/// Numbers for Prometheus.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Address and port to listen on, without TLS: an address that only the collector can reach.
    #[serde(deserialize_with = "super::address::read")]
    pub listen: SocketAddr,
}

/// Traces over OTLP.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traces {
    /// The collector's gRPC endpoint, without TLS: one on this machine, which passes them on.
    pub endpoint: Endpoint,
    /// The share of requests that are traced, from 0 to 1. A request that comes with a trace is traced if that one is.
    #[serde(default)]
    pub share: Share,
}

/// `http://host:port`.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct Endpoint(pub String);

impl TryFrom<String> for Endpoint {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let uri = text.parse::<http::Uri>().ok();
        let is_endpoint = uri.is_some_and(|uri| uri.scheme_str() == Some("http") && uri.port().is_some());
        if is_endpoint { Ok(Self(text)) } else { Err("`traces.endpoint` is `http://` and host:port of a collector") }
    }
}

/// From 0 to 1.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "f64")]
pub struct Share(pub f64);

impl Default for Share {
    fn default() -> Self {
        Self(1.0)
    }
}

impl TryFrom<f64> for Share {
    type Error = &'static str;

    fn try_from(share: f64) -> Result<Self, Self::Error> {
        if (0.0..=1.0).contains(&share) { Ok(Self(share)) } else { Err("`traces.share` is a number from 0 to 1") }
    }
}
