use tally_signer::tokens::{TokenSubject, TokenUse};

fn forge(subject: TokenSubject) -> TokenUse {
    TokenUse { subject, rule: "cards".into(), waited: false }
}

fn main() {}
