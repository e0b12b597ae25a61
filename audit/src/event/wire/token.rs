//! The protobuf form of leaves about token domains.

use super::kek::AskedBody;
use super::{BadLeaf, digest, key};
use crate::event::{DomainChanged, TokensUsed};
use tally_domain::intent::Action;
use tally_domain::token::Token;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct DomainChangedBody {
    #[prost(message, optional, tag = "1")]
    by: Option<AskedBody>,
    #[prost(string, tag = "2")]
    domain: String,
    #[prost(string, tag = "3")]
    what: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct TokensUsedBody {
    #[prost(message, optional, tag = "1")]
    by: Option<AskedBody>,
    /// The intent's action.
    #[prost(uint32, tag = "2")]
    action: u32,
    #[prost(string, tag = "3")]
    domain: String,
    #[prost(string, tag = "4")]
    purpose: String,
    #[prost(string, tag = "5")]
    form: String,
    #[prost(string, repeated, tag = "6")]
    tokens: Vec<String>,
    #[prost(uint32, tag = "7")]
    rows: u32,
    #[prost(uint32, tag = "8")]
    refused: u32,
    #[prost(bytes = "vec", optional, tag = "9")]
    made: Option<Vec<u8>>,
}

impl From<&DomainChanged> for DomainChangedBody {
    fn from(c: &DomainChanged) -> Self {
        Self { by: c.by.as_ref().map(Into::into), domain: c.domain.as_str().into(), what: c.what.clone() }
    }
}

impl From<&TokensUsed> for TokensUsedBody {
    fn from(u: &TokensUsed) -> Self {
        Self {
            by: Some((&u.by).into()),
            action: u.action.number(),
            domain: u.domain.as_str().into(),
            purpose: u.purpose.clone(),
            form: u.form.clone(),
            tokens: u.tokens.iter().map(ToString::to_string).collect(),
            rows: u.rows,
            refused: u.refused,
            made: u.made.map(|digest| digest.0.to_vec()),
        }
    }
}

impl TryFrom<DomainChangedBody> for DomainChanged {
    type Error = BadLeaf;

    fn try_from(b: DomainChangedBody) -> Result<Self, BadLeaf> {
        Ok(Self { by: b.by.map(TryInto::try_into).transpose()?, domain: key(&b.domain)?, what: b.what })
    }
}

impl TryFrom<TokensUsedBody> for TokensUsed {
    type Error = BadLeaf;

    fn try_from(b: TokensUsedBody) -> Result<Self, BadLeaf> {
        let tokens = b.tokens.iter().map(|token| Token::parse(token).map_err(|_| BadLeaf::Field("tokens")));
        Ok(Self {
            by: b.by.ok_or(BadLeaf::Field("by"))?.try_into()?,
            action: Action::from_number(b.action).ok_or(BadLeaf::Field("action"))?,
            domain: key(&b.domain)?,
            purpose: b.purpose,
            form: b.form,
            tokens: tokens.collect::<Result<_, _>>()?,
            rows: b.rows,
            refused: b.refused,
            made: b.made.map(|bytes| digest("made", &bytes)).transpose()?,
        })
    }
}
