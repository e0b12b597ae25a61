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
    assert!(played.read > 1_000 && played.words >= 5, "{played:?}");
}

fn read(line: &str, number: u64) -> Result<Option<(String, Option<String>)>, &'static str> {
    match row(line.as_bytes(), number) {
        Read::Nothing => Ok(None),
        Read::Card(card) => {
            let number = String::from_utf8(card.number.expose().to_vec()).unwrap();
            Ok(Some((number, card.subject.map(|subject| subject.to_string()))))
        }
        Read::Bad(why) => Err(why),
    }
}

#[test]
fn what_spreadsheets_put_around_a_card_number_is_left_out() {
    let card = |subject: Option<&str>| Ok(Some(("4111 1111".to_owned(), subject.map(str::to_owned))));
    for (line, number, wanted) in [
        ("4111 1111,c-1\r\n", 2, card(Some("c-1"))),
        ("\"4111 1111\",\"c-1\"\n", 2, card(Some("c-1"))),
        (" \" 4111 1111 \" , c-1", 2, card(Some("c-1"))),
        ("\u{feff}4111 1111", 1, card(None)),
        ("\u{feff}\"pan\",\"subject\"\r\n", 1, Ok(None)),
        ("\u{feff}{\"pan\": \"4111 1111\"}", 1, card(None)),
        (",", 2, Ok(Some((String::new(), None)))),
        ("\r\n", 2, Ok(None)),
    ] {
        assert_eq!(read(line, number), wanted, "{line:?}");
    }
}

#[test]
fn columns_that_are_none_are_said_to_be_so() {
    for (line, why) in [
        ("\"4111 1111,c-1", "a quote"),
        ("4111 1111\",c-1", "a quote"),
        ("\"4111\" \"1111\"", "a quote"),
        ("\"", "a quote"),
        ("4111 1111,c-1,c-2", "a third"),
        ("4111 1111,\"c 1\"", "no subject"),
    ] {
        assert!(read(line, 2).is_err_and(|said| said.contains(why)), "{line:?}: {:?}", read(line, 2));
    }
}
