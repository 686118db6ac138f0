//! Metrics: the name, unit and kind of the values in a series, and the conversion of recorded integers to the
//! unit.

use std::error::Error;
use std::fmt;

use crate::generated::batch;
use crate::limits::{
    BOUNDS_MAX, DESCRIPTION_BYTES_MAX, EXPONENTIAL_SIZE_MAX, EXPONENTIAL_SIZE_MIN, NAME_BYTES_MAX,
    UNIT_BYTES_MAX,
};

/// A metric. Two metrics are the same only if all fields are equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Metric {
    /// The name, such as `http.server.request.duration`.
    pub name: String,
    /// The unit in UCUM, such as `s` or `By`.
    pub unit: String,
    /// The description for people, for example in dashboards.
    pub description: String,
    /// The number of recorded integers in one unit, such as 10^9 if nanoseconds are recorded and the unit is
    /// seconds. Never 0.
    pub divisor: u64,
    /// How values are added up.
    pub kind: Kind,
}

/// How the values of a metric are added up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A monotonic sum.
    Counter,
    /// A sum that can decrease.
    UpDownCounter,
    /// A histogram with explicit bounds.
    Histogram {
        /// The inclusive upper bounds in recorded integers, ascending.
        bounds: Box<[u64]>,
    },
    /// An exponential histogram.
    Exponential {
        /// The maximum number of buckets of a point, not counting the zero bucket.
        max_size: usize,
    },
}

/// Why a metric in a batch is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricError {
    /// The OpenTelemetry API does not allow the name.
    Name,
    /// The unit or the description is too long.
    Text,
    /// The kind is unknown.
    Kind,
    /// The divisor is 0.
    Divisor,
    /// The bounds are too many, not ascending, or not allowed for the kind.
    Bounds,
    /// The size is too small, too large, or not allowed for the kind.
    MaxSize,
}

impl fmt::Display for MetricError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "a metric with an invalid name",
            Self::Text => "a metric whose unit or description is too long",
            Self::Kind => "a metric of an unknown kind",
            Self::Divisor => "a metric with the divisor 0",
            Self::Bounds => "a metric with invalid bounds",
            Self::MaxSize => "a metric with an invalid size",
        })
    }
}

impl Error for MetricError {}

impl Metric {
    /// Converts the metric to a message.
    pub fn to_wire(&self) -> batch::Metric {
        use batch::metric::Kind as Wire;
        let (kind, bounds, max_size) = match &self.kind {
            Kind::Counter => (Wire::Counter, Vec::new(), 0),
            Kind::UpDownCounter => (Wire::UpDownCounter, Vec::new(), 0),
            Kind::Histogram { bounds } => (Wire::Histogram, bounds.to_vec(), 0),
            Kind::Exponential { max_size } => (Wire::ExponentialHistogram, Vec::new(), *max_size),
        };
        batch::Metric {
            name: self.name.clone(),
            unit: self.unit.clone(),
            description: self.description.clone(),
            kind: kind.into(),
            divisor: self.divisor,
            bounds,
            max_size: u32::try_from(max_size).unwrap_or(u32::MAX),
        }
    }

    /// Converts a message to a metric, and checks it.
    ///
    /// # Errors
    /// The first problem of the message.
    pub fn from_wire(wire: batch::Metric) -> Result<Self, MetricError> {
        if !is_name(&wire.name) {
            return Err(MetricError::Name);
        }
        if wire.unit.len() > UNIT_BYTES_MAX || wire.description.len() > DESCRIPTION_BYTES_MAX {
            return Err(MetricError::Text);
        }
        if wire.divisor == 0 {
            return Err(MetricError::Divisor);
        }
        let kind = Kind::from_wire(wire.kind, wire.bounds, wire.max_size)?;
        Ok(Self {
            name: wire.name,
            unit: wire.unit,
            description: wire.description,
            divisor: wire.divisor,
            kind,
        })
    }

    /// Converts a recorded integer to the unit, with the precision of a double.
    ///
    /// Divides instead of multiplying by the inverse, so that 5,000,000 ns are 0.005 s and not
    /// 0.005000000000000001.
    #[expect(clippy::cast_precision_loss, reason = "collectors take doubles, which have 53 bits")]
    pub fn in_unit(&self, value: u128) -> f64 {
        value as f64 / self.divisor as f64
    }

    /// Converts a recorded integer that can be negative to the unit.
    pub fn in_unit_signed(&self, value: i64) -> f64 {
        let size = self.in_unit(value.unsigned_abs().into());
        if value < 0 { -size } else { size }
    }
}

