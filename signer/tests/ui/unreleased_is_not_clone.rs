fn twice(unreleased: tally_signer::release::Unreleased) -> [tally_signer::release::Unreleased; 2] {
    [unreleased.clone(), unreleased]
}

fn main() {}
