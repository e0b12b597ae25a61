//! `tally key export`: public keys as PEM and as JSON Web Keys (RFC 7517, 7518, 8037, 8812).

use crate::output::{Shown, Usage};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde_json::{Value, json};
use tally_client::{KeyBacking, KeyInfo};
use tally_domain::spki::Parts;
use tally_domain::{Backing, HsmScheme, PublicKey, Purpose, Reason, Scheme};

/// Forms of a public key.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum Format {
    /// SubjectPublicKeyInfo.
    Pem,
    /// A JSON Web Key.
    Jwk,
}

/// The key in that form.
pub fn export(key: &KeyInfo, format: Format) -> anyhow::Result<Shown> {
    if let KeyBacking::Kek { .. } = &key.backing {
        return Err(Usage(format!("{}: {}", key.name, Reason::KeyNotExportable.sentence())).into());
    }
    if let KeyBacking::Threshold { scheme: Scheme::Taproot, .. } = &key.backing {
        let what = "an x-only public key has no form as PEM or JWK; `tally key show` has it in hex, and the xpub";
        return Err(Usage(what.into()).into());
    }
    let public = key.to_public_key().ok_or_else(|| Usage(format!("the public key of {} does not read", key.name)))?;
    Ok(match format {
        Format::Pem => {
            let pem = public.to_pem();
            Shown::done(pem.trim_end(), json!({ "name": key.name.as_str(), "pem": pem }))
        }
        Format::Jwk => {
            let jwk = jwk(key, &public);
            Shown::done(format!("{jwk:#}"), jwk)
        }
    })
}

/// A JSON Web Key. It names an algorithm only where the key signs messages as that algorithm says.
pub fn jwk(key: &KeyInfo, public: &PublicKey) -> Value {
    let text = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let (curve, algorithm) = match public.scheme() {
        HsmScheme::EcdsaP256 => ("P-256", "ES256"),
        HsmScheme::EcdsaSecp256k1 => ("secp256k1", "ES256K"),
        HsmScheme::Ed25519 => ("Ed25519", "EdDSA"),
        HsmScheme::Rsa3072 => ("", "PS256"),
    };
    let mut jwk = match public.parts() {
        Parts::Point { x, y } => json!({ "kty": "EC", "crv": curve, "x": text(&x), "y": text(&y) }),
        Parts::Ed25519(x) => json!({ "kty": "OKP", "crv": curve, "x": text(&x) }),
        Parts::Rsa { n, e } => json!({ "kty": "RSA", "n": text(&n), "e": text(&e) }),
    };
    // Threshold ECDSA puts messages under the prefix of EIP-191, which is no JOSE algorithm.
    let prefixed = key.backing.kind() == Backing::Threshold && public.scheme() == HsmScheme::EcdsaSecp256k1;
    if let Value::Object(members) = &mut jwk {
        members.insert("kid".into(), key.name.as_str().into());
        if key.purpose == Purpose::Message && !prefixed {
            members.insert("use".into(), "sig".into());
            members.insert("alg".into(), algorithm.into());
        }
    }
    jwk
}
