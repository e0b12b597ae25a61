//! The order of a signature is proved by types: nothing of the spine can be made up, copied or skipped.

use tally_signer::claims::Certified;
use tally_signer::hsm_sign::{Completed, HsmPermit};
use tally_signer::release::{Released, Unreleased};
use tally_signer::sign_session::SignSession;
use tally_signer::wrap::{Job, Underway, WrapDone, WrapPermit};

#[test]
fn the_spine_cannot_be_entered_from_the_side() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}

/// `probe` is ambiguous, and so does not compile, for a type that has the trait.
trait Probe<Case> {
    fn probe() {}
}
struct CanClone;
struct CanSerialize;
impl<T> Probe<()> for T {}
impl<T: Clone> Probe<CanClone> for T {}
impl<T: serde::Serialize> Probe<CanSerialize> for T {}

const _: fn() = || {
    <Certified as Probe<_>>::probe();
    <Unreleased as Probe<_>>::probe();
    <Released as Probe<_>>::probe();
    <HsmPermit as Probe<_>>::probe();
    <Completed as Probe<_>>::probe();
    <SignSession as Probe<_>>::probe();
    <WrapPermit as Probe<_>>::probe();
    <Job as Probe<_>>::probe();
    <Underway as Probe<_>>::probe();
    <WrapDone as Probe<_>>::probe();
};
