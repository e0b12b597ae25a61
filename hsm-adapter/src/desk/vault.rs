//! Keys of token domains. Data keys of strict domains are unwrapped by each session for itself, as keys that do not leave it,
//! and are kept until all are to be forgotten or the session ends.

use super::{Desk, Try};
use crate::config::{Role, configuration};
use crate::fault::{Class, Fault};
use crate::iv::IV_BYTES;
use crate::keys::{Key, SECRET_KEY_BYTES};
use crate::profile::{GcmIv, UnwrapValueLen};
use crate::seal;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use tally_domain::SecretBytes;
use tally_domain::ports::hsm::{
    HsmError, IndexKeyId, KekId, PlainRow, ROWS_MAX, RowSeal, SealedRow, StrictKey, VaultKey,
};
use tally_domain::token::Fingerprint;

/// What every unwrapped data key is called, so that all of them are found and forgotten, whichever session has them.
const STRICT_LABEL: &str = "tally-strict";

/// Data keys that one session keeps: a network HSM has room for some hundred session objects.
const STRICT_KEYS_MAX: usize = 32;

/// A 256-bit key under AES-KW.
const WRAPPED_BYTES: usize = 40;

/// What is sealed and authenticated to learn whether a key works. Not secret.
const PROBE: &[u8] = b"tally/v1/vault-probe";

/// Data keys that a session has unwrapped, as of the last forgetting.
#[derive(Default)]
pub struct StrictKeys {
    forgotten: u64,
    handles: HashMap<(KekId, Vec<u8>), ObjectHandle>,
}

impl Desk {
    /// Makes a key of a token domain. `transfer` is kept from try to try, as for KEKs.
    pub fn make_vault_key(
        &self,
        key: VaultKey,
        attempt: Try,
        transfer: &OnceLock<Vec<u8>>,
    ) -> Result<Option<Vec<u8>>, Fault> {
        match self.role() {
            Role::Only => self.make(Key::Vault(key), attempt)?,
            Role::Primary => self.make_to_be_shared(Key::Vault(key), transfer)?,
            Role::Standby => return Err(configuration("a standby token makes no keys of domains".into()).into()),
        }
        Ok(transfer.get().cloned())
    }

    /// Takes over a key that the primary made.
    pub fn take_vault_key(&self, key: VaultKey, transfer: &[u8]) -> Result<(), Fault> {
        self.take(Key::Vault(key), transfer)
    }

    /// Destroys a key of a token domain, and of a KEK-W what it has unwrapped.
    pub fn destroy_vault_key(&self, key: VaultKey) -> Result<(), Fault> {
        if matches!(key, VaultKey::Wrapping(_)) {
            self.forget_strict_keys()?;
        }
        self.destroy(Key::Vault(key), Try::Again)
    }

    /// HMACs.
    pub fn fingerprints(&self, key: IndexKeyId, inputs: &[SecretBytes]) -> Result<Vec<Fingerprint>, Fault> {
        must_fit(inputs.len())?;
        self.with_key(Key::Vault(VaultKey::Index(key)), |session, handle| {
            inputs.iter().map(|input| authenticated(session, handle, input.expose())).collect()
        })
    }

    /// A new data key under a KEK-W.
    pub fn make_strict_key(&self, kek: KekId) -> Result<Vec<u8>, Fault> {
        let _changing = self.changing()?;
        let key = self.session()?.generate_key(&Mechanism::AesKeyGen, &passing(true))?;
        self.wrapped_under(kek, key)
    }

    /// A data key under another KEK-W.
    pub fn rewrap_strict_key(&self, key: &StrictKey, to: KekId) -> Result<Vec<u8>, Fault> {
        let _changing = self.changing()?;
        let passing = self.unwrapped(key, &passing(false))?;
        self.wrapped_under(to, passing)
    }

    /// Encrypts each row, and decrypts it again before anything depends on it.
    pub fn seal_rows(&self, key: &StrictKey, rows: &[PlainRow]) -> Result<Vec<RowSeal>, Fault> {
        must_fit(rows.len())?;
        self.with_strict(key, |session, handle| {
            rows.iter().map(|row| self.sealed_row(session, handle, &row.aad, row.plaintext.expose())).collect()
        })
    }

    /// Decrypts each row.
    pub fn open_rows(&self, key: &StrictKey, rows: &[SealedRow]) -> Result<Vec<Option<SecretBytes>>, Fault> {
        must_fit(rows.len())?;
        self.with_strict(key, |session, handle| rows.iter().map(|row| self.opened_row(session, handle, row)).collect())
    }

