fn twice(certified: tally_signer::claim::Certified) -> [tally_signer::claim::Certified; 2] {
    [certified.clone(), certified]
}

fn main() {}
