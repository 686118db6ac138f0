//! What became of the requests of a load.

use std::collections::BTreeMap;
use std::time::Duration;

/// The outcomes of a load, exact to the request.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// By the names of the shapes.
    pub shapes: BTreeMap<String, ShapeTally>,
    /// Connections opened.
    pub connections: u64,
    /// What went wrong with the first failed request, if one failed.
    pub first_failure: Option<String>,
    /// From the first request to the last outcome.
    pub elapsed: Duration,
}

/// The outcomes of the requests of one shape.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShapeTally {
    /// Complete answers, by status.
    pub answered: BTreeMap<u16, u64>,
    /// Answers that broke off after the headers, by status.
    pub truncated: BTreeMap<u16, u64>,
    /// Requests given up by the client before an answer, as their shape says.
    pub aborted: u64,
    /// Requests with any other end: not connected, or cut off before an answer.
    pub failed: u64,
}

/// What became of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Answered(u16),
    Truncated(u16),
    Aborted,
}

impl Tally {
    /// All requests.
    pub fn sent(&self) -> u64 {
        self.shapes.values().map(ShapeTally::sent).sum()
    }

    /// Requests with a complete answer.
    pub fn answered(&self) -> u64 {
        self.by_status().values().sum()
    }

    /// Requests with a complete answer, by status.
    pub fn by_status(&self) -> BTreeMap<u16, u64> {
        sum_by_status(self.shapes.values().map(|shape| &shape.answered))
    }

    /// Requests with a complete answer of a status class, such as 2 for 200 to 299.
    pub fn answered_in_class(&self, class: u16) -> u64 {
        let by_status = self.by_status();
        by_status.range(class * 100..(class + 1) * 100).map(|(_, count)| count).sum()
    }

    /// Requests whose answer broke off after the headers.
    pub fn truncated(&self) -> u64 {
        sum_by_status(self.shapes.values().map(|shape| &shape.truncated)).values().sum()
    }

    /// Requests given up by the client before an answer.
    pub fn aborted(&self) -> u64 {
        self.shapes.values().map(|shape| shape.aborted).sum()
    }

    /// Requests with an unforeseen end.
    pub fn failed(&self) -> u64 {
        self.shapes.values().map(|shape| shape.failed).sum()
    }

    /// The outcomes of one shape; all zero if there is none of this name.
    pub fn shape(&self, name: &str) -> ShapeTally {
        self.shapes.get(name).cloned().unwrap_or_default()
    }

    /// Requests by the names of their shapes, to compare with [`super::Mix::expected`].
    pub fn sent_by_shape(&self) -> BTreeMap<&str, u64> {
        self.shapes.iter().map(|(name, shape)| (name.as_str(), shape.sent())).collect()
    }

    /// Adds what became of the requests of another load, which came after.
    pub fn add(&mut self, other: Self) {
        self.elapsed += other.elapsed;
        self.merge(other);
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (name, shape) in other.shapes {
            self.shapes.entry(name).or_default().merge(&shape);
        }
        self.connections += other.connections;
        self.first_failure = self.first_failure.take().or(other.first_failure);
    }
}

impl ShapeTally {
    /// All requests of this shape.
    pub fn sent(&self) -> u64 {
        let answers: u64 = self.answered.values().chain(self.truncated.values()).sum();
        answers + self.aborted + self.failed
    }

    /// Counts one outcome; none is a failure.
    pub(super) fn add(&mut self, outcome: Option<Outcome>) {
        match outcome {
            Some(Outcome::Answered(status)) => *self.answered.entry(status).or_default() += 1,
            Some(Outcome::Truncated(status)) => *self.truncated.entry(status).or_default() += 1,
            Some(Outcome::Aborted) => self.aborted += 1,
            None => self.failed += 1,
        }
    }

    fn merge(&mut self, other: &Self) {
        self.answered = sum_by_status([&self.answered, &other.answered]);
        self.truncated = sum_by_status([&self.truncated, &other.truncated]);
        self.aborted += other.aborted;
        self.failed += other.failed;
    }
}

fn sum_by_status<'a>(parts: impl IntoIterator<Item = &'a BTreeMap<u16, u64>>) -> BTreeMap<u16, u64> {
    let mut sum = BTreeMap::new();
    for (status, count) in parts.into_iter().flatten() {
        *sum.entry(*status).or_default() += count;
    }
    sum
}
