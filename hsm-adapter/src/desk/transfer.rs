//! The transfer key, which the two tokens of a node share, and what travels under it. No key passes through this process in
//! the clear: each is born in a token, and leaves it wrapped (AES-KW, RFC 3394).

use super::Desk;
use crate::config::{Role, configuration};
use crate::fault::{Class, Fault};
use crate::iv::IV_BYTES;
use crate::keys::{Key, SECRET_KEY_BYTES, keep};
use crate::profile::UnwrapValueLen;
use crate::seal;
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use tally_domain::ports::hsm::HsmError;

/// A 256-bit key under AES-KW.
const WRAPPED_BYTES: usize = 40;

/// Strength of AES-128 (NIST SP 800-57), for a key that lives for seconds; no token is known that refuses it.
const RSA_BITS: u64 = 3072;

/// 65537.
const RSA_EXPONENT: [u8; 3] = [1, 0, 1];

/// Sealed to show that two tokens hold one transfer key. Not secret.
const PROOF: &[u8] = b"tally/v1/transfer-proof";

/// An RSA key of this session that the transfer key travels under, once.
pub struct Transport {
    private: ObjectHandle,
    /// The public half.
    pub modulus: Vec<u8>,
}

/// A key under the transfer key, and what that key sealed.
pub struct Proof {
    /// The key.
    pub wrapped: Vec<u8>,
    /// The IV.
    pub iv: [u8; IV_BYTES],
    /// What the key sealed.
    pub sealed: Vec<u8>,
}

impl Desk {
    /// Refuses one of two tokens that does not have the transfer key. Called under the hold for changing objects.
    pub fn must_be_paired(&self) -> Result<(), Fault> {
        if self.role() == Role::Only || self.find(Key::Transfer)?.is_some() {
            return Ok(());
        }
        let label = &self.token().label;
        Err(configuration(format!(
            "the token `{label}` has no transfer key: pair the node's two tokens first, with `tallyd --init`"
        ))
        .into())
    }

    /// Whether the token has the transfer key.
    pub fn is_paired(&self) -> Result<bool, Fault> {
        let _changing = self.changing()?;
        Ok(self.find(Key::Transfer)?.is_some())
    }

    /// A pair of RSA keys that ends with this session.
    pub fn transport(&self) -> Result<Transport, Fault> {
        let _changing = self.changing()?;
        let session = self.session()?;
        let public = [
            Attribute::Token(false),
            Attribute::Wrap(true),
            Attribute::Encrypt(false),
            Attribute::Verify(false),
            Attribute::ModulusBits(RSA_BITS.into()),
            Attribute::PublicExponent(RSA_EXPONENT.to_vec()),
        ];
        let private = [
            Attribute::Token(false),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Unwrap(true),
            Attribute::Decrypt(false),
            Attribute::Sign(false),
            Attribute::AllowedMechanisms(vec![MechanismType::RSA_PKCS_OAEP]),
        ];
        let (public, private) = session.generate_key_pair(&Mechanism::RsaPkcsKeyPairGen, &public, &private)?;
        let told = session.get_attributes(public, &[AttributeType::Modulus])?;
        session.destroy_object(public)?;
        match told.as_slice() {
            [Attribute::Modulus(modulus)] => Ok(Transport { private, modulus: modulus.clone() }),
            _ => Err(Fault::broken("C_GetAttributeValue", "an RSA key without a modulus")),
        }
    }

    /// Makes the transfer key and wraps it once for each RSA key; itself it is gone then.
    pub fn born_transfer_key(&self, moduli: [&[u8]; 2]) -> Result<[Vec<u8>; 2], Fault> {
        let _changing = self.changing()?;
        let born = self.born_to_be_wrapped(&[Attribute::Encrypt(false)])?;
        let [one, other] = moduli.map(|modulus| self.wrapped_for(modulus, born));
        self.session()?.destroy_object(born)?;
        Ok([one?, other?])
    }

    /// Keeps the transfer key that was wrapped for `transport`.
    pub fn take_transfer_key(&self, transport: &Transport, wrapped: &[u8]) -> Result<(), Fault> {
        let _changing = self.changing()?;
        // An earlier try may have lost its reply only.
        if self.find(Key::Transfer)?.is_none() {
            let unwrapped =
                self.unwrap_as(Key::Transfer, &Mechanism::RsaPkcsOaep(oaep()), transport.private, wrapped)?;
            keep(self.session()?, Key::Transfer, unwrapped, self.role())?;
        }
        Ok(self.session()?.destroy_object(transport.private)?)
    }

    /// What only a token with the same transfer key can open. The transfer key itself only wraps.
    pub fn transfer_proof(&self) -> Result<Proof, Fault> {
        let _changing = self.changing()?;
        let (session, key) = (self.session()?, self.born_to_be_wrapped(&[Attribute::Encrypt(true)])?);
        let mut iv = [0; IV_BYTES];
        let sealed = seal::encrypt(session, key, &mut iv, PROOF, PROOF);
        let wrapped = self.wrapped_under_transfer(key);
        session.destroy_object(key)?;
        Ok(Proof { wrapped: wrapped?, iv, sealed: sealed? })
    }

