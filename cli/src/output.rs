//! Everything that is printed: plain text for people, one JSON document for scripts, and the exit code.

use crate::intents::Failed;
use serde_json::{Value, json};
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tally_client::{ClientError, Exit, Refused};
use tally_domain::UnixMillis;
use tally_domain::time::span_words;
use tally_tokenization::plain::without_digits;
use tally_tokenization::scrub::scrub;

/// How often the progress line is renewed.
const PROGRESS_TICK: Duration = Duration::from_millis(250);

/// What a command has to show at its end.
#[derive(Debug)]
pub struct Shown {
    text: String,
    json: Value,
    exit: Exit,
    /// Whether the text goes to standard error: what was asked for is not there, and standard output may be the next
    /// program's input.
    is_error: bool,
}

/// The command or what it was given is wrong.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Where and how it is printed.
#[derive(Debug, Clone, Copy)]
pub struct Out {
    json: bool,
}

impl Shown {
    /// A result.
    pub fn done(text: impl Into<String>, json: Value) -> Self {
        Self::with_exit(Exit::Done, text, json)
    }

    /// A result that is not a success.
    pub fn with_exit(exit: Exit, text: impl Into<String>, json: Value) -> Self {
        Self { text: text.into(), json, exit, is_error: false }
    }

    /// The same, with another exit code.
    pub fn ending(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }

    /// Nothing more to show.
    pub fn nothing(exit: Exit) -> Self {
        Self::with_exit(exit, "", Value::Null)
    }

    /// What an error looks like.
    pub fn failure(error: &anyhow::Error) -> Self {
        let failed = error.downcast_ref::<Failed>();
        let client = failed.map(|f| &f.error).or_else(|| error.downcast_ref::<ClientError>());
        let mut shown = match client.and_then(|client| client.refused()) {
            Some(refused) => Self { is_error: true, ..refusal(refused) },
            None => {
                let usual = if error.is::<Usage>() { Exit::Usage } else { Exit::Other };
                let exit = client.map_or(usual, ClientError::exit);
                let message = sentence(error);
                Self { text: format!("error: {message}"), json: error_document(exit, &message), exit, is_error: true }
            }
        };
        if let Some(failed) = failed {
            shown.add_request(failed);
        }
        shown
    }

    /// What an error repeats of what was given, a file's name for example, may be a card number in the wrong place.
    fn without_cards(self) -> Self {
        let clean = |text: &str| String::from_utf8_lossy(&scrub(text.as_bytes()).0).into_owned();
        let json = serde_json::from_str(&clean(&self.json.to_string())).unwrap_or(Value::Null);
        Self { text: clean(&self.text), json, ..self }
    }

    fn add_request(&mut self, failed: &Failed) {
        self.text.push_str(&format!("\n{}", field("request", failed.request_id)));
        if failed.can_be_sent_again {
            let again = format!("the same command with --request-id {}", failed.request_id);
            self.text.push_str(&format!("\n{}", field("retry", again)));
        }
        if let Value::Object(members) = &mut self.json {
            members.insert("request_id".into(), failed.request_id.to_string().into());
            members.insert("can_be_sent_again".into(), failed.can_be_sent_again.into());
        }
    }
}

/// Facts about a refusal that are shown before the others.
const FACTS_FIRST: [&str; 2] = ["rule", "condition"];

/// The word for a refusal: denied is not failed.
pub fn verdict(exit: Exit) -> &'static str {
    match exit {
        Exit::Done => "DONE",
        Exit::Denied => "DENIED",
        Exit::NeedsApproval => "NEEDS APPROVAL",
        Exit::Unavailable => "UNAVAILABLE",
        Exit::Other | Exit::Usage => "REFUSED",
    }
}

fn refusal(refused: &Refused) -> Shown {
    let exit = Exit::of(refused.reason);
    let mut lines = vec![format!("{} {}: {}", verdict(exit), refused.reason.as_str(), refused.sentence())];
    lines.extend(facts(refused));
    lines.push(field("endpoint", &refused.endpoint));
    Shown::with_exit(exit, lines.join("\n"), refusal_json(refused))
}

