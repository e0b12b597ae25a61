//! What a client asks of a token domain. It holds no card number and no subject: those travel beside the intent, and are in
//! it as a commitment.

use crate::pan::Form;
use prost::Message as _;
use tally_domain::digest::{Digest, TaggedHash};
use tally_domain::intent::{Action, BadIntent, decode_canonical};
use tally_domain::token::Token;
use tally_domain::{RequestId, Subject};

/// Bytes of the salt in a commitment: as strong as the hash.
pub const SALT_BYTES: usize = 32;

/// Longest purpose: a word of the policy.
pub const PURPOSE_MAX_BYTES: usize = 64;

/// Most rows of one stream; larger work is several streams, and several entries in the log.
pub const ROWS_MAX: u32 = 10_000_000;

/// What a client asks for: the content of an intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenCall {
    /// What for, as a word of the policy; empty where nothing is revealed and nobody says.
    pub purpose: String,
    /// What.
    pub call: Call,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Keep a card number that travels beside the intent, and give a token for it.
    Tokenize {
        /// [`commitment`] of it.
        card: Digest,
    },
    /// Show a card number, or part of it.
    Reveal {
        /// Its token.
        token: Token,
        /// How much.
        form: Form,
    },
    /// Find the tokens of a card number that travels beside the intent.
    Search {
        /// [`commitment`] of it.
        card: Digest,
    },
    /// Show what may be told of a token.
    Show {
        /// Which.
        token: Token,
    },
    /// Have a token revealed no more until it is resumed.
    Suspend {
        /// Which.
        token: Token,
    },
    /// Have a suspended token revealed again.
    Resume {
        /// Which.
        token: Token,
    },
    /// Destroy the card number of a token.
    Delete {
        /// Which.
        token: Token,
    },
    /// Destroy all card numbers of a subject that travels beside the intent.
    DeleteSubject {
        /// [`commitment`] of it.
        subject: Digest,
    },
    /// Keep many card numbers.
    TokenizeMany {
        /// At most so many.
        rows_max: u32,
        /// Which file they come from, if from one.
        import: Option<Import>,
    },
    /// Show many card numbers, or parts of them.
    RevealMany {
        /// At most so many.
        rows_max: u32,
        /// How much.
        form: Form,
    },
}

/// A file that is imported, in one stream or several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Import {
    /// Names the import: the same in all of its streams.
    pub id: RequestId,
    /// SHA-256 of the file, so that another one is not taken for the rest of it.
    pub source: Digest,
}

impl Call {
    /// The intent's action.
    pub fn action(&self) -> Action {
        match self {
            Self::Tokenize { .. } => Action::Tokenize,
            Self::Reveal { .. } => Action::Reveal,
            Self::Search { .. } => Action::SearchToken,
            Self::Show { .. } => Action::ShowToken,
            Self::Suspend { .. } => Action::SuspendToken,
            Self::Resume { .. } => Action::ResumeToken,
            Self::Delete { .. } | Self::DeleteSubject { .. } => Action::DeleteToken,
            Self::TokenizeMany { .. } => Action::TokenizeMany,
            Self::RevealMany { .. } => Action::RevealMany,
        }
    }

    /// How much of card numbers is shown, if any.
    pub fn form(&self) -> Option<Form> {
        match self {
            Self::Reveal { form, .. } | Self::RevealMany { form, .. } => Some(*form),
            _ => None,
        }
    }

    /// The token that it is about, if one.
    pub fn token(&self) -> Option<&Token> {
        match self {
            Self::Reveal { token, .. }
            | Self::Show { token }
            | Self::Suspend { token }
            | Self::Resume { token }
            | Self::Delete { token } => Some(token),
            _ => None,
        }
    }

    /// At most so many rows.
    pub fn rows(&self) -> u32 {
        match self {
            Self::TokenizeMany { rows_max, .. } | Self::RevealMany { rows_max, .. } => *rows_max,
            _ => 1,
        }
    }
}

/// Binds an intent to a card number, a subject or both, without saying anything about them, however few values they may
/// have: the salt is random and is shown to the node only. The card number as it is sent.
pub fn commitment(salt: &[u8; SALT_BYTES], card: &[u8], subject: Option<&Subject>) -> Digest {
    let subject = subject.map_or("", Subject::as_str);
    TaggedHash::new("tally/v1/card").field(salt).field(card).field(subject.as_bytes()).finish()
}

