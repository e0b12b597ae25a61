//! Servers that speak the contract over mutual TLS and answer from a script.

use crate::files::Files;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tally_domain::reason::Reason;
use tally_proto::v1;
use tally_proto::v1::audit_service_server::{AuditService, AuditServiceServer};
use tally_proto::v1::signing_service_server::{SigningService, SigningServiceServer};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

#[derive(Clone, Default)]
pub enum Home {
    #[default]
    Everywhere,
    At(String),
    Here,
}

/// Of a stream of intents.
type Answers = Vec<Result<v1::BatchSignResponse, Status>>;

#[derive(Clone, Default)]
pub struct Script {
    /// What the next calls are refused with; after the last the server signs.
    pub refusals: Arc<Mutex<VecDeque<(Code, Reason)>>>,
    /// When who is refused may come again.
    pub retry_after: Arc<Mutex<Option<Duration>>>,
    /// Where keys live: with an address, every call is sent there; with a name, this is that node.
    pub home: Arc<Mutex<Home>>,
    pub seen: Arc<Mutex<Vec<v1::Envelope>>>,
    /// What is known of any request.
    pub known: Arc<Mutex<Option<v1::Request>>>,
    pub log: Arc<Mutex<Vec<v1::ReadEntriesResponse>>>,
    /// What a stream of intents is answered; nothing where there is no such stream.
    pub batch: Arc<Mutex<Option<Answers>>>,
}

impl Script {
    fn refusal(&self) -> Option<Status> {
        let (code, reason) = self.refusals.lock().unwrap().pop_front()?;
        let facts = [("rule".to_owned(), "payouts-small".to_owned())];
        let mut details = ErrorDetails::with_error_info(reason.as_str(), "tally", facts);
        if let Some(after) = *self.retry_after.lock().unwrap() {
            details.set_retry_info(Some(after));
        }
        Some(Status::with_error_details(code, reason.sentence(), details))
    }
}

/// Starts a server and gives its endpoint.
pub async fn start(files: &Files, script: &Script) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("https://{}", listener.local_addr().unwrap());
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(&files.server.cert, &files.server.key))
        .client_ca_root(Certificate::from_pem(&files.ca));
    let serving = Server::builder()
        .tls_config(tls)
        .unwrap()
        .add_service(SigningServiceServer::new(script.clone()))
        .add_service(AuditServiceServer::new(script.clone()))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(serving);
    endpoint
}

/// An endpoint where nothing listens.
pub async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("https://{}", listener.local_addr().unwrap())
}

/// An answer whose signature is of this byte.
pub fn signed(byte: u8) -> v1::SignResponse {
    v1::SignResponse {
        signature: Some(v1::Signature { bytes: vec![byte; 64], recovery_id: 1 }),
        certificate: Some(v1::Certificate { votes: vec![v1::Statement::default()] }),
        rule: "payouts-small".into(),
        ..Default::default()
    }
}

#[tonic::async_trait]
impl SigningService for Script {
    type BatchSignStream = tokio_stream::Iter<<Answers as IntoIterator>::IntoIter>;
    type WatchRequestsStream = tokio_stream::Empty<Result<v1::WatchRequestsResponse, Status>>;

    async fn sign(&self, request: Request<v1::SignRequest>) -> Result<Response<v1::SignResponse>, Status> {
        self.seen.lock().unwrap().push(request.into_inner().intent.unwrap());
        if let Home::At(address) = &*self.home.lock().unwrap() {
            let facts = [("node".to_owned(), "node-2".to_owned()), ("address".to_owned(), address.clone())];
            let reason = Reason::HomeNode;
            let details = ErrorDetails::with_error_info(reason.as_str(), "tally", facts);
            return Err(Status::with_error_details(Code::FailedPrecondition, reason.sentence(), details));
        }
        if let Home::Here = &*self.home.lock().unwrap() {
            return Ok(Response::new(v1::SignResponse {
                signature: Some(v1::Signature { bytes: vec![2; 384], recovery_id: 0 }),
                home: "node-2".into(),
                ..Default::default()
            }));
        }
        match self.refusal() {
            Some(refusal) => Err(refusal),
            None => Ok(Response::new(signed(1))),
        }
    }

    async fn get_request(&self, _: Request<v1::GetRequestRequest>) -> Result<Response<v1::GetRequestResponse>, Status> {
        match self.refusal() {
            Some(refusal) => Err(refusal),
            None => Ok(Response::new(v1::GetRequestResponse { request: self.known.lock().unwrap().clone() })),
        }
    }

    async fn list_requests(
        &self,
        _: Request<v1::ListRequestsRequest>,
    ) -> Result<Response<v1::ListRequestsResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn cancel_request(
        &self,
        _: Request<v1::CancelRequestRequest>,
    ) -> Result<Response<v1::CancelRequestResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn batch_sign(
        &self,
        _: Request<tonic::Streaming<v1::BatchSignRequest>>,
    ) -> Result<Response<Self::BatchSignStream>, Status> {
        match self.batch.lock().unwrap().take() {
            Some(answers) => Ok(Response::new(tokio_stream::iter(answers))),
            None => Err(Status::unimplemented("not here")),
        }
    }

    async fn watch_requests(
        &self,
        _: Request<v1::WatchRequestsRequest>,
    ) -> Result<Response<Self::WatchRequestsStream>, Status> {
        Err(Status::unimplemented("not here"))
    }
}

#[tonic::async_trait]
impl AuditService for Script {
    type ReadEntriesStream = tokio_stream::Iter<std::vec::IntoIter<Result<v1::ReadEntriesResponse, Status>>>;

    async fn read_entries(
        &self,
        _: Request<v1::ReadEntriesRequest>,
    ) -> Result<Response<Self::ReadEntriesStream>, Status> {
        let parts: Vec<_> = self.log.lock().unwrap().iter().cloned().map(Ok).collect();
        Ok(Response::new(tokio_stream::iter(parts)))
    }

    async fn get_checkpoint(
        &self,
        _: Request<v1::GetCheckpointRequest>,
    ) -> Result<Response<v1::GetCheckpointResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }
}
