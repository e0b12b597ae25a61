fn same(a: tally_tokenization::Pan, b: tally_tokenization::Pan) -> bool {
    a == b
}

fn main() {}
