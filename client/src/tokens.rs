//! Token domains: the calls, and what a card number needs before it can be sent.

use crate::answer::{
    Deleted, DomainInfo, DoneBy, Found, Revealed, TokenInfo, Tokenized, deleted, domain, done_by, found, revealed,
    token_info, tokenized,
};
use crate::client::{CREATE_KEY, Client, Limits, READ};
use crate::error::ClientError;
use crate::order::{NO_CARD, SealedIntent};
use crate::profile::Profile;
use std::time::Duration;
use tally_domain::digest::TaggedHash;
use tally_domain::{Digest, KeyName, RequestId, SecretBytes, Subject};
use tally_proto::v1;
use tally_proto::v1::token_service_client::TokenServiceClient;
use tally_tokenization::call::{SALT_BYTES, commitment};
use tally_tokenization::plain::holds_card;

/// A call takes a millisecond; a token that hangs takes its deadline.
const CALL: Limits = Limits { attempt: Duration::from_secs(12), total: Duration::from_secs(30) };

/// A change makes keys on the token, or destroys some.
const CHANGE: Limits = Limits { attempt: Duration::from_secs(35), total: Duration::from_secs(70) };

/// A card number, and whose it is, bound to one request. The intent holds their commitment; themselves they travel beside it.
pub struct BoundCard {
    salt: [u8; SALT_BYTES],
    number: SecretBytes,
    subject: Option<Subject>,
}

impl BoundCard {
    /// Binds a card number to a request. The salt is what the intent key signs for this request and nobody else knows: the
    /// same request gives the same intent again, and nothing has to be kept for it.
    ///
    /// # Errors
    /// [`ClientError::Order`] when the subject looks like a card number, which it is not kept as;
    /// [`ClientError::Profile`] when the profile has no intent key.
    pub fn new(
        profile: &Profile,
        request: RequestId,
        number: SecretBytes,
        subject: Option<Subject>,
    ) -> Result<Self, ClientError> {
        if subject.as_ref().is_some_and(|subject| holds_card(subject.as_str().as_bytes())) {
            return Err(ClientError::Order { field: "subject", want: NO_CARD });
        }
        let about = TaggedHash::new("tally/v1/card-salt-for").field(&request.0).finish();
        let signed = SecretBytes::new(profile.intent_key()?.sign(&about.0));
        let salt = TaggedHash::new("tally/v1/card-salt").field(signed.expose()).finish().0;
        Ok(Self { salt, number, subject })
    }

    /// Binds a subject alone.
    ///
    /// # Errors
    /// As [`BoundCard::new`].
    pub fn of_subject(profile: &Profile, request: RequestId, subject: Subject) -> Result<Self, ClientError> {
        Self::new(profile, request, SecretBytes::new(Vec::new()), Some(subject))
    }

    /// What the intent says of it.
    pub fn commitment(&self) -> Digest {
        commitment(&self.salt, self.number.expose(), self.subject.as_ref())
    }

    fn subject(&self) -> String {
        self.subject.as_ref().map(ToString::to_string).unwrap_or_default()
    }
}

impl Client {
    /// Makes a token domain in the HSM of a node.
    ///
    /// # Errors
    /// [`ClientError`], here and below; after [`ClientError::Deadline`] or [`ClientError::Unreachable`] the call may still
    /// complete.
    pub async fn create_domain(&self, intent: &SealedIntent) -> Result<(DomainInfo, String), ClientError> {
        let request = v1::CreateDomainRequest { intent: Some(intent.to_wire()) };
        let send = |c, r: v1::CreateDomainRequest| async move { TokenServiceClient::new(c).create_domain(r).await };
        let read = |r: v1::CreateDomainResponse| Ok((domain(r.domain)?, r.rule));
        self.call_home(&intent.intent().key, CREATE_KEY, request, send, read).await
    }

