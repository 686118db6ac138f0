//! Counters in shared data: exact over all workers, readable by any plugin with the same `vm_id`.

use tributary_host::counter::{self, AddError};
use tributary_host::shared_data::SharedData;
use tributary_proto::counter::shared_key;

use crate::config::{CounterConfig, When};

/// The counters of one worker, each with what it has not yet added to shared data.
#[derive(Debug)]
pub struct Counters(Vec<Pending>);

#[derive(Debug)]
struct Pending {
    shared_key: String,
    when: When,
    pending: u64,
}

impl Counters {
    /// Counters as configured.
    pub fn new(counters: &[CounterConfig]) -> Self {
        let pending = |counter: &CounterConfig| Pending {
            shared_key: shared_key(&counter.key),
            when: counter.when,
            pending: 0,
        };
        Self(counters.iter().map(pending).collect())
    }

    /// Counts one observation. Gives the last of what went wrong with those that are due with each; what did not get in
    /// is carried.
    pub fn count(&mut self, data: &mut impl SharedData) -> Result<(), AddError> {
        let mut result = Ok(());
        for counter in &mut self.0 {
            counter.pending = counter.pending.saturating_add(1);
            if counter.when == When::Request {
                result = counter.flush(data).and(result);
            }
        }
        result
    }

    /// Adds everything pending. Gives the last of what went wrong; what did not get in is carried to the next time.
    pub fn flush(&mut self, data: &mut impl SharedData) -> Result<(), AddError> {
        let mut result = Ok(());
        for counter in &mut self.0 {
            result = counter.flush(data).and(result);
        }
        result
    }
}

impl Pending {
    fn flush(&mut self, data: &mut impl SharedData) -> Result<(), AddError> {
        if self.pending > 0 {
            counter::add(data, &self.shared_key, self.pending)?;
            self.pending = 0;
        }
        Ok(())
    }
}
