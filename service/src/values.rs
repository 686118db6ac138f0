//! Shared values: fetched once per Envoy, for all workers.
//!
//! 1. A [`schedule`] decides when a value is fetched from its endpoint, before its [`expiry`].
//! 2. The value is read from the location in the response that its [`source`] defines, and checked.
//! 3. The value is written to shared data; a generation number shows workers that a value changed.
//! 4. While fetching fails, the last good value is kept for a limited time.

pub mod expiry;
pub mod schedule;
pub mod source;

pub use expiry::Expiry;
pub use schedule::{FetchPolicy, FetchSchedule};
pub use source::{ValueError, ValueSource};

use std::time::Duration;

use log::{info, warn};
use tributary_host::http_call::{self, Call, Request};
use tributary_host::logging::RateLimit;
use tributary_host::shared_data::{HostSharedData, SharedData, Version};
use tributary_host::stats::{Counter, Gauge};
use tributary_host::{Status, clock, counter, random};
use tributary_proto::config::quoted;
use tributary_proto::duration;
use tributary_proto::value::{GENERATION_KEY, shared_key};

use crate::http_calls::HttpCalls;

/// For each value, the minimum time between two log lines about a fault that lasts.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The maximum number of bytes read of a response body: a value may be a small part of its JSON.
const BODY_BYTES_MAX: usize = 256 * 1024;

/// The configuration of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueConfig {
    /// The name of the value, as in templates.
    pub name: String,
    /// The name of the Envoy cluster that the request is sent to.
    pub cluster: String,
    /// The method of the request.
    pub method: &'static str,
    /// The path of the request.
    pub path: String,
    /// The authority of the request.
    pub authority: String,
    /// Further headers of the request.
    pub headers: Vec<(String, String)>,
    /// The body of the request.
    pub body: String,
    /// The location of the value in the response.
    pub source: ValueSource,
    /// How the expiry of the value is determined.
    pub expiry: Expiry,
    /// The maximum length of the value, in bytes.
    pub max_bytes: usize,
    /// When the value is fetched, and for how long it is kept.
    pub policy: FetchPolicy,
}

/// All values of a service.
#[derive(Debug)]
pub struct SharedValues {
    values: Vec<SharedValue>,
    fetched: Counter,
    failed: Counter,
    /// The number of values that are currently missing.
    missing: Gauge,
}

#[derive(Debug)]
struct SharedValue {
    config: ValueConfig,
    schedule: FetchSchedule,
    in_flight: Option<Call>,
    /// The value that this service last wrote; `None` if it wrote none.
    written: Option<Vec<u8>>,
    log: RateLimit,
}

impl SharedValues {
    /// Creates the values of a configuration. Values that a previous service of this process wrote are kept.
    pub fn new(configs: Vec<ValueConfig>, now_unix_nano: u64) -> Self {
        let shared = |config: ValueConfig| {
            let is_stored = !stored(&config.name).is_empty();
            let schedule = FetchSchedule::new(config.policy, is_stored, now_unix_nano);
            let log = RateLimit::new(LOG_INTERVAL);
            SharedValue { config, schedule, in_flight: None, written: None, log }
        };
        Self {
            values: configs.into_iter().map(shared).collect(),
            fetched: Counter::define("tributary_values_fetched"),
            failed: Counter::define("tributary_values_failed"),
            missing: Gauge::define("tributary_values_missing"),
        }
    }

    /// Fetches values that are due, and removes those that are too old.
    pub fn tick(&mut self, calls: &dyn HttpCalls) {
        if self.values.is_empty() {
            return;
        }
        let (now, mut missing) = (clock::now_unix_nano(), 0_u64);
        for value in &mut self.values {
            if value.schedule.is_due(now, jitter()) {
                value.fetch(calls, self.failed, now);
            }
            if value.schedule.take_stale(now) {
                value.remove(now);
            }
            missing = missing.saturating_add(u64::from(stored(&value.config.name).is_empty()));
        }
        self.missing.set(missing);
    }

    /// Handles the response to `call` if this call fetches a value; otherwise returns false.
    /// `has_headers` is false if the response ended before its headers.
    pub fn handle_response(&mut self, call: Call, has_headers: bool) -> bool {
        let Some(value) = self.values.iter_mut().find(|value| value.in_flight == Some(call)) else {
            return false;
        };
        value.in_flight = None;
        let now = clock::now_unix_nano();
        let result = if has_headers { value.read(now) } else { Err(ValueError::Incomplete) };
        match result {
            Ok((bytes, expires)) => {
                self.fetched.add(1);
                if value.schedule.fetched(now, expires, jitter()) > 0 {
                    info!("value {}: fetched again after failures", quoted(&value.config.name));
                }
                value.publish(bytes, now);
            }
            Err(error) => value.fail(&error, self.failed, now),
        }
        true
    }
}

