//! Public keys as the rest of the world writes them (SubjectPublicKeyInfo, DER), and the check of their signatures.
//!
//! Each scheme has one encoding here: fixed bytes around the key, so that one key has one text and nothing is parsed that
//! could be read in two ways. EC points are uncompressed (RFC 5480), RSA has 3072 bits and exponent 65537 (RFC 3279),
//! Ed25519 is RFC 8410.

use crate::dsse::BadSignature;
use crate::scheme::HsmScheme;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use k256::ecdsa::signature::hazmat::PrehashVerifier as _;
use rsa::traits::PublicKeyParts as _;

/// `SEQUENCE { SEQUENCE { id-ecPublicKey, prime256v1 }, BIT STRING` of 65 bytes.
const P256_HEADER: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// `SEQUENCE { SEQUENCE { id-ecPublicKey, secp256k1 }, BIT STRING` of 65 bytes.
const SECP256K1_HEADER: [u8; 23] = [
    0x30, 0x56, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00,
    0x0a, 0x03, 0x42, 0x00,
];

/// `SEQUENCE { SEQUENCE { id-Ed25519 }, BIT STRING` of 32 bytes.
const ED25519_HEADER: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// `SEQUENCE { SEQUENCE { rsaEncryption, NULL }, BIT STRING { SEQUENCE { INTEGER` of 3072 bits, the highest set.
const RSA3072_HEADER: [u8; 33] = [
    0x30, 0x82, 0x01, 0xa2, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
    0x03, 0x82, 0x01, 0x8f, 0x00, 0x30, 0x82, 0x01, 0x8a, 0x02, 0x82, 0x01, 0x81, 0x00,
];

/// `INTEGER 65537`, after the modulus.
const RSA_EXPONENT: [u8; 5] = [0x02, 0x03, 0x01, 0x00, 0x01];

/// 3072 bits.
const RSA3072_BYTES: usize = 384;

/// A public key of one of the schemes of [`HsmScheme`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// P-256.
    P256(p256::ecdsa::VerifyingKey),
    /// secp256k1.
    Secp256k1(k256::ecdsa::VerifyingKey),
    /// Ed25519; not of small order.
    Ed25519(ed25519_dalek::VerifyingKey),
    /// RSA of 3072 bits with exponent 65537.
    Rsa3072(Box<rsa::RsaPublicKey>),
}

/// What a public key is made of, for formats that name the parts (JWK).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parts {
    /// Coordinates of a point of P-256 or secp256k1, 32 bytes each.
    Point {
        /// x
        x: Vec<u8>,
        /// y
        y: Vec<u8>,
    },
    /// The 32 bytes of Ed25519.
    Ed25519([u8; 32]),
    /// An RSA modulus and exponent, big-endian.
    Rsa {
        /// Modulus, 384 bytes.
        n: Vec<u8>,
        /// Exponent, 3 bytes.
        e: Vec<u8>,
    },
}

/// Bytes that are no public key of a scheme that we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are no public key of P-256, secp256k1, Ed25519 or RSA-3072 in its one encoding")]
pub struct BadPublicKey;

impl PublicKey {
    /// Reads DER in the one encoding that [`PublicKey::to_spki`] writes.
    ///
    /// # Errors
    /// [`BadPublicKey`] for any other bytes, and for keys that are off the curve, of small order, or no product of odd primes.
    pub fn from_spki(der: &[u8]) -> Result<Self, BadPublicKey> {
        if let Some(point) = der.strip_prefix(&P256_HEADER) {
            Self::from_key(HsmScheme::EcdsaP256, point)
        } else if let Some(point) = der.strip_prefix(&SECP256K1_HEADER) {
            Self::from_key(HsmScheme::EcdsaSecp256k1, point)
        } else if let Some(key) = der.strip_prefix(&ED25519_HEADER) {
            Self::from_key(HsmScheme::Ed25519, key)
        } else {
            let modulus = der.strip_prefix(&RSA3072_HEADER).and_then(|rest| rest.strip_suffix(&RSA_EXPONENT));
            Self::from_key(HsmScheme::Rsa3072, modulus.ok_or(BadPublicKey)?)
        }
    }

