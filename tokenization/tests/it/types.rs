//! A card number cannot be shown, copied, compared or serialised: programs that try do not compile.

use tally_tokenization::guard::Guard;
use tally_tokenization::life::Active;
use tally_tokenization::pan::{Pan, Shown};

#[test]
fn a_card_number_has_no_trait_that_leaks_it_and_tokens_of_checks_cannot_be_made_up() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}

/// `probe` is ambiguous, and so does not compile, for a type that has the trait.
trait Probe<Case> {
    fn probe() {}
}
struct CanClone;
struct CanDebug;
struct CanDisplay;
struct CanSerialize;
struct CanCompare;
struct CanHash;
impl<T> Probe<()> for T {}
impl<T: Clone> Probe<CanClone> for T {}
impl<T: std::fmt::Debug> Probe<CanDebug> for T {}
impl<T: std::fmt::Display> Probe<CanDisplay> for T {}
impl<T: serde::Serialize> Probe<CanSerialize> for T {}
impl<T: PartialEq> Probe<CanCompare> for T {}
impl<T: std::hash::Hash> Probe<CanHash> for T {}

const _: fn() = || {
    <Pan as Probe<_>>::probe();
    <Shown as Probe<_>>::probe();
    <Guard as Probe<_>>::probe();
};

trait ProbeClone<Case> {
    fn probe_clone() {}
}
impl<T> ProbeClone<()> for T {}
impl<T: Clone> ProbeClone<CanClone> for T {}

const _: fn() = || <Active as ProbeClone<_>>::probe_clone();
