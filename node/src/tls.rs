//! TLS 1.3, mutual, with one authority; and links to peers pinned to the key that the roster names.

use crate::config;
use anyhow::{Context as _, anyhow, bail};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::sync::{Arc, PoisonError, RwLock};
use tally_domain::NodeName;
use tally_domain::roster::{Roster, RosterNode};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::caller::Caller;

/// Both sides of this node's TLS, as they are now: connections that are open stay as they were made.
#[derive(Clone)]
pub struct Tls {
    paths: config::Tls,
    now: Arc<RwLock<Arc<Loaded>>>,
}

struct Loaded {
    server: Arc<ServerConfig>,
    client: TlsConnector,
    chain: Vec<CertificateDer<'static>>,
    verifier: Arc<dyn ClientCertVerifier>,
    as_server: Arc<WebPkiServerVerifier>,
}

impl Tls {
    /// Reads the certificates.
    ///
    /// # Errors
    /// When a file cannot be read or does not fit the others.
    pub fn load(paths: &config::Tls) -> anyhow::Result<Self> {
        Ok(Self { paths: paths.clone(), now: Arc::new(RwLock::new(Arc::new(Loaded::read(paths)?))) })
    }

    /// Reads the files again, for the connections that are made from now on, if they hold what peers would accept: the name
    /// and key of this node, `name`, as the roster has it, under the authority of the new files, at this time.
    ///
    /// # Errors
    /// When they do not: nothing has changed then.
    pub fn reload(&self, roster: &Roster, name: &NodeName) -> anyhow::Result<()> {
        let new = Self::load(&self.paths)?;
        new.check(roster, roster.node(name).context("the roster does not have this node any more")?)?;
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = new.loaded();
        Ok(())
    }

    /// Whether peers and clients accept the certificate as that of `node`.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn check(&self, roster: &Roster, node: &RosterNode) -> anyhow::Result<()> {
        let (shown, loaded) = (self.paths.cert.display(), self.loaded());
        if self.spki_sha256()? != node.tls_spki_sha256 {
            bail!(
                "the key of {shown} is not the one that the roster names for this node; have the certificate renewed for the \
                 old key, because nodes of a roster do not change while they run"
            );
        }
        let (own, between) = loaded.chain.split_first().context("no certificate")?;
        let checked = loaded.verifier.verify_client_cert(own, between, UnixTime::now());
        checked.map(drop).map_err(|error| {
            anyhow!("{shown} is not valid now under {}: {} ({error})", self.paths.ca.display(), todo(&error))
        })?;
        if Caller::of(own).node(roster).is_none_or(|named| named.name != node.name) {
            bail!(
                "{shown} does not name this node: it needs exactly one URI among its alternative names, \
                 spiffe://{}/node/{}; have it issued anew for the same key",
                roster.cluster,
                node.name
            );
        }
        let name = server_name(&node.address).context("the roster's address of this node is none")?;
        let reached = loaded.as_server.verify_server_cert(own, between, &name, &[], UnixTime::now());
        reached.map(drop).map_err(|error| {
            anyhow!(
                "{shown} is not for {}, where the roster says that this node is: have it issued anew for the same key, with \
                 that host among its alternative names ({error})",
                node.address
            )
        })
    }

    fn loaded(&self) -> Arc<Loaded> {
        self.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// For accepting.
    pub fn server(&self) -> Arc<ServerConfig> {
        self.loaded().server.clone()
    }

    /// SHA-256 of this node's own public key info, in hex, as the roster has it.
    ///
    /// # Errors
    /// When the certificate does not read.
    pub fn spki_sha256(&self) -> anyhow::Result<String> {
        let loaded = self.loaded();
        let own = loaded.chain.first().context("the node has no certificate")?;
        crate::caller::spki_sha256(own).context("the node's certificate does not read")
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
        let name = server_name(address).map_err(std::io::Error::other)?;
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        let stream = self.loaded().client.connect(name, tcp).await?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(|c| c.first());
        match certificate.map(|c| Caller::of(c)).as_ref().and_then(|caller| caller.node(roster)) {
            Some(node) if node.name == *peer => Ok(stream),
            _ => Err(std::io::Error::other("the node at that address is not the one of the roster")),
        }
    }
}

