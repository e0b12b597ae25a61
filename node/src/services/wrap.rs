//! `KeyWrapService`. A plaintext is taken out of the message that brought it at once, and put into the answer last.

use super::{FROZEN, client, is_stopped, refused};
use crate::convert;
use crate::deadline;
use crate::hsm_keys::HsmHeld;
use crate::lead_wrap::{self, Told};
use crate::node::Node;
use crate::reply::{self, status};
use crate::{lead_kek, lead_key};
use prost::Message as _;
use std::sync::Arc;
use tally_domain::intent::ENVELOPE_MAX_BYTES;
use tally_domain::wrap::BLOB_MAX_BYTES;
use tally_domain::{Action, KeyName, Material, Reason, SecretBytes};
use tally_proto::v1;
use tally_proto::v1::key_wrap_service_server::{KeyWrapService, KeyWrapServiceServer};
use tally_signer::hsm_sign::must_be_home;
use tally_signer::wrap::Beside;
use tonic::{Request, Response, Status};
use tracing::{Instrument as _, field};

/// Largest message: an intent and wrapped data, which is larger than any plaintext, and what frames them.
const MESSAGE_MAX_BYTES: usize = ENVELOPE_MAX_BYTES + BLOB_MAX_BYTES + 256;

/// One node's service.
pub struct Wrapping(Arc<Node>);

/// `KeyWrapService`.
pub fn service(node: Arc<Node>) -> KeyWrapServiceServer<Wrapping> {
    KeyWrapServiceServer::new(Wrapping(node)).max_decoding_message_size(MESSAGE_MAX_BYTES)
}

impl Wrapping {
    /// One of the four calls, in a task of its own: a client that hangs up does not stop it halfway.
    async fn call<Q, A: prost::Message + Default>(
        &self,
        request: Request<Q>,
        action: Action,
        parts: impl FnOnce(Q) -> (Option<v1::Envelope>, Beside),
    ) -> Result<(A, Option<SecretBytes>), Status> {
        let caller = client(&self.0, &request)?.id;
        let span = tracing::info_span!("wrap", call = action.as_str(), client = %caller, request = field::Empty);
        self.0.check_standing().map_err(|r| status(&r))?;
        let (envelope, beside) = parts(request.into_inner());
        let envelope = convert::envelope_in(envelope).map_err(|r| status(&r))?;
        let node = self.0.clone();
        let work = async move { lead_wrap::call(&node, caller, action, envelope, beside).await };
        let told = tokio::spawn(deadline::carried(work.instrument(span))).await.map_err(|_| refused(Reason::Bug))?;
        let Told { result, plaintext } = told.map_err(|r| status(&r))?;
        let answer = A::decode(result.as_slice()).map_err(|_| refused(Reason::Tampered))?;
        Ok((answer, plaintext))
    }
}

/// A copy for the wire, which the transport frees without erasing it.
fn shown(plaintext: Option<&SecretBytes>) -> Vec<u8> {
    plaintext.map(|p| p.expose().to_vec()).unwrap_or_default()
}

#[tonic::async_trait]
impl KeyWrapService for Wrapping {
    async fn generate_data_key(
        &self,
        request: Request<v1::GenerateDataKeyRequest>,
    ) -> Result<Response<v1::GenerateDataKeyResponse>, Status> {
        let parts = |r: v1::GenerateDataKeyRequest| (r.intent, Beside::Nothing);
        let (answer, plaintext): (v1::GenerateDataKeyResponse, _) =
            self.call(request, Action::GenerateDataKey, parts).await?;
        Ok(Response::new(v1::GenerateDataKeyResponse { plaintext: shown(plaintext.as_ref()), ..answer }))
    }

    async fn wrap(&self, request: Request<v1::WrapRequest>) -> Result<Response<v1::WrapResponse>, Status> {
        let parts = |r: v1::WrapRequest| {
            (r.intent, Beside::Plaintext { salt: r.salt, plaintext: SecretBytes::new(r.plaintext) })
        };
        let (answer, _) = self.call(request, Action::Wrap, parts).await?;
        Ok(Response::new(answer))
    }

    async fn unwrap(&self, request: Request<v1::UnwrapRequest>) -> Result<Response<v1::UnwrapResponse>, Status> {
        let parts = |r: v1::UnwrapRequest| (r.intent, Beside::Wrapped(r.wrapped));
        let (answer, plaintext): (v1::UnwrapResponse, _) = self.call(request, Action::Unwrap, parts).await?;
        Ok(Response::new(v1::UnwrapResponse { plaintext: shown(plaintext.as_ref()), ..answer }))
    }