impl SharedValue {
    fn fetch(&mut self, calls: &dyn HttpCalls, failed: Counter, now_unix_nano: u64) {
        let ValueConfig { cluster, method, path, authority, headers, body, .. } = &self.config;
        let request = Request {
            cluster,
            method,
            path,
            authority,
            headers,
            body: body.as_bytes(),
            timeout: self.config.policy.timeout,
        };
        match calls.send(&request) {
            Ok(call) => {
                self.in_flight = Some(call);
                self.schedule.sent(now_unix_nano);
            }
            Err(error) => self.fail(&ValueError::Call(error), failed, now_unix_nano),
        }
    }

    /// Returns the value in the response of the current callback, and its expiry in Unix nanoseconds.
    fn read(&self, now_unix_nano: u64) -> Result<(Vec<u8>, Option<u64>), ValueError> {
        let status = http_call::response_header(":status").unwrap_or_default();
        if !matches!(status.as_slice(), [b'2', _, _]) {
            return Err(ValueError::Status(String::from_utf8_lossy(&status).into_owned()));
        }
        let header = match &self.config.source {
            ValueSource::Header(name) => http_call::response_header(name),
            _ => None,
        };
        let body = http_call::response_body(BODY_BYTES_MAX);
        let value = self.config.source.find(&body, header.as_deref(), self.config.max_bytes)?;
        let cache_control = http_call::response_header("cache-control");
        let expires = self.config.expiry.of(&value, cache_control.as_deref(), now_unix_nano);
        if expires.is_some_and(|at| at <= now_unix_nano) {
            return Err(ValueError::Expired);
        }
        Ok((value, expires))
    }

    fn fail(&mut self, error: &ValueError, failed: Counter, now_unix_nano: u64) {
        failed.add(1);
        let wait = self.schedule.failed(now_unix_nano, jitter());
        if let Some(suppressed) = self.log.permit(now_unix_nano) {
            let (name, cluster) = (quoted(&self.config.name), quoted(&self.config.cluster));
            let wait = duration::format(wait);
            warn!(
                "value {name} from cluster {cluster}: {error}; the last good value is kept, retry in {wait} \
                 ({suppressed} similar lines suppressed)"
            );
        }
    }

    /// Writes the value to shared data, if it changed, and notifies the workers.
    fn publish(&mut self, bytes: Vec<u8>, now_unix_nano: u64) {
        let before = stored(&self.config.name);
        let is_foreign = self.written.as_ref().is_some_and(|written| *written != before);
        if is_foreign && self.log.permit(now_unix_nano).is_some() {
            let name = quoted(&self.config.name);
            warn!(
                "value {name}: another plugin or service writes it too, so headers may get either value: rename one"
            );
        }
        if before != bytes && write(&self.config.name, &bytes).is_err() {
            // The value is written after the next fetch.
            return;
        }
        self.written = Some(bytes);
    }

    fn remove(&mut self, now_unix_nano: u64) {
        if write(&self.config.name, b"").is_ok() {
            self.written = Some(Vec::new());
            if self.log.permit(now_unix_nano).is_some() {
                let name = quoted(&self.config.name);
                warn!(
                    "value {name}: removed, because fetching failed for longer than keep_on_failure; until a \
                     fetch succeeds, requests are sent without the header or get 503, as if_missing says; check its \
                     cluster"
                );
            }
        }
    }
}

/// Returns the value in shared data; empty if none is stored.
fn stored(name: &str) -> Vec<u8> {
    HostSharedData.get(&shared_key(name)).ok().flatten().map(|(bytes, _)| bytes).unwrap_or_default()
}

fn write(name: &str, bytes: &[u8]) -> Result<(), Status> {
    HostSharedData.set(&shared_key(name), bytes, Version::ANY)?;
    counter::add(&mut HostSharedData, GENERATION_KEY, 1).map(|_| ()).map_err(|_| Status::CasMismatch)
}

fn jitter() -> u64 {
    random::number().unwrap_or(0)
}

#[cfg(test)]
mod tests;
