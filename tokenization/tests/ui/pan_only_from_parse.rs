fn forge(other: tally_tokenization::Pan) -> tally_tokenization::Pan {
    tally_tokenization::Pan { ..other }
}

fn main() {}