    async fn rewrap(&self, request: Request<v1::RewrapRequest>) -> Result<Response<v1::RewrapResponse>, Status> {
        let parts = |r: v1::RewrapRequest| (r.intent, Beside::Wrapped(r.wrapped));
        let (answer, _) = self.call(request, Action::Rewrap, parts).await?;
        Ok(Response::new(answer))
    }

    async fn create_kek(
        &self,
        request: Request<v1::CreateKekRequest>,
    ) -> Result<Response<v1::CreateKekResponse>, Status> {
        let caller = client(&self.0, &request)?.id;
        let span = tracing::info_span!("create_kek", client = %caller, request = field::Empty);
        self.0.check_standing().map_err(|r| status(&r))?;
        let envelope = convert::envelope_in(request.into_inner().intent).map_err(|r| status(&r))?;
        let node = self.0.clone();
        let work = tokio::spawn(deadline::carried(
            async move { lead_key::create_kek(&node, caller, envelope).await }.instrument(span),
        ));
        let (held, rule) = work.await.map_err(|_| refused(Reason::Bug))?.map_err(|r| status(&r))?;
        Ok(Response::new(v1::CreateKekResponse { kek: Some(self.told(&held)?), rule }))
    }

    async fn change_kek(
        &self,
        request: Request<v1::ChangeKekRequest>,
    ) -> Result<Response<v1::ChangeKekResponse>, Status> {
        let caller = client(&self.0, &request)?.id;
        let span = tracing::info_span!("change_kek", client = %caller, request = field::Empty);
        self.0.check_standing().map_err(|r| status(&r))?;
        let envelope = convert::envelope_in(request.into_inner().intent).map_err(|r| status(&r))?;
        let node = self.0.clone();
        let work = tokio::spawn(deadline::carried(
            async move { lead_kek::change(&node, caller, envelope).await }.instrument(span),
        ));
        let bytes = work.await.map_err(|_| refused(Reason::Bug))?.map_err(|r| status(&r))?;
        let answer = v1::ChangeKekResponse::decode(bytes.as_slice()).map_err(|_| refused(Reason::Tampered))?;
        Ok(Response::new(answer))
    }

    async fn get_kek(&self, request: Request<v1::GetKekRequest>) -> Result<Response<v1::GetKekResponse>, Status> {
        let tenant = &client(&self.0, &request)?.tenant;
        let held = KeyName::parse(&request.get_ref().name).ok().and_then(|name| self.0.hsm_keys.get(&name));
        let held = held.filter(|held| held.record.tenant == *tenant).ok_or_else(|| refused(Reason::KeyNotFound))?;
        if !matches!(held.record.material, Material::Kek { .. }) {
            return Err(refused(Reason::KeyPurpose));
        }
        must_be_home(&held.record.home, self.0.name(), self.0.bundle().roster()).map_err(|r| status(&r))?;
        Ok(Response::new(v1::GetKekResponse { kek: Some(self.told(&held)?) }))
    }

    async fn list_keks(&self, request: Request<v1::ListKeksRequest>) -> Result<Response<v1::ListKeksResponse>, Status> {
        let tenant = &client(&self.0, &request)?.tenant;
        let own =
            |held: &HsmHeld| matches!(held.record.material, Material::Kek { .. }) && held.record.tenant == *tenant;
        let keks = self.0.hsm_keys.all().into_iter().filter(own);
        let keks = keks.map(|held| Ok(v1::Kek { certificate: Vec::new(), ..self.told(&held)? }));
        Ok(Response::new(v1::ListKeksResponse { keks: keks.collect::<Result<_, Status>>()? }))
    }
}

impl Wrapping {
    /// A KEK, with its versions if this is its home.
    fn told(&self, held: &HsmHeld) -> Result<v1::Kek, Status> {
        let versions = if held.record.home == *self.0.name() {
            self.0.store.kek_versions(Some(&held.record.name)).map_err(|e| status(&reply::of_store(&e)))?
        } else {
            Vec::new()
        };
        let mut kek = convert::kek_out(held, &versions);
        if is_stopped(&self.0, &held.record.name, &kek.state) {
            kek.state = FROZEN.into();
        }
        Ok(kek)
    }
}
