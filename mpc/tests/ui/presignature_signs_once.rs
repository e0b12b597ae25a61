use tally_domain::Digest;
use tally_mpc::{KeyShare, Presignature, SignInput, partial};

fn twice(presignature: Presignature, share: &KeyShare, chain_code: &Digest, one: &SignInput, two: &SignInput) {
    let _ = partial(presignature, share, chain_code, one);
    let _ = partial(presignature, share, chain_code, two);
}

fn main() {}
