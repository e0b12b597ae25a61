//! Lines of files that anybody may have written.

use super::*;
use tally_fuzz::{Budget, Target, Verdict, play};

fn line(bytes: &[u8]) -> Verdict {
    let mut word = String::new();
    for number in [1, 2] {
        word = match row(bytes, number) {
            Read::Nothing => "nothing".into(),
            Read::Card(card) => {
                assert_eq!(card.line, number);
                let digits = card.number.expose();
                // Nothing is made up, and nothing is sent of what stands around the number.
                assert!(digits.is_empty() || bytes.windows(digits.len()).any(|w| w == digits), "not in the line");
                assert!(bytes.trim_ascii().starts_with(b"{") || !digits.contains(&b','), "two columns");
                format!("card {}", card.subject.is_some())
            }
            Read::Bad(why) => return Verdict::said(why),
        };
    }
    Verdict::Read(word)
}

fn lines() -> Vec<Vec<u8>> {
    let all = [
        "4111111111111111",
        "4111 1111 1111 1111,c-1\r\n",
        "pan,subject",
        "{\"pan\":\"4111111111111111\",\"subject\":\"c-1\"}\n",
        "",
    ];
    all.map(|text| text.as_bytes().to_vec()).into()
}

#[test]
fn a_line_is_a_card_or_is_told_why_not() {
    let words =
        &["4111111111111111", ",", "\"pan\":", "{", "}", "\"subject\":\"c-1\"", "\"", "\r\n", "\\u0034", "\u{feff}"];
    let target = Target { name: "import-line", run: line, examples: lines, words };
    let seed = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
    let played = play(&target, seed, Budget::Cases(100_000));
    let played = played.unwrap_or_else(|failure| panic!("seed {seed}: {:?}", String::from_utf8_lossy(&failure.input)));
    assert!(played.read > 1_000 && played.words == 5, "{played:?}");
}
