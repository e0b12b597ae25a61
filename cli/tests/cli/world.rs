//! A directory, a stand-in for `tallyd`, and the program under test.

use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};
use tally_domain::dsse::SigningKey;

/// What the stand-in does when it is to run as a node.
pub enum Stub {
    /// Ends at once.
    Ends,
    /// Runs until it is told to stop, and serves nothing.
    Runs,
}

pub struct World {
    pub dir: tempfile::TempDir,
}

pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}\n{}", self.stdout, self.stderr))
    }
}

impl World {
    pub fn new(stub: Stub) -> Self {
        let world = Self { dir: tempfile::tempdir().unwrap() };
        let identity = |i: u8| format!("{{\"identity\":\"{}\"}}", SigningKey::ed25519(&[i; 32]).verifying_key());
        let cases: String = (1..=5).map(|i| format!("  *node-{i}/*) echo '{}';;\n", identity(i))).collect();
        let run = match stub {
            Stub::Ends => "echo 'this is no node' >&2; exit 7",
            Stub::Runs => "trap 'exit 0' TERM; while :; do sleep 0.05; done",
        };
        let script =
            format!("#!/bin/sh\nif [ \"$3\" = --init ]; then case \"$2\" in\n{cases}esac; exit 0; fi\n{run}\n");
        let path = world.path("tallyd");
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        world
    }

    /// A world with a cluster in `d`, on free ports.
    pub fn with_cluster(stub: Stub) -> Self {
        let world = Self::new(stub);
        let made = world.tally(&["dev", "init", "--dir", "d", "--base-port", "0", "--tallyd", "tallyd"]);
        assert_eq!(made.code, 0, "{}", made.stderr);
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tally"));
        command.args(args).current_dir(self.dir.path()).env_remove("TALLY_PROFILE");
        command
    }

    pub fn tally(&self, args: &[&str]) -> Ran {
        ran(self.command(args).output().unwrap())
    }

    /// With the client's profile.
    pub fn client(&self, args: &[&str]) -> Ran {
        ran(self.command(args).env("TALLY_PROFILE", "d/client/profile.toml").output().unwrap())
    }
}

pub fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code().expect("ended by a signal"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
