use tally_signer::release::Unreleased;

fn read(unreleased: &Unreleased) -> &[u8] {
    &unreleased.partial
}

fn skip(unreleased: Unreleased) -> Vec<u8> {
    unreleased.persisted().partial
}

fn main() {}
