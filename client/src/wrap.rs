//! Keys that wrap other keys: the calls, and what a plaintext needs before it can be wrapped.

use crate::answer::{
    self, ChangedKek, CreatedKek, DataKey, KekInfo, Unwrapped, Wrapped, changed_kek, created_kek, data_key, kek,
    unwrapped,
};
use crate::client::{CREATE_KEY, Client, Limits, READ};
use crate::error::ClientError;
use crate::order::{SealedIntent, draw_request_id};
use crate::profile::Profile;
use std::time::Duration;
use tally_domain::digest::TaggedHash;
use tally_domain::wrap::{SALT_BYTES, commitment};
use tally_domain::{Digest, KeyName, RequestId, SecretBytes};
use tally_proto::v1;
use tally_proto::v1::key_wrap_service_client::KeyWrapServiceClient;

/// Wrapping takes a millisecond; a token that hangs takes its deadline.
const WRAP: Limits = Limits { attempt: Duration::from_secs(10), total: Duration::from_secs(30) };

/// Something to be wrapped, bound to one request. The intent holds its commitment; itself it travels beside the intent.
pub struct Plain {
    salt: [u8; SALT_BYTES],
    plaintext: SecretBytes,
}

impl Plain {
    /// Binds a plaintext to a request. The salt is what the intent key signs for this request and nobody else knows: the
    /// same request gives the same intent again, and nothing has to be kept for it.
    ///
    /// # Errors
    /// [`ClientError::Order`] when the profile has no intent key.
    pub fn new(profile: &Profile, request: RequestId, plaintext: SecretBytes) -> Result<Self, ClientError> {
        let about = TaggedHash::new("tally/v1/wrap-salt-for").field(&request.0).finish();
        let signed = SecretBytes::new(profile.intent_key()?.sign(&about.0));
        let salt = TaggedHash::new("tally/v1/wrap-salt").field(signed.expose()).finish().0;
        Ok(Self { salt, plaintext })
    }

    /// What the intent says of it.
    pub fn commitment(&self) -> Digest {
        commitment(&self.salt, self.plaintext.expose())
    }
}

impl Client {
    /// Draws a request id: a plaintext is bound to one before there is an intent.
    ///
    /// # Errors
    /// [`ClientError::Randomness`].
    pub fn draw_request_id(&self) -> Result<RequestId, ClientError> {
        draw_request_id()
    }

    /// Has a KEK draw a data key. The same intent again gives the same key.
    ///
    /// # Errors
    /// [`ClientError`], here and below; after [`ClientError::Deadline`] or [`ClientError::Unreachable`] the call may still
    /// complete.
    pub async fn generate_data_key(&self, intent: &SealedIntent) -> Result<DataKey, ClientError> {
        let request = v1::GenerateDataKeyRequest { intent: Some(intent.to_wire()) };
        let send =
            |c, r: v1::GenerateDataKeyRequest| async move { KeyWrapServiceClient::new(c).generate_data_key(r).await };
        self.call_home(&intent.intent().key, WRAP, request, send, data_key).await
    }

    /// Has a KEK wrap something.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn wrap(&self, intent: &SealedIntent, plain: &Plain) -> Result<Wrapped, ClientError> {
        let request = v1::WrapRequest {
            intent: Some(intent.to_wire()),
            salt: plain.salt.to_vec(),
            plaintext: plain.plaintext.expose().to_vec(),
        };
        let send = |c, r: v1::WrapRequest| async move { KeyWrapServiceClient::new(c).wrap(r).await };
        self.call_home(&intent.intent().key, WRAP, request, send, answer::wrapped).await
    }

    /// Has a KEK open what it has wrapped.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn unwrap(&self, intent: &SealedIntent, wrapped: &[u8]) -> Result<Unwrapped, ClientError> {
        let request = v1::UnwrapRequest { intent: Some(intent.to_wire()), wrapped: wrapped.to_vec() };
        let send = |c, r: v1::UnwrapRequest| async move { KeyWrapServiceClient::new(c).unwrap(r).await };
        self.call_home(&intent.intent().key, WRAP, request, send, unwrapped).await
    }

    /// Has a KEK open what it has wrapped and wrap it anew.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn rewrap(&self, intent: &SealedIntent, wrapped: &[u8]) -> Result<Wrapped, ClientError> {
        let request = v1::RewrapRequest { intent: Some(intent.to_wire()), wrapped: wrapped.to_vec() };
        let send = |c, r: v1::RewrapRequest| async move { KeyWrapServiceClient::new(c).rewrap(r).await };
        self.call_home(&intent.intent().key, WRAP, request, send, answer::rewrapped).await
    }

    /// Creates a KEK in the HSM of a node.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn create_kek(&self, intent: &SealedIntent) -> Result<CreatedKek, ClientError> {
        let request = v1::CreateKekRequest { intent: Some(intent.to_wire()) };
        let send = |c, r: v1::CreateKekRequest| async move { KeyWrapServiceClient::new(c).create_kek(r).await };
        self.call_home(&intent.intent().key, CREATE_KEY, request, send, created_kek).await
    }

    /// Rotates a KEK, or changes one of its versions.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn change_kek(&self, intent: &SealedIntent) -> Result<ChangedKek, ClientError> {
        let request = v1::ChangeKekRequest { intent: Some(intent.to_wire()) };
        let send = |c, r: v1::ChangeKekRequest| async move { KeyWrapServiceClient::new(c).change_kek(r).await };
        self.call_home(&intent.intent().key, WRAP, request, send, changed_kek).await
    }

    /// One KEK with its versions, as its home tells it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn kek(&self, name: &KeyName) -> Result<KekInfo, ClientError> {
        let request = v1::GetKekRequest { name: name.to_string() };
        let send = |c, r: v1::GetKekRequest| async move { KeyWrapServiceClient::new(c).get_kek(r).await };
        self.call_home(name, READ, request, send, |r: v1::GetKekResponse| kek(r.kek)).await
    }

    /// The tenant's KEKs as the first node that answers knows them; with versions those whose home it is.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn keks(&self) -> Result<Vec<KekInfo>, ClientError> {
        let send = |c, r: v1::ListKeksRequest| async move { KeyWrapServiceClient::new(c).list_keks(r).await };
        let read = |r: v1::ListKeksResponse| r.keks.into_iter().map(|k| kek(Some(k))).collect();
        self.call(READ, v1::ListKeksRequest {}, send, read).await
    }
}
