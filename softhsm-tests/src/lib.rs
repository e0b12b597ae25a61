//! One suite for `tally-hsm-adapter`, run against each kind of PKCS#11 module: what it does while all is well
//! ([`conformance`]), and what it does when a call fails, hangs, loses its reply or lies ([`matrix`]), and when the token goes
//! away, is re-initialised or gets another PIN ([`outages`]).
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

pub mod conformance;
pub mod faults;
pub mod kind;
pub mod matrix;
pub mod outages;
pub mod pair;
pub mod pair_faults;
pub mod process;
pub mod vectors;

pub use kind::{Kind, SoftHsm};

/// Every test of the suite, for one kind of module. To be used once in a file of `tests/`, outside any module.
#[macro_export]
macro_rules! suite {
    ($kind:ty) => {
        $crate::suite!($kind, conformance:
            s_4_1_what_is_sealed_opens_again
            s_4_2_what_was_changed_or_belongs_elsewhere_is_integrity_and_the_token_stays_in_use
            sealing_keys_are_made_once_and_destroyed_for_good
            the_identity_is_made_once_and_its_signatures_verify
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
        $crate::suite!($kind, vectors: gcm_of_the_token_gives_the_vectors_of_its_authors);
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
        $crate::suite!($kind, pair_faults:
            every_fault_of_a_transfer_has_a_typed_answer_and_an_end
            pairing_that_is_disturbed_can_be_done_again
        );
        $crate::suite!($kind, matrix: every_fault_of_every_call_has_a_typed_answer_and_an_end);
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
