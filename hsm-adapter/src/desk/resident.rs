//! Keys that sign for clients: made once, and used.

use super::{Desk, Try};
use crate::fault::Fault;
use crate::keys::Key;
use crate::resident;
use tally_domain::ports::hsm::{HsmError, ObjectId};
use tally_domain::{Digest, HsmScheme, PublicKey, spki};

/// Signed with a new key to learn whether its halves fit. No client's message begins like this.
const PROBE: &[u8] = b"tally/v1/signing-probe";

impl Desk {
    /// Makes a key, or finds the one that an earlier try has made; gives its public half after the private half has signed
    /// for it.
    pub fn ensure_signing(&self, id: ObjectId, scheme: HsmScheme) -> Result<PublicKey, Fault> {
        if self.office.capabilities.get().is_some_and(|c| !c.probed.schemes.has(scheme)) {
            return Err(HsmError::NotOffered { what: format!("{scheme} keys") }.into());
        }
        self.make(Key::Signing(id, scheme), Try::Again)?;
        let public = {
            let _changing = self.changing()?;
            resident::public_half(self.session()?, id, scheme)?
        };
        let probe = match scheme {
            HsmScheme::Ed25519 => PROBE.to_vec(),
            HsmScheme::EcdsaP256 | HsmScheme::EcdsaSecp256k1 | HsmScheme::Rsa3072 => Digest::of(PROBE).0.to_vec(),
        };
        let signature = self.sign_with(id, scheme, &probe)?;
        public.verify(&probe, &signature).map(|()| public).map_err(|_| wrong())
    }

    /// Signs. ECDSA comes from the token with either of two s; the lower one leaves.
    pub fn sign_with(&self, id: ObjectId, scheme: HsmScheme, to_sign: &[u8]) -> Result<Vec<u8>, Fault> {
        let signature = self
            .with_key(Key::Signing(id, scheme), |session, handle| resident::sign(session, handle, scheme, to_sign))?;
        match scheme {
            HsmScheme::EcdsaP256 | HsmScheme::EcdsaSecp256k1 => spki::low_s(scheme, &signature).map_err(|_| wrong()),
            HsmScheme::Ed25519 | HsmScheme::Rsa3072 => Ok(signature),
        }
    }
}

fn wrong() -> Fault {
    Fault::broken("C_Sign", "a signature that does not verify")
}
