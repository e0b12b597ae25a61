//! Who calls, as the TLS channel says: the certificate's SPIFFE id and its public key, both as the roster has them (S-2.2 step 2).

use sha2::{Digest as _, Sha256};
use std::pin::Pin;
use std::task::{Context, Poll};
use tally_domain::roster::Roster;
use tally_domain::{ClientId, NodeName, Reason, Refusal};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;
use x509_parser::prelude::{FromDer as _, GeneralName, ParsedExtension, X509Certificate};

/// Who is at the other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// A node of the roster.
    Node(NodeName),
    /// A client of the roster.
    Client(ClientId),
    /// A certificate of our authority that the roster does not know, or not with this key.
    Unknown,
}

impl Caller {
    /// Reads a verified certificate against the roster.
    pub fn of(certificate: &[u8], roster: &Roster) -> Self {
        Self::read(certificate, roster).unwrap_or(Self::Unknown)
    }

    fn read(certificate: &[u8], roster: &Roster) -> Option<Self> {
        let (_, cert) = X509Certificate::from_der(certificate).ok()?;
        let uri = only_uri(&cert)?;
        let spki = hex::encode(Sha256::digest(cert.public_key().raw));
        let rest = uri.strip_prefix("spiffe://")?.strip_prefix(roster.cluster.as_str())?;
        if let Some(name) = rest.strip_prefix("/node/") {
            let node = roster.node(&NodeName::parse(name).ok()?)?;
            return (node.tls_spki_sha256 == spki).then(|| Self::Node(node.name.clone()));
        }
        let client = roster.client(&ClientId::parse(rest.strip_prefix("/client/")?).ok()?)?;
        client.tls_spki_sha256.contains(&spki).then(|| Self::Client(client.id.clone()))
    }
}

/// SHA-256 of a certificate's subject public key info, in hex.
pub fn spki_sha256(certificate: &[u8]) -> Option<String> {
    let (_, cert) = X509Certificate::from_der(certificate).ok()?;
    Some(hex::encode(Sha256::digest(cert.public_key().raw)))
}

/// The caller as a client.
///
/// # Errors
/// `UNKNOWN_CLIENT`.
pub fn client<T>(request: &tonic::Request<T>) -> Result<ClientId, Refusal> {
    match request.extensions().get::<Caller>() {
        Some(Caller::Client(id)) => Ok(id.clone()),
        _ => Err(Reason::UnknownClient.into()),
    }
}

/// The caller as a node.
///
/// # Errors
/// `UNKNOWN_NODE`.
pub fn node<T>(request: &tonic::Request<T>) -> Result<NodeName, Refusal> {
    match request.extensions().get::<Caller>() {
        Some(Caller::Node(name)) => Ok(name.clone()),
        _ => Err(Reason::UnknownNode.into()),
    }
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
