//! Upper bounds for the size of a request before it is encoded and compressed. They show where a request
//! must end before it becomes too large.
//!
//! Numbers often need fewer bytes than their bounds. Strings, which are most of a request, are counted
//! exactly.

use prost::encoding::encoded_len_varint;
use tributary_proto::attributes::{self, AttributeValue as Attribute};
use tributary_proto::batch::Point;
use tributary_proto::metric::{Kind, Metric};

use super::Encoding;
use crate::aggregate::DataPoint;
use crate::export::resource::Resource;

/// The longest text of a number: 20 digits and a sign, or a double's 17 digits, point, signs and exponent.
const NUMBER_TEXT: usize = 24;

/// Upper bounds for sizes in one encoding with one resource. The size of a request is at most
/// [`request`](Self#structfield.request), plus [`metric`](Self::metric) for each metric in it, plus
/// [`point`](Self::point) for each point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeHint {
    encoding: Encoding,
    /// The maximum number of bytes of a request without its metrics.
    pub request: usize,
    /// The number of bytes that the resource adds to each series.
    per_series: usize,
}

impl SizeHint {
    /// Creates the bounds for requests with this resource.
    pub fn new(encoding: Encoding, resource: &Resource) -> Self {
        let canonical = resource.canonical();
        let of_all = |each: fn(&str, &str) -> usize| {
            attributes::iter(canonical).map(|(key, value)| each(key, text(value))).sum::<usize>()
        };
        let (request, per_series) = match encoding {
            Encoding::OtlpProtobuf => (128 + canonical.len(), 0),
            Encoding::OtlpJson => {
                (256 + of_all(|key, value| 64 + escaped(key.as_bytes()) + escaped(value.as_bytes())), 0)
            }
            // `job` and `instance` have the values of three attributes; `target_info` has all attributes.
            Encoding::RemoteWrite => (
                256 + of_all(|key, value| 64 + key.len() + value.len()),
                32 + of_all(|key, value| match key {
                    "service.name" | "service.namespace" | "service.instance.id" => 1 + value.len(),
                    _ => 0,
                }),
            ),
        };
        Self { encoding, request: request.saturating_add(per_series), per_series }
    }

    /// Returns the maximum number of bytes of a metric without its points.
    pub fn metric(&self, metric: &Metric) -> usize {
        let texts = [&metric.name, &metric.description, &metric.unit];
        match self.encoding {
            Encoding::OtlpProtobuf => 48 + texts.map(|text| text.len()).iter().sum::<usize>(),
            Encoding::OtlpJson => 192 + texts.map(|text| escaped(text.as_bytes())).iter().sum::<usize>(),
            // This is the size of the metric's metadata. Its name contains the unit in a longer form.
            Encoding::RemoteWrite => {
                128 + texts.map(|text| text.len()).iter().sum::<usize>() + metric.unit.len()
            }
        }
    }

    /// Returns the maximum number of bytes of a point of `metric`.
    pub fn point(&self, metric: &Metric, point: &DataPoint<'_>) -> usize {
        match self.encoding {
            Encoding::OtlpProtobuf => protobuf(point),
            Encoding::OtlpJson => json(point),
            Encoding::RemoteWrite => self.remote_write(metric, point),
        }
    }

    fn remote_write(&self, metric: &Metric, point: &DataPoint<'_>) -> usize {
        // A label may be longer than its attribute: by a prefix, and by the text of a number.
        let labels = point.attributes.len() + count(point.attributes) * 48 + self.per_series;
        let series = 96 + metric.name.len() + metric.unit.len() + labels;
        let own = match (point.value.as_deref(), &metric.kind) {
            // Each bucket is a series with a sample, and with its bound as text. The sum and the count are
            // two more series.
            (Some(Point::Histogram(_)) | None, Kind::Histogram { bounds }) => {
                (bounds.len() + 3) * (series + 2 * NUMBER_TEXT)
            }
            (Some(Point::Exponential(histogram)), _) => {
                let (buckets, delta) = (histogram.buckets().len(), 1 + encoded_len_varint(histogram.count()));
                series + 96 + buckets * delta + (buckets / 3 + 1) * 16
            }
            _ => series + 96,
        };
        own + usize::from(point.exemplar.is_some()) * 112
    }
}

fn protobuf(point: &DataPoint<'_>) -> usize {
    // This includes the times, the flags, and the length of the point.
    let common = 32 + point.attributes.len() + usize::from(point.exemplar.is_some()) * 56;
    common
        + match point.value.as_deref() {
            None | Some(Point::Counter(_) | Point::UpDownCounter(_)) => 16,
            Some(Point::Histogram(histogram)) => 64 + histogram.buckets().len() * 16,
            Some(Point::Exponential(histogram)) => {
                80 + histogram.buckets().iter().map(|count| encoded_len_varint(*count)).sum::<usize>()
            }
        }
}

fn json(point: &DataPoint<'_>) -> usize {
    let attributes = escaped(point.attributes) + count(point.attributes) * 64;
    let common = 192 + attributes + usize::from(point.exemplar.is_some()) * 176;
    let counts = |buckets: &[u64]| buckets.iter().map(|count| digits(*count) + 3).sum::<usize>();
    common
        + match point.value.as_deref() {
            None | Some(Point::Counter(_) | Point::UpDownCounter(_)) => 0,
            Some(Point::Histogram(histogram)) => {
                192 + counts(histogram.buckets()) + histogram.buckets().len() * (NUMBER_TEXT + 1)
            }
            Some(Point::Exponential(histogram)) => 256 + counts(histogram.buckets()),
        }
}

/// Returns the number of attributes in canonical bytes without decoding them.
fn count(canonical: &[u8]) -> usize {
    attributes::encoded(canonical).count()
}

/// Returns the length of text in JSON with its escapes.
fn escaped(text: &[u8]) -> usize {
    text.len() + 5 * text.iter().filter(|byte| **byte < b' ' || matches!(byte, b'"' | b'\\')).count()
}

fn text(value: Attribute<'_>) -> &str {
    match value {
        Attribute::Text(text) => text,
        // The constant per attribute includes the text of a number.
        Attribute::Bool(_) | Attribute::Integer(_) => "",
    }
}

fn digits(count: u64) -> usize {
    usize::try_from(count.checked_ilog10().unwrap_or(0)).unwrap_or(0) + 1
}

#[cfg(test)]
mod tests {
    use tributary_proto::attributes::{encode, integer, text};

    use super::*;

    #[test]
    fn attributes_are_counted_without_reading_them() {
        for count in [0, 1, 31] {
            let canonical = encode((0..count).map(|n| text(&format!("{n}"), &"x".repeat(200))).collect());
            assert_eq!(super::count(&canonical), count);
        }
        assert_eq!(count(&encode(vec![integer("a", 0)])), 1);
    }

    #[test]
    fn digits_are_as_many_as_in_the_text() {
        for count in [0, 1, 9, 10, 99, 100, u64::MAX] {
            assert_eq!(digits(count), count.to_string().len());
        }
    }
}
