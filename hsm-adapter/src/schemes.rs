//! Which signing keys a token can make, seen with pairs that live in a session and are destroyed again.

use crate::fault::{Class, Fault};
use crate::resident;
use crate::token::Token;
use cryptoki::mechanism::MechanismType;
use cryptoki::session::Session;
use tally_domain::HsmScheme;

/// What a token makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schemes {
    p256: bool,
    secp256k1: bool,
    rsa: bool,
}

impl Schemes {
    /// Looks.
    pub fn probe(token: &Token, session: &Session) -> Result<Self, Fault> {
        // What a token says of one mechanism may be more than it lets be used (SoftHSM); its list is what it lets.
        let list = token.module.context.get_mechanism_list(token.slot())?;
        let ecdsa = list.contains(&MechanismType::ECDSA);
        let p256 = ecdsa && refused_is_no(resident::try_pair(session, HsmScheme::EcdsaP256))?;
        let secp256k1 = ecdsa
            && match resident::try_pair(session, HsmScheme::EcdsaSecp256k1) {
                // What a token says to a curve that it does not know may be any code (Kryoptic: CKR_GENERAL_ERROR). One that
                // has just made a pair on another curve is not broken.
                Err(fault) if p256 && fault.class == Class::Unknown => false,
                outcome => refused_is_no(outcome)?,
            };
        Ok(Self { p256, secp256k1, rsa: makes_rsa(token, &list)? })
    }

    /// Whether a token makes such a key. It has an Ed25519 key, or it would not have been connected to.
    pub fn has(self, scheme: HsmScheme) -> bool {
        match scheme {
            HsmScheme::EcdsaP256 => self.p256,
            HsmScheme::EcdsaSecp256k1 => self.secp256k1,
            HsmScheme::Ed25519 => true,
            HsmScheme::Rsa3072 => self.rsa,
        }
    }

    /// Their names.
    pub fn names(self) -> Vec<&'static str> {
        use HsmScheme::{EcdsaP256, EcdsaSecp256k1, Ed25519, Rsa3072};
        let all = [EcdsaP256, EcdsaSecp256k1, Ed25519, Rsa3072];
        all.into_iter().filter(|scheme| self.has(*scheme)).map(HsmScheme::as_str).collect()
    }
}

/// By what the token says of its mechanisms: making a pair would take it a second.
fn makes_rsa(token: &Token, list: &[MechanismType]) -> Result<bool, Fault> {
    for mechanism in [MechanismType::RSA_PKCS_KEY_PAIR_GEN, MechanismType::RSA_PKCS_PSS] {
        if !list.contains(&mechanism) {
            return Ok(false);
        }
        let info = token.module.context.get_mechanism_info(token.slot(), mechanism)?;
        if u64::try_from(info.max_key_size()).unwrap_or(0) < resident::RSA_BITS {
            return Ok(false);
        }
    }
    Ok(true)
}

fn refused_is_no(outcome: Result<(), Fault>) -> Result<bool, Fault> {
    match outcome {
        Ok(()) => Ok(true),
        Err(fault) if fault.class == Class::Refused => Ok(false),
        Err(fault) => Err(fault),
    }
}
