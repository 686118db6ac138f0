//! Writing batches series by series, so that none grows past [`BATCH_BYTES`] and nothing is encoded twice.

use super::{Point, wire};
use crate::exemplar::Exemplar;
use crate::limits::BATCH_BYTES;
use crate::metric::Metric;
use crate::protobuf::write;

/// Room for what most batches have before their series.
const HEAD_BYTES: usize = 128;

/// Writes the batches of one producer, whose series share their metrics.
///
/// [`push`](Self::push) each series; it gives a finished batch whenever one is full. [`finish`](Self::finish) gives the
/// last. Sequence numbers run on over the writer's life.
#[derive(Clone, Debug)]
pub struct BatchWriter {
    producer: u64,
    sequence: u64,
    counters: Vec<String>,
    /// The group's beginning, the same in every batch: its metrics, encoded.
    metrics: Vec<u8>,
    /// The series so far, encoded behind their field keys.
    series: Vec<u8>,
}

impl BatchWriter {
    /// A writer whose first batch has sequence 1.
    pub fn new(producer: u64, counters: Vec<String>, metrics: &[Metric]) -> Self {
        let mut writer = Self { producer, sequence: 0, counters, metrics: Vec::new(), series: Vec::new() };
        wire::metrics(&mut writer.metrics, metrics);
        writer
    }

    /// Appends a series, with the exemplars of its points if there are any ([`Series`](super::Series)). Gives the batch
    /// before it if the series did not fit into that one any more.
    pub fn push(
        &mut self,
        attributes: &[u8],
        observations: u64,
        points: &[Point],
        exemplars: &[(usize, Exemplar)],
    ) -> Option<Vec<u8>> {
        let before = self.series.len();
        wire::series(&mut self.series, attributes, observations, points, exemplars);
        if self.metrics.len().saturating_add(self.series.len()) <= BATCH_BYTES {
            return None;
        }
        let last = self.series.split_off(before);
        let finished = self.finish();
        self.series = last;
        finished
    }

    /// The batch of the series that were pushed since the last one; none if there are none.
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        if self.series.is_empty() {
            return None;
        }
        self.sequence = self.sequence.saturating_add(1);
        let group_bytes = self.metrics.len().saturating_add(self.series.len());
        let mut batch = Vec::with_capacity(group_bytes.saturating_add(HEAD_BYTES));
        wire::head(&mut batch, self.producer, self.sequence, &self.counters);
        write::length(&mut batch, wire::BATCH_GROUPS, group_bytes);
        batch.extend_from_slice(&self.metrics);
        batch.append(&mut self.series);
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
        let attributes = attributes::encode(vec![attributes::text("path", &format!("{number:01000}"))]);
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
    fn writes_what_a_batch_reads() {
        let mut writer = BatchWriter::new(7, vec!["requests".into()], &[metric()]);
        let only = series(1);
        assert_eq!(writer.finish(), None, "nothing to say, nothing said");
        assert_eq!(push(&mut writer, &only), None);
        let written = writer.finish().unwrap();
        let groups = vec![Group { metrics: vec![metric()], series: vec![only] }];
        let batch = Batch { producer: 7, sequence: 1, counters: vec!["requests".into()], groups };
        assert_eq!(Batch::decode(&written), Ok(batch.clone()));
        assert_eq!(written.len(), batch.encode().len());
    }

    #[test]
    fn splits_before_the_limit_and_loses_nothing() {
        let mut writer = BatchWriter::new(7, vec![], &[metric()]);
        let all: Vec<Series> = (0..600).map(series).collect();
        let mut written: Vec<_> = all.iter().filter_map(|series| push(&mut writer, series)).collect();
        written.extend(writer.finish());
        assert!(written.len() > 2, "{}", written.len());
        assert!(written.iter().all(|bytes| bytes.len() <= BATCH_BYTES_MAX));
        let batches: Vec<Batch> = written.iter().map(|bytes| Batch::decode(bytes).unwrap()).collect();
        let sequences: Vec<u64> = batches.iter().map(|batch| batch.sequence).collect();
        assert_eq!(sequences, (1..=batches.len() as u64).collect::<Vec<_>>());
        let read: Vec<Series> =
            batches.into_iter().flat_map(|batch| batch.groups).flat_map(|g| g.series).collect();
        assert_eq!(read, all);
    }
}
