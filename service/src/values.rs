//! Shared values: fetched once per Envoy, put into shared data, used by every worker.

mod expiry;
mod origin;
mod schedule;

pub use expiry::Expiry;
pub use origin::{Origin, Unusable};
pub use schedule::{Pace, Schedule};

use std::time::Duration;

use log::{info, warn};
use tributary_host::http_call::{self, Call, Request};
use tributary_host::logging::RateLimit;
use tributary_host::shared_data::{HostSharedData, SharedData, Version};
use tributary_host::stats::{Counter, Gauge};
use tributary_host::{Status, clock, counter, random};
use tributary_proto::value::{GENERATION_KEY, shared_key};

/// How often a fault that lasts is logged, for each value.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// What is read of an answer's body: a value within JSON may have much around it.
const BODY_BYTES_MAX: usize = 256 * 1024;

/// A value to be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueConfig {
    /// What templates call it.
    pub name: String,
    /// Envoy's cluster.
    pub cluster: String,
    /// The request.
    pub method: &'static str,
    /// Its path.
    pub path: String,
    /// Its authority.
    pub authority: String,
    /// Its further headers.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: String,
    /// Where in the answer the value is.
    pub origin: Origin,
    /// What tells when it expires.
    pub expiry: Expiry,
    /// Bytes that it may have.
    pub max_bytes: usize,
    /// When it is fetched.
    pub pace: Pace,
}

/// All values of a service.
#[derive(Debug)]
pub struct Values {
    values: Vec<Shared>,
    stats: Stats,
}

#[derive(Debug)]
struct Stats {
    fetched: Counter,
    failed: Counter,
    /// Values that are not there now.
    missing: Gauge,
}

#[derive(Debug)]
struct Shared {
    config: ValueConfig,
    schedule: Schedule,
    in_flight: Option<Call>,
    /// What was last written; none if nothing was.
    written: Option<Vec<u8>>,
    log: RateLimit,
}

impl Values {
    /// Values as configured. One that is in shared data already stays: this is a new service in an old process.
    pub fn new(configs: Vec<ValueConfig>, now_unix_nano: u64) -> Self {
        let shared = |config: ValueConfig| {
            let mut schedule = Schedule::new(config.pace, now_unix_nano);
            if !stored(&config.name).is_empty() {
                schedule.found(now_unix_nano);
            }
            Shared { config, schedule, in_flight: None, written: None, log: RateLimit::new(LOG_INTERVAL) }
        };
        let stats = Stats {
            fetched: Counter::define("tributary_values_fetched"),
            failed: Counter::define("tributary_values_failed"),
            missing: Gauge::define("tributary_values_missing"),
        };
        Self { values: configs.into_iter().map(shared).collect(), stats }
    }

    /// Fetches what is due, and takes back what is too old.
    pub fn tick(&mut self) {
        if self.values.is_empty() {
            return;
        }
        let (now, stats) = (clock::now_unix_nano(), &self.stats);
        let mut missing: u64 = 0;
        for value in &mut self.values {
            if value.schedule.is_due(now, jitter()) {
                value.fetch(now, stats);
            }
            if value.schedule.is_stale(now) {
                value.take_back(now);
            }
            missing = missing.saturating_add(u64::from(stored(&value.config.name).is_empty()));
        }
        stats.missing.set(missing);
    }

    /// An answer came; false if it is no value's. `with_headers` is false where it broke off.
    pub fn answered(&mut self, call: Call, with_headers: bool) -> bool {
        let Some(value) = self.values.iter_mut().find(|value| value.in_flight == Some(call)) else {
            return false;
        };
        value.in_flight = None;
        let now = clock::now_unix_nano();
        let result = if with_headers { value.read(now) } else { Err("the answer broke off".to_owned()) };
        let stats = &self.stats;
        match result {
            Ok((bytes, expires)) => {
                stats.fetched.add(1);
                if value.schedule.failures() > 0 {
                    info!("value \"{}\" is fetched again", value.config.name);
                }
                value.schedule.fetched(now, expires, jitter());
                value.publish(bytes, now);
            }
            Err(reason) => {
                stats.failed.add(1);
                value.failed(&reason, now);
            }
        }
        true
    }
}

impl Shared {
    fn fetch(&mut self, now_unix_nano: u64, stats: &Stats) {
        let ValueConfig { cluster, method, path, authority, headers, body, .. } = &self.config;
        let request = Request {
            cluster,
            method,
            path,
            authority,
            headers,
            body: body.as_bytes(),
            timeout: self.config.pace.timeout,
        };
        match http_call::send(&request) {
            Ok(call) => {
                self.in_flight = Some(call);
                self.schedule.sent(now_unix_nano);
            }
            Err(status) => {
                stats.failed.add(1);
                self.failed(
                    &format!("Envoy refuses the call ({status:?}): is there such a cluster with a host?"),
                    now_unix_nano,
                );
            }
        }
    }

    /// The value in the answer whose callback is running, and when it expires.
    fn read(&self, now_unix_nano: u64) -> Result<(Vec<u8>, Option<u64>), String> {
        let status = http_call::answer_header(":status").unwrap_or_default();
        if !matches!(status.as_slice(), [b'2', _, _]) {
            return Err(format!("status {}", status.escape_ascii()));
        }
        let header = match &self.config.origin {
            Origin::Header(name) => http_call::answer_header(name),
            _ => None,
        };
        let body = http_call::answer_body(BODY_BYTES_MAX);
        let found = self.config.origin.find(&body, header.as_deref(), self.config.max_bytes);
        let unusable = |why: Unusable| format!("the answer has no value that could be used ({why:?})");
        let value = found.map_err(unusable)?;
        let cache_control = http_call::answer_header("cache-control");
        let expires = self.config.expiry.of(&value, cache_control.as_deref(), now_unix_nano);
        if expires.is_some_and(|at| at <= now_unix_nano) {
            return Err(unusable(Unusable::Expired));
        }
        Ok((value, expires))
    }

    fn failed(&mut self, reason: &str, now_unix_nano: u64) {
        let wait = self.schedule.failed(now_unix_nano, jitter());
        if let Some(suppressed) = self.log.permit(now_unix_nano) {
            warn!(
                "value \"{}\" from cluster \"{}\": {reason}; the last good one stays, next try in {} ms ({suppressed} more since)",
                self.config.name,
                self.config.cluster,
                wait.as_millis()
            );
        }
    }

    /// Puts the value into shared data, unless it is there already, and tells the workers.
    fn publish(&mut self, bytes: Vec<u8>, now_unix_nano: u64) {
        let before = stored(&self.config.name);
        let is_foreign = self.written.as_ref().is_some_and(|written| *written != before);
        if is_foreign && self.log.permit(now_unix_nano).is_some() {
            warn!(
                "value \"{}\" is also written by somebody else; each value needs one service only",
                self.config.name
            );
        }
        if before != bytes && write(&self.config.name, &bytes).is_err() {
            // With the next fetch again.
            return;
        }
        self.written = Some(bytes);
    }

    fn take_back(&mut self, now_unix_nano: u64) {
        self.schedule.taken_back();
        if write(&self.config.name, b"").is_ok() {
            self.written = Some(Vec::new());
            if self.log.permit(now_unix_nano).is_some() {
                warn!("value \"{}\" is taken back: it could not be fetched for too long", self.config.name);
            }
        }
    }
}

/// What is in shared data; empty for nothing.
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
