//! Keys that sign for clients: what they are made as, which mechanism signs, and how a token tells their public half.
//! Callers hold the module's lock for changing objects.

use crate::config::configuration;
use crate::fault::Fault;
use crate::keys::Key;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use tally_domain::ports::hsm::ObjectId;
use tally_domain::{HsmScheme, PublicKey};

const LABEL: &str = "tally-signing";

/// Curves as DER object identifiers: 1.2.840.10045.3.1.7, 1.3.132.0.10, 1.3.101.112.
const P256_PARAMS: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const SECP256K1_PARAMS: [u8; 7] = [0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a];
const ED25519_PARAMS: [u8; 5] = [0x06, 0x03, 0x2b, 0x65, 0x70];

/// 65537.
const RSA_EXPONENT: [u8; 3] = [1, 0, 1];

/// Bits of a modulus.
pub const RSA_BITS: u64 = 3072;

/// DER header of an octet string of 65 or 32 bytes, which some tokens put before a point (as PKCS#11 says for curves in
/// Weierstrass form) and some do not.
const POINT_HEADERS: [[u8; 2]; 2] = [[0x04, 0x41], [0x04, 0x20]];

/// The label, type, mechanism and usage of a private key.
pub fn private_half(scheme: HsmScheme) -> (&'static str, KeyType, MechanismType, Vec<Attribute>) {
    let (key_type, mechanism) = match scheme {
        HsmScheme::EcdsaP256 | HsmScheme::EcdsaSecp256k1 => (KeyType::EC, MechanismType::ECDSA),
        HsmScheme::Ed25519 => (KeyType::EC_EDWARDS, MechanismType::EDDSA),
        HsmScheme::Rsa3072 => (KeyType::RSA, MechanismType::RSA_PKCS_PSS),
    };
    let usage = vec![Attribute::Sign(true), Attribute::SignRecover(false), Attribute::Decrypt(false)];
    (LABEL, key_type, mechanism, usage)
}

/// Which signing key of ours a private key may be, by its label, id and type. The two curves of ECDSA are made alike.
pub fn recognize(named: &[Attribute]) -> Option<Key> {
    let ours = named.contains(&Attribute::Label(LABEL.into()));
    let id = named.iter().find_map(|a| if let Attribute::Id(id) = a { Some(id.as_slice()) } else { None })?;
    let scheme = named.iter().find_map(|a| match a {
        Attribute::KeyType(KeyType::EC) => Some(HsmScheme::EcdsaP256),
        Attribute::KeyType(KeyType::EC_EDWARDS) => Some(HsmScheme::Ed25519),
        Attribute::KeyType(KeyType::RSA) => Some(HsmScheme::Rsa3072),
        _ => None,
    })?;
    let id = id.try_into().ok().filter(|_| ours)?;
    Some(Key::Signing(ObjectId(id), scheme))
}

/// Makes the pair; gives the private half.
pub fn generate(session: &Session, id: ObjectId, scheme: HsmScheme) -> Result<ObjectHandle, Fault> {
    let (mechanism, public, private) = templates(id, scheme);
    Ok(session.generate_key_pair(&mechanism, &public, &private).map(|(_, private)| private)?)
}

/// How a pair is made, and what its halves are made as: the public one and the private one.
pub fn templates(id: ObjectId, scheme: HsmScheme) -> (Mechanism<'static>, Vec<Attribute>, Vec<Attribute>) {
    let (mechanism, shape) = shape(scheme);
    let mut public = vec![
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Modifiable(false),
        Attribute::Verify(true),
        Attribute::Encrypt(false),
        Attribute::Wrap(false),
        Attribute::Label(LABEL.into()),
        Attribute::Id(id.0.to_vec()),
    ];
    public.extend(shape);
    (mechanism, public, Key::Signing(id, scheme).attributes())
}

/// Makes a pair that lives in the session, and destroys it.
pub fn try_pair(session: &Session, scheme: HsmScheme) -> Result<(), Fault> {
    let (mechanism, shape) = shape(scheme);
    let mut public = vec![Attribute::Token(false), Attribute::Private(false), Attribute::Verify(true)];
    public.extend(shape);
    let private = [
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
    ];
    let (public, private) = session.generate_key_pair(&mechanism, &public, &private)?;
    session.destroy_object(public)?;
    Ok(session.destroy_object(private)?)
}