    /// A key out of its own bytes: an uncompressed point, the 32 bytes of Ed25519, or the RSA modulus.
    ///
    /// # Errors
    /// [`BadPublicKey`], as [`PublicKey::from_spki`].
    pub fn from_key(scheme: HsmScheme, bytes: &[u8]) -> Result<Self, BadPublicKey> {
        // SEC 1 has other spellings of the same point; a key must have one.
        let uncompressed = bytes.len() == 65 && bytes.first() == Some(&4);
        let key = match scheme {
            HsmScheme::EcdsaP256 if uncompressed => {
                p256::ecdsa::VerifyingKey::from_sec1_bytes(bytes).map(Self::P256).map_err(|_| BadPublicKey)?
            }
            HsmScheme::EcdsaSecp256k1 if uncompressed => {
                k256::ecdsa::VerifyingKey::from_sec1_bytes(bytes).map(Self::Secp256k1).map_err(|_| BadPublicKey)?
            }
            HsmScheme::EcdsaP256 | HsmScheme::EcdsaSecp256k1 => return Err(BadPublicKey),
            HsmScheme::Ed25519 => match crate::dsse::VerifyingKey::ed25519(bytes) {
                Ok(crate::dsse::VerifyingKey::Ed25519(key)) => Self::Ed25519(key),
                _ => return Err(BadPublicKey),
            },
            HsmScheme::Rsa3072 => {
                let full = bytes.len() == RSA3072_BYTES && bytes.first().is_some_and(|b| b & 0x80 != 0);
                let odd = bytes.last().is_some_and(|b| b & 1 == 1);
                let modulus = rsa::BigUint::from_bytes_be(bytes);
                let key = rsa::RsaPublicKey::new(modulus, rsa::BigUint::from(65_537_u32)).map_err(|_| BadPublicKey)?;
                if !full || !odd {
                    return Err(BadPublicKey);
                }
                Self::Rsa3072(Box::new(key))
            }
        };
        Ok(key)
    }

    /// A secp256k1 key from its 33 compressed bytes, or an Ed25519 key from its 32: as threshold keys are recorded.
    ///
    /// # Errors
    /// [`BadPublicKey`].
    pub fn from_threshold(bytes: &[u8]) -> Result<Self, BadPublicKey> {
        match bytes.len() {
            33 => k256::ecdsa::VerifyingKey::from_sec1_bytes(bytes).map(Self::Secp256k1).map_err(|_| BadPublicKey),
            _ => Self::from_key(HsmScheme::Ed25519, bytes),
        }
    }

    /// Its scheme.
    pub fn scheme(&self) -> HsmScheme {
        match self {
            Self::P256(_) => HsmScheme::EcdsaP256,
            Self::Secp256k1(_) => HsmScheme::EcdsaSecp256k1,
            Self::Ed25519(_) => HsmScheme::Ed25519,
            Self::Rsa3072(_) => HsmScheme::Rsa3072,
        }
    }

    /// SubjectPublicKeyInfo in DER.
    pub fn to_spki(&self) -> Vec<u8> {
        match (self, self.parts()) {
            (Self::P256(_), Parts::Point { x, y }) => [&P256_HEADER[..], &[4], &x, &y].concat(),
            (_, Parts::Point { x, y }) => [&SECP256K1_HEADER[..], &[4], &x, &y].concat(),
            (_, Parts::Ed25519(key)) => [&ED25519_HEADER[..], &key].concat(),
            (_, Parts::Rsa { n, .. }) => [&RSA3072_HEADER[..], &n, &RSA_EXPONENT].concat(),
        }
    }

    /// SubjectPublicKeyInfo as PEM (RFC 7468): lines of 64 characters.
    pub fn to_pem(&self) -> String {
        let mut text = String::from("-----BEGIN PUBLIC KEY-----\n");
        for (i, c) in BASE64_STANDARD.encode(self.to_spki()).chars().enumerate() {
            if i > 0 && i % 64 == 0 {
                text.push('\n');
            }
            text.push(c);
        }
        text + "\n-----END PUBLIC KEY-----\n"
    }

