//! The text of `policy.cedar`: where rules, annotations and conditions are in it. Cedar's own parser decides what is
//! valid; this only finds places and pieces for people, and lets `decimal("1000")` stand for `decimal("1000.0")`.

use std::ops::Range;

/// A piece of the text that has a meaning of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    /// First byte in the whole text.
    pub(super) start: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An identifier, keyword or number.
    Word,
    /// A string, with its quotes.
    Quoted,
    /// `&&`, `||` or one other character.
    Sign,
}

impl Token<'_> {
    fn end(&self) -> usize {
        self.start + self.text.len()
    }

    fn is(&self, text: &str) -> bool {
        self.kind != Kind::Quoted && self.text == text
    }

    /// How this token changes the depth of nesting.
    fn step(&self) -> isize {
        match (self.kind, self.text) {
            (Kind::Sign, "(" | "[" | "{") => 1,
            (Kind::Sign, ")" | "]" | "}") => -1,
            _ => 0,
        }
    }
}

/// All tokens; white space and comments are left out. A string that does not end goes on to the end of the text.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let mut start = 0;
    while let Some(rest) = text.get(start..).filter(|r| !r.is_empty()) {
        let (length, kind) = next(rest);
        if let (Some(kind), Some(piece)) = (kind, rest.get(..length)) {
            found.push(Token { kind, text: piece, start });
        }
        start += length;
    }
    found
}

/// The length of what `rest` starts with, which is at least 1, and its kind if it is a token.
fn next(rest: &str) -> (usize, Option<Kind>) {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let until = |stop: &dyn Fn(char) -> bool| rest.find(stop).unwrap_or(rest.len());
    match rest.chars().next() {
        Some(c) if c.is_whitespace() => (until(&|c| !c.is_whitespace()), None),
        // A lone carriage return ends a comment for Cedar too; a rule behind one must not be overlooked here.
        _ if rest.starts_with("//") => (until(&|c| c == '\n' || c == '\r'), None),
        Some(c) if word(c) => (until(&|c| !word(c)), Some(Kind::Word)),
        Some('"') => (quoted(rest), Some(Kind::Quoted)),
        _ if rest.starts_with("&&") || rest.starts_with("||") => (2, Some(Kind::Sign)),
        c => (c.map_or(1, char::len_utf8), Some(Kind::Sign)),
    }
}

fn quoted(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            _ => escaped = c == '\\' && !escaped,
        }
    }
    rest.len()
}

/// How deep a rule's expression can be, never less than it is. Brackets add up: each counts one for itself, one for a
/// comparison, one for each operator that may have what follows below it, and one for each link of a chain of
/// attributes, calls and indices.
pub(super) fn depth(rule: &[Token<'_>]) -> usize {
    #[derive(Clone, Copy, Default)]
    struct Level {
        operators: usize,
        links: usize,
    }
    let mut outer: Vec<Level> = Vec::new();
    let mut level = Level::default();
    let (mut around, mut deepest) = (0, 0);
    for token in rule {
        match (token.kind, token.text) {
            (Kind::Sign, "." | "[") => level.links += 1,
            (Kind::Sign, ",") => level = Level::default(),
            (Kind::Sign, "&&" | "||" | "+" | "-" | "*" | "!") | (Kind::Word, "if" | "when" | "unless") => {
                level = Level { operators: level.operators + 1, links: 0 };
            }
            (Kind::Sign, "=" | "<" | ">") | (Kind::Word, "then" | "else" | "in" | "has" | "like" | "is") => {
                level.links = 0
            }
            _ => {}
        }
        if token.step() > 0 {
            around += 2 + level.operators + level.links;
            outer.push(std::mem::take(&mut level));
        } else if token.step() < 0 {
            level = outer.pop().unwrap_or_default();
            around = around.saturating_sub(2 + level.operators + level.links);
        }
        deepest = deepest.max(around + level.operators + level.links);
    }
    deepest
}

/// The tokens of each rule, its `;` included.
pub(super) fn rules<'t, 'a>(tokens: &'t [Token<'a>]) -> Vec<&'t [Token<'a>]> {
    tokens.split_inclusive(|t| t.is(";")).collect()
}

