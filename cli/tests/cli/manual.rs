//! What shells and `man` are told is what the program takes.

use crate::world::{Stub, World};
use std::process::Command;

#[test]
fn shells_complete_every_command() {
    let world = World::new(Stub::Ends);
    for shell in ["bash", "zsh", "fish"] {
        let done = world.tally(&["completion", shell]);
        assert_eq!(done.code, 0, "{}", done.stderr);
        for word in ["sign", "policy", "request-id", "completion"] {
            assert!(done.stdout.contains(word), "{shell} is not told of {word}");
        }
        if shell == "bash" {
            let script = world.path("tally.bash");
            std::fs::write(&script, &done.stdout).unwrap();
            let asked =
                "source \"$1\"; COMP_WORDS=(tally key cr); COMP_CWORD=2; _tally tally cr key; echo \"${COMPREPLY[@]}\"";
            let output = Command::new("bash").args(["-c", asked, "bash"]).arg(&script).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "create", "{output:?}");
        }
    }
    assert_eq!(world.tally(&["completion", "tcsh"]).code, 2);
}

#[test]
fn each_command_has_a_page() {
    let world = World::new(Stub::Ends);
    let done = world.tally(&["--json", "man", "pages"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let pages = done.json()["pages"].as_array().unwrap().clone();
    assert!(pages.len() > 40, "{pages:?}");
    let page = |name: &str| std::fs::read_to_string(world.path(&format!("pages/{name}"))).unwrap();
    assert!(page("tally.1").contains(".TH tally 1"));
    let create = page("tally-key-create.1");
    assert!(create.contains("\\-\\-threshold") && create.contains("\\-\\-json"), "{create}");
    let mut found = Vec::new();
    described(&world, &mut Vec::new(), &mut found);
    found.sort();
    let mut named: Vec<_> = pages.iter().map(|page| page.as_str().unwrap().to_owned()).collect();
    named.sort();
    assert_eq!(found, named, "a page for each command, and none for what there is no more");
    std::fs::write(world.path("file"), "").unwrap();
    let refused = world.tally(&["man", "file"]);
    assert!(refused.code == 1 && refused.stderr.contains("cannot make"), "{}", refused.stderr);
}

/// Each command that `--help` names has a page, which has each option that `--help` has.
fn described(world: &World, path: &mut Vec<String>, found: &mut Vec<String>) {
    let mut args: Vec<&str> = path.iter().map(String::as_str).collect();
    args.push("--help");
    let help = world.tally(&args).stdout;
    let name = format!("{}.1", [&["tally".to_owned()], path.as_slice()].concat().join("-"));
    let page = std::fs::read_to_string(world.path(&format!("pages/{name}"))).unwrap_or_else(|e| panic!("{name}: {e}"));
    let begins =
        |line: &str| line.trim_start().split([' ', ',']).find(|word| word.starts_with("--")).map(str::to_owned);
    let options = help.lines().filter(|line| line.trim_start().starts_with('-')).filter_map(begins);
    for option in options {
        assert!(page.contains(&option.replace('-', "\\-")), "{name} has no {option}");
    }
    found.push(name);
    let commands = help.split("\nCommands:\n").nth(1).unwrap_or_default().lines();
    let commands = commands.take_while(|line| !line.is_empty()).filter_map(|line| line.strip_prefix("  "));
    let commands = commands.filter(|line| !line.starts_with(' ')).filter_map(|line| line.split_whitespace().next());
    for command in commands.filter(|command| *command != "help") {
        path.push(command.to_owned());
        described(world, path, found);
        path.pop();
    }
}
