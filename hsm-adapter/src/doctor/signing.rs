//! Pairs of keys: the adapter's own templates, in a session, and signatures that the node's code verifies.

use super::patient::Patient;
use super::{Finding, Verdict, found};
use crate::fault::Fault;
use crate::resident;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use tally_domain::ports::hsm::ObjectId;
use tally_domain::{Digest, HsmScheme, PublicKey, spki};

/// Signatures of each key: enough for both kinds of s to appear.
const SIGNATURES: u8 = 16;

pub fn ed25519(patient: &Patient<'_>) -> Result<Vec<Finding>, Fault> {
    let (pair, id) = pair(patient, HsmScheme::Ed25519)?;
    let public = [Attribute::Class(ObjectClass::PUBLIC_KEY), Attribute::Id(id.0.to_vec())];
    let found_ones = patient.call("C_FindObjects", |s| s.find_objects(&public))?;
    let mut findings = signs(patient, pair, id, HsmScheme::Ed25519)?;
    if let [only] = found_ones.as_slice() {
        let point = patient.call("C_GetAttributeValue", |s| s.get_attributes(*only, &[AttributeType::EcPoint]))?;
        let raw = point.iter().any(|a| matches!(a, Attribute::EcPoint(point) if point.len() == 32));
        patient.note("ec_point", if raw { "raw" } else { "der" });
        findings.push(match raw {
            false => found(Verdict::Ok, "CKA_EC_POINT is an octet string in DER"),
            true => found(Verdict::Differs, "CKA_EC_POINT is the bare point").so("nothing: both are read"),
        });
    }
    Ok(findings)
}

pub fn p256(patient: &Patient<'_>) -> Result<Vec<Finding>, Fault> {
    let (pair, id) = pair(patient, HsmScheme::EcdsaP256)?;
    signs(patient, pair, id, HsmScheme::EcdsaP256)
}

pub fn secp256k1(patient: &Patient<'_>) -> Result<Vec<Finding>, Fault> {
    let (pair, id) = pair(patient, HsmScheme::EcdsaSecp256k1)?;
    signs(patient, pair, id, HsmScheme::EcdsaSecp256k1)
}

pub fn rsa(patient: &Patient<'_>) -> Result<Vec<Finding>, Fault> {
    let (pair, id) = pair(patient, HsmScheme::Rsa3072)?;
    signs(patient, pair, id, HsmScheme::Rsa3072)
}

/// A pair as the adapter makes them, but for the session.
pub fn pair(patient: &Patient<'_>, scheme: HsmScheme) -> Result<(ObjectHandle, ObjectId), Fault> {
    let id = ObjectId(patient.id());
    let here = |template: Vec<Attribute>| -> Vec<Attribute> {
        let changed = template.into_iter().map(|attribute| match attribute {
            Attribute::Token(_) => Attribute::Token(false),
            Attribute::Label(_) => Attribute::Label(patient.label.clone().into()),
            other => other,
        });
        changed.collect()
    };
    let (mechanism, public, private) = resident::templates(id, scheme);
    let (public, private) = (here(public), here(private));
    let (public, private) =
        patient.call("C_GenerateKeyPair", |s| s.generate_key_pair(&mechanism, &public, &private))?;
    patient.keep(Ok(public))?;
    Ok((patient.keep(Ok(private))?, id))
}

fn signs(patient: &Patient<'_>, key: ObjectHandle, id: ObjectId, scheme: HsmScheme) -> Result<Vec<Finding>, Fault> {
    let public: PublicKey =
        patient.call("C_FindObjects or C_GetAttributeValue", |s| resident::public_half(s, id, scheme))?;
    let mut high = 0;
    for n in 0..SIGNATURES {
        let digest = Digest::of(&[n]).0;
        let signature = patient.call("C_Sign", |s| resident::sign(s, key, scheme, &digest))?;
        let low = match scheme {
            HsmScheme::EcdsaP256 | HsmScheme::EcdsaSecp256k1 => spki::low_s(scheme, &signature).ok(),
            HsmScheme::Ed25519 | HsmScheme::Rsa3072 => Some(signature.clone()),
        };
        let Some(low) = low.filter(|low| public.verify(&digest, low).is_ok()) else {
            return Ok(vec![
                found(Verdict::Wrong, "a signature that does not verify").so("do not use this token to sign"),
            ]);
        };
        high += u8::from(low != signature);
    }
    let mut findings = vec![found(Verdict::Ok, format!("{SIGNATURES} signatures verify"))];
    if high > 0 {
        let what = format!("{high} of {SIGNATURES} signatures have a high s");
        findings.push(found(Verdict::Differs, what).so("nothing: the lower one leaves the node"));
    }
    let other = patient.ask("C_Sign", |s| s.sign(&Mechanism::RsaPkcs, key, &[1; 32]));
    if scheme == HsmScheme::Rsa3072 && other.is_ok() {
        let what = "a key for RSA-PSS signs by PKCS#1 v1.5 too";
        findings.push(found(Verdict::Differs, what).so("keep other programs away from this token"));
    }
    Ok(findings)
}
