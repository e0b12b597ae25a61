use tally_domain::vote::{Certificate, VoteBody};

fn forge(body: VoteBody, certificate: Certificate) -> tally_signer::claim::Certified {
    tally_signer::claim::Certified { body, certificate }
}

fn main() {}