/// What a node says about a refusal, a line each.
pub fn facts(refused: &Refused) -> Vec<String> {
    let named = |name: &&str| refused.metadata.contains_key(*name);
    let first = FACTS_FIRST.into_iter().filter(named);
    let rest = refused.metadata.keys().map(String::as_str).filter(|name| !FACTS_FIRST.contains(name));
    first.chain(rest).filter_map(|name| Some(fact(name, refused.metadata.get(name)?))).collect()
}

/// A refusal for scripts.
pub fn refusal_json(refused: &Refused) -> Value {
    json!({
        // One word, as `tally policy simulate` and `explain` have it.
        "verdict": verdict(Exit::of(refused.reason)).to_lowercase().replace(' ', "-"),
        "reason": refused.reason.as_str(),
        "code": format!("{:?}", refused.code),
        "metadata": refused.metadata,
        "endpoint": refused.endpoint,
        "sentence": refused.sentence(),
    })
}

/// Numbers that are larger are moments, in milliseconds since 1970, not spans: the year 1973.
const MOMENTS_FROM_MS: u64 = 100_000_000_000;

/// A fact about a refusal: scripts get numbers, people get moments and spans.
fn fact(name: &str, value: &str) -> String {
    let read = |unit: &str, ms: u64| Some((name.strip_suffix(unit)?, value.parse::<u64>().ok()?.checked_mul(ms)?));
    match read("_ms", 1).or_else(|| read("_s", 1_000)) {
        Some((name, ms)) if ms >= MOMENTS_FROM_MS => field(&name.replace('_', " "), UnixMillis(ms)),
        Some((name, ms)) => field(&name.replace('_', " "), span_words(ms)),
        None => field(name, value),
    }
}

