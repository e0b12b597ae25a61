//! Traces over OTLP: one trace for a request, across all nodes that take part in it.
//!
//! Spans only, and only those that this crate makes: their fields are names, ids, stages and reasons. Lines of the log are
//! not passed on.

use crate::config;
use anyhow::Context as _;
use opentelemetry::KeyValue;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tally_domain::NodeName;
use tonic::metadata::{MetadataKey, MetadataMap};
use tower::Service;
use tracing::{Instrument as _, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

/// Target of spans that are for traces only, and not in the log.
pub const TRACE: &str = "tally_trace";

/// What else becomes a span: this crate's, which say what is done for which request.
const CRATE: &str = "tally_node";

/// A collector that does not take spans in this time loses them; the node goes on.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(3);

/// Longest name of a method in a span.
const METHOD_MAX_BYTES: usize = 80;

/// Sends spans until it is shut down.
pub struct Exporter(SdkTracerProvider);

impl Exporter {
    /// Connects to nothing yet. Must be called within the runtime.
    ///
    /// # Errors
    /// When the endpoint is not one.
    pub fn new(config: &config::Traces, node: &NodeName) -> anyhow::Result<Self> {
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_tonic()
            .with_endpoint(&config.endpoint.0)
            .with_timeout(EXPORT_TIMEOUT)
            .build()
            .context("cannot make the exporter of traces")?;
        let resource = Resource::builder_empty()
            .with_service_name("tallyd")
            .with_attribute(KeyValue::new("service.instance.id", node.to_string()))
            .build();
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(config.share.0)));
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource)
            .with_sampler(sampler)
            .build();
        Ok(Self(provider))
    }

    /// The part of the subscriber that makes spans.
    pub fn layer<S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync>(&self) -> Box<dyn Layer<S> + Send + Sync> {
        let ours = |target: &str| target == TRACE || target == CRATE || target.starts_with("tally_node::");
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer("tallyd"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(filter_fn(move |metadata| metadata.is_span() && ours(metadata.target())))
            .boxed()
    }

    /// Sends what is left. Blocks.
    pub fn shut_down(self) {
        // What a collector does not take now nobody will miss.
        let _ = self.0.shutdown();
    }
}

/// Tells a peer which trace a call belongs to.
pub fn inject(metadata: &mut MetadataMap) {
    TraceContextPropagator::new().inject_context(&Span::current().context(), &mut Outgoing(metadata));
}

struct Outgoing<'a>(&'a mut MetadataMap);

impl Injector for Outgoing<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(key), Ok(value)) = (MetadataKey::from_bytes(key.as_bytes()), value.parse()) {
            self.0.insert(key, value);
        }
    }
}

struct Incoming<'a>(&'a http::HeaderMap);

impl Extractor for Incoming<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

/// Wraps a service: each call is a span, within the trace that the caller names.
#[derive(Debug, Clone, Copy)]
pub struct Traced;

/// See [`Traced`].
#[derive(Debug, Clone)]
pub struct Tracing<S>(S);

impl<S> tower::Layer<S> for Traced {
    type Service = Tracing<S>;

    fn layer(&self, inner: S) -> Tracing<S> {
        Tracing(inner)
    }
}

impl<S, B> Service<http::Request<B>> for Tracing<S>
where
    S: Service<http::Request<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let path = request.uri().path();
        let method = if path.len() > METHOD_MAX_BYTES { "" } else { path };
        let span = tracing::info_span!(target: TRACE, "rpc", method);
        if !span.is_disabled() {
            let parent = TraceContextPropagator::new().extract(&Incoming(request.headers()));
            // A span without a parent begins a trace of its own.
            let _ = span.set_parent(parent);
        }
        let answer = span.in_scope(|| self.0.call(request));
        Box::pin(answer.instrument(span))
    }
}