/// Where the numbers that decide are: those of conditions, of `decimal("...")` without its quotes, and of `@approvals`.
pub(crate) fn numbers(text: &str) -> Vec<Range<usize>> {
    let tokens = tokens(text);
    let digit = |s: &str| s.bytes().next().is_some_and(|b| b.is_ascii_digit());
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let before = |n: usize, text: &str| at.checked_sub(n).and_then(|at| tokens.get(at)).is_some_and(|t| t.is(text));
        let inside = token.text.trim_matches('"');
        if token.kind == Kind::Word && digit(token.text) {
            found.push(token.start..token.end());
        } else if before(2, "decimal") && before(1, "(") && digit(inside) {
            found.push(token.start + 1..token.end() - 1);
        } else if before(3, "@") && before(2, "approvals") && before(1, "(") {
            let mut start = token.start + 1;
            for part in inside.split(',') {
                let word = start + part.len() - part.trim_start().len();
                let length = part.trim_start().bytes().take_while(u8::is_ascii_digit).count();
                found.push(word..word + length);
                start += part.len() + 1;
            }
        }
    }
    found
}

/// The text from the first to the last of `tokens`.
pub(super) fn span<'a>(text: &'a str, tokens: &[Token<'_>]) -> &'a str {
    match (tokens.first(), tokens.last()) {
        (Some(first), Some(last)) => text.get(first.start..last.end()).unwrap_or_default(),
        _ => "",
    }
}

/// Where the annotation of that name is.
pub(super) fn annotation(tokens: &[Token<'_>], name: &str) -> Option<usize> {
    tokens.windows(2).find_map(|pair| match pair {
        [at, word] if at.is("@") && word.is(name) => Some(at.start),
        _ => None,
    })
}

/// Where the string of that content is.
pub(super) fn string(tokens: &[Token<'_>], content: &str) -> Option<usize> {
    let is = |t: &&Token<'_>| t.kind == Kind::Quoted && t.text.trim_matches('"') == content;
    tokens.iter().find(is).map(|t| t.start)
}

/// A condition of a rule.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ConditionText {
    /// As it is shown: the author's words on one line, without comments.
    pub(super) shown: String,
    /// The same as an expression that is true when the condition holds.
    pub(super) expression: String,
}

/// The conditions of one rule, in order: each part of a `when` that `&&` joins, and each `unless` as a whole.
pub(super) fn conditions(rule: &[Token<'_>]) -> Vec<ConditionText> {
    let mut found = Vec::new();
    let mut rest = rule;
    let mut depth = 0;
    while let Some((token, after)) = rest.split_first() {
        rest = after;
        if depth == 0 && (token.is("when") || token.is("unless")) {
            let body = block(after);
            if token.is("when") {
                found.extend(conjuncts(body).into_iter().map(|part| {
                    let shown = one_line(part);
                    ConditionText { expression: shown.clone(), shown }
                }));
            } else {
                let body = one_line(body);
                found.push(ConditionText { shown: format!("unless {{ {body} }}"), expression: format!("!({body})") });
            }
        }
        depth += token.step();
    }
    found
}

/// What is between the `{` that comes next and its `}`.
fn block<'t, 'a>(tokens: &'t [Token<'a>]) -> &'t [Token<'a>] {
    let mut depth = 0;
    let end = tokens
        .iter()
        .position(|t| {
            depth += t.step();
            depth == 0
        })
        .unwrap_or(tokens.len());
    tokens.get(1..end).unwrap_or_default()
}

/// The parts that `&&` joins. An `||` or `if` outside of brackets binds weaker than `&&`, so then it is one part.
fn conjuncts<'t, 'a>(body: &'t [Token<'a>]) -> Vec<&'t [Token<'a>]> {
    let mut depth = 0;
    let outside: Vec<bool> = body
        .iter()
        .map(|t| {
            depth += t.step();
            depth == 0
        })
        .collect();
    if body.iter().zip(&outside).any(|(t, outside)| *outside && (t.is("||") || t.is("if"))) {
        return vec![body];
    }
    let mut outside = outside.into_iter();
    body.split(|t| outside.next() == Some(true) && t.is("&&")).collect()
}

