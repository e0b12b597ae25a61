//! The suite on Kryoptic.
#![allow(missing_docs, reason = "tests")]

tally_softhsm_tests::suite!(tally_softhsm_tests::Kryoptic);
