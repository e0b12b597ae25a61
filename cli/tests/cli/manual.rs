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
    std::fs::write(world.path("file"), "").unwrap();
    let refused = world.tally(&["man", "file"]);
    assert!(refused.code == 1 && refused.stderr.contains("cannot make"), "{}", refused.stderr);
}
