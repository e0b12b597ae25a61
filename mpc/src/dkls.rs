//! Between `dkls23-core` and us: party indices, and what its aborts mean.

use crate::fault::{BadMessage, Cheat, Disagreement, Fault};
use dkls23_core::protocols::{Abort, AbortKind, AbortReason, PartiesMessage, PartyIndex as LibraryIndex};
use tally_domain::PartyIndex;

/// Our index as the library's.
pub(crate) fn index(party: PartyIndex) -> Result<LibraryIndex, Fault> {
    LibraryIndex::new(party.get()).map_err(|_| Fault::Bug { what: "party index zero" })
}

/// Whether the parties named inside a message are those of the channel (S-3.20).
pub(crate) fn check_parties(named: &PartiesMessage, from: PartyIndex, to: PartyIndex) -> Result<(), BadMessage> {
    let as_named = named.sender.as_u8() == from.get() && named.receiver.as_u8() == to.get();
    if as_named { Ok(()) } else { Err(BadMessage::OtherParty) }
}

/// Whose fault an abort is. The library's ban is always ours. What it calls recoverable but names a counterparty for is a
/// proof or opening that came straight from that party, after the session was seen to be the same: S-3.14 says malicious.
pub(crate) fn fault(abort: &Abort, me: PartyIndex, round: u8) -> Fault {
    let blame = |party: LibraryIndex, what| match PartyIndex::new(party.as_u8()) {
        Ok(culprit) if culprit != me => Fault::Malicious { culprit, round, what },
        _ => Fault::Bug { what: "the library blames ourselves" },
    };
    if let AbortKind::BanCounterparty(party) = abort.kind {
        return blame(party, Cheat::Multiplication);
    }
    let mismatch = |what| Fault::Mismatch { round, what };
    match abort.reason {
        AbortReason::ProofVerificationFailed { counterparty } => blame(counterparty, Cheat::Proof),
        AbortReason::MultiplicationVerificationFailed { counterparty, .. } => {
            blame(counterparty, Cheat::Multiplication)
        }
        AbortReason::CommitmentMismatch { counterparty }
        | AbortReason::ZeroShareDecommitFailed { counterparty }
        | AbortReason::ChainCodeCommitmentFailed { party: counterparty }
        | AbortReason::TrivialInstancePoint { counterparty } => blame(counterparty, Cheat::Opening),
        AbortReason::SessionBindingMismatch { .. } => mismatch(Disagreement::Session),
        AbortReason::PolynomialInconsistency | AbortReason::TrivialPublicKey | AbortReason::TrivialKeyShare => {
            mismatch(Disagreement::PublicKey)
        }
        // Lengths, indices, order and our own state were checked before: what is left is a mistake of ours.
        _ => Fault::Bug { what: "an abort of the library that our checks exclude" },
    }
}
