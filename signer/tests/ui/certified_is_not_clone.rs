fn twice(certified: tally_signer::claims::Certified) -> [tally_signer::claims::Certified; 2] {
    [certified.clone(), certified]
}

fn main() {}
