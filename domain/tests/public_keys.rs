//! Public keys against other libraries' keys and signatures, and against the examples of the JOSE standards.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests fail loudly"
)]

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PSS_SHA256, RSA_PSS_SHA384,
    RsaKeyPair,
};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use tally_domain::spki::{Parts, low_s};
use tally_domain::{Digest, HsmScheme, PublicKey};

fn base64url(text: &str) -> Vec<u8> {
    BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()
}

/// Another library's key and signature over `message`: SPKI, what is signed, signature.
fn foreign(scheme: HsmScheme, message: &[u8]) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let digest = Digest::of(message).0;
    match scheme {
        HsmScheme::EcdsaP256 => {
            let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
            let signature = key.sign(&SystemRandom::new(), message).unwrap();
            let low = low_s(scheme, signature.as_ref()).unwrap();
            (key.public_key().as_der().unwrap().as_ref().to_vec(), digest.to_vec(), low)
        }
        HsmScheme::EcdsaSecp256k1 => {
            let key = secp256k1::SecretKey::from_byte_array([7; 32]).unwrap();
            let public = key.public_key(secp256k1::SECP256K1);
            let spki = PublicKey::from_threshold(&public.serialize()).unwrap().to_spki();
            let signature = secp256k1::SECP256K1.sign_ecdsa(secp256k1::Message::from_digest(digest), &key);
            (spki, digest.to_vec(), signature.serialize_compact().to_vec())
        }
        HsmScheme::Ed25519 => {
            let key = Ed25519KeyPair::generate().unwrap();
            let spki = key.public_key().as_der().unwrap().as_ref().to_vec();
            (spki, message.to_vec(), key.sign(message).as_ref().to_vec())
        }
        HsmScheme::Rsa3072 => {
            let key = RsaKeyPair::generate(KeySize::Rsa3072).unwrap();
            let mut signature = vec![0; key.public_modulus_len()];
            key.sign(&RSA_PSS_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
            (key.public_key().as_der().unwrap().as_ref().to_vec(), digest.to_vec(), signature)
        }
    }
}

const ALL: [HsmScheme; 4] = [HsmScheme::EcdsaP256, HsmScheme::EcdsaSecp256k1, HsmScheme::Ed25519, HsmScheme::Rsa3072];

#[test]
fn keys_and_signatures_of_other_libraries_are_read_and_verified() {
    for scheme in ALL {
        let (spki, to_sign, signature) = foreign(scheme, b"two halves of a tiger");
        let key = PublicKey::from_spki(&spki).unwrap();
        assert_eq!((key.scheme(), key.to_spki()), (scheme, spki.clone()));
        key.verify(&to_sign, &signature).unwrap();
        for i in 0..signature.len() {
            let mut bad = signature.clone();
            bad[i] ^= 1;
            assert!(key.verify(&to_sign, &bad).is_err(), "{scheme}, signature byte {i}");
        }
        for i in 0..to_sign.len() {
            let mut bad = to_sign.clone();
            bad[i] ^= 1;
            assert!(key.verify(&bad, &signature).is_err(), "{scheme}, signed byte {i}");
        }
        assert!(key.verify(&to_sign[1..], &signature).is_err());
        assert!(key.verify(&to_sign, &signature[1..]).is_err());
        assert!(key.verify(&to_sign, &[&[0], &signature[..]].concat()).is_err());
        // A flipped byte is no key, or another one; never the same.
        for i in 0..spki.len() {
            let mut bad = spki.clone();
            bad[i] ^= 1;
            assert!(
                PublicKey::from_spki(&bad).is_ok_and(|k| k != key && k.to_spki() == bad)
                    || PublicKey::from_spki(&bad).is_err()
            );
        }
        assert!(PublicKey::from_spki(&[&spki[..], &[0]].concat()).is_err());
        assert!(PublicKey::from_spki(&spki[..spki.len() - 1]).is_err());
    }
}

#[test]
fn the_high_form_of_an_ecdsa_signature_is_refused() {
    for scheme in [HsmScheme::EcdsaP256, HsmScheme::EcdsaSecp256k1] {
        let (spki, to_sign, low) = foreign(scheme, b"low");
        let key = PublicKey::from_spki(&spki).unwrap();
        let high = match scheme {
            HsmScheme::EcdsaP256 => {
                let s = p256::ecdsa::Signature::from_slice(&low).unwrap();
                p256::ecdsa::Signature::from_scalars(*s.r(), -*s.s()).unwrap().to_bytes().to_vec()
            }
            _ => {
                let s = k256::ecdsa::Signature::from_slice(&low).unwrap();
                k256::ecdsa::Signature::from_scalars(*s.r(), -*s.s()).unwrap().to_bytes().to_vec()
            }
        };
        assert_ne!(high, low);
        assert!(key.verify(&to_sign, &high).is_err());
        assert_eq!(low_s(scheme, &high).unwrap(), low);
    }
}

