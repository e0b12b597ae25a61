//! The file of rules: reading it, and finding the one that applies to a call.

use cryptoki_sys::{CK_RV, CK_SLOT_ID};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What every call returns while the file of rules does not read: a vendor's code that no module here gives.
pub const UNREADABLE: CK_RV = 0x8000_0bad;

/// How often a call that hangs looks whether it is released.
const RELEASE_EVERY: Duration = Duration::from_millis(5);

static RULES: Mutex<Rules> = Mutex::new(Rules { version: None, list: Ok(Vec::new()) });

/// What is to be done to one call.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Fault {
    pub rv: Option<CK_RV>,
    pub delay: Duration,
    pub hang: bool,
    pub close_all: Option<CK_SLOT_ID>,
    pub after: bool,
    pub flip: bool,
    pub crash: bool,
}

/// A file as it was: inode, size, time of change. `None` for one that is not there.
pub type Version = Option<(u64, u64, i64, i64)>;

struct Rules {
    version: Version,
    list: Result<Vec<Rule>, ()>,
}

#[derive(Debug, PartialEq, Eq)]
struct Rule {
    /// `None` for every function.
    function: Option<String>,
    fault: Fault,
    skip: u64,
    count: Option<u64>,
}

/// The fault ordered for this call, if any, and by which version of the file. `gives` is whether the call gives
/// something out.
pub fn fault_for(function: &str, gives: bool) -> Option<(Fault, Version)> {
    let mut rules = RULES.lock().unwrap_or_else(PoisonError::into_inner);
    let now = version();
    if rules.version != now {
        let text = file().and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
        *rules = Rules { version: now, list: text.lines().filter_map(parse).collect() };
    }
    let fault = match &mut rules.list {
        Ok(rules) => rules.iter_mut().find_map(|rule| rule.apply(function, gives))?,
        Err(()) => Fault { rv: Some(UNREADABLE), ..Fault::default() },
    };
    note(function);
    Some((fault, now))
}

/// Blocks for as long as the file is the one that ordered it.
pub fn hang(ordered_by: Version) {
    while version() == ordered_by {
        std::thread::sleep(RELEASE_EVERY);
    }
}

fn file() -> Option<PathBuf> {
    std::env::var_os("P11FAULT_FILE").map(PathBuf::from)
}

fn version() -> Version {
    let m = fs::metadata(file()?).ok()?;
    Some((m.ino(), m.size(), m.mtime(), m.mtime_nsec()))
}

/// Appends to the log; without one, or where it cannot be written, nobody reads it.
fn note(function: &str) {
    let Some(path) = std::env::var_os("P11FAULT_LOG") else { return };
    if let Ok(mut log) = fs::OpenOptions::new().create(true).append(true).open(path) {
        let _unread = log.write_all(format!("{function}\n").as_bytes());
    }
}

impl Rule {
    /// Counts a call that the rule is about; the fault if it is this call's turn.
    fn apply(&mut self, function: &str, gives: bool) -> Option<Fault> {
        if self.function.as_deref().is_some_and(|f| f != function) || (self.fault.flip && !gives) {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        match &mut self.count {
            Some(0) => return None,
            Some(left) => *left -= 1,
            None => {}
        }
        Some(self.fault)
    }
}

/// A line's rule; `None` for an empty line or a comment.
fn parse(line: &str) -> Option<Result<Rule, ()>> {
    let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
    let function = words.next()?;
    let function = (function != "*").then(|| function.to_owned());
    let mut rule = Rule { function, fault: Fault::default(), skip: 0, count: None };
    Some(words.try_for_each(|word| order(&mut rule, word).ok_or(())).map(|()| rule))
}

fn order(rule: &mut Rule, word: &str) -> Option<()> {
    let (name, value) = word.split_once('=').unwrap_or((word, ""));
    let number = || match value.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => value.parse().ok(),
    };
    match name {
        "rv" => rule.fault.rv = Some(number()?),
        "delay_ms" => rule.fault.delay = Duration::from_millis(number()?),
        "close_all" => rule.fault.close_all = Some(number()?),
        "skip" => rule.skip = number()?,
        "count" => rule.count = Some(number()?),
        "hang" if value.is_empty() => rule.fault.hang = true,
        "after" if value.is_empty() => rule.fault.after = true,
        "flip" if value.is_empty() => rule.fault.flip = true,
        "crash" if value.is_empty() => rule.fault.crash = true,
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(line: &str) -> Rule {
        parse(line).unwrap().unwrap()
    }

    #[test]
    fn every_word_of_a_rule_is_read_and_any_other_is_refused() {
        let all = rule("C_Sign rv=0x30 delay_ms=50 hang count=2 skip=3 close_all=7 after flip crash # why");
        let fault = Fault {
            rv: Some(0x30),
            delay: Duration::from_millis(50),
            hang: true,
            close_all: Some(7),
            after: true,
            flip: true,
            crash: true,
        };
        assert_eq!(all, Rule { function: Some("C_Sign".into()), fault, skip: 3, count: Some(2) });
        assert_eq!(rule("* rv=5").function, None);
        assert!(parse("").is_none() && parse("  # nothing").is_none());
        for bad in ["C_Sign rv", "C_Sign rv=0xzz", "C_Sign hung", "C_Sign after=1", "* delay_ms=-1"] {
            assert_eq!(parse(bad), Some(Err(())), "{bad}");
        }
    }

    #[test]
    fn skip_and_count_choose_the_calls() {
        let mut some = rule("C_Sign rv=1 skip=1 count=2");
        let hits: Vec<bool> = (0..5).map(|_| some.apply("C_Sign", true).is_some()).collect();
        assert_eq!(hits, [false, true, true, false, false]);
        assert!(some.apply("C_Verify", true).is_none());
        let mut flip = rule("* flip count=1");
        assert!(flip.apply("C_Sign", false).is_none(), "a query for a length has nothing to flip");
        assert!(flip.apply("C_Sign", true).is_some() && flip.apply("C_Sign", true).is_none());
    }
}
