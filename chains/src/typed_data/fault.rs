//! Why typed data is refused; each is the caller's fault. `path` says where, such as `message.to[0].wallet`.

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadTypedData {
    /// No JSON, a key twice in one object, or a number that JSON readers do not agree on.
    #[error("the JSON cannot be read: {message}")]
    Json {
        /// What the parser says.
        message: String,
    },
    /// Another kind of value than its type.
    #[error("`{path}` must be {want}")]
    Value {
        /// Where.
        path: String,
        /// How a valid one looks.
        want: String,
    },
    /// Something of its type is not there.
    #[error("`{path}` is missing")]
    Missing {
        /// Where.
        path: String,
    },
    /// Something is there that would not be signed, so that people could be shown what is not so.
    #[error("`{path}` is in no type, so that it would not be signed; leave it out")]
    Unsigned {
        /// Where.
        path: String,
    },
    /// A type that is not known here and not defined.
    #[error("type `{name}` is not defined")]
    UnknownType {
        /// Its name.
        name: String,
    },
    /// A name or a definition that no compiler takes.
    #[error("`{name}` cannot be defined so: {why}")]
    Type {
        /// Its name.
        name: String,
        /// Why not.
        why: &'static str,
    },
    /// `types.EIP712Domain` says otherwise than the domain.
    #[error(
        "types.EIP712Domain must have exactly the members that the domain has, out of name, version, chainId, \
         verifyingContract and salt, in this order"
    )]
    DomainType,
    /// The message is the domain.
    #[error("primaryType must be a type of the message, not EIP712Domain")]
    PrimaryType,
    /// More than people can be shown.
    #[error("more than {limit} {what}")]
    TooLarge {
        /// What.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
}

/// Longest text of the caller's that is repeated: an error has to fit into the metadata of an answer.
const TEXT_MAX_CHARS: usize = 120;

impl BadTypedData {
    /// The same, with what is repeated of the content cut to a sane length and without control characters.
    pub(super) fn shortened(mut self) -> Self {
        match &mut self {
            Self::Json { message: text }
            | Self::Value { path: text, .. }
            | Self::Missing { path: text }
            | Self::Unsigned { path: text }
            | Self::UnknownType { name: text }
            | Self::Type { name: text, .. } => {
                *text =
                    text.chars().take(TEXT_MAX_CHARS).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
            }
            Self::DomainType | Self::PrimaryType | Self::TooLarge { .. } => {}
        }
        self
    }
}
