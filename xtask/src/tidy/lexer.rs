//! Just enough of Rust's lexical grammar to tell code from comments and literals.
//!
//! A full parser would not see inside `macro_rules!`, and would lose comments, which some rules are about.

/// A file taken apart.
pub struct Lexed {
    /// Code without comments. Literals keep their place but lose their contents.
    pub tokens: Vec<Token>,
    /// Comments in the order of the file.
    pub comments: Vec<Comment>,
}

/// An identifier or keyword, a literal (as `""`), a lifetime (as `'`) or a single character of punctuation.
#[derive(Clone, Debug)]
pub struct Token {
    /// The token itself.
    pub text: String,
    /// Counted from 1.
    pub line: usize,
}

/// A line or block comment, documentation included.
pub struct Comment {
    /// With its slashes.
    pub text: String,
    /// Where it starts, counted from 1.
    pub line: usize,
}

/// Takes `source` apart. Whatever is not Rust comes out as punctuation; nothing fails.
pub fn lex(source: &str) -> Lexed {
    let mut lexer = Lexer { rest: source, line: 1, out: Lexed { tokens: Vec::new(), comments: Vec::new() } };
    while lexer.step() {}
    lexer.out
}

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
    out: Lexed,
}

impl<'a> Lexer<'a> {
    fn step(&mut self) -> bool {
        let Some(first) = self.rest.chars().next() else { return false };
        if first.is_whitespace() {
            self.take(first.len_utf8());
        } else if self.rest.starts_with("//") {
            self.comment(self.rest.find('\n').unwrap_or(self.rest.len()));
        } else if self.rest.starts_with("/*") {
            self.comment(block_comment_len(self.rest));
        } else if let Some(length) = raw_string_len(self.rest) {
            self.token(length, "\"\"");
        } else if let Some(length) = prefixed_quote_len(self.rest) {
            self.token(length, "\"\"");
        } else if first == '\'' {
            self.apostrophe();
        } else if first.is_ascii_digit() {
            self.token(word_len(self.rest), "\"\"");
        } else if is_word(first) {
            self.word();
        } else {
            self.token(first.len_utf8(), first.encode_utf8(&mut [0; 4]));
        }
        true
    }

    /// Cuts `length` bytes off the front and counts their lines.
    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, ""));
        self.rest = rest;
        self.line += taken.matches('\n').count();
        taken
    }

    fn token(&mut self, length: usize, text: &str) {
        self.out.tokens.push(Token { text: text.to_owned(), line: self.line });
        self.take(length);
    }

    fn comment(&mut self, length: usize) {
        let line = self.line;
        let text = self.take(length).to_owned();
        self.out.comments.push(Comment { text, line });
    }

    fn word(&mut self) {
        // `r#fn` is an identifier, not the keyword: it keeps its prefix.
        let prefix = if self.rest.starts_with("r#") { 2 } else { 0 };
        let length = prefix + word_len(self.rest.get(prefix..).unwrap_or_default());
        let text = self.rest.get(..length).unwrap_or_default();
        self.token(length, text);
    }

    /// A character literal or a lifetime.
    fn apostrophe(&mut self) {
        let inside = self.rest.get(1..).unwrap_or_default();
        let mut chars = inside.chars();
        let (first, second) = (chars.next(), chars.next());
        if first == Some('\\') {
            self.token(quoted_len(self.rest, '\''), "\"\"");
        } else if let (Some(only), Some('\'')) = (first, second) {
            self.token(2 + only.len_utf8(), "\"\"");
        } else {
            self.token(1 + word_len(inside), "'");
        }
    }
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

fn word_len(text: &str) -> usize {
    text.find(|c| !is_word(c)).unwrap_or(text.len())
}

/// Block comments nest.
fn block_comment_len(text: &str) -> usize {
    let (mut depth, mut position) = (0_usize, 0);
    while let Some(rest) = text.get(position..) {
        if rest.starts_with("/*") {
            (depth, position) = (depth + 1, position + 2);
        } else if rest.starts_with("*/") {
            (depth, position) = (depth - 1, position + 2);
            if depth == 0 {
                return position;
            }
        } else {
            let Some(next) = rest.chars().next() else { break };
            position += next.len_utf8();
        }
    }
    text.len()
}

/// `r"…"`, `r#"…"#` and the same after `b` or `c`.
fn raw_string_len(text: &str) -> Option<usize> {
    let after = ["r", "br", "cr"].into_iter().find_map(|prefix| text.strip_prefix(prefix))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let body = after.get(hashes..)?.strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let body_len = body.find(&end).map_or(body.len(), |at| at + end.len());
    Some(text.len() - body.len() + body_len)
}

/// `"…"`, `b"…"`, `c"…"` and `b'…'`.
fn prefixed_quote_len(text: &str) -> Option<usize> {
    let (prefix, quote) = [("\"", '"'), ("b\"", '"'), ("c\"", '"'), ("b'", '\'')]
        .into_iter()
        .find(|(opening, _)| text.starts_with(opening))
        .map(|(opening, quote)| (opening.len() - 1, quote))?;
    Some(prefix + quoted_len(text.get(prefix..)?, quote))
}

/// The length of a quoted literal with backslash escapes; `text` starts with the quote.
fn quoted_len(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::lex;

    fn words(source: &str) -> Vec<String> {
        lex(source).tokens.into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn comments_leave_the_code_and_keep_their_line() {
        let lexed = lex("a // std::fs\n/* b /* nested */ c */ d\n");
        assert_eq!(lexed.tokens.iter().map(|t| (t.text.as_str(), t.line)).collect::<Vec<_>>(), [("a", 1), ("d", 2)]);
        assert_eq!(lexed.comments.iter().map(|c| c.line).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn no_literal_shows_its_contents() {
        let literals = [r#""x \" y""#, r##"r#"x " y"#"##, r#"b"x""#, "'x'", r"'\''", "b'x'", r#"r"x\""#, "1_000u64"];
        for literal in literals {
            assert_eq!(words(&format!("{literal} z")), ["\"\"", "z"], "{literal}");
        }
    }

    #[test]
    fn a_lifetime_does_not_open_a_literal() {
        assert_eq!(words("&'a str, 'b'"), ["&", "'", "str", ",", "\"\""]);
    }

    #[test]
    fn a_raw_identifier_is_not_the_keyword() {
        assert_eq!(words("r#fn fn"), ["r#fn", "fn"]);
    }

    #[test]
    fn an_unfinished_literal_ends_with_the_file() {
        for source in ["\"abc", "r#\"abc", "/* abc", "'\\", "b'"] {
            assert!(lex(source).tokens.len() <= 1, "{source}");
        }
    }

    #[test]
    fn lines_inside_literals_count() {
        let last = lex("\"one\ntwo\"\nx").tokens.pop().unwrap();
        assert_eq!((last.text.as_str(), last.line), ("x", 3));
    }
}
