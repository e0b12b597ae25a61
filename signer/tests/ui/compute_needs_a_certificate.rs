use tally_mpc::{KeyShare, Presignature};
use tally_signer::admit::{Permit, Subject};
use tally_signer::release::compute;

fn without(permit: Permit, presignature: Presignature, share: &KeyShare, subject: &Subject) {
    let _ = compute(permit, presignature, share, subject);
}

fn main() {}
