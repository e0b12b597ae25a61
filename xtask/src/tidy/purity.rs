//! Pure rooms take time, randomness and the outside world as arguments, so their sources never name them.

use super::Finding;
use super::lexer::Token;
use super::tree::SourceFile;

/// The rooms without input, output, clock, randomness or `unsafe`.
pub const PURE: [&str; 7] = ["domain", "policy", "chains", "mpc", "audit", "tokenization", "signer"];

/// Modules of `std` that are the outside world.
const WORLD: [&str; 5] = ["fs", "net", "process", "env", "thread"];

/// Names that are the clock or the system's randomness wherever they were imported from.
const NAMES: [&str; 5] = ["SystemTime", "OsRng", "SysRng", "ThreadRng", "thread_rng"];

/// Keywords that begin an item, as against a field, a variant or an expression.
const ITEM_WORDS: [&str; 10] = ["mod", "fn", "use", "struct", "enum", "impl", "const", "static", "type", "trait"];

/// Checks one file. Files outside a pure room's `src/` and test modules are free.
pub fn check(file: &SourceFile) -> Vec<Finding> {
    if !PURE.contains(&file.room.as_str()) || !file.inner.starts_with("src") || is_test_file(file) {
        return Vec::new();
    }
    let tokens = without_tests(&file.lexed.tokens);
    let found = (0..tokens.len()).filter_map(|at| {
        let rest = tokens.get(at..)?;
        impure(rest).map(|what| Finding {
            path: file.path.clone(),
            line: rest.first().map_or(1, |token| token.line),
            rule: "purity",
            advice: format!("`{what}` in pure `{}`: take it as an argument or move this to an edge crate", file.room),
        })
    });
    found.collect()
}

/// By the house's rhythm a test module that has its own file is called `tests`.
fn is_test_file(file: &SourceFile) -> bool {
    file.inner.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs")
}

/// What is impure at the very start of `tokens`.
fn impure(tokens: &[Token]) -> Option<String> {
    let word = tokens.first()?.text.as_str();
    if word == "unsafe" || NAMES.contains(&word) {
        return Some(word.to_owned());
    }
    let path = |index: usize| tokens.get(index).map_or("", |token| token.text.as_str());
    let next = if (path(1), path(2)) == (":", ":") { path(3) } else { "" };
    match word {
        "Instant" if next == "now" => Some("Instant::now".to_owned()),
        "std" if WORLD.contains(&next) => Some(format!("std::{next}")),
        "std" if next == "*" => Some("std::*".to_owned()),
        "std" if next == "{" => grouped(tokens.get(4..)?).map(|module| format!("std::{module}")),
        // Another name for `std` would hide the rest.
        "std" if path(1) == "as" => Some("std as".to_owned()),
        _ => None,
    }
}

/// The first forbidden module in `use std::{a, b::{c}}`; `tokens` starts behind the brace.
fn grouped(tokens: &[Token]) -> Option<&'static str> {
    let (mut depth, mut at_start) = (0_usize, true);
    for token in tokens {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" if depth == 0 => return None,
            "}" => depth -= 1,
            word if depth == 0 && at_start => {
                if let Some(module) = WORLD.into_iter().find(|module| *module == word) {
                    return Some(module);
                }
            }
            _ => {}
        }
        at_start = depth == 0 && token.text == ",";
    }
    None
}

/// The tokens without the items that exist only under `cfg(test)`.
fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let (mut kept, mut at) = (Vec::new(), 0);
    while let Some(token) = tokens.get(at) {
        if let Some(after) = tokens.get(at..).and_then(test_attribute_len) {
            at += after;
            at += item_len(tokens.get(at..).unwrap_or_default());
        } else {
            kept.push(token.clone());
            at += 1;
        }
    }
    kept
}

/// The length of `#[cfg(test)]` or `#[cfg(all(test, …))]` at the start of `tokens`.
fn test_attribute_len(tokens: &[Token]) -> Option<usize> {
    let starts = |words: &[&str]| {
        tokens.len() >= words.len() && tokens.iter().zip(words).all(|(token, word)| token.text == *word)
    };
    let is_test = starts(&["#", "[", "cfg", "(", "test", ")"]) || starts(&["#", "[", "cfg", "(", "all", "(", "test"]);
    is_test.then(|| 1 + group_len(tokens.get(1..).unwrap_or_default()))
}

/// The length of an item, field or variant with its further attributes: to its `;` or `,` or the end of its braces.
fn item_len(tokens: &[Token]) -> usize {
    let (mut at, mut is_item) = (0, false);
    while let Some(token) = tokens.get(at) {
        let rest = tokens.get(at..).unwrap_or_default();
        match token.text.as_str() {
            ";" => return at + 1,
            // In an item a comma stands between generic parameters.
            "," if !is_item => return at + 1,
            "{" => return at + group_len(rest),
            // The end of what a last field or variant is in.
            "}" | ")" | "]" => return at,
            "(" | "[" => at += group_len(rest),
            word => {
                is_item |= ITEM_WORDS.contains(&word);
                at += 1;
            }
        }
    }
    at
}

/// The length of the bracketed group that starts `tokens`.
fn group_len(tokens: &[Token]) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return index + 1;
        }
    }
    tokens.len()
}
