//! Counters in shared data. They are exact over all workers, and any plugin with the same `vm_id` can read
//! them.

use proxy_wasm::types::MapType;
use tributary_host::counter::{self, AddError};
use tributary_host::headers;
use tributary_host::shared_data::SharedData;
use tributary_proto::counter::shared_key;

use crate::observation::Observation;
use tributary_plan::plan::{CounterConfig, When};

/// The counters of one worker, each with its pending count: the count that is not yet added to shared data.
///
/// Functions that add to shared data return the last failure. The count of a failed addition stays pending.
#[derive(Debug)]
pub struct Counters(Vec<Pending>);

/// A failed addition to a counter.
#[derive(Clone, Copy, Debug)]
pub struct AddFailure {
    /// The index of the counter.
    pub counter: usize,
    /// The reason of the failure.
    pub error: AddError,
}

#[derive(Debug)]
struct Pending {
    shared_key: String,
    config: CounterConfig,
    pending: u64,
}

impl Counters {
    /// Creates counters as configured.
    pub fn new(counters: Vec<CounterConfig>) -> Self {
        let new = |config: CounterConfig| Pending { shared_key: shared_key(&config.key), config, pending: 0 };
        Self(counters.into_iter().map(new).collect())
    }

    /// Returns whether any counter counts responses and writes its value into a response header.
    pub fn count_responses(&self) -> bool {
        self.0.iter().any(|counter| counter.config.response_header.is_some())
    }

    /// Counts the current response and writes the new values of the counters into its headers. If an addition
    /// fails, the header of that counter is left out.
    pub fn response(&mut self, data: &mut impl SharedData) -> Result<(), AddFailure> {
        let mut result = Ok(());
        for (number, counter) in self.0.iter_mut().enumerate() {
            let Some(header) = &counter.config.response_header else { continue };
            counter.pending = counter.pending.saturating_add(1);
            match counter::add(data, &counter.shared_key, counter.pending) {
                Ok(value) => {
                    counter.pending = 0;
                    // If Envoy rejects the header, the response is sent without it.
                    let _ = headers::set(MapType::HttpResponseHeaders, header, value.to_string().as_bytes());
                }
                Err(error) => result = Err(AddFailure { counter: number, error }),
            }
        }
        result
    }

    /// Counts a stream that has ended in each counter whose condition the stream meets, except in counters
    /// that have already counted its response.
    #[inline(never)]
    pub fn count(&mut self, observation: &Observation<'_>, counted_at_response: bool) {
        for counter in &mut self.0 {
            if counted_at_response && counter.config.response_header.is_some() {
                continue;
            }
            if counter.config.condition.is_none_or(|source| observation.is_true(source)) {
                counter.pending = counter.pending.saturating_add(1);
            }
        }
    }

    /// Adds the pending counts of counters that are updated with each request.
    pub fn request(&mut self, data: &mut impl SharedData) -> Result<(), AddFailure> {
        self.add(|counter| counter.config.when == When::Request, data)
    }

    /// Adds all pending counts.
    pub fn flush(&mut self, data: &mut impl SharedData) -> Result<(), AddFailure> {
        self.add(|_| true, data)
    }

    /// Returns the configured key of the counter whose addition failed.
    pub fn key(&self, failure: AddFailure) -> &str {
        self.0.get(failure.counter).map_or("", |counter| &counter.config.key)
    }

    fn add(
        &mut self,
        is_due: impl Fn(&Pending) -> bool,
        data: &mut impl SharedData,
    ) -> Result<(), AddFailure> {
        // If one counter fails, the other counters are still written.
        let mut result = Ok(());
        for (number, counter) in self.0.iter_mut().enumerate() {
            if counter.pending == 0 || !is_due(counter) {
                continue;
            }
            match counter::add(data, &counter.shared_key, counter.pending) {
                Ok(_) => counter.pending = 0,
                Err(error) => result = Err(AddFailure { counter: number, error }),
            }
        }
        result
    }
}
