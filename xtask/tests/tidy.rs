//! Each rule of `cargo xtask tidy` against a small tree that breaks it and one that does not.
#![allow(clippy::unwrap_used, clippy::panic, clippy::string_slice, missing_docs, reason = "tests fail loudly")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use tempfile::TempDir;
use xtask::tidy::{Report, inspect};

const DOCS: &str = "//! Does: nothing. Does not: anything.\n";

/// A workspace on disk, thrown away at the end.
struct Fixture(TempDir);

impl Fixture {
    /// One crate for each name, with `dependencies` as the rest of the manifest.
    fn new(crates: &[(&str, &str)]) -> Self {
        let fixture = Self(tempfile::tempdir().unwrap());
        let members: Vec<String> = crates.iter().map(|(name, _)| format!("{name:?}")).collect();
        fixture.file("Cargo.toml", &format!("[workspace]\nresolver = \"3\"\nmembers = [{}]\n", members.join(", ")));
        for (name, rest) in crates {
            let package = if *name == "xtask" { "xtask".to_owned() } else { format!("tally-{name}") };
            let manifest = format!("[package]\nname = \"{package}\"\nedition = \"2024\"\n\n{rest}");
            fixture.file(&format!("{name}/Cargo.toml"), &manifest);
            fixture.file(&format!("{name}/src/lib.rs"), DOCS);
        }
        fixture
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn report(&self) -> Report {
        inspect(self.0.path()).unwrap()
    }

    /// `path:line: [rule]` of each finding.
    fn places(&self) -> Vec<String> {
        let shown = |finding: String| finding[..=finding.find(']').unwrap()].to_owned();
        self.report().findings.iter().map(|f| shown(f.to_string())).collect()
    }
}

/// What `policy/src/rules.rs` with `source` in it breaks.
fn pure_source(source: &str) -> Vec<String> {
    let fixture = Fixture::new(&[("policy", "")]);
    fixture.file("policy/src/rules.rs", source);
    fixture.places()
}

fn dependency(name: &str, dependencies: &str) -> Vec<String> {
    Fixture::new(&[(name, dependencies), ("domain", "")]).places()
}

#[test]
fn an_arrow_of_the_design_is_allowed_and_its_reverse_is_not() {
    let good = Fixture::new(&[("policy", "[dependencies]\ntally-domain = { path = \"../domain\" }\n"), ("domain", "")]);
    assert!(good.places().is_empty());
    let bad = Fixture::new(&[
        ("domain", "[dependencies]\nserde = \"1\"\ntally-policy = { path = \"../policy\" }\n"),
        ("policy", ""),
    ]);
    assert_eq!(bad.places(), ["domain/Cargo.toml:7: [layers]"]);
}

#[test]
fn a_dev_dependency_may_point_anywhere_and_a_build_dependency_may_not() {
    let section = |kind| format!("[{kind}]\ntally-store = {{ path = \"../store\" }}\ntokio = \"1\"\n");
    let dev = Fixture::new(&[("signer", &section("dev-dependencies")), ("store", "")]);
    assert!(dev.places().is_empty());
    let build = Fixture::new(&[("signer", &section("build-dependencies")), ("store", "")]);
    assert_eq!(build.places(), ["signer/Cargo.toml:6: [layers]", "signer/Cargo.toml:7: [layers]"]);
}

#[test]
fn a_crate_without_a_row_in_the_table_is_refused() {
    assert_eq!(Fixture::new(&[("cellar", "")]).places(), ["cellar/Cargo.toml:1: [layers]"]);
}

#[test]
fn a_pure_crate_names_no_impure_one() {
    let impure = ["tokio", "tokio-util", "tonic", "cryptoki", "rusqlite", "rustls", "hyper-util", "getrandom"];
    for name in impure.into_iter().chain(["futures", "futures-executor", "rand"]) {
        let found = dependency("chains", &format!("[dependencies]\n{name} = \"1\"\n"));
        assert_eq!(found, ["chains/Cargo.toml:6: [layers]"], "{name}");
    }
    for name in ["futures-util", "futures-channel", "rand_core", "tracing", "tokens"] {
        let found = dependency("chains", &format!("[dependencies]\n{name} = \"1\"\n"));
        assert!(found.is_empty(), "{name}: {found:?}");
    }
}

#[test]
fn an_impure_crate_is_seen_through_another_name_a_target_and_a_section() {
    let hidden = [
        ("[dependencies]\nclock = { package = \"tokio\", version = \"1\" }\n", 6),
        ("[target.'cfg(unix)'.dependencies]\ntokio = \"1\"\n", 6),
        ("[dependencies.tokio]\nversion = \"1\"\n", 5),
        ("[dependencies]\ntokio.version = \"1\"\n", 6),
        ("[dependencies]\ntokio = { version = \"1\", optional = true }\n", 6),
    ];
    for (manifest, line) in hidden {
        assert_eq!(dependency("mpc", manifest), [format!("mpc/Cargo.toml:{line}: [layers]")], "{manifest}");
    }
}

#[test]
fn a_pure_crate_asks_for_no_randomness_of_the_system() {
    let rand = |features: &str| {
        let line = format!("rand = {{ version = \"0.10\", default-features = false, features = [{features}] }}");
        dependency("mpc", &format!("[dependencies]\n{line}\n")).len()
    };
    assert_eq!([rand(""), rand("\"chacha\""), rand("\"sys_rng\""), rand("\"thread_rng\"")], [0, 0, 1, 1]);
    let old = "[dependencies]\nold = { package = \"rand_core\", version = \"0.6\", features = [\"getrandom\"] }\n";
    assert_eq!(dependency("mpc", old), ["mpc/Cargo.toml:6: [layers]"]);
    assert!(dependency("store", old).is_empty());
}

#[test]
fn some_crates_belong_to_one_room() {
    let owned = [("cryptoki", "hsm-adapter"), ("rusqlite", "store"), ("tonic", "node"), ("tonic-health", "node")];
    for (name, owner) in owned {
        let manifest = format!("[dependencies]\n{name} = \"1\"\n");
        assert!(dependency(owner, &manifest).is_empty(), "{name}");
        assert_eq!(dependency("xtask", &manifest), ["xtask/Cargo.toml:6: [layers]"], "{name}");
    }
    assert!(dependency("xtask", "[dependencies]\ntonic-prost-build = \"0.14\"\n").is_empty());
}

#[test]
fn a_pure_source_names_nothing_of_the_outside_world() {
    let impure = [
        "fn f() { std::fs::read(\"\"); }",
        "use ::std::net;",
        "use std::{collections::BTreeMap, process};",
        "use std::{fs::{self, File}};",
        "use std :: env;",
        "use std::*;",
        "use std as s;",
        "fn f() { std::thread::spawn(|| 1); }",
        "use std::time::SystemTime;",
        "fn f() { let t = Instant::now(); }",
        "use rand_core::OsRng;",
        "use rand::rngs::SysRng;",
        "fn f() { rand::thread_rng(); }",
        "unsafe fn f() {}",
        "macro_rules! m { () => { std::env::var(\"\") } }",
        "#[cfg(not(test))]\nuse std::fs;",
    ];
    for source in impure {
        let line = source.lines().count();
        assert_eq!(pure_source(source), [format!("policy/src/rules.rs:{line}: [purity]")], "{source}");
    }
}

#[test]
fn a_pure_source_may_talk_about_the_outside_world() {
    let pure = [
        "// std::fs\n/// SystemTime\n/* unsafe */ fn f() {}",
        "const A: &str = \"std::fs\"; const B: &str = r#\"unsafe\"#;",
        "use std::collections::{BTreeMap, BTreeSet}; use std::fmt::{self, env};",
        "fn f(environment: Env, net: u8, unsafe_looking: u8) {}",
        "#![forbid(unsafe_code)]",
        "fn f(now: Instant) -> Instant { now }",
        "#[cfg(test)]\nmod tests { use std::fs; fn f() { unsafe {} } }",
        "#[cfg(test)]\n#[allow(dead_code, reason = \"x\")]\npub(crate) fn f<A, B>(a: A, b: B) { std::fs::read(\"\"); }",
        "#[cfg(all(test, unix))]\nuse std::fs;",
        "struct S { #[cfg(test)] file: std::fs::File, other: u8 }",
    ];
    for source in pure {
        assert_eq!(pure_source(source), [""; 0], "{source}");
    }
}

#[test]
fn what_follows_a_test_item_is_checked_again() {
    let after = ["#[cfg(test)]\nmod tests;", "#[cfg(test)]\nmod tests { fn f() {} }", "#[cfg(test)]\nuse a::b;"];
    for test_item in after {
        let source = format!("{test_item}\nuse std::fs;");
        assert_eq!(pure_source(&source), ["policy/src/rules.rs:3: [purity]"], "{source}");
    }
}

#[test]
fn tests_and_edge_crates_may_touch_the_world() {
    let fixture = Fixture::new(&[("policy", ""), ("store", "")]);
    for path in ["policy/tests/a.rs", "policy/src/rules/tests.rs", "policy/src/tests/b.rs", "store/src/files.rs"] {
        fixture.file(path, "use std::fs;\n");
    }
    assert!(fixture.places().is_empty());
}

#[test]
fn a_file_over_600_lines_fails_and_one_over_400_is_reported() {
    let fixture = Fixture::new(&[("store", "")]);
    fixture.file("store/src/long.rs", &"// x\n".repeat(600));
    fixture.file("store/src/generated/huge.rs", &"// x\n".repeat(2000));
    let report = fixture.report();
    assert!(report.findings.is_empty());
    assert!(report.summary.contains("over 400 lines: store/src/long.rs 600;"), "{}", report.summary);
    fixture.file("store/src/long.rs", &"// x\n".repeat(601));
    assert_eq!(fixture.places(), ["store/src/long.rs:1: [size]"]);
}

#[test]
fn a_function_over_100_lines_fails_and_one_over_70_is_reported() {
    let function = |lines: usize| format!("\npub fn long(f: fn(u8) -> u8) -> [u8; 2] {{{}}}\n", "\n".repeat(lines - 1));
    let fixture = Fixture::new(&[("store", "")]);
    for (lines, summary) in [(70, "functions over 70: none"), (100, "functions over 70: store/src/a.rs:2 long 100")] {
        fixture.file("store/src/a.rs", &function(lines));
        let report = fixture.report();
        assert!(report.findings.is_empty());
        assert!(report.summary.ends_with(summary), "{}", report.summary);
    }
    fixture.file("store/src/a.rs", &function(101));
    assert_eq!(fixture.places(), ["store/src/a.rs:2: [size]"]);
}

#[test]
fn braces_in_literals_and_bodiless_functions_do_not_stretch_a_function() {
    let mut source = String::from("trait T { fn f(&self);\n fn g() { let a = '{'; let b = \"{\"; } // {\n}\n");
    for index in 0..150 {
        writeln!(source, "const C{index}: u8 = 0;").unwrap();
    }
    let fixture = Fixture::new(&[("store", "")]);
    fixture.file("store/src/a.rs", &source);
    let report = fixture.report();
    assert!(report.findings.is_empty() && report.summary.ends_with("functions over 70: none"), "{report:?}");
}

#[test]
fn nothing_is_left_unfinished() {
    let cases = [
        ("fn f() { todo!() }", 1),
        ("fn f() { unimplemented!(\"x\") }", 1),
        ("#[test]\n#[ignore]\nfn f() {}", 1),
        ("#[ignore = \"slow\"]\nfn f() {}", 1),
        ("#[cfg_attr(unix, ignore)]\nfn f() {}", 1),
        ("// TODO later", 1),
        ("/* a\n * FIXME(me): b */", 1),
        ("// TODO(#): c", 1),
        ("// TODO(#12): said in an issue", 0),
        ("const A: &str = \"TODO todo!()\";", 0),
        ("#[serde(ignore)]\nfn todo() {}", 0),
        ("/// ```\n/// f();\n/// ```\nfn f() {}", 1),
        ("/// ```text\n/// a -> b\n/// ```\nfn f() {}", 0),
    ];
    for (source, findings) in cases {
        let found = pure_source(source);
        assert_eq!(found.len(), findings, "{source}: {found:?}");
        assert!(found.iter().all(|place| place.ends_with("[habits]")));
    }
    assert_eq!(pure_source("/* a\n * FIXME b */"), ["policy/src/rules.rs:2: [habits]"]);
}

#[test]
fn a_module_is_not_called_mod() {
    let fixture = Fixture::new(&[("store", "")]);
    fixture.file("store/src/rows/mod.rs", "");
    assert_eq!(fixture.places(), ["store/src/rows/mod.rs:1: [habits]"]);
}

#[test]
fn every_crate_root_says_what_it_is() {
    let fixture = Fixture::new(&[("store", "")]);
    for root in ["store/src/lib.rs", "store/src/main.rs", "store/src/bin/tool.rs"] {
        for undocumented in
            ["", "pub fn f() {}\n", "// plain\n", "mod a {\n//! inner\n}\n", "#![allow(x)]\nfn f() {}\n"]
        {
            fixture.file(root, undocumented);
            assert_eq!(fixture.places(), [format!("{root}:1: [habits]")], "{undocumented}");
        }
        fixture.file(root, &format!("#![forbid(unsafe_code)]\n{DOCS}pub fn f() {{}}\n"));
        assert!(fixture.places().is_empty());
    }
}

#[test]
fn the_tree_of_this_project_can_be_read() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let report = inspect(root).unwrap();
    assert!(report.findings.iter().all(|f| root.join(&f.path).is_file() && f.line > 0));
}