    /// Changes a token domain.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn change_domain(&self, intent: &SealedIntent) -> Result<DoneBy, ClientError> {
        let request = v1::ChangeDomainRequest { intent: Some(intent.to_wire()) };
        let send = |c, r: v1::ChangeDomainRequest| async move { TokenServiceClient::new(c).change_domain(r).await };
        let read = |r: v1::ChangeDomainResponse| done_by(r.rule, &r.home);
        self.call_home(&intent.intent().key, CHANGE, request, send, read).await
    }

    /// One domain with its keys, as its home tells it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn domain(&self, name: &KeyName) -> Result<DomainInfo, ClientError> {
        let request = v1::GetDomainRequest { name: name.to_string() };
        let send = |c, r: v1::GetDomainRequest| async move { TokenServiceClient::new(c).get_domain(r).await };
        self.call_home(name, READ, request, send, |r: v1::GetDomainResponse| domain(r.domain)).await
    }

    /// The tenant's domains as the first node that answers knows them.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn domains(&self) -> Result<Vec<DomainInfo>, ClientError> {
        let send = |c, r: v1::ListDomainsRequest| async move { TokenServiceClient::new(c).list_domains(r).await };
        let read = |r: v1::ListDomainsResponse| r.domains.into_iter().map(|d| domain(Some(d))).collect();
        self.call(READ, v1::ListDomainsRequest {}, send, read).await
    }

    /// Has a card number kept, and a token given for it. The same intent again gives the same token.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn tokenize(&self, intent: &SealedIntent, card: &BoundCard) -> Result<Tokenized, ClientError> {
        // `Clone` of a wire message would copy the card number; each attempt makes its own.
        let make = || v1::TokenizeRequest {
            intent: Some(intent.to_wire()),
            salt: card.salt.to_vec(),
            card: card.number.expose().to_vec(),
            subject: card.subject(),
        };
        let send = |c, r: v1::TokenizeRequest| async move { TokenServiceClient::new(c).tokenize(r).await };
        self.call_home(&intent.intent().key, CALL, make(), send, tokenized).await
    }

    /// Has a card number shown, or part of it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn reveal(&self, intent: &SealedIntent) -> Result<Revealed, ClientError> {
        let request = v1::RevealRequest { intent: Some(intent.to_wire()) };
        let send = |c, r: v1::RevealRequest| async move { TokenServiceClient::new(c).reveal(r).await };
        self.call_home(&intent.intent().key, CALL, request, send, revealed).await
    }

    /// Finds the tokens of a card number.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn search(&self, intent: &SealedIntent, card: &BoundCard) -> Result<Found, ClientError> {
        let request = v1::SearchRequest {
            intent: Some(intent.to_wire()),
            salt: card.salt.to_vec(),
            card: card.number.expose().to_vec(),
            subject: card.subject(),
        };
        let send = |c, r: v1::SearchRequest| async move { TokenServiceClient::new(c).search(r).await };
        self.call_home(&intent.intent().key, CALL, request, send, found).await
    }

    /// What may be told of a token.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn token(&self, intent: &SealedIntent) -> Result<(TokenInfo, DoneBy), ClientError> {
        let request = v1::GetTokenRequest { intent: Some(intent.to_wire()) };
        let send = |c, r: v1::GetTokenRequest| async move { TokenServiceClient::new(c).get_token(r).await };
        self.call_home(&intent.intent().key, CALL, request, send, token_info).await
    }

    /// Has a token revealed no more until it is resumed; gives its state.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn suspend_token(&self, intent: &SealedIntent) -> Result<(String, DoneBy), ClientError> {
        let request = v1::SuspendTokenRequest { intent: Some(intent.to_wire()) };
        let send = |c, r: v1::SuspendTokenRequest| async move { TokenServiceClient::new(c).suspend_token(r).await };
        let read = |r: v1::SuspendTokenResponse| Ok((r.state, done_by(r.rule, &r.home)?));
        self.call_home(&intent.intent().key, CALL, request, send, read).await
    }

    /// Has a suspended token revealed again; gives its state.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn resume_token(&self, intent: &SealedIntent) -> Result<(String, DoneBy), ClientError> {
        let request = v1::ResumeTokenRequest { intent: Some(intent.to_wire()) };
        let send = |c, r: v1::ResumeTokenRequest| async move { TokenServiceClient::new(c).resume_token(r).await };
        let read = |r: v1::ResumeTokenResponse| Ok((r.state, done_by(r.rule, &r.home)?));
        self.call_home(&intent.intent().key, CALL, request, send, read).await
    }

    /// Destroys the card number of a token, or, given a bound subject, all of the subject's.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn delete_token(&self, intent: &SealedIntent, whose: Option<&BoundCard>) -> Result<Deleted, ClientError> {
        let request = v1::DeleteTokenRequest {
            intent: Some(intent.to_wire()),
            salt: whose.map(|whose| whose.salt.to_vec()).unwrap_or_default(),
            subject: whose.map(BoundCard::subject).unwrap_or_default(),
        };
        let send = |c, r: v1::DeleteTokenRequest| async move { TokenServiceClient::new(c).delete_token(r).await };
        self.call_home(&intent.intent().key, CALL, request, send, deleted).await
    }
}
