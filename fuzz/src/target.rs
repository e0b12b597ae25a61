//! The targets by name.

use crate::{
    answers, bodies, bundle, callers, cards, certificates, config, evm, frames, intent, late, log, payment, rounds,
    rows, rpc, sealed, sessions, signed, typed_data, words,
};
use std::fmt::Debug;

/// One decoder, or one family that reads the same bytes.
#[derive(Clone, Copy)]
pub struct Target {
    /// For commands, and for its directory in `corpus/`.
    pub name: &'static str,
    /// Reads bytes, and panics when what must hold does not.
    pub run: fn(&[u8]) -> Verdict,
    /// What is read. Changes begin with these.
    pub examples: fn() -> Vec<Vec<u8>>,
    /// Words that changes put in: what a reader looks for and chance does not find.
    pub words: &'static [&'static str],
}

/// What became of bytes, with a word for it. Bytes with a new word are worth changing further.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// They were read.
    Read(String),
    /// They were refused.
    Refused(String),
}

/// Longest word of a verdict.
const WORD_MAX: usize = 80;

impl Verdict {
    /// Of a result. Values within its words are left out, so that there are not as many words as values.
    pub fn of<T, E: Debug>(result: Result<T, E>, word: impl FnOnce(&T) -> String) -> Self {
        match result {
            Ok(value) => Self::Read(word(&value)),
            Err(error) => Self::refused(&error),
        }
    }

    /// Refused, for this reason.
    pub fn refused(why: &impl Debug) -> Self {
        Self::Refused(plain(&format!("{why:?}"), '"'))
    }

    /// Refused, with a sentence that quotes with backticks.
    pub fn said(sentence: &str) -> Self {
        Self::Refused(plain(sentence, '`'))
    }

    /// Whether they were read.
    pub fn is_read(&self) -> bool {
        matches!(self, Self::Read(_))
    }
}

/// What of a text does not depend on the values in it: not what is quoted, and no digits.
fn plain(text: &str, quote: char) -> String {
    let (mut word, mut quoted, mut escaped) = (String::new(), false, false);
    for c in text.chars() {
        quoted ^= c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        if !quoted && !c.is_ascii_digit() && word.len() < WORD_MAX {
            word.push(c);
        }
    }
    word
}

/// All of them.
pub const TARGETS: [Target; 34] = [
    Target { name: "intent", run: intent::intent, examples: intent::intents, words: intent::WORDS },
    Target { name: "spec", run: intent::spec, examples: intent::specs, words: intent::WORDS },
    Target { name: "envelope", run: signed::envelope, examples: signed::envelopes, words: signed::WORDS },
    Target { name: "statement", run: signed::statement, examples: signed::statements, words: signed::WORDS },
    Target { name: "body", run: bodies::body, examples: bodies::examples, words: bodies::WORDS },
    Target { name: "wrapped-key", run: sealed::wrapped_key, examples: sealed::wrapped_keys, words: &[] },
    Target { name: "share", run: sealed::share, examples: sealed::shares, words: &[] },
    Target { name: "round", run: rounds::round, examples: rounds::messages, words: &[] },
    Target { name: "late-round", run: late::round, examples: late::runs, words: &[] },
    Target { name: "session", run: sessions::session, examples: sessions::sessions, words: &[] },
    Target { name: "result", run: sessions::result, examples: sessions::results, words: &[] },
    Target {
        name: "certificate",
        run: certificates::certificate,
        examples: certificates::certificates,
        words: signed::WORDS,
    },
    Target { name: "row", run: rows::rows, examples: rows::examples, words: rows::WORDS },
    Target { name: "vault-row", run: rows::kept, examples: rows::kept_rows, words: &[] },
    Target { name: "audit", run: sessions::audited, examples: sessions::logs, words: signed::WORDS },
    Target { name: "answer", run: answers::answer, examples: answers::answers, words: answers::WORDS },
    Target { name: "refusal", run: answers::refusal, examples: answers::refusals, words: answers::WORDS },
    Target { name: "caller", run: callers::certificate, examples: callers::certificates, words: callers::WORDS },
    Target { name: "word", run: words::word, examples: words::words, words: words::WORDS },
    Target { name: "leaf", run: log::leaf, examples: log::leaves, words: signed::WORDS },
    Target { name: "export", run: log::export, examples: log::exports, words: &[] },
    Target { name: "checkpoint", run: log::checkpoint, examples: log::checkpoints, words: &["\n\n", "— ", "+", "0"] },
    Target { name: "bundle", run: bundle::archive, examples: bundle::archives, words: bundle::WORDS },
    Target { name: "bundle-file", run: bundle::file, examples: bundle::files, words: bundle::WORDS },
    Target { name: "contract-call", run: bundle::contract_call, examples: bundle::contract_calls, words: &[] },
    Target { name: "evm", run: evm::transaction, examples: evm::transactions, words: &[] },
    Target { name: "tx-request", run: evm::request, examples: evm::requests, words: rpc::WORDS },
    Target { name: "typed-data", run: typed_data::document, examples: typed_data::documents, words: typed_data::WORDS },
    Target { name: "payment", run: payment::file, examples: payment::files, words: payment::WORDS },
    Target { name: "frame", run: frames::stream, examples: frames::streams, words: &[] },
    Target { name: "frame-body", run: frames::body, examples: frames::bodies, words: &[] },
    Target { name: "json-rpc", run: rpc::call, examples: rpc::calls, words: rpc::WORDS },
    Target { name: "card", run: cards::card, examples: cards::cards, words: cards::WORDS },
    Target { name: "config", run: config::file, examples: config::files, words: config::WORDS },
];

/// The target of that name.
pub fn named(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}