    /// Its parts.
    pub fn parts(&self) -> Parts {
        let point = |sec1: &[u8]| {
            let (x, y) = sec1.get(1..).unwrap_or_default().split_at_checked(32).unwrap_or_default();
            Parts::Point { x: x.to_vec(), y: y.to_vec() }
        };
        match self {
            Self::P256(key) => point(key.to_sec1_point(false).as_bytes()),
            Self::Secp256k1(key) => point(key.to_sec1_point(false).as_bytes()),
            Self::Ed25519(key) => Parts::Ed25519(key.to_bytes()),
            Self::Rsa3072(key) => Parts::Rsa { n: key.n().to_bytes_be(), e: key.e().to_bytes_be() },
        }
    }

    /// The 33 compressed bytes of a secp256k1 key.
    pub fn secp256k1_compressed(&self) -> Option<Vec<u8>> {
        match self {
            Self::Secp256k1(key) => Some(key.to_sec1_point(true).as_bytes().to_vec()),
            _ => None,
        }
    }

    /// Checks a signature over what the scheme signs: a 32-byte digest, or for Ed25519 the message. ECDSA with a high s is
    /// refused: it is the same signature in a second form.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify(&self, to_sign: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        if !matches!(self, Self::Ed25519(_)) && to_sign.len() != 32 {
            return Err(BadSignature);
        }
        match self {
            Self::P256(key) => {
                let given = p256::ecdsa::Signature::from_slice(signature).map_err(|_| BadSignature)?;
                if given.normalize_s() != given {
                    return Err(BadSignature);
                }
                key.verify_prehash(to_sign, &given).map_err(|_| BadSignature)
            }
            Self::Secp256k1(key) => {
                let given = k256::ecdsa::Signature::from_slice(signature).map_err(|_| BadSignature)?;
                if given.normalize_s() != given {
                    return Err(BadSignature);
                }
                key.verify_prehash(to_sign, &given).map_err(|_| BadSignature)
            }
            Self::Ed25519(key) => {
                let given = ed25519_dalek::Signature::from_slice(signature).map_err(|_| BadSignature)?;
                key.verify_strict(to_sign, &given).map_err(|_| BadSignature)
            }
            Self::Rsa3072(key) => {
                if signature.len() != RSA3072_BYTES {
                    return Err(BadSignature);
                }
                key.verify(rsa::Pss::new_with_salt::<rsa::sha2::Sha256>(32), to_sign, signature)
                    .map_err(|_| BadSignature)
            }
        }
    }

    /// Which of the points that fit a secp256k1 signature is this key (0 or 1); nothing for other keys.
    pub fn recovery_id(&self, digest: &[u8; 32], signature: &[u8]) -> Option<u8> {
        let Self::Secp256k1(key) = self else { return None };
        let signature = k256::ecdsa::Signature::from_slice(signature).ok()?;
        let id = k256::ecdsa::RecoveryId::trial_recovery_from_prehash(key, digest, &signature).ok()?;
        Some(id.to_byte())
    }
}

/// An ECDSA signature (r and s, 64 bytes) with the lower of the two s that verify.
///
/// # Errors
/// [`BadSignature`] when r or s are not numbers of the curve's field, and for schemes that are not ECDSA.
pub fn low_s(scheme: HsmScheme, signature: &[u8]) -> Result<Vec<u8>, BadSignature> {
    match scheme {
        HsmScheme::EcdsaP256 => {
            let given = p256::ecdsa::Signature::from_slice(signature).map_err(|_| BadSignature)?;
            Ok(given.normalize_s().to_bytes().to_vec())
        }
        HsmScheme::EcdsaSecp256k1 => {
            let given = k256::ecdsa::Signature::from_slice(signature).map_err(|_| BadSignature)?;
            Ok(given.normalize_s().to_bytes().to_vec())
        }
        HsmScheme::Ed25519 | HsmScheme::Rsa3072 => Err(BadSignature),
    }
}
