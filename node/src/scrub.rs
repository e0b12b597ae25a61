//! The last line: what is logged passes a scrubber that takes card numbers out. Nothing should reach it; what does is counted
//! and told, because it is a bug.

use std::io::{Stderr, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use tally_tokenization::scrub::scrub;

/// Card numbers that were about to be logged since the start.
static SCRUBBED: AtomicU64 = AtomicU64::new(0);

/// Standard error, without card numbers.
pub struct Scrubbed(Stderr);

/// Where a log is written to.
pub fn scrubbed_stderr() -> Scrubbed {
    Scrubbed(std::io::stderr())
}

impl Write for Scrubbed {
    /// A line at a time, which is how the log is written.
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let (clean, masked) = scrub(line);
        self.0.write_all(&clean)?;
        if masked > 0 {
            let all = SCRUBBED.fetch_add(masked, Ordering::Relaxed).saturating_add(masked);
            let told = format!("tallyd: card numbers were about to be logged, {all} since the start: report this\n");
            self.0.write_all(told.as_bytes())?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}
