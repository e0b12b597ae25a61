fn forge() -> tally_tokenization::keys::Retirable {
    tally_tokenization::keys::Retirable(())
}

fn main() {}
