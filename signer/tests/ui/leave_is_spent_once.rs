use tally_signer::claims::{Cleared, HomeWork};

fn twice(leave: Cleared, work: &HomeWork) {
    let first = leave.spend(work);
    let second = leave.spend(work);
    drop((first, second));
}

fn main() {}