    /// Destroys every data key that any session has unwrapped.
    pub fn forget_strict_keys(&self) -> Result<(), Fault> {
        let _changing = self.changing()?;
        // Whoever uses keys after this reads it first: handles of before may by then be another key's.
        self.office.forgotten.fetch_add(1, Ordering::SeqCst);
        let session = self.session()?;
        let ours = [Attribute::Class(ObjectClass::SECRET_KEY), Attribute::Token(false), label()];
        for left in session.find_objects(&ours)? {
            session.destroy_object(left)?;
        }
        Ok(())
    }

    /// Tries a new key on the session that it was not made on.
    pub(super) fn prove_vault(&self, session: &Session, key: VaultKey, handle: ObjectHandle) -> Result<(), Fault> {
        match key {
            VaultKey::Index(_) => {
                let (one, again) = (authenticated(session, handle, PROBE)?, authenticated(session, handle, PROBE)?);
                if one == again { Ok(()) } else { Err(Fault::broken("C_Sign", "another HMAC of the same")) }
            }
            VaultKey::Wrapping(_) => self.prove_wrapping(session, handle),
        }
    }

    fn prove_wrapping(&self, session: &Session, handle: ObjectHandle) -> Result<(), Fault> {
        let born = session.generate_key(&Mechanism::AesKeyGen, &passing(true))?;
        let wrapped = session.wrap_key(&Mechanism::AesKeyWrap, handle, born);
        session.destroy_object(born)?;
        let back = session.unwrap_key(&Mechanism::AesKeyWrap, handle, &wrapped?, &self.template(&staying()))?;
        Ok(session.destroy_object(back)?)
    }

    /// Uses a data key, as [`Desk::with_key`] does a key of the token.
    fn with_strict<T>(
        &self,
        key: &StrictKey,
        work: impl Fn(&Session, ObjectHandle) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        {
            let _using = self.using()?;
            if let Some(handle) = self.strict_handle(key) {
                return work(self.session()?, handle);
            }
        }
        {
            let _changing = self.changing()?;
            self.make_room()?;
            let handle = self.unwrapped(key, &staying())?;
            self.strict.borrow_mut().handles.insert((key.kek, key.wrapped.clone()), handle);
        }
        let _using = self.using()?;
        let gone = || Fault::session("C_UnwrapKey", "CKR_OBJECT_HANDLE_INVALID");
        work(self.session()?, self.strict_handle(key).ok_or_else(gone)?)
    }

    /// The handle of a data key that is unwrapped, and was not to be forgotten since. Called under a hold.
    fn strict_handle(&self, key: &StrictKey) -> Option<ObjectHandle> {
        let mut strict = self.strict.borrow_mut();
        let forgotten = self.office.forgotten.load(Ordering::SeqCst);
        if strict.forgotten != forgotten {
            *strict = StrictKeys { forgotten, handles: HashMap::new() };
        }
        strict.handles.get(&(key.kek, key.wrapped.clone())).copied()
    }

    /// Called under the hold for changing objects.
    fn make_room(&self) -> Result<(), Fault> {
        let mut strict = self.strict.borrow_mut();
        if strict.handles.len() >= STRICT_KEYS_MAX {
            for (_, handle) in strict.handles.drain() {
                self.session()?.destroy_object(handle)?;
            }
        }
        Ok(())
    }

    /// A data key of this session. Called under the hold for changing objects.
    fn unwrapped(&self, key: &StrictKey, template: &[Attribute]) -> Result<ObjectHandle, Fault> {
        if key.wrapped.len() != WRAPPED_BYTES {
            return Err(HsmError::Integrity.into());
        }
        let (kek, template) = (self.wrapping_key(key.kek)?, self.template(template));
        let unwrap = || Ok(self.session()?.unwrap_key(&Mechanism::AesKeyWrap, kek, &key.wrapped, &template)?);
        match unwrap() {
            // Bad data, or a bad token: another key tells which. Bad data is bad again afterwards (S-4.2).
            Err(Fault { class: Class::Doubt, .. }) => {
                self.prove_wrapping(self.session()?, kek)?;
                unwrap().map_err(|fault: Fault| match fault.class {
                    Class::Doubt => HsmError::Integrity.into(),
                    _ => fault,
                })
            }
            outcome => outcome,
        }
    }

