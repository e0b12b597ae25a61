//! Files and functions that fit a head: an aim that is reported and a limit that fails.

use std::path::PathBuf;

use super::Finding;
use super::lexer::Token;
use super::tree::SourceFile;

/// A file aims at this many lines, tests included.
const FILE_AIM: usize = 400;
/// Above this many a file has more than one subject.
const FILE_LIMIT: usize = 600;
/// A function aims at one screen.
const FUNCTION_AIM: usize = 70;
/// Above this many lines nobody holds a function in the head.
const FUNCTION_LIMIT: usize = 100;

/// Running totals for the summary line.
#[derive(Default)]
pub struct Sizes {
    files: usize,
    lines: usize,
    long_files: Vec<(PathBuf, usize)>,
    long_functions: Vec<(PathBuf, Function)>,
}

/// Where a function starts, its name and how many lines it has.
struct Function {
    name: String,
    line: usize,
    lines: usize,
}

impl Sizes {
    /// Counts one file; what is over a limit is a finding.
    pub fn check(&mut self, file: &SourceFile) -> Vec<Finding> {
        let finding = |line, advice| Finding { path: file.path.clone(), line, rule: "size", advice };
        let mut findings = Vec::new();
        let lines = file.text.lines().count();
        self.files += 1;
        self.lines += lines;
        if lines > FILE_LIMIT {
            findings.push(finding(1, format!("{lines} lines; the limit is {FILE_LIMIT}: split it by subject")));
        } else if lines > FILE_AIM {
            self.long_files.push((file.path.clone(), lines));
        }
        for function in functions(&file.lexed.tokens) {
            let Function { name, line, lines } = &function;
            if *lines > FUNCTION_LIMIT {
                let advice = format!("`{name}` has {lines} lines; the limit is {FUNCTION_LIMIT}: give its steps names");
                findings.push(finding(*line, advice));
            } else if *lines > FUNCTION_AIM {
                self.long_functions.push((file.path.clone(), function));
            }
        }
        findings
    }

    /// What is over an aim, in one line.
    pub fn summary(&self) -> String {
        let files = self.long_files.iter().map(|(path, lines)| format!("{} {lines}", path.display()));
        let functions =
            self.long_functions.iter().map(|(path, f)| format!("{}:{} {} {}", path.display(), f.line, f.name, f.lines));
        format!(
            "{} files, {} lines; over {FILE_AIM} lines: {}; functions over {FUNCTION_AIM}: {}",
            self.files,
            self.lines,
            list(files.collect()),
            list(functions.collect())
        )
    }
}

fn list(entries: Vec<String>) -> String {
    if entries.is_empty() { "none".to_owned() } else { entries.join(", ") }
}

/// Every function that has a body, from its `fn` to its closing brace.
fn functions(tokens: &[Token]) -> Vec<Function> {
    let starts = tokens.windows(2).enumerate().filter_map(|(at, pair)| match pair {
        // `fn(u8) -> u8` is a type, `fn name` a function.
        [keyword, name] if keyword.text == "fn" && name.text != "(" => Some((at, keyword, name)),
        _ => None,
    });
    let measured = starts.filter_map(|(at, keyword, name)| {
        let end = body_end(tokens.get(at..)?)?;
        Some(Function { name: name.text.clone(), line: keyword.line, lines: end + 1 - keyword.line })
    });
    measured.collect()
}

/// The line of the brace that closes the first body in `tokens`, unless a `;` comes first.
fn body_end(tokens: &[Token]) -> Option<usize> {
    let (mut depth, mut in_body) = (0_usize, false);
    for token in tokens {
        match token.text.as_str() {
            ";" if depth == 0 => return None,
            "{" if depth == 0 => (depth, in_body) = (1, true),
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if in_body && depth == 0 {
            return Some(token.line);
        }
    }
    None
}