/// What the certificate of the node at `host:port` must be for.
fn server_name(address: &str) -> Result<ServerName<'static>, rustls::pki_types::InvalidDnsNameError> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    ServerName::try_from(host.to_owned())
}

impl Loaded {
    fn read(paths: &config::Tls) -> anyhow::Result<Self> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        for cert in certificates(&paths.ca, "ca")? {
            roots.add(cert).with_context(|| format!("{} is not an authority's certificate", paths.ca.display()))?;
        }
        let roots = Arc::new(roots);
        let chain = certificates(&paths.cert, "cert")?;
        check_private(&paths.key)?;
        let key = || {
            PrivateKeyDer::from_pem_file(&paths.key)
                .with_context(|| format!("cannot read the private key {}", paths.key.display()))
        };
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .context("cannot check clients against the authority")?;
        let as_server = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .context("cannot check nodes against the authority")?;
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .context("TLS 1.3 is not available")?
            .with_client_cert_verifier(verifier.clone())
            .with_single_cert(chain.clone(), key()?)
            .context(NO_PAIR)?;
        server.alpn_protocols = vec![b"h2".to_vec()];
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .context("TLS 1.3 is not available")?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain.clone(), key()?)
            .context(NO_PAIR)?;
        client.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self { server: Arc::new(server), client: TlsConnector::from(Arc::new(client)), chain, verifier, as_server })
    }
}

const NO_PAIR: &str =
    "the node's certificate and its key do not fit: `cert` and `key` under [tls] must belong together";

/// What to do about a certificate that peers would refuse.
fn todo(error: &rustls::Error) -> &'static str {
    use rustls::{CertificateError as Bad, Error};
    match error {
        Error::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => {
            "it has expired, so have it renewed for the same key"
        }
        Error::InvalidCertificate(Bad::NotValidYet | Bad::NotValidYetContext { .. }) => {
            "its time has not come, so look at this machine's clock"
        }
        Error::InvalidCertificate(Bad::UnknownIssuer | Bad::BadSignature) => {
            "another authority has signed it, so have it signed by that one, or add the other to the file"
        }
        Error::InvalidCertificate(Bad::InvalidPurpose | Bad::InvalidPurposeContext { .. }) => {
            "a node is server and client, so have it issued for both (serverAuth, clientAuth)"
        }
        _ => "have it issued anew",
    }
}

/// A private key that others can read is not private.
pub fn check_private(path: &std::path::Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let shown = path.display();
    let metadata = std::fs::metadata(path)
        .with_context(|| format!("cannot read {shown}; put the key there, or correct the path in the configuration"))?;
    if metadata.permissions().mode() & 0o077 != 0 {
        // A path that was mistaken is not made right by hiding what is there.
        let start = std::fs::read(path).unwrap_or_default();
        let has = |words: &str| start.windows(words.len()).any(|at| at == words.as_bytes());
        if has("-----BEGIN") && !has("PRIVATE KEY-----") {
            bail!("{shown} holds no private key; correct the path in the configuration");
        }
        bail!("{shown} holds a private key but others can read it; run: chmod 0400 {shown}");
    }
    Ok(())
}

/// The certificates of a file, one at least.
///
/// # Errors
/// A sentence for the operator.
pub fn certificates(path: &std::path::Path, field: &str) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let shown = path.display();
    let all: Vec<_> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect).with_context(|| {
        format!("cannot read the certificates {shown}; put the PEM file there, or correct `{field}` under [tls]")
    })?;
    if all.is_empty() {
        bail!("{shown} holds no certificate; `{field}` under [tls] is a PEM file with one at least");
    }
    Ok(all)
}
