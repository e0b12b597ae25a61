use tally_signer::claims::Cleared;
use tally_signer::hsm_sign::{HsmPermit, HsmSigning};

fn twice(permit: HsmPermit, leave: Cleared, again: Cleared) {
    let first = permit.start(leave);
    let second = permit.start(again);
    drop((first, second));
}

fn signed_twice(signing: HsmSigning, signature: Vec<u8>) {
    let first = signing.complete(signature.clone());
    let second = signing.complete(signature);
    drop((first, second));
}

fn main() {}
