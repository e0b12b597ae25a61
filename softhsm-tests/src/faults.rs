//! Orders for the faulting module, `p11fault`.

use crate::kind::{Kind, Token};
use std::path::{Path, PathBuf};

/// The rules in force for this process.
pub struct Faults {
    file: PathBuf,
    log: PathBuf,
}

impl Faults {
    /// A token that is reached through the faulting module, and the orders for it.
    pub fn token<K: Kind>(dir: &Path) -> (Token, Self) {
        // Cargo builds it because this crate depends on it, beside this program.
        let module = std::env::current_exe().unwrap().with_file_name(p11fault::FILE_NAME);
        assert!(module.exists(), "{} is missing: run `cargo build -p tally-p11fault`", module.display());
        let token = Token { module, ..Token::create::<K>(dir) };
        (token, Self { file: dir.join("faults"), log: dir.join("faulted") })
    }

    /// Orders faults in place of those before, and forgets which calls were faulted. Releases calls that hang.
    pub fn order(&self, rules: &str) {
        let next = self.file.with_extension("next");
        std::fs::write(&next, rules).unwrap();
        let _none = std::fs::remove_file(&self.log);
        std::fs::rename(next, &self.file).unwrap();
    }

    /// Ends all faults.
    pub fn end(&self) {
        self.order("");
    }

    /// How often `function` was faulted since the order.
    pub fn count(&self, function: &str) -> usize {
        std::fs::read_to_string(&self.log).unwrap_or_default().lines().filter(|l| *l == function).count()
    }
}
