fn copy(presignature: &tally_mpc::Presignature) -> tally_mpc::Presignature {
    presignature.clone()
}

fn main() {}