fn one_line(tokens: &[Token<'_>]) -> String {
    let mut line = String::new();
    let mut end = tokens.first().map_or(0, |t| t.start);
    for token in tokens {
        if token.start > end {
            line.push(' ');
        }
        line.push_str(token.text);
        end = token.end();
    }
    line
}

/// Text for Cedar's parser, and the way back to the author's text.
pub(super) struct Readable {
    pub(super) text: String,
    /// Where [`PLACES`] was put in, as bytes of `text`, ascending.
    inserted: Vec<usize>,
}

/// What `decimal("1000")` lacks.
const PLACES: &str = ".0";

impl Readable {
    /// Cedar demands digits on both sides of a decimal's point; people write whole units without one.
    pub(super) fn new(source: &str) -> Self {
        let mut text = String::with_capacity(source.len());
        let mut inserted = Vec::new();
        let mut copied = 0;
        for window in tokens(source).windows(4) {
            let [name, open, number, close] = window else { continue };
            if name.is("decimal") && open.is("(") && close.is(")") && whole(number) {
                let point = number.end() - 1;
                text.push_str(source.get(copied..point).unwrap_or_default());
                inserted.push(text.len());
                text.push_str(PLACES);
                copied = point;
            }
        }
        text.push_str(source.get(copied..).unwrap_or_default());
        Self { text, inserted }
    }

    /// The byte of the author's text that a byte of `text` comes from.
    pub(super) fn original(&self, byte: usize) -> usize {
        byte - PLACES.len() * self.inserted.iter().filter(|at| **at + PLACES.len() <= byte).count()
    }
}

fn whole(token: &Token<'_>) -> bool {
    let number = token.text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or_default();
    let digits = number.strip_prefix('-').unwrap_or(number);
    token.kind == Kind::Quoted && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(rule: &str) -> Vec<String> {
        conditions(&tokens(rule)).into_iter().map(|c| c.shown).collect()
    }

    #[test]
    fn conditions_are_split_where_all_of_them_must_hold() {
        let rule = r#"@id("when") permit (principal, action, resource in Key::"a && b")
            when { a.x == "} && {" && // why && how
                   (b || c) && d in [e,
                   f] }
            unless { g && h }
            when { i || j && k } when { if l then m else n && o };"#;
        let parts = [
            r#"a.x == "} && {""#,
            "(b || c)",
            "d in [e, f]",
            "unless { g && h }",
            "i || j && k",
            "if l then m else n && o",
        ];
        assert_eq!(shown(rule), parts);
    }

    #[test]
    fn whole_decimals_get_a_point_and_places_stay_the_authors() {
        let source = r#"decimal("5") decimal("5.5") decimal ( "-7" ) "decimal(\"5\")" x"#;
        let readable = Readable::new(source);
        assert_eq!(readable.text, r#"decimal("5.0") decimal("5.5") decimal ( "-7.0" ) "decimal(\"5\")" x"#);
        assert_eq!(readable.original(readable.text.len() - 1), source.len() - 1);
        assert_eq!(readable.original(9), 9);
    }

    #[test]
    fn numbers_that_decide_are_found() {
        let text = r#"@id("7") @approvals("2 of a,  10 of b") permit (principal == Client::"8", action, resource) // 9
            when { context.now.hour < 6 && context.tx.amount.lessThan(decimal("1.50")) && context.x9 == "3" };"#;
        let found: Vec<_> = numbers(text).into_iter().map(|range| text.get(range).unwrap_or_default()).collect();
        assert_eq!(found, ["2", "10", "6", "1.50"]);
    }

    #[test]
    fn strings_and_comments_hide_what_is_in_them() {
        let text = "a // ; \"\n \"; \\\" // \\\\\" ; é";
        let all: Vec<_> = tokens(text).into_iter().map(|t| t.text).collect();
        assert_eq!(all, ["a", r#""; \" // \\""#, ";", "é"]);
        let ends: Vec<_> = tokens("// a\rb // c\r\nd").into_iter().map(|t| t.text).collect();
        assert_eq!(ends, ["b", "d"]);
    }
}
