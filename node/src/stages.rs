//! Which stage a session is in, and how long each takes: for the metrics, and as a span of the request's trace.

use crate::metrics::Metrics;
use crate::metrics::names::{ROUNDS, STAGE_SECONDS};
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
    pub fn begin(metrics: &Arc<Metrics>, session: &'static str, stage: &'static str) -> Self {
        let request = Span::current();
        let span = span_of(&request, session, stage);
        metrics.change(&ROUNDS, &[session, stage], 1.0);
        Self { metrics: metrics.clone(), session, stage, since: Instant::now(), request, span }
    }

    /// The session is in this stage now, for the first time or still.
    pub fn at(&mut self, stage: &'static str) {
        if stage != self.stage {
            self.end();
            self.span = span_of(&self.request, self.session, stage);
            (self.stage, self.since) = (stage, Instant::now());
            self.metrics.change(&ROUNDS, &[self.session, stage], 1.0);
        }
    }

    fn end(&self) {
        self.metrics.change(&ROUNDS, &[self.session, self.stage], -1.0);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_pending_in_one_stage_and_in_none_once_it_is_over() {
        let metrics = Arc::new(Metrics::default());
        let shown = |line: &str| metrics.render().lines().any(|shown| shown == line);
        let pending =
            |stage: &str, n: u8| shown(&format!("tally_rounds_pending{{session=\"sign\",stage=\"{stage}\"}} {n}.0"));
        let (mut one, other) = (Stages::begin(&metrics, "sign", "hello"), Stages::begin(&metrics, "sign", "hello"));
        assert!(pending("hello", 2));
        one.at("hello");
        one.at("vote");
        assert!(pending("hello", 1) && pending("vote", 1));
        drop((one, other));
        assert!(pending("hello", 0) && pending("vote", 0));
        for (stage, count) in [("hello", 2), ("vote", 1)] {
            assert!(shown(&format!("tally_stage_seconds_count{{session=\"sign\",stage=\"{stage}\"}} {count}")));
            let total = metrics.stages().remove(&("sign".to_owned(), stage.to_owned()));
            assert_eq!(total.map(|total| total.count), Some(count));
        }
    }
}
