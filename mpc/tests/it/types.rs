use serde::Serialize;
use tally_mpc::{KeyShare, KeygenOutput, Outgoing, Presignature};
use zeroize::ZeroizeOnDrop;

#[test]
fn s_3_1_one_time_and_secret_types_lack_the_dangerous_traits() {
    fn zeroed<T: ZeroizeOnDrop>() {}
    zeroed::<Presignature>();
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}

/// `probe` is ambiguous, and so does not compile, for a type that has one of the traits.
trait Probe<Case> {
    fn probe() {}
}
struct CanClone;
struct CanSerialize;
struct CanCompare;
impl<T> Probe<()> for T {}
impl<T: Clone> Probe<CanClone> for T {}
impl<T: Serialize> Probe<CanSerialize> for T {}
impl<T: PartialEq> Probe<CanCompare> for T {}

const _: fn() = || {
    <KeyShare as Probe<_>>::probe();
    <KeygenOutput as Probe<_>>::probe();
    <Presignature as Probe<_>>::probe();
    <Outgoing as Probe<_>>::probe();
};
