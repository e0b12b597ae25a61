//! Between `frost-ed25519` and us: identifiers, randomness, and what its errors mean.

use crate::fault::{Cheat, Disagreement, Fault};
use frost_ed25519::{Error, Identifier};
use rand_core::CryptoRng;
use tally_domain::PartyIndex;

/// Our index as the library's: the x-coordinate of the share.
pub(crate) fn identifier(party: PartyIndex) -> Result<Identifier, Fault> {
    Identifier::try_from(u16::from(party.get())).map_err(|_| Fault::Bug { what: "party index zero" })
}

/// Whose fault an error is. A culprit is named only by checks that nobody fails by accident.
pub(crate) fn fault(error: &Error, round: u8, otherwise: Disagreement) -> Fault {
    let what = match error {
        Error::InvalidProofOfKnowledge { .. } => Cheat::Proof,
        Error::InvalidSecretShare { .. } => Cheat::SecretShare,
        Error::InvalidSignatureShare { .. } => Cheat::Partial,
        _ => return Fault::Mismatch { round, what: otherwise },
    };
    let named = error.culprits();
    let is_named = |p: &PartyIndex| identifier(*p).is_ok_and(|id| named.contains(&id));
    let culprit = (1..=PartyIndex::MAX).filter_map(|i| PartyIndex::new(i).ok()).find(is_named);
    match culprit {
        Some(culprit) => Fault::Malicious { culprit, round, what },
        None => Fault::Mismatch { round, what: otherwise },
    }
}

/// The caller's generator in the shape of the older `rand_core` that the library speaks.
pub(crate) struct OldRng<'a, R: ?Sized>(pub(crate) &'a mut R);

impl<R: CryptoRng + ?Sized> rand_core_06::RngCore for OldRng<'_, R> {
    fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core_06::Error> {
        self.0.fill_bytes(bytes);
        Ok(())
    }
}

impl<R: CryptoRng + ?Sized> rand_core_06::CryptoRng for OldRng<'_, R> {}
