//! Places where a test kills this process for real (SIGKILL), just before and just after a step is durable; where it says that
//! the disk is full; and where it makes the node fall silent in a session. Only in debug builds; a release build has no such
//! places.

use tally_domain::KekState;
use tally_domain::ports::store::tokens::{CursorWrite, KeyWrite, VaultWrite};
use tally_domain::ports::store::{ApprovalWrite, BundleWrite, FreezeWrite, KekWrite, Step, StoreError, Write};

/// Before or after the step is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Nothing of it is on the disk.
    Before,
    /// It is on the disk, and nothing has been said of it.
    After,
}

/// A step that a test may name.
#[derive(Debug, Clone, Copy)]
pub struct Place(
    #[cfg_attr(not(debug_assertions), expect(dead_code, reason = "only debug builds have failpoints"))] &'static str,
);

impl Place {
    /// The place of a step: `vote`, `concur`, `release`, `complete`, `name`, `activate`, `wrap`, `rotate`, `destroying`,
    /// `destroyed`, `freeze`, `lift`, `await`, `said`, `bundle-seen`, `bundle-vote`, `bundle-veto`, `bundle-active`, `keep`,
    /// `shred`, `page`, `turn`, `turned`, `retire`, `gone`, `promise`, `share`, or none of them.
    pub fn of(step: &Step) -> Self {
        let name = step.writes.iter().find_map(|w| match w {
            Write::Kek(write) => kek(write),
            Write::Vault(write) => vault(write),
            Write::Vote { .. } => Some("vote"),
            Write::Release { .. } => Some("release"),
            Write::Complete { .. } => Some("complete"),
            Write::Abandon { .. } => Some("promise"),
            Write::PutPendingKey { .. } => Some("share"),
            Write::PutHsmKey { .. } => Some("name"),
            Write::ActivateHsmKey { .. } => Some("activate"),
            Write::Freeze(FreezeWrite::Put { .. }) => Some("freeze"),
            Write::Freeze(FreezeWrite::Lift { .. }) => Some("lift"),
            Write::Approval(ApprovalWrite::Await(_)) => Some("await"),
            Write::Approval(ApprovalWrite::Put(_)) => Some("said"),
            Write::Bundle(write) => bundle(write),
            _ => None,
        });
        // A vote of S takes claims too; one of another voter takes nothing else.
        let concurs = || step.writes.iter().any(|w| matches!(w, Write::Claim { .. }));
        Self(name.unwrap_or(if concurs() { "concur" } else { "" }))
    }

    /// Dies here, if `TALLY_FAILPOINT` names this place and moment, such as `release.before`.
    #[cfg(debug_assertions)]
    pub fn pass(self, moment: Moment) {
        let moment = match moment {
            Moment::Before => "before",
            Moment::After => "after",
        };
        if std::env::var("TALLY_FAILPOINT").is_ok_and(|wanted| wanted == format!("{}.{moment}", self.0)) {
            let me = rustix::process::getpid();
            // Nothing runs after this, even if the signal should fail.
            let _ = rustix::process::kill_process(me, rustix::process::Signal::KILL);
            std::thread::sleep(std::time::Duration::MAX);
        }
    }

    /// Release builds have no such places.
    #[cfg(not(debug_assertions))]
    pub fn pass(self, _: Moment) {}

    /// Finds the disk full, while the file that `TALLY_DISK_FULL` names has this place among its words.
    ///
    /// # Errors
    /// What the store says then.
    #[cfg(debug_assertions)]
    pub fn find_room(self) -> Result<(), StoreError> {
        if !self.0.is_empty() && words("TALLY_DISK_FULL").iter().any(|word| word == self.0) {
            return Err(StoreError::Unavailable { what: format!("full: a test says so of {}", self.0) });
        }
        Ok(())
    }

    /// Release builds ask the disk alone.
    #[cfg(not(debug_assertions))]
    pub fn find_room(self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Whether the node falls silent in this stage of a session: while the file that `TALLY_SILENT` names has it among its words.
#[cfg(debug_assertions)]
pub fn falls_silent(stage: &str) -> bool {
    words("TALLY_SILENT").iter().any(|word| word == stage)
}

/// In a release build a node says what it has to say.
#[cfg(not(debug_assertions))]
pub fn falls_silent(_: &str) -> bool {
    false
}

/// The words of the file that a variable names; none without either.
#[cfg(debug_assertions)]
fn words(variable: &str) -> Vec<String> {
    let text = std::env::var_os(variable).and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

fn vault(write: &VaultWrite) -> Option<&'static str> {
    match write {
        VaultWrite::PutTokens { .. } => Some("keep"),
        VaultWrite::Shred { .. } | VaultWrite::DeleteDomain { .. } => Some("shred"),
        VaultWrite::Key(KeyWrite::Reseal { .. } | KeyWrite::PutFingerprints { .. }) => Some("page"),
        VaultWrite::Key(KeyWrite::AddDataKey { .. } | KeyWrite::AddIndexKey { .. } | KeyWrite::AddKek { .. }) => {
            Some("turn")
        }
        VaultWrite::Cursor(CursorWrite::SetRotation { .. }) => Some("turned"),
        VaultWrite::Key(KeyWrite::RetireDataKey { .. } | KeyWrite::RetireKek { .. }) => Some("retire"),
        VaultWrite::Gone(_) => Some("gone"),
        _ => None,
    }
}

fn bundle(write: &BundleWrite) -> Option<&'static str> {
    match write {
        BundleWrite::Propose { .. } => Some("bundle-seen"),
        BundleWrite::Vote { .. } => Some("bundle-vote"),
        BundleWrite::Veto { .. } => Some("bundle-veto"),
        BundleWrite::Activate { .. } => Some("bundle-active"),
        BundleWrite::Begin { .. } | BundleWrite::StillActive { .. } => None,
    }
}

fn kek(write: &KekWrite) -> Option<&'static str> {
    match write {
        KekWrite::Put { .. } => Some("rotate"),
        KekWrite::Use { .. } => Some("wrap"),
        KekWrite::Change { to: KekState::Destroying, .. } => Some("destroying"),
        KekWrite::Change { to: KekState::Destroyed, .. } => Some("destroyed"),
        KekWrite::Change { .. } => None,
    }
}
