fn show(pan: tally_tokenization::Pan) -> String {
    format!("{pan:?}")
}

fn main() {}
