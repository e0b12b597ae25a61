//! The arrows between rooms, and the dependencies that belong to one room only. Dev-dependencies are free.

use cargo_metadata::{Dependency, DependencyKind};

use super::Finding;
use super::purity::PURE;
use super::tree::{Member, room};

/// A room and the rooms that it may depend on. ARCHITECTURE.md draws the same table.
const ARROWS: [(&str, &[&str]); 18] = [
    ("domain", &[]),
    ("policy", &["domain"]),
    ("chains", &["domain"]),
    ("mpc", &["domain"]),
    ("audit", &["domain"]),
    ("tokenization", &["domain"]),
    ("signer", &["domain", "policy", "chains", "mpc", "audit", "tokenization"]),
    ("proto", &[]),
    ("hsm-adapter", &["domain"]),
    ("store", &["domain"]),
    (
        "node",
        &["domain", "policy", "chains", "mpc", "audit", "tokenization", "signer", "proto", "hsm-adapter", "store"],
    ),
    ("client", &["proto", "domain", "tokenization"]),
    ("cli", &["client", "audit", "domain", "policy", "proto", "chains", "tokenization"]),
    ("sim", &["domain", "policy", "chains", "mpc", "audit", "signer"]),
    ("p11fault", &[]),
    ("softhsm-tests", &["domain", "hsm-adapter", "p11fault"]),
    (
        "fuzz",
        &[
            "domain",
            "policy",
            "chains",
            "mpc",
            "audit",
            "tokenization",
            "signer",
            "store",
            "sim",
            "proto",
            "client",
            "hsm-adapter",
            "node",
        ],
    ),
    ("xtask", &[]),
];

/// A family of crates (the name itself, or the name and a hyphen) and the only rooms that may name it.
const CONFINED: [(&str, &[&str]); 3] = [
    ("cryptoki", &["hsm-adapter", "p11fault", "softhsm-tests"]),
    ("rusqlite", &["store"]),
    ("tonic", &["proto", "node", "client", "cli"]),
];

/// Generates code and is in no program, so its family's confinement does not hold for it.
const BUILD_TOOLS: [&str; 2] = ["tonic-build", "tonic-prost-build"];

/// Families with sockets, files, threads or randomness of their own: never in a pure room.
const IMPURE: [&str; 11] = [
    "tokio",
    "tonic",
    "cryptoki",
    "rusqlite",
    "rustls",
    "hyper",
    "futures-executor",
    "async-std",
    "smol",
    "pollster",
    "getrandom",
];

/// The crate that re-exports the executors; its siblings `futures-util` and `futures-channel` have none.
const FUTURES: &str = "futures";

/// Features by which `rand` and `rand_core`, in any version, reach for the operating system.
const OS_RANDOMNESS: [&str; 5] = ["getrandom", "os_rng", "sys_rng", "thread_rng", "std"];

/// Checks the declared dependencies of every member.
pub fn check(members: &[Member]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for member in members {
        let allowed = ARROWS.iter().find(|(room, _)| *room == member.room).map(|(_, allowed)| *allowed);
        if allowed.is_none() {
            findings.push(Finding {
                path: member.manifest.clone(),
                line: 1,
                rule: "layers",
                advice: format!("`{}` has no floor: give it a row in ARROWS (xtask/src/tidy/layers.rs)", member.room),
            });
        }
        for dependency in member.dependencies.iter().filter(|d| d.kind != DependencyKind::Development) {
            let ours = dependency.path.is_some();
            let problem = match allowed {
                Some(allowed) if ours => arrow(&member.room, &dependency.name, allowed),
                _ => foreign(&member.room, dependency),
            };
            findings.extend(problem.map(|advice| Finding {
                path: member.manifest.clone(),
                line: declaration_line(&member.manifest_text, dependency),
                rule: "layers",
                advice,
            }));
        }
    }
    findings
}

fn arrow(from: &str, to: &str, allowed: &[&str]) -> Option<String> {
    let to = room(to);
    (!allowed.contains(&to)).then(|| {
        format!(
            "`{from}` may not depend on `{to}`: move the code to where the arrows meet, or pass it in as an argument"
        )
    })
}

fn foreign(from: &str, dependency: &Dependency) -> Option<String> {
    let name = dependency.name.as_str();
    let confined = CONFINED.iter().find(|(family, _)| is_of(name, family) && !BUILD_TOOLS.contains(&name));
    if let Some((family, rooms)) = confined
        && !rooms.contains(&from)
    {
        return Some(format!(
            "`{name}` belongs to {} only: reach it through a port; `{family}` stays there",
            rooms.join(", ")
        ));
    }
    if !PURE.contains(&from) {
        return None;
    }
    if name == FUTURES || IMPURE.iter().any(|family| is_of(name, family)) {
        return Some(format!("`{name}` does input or output and `{from}` is pure: take what it gives as an argument"));
    }
    os_randomness(dependency)
}

fn os_randomness(dependency: &Dependency) -> Option<String> {
    let name = dependency.name.as_str();
    if !["rand", "rand_core"].contains(&name) {
        return None;
    }
    let what = if name == "rand" && dependency.uses_default_features {
        "default features".to_owned()
    } else {
        format!("feature `{}`", dependency.features.iter().find(|f| OS_RANDOMNESS.contains(&f.as_str()))?)
    };
    Some(format!(
        "{what} of `{name}` reaches for the system's randomness: leave it out and take the generator as an argument"
    ))
}

fn is_of(name: &str, family: &str) -> bool {
    name.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// The line that declares `dependency` outside dev-dependencies, or 1 if it is written in a way not foreseen.
fn declaration_line(manifest: &str, dependency: &Dependency) -> usize {
    let name = dependency.rename.as_ref().unwrap_or(&dependency.name);
    let mut in_scope = false;
    for (index, line) in manifest.lines().enumerate() {
        let line = line.trim();
        if let Some(section) = line.strip_prefix('[') {
            in_scope = section.contains("dependencies") && !section.contains("dev-dependencies");
            if in_scope && section.contains(&format!("dependencies.{name}]")) {
                return index + 1;
            }
        } else if in_scope && line.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with(['.', ' ', '='])) {
            return index + 1;
        }
    }
    1
}
