//! Who calls, as the TLS channel says: the certificate's SPIFFE id and its public key, both as the roster has them (S-2.2 step 2).

use sha2::{Digest as _, Sha256};
use std::pin::Pin;
use std::task::{Context, Poll};
use tally_domain::roster::{Roster, RosterClient, RosterNode};
use tally_domain::{ClientId, ClusterId, NodeName, Reason, Refusal};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;
use x509_parser::prelude::{FromDer as _, GeneralName, ParsedExtension, X509Certificate};

/// Who a verified certificate says is at the other end of a connection, and its key. Every call holds that against the
/// roster of its moment: a connection outlives a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    said: Option<Said>,
    spki_sha256: String,
}

/// A name in a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    Node(ClusterId, NodeName),
    Client(ClusterId, ClientId),
}

impl Caller {
    /// Nobody.
    pub fn unknown() -> Self {
        Self { said: None, spki_sha256: String::new() }
    }

    /// Reads a verified certificate.
    pub fn of(certificate: &[u8]) -> Self {
        Self::read(certificate).unwrap_or_else(Self::unknown)
    }

    fn read(certificate: &[u8]) -> Option<Self> {
        let (_, cert) = X509Certificate::from_der(certificate).ok()?;
        let (cluster, name) = only_uri(&cert)?.strip_prefix("spiffe://")?.split_once('/')?;
        let cluster = ClusterId::parse(cluster).ok()?;
        let said = match name.split_once('/')? {
            ("node", name) => Said::Node(cluster, NodeName::parse(name).ok()?),
            ("client", id) => Said::Client(cluster, ClientId::parse(id).ok()?),
            _ => return None,
        };
        Some(Self { said: Some(said), spki_sha256: hex::encode(Sha256::digest(cert.public_key().raw)) })
    }

    /// The node of the roster that this is.
    pub fn node<'a>(&self, roster: &'a Roster) -> Option<&'a RosterNode> {
        let Some(Said::Node(cluster, name)) = &self.said else { return None };
        roster.node(name).filter(|n| *cluster == roster.cluster && n.tls_spki_sha256 == self.spki_sha256)
    }

    /// The client of the roster that this is.
    pub fn client<'a>(&self, roster: &'a Roster) -> Option<&'a RosterClient> {
        let Some(Said::Client(cluster, id)) = &self.said else { return None };
        roster.client(id).filter(|c| *cluster == roster.cluster && c.tls_spki_sha256.contains(&self.spki_sha256))
    }
}

/// SHA-256 of a certificate's subject public key info, in hex.
pub fn spki_sha256(certificate: &[u8]) -> Option<String> {
    let (_, cert) = X509Certificate::from_der(certificate).ok()?;
    Some(hex::encode(Sha256::digest(cert.public_key().raw)))
}

/// The caller as a client of the roster.
///
/// # Errors
/// `UNKNOWN_CLIENT`.
pub fn client<'a, T>(request: &tonic::Request<T>, roster: &'a Roster) -> Result<&'a RosterClient, Refusal> {
    let caller = request.extensions().get::<Caller>();
    caller.and_then(|caller| caller.client(roster)).ok_or(Reason::UnknownClient.into())
}

/// The caller as a node of the roster.
///
/// # Errors
/// `UNKNOWN_NODE`.
pub fn node<T>(request: &tonic::Request<T>, roster: &Roster) -> Result<NodeName, Refusal> {
    let caller = request.extensions().get::<Caller>();
    caller.and_then(|caller| Some(caller.node(roster)?.name.clone())).ok_or(Reason::UnknownNode.into())
}

/// The one URI among the subject's alternative names; more than one is ambiguous and refused.
fn only_uri<'a>(cert: &'a X509Certificate<'a>) -> Option<&'a str> {
    let names = cert.extensions().iter().find_map(|e| match e.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(san) => Some(&san.general_names),
        _ => None,
    })?;
    let mut uris = names.iter().filter_map(|n| match n {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    match (uris.next(), uris.next()) {
        (Some(uri), None) => Some(uri),
        _ => None,
    }
}

/// A connection whose caller was read once, at the handshake.
pub struct CallerStream {
    inner: TlsStream<TcpStream>,
    caller: Caller,
}

impl CallerStream {
    /// A handshaken connection and who is at its end.
    pub fn new(inner: TlsStream<TcpStream>, caller: Caller) -> Self {
        Self { inner, caller }
    }
}

impl Connected for CallerStream {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl AsyncRead for CallerStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for CallerStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
