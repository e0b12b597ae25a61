//! SoftHSM and Kryoptic in one process.
#![allow(missing_docs, reason = "tests")]

use tally_softhsm_tests::{Kryoptic, SoftHsm, both, process};

#[test]
fn what_one_module_seals_and_wraps_the_other_opens() {
    process::alone::<SoftHsm>(
        "what_one_module_seals_and_wraps_the_other_opens",
        both::what_one_module_seals_and_wraps_the_other_opens::<SoftHsm, Kryoptic>,
    );
}

#[test]
fn both_serve_one_process_and_one_goes_without_the_other() {
    process::alone::<SoftHsm>(
        "both_serve_one_process_and_one_goes_without_the_other",
        both::both_serve_one_process_and_one_goes_without_the_other::<SoftHsm, Kryoptic>,
    );
}

#[test]
fn kryoptic_stands_by_for_softhsm() {
    process::alone::<SoftHsm>(
        "kryoptic_stands_by_for_softhsm",
        both::a_standby_of_another_make_opens_what_the_primary_wrapped::<SoftHsm, Kryoptic>,
    );
}

#[test]
fn softhsm_stands_by_for_kryoptic() {
    process::alone::<Kryoptic>(
        "softhsm_stands_by_for_kryoptic",
        both::a_standby_of_another_make_opens_what_the_primary_wrapped::<Kryoptic, SoftHsm>,
    );
}
