//! What is read of each stream and what is made of it: the configuration, worked out.

use tributary_proto::metric::{Kind, Metric};

/// The most attributes that one plan reads: every observation has this many places.
pub const SOURCES_MAX: usize = 32;

/// What is read of each stream, under what it is counted, and what is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What the host is asked for, each once; the other parts point into it.
    pub sources: Vec<Source>,
    /// Under what is counted, in ascending order of the names.
    pub dimensions: Vec<Dimension>,
    /// What is counted.
    pub measures: Vec<Measure>,
}

/// An attribute of Envoy, by its dotted path such as `request.method`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// As Envoy's documentation and CEL write it.
    pub path: &'static str,
}

/// An attribute of the series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dimension {
    /// Such as `http.request.method`.
    pub name: &'static str,
    /// Which of the plan's sources.
    pub source: usize,
    /// What becomes of the value.
    pub form: Form,
}

/// What becomes of a value on its way to an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Text as it is, made UTF-8; absent if empty.
    Text,
    /// A method of RFC 9110 or PATCH as it is, any other as `_OTHER` (OpenTelemetry HTTP semantic conventions).
    Method,
    /// An integer; absent if 0, which is how Envoy says that there was no answer.
    Integer,
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
    /// Every observation counts once.
    One,
    /// The integer of one of the plan's sources; 0 if it is absent or negative.
    Of(usize),
}

impl Plan {
    /// Makes all histograms exponential ones, of at most `max_size` buckets.
    pub fn make_exponential(&mut self, max_size: usize) {
        for measure in &mut self.measures {
            if matches!(measure.metric.kind, Kind::Histogram { .. }) {
                measure.metric.kind = Kind::Exponential { max_size };
            }
        }
    }

    /// The metrics of the plan's series, in the order of their cells.
    pub fn metrics(&self) -> Vec<Metric> {
        self.measures.iter().map(|measure| measure.metric.clone()).collect()
    }
}
