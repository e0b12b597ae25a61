use tally_domain::vote::HomeTask;
use tally_signer::claims::{Cleared, HomeWork};

fn forge(task: HomeTask) -> Cleared {
    Cleared { task }
}

fn uncharged(task: HomeTask) -> HomeWork {
    HomeWork { task, charges: Vec::new(), lines: Vec::new(), approvals: Vec::new() }
}

fn main() {}
