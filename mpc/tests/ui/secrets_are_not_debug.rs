fn debug<T: std::fmt::Debug>() {}

fn main() {
    debug::<tally_mpc::KeyShare>();
    debug::<tally_mpc::Presignature>();
    debug::<tally_mpc::Outgoing>();
}