    /// Refuses a token that does not open what another one proves itself with.
    pub fn must_open(&self, proof: &Proof) -> Result<(), Fault> {
        let _changing = self.changing()?;
        let opened = self.unwrapped_in_session(&proof.wrapped).and_then(|key| {
            let opened = seal::decrypt(self.session()?, key, proof.iv, PROOF, &proof.sealed);
            self.session()?.destroy_object(key)?;
            opened
        });
        match opened {
            Ok(opened) if opened.expose() == PROOF => Ok(()),
            Err(fault) if !matches!(fault.class, Class::Input | Class::Doubt) => Err(fault),
            Ok(_) | Err(_) => {
                let what = "the node's two tokens do not have the same transfer key: they are not a pair";
                Err(configuration(what.into()).into())
            }
        }
    }

    /// Fails if the transfer key does not wrap and unwrap here and now.
    pub fn must_transfer(&self) -> Result<(), Fault> {
        let key = self.born_to_be_wrapped(&[Attribute::Encrypt(false)])?;
        let wrapped = self.wrapped_under_transfer(key);
        self.session()?.destroy_object(key)?;
        let back = self.unwrapped_in_session(&wrapped?)?;
        Ok(self.session()?.destroy_object(back)?)
    }

    /// A new key under the transfer key; itself it is gone then.
    pub fn wrapped_born(&self) -> Result<Vec<u8>, Fault> {
        let born = self.born_to_be_wrapped(&[Attribute::Encrypt(false)])?;
        let wrapped = self.wrapped_under_transfer(born);
        self.session()?.destroy_object(born)?;
        wrapped
    }

    /// Makes a wrapped key this token's own, for good.
    pub fn unwrap_own(&self, key: Key, wrapped: &[u8]) -> Result<(), Fault> {
        if wrapped.len() != WRAPPED_BYTES {
            return Err(HsmError::Integrity.into());
        }
        let unwrapped = self.unwrap_as(key, &Mechanism::AesKeyWrap, self.transfer_key()?, wrapped);
        match unwrapped {
            Ok(unwrapped) => keep(self.session()?, key, unwrapped, self.role()),
            // Only the reply may have been lost.
            Err(fault) => match self.find(key) {
                Ok(Some(_)) => Ok(()),
                Ok(None) | Err(_) => Err(fault),
            },
        }
    }

    fn transfer_key(&self) -> Result<ObjectHandle, Fault> {
        self.find(Key::Transfer)?.ok_or_else(|| self.absent(Key::Transfer))
    }

    /// A key of this session that may be wrapped and has at most one use beside.
    fn born_to_be_wrapped(&self, usage: &[Attribute]) -> Result<ObjectHandle, Fault> {
        let template = [
            Attribute::Token(false),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(true),
            Attribute::Decrypt(false),
            Attribute::Sign(false),
            Attribute::Verify(false),
            Attribute::Wrap(false),
            Attribute::Unwrap(false),
            Attribute::Derive(false),
            Attribute::ValueLen(SECRET_KEY_BYTES.into()),
        ];
        let template: Vec<_> = template.into_iter().chain(usage.iter().cloned()).collect();
        Ok(self.session()?.generate_key(&Mechanism::AesKeyGen, &template)?)
    }

    fn wrapped_under_transfer(&self, key: ObjectHandle) -> Result<Vec<u8>, Fault> {
        let wrapped = self.session()?.wrap_key(&Mechanism::AesKeyWrap, self.transfer_key()?, key)?;
        if wrapped.len() == WRAPPED_BYTES { Ok(wrapped) } else { Err(Fault::broken("C_WrapKey", "another length")) }
    }

    /// Under the RSA key with this public half.
    fn wrapped_for(&self, modulus: &[u8], key: ObjectHandle) -> Result<Vec<u8>, Fault> {
        let session = self.session()?;
        let public = [
            Attribute::Class(ObjectClass::PUBLIC_KEY),
            Attribute::KeyType(KeyType::RSA),
            Attribute::Token(false),
            Attribute::Wrap(true),
            Attribute::Modulus(modulus.to_vec()),
            Attribute::PublicExponent(RSA_EXPONENT.to_vec()),
        ];
        let public = session.create_object(&public)?;
        let wrapped = session.wrap_key(&Mechanism::RsaPkcsOaep(oaep()), public, key);
        session.destroy_object(public)?;
        Ok(wrapped?)
    }

    /// A key of this session that decrypts.
    fn unwrapped_in_session(&self, wrapped: &[u8]) -> Result<ObjectHandle, Fault> {
        let mut template = vec![
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::Token(false),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Decrypt(true),
        ];
        template.extend(self.length());
        Ok(self.session()?.unwrap_key(&Mechanism::AesKeyWrap, self.transfer_key()?, wrapped, &template)?)
    }

    /// Everything the key must be goes into the template: a token's own defaults differ.
    fn unwrap_as(&self, key: Key, by: &Mechanism, with: ObjectHandle, wrapped: &[u8]) -> Result<ObjectHandle, Fault> {
        let template: Vec<_> = self.length().into_iter().chain(key.attributes()).collect();
        Ok(self.session()?.unwrap_key(by, with, wrapped, &template)?)
    }

    fn length(&self) -> Option<Attribute> {
        let how = self.office.capabilities.get().map_or(UnwrapValueLen::Forbidden, |c| c.probed.unwrap_value_len);
        how.attribute(SECRET_KEY_BYTES)
    }
}

/// SHA-1 is all that every token can do here, and here it is not weak: OAEP needs of its hash no resistance to collisions
/// (RFC 8017, appendix B.1).
fn oaep() -> PkcsOaepParams<'static> {
    PkcsOaepParams::new(MechanismType::SHA1, PkcsMgfType::MGF1_SHA1, PkcsOaepSource::empty())
}
