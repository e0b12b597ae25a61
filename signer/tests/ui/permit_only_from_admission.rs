use tally_domain::Digest;
use tally_signer::admit::{Permit, Subject};

fn forge(subject: Subject) -> Permit {
    Permit { subject, rule: String::new(), approvals: Vec::new(), bundle: Digest([0; 32]), charges: Vec::new() }
}

fn main() {}