/// What is wrong, then why. Causes that the text before has named already are not named again.
pub fn sentence(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

fn error_document(exit: Exit, message: &str) -> Value {
    let kind = match exit {
        Exit::Usage => "usage",
        Exit::Denied => "denied",
        Exit::NeedsApproval => "needs_approval",
        Exit::Unavailable => "unavailable",
        Exit::Done | Exit::Other => "other",
    };
    json!({ "verdict": "error", "error": { "kind": kind, "message": message } })
}

/// What is said instead of a long number that was given in the wrong place.
const NOT_AN_ARGUMENT: &str = "note: a long number is not repeated here, as it may be a card number, and a card number is never an \
argument: it comes on standard input. Other users may have seen the command line, and the shell may keep it.";

/// Prints that the arguments make no command, or the help that they ask for; gives the exit code.
pub fn misread(wrong: &clap::Error) -> ExitCode {
    let json = std::env::args_os().any(|argument| argument == "--json");
    let rendered = wrong.render().to_string();
    let text = without_digits(&rendered);
    let meant = text != rendered && wrong.use_stderr();
    if !meant && (!json || !wrong.use_stderr()) {
        // Nowhere left to say that it cannot be printed.
        let _ = wrong.print();
        return ExitCode::from(u8::try_from(wrong.exit_code()).unwrap_or(Exit::Usage.code()));
    }
    let text = if meant { format!("{}\n\n{NOT_AN_ARGUMENT}", text.trim_end()) } else { text };
    let message = text.split("\n\nUsage:").next().unwrap_or_default().trim_start_matches("error: ").trim();
    let document = error_document(Exit::Usage, message);
    Out::new(json).finish(Shown { text, json: document, exit: Exit::Usage, is_error: true })
}

/// A line of a record: name, then value, aligned.
pub fn field(name: &str, value: impl std::fmt::Display) -> String {
    // What comes from elsewhere must not move the cursor or break the line.
    let value: String = value.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("  {name:<16} {value}")
}

impl Out {
    /// Text, or JSON.
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether JSON was asked for.
    pub fn is_json(self) -> bool {
        self.json
    }

    /// A line of text as it happens; nothing if JSON was asked for.
    pub fn say(self, line: &str) {
        if !self.json {
            // What comes at the end tells whether it can be written.
            drop(stdout(line));
        }
    }

    /// The JSON document of a command that goes on afterwards.
    pub fn document(self, json: &Value) {
        if self.json {
            drop(stdout(&format!("{json:#}")));
        }
    }

    /// One of many JSON documents, on one line.
    pub fn json_line(self, json: &Value) {
        if self.json {
            drop(stdout(&json.to_string()));
        }
    }

    /// What a person should know meanwhile; it is no part of what was asked for.
    pub fn note(self, text: &str) {
        stderr(&format!("note: {text}"));
    }

    /// Prints what a command has to show, and gives its exit code.
    pub fn finish(self, shown: Shown) -> ExitCode {
        let shown = if shown.is_error { shown.without_cards() } else { shown };
        let printed = match (self.json, shown.is_error) {
            (true, _) if shown.json.is_null() => Ok(()),
            (true, _) => stdout(&format!("{:#}", shown.json)),
            (false, _) if shown.text.is_empty() => Ok(()),
            (false, false) => stdout(&shown.text),
            (false, true) => {
                stderr(&shown.text);
                Ok(())
            }
        };
        match printed {
            Ok(()) => ExitCode::from(shown.exit.code()),
            Err(e) => {
                stderr(&format!("error: cannot write to standard output: {e}"));
                ExitCode::from(Exit::Other.code())
            }
        }
    }
}

/// Whoever reads it may have gone away, as `head` does; that it could not be written, to a full disk for example, is an error.
fn stdout(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

fn stderr(text: &str) {
    drop(writeln!(std::io::stderr(), "{text}"));
}

/// A line on the terminal while something takes long; gone when dropped. Nothing if standard error is no terminal.
pub struct Progress {
    ticking: Option<tokio::task::JoinHandle<()>>,
}

impl Progress {
    /// Shows `what` and the seconds that have gone by, of `of` if that is known.
    pub fn start(what: &str, of: Option<Duration>) -> Self {
        let (what, began) = (what.to_owned(), Instant::now());
        Self::ticking(move || progress_line(&what, began.elapsed(), of))
    }

    /// Shows `what` and how much of `all` is done; whoever does it counts.
    pub fn counted(what: &str, all: u64) -> (Self, Arc<AtomicU64>) {
        let (what, done) = (what.to_owned(), Arc::new(AtomicU64::new(0)));
        let counter = Arc::clone(&done);
        let line = move || {
            let share = done.load(Ordering::Relaxed) as f64 / all.max(1) as f64;
            format!("{what} {} {:.0} %", bar(share), share.min(1.0) * 100.0)
        };
        (Self::ticking(line), counter)
    }

    fn ticking(line: impl Fn() -> String + Send + 'static) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self { ticking: None };
        }
        let ticking = tokio::spawn(async move {
            loop {
                tokio::time::sleep(PROGRESS_TICK).await;
                drop(write!(std::io::stderr(), "\r\x1b[K{}", line()));
            }
        });
        Self { ticking: Some(ticking) }
    }
}

/// Width of the bar, in characters.
const BAR_WIDTH: usize = 24;

fn progress_line(what: &str, gone: Duration, of: Option<Duration>) -> String {
    let Some(of) = of else { return format!("{what} … {:.0} s", gone.as_secs_f64()) };
    let share = gone.as_secs_f64() / of.as_secs_f64().max(0.001);
    format!("{what} {} {:.0} of {:.0} s", bar(share), gone.as_secs_f64(), of.as_secs_f64())
}

fn bar(share: f64) -> String {
    let full = (share.min(1.0) * BAR_WIDTH as f64) as usize;
    format!("{}{}", "█".repeat(full), "░".repeat(BAR_WIDTH.saturating_sub(full)))
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(ticking) = self.ticking.take() {
            ticking.abort();
            drop(write!(std::io::stderr(), "\r\x1b[K"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_in_json_is_one_word_the_same_for_every_command() {
        let refused = Refused {
            endpoint: "n".into(),
            reason: tally_domain::Reason::ApprovalsRequired,
            code: tally_client::Code::FailedPrecondition,
            metadata: std::collections::BTreeMap::new(),
            retry_after: None,
        };
        let shown = refusal(&refused);
        assert_eq!(shown.json["verdict"], "needs-approval");
        assert!(shown.text.starts_with("NEEDS APPROVAL APPROVALS_REQUIRED"), "{}", shown.text);
    }

    #[test]
    fn people_are_told_moments_and_spans_not_milliseconds() {
        for (name, value, shown) in [
            ("due_ms", "1795298460000", "due              2026-11-21T22:01:00.000Z"),
            ("room_in_s", "3720", "room in          1 h 2 min"),
            ("rule", "payouts", "rule             payouts"),
            ("nodes_s", "many", "nodes_s          many"),
        ] {
            assert_eq!(fact(name, value), format!("  {shown}"));
        }
    }
}
