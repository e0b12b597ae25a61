//! One suite for `tally-hsm-adapter`, run against each kind of PKCS#11 module ([`Kind`]):
//! - what the adapter does while all is well, and what it refuses: [`conformance`], [`resident`], [`keks`], [`vaults`], [`pair`],
//!   [`pair_vaults`];
//! - what the module itself computes and enforces: [`vectors`], [`mod@wycheproof`], [`attributes`];
//! - what happens when a call fails, hangs, loses its reply or lies: [`matrix`], [`signing_faults`], [`pair_faults`];
//! - when the token goes away, is re-initialised or gets another PIN: [`outages`], [`others`];
//! - with two makes of modules in one process: [`both`].
//!
//! Another module is another [`Kind`] and a file in `tests/` that says `tally_softhsm_tests::suite!(TheKind);`.
//!
//! Does: run every test in a process of its own, because a module's configuration, login and memory are a process's.
//! Does not: touch any token but those that it makes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests fail loudly"
)]
#![allow(missing_docs, reason = "a test's name says what it shows")]

pub mod attributes;
pub mod both;
pub mod conformance;
pub mod faults;
pub mod keks;
pub mod kind;
pub mod matrix;
pub mod others;
pub mod outages;
pub mod pair;
pub mod pair_faults;
pub mod pair_vaults;
pub mod process;
pub mod resident;
pub mod signing_faults;
pub mod vaults;
pub mod vectors;
pub mod wycheproof;

pub use kind::{Kind, Kryoptic, SoftHsm};

