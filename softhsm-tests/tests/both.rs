//! SoftHSM and Kryoptic in one process.
#![allow(missing_docs, reason = "tests")]

use tally_softhsm_tests::{Kryoptic, SoftHsm, both, process};

#[test]
fn what_one_module_seals_and_wraps_the_other_opens() {
    process::alone::<SoftHsm>("what_one_module_seals_and_wraps_the_other_opens", |dir| {
        both::what_one_module_seals_and_wraps_the_other_opens::<SoftHsm, Kryoptic>(dir);
    });
}

#[test]
fn both_serve_one_process_and_one_goes_without_the_other() {
    process::alone::<SoftHsm>("both_serve_one_process_and_one_goes_without_the_other", |dir| {
        both::both_serve_one_process_and_one_goes_without_the_other::<SoftHsm, Kryoptic>(dir);
    });
}
