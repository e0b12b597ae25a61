//! TLS 1.3, mutual, with one authority; and links to peers pinned to the key that the roster names.

use crate::config;
use anyhow::{Context as _, bail};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::sync::Arc;
use tally_domain::NodeName;
use tally_domain::roster::Roster;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::caller::Caller;

/// Both sides of this node's TLS.
#[derive(Clone)]
pub struct Tls {
    /// For accepting.
    pub server: Arc<ServerConfig>,
    client: TlsConnector,
    own: CertificateDer<'static>,
}

impl Tls {
    /// Reads the certificates.
    ///
    /// # Errors
    /// When a file cannot be read or does not fit the others.
    pub fn load(paths: &config::Tls) -> anyhow::Result<Self> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        for cert in certificates(&paths.ca)? {
            roots.add(cert).with_context(|| format!("{} is not an authority's certificate", paths.ca.display()))?;
        }
        let roots = Arc::new(roots);
        let chain = certificates(&paths.cert)?;
        let own = chain.first().with_context(|| format!("{} holds no certificate", paths.cert.display()))?.clone();
        check_private(&paths.key)?;
        let key = || {
            PrivateKeyDer::from_pem_file(&paths.key)
                .with_context(|| format!("cannot read the private key {}", paths.key.display()))
        };
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .context("cannot check clients against the authority")?;
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .context("TLS 1.3 is not available")?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key()?)
            .context("the node's certificate and key do not fit")?;
        server.alpn_protocols = vec![b"h2".to_vec()];
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .context("TLS 1.3 is not available")?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key()?)
            .context("the node's certificate and key do not fit")?;
        client.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self { server: Arc::new(server), client: TlsConnector::from(Arc::new(client)), own })
    }

    /// SHA-256 of this node's own public key info, in hex, as the roster has it.
    ///
    /// # Errors
    /// When the certificate does not read.
    pub fn spki_sha256(&self) -> anyhow::Result<String> {
        crate::caller::spki_sha256(&self.own).context("the node's certificate does not read")
    }

    /// Connects to a peer, and refuses whoever is not that very node with the key that the roster names.
    ///
    /// # Errors
    /// When it cannot be reached, or is someone else.
    pub async fn connect(
        &self,
        peer: &NodeName,
        address: &str,
        roster: &Roster,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host).to_owned();
        let name = ServerName::try_from(host).map_err(std::io::Error::other)?;
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        let stream = self.client.connect(name, tcp).await?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(|c| c.first());
        match certificate.map(|c| Caller::of(c)).as_ref().and_then(|caller| caller.node(roster)) {
            Some(node) if node.name == *peer => Ok(stream),
            _ => Err(std::io::Error::other("the node at that address is not the one of the roster")),
        }
    }
}

/// A private key that others can read is not private.
pub fn check_private(path: &std::path::Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.permissions().mode();
    if mode & 0o077 != 0 {
        bail!("{} holds a private key but others can read it; run: chmod 0400 {0}", path.display());
    }
    Ok(())
}

fn certificates(path: &std::path::Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .with_context(|| format!("cannot read the certificates {}", path.display()))
}
