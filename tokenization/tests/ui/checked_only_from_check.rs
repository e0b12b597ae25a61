fn forge(spec: tally_tokenization::DomainSpec) -> tally_tokenization::spec::Checked {
    tally_tokenization::spec::Checked(spec)
}

fn main() {}
