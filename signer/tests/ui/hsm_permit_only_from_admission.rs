use tally_signer::claims::HomeWork;
use tally_signer::hsm_sign::{HsmPermit, HsmSigning, HsmSubject};

fn forge(subject: HsmSubject, work: HomeWork) -> HsmPermit {
    HsmPermit { subject, work }
}

fn without_leave(subject: HsmSubject) -> HsmSigning {
    HsmSigning { subject, rule: String::new() }
}

fn main() {}
