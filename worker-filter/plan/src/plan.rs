//! What is read of each stream and what is made of it: the configuration, worked out.

use tributary_proto::metric::{Kind, Metric};

use crate::form::Form;
use crate::source::{Alone, Source};
use crate::template::Template;

/// The most values that are read of one stream: every observation has this many places.
pub const SOURCES_MAX: usize = 48;

/// What is counted of the streams of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Which streams these are.
    pub streams: Streams,
    /// What is counted of every stream.
    pub main: Part,
    /// What is counted besides of those that are gRPC calls.
    pub calls: Option<Calls>,
    /// Counters in shared data.
    pub counters: Vec<Counter>,
    /// When the statistic of observed streams grows.
    pub observed: When,
    /// Whether the streams under way are counted.
    pub in_flight: bool,
    /// What is written into requests and responses; only in the module that has callbacks for it.
    pub rules: Vec<HeaderRule>,
    /// Which streams are written to the log; the same.
    pub tap: Option<Tap>,
}

/// A header to be written or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderRule {
    /// Where.
    pub side: RuleSide,
    /// How.
    pub action: Action,
    /// Which.
    pub name: String,
    /// What is written.
    pub template: Template,
    /// What becomes of a request while a value of the template is not there.
    pub missing: Missing,
}

/// Where a header is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleSide {
    /// Into the request, on its way to the upstream.
    Request,
    /// Into the response, on its way to the client.
    Response,
}

/// How a header is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// As the only one of its name.
    Set,
    /// Beside others of its name.
    Append,
    /// Not: all of its name are taken away.
    Remove,
}

/// What becomes of a request while a value is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// It goes without the header.
    Skip,
    /// It is answered with 503.
    Deny,
}

/// Streams to be written to the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tap {
    /// A CEL expression that is true for them.
    pub condition: String,
    /// How many in a minute.
    pub per_minute: u64,
    /// How many bytes of a body or of a direction.
    pub body_bytes: usize,
    /// Headers whose values are not shown.
    pub masked: Vec<String>,
}

/// A counter in shared data, to which streams add one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counter {
    /// What it is called.
    pub key: String,
    /// When what was counted gets there.
    pub when: When,
    /// Among the main part's sources: what must be true for a stream to count.
    pub condition: Option<usize>,
    /// The response's header that carries its value, which then counts the response.
    pub response_header: Option<String>,
}

/// When what was counted gets into shared data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// With each request: exact at every moment, at about two host calls each.
    Request,
    /// With each flush.
    Flush,
}

/// The streams that a plan is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streams {
    /// HTTP requests and their answers.
    Http,
    /// TCP connections.
    Tcp,
}

/// Series that share their dimensions and metrics, and what must be read for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// What the host is asked for, each once; the other fields point into it.
    pub sources: Vec<Source>,
    /// Under what is counted.
    pub dimensions: Vec<Dimension>,
    /// What is counted.
    pub measures: Vec<Measure>,
    /// Where a trace is read, if the slowest observations are to keep theirs.
    pub trace: Option<usize>,
}

/// The part for gRPC calls. It has a list of its own, evaluated only for streams that may be calls by what was read already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calls {
    /// What is counted.
    pub part: Part,
    /// Among the main part's sources: the method, which is POST.
    pub method: usize,
    /// Among the main part's sources: the status, which is 200 or not there.
    pub status: usize,
    /// Among its own sources: what is empty if the stream is no call.
    pub proof: usize,
}

/// An attribute of the series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dimension {
    /// Such as `http.request.method`.
    pub name: String,
    /// Where its values come from.
    pub origin: Origin,
    /// What becomes of a value.
    pub form: Form,
    /// What stands for an absent or mistyped value, as a value in the form's wire form; none leaves the attribute out.
    pub default: Option<Box<[u8]>>,
    /// If not empty, the only values that are kept; others are [`crate::form::OTHER`].
    pub allow: Vec<Box<[u8]>>,
    /// Distinct values that a worker keeps apart; further ones are [`crate::form::OTHER`].
    pub max_values: Option<usize>,
    /// Bytes to which a value is cut.
    pub max_bytes: usize,
}

/// Where the values of a dimension come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// One of the part's sources.
    Source(usize),
    /// The same value for every stream.
    Constant(String),
}

/// A metric and where its values come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measure {
    /// What it is.
    pub metric: Metric,
    /// The value of one observation.
    pub value: Value,
}

/// The value of one observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// Every stream counts once, when it has ended.
    One,
    /// Every stream counts once, when it is first seen.
    Opened,
    /// The integer of one of the part's sources; nothing if it is absent, mistyped or negative. A counter takes what came
    /// since the stream was last seen, a histogram the whole at the stream's end.
    Of(usize),
    /// The same, but 0 if it is absent: every stream counts.
    OfEach(usize),
    /// The number of messages that went this way in a gRPC call, of [`Source::grpc_messages`]; nothing if it is absent.
    Messages(usize, Side),
    /// The time from the one in this source to now, in nanoseconds, at the stream's end.
    Since(usize),
}

