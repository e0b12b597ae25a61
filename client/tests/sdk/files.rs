//! A profile and its certificates in a temporary directory.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// A certificate and its private key, both PEM.
pub struct Pair {
    pub cert: String,
    pub key: String,
}

/// A throw-away world: a directory with a profile, and the server's identity.
pub struct Files {
    pub dir: tempfile::TempDir,
    pub ca: String,
    pub server: Pair,
}

impl Files {
    pub fn new(endpoints: &[String]) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, key).unwrap();
        let pair = |names: Vec<String>| {
            let key = KeyPair::generate().unwrap();
            let cert = CertificateParams::new(names).unwrap().signed_by(&key, &ca).unwrap();
            Pair { cert: cert.pem(), key: key.serialize_pem() }
        };
        let (server, client) = (pair(vec!["127.0.0.1".into(), "localhost".into()]), pair(vec!["client".into()]));
        let dir = tempfile::tempdir().unwrap();
        let files = Self { ca: ca.pem(), server, dir };
        files.write("ca.pem", &files.ca, 0o644);
        files.write("client.pem", &client.cert, 0o644);
        files.write("client.key", &client.key, 0o600);
        files.write("intent.key", &format!("ed25519:{}\n", "07".repeat(32)), 0o400);
        files.profile(endpoints);
        files
    }

    pub fn profile(&self, endpoints: &[String]) {
        let text = format!(
            "tenant = \"acme\"\nclient = \"payouts-1\"\ncluster = \"dev\"\nendpoints = {endpoints:?}\n\
             ca = \"ca.pem\"\ncert = \"client.pem\"\nkey = \"client.key\"\nintent_key = \"intent.key\"\n"
        );
        self.write("profile.toml", &text, 0o644);
    }

    pub fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.dir.path().join(name);
        let _ = std::fs::remove_file(&path);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    pub fn path(&self) -> PathBuf {
        Path::join(self.dir.path(), "profile.toml")
    }
}