impl Kind {
    fn from_wire(kind: i32, bounds: Vec<u64>, max_size: u32) -> Result<Self, MetricError> {
        use batch::metric::Kind as Wire;
        let kind = Wire::try_from(kind).ok().filter(|kind| *kind != Wire::Unspecified);
        let kind = kind.ok_or(MetricError::Kind)?;
        let bounds_max = if kind == Wire::Histogram { BOUNDS_MAX } else { 0 };
        if bounds.len() > bounds_max || !bounds.is_sorted_by(|a, b| a < b) {
            return Err(MetricError::Bounds);
        }
        let max_size = usize::try_from(max_size).unwrap_or(usize::MAX);
        let is_exponential = kind == Wire::ExponentialHistogram;
        let sizes = if is_exponential { EXPONENTIAL_SIZE_MIN..=EXPONENTIAL_SIZE_MAX } else { 0..=0 };
        if !sizes.contains(&max_size) {
            return Err(MetricError::MaxSize);
        }
        Ok(match kind {
            Wire::Histogram => Self::Histogram { bounds: bounds.into_boxed_slice() },
            Wire::ExponentialHistogram => Self::Exponential { max_size },
            Wire::UpDownCounter => Self::UpDownCounter,
            Wire::Counter | Wire::Unspecified => Self::Counter,
        })
    }
}

/// Returns whether `name` is a valid instrument name of the OpenTelemetry metrics API specification: a
/// letter, followed by letters, digits, `_`, `.`, `-` or `/`, in total at most 255 characters.
pub fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'/'))
        && name.len() <= NAME_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn duration() -> Metric {
        Metric {
            name: "http.server.request.duration".into(),
            unit: "s".into(),
            description: "Duration of HTTP server requests.".into(),
            divisor: 1_000_000_000,
            kind: Kind::Histogram { bounds: [5_000_000, 10_000_000].into() },
        }
    }

    #[test]
    fn a_metric_survives_the_wire() {
        assert_eq!(Metric::from_wire(duration().to_wire()), Ok(duration()));
        for kind in [Kind::Counter, Kind::UpDownCounter, Kind::Exponential { max_size: 160 }] {
            let metric = Metric { kind, ..duration() };
            assert_eq!(Metric::from_wire(metric.to_wire()), Ok(metric));
        }
    }

    #[test]
    fn nanoseconds_become_the_bounds_in_the_conventions() {
        for (value, expected) in [(5_000_000, 0.005), (75_000_000, 0.075), (7_500_000_000, 7.5)] {
            assert_eq!(duration().in_unit(value).to_string(), expected.to_string());
        }
        assert_eq!(duration().in_unit_signed(-75_000_000).to_string(), "-0.075");
        assert_eq!(duration().in_unit_signed(75_000_000).to_string(), "0.075");
    }

    #[test]
    fn an_invalid_metric_is_rejected() {
        let wire = || duration().to_wire();
        for (wire, expected) in [
            (batch::Metric { name: "1st".into(), ..wire() }, MetricError::Name),
            (batch::Metric { name: "a b".into(), ..wire() }, MetricError::Name),
            (batch::Metric { name: "a".repeat(256), ..wire() }, MetricError::Name),
            (batch::Metric { unit: "s".repeat(64), ..wire() }, MetricError::Text),
            (batch::Metric { divisor: 0, ..wire() }, MetricError::Divisor),
            (batch::Metric { kind: 9, ..wire() }, MetricError::Kind),
            (batch::Metric { kind: 1, ..wire() }, MetricError::Bounds),
            (batch::Metric { kind: 3, ..wire() }, MetricError::Bounds),
            (batch::Metric { kind: 4, ..wire() }, MetricError::Bounds),
            (batch::Metric { kind: 4, bounds: vec![], max_size: 2, ..wire() }, MetricError::MaxSize),
            (batch::Metric { bounds: vec![2, 2], ..wire() }, MetricError::Bounds),
            (batch::Metric { max_size: 160, ..wire() }, MetricError::MaxSize),
            (batch::Metric { kind: 3, bounds: vec![], max_size: 1, ..wire() }, MetricError::MaxSize),
            (batch::Metric { kind: 3, bounds: vec![], max_size: 257, ..wire() }, MetricError::MaxSize),
        ] {
            assert_eq!(Metric::from_wire(wire), Err(expected));
        }
    }
}
