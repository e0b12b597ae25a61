//! The last line: what is logged passes a scrubber that takes card numbers out. Nothing should reach it; what does is counted
//! and told, because it is a bug.

use std::io::{Stderr, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tally_tokenization::scrub::scrub;

/// Where a log is written to, without card numbers.
pub struct Scrubbed<W> {
    to: W,
    /// Card numbers that were about to be logged.
    masked: Arc<AtomicU64>,
}

/// Standard error, without card numbers; all that are made of one call count together.
pub fn scrubbed_stderr() -> impl Fn() -> Scrubbed<Stderr> {
    let masked = Arc::new(AtomicU64::new(0));
    move || Scrubbed { to: std::io::stderr(), masked: masked.clone() }
}

impl<W: Write> Write for Scrubbed<W> {
    /// A line at a time, which is how the log is written.
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let (clean, masked) = scrub(line);
        self.to.write_all(&clean)?;
        if masked > 0 {
            let all = self.masked.fetch_add(masked, Ordering::Relaxed).saturating_add(masked);
            let told = format!("tallyd: card numbers were about to be logged, {all} since the start: report this\n");
            self.to.write_all(told.as_bytes())?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn card_numbers_in_a_log_are_taken_out_and_counted() {
        let masked = Arc::new(AtomicU64::new(0));
        let mut out = Vec::new();
        for line in ["kept 4111111111111111 and 5555-5555-5555-4444\n", "nothing\n", "pan=378282246310005\n"] {
            let mut log = Scrubbed { to: &mut out, masked: masked.clone() };
            assert_eq!(log.write(line.as_bytes()).unwrap(), line.len());
        }
        let told = |n| format!("tallyd: card numbers were about to be logged, {n} since the start: report this\n");
        let expected = format!("kept [PAN] and [PAN]\n{}nothing\npan=[PAN]\n{}", told(2), told(3));
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        assert_eq!(masked.load(Ordering::Relaxed), 3);
    }
}
