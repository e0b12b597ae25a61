use tally_signer::claims::HomeWork;
use tally_signer::wrap::{Job, ToldByHome, Underway, WrapPermit};

fn forge(work: HomeWork, told: ToldByHome, job: Job, underway: Underway) -> WrapPermit {
    WrapPermit { work, told, job, underway }
}

fn main() {}