    /// Wraps a key of this session, which is gone then. Called under the hold for changing objects.
    fn wrapped_under(&self, kek: KekId, key: ObjectHandle) -> Result<Vec<u8>, Fault> {
        let session = self.session()?;
        let kek = self.wrapping_key(kek);
        let wrapped = kek.and_then(|kek| Ok(session.wrap_key(&Mechanism::AesKeyWrap, kek, key)?));
        session.destroy_object(key)?;
        match wrapped? {
            wrapped if wrapped.len() == WRAPPED_BYTES => Ok(wrapped),
            _ => Err(Fault::broken("C_WrapKey", "another length")),
        }
    }

    fn wrapping_key(&self, kek: KekId) -> Result<ObjectHandle, Fault> {
        let key = Key::Vault(VaultKey::Wrapping(kek));
        self.find(key)?.ok_or_else(|| self.absent(key))
    }

    fn template(&self, attributes: &[Attribute]) -> Vec<Attribute> {
        let how = self.office.capabilities.get().map_or(UnwrapValueLen::Forbidden, |c| c.probed.unwrap_value_len);
        let class = [Attribute::Class(ObjectClass::SECRET_KEY), Attribute::KeyType(KeyType::AES)];
        let length = how.attribute(SECRET_KEY_BYTES);
        let rest = attributes.iter().filter(|a| !matches!(a, Attribute::ValueLen(_))).cloned();
        class.into_iter().chain(length).chain(rest).collect()
    }

    fn sealed_row(
        &self,
        session: &Session,
        handle: ObjectHandle,
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<RowSeal, Fault> {
        let mut iv = if self.gcm_iv() == GcmIv::Caller { self.fresh_iv(session)? } else { [0; IV_BYTES] };
        let ciphertext = seal::encrypt(session, handle, &mut iv, aad, plaintext)?;
        match seal::decrypt(session, handle, iv, aad, &ciphertext) {
            Ok(back) if back.expose() == plaintext => Ok(RowSeal { iv, ciphertext }),
            Ok(_) => Err(Fault::broken("C_Encrypt", "another ciphertext than asked for")),
            Err(e) if matches!(e.class, Class::Input | Class::Doubt) => {
                Err(Fault::broken("C_Encrypt", "a ciphertext that does not open"))
            }
            Err(e) => Err(e),
        }
    }

    fn opened_row(
        &self,
        session: &Session,
        handle: ObjectHandle,
        row: &SealedRow,
    ) -> Result<Option<SecretBytes>, Fault> {
        let open = || seal::decrypt(session, handle, row.seal.iv, &row.aad, &row.seal.ciphertext);
        match open() {
            Ok(plaintext) => Ok(Some(plaintext)),
            Err(e) if e.class == Class::Input => Ok(None),
            // As of any blob: whether the key works tells whether the data is bad (S-4.2).
            Err(e) if e.class == Class::Doubt => {
                self.sealed_row(session, handle, PROBE, PROBE)?;
                match open() {
                    Ok(plaintext) => Ok(Some(plaintext)),
                    Err(e) if matches!(e.class, Class::Input | Class::Doubt) => Ok(None),
                    Err(e) => Err(e),
                }
            }
            Err(e) => Err(e),
        }
    }
}

fn authenticated(session: &Session, key: ObjectHandle, input: &[u8]) -> Result<Fingerprint, Fault> {
    let mac = session.sign(&Mechanism::Sha256Hmac, key, input)?;
    let mac = mac.try_into().map_err(|_| Fault::broken("C_Sign", "another length than asked for"))?;
    Ok(Fingerprint(mac))
}

/// A key that is in the session for a moment, on its way under a KEK-W; new, or unwrapped.
fn passing(new: bool) -> Vec<Attribute> {
    let mut template =
        session_key(&[Attribute::Extractable(true), Attribute::Encrypt(false), Attribute::Decrypt(false)]);
    if new {
        template.push(Attribute::ValueLen(SECRET_KEY_BYTES.into()));
    }
    template
}

/// A key that stays in the session, and never leaves it.
fn staying() -> Vec<Attribute> {
    session_key(&[Attribute::Extractable(false), Attribute::Encrypt(true), Attribute::Decrypt(true)])
}

fn session_key(usage: &[Attribute]) -> Vec<Attribute> {
    let common = [
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Sign(false),
        Attribute::Verify(false),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
        Attribute::Derive(false),
        label(),
    ];
    common.into_iter().chain(usage.iter().cloned()).collect()
}

fn label() -> Attribute {
    Attribute::Label(STRICT_LABEL.into())
}

fn must_fit(rows: usize) -> Result<(), Fault> {
    if rows <= ROWS_MAX {
        return Ok(());
    }
    let what = format!("{rows} rows at once are more than the {ROWS_MAX} that a token is given");
    Err(HsmError::Configuration { what }.into())
}
