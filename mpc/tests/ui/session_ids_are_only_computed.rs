fn main() {
    let _ = tally_mpc::SessionId(tally_domain::Digest([0; 32]));
}
