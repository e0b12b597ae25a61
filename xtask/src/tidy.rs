//! Rules of the house that no compiler knows, each checked on the tree as it is.

mod habits;
mod layers;
mod lexer;
mod purity;
mod size;
mod tree;

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::bail;

use size::Sizes;
use tree::Tree;

/// One broken rule: where, which, and what to do about it.
#[derive(Debug)]
pub struct Finding {
    /// Relative to the root of the workspace.
    pub path: PathBuf,
    /// Counted from 1.
    pub line: usize,
    /// Short name of the rule.
    pub rule: &'static str,
    /// What is wrong and what to do.
    pub advice: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: [{}] {}", self.path.display(), self.line, self.rule, self.advice)
    }
}

/// What a look at the tree gave.
#[derive(Debug)]
pub struct Report {
    /// Broken rules, in the order of the tree.
    pub findings: Vec<Finding>,
    /// One line on sizes: what is over its aim, though not over its limit.
    pub summary: String,
}

/// Looks at the whole workspace below `root`.
pub fn inspect(root: &Path) -> anyhow::Result<Report> {
    let tree = Tree::read(root)?;
    let mut findings = layers::check(&tree.members);
    let mut sizes = Sizes::default();
    for file in &tree.files {
        findings.extend(purity::check(file));
        findings.extend(habits::check(file));
        findings.extend(sizes.check(file));
    }
    Ok(Report { findings, summary: sizes.summary() })
}

/// Prints the report; fails if a rule is broken.
pub fn run(root: &Path) -> anyhow::Result<()> {
    let report = inspect(root)?;
    for finding in &report.findings {
        println!("{finding}");
    }
    println!("tidy: {}", report.summary);
    if !report.findings.is_empty() {
        bail!("tidy: {} broken rules", report.findings.len());
    }
    Ok(())
}