/// Which of a call's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Those of the client.
    Request,
    /// Those of the server.
    Response,
}

impl Part {
    /// The metrics of the part's series, in the order of their cells.
    pub fn metrics(&self) -> Vec<Metric> {
        self.measures.iter().map(|measure| measure.metric.clone()).collect()
    }

    /// The measure whose slowest observation keeps its trace, if traces are read: the first histogram.
    pub fn traced(&self) -> Option<usize> {
        self.trace?;
        let is_histogram = |measure: &Measure| {
            matches!(measure.metric.kind, Kind::Histogram { .. } | Kind::Exponential { .. })
        };
        self.measures.iter().position(is_histogram)
    }

    /// Whether a stream's series can be told by properties alone, as it must be on a tick.
    pub fn is_placed_by_properties(&self) -> bool {
        self.dimensions.iter().all(|dimension| match dimension.origin {
            Origin::Source(at) => {
                let source = self.sources.get(at);
                source.is_none_or(|source| !matches!(source.alone, Alone::Expression(_)))
            }
            Origin::Constant(_) => true,
        })
    }

    /// The place of a source, which is added unless it is there.
    pub fn source(&mut self, source: Source) -> usize {
        match self.sources.iter().position(|known| *known == source) {
            Some(at) => at,
            None => {
                self.sources.push(source);
                self.sources.len().saturating_sub(1)
            }
        }
    }

    /// Leaves out the sources that nothing points to, neither here nor by `outside`.
    pub fn prune<'a>(&'a mut self, outside: impl Iterator<Item = &'a mut usize>) {
        let dimensions = self.dimensions.iter_mut().filter_map(|dimension| match &mut dimension.origin {
            Origin::Source(at) => Some(at),
            Origin::Constant(_) => None,
        });
        let measures = self.measures.iter_mut().filter_map(|measure| match &mut measure.value {
            Value::Of(at) | Value::OfEach(at) | Value::Messages(at, _) | Value::Since(at) => Some(at),
            Value::One | Value::Opened => None,
        });
        let mut kept: Vec<usize> = Vec::new();
        for at in dimensions.chain(measures).chain(&mut self.trace).chain(outside) {
            let place = kept.iter().position(|old| old == at);
            if place.is_none() {
                kept.push(*at);
            }
            *at = place.unwrap_or(kept.len().saturating_sub(1));
        }
        self.sources = kept.iter().filter_map(|at| self.sources.get(*at).cloned()).collect();
    }
}

impl Plan {
    /// Leaves out the dimensions and metrics of that name; false if there is none.
    pub fn drop(&mut self, name: &str) -> bool {
        let mut dropped = false;
        let parts = [Some(&mut self.main), self.calls.as_mut().map(|calls| &mut calls.part)];
        for part in parts.into_iter().flatten() {
            let before = (part.dimensions.len(), part.measures.len());
            part.dimensions.retain(|dimension| dimension.name != name);
            part.measures.retain(|measure| measure.metric.name != name);
            dropped |= before != (part.dimensions.len(), part.measures.len());
        }
        self.calls.take_if(|calls| calls.part.measures.is_empty());
        dropped
    }

    /// Whether it counts the messages of gRPC calls, as Envoy's `grpc_stats` filter tells them.
    pub fn counts_grpc_messages(&self) -> bool {
        let calls = self.calls.iter().flat_map(|calls| &calls.part.measures);
        let mut measures = self.main.measures.iter().chain(calls);
        measures.any(|measure| matches!(measure.value, Value::Messages(..)))
    }

    /// Leaves out the sources that nothing points to.
    pub fn prune(&mut self) {
        let conditions = self.counters.iter_mut().filter_map(|counter| counter.condition.as_mut());
        let gate = self.calls.iter_mut().flat_map(|calls| {
            calls.part.prune(std::iter::once(&mut calls.proof));
            [&mut calls.method, &mut calls.status]
        });
        self.main.prune(conditions.chain(gate));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pruning_keeps_what_is_pointed_to_and_where_it_points() {
        let dimension = |at| Dimension {
            name: "d".into(),
            origin: Origin::Source(at),
            form: Form::Text,
            default: None,
            allow: vec![],
            max_values: None,
            max_bytes: 9,
        };
        let mut part = Part::default();
        for name in ["a", "b", "c", "d"] {
            part.source(Source::expression(name));
        }
        assert_eq!(part.source(Source::expression("b")), 1, "each source once");
        part.dimensions = vec![dimension(3), dimension(1)];
        let mut outside = [1, 0];
        part.prune(outside.iter_mut());
        assert_eq!(outside, [1, 2]);
        let texts: Vec<_> = part.sources.iter().map(|source| source.written()).collect();
        assert_eq!(texts, ["d", "b", "a"]);
        assert_eq!(part.dimensions, [dimension(0), dimension(1)]);
    }
}
