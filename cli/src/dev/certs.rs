//! Certificates of a development cluster: one authority, which signs nodes and clients. They differ in their SPIFFE id.

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PublicKeyData as _, SanType,
};
use sha2::{Digest as _, Sha256};
use std::net::{IpAddr, Ipv4Addr};

/// The authority of one cluster.
pub struct Authority {
    cluster: String,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its private key.
pub struct Leaf {
    /// PEM.
    pub cert: String,
    /// PEM (PKCS#8).
    pub key: String,
    /// Hex of SHA-256 over the subject public key info: what the roster pins.
    pub spki_sha256: String,
}

impl Authority {
    /// A new authority.
    pub fn new(cluster: &str) -> anyhow::Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, format!("tally {cluster} (development)"));
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?).context("cannot make the authority")?;
        Ok(Self { cluster: cluster.into(), issuer })
    }

    /// Certificate and private key, both PEM.
    pub fn pem(&self) -> (String, String) {
        (self.issuer.pem(), self.issuer.key().serialize_pem())
    }

    /// A node's: serves and calls its peers.
    pub fn node(&self, name: &str) -> anyhow::Result<Leaf> {
        let names = vec![
            SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            SanType::DnsName("localhost".try_into()?),
            SanType::URI(format!("spiffe://{}/node/{name}", self.cluster).try_into()?),
        ];
        self.leaf(name, names, vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth])
    }

    /// A client's: calls only.
    pub fn client(&self, id: &str) -> anyhow::Result<Leaf> {
        let names = vec![SanType::URI(format!("spiffe://{}/client/{id}", self.cluster).try_into()?)];
        self.leaf(id, names, vec![ExtendedKeyUsagePurpose::ClientAuth])
    }

    fn leaf(&self, name: &str, sans: Vec<SanType>, usages: Vec<ExtendedKeyUsagePurpose>) -> anyhow::Result<Leaf> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = sans;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usages;
        params.use_authority_key_identifier_extension = true;
        let cert = params.signed_by(&key, &self.issuer).with_context(|| format!("cannot certify {name}"))?;
        let spki_sha256 = hex::encode(Sha256::digest(key.subject_public_key_info()));
        Ok(Leaf { cert: cert.pem(), key: key.serialize_pem(), spki_sha256 })
    }
}
