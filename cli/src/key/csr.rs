//! `tally key csr`: a certificate signing request (RFC 2986) that the key itself signs, as the message that it is.

use crate::foreign;
use crate::input;
use crate::intents::Kept;
use crate::output::{Shown, Usage};
use anyhow::Context as _;
use serde_json::json;
use tally_client::{Client, KeyBacking, Order};
use tally_domain::{HsmScheme, KeyName, PublicKey, Purpose, RequestId};
use x509_cert::der::asn1::{Any, BitString, ObjectIdentifier, Uint};
use x509_cert::der::pem::LineEnding;
use x509_cert::der::{Decode as _, Encode as _, EncodePem as _};
use x509_cert::name::Name;
use x509_cert::request::{CertReq, CertReqInfo, Version};
use x509_cert::spki::{AlgorithmIdentifier, SubjectPublicKeyInfoOwned};

/// ecdsa-with-SHA256 (RFC 5758), Ed25519 (RFC 8410), RSASSA-PSS (RFC 4055).
const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");

/// RSASSA-PSS-params (RFC 4055, 3.1): [0] SHA-256, [1] MGF1 with SHA-256, [2] a salt of 32 bytes.
const PSS_PARAMS: [u8; 54] = [
    0x30, 0x34, 0xa0, 0x0f, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00,
    0xa1, 0x1c, 0x30, 0x1a, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08, 0x30, 0x0d, 0x06, 0x09,
    0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0xa2, 0x03, 0x02, 0x01, 0x20,
];

/// `tally key csr`
#[derive(Debug, clap::Args)]
pub struct Csr {
    /// A key in an HSM whose purpose is message.
    name: KeyName,
    /// Whom the certificate is for, as in RFC 4514: "CN=payments,O=Acme".
    #[arg(long)]
    subject: String,
    /// Names the request: 32 hex digits, as for `tally sign`.
    #[arg(long, value_parser = input::request_id, value_name = "HEX32")]
    request_id: Option<RequestId>,
}

impl Csr {
    /// Runs it.
    pub async fn run(self, client: &Client, kept: &Kept) -> anyhow::Result<Shown> {
        let subject: Name = self.subject.parse().map_err(|_| {
            Usage(format!(
                "`{}` is not a subject: write it as in RFC 4514, such as \"CN=payments,O=Acme\"",
                self.subject
            ))
        })?;
        let key = client.key(&self.name).await?;
        let public = match &key.backing {
            KeyBacking::Hsm { public_key, .. } if key.purpose == Purpose::Message => public_key.clone(),
            _ => {
                let what =
                    format!("{} cannot sign a certificate request: that takes a key in an HSM for messages", key.name);
                return Err(Usage(what).into());
            }
        };
        let info = CertReqInfo {
            version: Version::V1,
            subject,
            public_key: SubjectPublicKeyInfoOwned::from_der(&public.to_spki())?,
            attributes: x509_cert::attr::Attributes::default(),
        };
        let order = Order::sign_message(self.name, info.to_der()?).note("certificate request");
        let asked = kept.seal(client, order, self.request_id)?;
        let signed = kept.settle(&asked, client.sign(&asked.intent).await)?;
        foreign::verify(asked.intent.intent(), &signed)?;
        anyhow::ensure!(signed.public_key == public.to_spki(), "another key than {} has signed", key.name);
        let pem = request(info, &public, &signed.signature)?.to_pem(LineEnding::LF)?;
        let json = json!({
            "key": key.name.as_str(), "csr": pem, "rule": signed.rule,
            "request_id": asked.intent.request_id().to_string(),
        });
        Ok(Shown::done(pem.trim_end(), json))
    }
}

/// The request with the key's signature in it.
fn request(info: CertReqInfo, public: &PublicKey, signature: &[u8]) -> anyhow::Result<CertReq> {
    let (oid, parameters, signature) = match public.scheme() {
        HsmScheme::EcdsaP256 | HsmScheme::EcdsaSecp256k1 => (ECDSA_SHA256, None, ecdsa_der(signature)?),
        HsmScheme::Ed25519 => (ED25519, None, signature.to_vec()),
        HsmScheme::Rsa3072 => (RSA_PSS, Some(Any::from_der(&PSS_PARAMS)?), signature.to_vec()),
    };
    let algorithm = AlgorithmIdentifier { oid, parameters };
    Ok(CertReq { info, algorithm, signature: BitString::from_bytes(&signature)? })
}

/// `SEQUENCE { INTEGER r, INTEGER s }` (RFC 5480).
fn ecdsa_der(signature: &[u8]) -> anyhow::Result<Vec<u8>> {
    let (r, s) = signature.split_at_checked(32).context("the signature is too short")?;
    Ok(vec![Uint::new(r)?, Uint::new(s)?].to_der()?)
}
