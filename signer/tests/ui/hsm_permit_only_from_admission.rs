use tally_domain::Digest;
use tally_signer::hsm_sign::{HsmPermit, HsmSubject};

fn forge(subject: HsmSubject) -> HsmPermit {
    HsmPermit { subject, rule: String::new(), approvals: Vec::new(), bundle: Digest([0; 32]) }
}

fn main() {}