/// [`TokenCall`] as protobuf; field numbers are those of `TokenCallBody` in `proto/`.
#[derive(Clone, PartialEq, prost::Message)]
struct Body {
    #[prost(uint32, tag = "1")]
    action: u32,
    #[prost(string, tag = "2")]
    purpose: String,
    #[prost(string, tag = "3")]
    token: String,
    #[prost(uint32, tag = "4")]
    form: u32,
    #[prost(bytes = "vec", tag = "5")]
    card: Vec<u8>,
    #[prost(bytes = "vec", tag = "6")]
    subject: Vec<u8>,
    #[prost(uint32, tag = "7")]
    rows_max: u32,
    #[prost(bytes = "vec", tag = "8")]
    import: Vec<u8>,
    #[prost(bytes = "vec", tag = "9")]
    source: Vec<u8>,
}

impl TokenCall {
    /// The canonical bytes that go into an intent's content.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = Body { action: self.call.action().number(), purpose: self.purpose.clone(), ..Body::default() };
        match &self.call {
            Call::Tokenize { card } | Call::Search { card } => body.card = card.0.to_vec(),
            Call::Reveal { token, form } => (body.token, body.form) = (token.to_string(), form.number()),
            Call::Show { token } | Call::Suspend { token } | Call::Resume { token } | Call::Delete { token } => {
                body.token = token.to_string();
            }
            Call::DeleteSubject { subject } => body.subject = subject.0.to_vec(),
            Call::TokenizeMany { rows_max, import } => {
                body.rows_max = *rows_max;
                if let Some(Import { id, source }) = import {
                    (body.import, body.source) = (id.0.to_vec(), source.0.to_vec());
                }
            }
            Call::RevealMany { rows_max, form } => (body.rows_max, body.form) = (*rows_max, form.number()),
        }
        body.encode_to_vec()
    }

    /// Reads an intent's content.
    ///
    /// # Errors
    /// [`BadIntent`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadIntent> {
        let body: Body = decode_canonical(bytes)?;
        let call = Self { call: call(&body)?, purpose: body.purpose };
        let plain = call.purpose.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if call.purpose.len() > PURPOSE_MAX_BYTES || !plain {
            return Err(BadIntent::Field { field: "purpose" });
        }
        // Whatever a call has no use for must not be there.
        if call.to_bytes() == bytes { Ok(call) } else { Err(BadIntent::NotCanonical) }
    }
}

fn call(b: &Body) -> Result<Call, BadIntent> {
    let bad = |field| BadIntent::Field { field };
    let digest = |bytes: &[u8], field| Digest::from_slice(bytes).ok_or(bad(field));
    let token = || Token::parse(&b.token).map_err(|_| bad("token"));
    let form = || Form::from_number(b.form).ok_or(bad("form"));
    let rows_max = || if (1..=ROWS_MAX).contains(&b.rows_max) { Ok(b.rows_max) } else { Err(bad("rows_max")) };
    Ok(match Action::from_number(b.action) {
        Some(Action::Tokenize) => Call::Tokenize { card: digest(&b.card, "card")? },
        Some(Action::SearchToken) => Call::Search { card: digest(&b.card, "card")? },
        Some(Action::Reveal) => Call::Reveal { token: token()?, form: form()? },
        Some(Action::ShowToken) => Call::Show { token: token()? },
        Some(Action::SuspendToken) => Call::Suspend { token: token()? },
        Some(Action::ResumeToken) => Call::Resume { token: token()? },
        Some(Action::DeleteToken) if b.subject.is_empty() => Call::Delete { token: token()? },
        Some(Action::DeleteToken) => Call::DeleteSubject { subject: digest(&b.subject, "subject")? },
        Some(Action::TokenizeMany) => Call::TokenizeMany {
            rows_max: rows_max()?,
            import: match b.import.as_slice() {
                [] => None,
                id => Some(Import {
                    id: RequestId::from_slice(id).ok_or(bad("import"))?,
                    source: digest(&b.source, "source")?,
                }),
            },
        },
        Some(Action::RevealMany) => Call::RevealMany { rows_max: rows_max()?, form: form()? },
        _ => return Err(bad("action")),
    })
}
