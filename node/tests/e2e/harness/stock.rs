//! Programs in other languages: what they need is installed once below `target/`, exactly as their lock files say.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tally_domain::Digest;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn example(name: &str) -> PathBuf {
    root().join("examples").join(name)
}

pub fn proto() -> PathBuf {
    root().join("proto").canonicalize().unwrap()
}

/// A Python with the client that is generated from the contract.
pub fn python() -> PathBuf {
    needs("python3");
    let mut sources = vec![example("python/requirements.txt"), example("python/setup.sh"), example("errors.proto")];
    sources.extend(files(&proto().join("tally/v1")));
    let dir = prepared("python", &sources, |dir| done(Command::new(example("python/setup.sh")).arg(dir)));
    dir.join("bin/python")
}

/// `examples/python/sign.py`
pub fn sign_py() -> PathBuf {
    example("python/sign.py")
}

/// A Python with web3.py.
pub fn web3py() -> PathBuf {
    needs("python3");
    let sources = [example("web3py/requirements.txt"), example("web3py/setup.sh")];
    prepared("web3py", &sources, |dir| done(Command::new(example("web3py/setup.sh")).arg(dir))).join("bin/python")
}

/// `examples/web3py/pay.py`
pub fn pay_py() -> PathBuf {
    example("web3py/pay.py")
}

/// `examples/typescript`, compiled; gives `sign.js`.
pub fn sign_js() -> PathBuf {
    let build = |dir: &Path| done(Command::new("npm").args(["run", "--silent", "build"]).current_dir(dir));
    npm("typescript", &["package.json", "package-lock.json", "tsconfig.json", "src/sign.ts"], build)
        .join("dist/sign.js")
}

/// `examples/ethers` with its packages, and anvil among them.
pub fn ethers() -> PathBuf {
    npm("ethers", &["package.json", "package-lock.json", "pay.mjs"], |_| ())
}

/// anvil: its package, which npm has installed if this is x86-64, or what is on the PATH.
pub fn anvil() -> PathBuf {
    let packaged = ethers().join("node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil");
    if packaged.is_file() {
        return packaged;
    }
    let found = Command::new("anvil").arg("--version").output().is_ok_and(|output| output.status.success());
    assert!(found, "anvil is missing: npm has it for x86-64 only, so put foundry's `anvil` on the PATH");
    "anvil".into()
}

fn npm(name: &str, sources: &[&str], build: impl Fn(&Path)) -> PathBuf {
    needs("npm");
    let from = example(name);
    let paths: Vec<_> = sources.iter().map(|source| from.join(source)).collect();
    prepared(name, &paths, |dir| {
        for source in sources {
            std::fs::create_dir_all(dir.join(source).parent().unwrap()).unwrap();
            std::fs::copy(from.join(source), dir.join(source)).unwrap();
        }
        done(Command::new("npm").args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(dir));
        build(dir);
    })
}

/// A directory for these sources, made when they change. Other tests of this kind wait.
fn prepared(name: &str, sources: &[PathBuf], make: impl Fn(&Path)) -> PathBuf {
    let content: Vec<u8> = sources.iter().flat_map(|source| std::fs::read(source).unwrap()).collect();
    let stock = Path::new(env!("CARGO_TARGET_TMPDIR")).join("stock");
    std::fs::create_dir_all(&stock).unwrap();
    let dir = stock.join(format!("{name}-{}", Digest::of(&content).to_string().split_at(16).0));
    let lock = std::fs::File::create(stock.join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();
    if !dir.join("ready").exists() {
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir(&dir).unwrap();
        make(&dir);
        std::fs::write(dir.join("ready"), "").unwrap();
    }
    dir
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn needs(program: &str) {
    let found = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    assert!(found, "{program} is missing; install it with `scripts/setup` (apt-get install nodejs npm python3-venv)");
}

fn done(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}; `scripts/setup` installs what is missing", said(&output));
}

/// Everything that a program has printed.
pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
