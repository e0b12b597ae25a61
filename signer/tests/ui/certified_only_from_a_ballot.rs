use tally_domain::vote::{Certificate, VoteBody};

fn forge(body: VoteBody, certificate: Certificate) -> tally_signer::claims::Certified {
    tally_signer::claims::Certified { body, certificate }
}

fn main() {}
