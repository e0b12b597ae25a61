//! What watches a cluster: a collector of traces in this process, and a reader of metrics.

use super::cluster::Cluster;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::sync::{Arc, Mutex};
use tonic::{Request, Response, Status};

/// A span and the node that it is of.
#[derive(Debug, Clone)]
pub struct Seen {
    pub node: String,
    pub span: Span,
}

impl Seen {
    pub fn text(&self, key: &str) -> Option<&str> {
        let attribute = self.span.attributes.iter().find(|a| a.key == key)?;
        match attribute.value.as_ref()?.value.as_ref()? {
            Value::StringValue(text) => Some(text),
            _ => None,
        }
    }
}

#[derive(Default)]
struct State {
    seen: Vec<Seen>,
    /// Everything as it came.
    bytes: Vec<u8>,
}

/// An OTLP collector.
#[derive(Clone, Default)]
pub struct Collector(Arc<Mutex<State>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut state = self.0.lock().unwrap();
        state.bytes.extend(request.get_ref().encode_to_vec());
        for of_node in request.into_inner().resource_spans {
            let attributes = of_node.resource.unwrap().attributes;
            let id = attributes.into_iter().find(|a| a.key == "service.instance.id").unwrap();
            let Some(Value::StringValue(node)) = id.value.unwrap().value else { panic!("no name") };
            let spans = of_node.scope_spans.into_iter().flat_map(|scope| scope.spans);
            state.seen.extend(spans.map(|span| Seen { node: node.clone(), span }));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Listens; gives its endpoint.
    pub async fn start() -> (Self, String) {
        let collector = Self::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let server = tonic::transport::Server::builder().add_service(TraceServiceServer::new(collector.clone()));
        tokio::spawn(server.serve_with_incoming(tokio_stream::wrappers::TcpListenerStream::new(listener)));
        (collector, endpoint)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.0.lock().unwrap().seen.clone()
    }

    /// Takes a span as a node would send it.
    pub async fn take(&self, span: Span) {
        let attribute = |key: &str, value: &str| KeyValue {
            key: key.into(),
            value: Some(AnyValue { value: Some(Value::StringValue(value.into())) }),
            ..KeyValue::default()
        };
        let resource = Resource { attributes: vec![attribute("service.instance.id", "nobody")], ..Resource::default() };
        let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
        let spans = ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() };
        self.export(Request::new(ExportTraceServiceRequest { resource_spans: vec![spans] })).await.unwrap();
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().bytes.clone()
    }
}

/// Adds `[traces]` to a node's configuration.
pub fn watch(cluster: &Cluster, i: usize, endpoint: &str) {
    let file = cluster.nodes[i].dir.join("node.toml");
    let mut text = std::fs::read_to_string(&file).unwrap();
    write!(text, "[traces]\nendpoint = \"{endpoint}\"\n").unwrap();
    std::fs::write(&file, text).unwrap();
}

/// Where a node that serves shows its metrics.
pub fn port(cluster: &Cluster, i: usize) -> u16 {
    let log = cluster.log_of(i);
    let line = log.lines().rev().find_map(|line| line.split_once("shows metrics address=127.0.0.1:")).unwrap();
    line.1.trim().parse().unwrap()
}

/// What a node answers to a plain HTTP request.
pub fn http(port: u16, request: &str) -> String {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

pub fn metrics(port: u16) -> String {
    http(port, "GET /metrics HTTP/1.1\r\nhost: node\r\n\r\n")
}

/// What a node shows now.
pub fn shown(cluster: &Cluster, i: usize) -> String {
    metrics(port(cluster, i))
}

/// The value of one series of a node now.
pub fn number(cluster: &Cluster, i: usize, series: &str) -> f64 {
    value(&shown(cluster, i), series)
}

/// The value of a series.
pub fn value(metrics: &str, series: &str) -> f64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in\n{metrics}")).parse().unwrap()
}
