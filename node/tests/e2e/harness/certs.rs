//! An authority, and certificates of nodes and clients.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PublicKeyData as _, SanType,
};
use std::path::Path;

pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate as PEM, its key as PEM, and the SHA-256 of its public key info.
#[derive(Clone)]
pub struct Issued {
    pub cert: String,
    pub key: String,
    pub spki: String,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name = name("test authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer }
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub fn issue(&self, uri: &str) -> Issued {
        self.certify(uri, KeyPair::generate().unwrap(), |_| {})
    }

    /// Another certificate for the same key.
    pub fn renew(&self, uri: &str, old: &Issued) -> Issued {
        self.renew_as(uri, old, |_| {})
    }

    /// The same, changed.
    pub fn renew_as(&self, uri: &str, old: &Issued, change: impl FnOnce(&mut CertificateParams)) -> Issued {
        self.certify(uri, KeyPair::from_pem(&old.key).unwrap(), change)
    }

    fn certify(&self, uri: &str, key: KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let mut params = CertificateParams::new(vec!["127.0.0.1".into(), "localhost".into()]).unwrap();
        params.distinguished_name = name(uri);
        params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        let spki = tally_domain::Digest::of(&key.subject_public_key_info()).to_string();
        Issued { cert: cert.pem(), key: key.serialize_pem(), spki }
    }
}

impl Issued {
    pub fn write(&self, dir: &Path, stem: &str) {
        std::fs::write(dir.join(format!("{stem}.pem")), &self.cert).unwrap();
        write_secret(&dir.join(format!("{stem}.key")), self.key.as_bytes());
    }
}

pub fn write_secret(path: &Path, bytes: &[u8]) {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o400).open(path).unwrap();
    file.write_all(bytes).unwrap();
}

fn name(common: &str) -> DistinguishedName {
    let mut dn = DistinguishedName::new();
    dn.push(DnType::CommonName, common);
    dn
}
