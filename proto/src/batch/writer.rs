//! Writes batches series by series, so that no batch exceeds [`BATCH_BYTES`] and nothing is encoded twice.

use prost::Message;
use prost::bytes::Bytes;
use prost::encoding::{WireType, encode_key, encode_varint, message};

use super::Point;
use crate::exemplar::Exemplar;
use crate::generated::batch as wire;
use crate::limits::BATCH_BYTES;
use crate::metric::Metric;

/// Field numbers of `schema/batch.proto`.
const BATCH_GROUPS: u32 = 3;
const GROUP_SERIES: u32 = 2;

/// Writes the batches of one producer. All its series share their metrics.
///
/// [`push`](Self::push) adds a series, and returns the previous batch if that batch is full.
/// [`finish`](Self::finish) returns the last batch. Sequence numbers continue over the life of the writer.
#[derive(Clone, Debug)]
pub struct BatchWriter {
    /// The last finished batch without its group; `observed_before` includes that batch.
    head: wire::Batch,
    /// The number of observations in the series that are not in a finished batch.
    pending: u64,
    /// The encoded metrics, with which the group of each batch begins.
    metrics: Vec<u8>,
    /// The encoded series of the next batch, each with its field key.
    series: Vec<u8>,
    /// The message into which each series is written. Its lists are reused.
    next: wire::Series,
}

impl BatchWriter {
    /// Creates a writer whose first batch has the sequence number 1.
    pub fn new(producer: u64, counters: Vec<String>, metrics: &[Metric]) -> Self {
        let head = wire::Batch { producer, counters, ..wire::Batch::default() };
        let metrics = metrics.iter().map(Metric::to_wire).collect();
        let metrics = wire::Group { metrics, series: Vec::new() }.encode_to_vec();
        Self { head, pending: 0, metrics, series: Vec::new(), next: wire::Series::default() }
    }

    /// Returns the number of observations in all finished batches.
    pub fn observed(&self) -> u64 {
        self.head.observed_before
    }

    /// Appends a series with its exemplars ([`Series`](super::Series)). If the series did not fit into the
    /// current batch, returns that batch and starts the next batch with the series.
    pub fn push(
        &mut self,
        attributes: &[u8],
        observations: u64,
        points: &[Point],
        exemplars: &[(usize, Exemplar)],
    ) -> Option<Vec<u8>> {
        let before = self.series.len();
        let next = &mut self.next;
        next.attributes = Bytes::copy_from_slice(attributes);
        next.observations = observations;
        next.points.resize_with(points.len(), wire::Point::default);
        next.points.iter_mut().zip(points).for_each(|(wire, point)| point.write_to(wire));
        next.exemplars.clear();
        next.exemplars.extend(exemplars.iter().map(|(point, exemplar)| exemplar.to_wire(*point)));
        message::encode(GROUP_SERIES, next, &mut self.series);
        if self.metrics.len().saturating_add(self.series.len()) <= BATCH_BYTES {
            self.pending = self.pending.saturating_add(observations);
            return None;
        }
        let last = self.series.split_off(before);
        let finished = self.finish();
        self.series = last;
        self.pending = observations;
        finished
    }

    /// Returns the batch of the series that were pushed since the last batch, or `None` if there are no such
    /// series.
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        if self.series.is_empty() {
            return None;
        }
        self.head.sequence = self.head.sequence.saturating_add(1);
        let group_bytes = self.metrics.len().saturating_add(self.series.len());
        let mut batch = self.head.encode_to_vec();
        // Four more bytes for the key and the length of the field.
        batch.reserve_exact(group_bytes.saturating_add(4));
        encode_key(BATCH_GROUPS, WireType::LengthDelimited, &mut batch);
        encode_varint(u64::try_from(group_bytes).unwrap_or(u64::MAX), &mut batch);
        batch.extend_from_slice(&self.metrics);
        batch.append(&mut self.series);
        self.head.observed_before =
            self.head.observed_before.saturating_add(std::mem::take(&mut self.pending));
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attributes;
    use crate::batch::{Batch, Group, Series};
    use crate::histogram::Histogram;
    use crate::limits::BATCH_BYTES_MAX;
    use crate::metric::Kind;

    fn metric() -> Metric {
        let (name, unit, description) = ("requests".into(), "1".into(), String::new());
        Metric { name, unit, description, divisor: 1, kind: Kind::Histogram { bounds: [10].into() } }
    }

    fn series(number: usize) -> Series {
        let attributes =
            attributes::encode(vec![attributes::text("path", &format!("{number:01000}"))]).into();
        let mut histogram = Histogram::new(1);
        histogram.record(7, &[10]);
        let exemplar = Exemplar::new(7, 1, [1; 16], [1; 8]).unwrap();
        Series {
            attributes,
            observations: 1,
            points: vec![Point::Histogram(histogram)],
            exemplars: if number.is_multiple_of(2) { vec![] } else { vec![(0, exemplar)] },
        }
    }

    fn push(writer: &mut BatchWriter, series: &Series) -> Option<Vec<u8>> {
        writer.push(&series.attributes, series.observations, &series.points, &series.exemplars)
    }

    #[test]
    fn batches_can_be_decoded() {
        let mut writer = BatchWriter::new(7, vec!["requests".into()], &[metric()]);
        let only = series(1);
        assert_eq!(writer.finish(), None, "no series, no batch");
        assert_eq!(push(&mut writer, &only), None);
        let written = writer.finish().unwrap();
        let groups = vec![Group { metrics: vec![metric()], series: vec![only] }];
        let counters = vec!["requests".into()];
        let batch = Batch { producer: 7, sequence: 1, observed_before: 0, counters, groups };
        assert_eq!(written.len(), batch.encode().len());
        assert_eq!(Batch::decode(written), Ok(batch));
    }

    #[test]
    fn batches_are_split_before_the_limit() {
        let mut writer = BatchWriter::new(7, vec![], &[metric()]);
        let all: Vec<Series> = (0..600).map(series).collect();
        let mut written: Vec<_> = all.iter().filter_map(|series| push(&mut writer, series)).collect();
        written.extend(writer.finish());
        assert!(written.len() > 2, "{}", written.len());
        assert!(written.iter().all(|bytes| bytes.len() <= BATCH_BYTES_MAX));
        let batches: Vec<Batch> = written.into_iter().map(|bytes| Batch::decode(bytes).unwrap()).collect();
        let sequences: Vec<u64> = batches.iter().map(|batch| batch.sequence).collect();
        assert_eq!(sequences, (1..=batches.len() as u64).collect::<Vec<_>>());
        let mut observed = 0;
        for batch in &batches {
            assert_eq!(batch.observed_before, observed);
            observed += batch.observations();
        }
        assert_eq!((observed, writer.observed()), (600, 600));
        let read: Vec<Series> =
            batches.into_iter().flat_map(|batch| batch.groups).flat_map(|g| g.series).collect();
        assert_eq!(read, all);
    }
}
