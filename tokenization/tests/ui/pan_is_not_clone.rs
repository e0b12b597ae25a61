fn twice(pan: tally_tokenization::Pan) -> [tally_tokenization::Pan; 2] {
    [pan.clone(), pan]
}

fn main() {}
