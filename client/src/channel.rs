//! Connections to nodes: mutual TLS, made when first needed and made again when they break.

use crate::error::ClientError;
use crate::profile::{Profile, ProfileError};
use std::sync::Arc;
use std::time::Duration;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

/// Longest wait for a connection: a node in the same region answers in milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How often a quiet connection with a call on it is probed, and how long an answer may take: finds a node whose
/// machine is gone without waiting for TCP.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// A node and the connection to it.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) endpoint: Arc<str>,
    pub(crate) channel: Channel,
}

impl Link {
    pub(crate) fn deadline(&self) -> ClientError {
        ClientError::Deadline { endpoint: self.endpoint.to_string() }
    }

    pub(crate) fn wrong(&self, field: &'static str) -> ClientError {
        ClientError::Answer { endpoint: self.endpoint.to_string(), field }
    }
}

/// One link for each endpoint of the profile, in its order. Nothing is connected yet.
pub(crate) fn links(profile: &Profile) -> Result<Vec<Link>, ClientError> {
    if tokio::runtime::Handle::try_current().is_err() {
        return Err(ClientError::NoRuntime);
    }
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(&profile.ca))
        .identity(Identity::from_pem(&profile.cert, profile.key.expose()));
    let link = |url: &String| {
        let channel = Endpoint::from_shared(url.clone())?
            .tls_config(tls.clone())?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .tcp_nodelay(true)
            .connect_lazy();
        Ok(Link { endpoint: url.as_str().into(), channel })
    };
    let links: Result<Vec<_>, tonic::transport::Error> = profile.endpoints.iter().map(link).collect();
    links.map_err(|e| {
        let what = std::error::Error::source(&e).map_or_else(|| e.to_string(), ToString::to_string);
        ProfileError::Tls { what }.into()
    })
}
