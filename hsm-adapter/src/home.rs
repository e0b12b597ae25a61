//! Which process something belongs to. A fork copies the memory of a module and of its users, but none of their threads; and
//! a module must be initialized again by whoever is forked (PKCS#11 2.20, section 6.6.1), which most modules do not notice:
//! they go on with the parent's sessions.

use tally_domain::ports::hsm::HsmError;

/// The process that made something.
#[derive(Clone, Copy)]
pub struct Home(u32);

impl Home {
    /// This process.
    pub fn here() -> Self {
        Self(std::process::id())
    }

    /// Whether this is that process, and not a copy of it.
    pub fn is_here(self) -> bool {
        self.0 == std::process::id()
    }

    /// What a copy is told, before any lock is touched: its owner may be a thread that was not copied.
    pub fn check(self) -> Result<(), HsmError> {
        if self.is_here() {
            Ok(())
        } else {
            Err(HsmError::Down { why: "it was connected to before this process was forked".into() })
        }
    }
}