#[test]
fn rsa_is_pss_with_sha_256_and_nothing_else() {
    let key = RsaKeyPair::generate(KeySize::Rsa3072).unwrap();
    let public = PublicKey::from_spki(key.public_key().as_der().unwrap().as_ref()).unwrap();
    for other in [&RSA_PSS_SHA384, &aws_lc_rs::signature::RSA_PKCS1_SHA256 as &dyn aws_lc_rs::signature::RsaEncoding] {
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(other, &SystemRandom::new(), b"x", &mut signature).unwrap();
        assert!(public.verify(&Digest::of(b"x").0, &signature).is_err());
    }
    let short = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    assert!(PublicKey::from_spki(short.public_key().as_der().unwrap().as_ref()).is_err());
}

/// RFC 7515, appendix A.3. Its signature has a high s.
#[test]
fn the_es256_example_of_the_jws_standard_verifies() {
    let x = base64url("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU");
    let y = base64url("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0");
    let key = PublicKey::from_key(HsmScheme::EcdsaP256, &[&[4], &x[..], &y].concat()).unwrap();
    assert_eq!(key.parts(), Parts::Point { x, y });
    let input = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let signature = base64url("DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q");
    let digest = Digest::of(input.as_bytes()).0;
    assert!(key.verify(&digest, &signature).is_err());
    key.verify(&digest, &low_s(HsmScheme::EcdsaP256, &signature).unwrap()).unwrap();
}

/// RFC 8037, appendix A.4.
#[test]
fn the_eddsa_example_of_the_jose_standard_verifies() {
    let x = base64url("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    let key = PublicKey::from_key(HsmScheme::Ed25519, &x).unwrap();
    let signature = base64url("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg");
    key.verify(b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc", &signature).unwrap();
}

/// RFC 8410, section 10.1.
#[test]
fn the_ed25519_example_of_the_standard_reads() {
    let der = base64::prelude::BASE64_STANDARD
        .decode("MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=")
        .unwrap();
    let key = PublicKey::from_spki(&der).unwrap();
    assert_eq!((key.scheme(), key.to_spki()), (HsmScheme::Ed25519, der));
    let pem = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
    assert_eq!(key.to_pem(), pem);
}

#[test]
fn other_spellings_and_weak_keys_are_refused() {
    let point = p256::ecdsa::SigningKey::from_slice(&[9; 32]).unwrap().verifying_key().to_sec1_point(true);
    assert!(PublicKey::from_key(HsmScheme::EcdsaP256, point.as_bytes()).is_err(), "compressed");
    let mut off =
        p256::ecdsa::SigningKey::from_slice(&[9; 32]).unwrap().verifying_key().to_sec1_point(false).as_bytes().to_vec();
    off[64] ^= 1;
    assert!(PublicKey::from_key(HsmScheme::EcdsaP256, &off).is_err(), "off the curve");
    let mut small_order = [0; 32];
    small_order[0] = 1;
    assert!(PublicKey::from_key(HsmScheme::Ed25519, &small_order).is_err());
    let mut even = [0xff; 384];
    even[383] = 0xfe;
    assert!(PublicKey::from_key(HsmScheme::Rsa3072, &even).is_err());
    let mut small = [0xff; 384];
    small[0] = 0x7f;
    assert!(PublicKey::from_key(HsmScheme::Rsa3072, &small).is_err());
}

#[test]
fn the_recovery_id_is_the_one_that_libsecp256k1_recovers_with() {
    for seed in 1..20_u8 {
        let key = secp256k1::SecretKey::from_byte_array([seed; 32]).unwrap();
        let digest = Digest::of(&[seed]).0;
        let signed = secp256k1::SECP256K1.sign_ecdsa_recoverable(secp256k1::Message::from_digest(digest), &key);
        let (id, bytes) = signed.serialize_compact();
        let public = PublicKey::from_threshold(&key.public_key(secp256k1::SECP256K1).serialize()).unwrap();
        assert_eq!(public.recovery_id(&digest, &bytes).map(i32::from), Some(i32::from(id)));
    }
}
