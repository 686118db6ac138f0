//! Whose metrics there are, and in which order destinations are told of them.

use super::{METRICS_MAX, MetricTable};

/// Whose a metric is. Destinations are told of what is measured first, and of how that goes last: so whatever becomes of a cycle,
/// it began with what matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// It came in batches.
    Workers,
    /// It is a counter in shared data.
    SharedData,
    /// It tells of the service.
    Service,
}

/// All metrics, each owner's by themselves: nobody takes another's places.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    workers: Vec<MetricTable>,
    shared_data: Vec<MetricTable>,
    service: Vec<MetricTable>,
}

impl Metrics {
    /// Those of one owner.
    pub(super) fn of(&self, owner: Owner) -> &[MetricTable] {
        match owner {
            Owner::Workers => &self.workers,
            Owner::SharedData => &self.shared_data,
            Owner::Service => &self.service,
        }
    }

    /// The same, to change.
    pub(super) fn of_mut(&mut self, owner: Owner) -> &mut Vec<MetricTable> {
        match owner {
            Owner::Workers => &mut self.workers,
            Owner::SharedData => &mut self.shared_data,
            Owner::Service => &mut self.service,
        }
    }

    /// All from the place `first` on, each with its place. Places do not change.
    pub(super) fn all_mut(&mut self, first: usize) -> impl Iterator<Item = (usize, &mut MetricTable)> {
        let Self { workers, shared_data, service } = self;
        let owners = (0_usize..).step_by(METRICS_MAX).zip([workers, shared_data, service]);
        owners.flat_map(|(at, metrics)| (at..).zip(metrics)).skip_while(move |(at, _)| *at < first)
    }
}
