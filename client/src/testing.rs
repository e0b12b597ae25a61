//! What is decoded here and nowhere else, for those who try what cannot be decoded.

use crate::ClientError;
use crate::answer::{self, BadField};
use crate::profile::{self, ProfileError};
use prost::Message;
use std::fmt::Debug;
use std::path::Path;
use tally_domain::dsse::VerifyingKey;
use tally_proto::v1;

/// What became of the bytes of an answer.
pub enum Answered {
    /// It is not protobuf.
    NoMessage,
    /// This field of it is not valid.
    BadField(&'static str),
    /// What is shown of it. Secrets in it are not.
    Read(String),
}

type Reader = fn(&[u8]) -> Answered;

/// Every answer that a node gives, by name.
pub const ANSWERS: [(&str, Reader); 23] = [
    ("signed", |b| of(b, answer::signed)),
    ("key", |b| of(b, |k: v1::Key| answer::key(Some(k)))),
    ("request", |b| of(b, |r: v1::Request| answer::request(Some(r)))),
    ("page", |b| of(b, answer::page)),
    ("pending", |b| of(b, |p: v1::PendingRequest| answer::pending(Some(p)))),
    ("proposed", |b| of(b, answer::proposed)),
    ("vetoed", |b| of(b, answer::vetoed)),
    ("history", |b| of(b, answer::history)),
    ("frozen", |b| of(b, answer::frozen)),
    ("unfrozen", |b| of(b, answer::unfrozen)),
    ("judgement", |b| of(b, |j: v1::Judgement| answer::judgement(Some(j)))),
    ("explained", |b| of(b, answer::explained)),
    ("replayed", |b| of(b, answer::replayed)),
    ("limits", |b| of(b, |r| answer::limits(r).map(|info| (answer::together(std::slice::from_ref(&info)), info)))),
    ("node", |b| of(b, answer::node)),
    ("policy", |b| of(b, answer::policy)),
    ("domain", |b| of(b, |d: v1::TokenDomain| answer::domain(Some(d)))),
    ("token", |b| of(b, answer::token_info)),
    ("tokenized", |b| of(b, answer::tokenized)),
    ("found", |b| of(b, answer::found)),
    ("data key", |b| of(b, |r| answer::data_key(r).map(|key| key.wrapped))),
    ("unwrapped", |b| of(b, |r| answer::unwrapped(r).map(|opened| opened.by))),
    ("kek", |b| of(b, |k: v1::Kek| answer::kek(Some(k)))),
];

fn of<M: Message + Default, T: Debug>(bytes: &[u8], read: impl FnOnce(M) -> Result<T, BadField>) -> Answered {
    match M::decode(bytes).map(read) {
        Err(_) => Answered::NoMessage,
        Ok(Err(BadField(field))) => Answered::BadField(field),
        Ok(Ok(answer)) => Answered::Read(format!("{answer:?}")),
    }
}

/// What a status of a node says, whose details are these bytes.
pub fn status(code: i32, details: &[u8]) -> ClientError {
    let status = tonic::Status::with_details(tonic::Code::from_i32(code), "text", details.to_vec().into());
    ClientError::from_status("node-1", &status)
}

/// The details of a status as nodes write them: a reason word, and in how many seconds to come back.
pub fn status_details(word: &str, seconds: Option<u64>) -> Vec<u8> {
    use tonic_types::{ErrorDetails, StatusExt as _};
    let mut details =
        ErrorDetails::with_error_info(word, tally_domain::reason::ERROR_DOMAIN, [("rule".to_owned(), "r".to_owned())]);
    if let Some(seconds) = seconds {
        details.set_retry_info(Some(std::time::Duration::from_secs(seconds)));
    }
    tonic::Status::with_error_details(tonic::Code::Unknown, "text", details).details().to_vec()
}

/// When a node asks a client to come back, as the client then does.
pub fn comes_back(error: &ClientError) -> Option<std::time::Duration> {
    let mut plan = crate::retry::Plan::over(3, crate::ATTEMPTS_MAX);
    plan.next(0)?;
    plan.shed(error.retry_after()?);
    plan.next(u32::MAX).map(|next| next.pause)
}

/// Reads the text of a profile, without the files that it names; gives these.
///
/// # Errors
/// [`ProfileError`].
pub fn profile(text: &[u8], path: &Path) -> Result<Vec<std::path::PathBuf>, ProfileError> {
    profile::parse(text, path).map(|file| file.files(path))
}

/// The public half of a private key in a file of one line.
pub fn signing_key(bytes: &[u8]) -> Option<VerifyingKey> {
    profile::signing_key_in(bytes).map(|key| key.verifying_key())
}
