//! The outcomes of the requests of a load.

use std::collections::BTreeMap;
use std::time::Duration;

/// The outcomes of a load; every request is counted once.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// The outcomes of each shape, by its name.
    pub shapes: BTreeMap<String, ShapeTally>,
    /// The number of opened connections.
    pub connections: u64,
    /// The error of the first failed request.
    pub first_failure: Option<String>,
    /// The time from the first request to the last outcome.
    pub elapsed: Duration,
}

/// The outcomes of the requests of one shape.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShapeTally {
    /// Complete responses, by status.
    pub answered: BTreeMap<u16, u64>,
    /// Responses that were truncated after the headers, by status.
    pub truncated: BTreeMap<u16, u64>,
    /// Requests that the client aborted before the response, as their shape requires.
    pub aborted: u64,
    /// Requests that ended in any other way: not connected, or closed before a response.
    pub failed: u64,
}

/// The outcome of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LoadOutcome {
    Answered(u16),
    Truncated(u16),
    Aborted,
}

impl Tally {
    /// Returns the number of requests.
    pub fn sent(&self) -> u64 {
        self.shapes.values().map(ShapeTally::sent).sum()
    }

    /// Returns the number of requests of some shapes.
    pub fn sent_of(&self, shapes: &[&str]) -> u64 {
        shapes.iter().map(|shape| self.shape(shape).sent()).sum()
    }

    /// Returns the number of requests with a complete response.
    pub fn answered(&self) -> u64 {
        self.by_status().values().sum()
    }

    /// Returns the number of requests with a complete response, by status.
    pub fn by_status(&self) -> BTreeMap<u16, u64> {
        sum_by_status(self.shapes.values().map(|shape| &shape.answered))
    }

    /// Returns the number of requests with a complete response of a status class, such as 2 for 200 to 299.
    pub fn answered_in_class(&self, class: u16) -> u64 {
        let by_status = self.by_status();
        by_status.range(class * 100..(class + 1) * 100).map(|(_, count)| count).sum()
    }

    /// Returns the number of requests with a truncated response.
    pub fn truncated(&self) -> u64 {
        sum_by_status(self.shapes.values().map(|shape| &shape.truncated)).values().sum()
    }

    /// Returns the number of requests that the client aborted.
    pub fn aborted(&self) -> u64 {
        self.shapes.values().map(|shape| shape.aborted).sum()
    }

    /// Returns the number of requests with an unexpected end.
    pub fn failed(&self) -> u64 {
        self.shapes.values().map(|shape| shape.failed).sum()
    }

    /// Returns the outcomes of one shape. For an unknown name, all numbers are 0.
    pub fn shape(&self, name: &str) -> ShapeTally {
        self.shapes.get(name).cloned().unwrap_or_default()
    }

    /// Returns the number of requests by shape, to compare with [`super::Mix::expected`].
    pub fn sent_by_shape(&self) -> BTreeMap<&str, u64> {
        self.shapes.iter().map(|(name, shape)| (name.as_str(), shape.sent())).collect()
    }

    /// Adds the outcomes of a later load.
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
    /// Returns the number of requests of this shape.
    pub fn sent(&self) -> u64 {
        let answers: u64 = self.answered.values().chain(self.truncated.values()).sum();
        answers + self.aborted + self.failed
    }

    /// Counts one outcome; `None` is a failure.
    pub(super) fn add(&mut self, outcome: Option<LoadOutcome>) {
        match outcome {
            Some(LoadOutcome::Answered(status)) => *self.answered.entry(status).or_default() += 1,
            Some(LoadOutcome::Truncated(status)) => *self.truncated.entry(status).or_default() += 1,
            Some(LoadOutcome::Aborted) => self.aborted += 1,
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
