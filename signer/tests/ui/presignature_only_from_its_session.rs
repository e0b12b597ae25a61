fn forge(other: tally_mpc::Presignature) -> tally_mpc::Presignature {
    tally_mpc::Presignature { ..other }
}

fn main() {}
