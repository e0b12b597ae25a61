//! The suite on SoftHSM.
#![allow(missing_docs, reason = "tests")]

tally_softhsm_tests::suite!(tally_softhsm_tests::SoftHsm);
