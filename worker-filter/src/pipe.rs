//! A part of the plan at work: read, folded and handed over together.

use std::hash::BuildHasher;

use tributary_host::Status;
use tributary_plan::plan::{Measure, Part, Value};
use tributary_plan::source::Source;

use crate::fold::Fold;
use crate::observation::Observation;
use crate::outbox::{HandedOver, Outbox};
use crate::reading::Reader;

/// A part of the plan at work.
#[derive(Debug)]
pub(crate) struct Pipe<S> {
    pub(crate) reader: Reader,
    pub(crate) fold: Fold<S>,
    pub(crate) outbox: Outbox,
    /// Whether its streams are told as observations: each stream is one of a single pipe.
    pub(crate) observes: bool,
    /// How many measures there are.
    pub(crate) measures: usize,
    /// Whether one of them needs to know the time.
    pub(crate) needs_time: bool,
    /// Whether connections can be observed while they are open.
    pub(crate) reports: bool,
}

/// The part for gRPC calls at work, and how to tell them.
#[derive(Debug)]
pub(crate) struct Calls<S> {
    pub(crate) pipe: Pipe<S>,
    pub(crate) method: usize,
    pub(crate) status: usize,
    pub(crate) proof: usize,
}

/// An expression that Envoy refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadExpression {
    /// The source with it.
    pub source: Source,
    /// What Envoy said.
    pub status: Status,
}

impl<S: BuildHasher + Clone> Pipe<S> {
    pub(crate) fn new(
        part: Part,
        mut outbox: Outbox,
        observes: bool,
        series_max: usize,
        hasher: S,
    ) -> Result<Self, BadExpression> {
        let reader = match Reader::new(&part.sources) {
            Ok(reader) => reader,
            Err(refused) => {
                let source = part.sources.get(refused.source).cloned();
                let source = source.unwrap_or_else(|| Source::expression(""));
                return Err(BadExpression { source, status: refused.status });
            }
        };
        // On a worker the service is there by now; on the main thread, where no stream ever ends, it may not be (Envoy 1.40).
        // Whoever is too early finds it on a tick.
        let _ = outbox.open();
        let is_since = |measure: &Measure| matches!(measure.value, Value::Since(_));
        let needs_time = part.trace.is_some() || part.measures.iter().any(is_since);
        let measures = part.measures.len();
        let reports = part.is_placed_by_properties();
        let fold = Fold::new(part, series_max, hasher);
        Ok(Self { reader, fold, outbox, observes, measures, needs_time, reports })
    }

    pub(crate) fn hand_over(&mut self) -> HandedOver {
        let (fold, observes) = (&mut self.fold, self.observes);
        self.outbox.hand_over(!fold.is_empty(), |writer, batches| {
            fold.take(|attributes, observations, points, exemplars| {
                let observations = if observes { observations } else { 0 };
                batches.extend(writer.push(attributes, observations, points, exemplars));
            });
        })
    }
}

impl<S> Calls<S> {
    /// Whether a stream may be a gRPC call: each is a POST, and its answer, if there is one, has status 200 (gRPC,
    /// `doc/PROTOCOL-HTTP2.md`), or is an error of something that is no gRPC server.
    pub(crate) fn may_be_one(&self, observation: &Observation<'_>) -> bool {
        observation.bytes(self.method) == b"POST"
            && observation.integer(self.status).is_none_or(|status| status <= 200 || status >= 400)
    }
}
