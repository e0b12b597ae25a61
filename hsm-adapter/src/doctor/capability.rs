//! The capability file: a profile of the token at hand, for `[hsm] profile` of a node's configuration.

use crate::profile::Profile;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The file; what was not seen is as it is known of tokens of its kind. None if the token was not seen at all.
pub fn file(seen: &BTreeMap<String, String>) -> Option<String> {
    let (manufacturer, model) = (seen.get("manufacturer")?, seen.get("model")?);
    let known = Profile::of(manufacturer, model).ok()?;
    let mut text =
        String::from("# Written by `tally hsm doctor`: what a token was seen to do. For [hsm] profile = \"FILE\".\n");
    let string = |text: &str| toml::Value::from(text).to_string();
    let mut line = |key: &str, value: &str, note: &str| {
        let note = if note.is_empty() { String::new() } else { format!("   # {note}") };
        // Writing to a string does not fail.
        let _written = writeln!(text, "{key} = {value}{note}");
    };
    line("name", &string(&format!("{manufacturer} {model}")), "");
    line("run", "false", "the checks of the doctor were run, not the suite");
    line("manufacturer", &string(manufacturer), "");
    line("model", &string(model), "");
    let words = toml::Value::try_from(&known).ok()?;
    for key in ["gcm_iv", "ec_point", "unwrap_value_len"] {
        match seen.get(key) {
            Some(word) => line(key, &string(word), ""),
            None => line(key, &words.get(key)?.to_string(), "not seen: as known of this kind"),
        }
    }
    if let Some(number) = seen.get("kwp_mechanism").and_then(|number| number.parse::<u64>().ok()) {
        line("kwp_mechanism", &format!("{number:#06x}"), "");
    }
    match seen.get("restart") {
        Some(word) => line("restart", word, ""),
        None => line("restart", "false", "not seen"),
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read_whatever_a_token_calls_itself() {
        for name in ["ACME", "", "A \"quoted\" name", "back\\slash", "new\nline", "# not a comment"] {
            let said = [("manufacturer", name), ("model", name), ("gcm_iv", "token"), ("kwp_mechanism", "8459")];
            let seen = said.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
            let profile = Profile::parse(&file(&seen).unwrap()).unwrap();
            assert!(!profile.run, "an examination is not the suite");
            assert_eq!((profile.gcm_iv, profile.kwp_mechanism), (crate::profile::GcmIv::Token, Some(0x210b)), "{name}");
        }
        assert_eq!(file(&BTreeMap::new()), None);
    }
}