/// The mechanism that makes a pair, and what its public half is told to be.
fn shape(scheme: HsmScheme) -> (Mechanism<'static>, Vec<Attribute>) {
    let curve = |params: &[u8]| vec![Attribute::EcParams(params.to_vec())];
    match scheme {
        HsmScheme::EcdsaP256 => (Mechanism::EccKeyPairGen, curve(&P256_PARAMS)),
        HsmScheme::EcdsaSecp256k1 => (Mechanism::EccKeyPairGen, curve(&SECP256K1_PARAMS)),
        HsmScheme::Ed25519 => (Mechanism::EccEdwardsKeyPairGen, curve(&ED25519_PARAMS)),
        HsmScheme::Rsa3072 => {
            let size = [Attribute::ModulusBits(RSA_BITS.into()), Attribute::PublicExponent(RSA_EXPONENT.to_vec())];
            (Mechanism::RsaPkcsKeyPairGen, size.to_vec())
        }
    }
}

/// The public half of a key, as the token tells it.
pub fn public_half(session: &Session, id: ObjectId, scheme: HsmScheme) -> Result<PublicKey, Fault> {
    let name = || Key::Signing(id, scheme).name();
    let wanted = [Attribute::Class(ObjectClass::PUBLIC_KEY), Attribute::Id(id.0.to_vec())];
    let found = session.find_objects(&wanted)?;
    let [only] = found.as_slice() else {
        return Err(configuration(format!("the token has {} public halves of {}", found.len(), name())).into());
    };
    let types = match scheme {
        HsmScheme::Rsa3072 => vec![AttributeType::Modulus, AttributeType::PublicExponent],
        _ => vec![AttributeType::EcPoint, AttributeType::EcParams],
    };
    let given = session.get_attributes(*only, &types)?;
    let bytes = match (scheme, given.as_slice()) {
        (HsmScheme::Rsa3072, [Attribute::Modulus(n), Attribute::PublicExponent(e)]) if *e == RSA_EXPONENT => {
            Some(n.clone())
        }
        (HsmScheme::EcdsaP256, [Attribute::EcPoint(p), Attribute::EcParams(c)]) if *c == P256_PARAMS => Some(bare(p)),
        (HsmScheme::EcdsaSecp256k1, [Attribute::EcPoint(p), Attribute::EcParams(c)]) if *c == SECP256K1_PARAMS => {
            Some(bare(p))
        }
        // Tokens write the Edwards curve as an identifier or as a name; the point tells.
        (HsmScheme::Ed25519, [Attribute::EcPoint(p), _]) => Some(bare(p)),
        _ => None,
    };
    let key = bytes.and_then(|bytes| PublicKey::from_key(scheme, &bytes).ok());
    key.ok_or_else(|| configuration(format!("the token's {} is no {scheme} key", name())).into())
}

/// Signs what the scheme signs: a 32-byte digest, or for Ed25519 the message.
pub fn sign(session: &Session, key: ObjectHandle, scheme: HsmScheme, to_sign: &[u8]) -> Result<Vec<u8>, Fault> {
    let mechanism = match scheme {
        HsmScheme::EcdsaP256 | HsmScheme::EcdsaSecp256k1 => Mechanism::Ecdsa,
        HsmScheme::Ed25519 => Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure)),
        HsmScheme::Rsa3072 => Mechanism::RsaPkcsPss(PkcsPssParams {
            hash_alg: MechanismType::SHA256,
            mgf: PkcsMgfType::MGF1_SHA256,
            s_len: 32.into(),
        }),
    };
    Ok(session.sign(&mechanism, key, to_sign)?)
}

fn bare(point: &[u8]) -> Vec<u8> {
    let stripped = POINT_HEADERS.iter().find_map(|h| {
        // An uncompressed point begins with 04 as an octet string does; its length tells which of the two it is.
        point.strip_prefix(h).filter(|rest| rest.len() == usize::from(h[1]))
    });
    stripped.unwrap_or(point).to_vec()
}
