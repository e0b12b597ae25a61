//! Keys that wrap other keys, and the keys that they wrap.

use super::{Desk, Try};
use crate::config::{Role, configuration};
use crate::fault::{Class, Fault};
use crate::keys::Key;
use crate::seal;
use std::sync::OnceLock;
use tally_domain::SecretBytes;
use tally_domain::ports::hsm::{DataKey, HsmError, KekId, KekMade, KeyCheckValue, Seal};

impl Desk {
    /// Makes a KEK. `transfer` is kept from try to try: what the first one made is what a later one finds.
    pub fn make_kek(&self, id: KekId, attempt: Try, transfer: &OnceLock<Vec<u8>>) -> Result<KekMade, Fault> {
        let key = Key::Kek(id);
        seal::must_have_check_values(self)?;
        match self.role() {
            Role::Only => self.make(key, attempt)?,
            Role::Primary => self.make_to_be_shared(key, transfer)?,
            Role::Standby => return Err(configuration("a standby token makes no KEKs".into()).into()),
        }
        Ok(KekMade { check_value: seal::check_value(self, key)?, transfer: transfer.get().cloned() })
    }

    /// Makes a key of one that is born to be wrapped and lives for a moment, in the session.
    pub(super) fn make_to_be_shared(&self, key: Key, transfer: &OnceLock<Vec<u8>>) -> Result<(), Fault> {
        {
            let _changing = self.changing()?;
            match (self.find(key)?, transfer.get()) {
                (Some(_), Some(_)) => {}
                (Some(_), None) => return Err(HsmError::KeyExists { what: key.name() }.into()),
                (None, kept) => {
                    self.must_be_ours(key)?;
                    let fresh = if kept.is_none() { self.wrapped_born()? } else { Vec::new() };
                    let blob = transfer.get_or_init(|| fresh);
                    self.in_time()?;
                    self.unwrap_own(key, blob).map_err(|fault| match fault.class {
                        // Nobody else has had the blob in hand.
                        Class::Input => Fault::broken("C_WrapKey", "a key that does not unwrap"),
                        _ => fault,
                    })?;
                }
            }
        }
        self.prove(key)
    }

    /// Takes over a KEK that the primary made, if it is not there already.
    pub fn take_kek(&self, id: KekId, transfer: &[u8]) -> Result<KeyCheckValue, Fault> {
        seal::must_have_check_values(self)?;
        self.take(Key::Kek(id), transfer)?;
        seal::check_value(self, Key::Kek(id))
    }

    /// Takes over a key that the primary made, if it is not there already.
    pub(super) fn take(&self, key: Key, transfer: &[u8]) -> Result<(), Fault> {
        if self.role() != Role::Standby {
            let what = "no key can be given to this token: it is not the standby of a node with two".into();
            return Err(configuration(what).into());
        }
        {
            let _changing = self.changing()?;
            if self.find(key)?.is_none() {
                self.must_be_ours(key)?;
                self.in_time()?;
                self.unwrap_taken(key, transfer)?;
            }
        }
        self.prove(key)
    }

    fn unwrap_taken(&self, key: Key, transfer: &[u8]) -> Result<(), Fault> {
        match self.unwrap_own(key, transfer) {
            Err(fault) if fault.class == Class::Doubt => {}
            outcome => return outcome,
        }
        // Bad data, or a bad token: another key tells which. Bad data is bad again afterwards (S-4.2).
        self.must_transfer()?;
        self.unwrap_own(key, transfer).map_err(|fault| match fault.class {
            Class::Doubt => HsmError::Integrity.into(),
            _ => fault,
        })
    }

    /// Draws a data key in the token and wraps it.
    pub fn make_data_key(&self, bytes: usize, under: &Seal) -> Result<DataKey, Fault> {
        let mut drawn = vec![0; bytes];
        let outcome = {
            let _using = self.using()?;
            self.session()?.generate_random_slice(&mut drawn)
        };
        let plaintext = SecretBytes::new(drawn);
        outcome?;
        Ok(DataKey { sealed: self.wrap(under, &plaintext)?, plaintext })
    }

    /// Encrypts under a KEK.
    pub fn wrap(&self, under: &Seal, plaintext: &SecretBytes) -> Result<Vec<u8>, Fault> {
        seal::seal(self, Key::Kek(under.kek), &under.aad, plaintext.expose())
    }

    /// Decrypts what [`Desk::wrap`] gave.
    pub fn unwrap(&self, under: &Seal, sealed: &[u8]) -> Result<SecretBytes, Fault> {
        seal::open(self, Key::Kek(under.kek), &under.aad, sealed)
    }
}