/// Every test of the suite, for one kind of module. To be used once in a file of `tests/`, outside any module.
#[macro_export]
macro_rules! suite {
    ($kind:ty) => {
        $crate::suite!($kind, conformance:
            s_4_1_what_is_sealed_opens_again
            s_4_2_what_was_changed_or_belongs_elsewhere_is_integrity_and_the_token_stays_in_use
            sealing_keys_are_made_once_and_destroyed_for_good
            the_identity_is_made_once_and_its_signatures_verify
            the_token_is_as_its_profile_says
            s_4_4_keys_have_one_use_and_never_leave_the_token
            s_4_4_a_key_that_is_not_as_we_make_them_is_refused
            s_4_5_a_wrong_pin_is_tried_once
            a_lost_login_is_renewed_without_anybody_noticing
            of_two_tokens_with_one_label_the_serial_decides
            what_is_no_module_is_named
            s_4_5_a_module_that_writes_the_pin_down_is_refused_in_production
            a_deadline_too_short_for_the_token_is_said_to_have_passed
            sixteen_threads_seal_and_open_while_keys_come_and_go
            keys_outlive_a_shutdown
        );
        $crate::suite!($kind, resident:
            every_scheme_signs_and_other_libraries_verify
            a_creation_that_is_tried_again_finds_its_own_key_and_no_other
            what_the_token_does_not_offer_is_said_to_be_so
            what_the_token_does_not_have_is_not_found
            s_4_4_signing_keys_have_one_use_and_never_leave_the_token
            s_4_4_a_signing_key_that_is_not_as_we_make_them_is_refused
        );
        $crate::suite!($kind, keks:
            what_a_kek_wraps_it_unwraps_and_another_rewraps
            data_keys_are_drawn_in_the_token_and_come_sealed
            s_4_2_a_changed_blob_is_integrity_and_the_token_stays_in_use
            a_kek_that_is_not_there_is_not_found_and_one_that_is_destroyed_is_gone
            keks_and_sealing_keys_are_told_apart
            s_4_3_no_two_blobs_have_one_iv_whoever_sealed_them_and_however_often_the_adapter_starts
            s_4_4_a_kek_encrypts_and_decrypts_and_never_leaves_the_token
        );
        $crate::suite!($kind, vaults:
            fingerprints_tell_inputs_and_keys_apart_and_nothing_else
            rows_open_under_their_own_key_and_place_only
            what_is_destroyed_or_forgotten_is_in_no_session
            s_4_4_keys_of_token_domains_have_one_use_and_never_leave_the_token
        );
        $crate::suite!($kind, vectors: gcm_of_the_token_gives_the_vectors_of_its_authors);
        $crate::suite!($kind, wycheproof:
            gcm_gives_wycheproofs_verdicts
            aes_kw_gives_wycheproofs_verdicts
            hmac_gives_wycheproofs_verdicts
            cmac_gives_wycheproofs_verdicts
            ecdsa_p256_gives_wycheproofs_verdicts
            ecdsa_secp256k1_gives_wycheproofs_verdicts
            ed25519_gives_wycheproofs_verdicts
            rsa_pss_gives_wycheproofs_verdicts
        );
        $crate::suite!($kind, outages:
            a_call_that_hangs_gives_its_caller_back_and_others_are_served
            when_all_workers_hang_the_answer_is_down_at_once
            the_breaker_keeps_callers_from_a_broken_token_and_lets_them_back
            s_4_5_a_pin_that_is_refused_later_is_tried_once
            s_4_5_a_pin_changed_elsewhere_does_not_disturb_a_login_and_refuses_the_next
            s_4_6_a_token_that_was_away_is_found_again
            a_token_that_was_re_initialised_is_not_ours
            connecting_fails_with_a_reason_and_works_afterwards
        );
        $crate::suite!($kind, attributes:
            s_4_4_what_protects_a_key_is_never_taken_back
            s_4_4_the_value_of_a_key_is_given_to_nobody
            s_4_4_a_key_does_what_its_usage_says_and_nothing_else
            s_4_4_a_key_is_used_by_the_mechanisms_it_allows_only
            what_was_changed_does_not_unwrap_nor_does_nothing_at_all
        );
        $crate::suite!($kind, others:
            keys_that_another_process_deleted_are_not_found_and_the_token_stays_in_use
            an_identity_that_another_process_deleted_is_another_token
            s_4_5_a_pin_that_others_have_locked_does_not_disturb_a_login_and_is_tried_once
            s_4_5_a_pin_changed_elsewhere_is_tried_once_when_the_login_is_lost
            a_forked_child_is_refused_and_does_not_disturb_its_parent
        );
        $crate::suite!($kind, pair:
            a_kek_of_the_primary_is_given_to_the_standby_and_both_open_what_either_sealed
            s_4_4_what_two_tokens_share_never_leaves_them
            a_check_value_is_the_one_that_its_definition_gives
            s_4_2_a_changed_transfer_is_integrity_and_the_token_stays_in_use
            tokens_that_are_no_pair_are_refused_with_a_reason
            a_node_starts_without_its_standby_and_says_so
            a_primary_that_breaks_under_load_loses_no_call_that_had_not_started
            creation_and_signing_never_fail_over
            a_kek_is_destroyed_on_both_tokens_or_not_destroyed
        );
        $crate::suite!($kind, pair_vaults:
            keys_of_token_domains_are_on_both_tokens_and_either_does_the_work
            s_4_4_keys_of_token_domains_that_two_tokens_share_never_leave_them
            a_changed_key_of_a_domain_is_not_taken_and_one_is_destroyed_on_both_tokens_or_not_at_all
        );
        $crate::suite!($kind, pair_faults:
            every_fault_of_a_transfer_has_a_typed_answer_and_an_end
            pairing_that_is_disturbed_can_be_done_again
        );
        $crate::suite!($kind, matrix: every_fault_of_every_call_has_a_typed_answer_and_an_end);
        $crate::suite!($kind, signing_faults: every_fault_of_making_and_using_a_signing_key_has_a_typed_answer_and_an_end);
    };
    ($kind:ty, $module:ident: $($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                $crate::process::alone::<$kind>(stringify!($name), $crate::$module::$name::<$kind>);
            }
        )*
    };
}
