//! Small habits: nothing unfinished, no silent tests, no `mod.rs`, and every crate says what it is.

use super::Finding;
use super::lexer::{Comment, Token};
use super::tree::SourceFile;

/// Checks one file.
pub fn check(file: &SourceFile) -> Vec<Finding> {
    let finding =
        |line, advice: &str| Finding { path: file.path.clone(), line, rule: "habits", advice: advice.to_owned() };
    let mut findings = Vec::new();
    for pair in file.lexed.tokens.windows(2) {
        if let [name, mark] = pair
            && ["todo", "unimplemented"].contains(&name.text.as_str())
            && mark.text == "!"
        {
            findings.push(finding(name.line, "unfinished code: finish it, or return an error that says so"));
        }
    }
    for line in ignored_tests(&file.lexed.tokens) {
        findings.push(finding(line, "a test that does not run proves nothing: make it run or delete it"));
    }
    for comment in &file.lexed.comments {
        for line in nameless_todos(comment) {
            findings.push(finding(line, "write `TODO(#<issue>): …` with an issue that exists, or do it now"));
        }
    }
    for line in examples(&file.lexed.comments) {
        findings.push(finding(
            line,
            "examples in the documentation are not run: write a test, or ```text for what is no code",
        ));
    }
    if file.inner.file_name().is_some_and(|name| name == "mod.rs") {
        findings.push(finding(
            1,
            "`foo/mod.rs` is `foo.rs`; tests share a file by `mod foo { pub mod part; }` and tests/foo/part.rs",
        ));
    }
    if is_crate_root(file) && !has_crate_docs(file) {
        findings.push(finding(1, "a crate starts with `//!`: what it does and what it does not do"));
    }
    findings
}

/// Lines of `#[ignore]`, `#[ignore = "…"]` and `#[cfg_attr(…, ignore)]`.
fn ignored_tests(tokens: &[Token]) -> Vec<usize> {
    let mut lines = Vec::new();
    for (at, window) in tokens.windows(3).enumerate() {
        let [hash, bracket, name] = window else { continue };
        if hash.text != "#" || bracket.text != "[" {
            continue;
        }
        let mut attribute = tokens.iter().skip(at + 3).take_while(|token| token.text != "]");
        if name.text == "ignore" || (name.text == "cfg_attr" && attribute.any(|token| token.text == "ignore")) {
            lines.push(hash.line);
        }
    }
    lines
}

/// Lines of `comment` with a note to self that names no issue.
fn nameless_todos(comment: &Comment) -> Vec<usize> {
    let named = |rest: &str| {
        let issue = rest.strip_prefix("(#").and_then(|rest| rest.split_once(')')).map(|(issue, _)| issue);
        issue.is_some_and(|issue| !issue.is_empty() && issue.chars().all(|c| c.is_ascii_digit()))
    };
    let nameless = |line: &&str| ["TODO", "FIXME"].iter().any(|mark| line.split(mark).skip(1).any(|rest| !named(rest)));
    let lines = comment.text.lines().enumerate();
    lines.filter(|(_, line)| nameless(line)).map(|(offset, _)| comment.line + offset).collect()
}

/// Lines where documentation begins a block that `cargo test --doc` would compile.
fn examples(comments: &[Comment]) -> Vec<usize> {
    let (mut lines, mut inside) = (Vec::new(), false);
    for comment in comments {
        let Some(text) = ["///", "//!"].iter().find_map(|mark| comment.text.strip_prefix(mark)) else { continue };
        let Some(language) = text.trim_start().strip_prefix("```") else { continue };
        if !inside && language.trim_end() != "text" {
            lines.push(comment.line);
        }
        inside = !inside;
    }
    lines
}

fn is_crate_root(file: &SourceFile) -> bool {
    let inner = &file.inner;
    inner == "src/lib.rs" || inner == "src/main.rs" || inner.parent().is_some_and(|parent| parent == "src/bin")
}

/// Whether `//!` comes before any code; attributes of the crate may come first.
fn has_crate_docs(file: &SourceFile) -> bool {
    let docs =
        file.lexed.comments.iter().find(|comment| ["//!", "/*!"].iter().any(|mark| comment.text.starts_with(mark)));
    let mut tokens = file.lexed.tokens.iter().map(|token| (token.text.as_str(), token.line)).peekable();
    while tokens.next_if(|(text, _)| *text == "#").is_some() {
        let mut depth = 0_usize;
        for (text, _) in tokens.by_ref() {
            match text {
                "[" => depth += 1,
                "]" => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 && text == "]" {
                break;
            }
        }
    }
    docs.is_some_and(|docs| tokens.next().is_none_or(|(_, line)| docs.line < line))
}
