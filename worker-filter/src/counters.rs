//! Counters in shared data: exact over all workers, readable by any plugin with the same `vm_id`.

use proxy_wasm::types::MapType;
use tributary_host::counter::{self, AddError};
use tributary_host::headers;
use tributary_host::shared_data::SharedData;
use tributary_proto::counter::shared_key;

use crate::observation::Observation;
use tributary_plan::plan::{Counter, When};

/// The counters of one worker, each with what it has not yet added to shared data.
#[derive(Debug)]
pub struct Counters(Vec<Pending>);

#[derive(Debug)]
struct Pending {
    shared_key: String,
    when: When,
    condition: Option<usize>,
    response_header: Option<String>,
    pending: u64,
}

impl Counters {
    /// Counters as configured.
    pub fn new(counters: &[Counter]) -> Self {
        let pending = |counter: &Counter| Pending {
            shared_key: shared_key(&counter.key),
            when: counter.when,
            condition: counter.condition,
            response_header: counter.response_header.clone(),
            pending: 0,
        };
        Self(counters.iter().map(pending).collect())
    }

    /// Whether one of them is told in a response header.
    pub fn are_told(&self) -> bool {
        self.0.iter().any(|counter| counter.response_header.is_some())
    }

    /// Counts the current response in the counters that are told in its headers, and writes these. Gives the last of what went
    /// wrong; what did not get in is carried, and its header not written.
    pub fn tell(&mut self, data: &mut impl SharedData) -> Result<(), AddError> {
        let mut result = Ok(());
        for counter in &mut self.0 {
            let Some(header) = &counter.response_header else { continue };
            counter.pending = counter.pending.saturating_add(1);
            match counter::add(data, &counter.shared_key, counter.pending) {
                Ok(value) => {
                    counter.pending = 0;
                    // A header that the host refuses is not worth the response.
                    let _ = headers::set(MapType::HttpResponseHeaders, header, value.to_string().as_bytes());
                }
                Err(error) => result = Err(error),
            }
        }
        result
    }

    /// Counts one stream that has ended, where it meets the condition. `told` says that its response was counted already.
    #[inline(never)]
    pub fn count(&mut self, observation: &Observation<'_>, told: bool) {
        for counter in &mut self.0 {
            if told && counter.response_header.is_some() {
                continue;
            }
            if counter.condition.is_none_or(|source| observation.is_true(source)) {
                counter.pending = counter.pending.saturating_add(1);
            }
        }
    }

    /// Adds what is pending of the counters that are due with each request. Gives the last of what went wrong; what did not
    /// get in is carried.
    pub fn request(&mut self, data: &mut impl SharedData) -> Result<(), AddError> {
        Self::add(self.0.iter_mut().filter(|counter| counter.when == When::Request), data)
    }

    /// Adds everything pending. Gives the last of what went wrong; what did not get in is carried to the next time.
    pub fn flush(&mut self, data: &mut impl SharedData) -> Result<(), AddError> {
        Self::add(self.0.iter_mut(), data)
    }

    fn add<'a>(
        due: impl Iterator<Item = &'a mut Pending>,
        data: &mut impl SharedData,
    ) -> Result<(), AddError> {
        let mut result = Ok(());
        for counter in due {
            // One that fails holds up no other.
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
