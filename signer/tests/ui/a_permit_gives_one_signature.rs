use tally_signer::hsm_sign::HsmPermit;

fn twice(permit: HsmPermit, signature: Vec<u8>) {
    let first = permit.complete(signature.clone());
    let second = permit.complete(signature);
    drop((first, second));
}

fn main() {}
