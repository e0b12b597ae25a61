//! Everything that is printed: plain text for people, one JSON document for scripts, and the exit code.

use serde_json::{Value, json};
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tally_client::{ClientError, Exit, Refused};

/// How often the progress line is renewed.
const PROGRESS_TICK: Duration = Duration::from_millis(250);

/// What a command has to show at its end.
#[derive(Debug)]
pub struct Shown {
    text: String,
    json: Value,
    exit: Exit,
    /// Errors go to standard error; verdicts, denials included, are results.
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

    /// Nothing more to show.
    pub fn nothing(exit: Exit) -> Self {
        Self::with_exit(exit, "", Value::Null)
    }

    /// What an error looks like.
    pub fn failure(error: &anyhow::Error) -> Self {
        if let Some(client) = error.downcast_ref::<ClientError>() {
            if let Some(refused) = client.refused() {
                return refusal(refused, client.exit());
            }
            let json = json!({ "verdict": "error", "error": format!("{error:#}") });
            return Self { text: format!("error: {error:#}"), json, exit: client.exit(), is_error: true };
        }
        let exit = if error.is::<Usage>() { Exit::Usage } else { Exit::Other };
        let json = json!({ "verdict": "error", "error": format!("{error:#}") });
        Self { text: format!("error: {error:#}"), json, exit, is_error: true }
    }
}

/// The word for a refusal: denied is not failed.
pub fn verdict(exit: Exit) -> &'static str {
    match exit {
        Exit::Done => "DONE",
        Exit::Denied => "DENIED",
        Exit::Unavailable => "UNAVAILABLE",
        Exit::Other | Exit::Usage => "REFUSED",
    }
}

fn refusal(refused: &Refused, exit: Exit) -> Shown {
    let mut lines = vec![format!("{} {}", verdict(exit), refused.reason.as_str())];
    lines.extend(refused.metadata.iter().map(|(name, value)| field(name, value)));
    lines.push(field("node", &refused.endpoint));
    lines.push(refused.sentence().to_owned());
    let json = json!({
        "verdict": verdict(exit).to_lowercase(),
        "reason": refused.reason.as_str(),
        "code": format!("{:?}", refused.code),
        "metadata": refused.metadata,
        "endpoint": refused.endpoint,
        "sentence": refused.sentence(),
    });
    Shown::with_exit(exit, lines.join("\n"), json)
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

    /// A line of text as it happens; nothing if JSON was asked for.
    pub fn say(self, line: &str) {
        if !self.json {
            stdout(line);
        }
    }

    /// The JSON document of a command that goes on afterwards.
    pub fn document(self, json: &Value) {
        if self.json {
            stdout(&format!("{json:#}"));
        }
    }

    /// Prints what a command has to show, and gives its exit code.
    pub fn finish(self, shown: Shown) -> ExitCode {
        match (self.json, shown.is_error) {
            (true, _) if shown.json.is_null() => {}
            (true, _) => stdout(&format!("{:#}", shown.json)),
            (false, _) if shown.text.is_empty() => {}
            (false, false) => stdout(&shown.text),
            (false, true) => stderr(&shown.text),
        }
        ExitCode::from(shown.exit.code())
    }
}

fn stdout(text: &str) {
    // A reader that has gone away is no reason to fail.
    drop(writeln!(std::io::stdout(), "{text}"));
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
        if !std::io::stderr().is_terminal() {
            return Self { ticking: None };
        }
        let (what, began) = (what.to_owned(), Instant::now());
        let ticking = tokio::spawn(async move {
            loop {
                tokio::time::sleep(PROGRESS_TICK).await;
                drop(write!(std::io::stderr(), "\r\x1b[K{}", progress_line(&what, began.elapsed(), of)));
            }
        });
        Self { ticking: Some(ticking) }
    }
}

/// Width of the bar, in characters.
const BAR_WIDTH: usize = 24;

fn progress_line(what: &str, gone: Duration, of: Option<Duration>) -> String {
    let Some(of) = of else { return format!("{what} … {:.0} s", gone.as_secs_f64()) };
    let share = (gone.as_secs_f64() / of.as_secs_f64().max(0.001)).min(1.0);
    let full = (share * 24.0) as usize;
    let bar = format!("{}{}", "█".repeat(full), "░".repeat(BAR_WIDTH.saturating_sub(full)));
    format!("{what} {bar} {:.0} of {:.0} s", gone.as_secs_f64(), of.as_secs_f64())
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(ticking) = self.ticking.take() {
            ticking.abort();
            drop(write!(std::io::stderr(), "\r\x1b[K"));
        }
    }
}
