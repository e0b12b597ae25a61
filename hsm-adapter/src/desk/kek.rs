//! Keys that wrap other keys, and the keys that they wrap.

use super::{Desk, Try};
use crate::fault::Fault;
use crate::keys::Key;
use crate::seal;
use tally_domain::SecretBytes;
use tally_domain::ports::hsm::{DataKey, KekId, KekMade, Seal};

impl Desk {
    /// Makes a KEK.
    pub fn make_kek(&self, id: KekId, attempt: Try) -> Result<KekMade, Fault> {
        let key = Key::Kek(id);
        self.make(key, attempt)?;
        Ok(KekMade { check_value: seal::check_value(self, key)?, transfer: None })
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
