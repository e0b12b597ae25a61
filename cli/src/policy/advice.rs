//! What a valid bundle may say by oversight.

use tally_policy::{Bundle, EXAMPLE, Effect, Files, Unmet};

/// A warning for each permit that bounds no fee, each whose approvals nobody can give, each empty list, keys of persons and
/// admins that everyone knows, and a policy that permits nothing.
pub fn warnings(bundle: &Bundle, files: &Files) -> Vec<String> {
    let text = |path: &str| files.get(path).map(|text| String::from_utf8_lossy(text)).unwrap_or_default();
    let policy = text("policy.cedar");
    let mut found = Vec::new();
    if !bundle.rules().any(|(_, effect)| effect == Effect::Permit) {
        found.push("no rule permits anything: every request will be denied".into());
    }
    for ((id, effect), rule) in bundle.rules().zip(rules(&policy)) {
        if effect == Effect::Permit && rule.contains("Action::\"sign\"") && !rule.contains("context.tx.fee") {
            found.push(format!(
                "permit `{id}` does not bound the fee (context.tx.fee): unless a forbid does, the key's coins can all go \
                 to fees"
            ));
        }
    }
    found.extend(bundle.unmet().iter().map(unmet));
    let empty = bundle.summary().lists.into_iter().filter(|(_, addresses)| *addresses == 0);
    found.extend(empty.map(|(name, _)| format!("list `{name}` is empty: no address is in it")));
    let known =
        example_keys().filter(|key| text("groups.toml").contains(key) || text("roster.toml").contains(key)).count();
    if known > 0 {
        found.push(format!("{known} keys of persons or admins are those of the example: everyone can sign with them"));
    }
    found
}

/// Which approvals nobody can give, for whose requests, and why.
pub fn unmet(u: &Unmet) -> String {
    let (asked, group) = (u.asked.needed, &u.asked.group);
    let operators: Vec<_> = u.operators.iter().map(|person| person.as_str()).collect();
    format!(
        "permit `{}` asks {asked} of {group}, which what client `{}` asks never gets: {} of {group} may approve it, because \
         who operates a client never counts ({}); ask fewer, or give the group more persons",
        u.rule,
        u.client,
        asked - u.missing,
        operators.join(", ")
    )
}

/// The public keys of the example's persons and admins.
fn example_keys() -> impl Iterator<Item = &'static str> {
    let of = |file: &'static str| EXAMPLE.into_iter().filter(move |(path, _)| *path == file).map(|(_, text)| text);
    let admins = of("roster.toml").filter_map(|text| Some(text.split_once("[[admin]]")?.1));
    of("groups.toml").chain(admins).flat_map(|text| text.split('"')).filter(|word| word.starts_with("ed25519:"))
}

/// The rules of a valid policy in their order, without comments and white space. Of strings only those that name an
/// entity are left: what a description says bounds nothing.
fn rules(policy: &str) -> Vec<String> {
    let (mut done, mut rule) = (Vec::new(), String::new());
    let mut rest = policy.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '/' if rest.peek() == Some(&'/') => drop(rest.by_ref().find(|c| matches!(c, '\n' | '\r'))),
            '"' => {
                let text = string(&mut rest);
                rule.push_str(if rule.ends_with("::") { &text } else { "\"\"" });
            }
            ';' => done.push(std::mem::take(&mut rule)),
            c if c.is_whitespace() => {}
            c => rule.push(c),
        }
    }
    done
}

/// The rest of a string up to its closing quote, in quotes.
fn string(rest: &mut impl Iterator<Item = char>) -> String {
    let mut text = String::from('"');
    while let Some(c) = rest.next() {
        text.push(c);
        match c {
            '"' => break,
            '\\' => text.extend(rest.next()),
            _ => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_what_is_neither_comment_nor_text_for_people() {
        let policy = "// context.tx.fee;\n@id(\"a;\\\"//\") permit (principal, action == Action::\"sign\",\n resource) \
                      when { context . tx\n.fee == x }; // no rule\r@description(\"context.tx.fee\") forbid (b);";
        let expected = [
            "@id(\"\")permit(principal,action==Action::\"sign\",resource)when{context.tx.fee==x}",
            "@description(\"\")forbid(b)",
        ];
        assert_eq!(rules(policy), expected);
        assert_eq!(rules("@id(\"open"), Vec::<String>::new());
    }
}
