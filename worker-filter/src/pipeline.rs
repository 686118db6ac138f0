//! Pipelines. Each pipeline reads, folds and flushes one metric group of the plan.

use std::hash::BuildHasher;

use tributary_host::attributes;
use tributary_plan::plan::{Measure, MeasureInput, MetricGroup, SOURCES_MAX};
use tributary_plan::source::Source;

use crate::fold::Fold;
use crate::observation::Observation;
use crate::outbox::{FlushOutcome, Outbox};
use crate::reading::{AttributeReader, BadExpression};

/// Reads, folds and flushes one metric group.
#[derive(Debug)]
pub(crate) struct Pipeline<S> {
    pub(crate) reader: AttributeReader,
    pub(crate) fold: Fold<S>,
    pub(crate) outbox: Outbox,
    /// Whether the batches of this pipeline contain the number of observations. Only one pipeline counts
    /// each stream.
    pub(crate) reports_observations: bool,
    /// The number of measures.
    pub(crate) measures: usize,
    /// Whether a measure needs the current time.
    pub(crate) needs_time: bool,
    /// Whether connections can be observed while they are open.
    pub(crate) observes_open: bool,
    /// The source with the response's status code; past the last source if the group does not read it.
    pub(crate) status: usize,
}

/// The pipeline for gRPC calls, and the sources that distinguish a call from other requests.
#[derive(Debug)]
pub(crate) struct GrpcPipeline<S> {
    pub(crate) pipeline: Pipeline<S>,
    pub(crate) method: usize,
    pub(crate) status: usize,
    pub(crate) indicator: usize,
}

impl<S: BuildHasher + Clone> Pipeline<S> {
    pub(crate) fn new(
        group: MetricGroup,
        mut outbox: Outbox,
        reports_observations: bool,
        series_max: usize,
        hasher: S,
    ) -> Result<Self, BadExpression> {
        let reader = AttributeReader::new(&group.sources)?;
        let is_status = |source: &Source| source.item == "response.code";
        let status = group.sources.iter().position(is_status).unwrap_or(SOURCES_MAX);
        // On a worker, the queue exists at this time. On the main thread, where no stream ends, the queue
        // may not exist yet (Envoy 1.40). A tick then resolves it later.
        let _ = outbox.open();
        let is_since = |measure: &Measure| matches!(measure.input, MeasureInput::TimeSince(_));
        let needs_time = group.trace.is_some() || group.measures.iter().any(is_since);
        let measures = group.measures.len();
        let observes_open = group.dimensions_need_no_expression();
        let fold = Fold::new(group, series_max, hasher);
        Ok(Self { reader, fold, outbox, reports_observations, measures, needs_time, observes_open, status })
    }

    pub(crate) fn flush(&mut self) -> FlushOutcome {
        let (fold, reports_observations) = (&mut self.fold, self.reports_observations);
        self.outbox.flush(!fold.is_empty(), |writer, batches| {
            fold.drain(|attributes, observations, points, exemplars| {
                let observations = if reports_observations { observations } else { 0 };
                batches.extend(writer.push(attributes, observations, points, exemplars));
            });
        })
    }
}

impl<S> GrpcPipeline<S> {
    /// Returns whether a stream may be a gRPC call. Each call is a POST request. Its response, if it has
    /// one, has status 200 (gRPC, `doc/PROTOCOL-HTTP2.md`) or is an error from a server that does not speak
    /// gRPC.
    pub(crate) fn may_be_call(&self, observation: &Observation<'_>) -> bool {
        observation.bytes(self.method) == b"POST"
            && observation.integer(self.status).is_none_or(|status| status <= 200 || status >= 400)
    }
}

/// Returns whether the current HTTP stream ended because Envoy continues the request in another stream, with
/// the path to which the response redirects or with other filters. Envoy's `downstream_rq_completed` leaves
/// out such a stream too (1.36.4, 1.40.0). `status` is the source with the status code.
pub(crate) fn is_internal_redirect(observation: &Observation<'_>, status: usize) -> bool {
    // Other status codes rule it out without a host call.
    let status = observation.integer(status).unwrap_or_default();
    !(200..300).contains(&status)
        && status < 400
        && attributes::property(b"response\0code_details")
            .is_ok_and(|details| details == b"internal_redirect")
}
