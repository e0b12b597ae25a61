use tally_mpc::{KeyShare, Presignature};
use tally_signer::admit::Subject;
use tally_signer::claims::Certified;
use tally_signer::release::compute;

fn twice(certified: Certified, nonces: [Presignature; 2], share: &KeyShare, subject: &Subject) {
    for nonce in nonces {
        let _ = compute(certified, nonce, share, subject);
    }
}

fn main() {}
