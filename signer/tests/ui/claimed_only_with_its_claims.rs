use tally_signer::admit::Permit;
use tally_signer::claims::Claimed;

fn forge(permit: Permit) -> Claimed {
    Claimed { permit, claims: None }
}

fn main() {}
