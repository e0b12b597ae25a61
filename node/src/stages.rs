//! How long each stage of a session takes: for the metrics, and as a span of the request's trace.

use crate::metrics::{Metrics, names::STAGE_SECONDS};
use crate::node::Node;
use crate::traces::TRACE;
use std::sync::Arc;
use std::time::Instant;
use tracing::Span;

/// A session and the stage that it is in. The last stage ends when this is dropped.
pub struct Stages {
    metrics: Arc<Metrics>,
    session: &'static str,
    stage: &'static str,
    since: Instant,
    request: Span,
    span: Span,
}

impl Stages {
    /// A session's first stage, within the current span.
    pub fn begin(node: &Node, session: &'static str, stage: &'static str) -> Self {
        let request = Span::current();
        let span = span_of(&request, session, stage);
        Self { metrics: node.metrics.clone(), session, stage, since: Instant::now(), request, span }
    }

    /// The session is in this stage now, for the first time or still.
    pub fn at(&mut self, stage: &'static str) {
        if stage != self.stage {
            self.end();
            self.span = span_of(&self.request, self.session, stage);
            (self.stage, self.since) = (stage, Instant::now());
        }
    }

    fn end(&self) {
        self.metrics.took(&STAGE_SECONDS, &[self.session, self.stage], self.since.elapsed());
    }
}

impl Drop for Stages {
    fn drop(&mut self) {
        self.end();
    }
}

fn span_of(request: &Span, session: &'static str, stage: &'static str) -> Span {
    tracing::info_span!(target: TRACE, parent: request, "stage", session, stage)
}
