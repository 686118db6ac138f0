//! The service: everything between a notice from a queue and a request to a collector.

use std::time::Duration;

use log::{info, warn};
use tributary_host::counter;
use tributary_host::http_call::{self, Call, Post};
use tributary_host::logging::RateLimit;
use tributary_host::queue::Queue;
use tributary_host::shared_data::HostSharedData;
use tributary_host::{attributes, clock, random};
use tributary_proto::counter::shared_key;
use tributary_proto::limits::{QUEUE_HTTP, QUEUE_TCP};
use tributary_proto::otlp::Resource;

use crate::answer::{self, Answer, Verdict};
use crate::config::{Destination, ServiceConfig};
use crate::delivery::{Delivery, Outcome};
use crate::encode::Encoding;
use crate::export::{self, SharedCounter};
use crate::intake::Intake;
use crate::producers::Producers;
use crate::resource;
use crate::stats::Stats;
use crate::table::{Cursor, Table};

/// How often queues are looked into without a notice, and deliveries for what is due. Notices can be lost.
pub const TICK: Duration = Duration::from_millis(100);

/// How often a fault of a destination that lasts is logged.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The state of the service. [`drain`](Self::drain) on notices, [`tick`](Self::tick) on ticks, [`answered`](Self::answered)
/// on answers.
#[derive(Debug)]
pub struct Service {
    queues: Vec<Queue>,
    intake: Intake,
    table: Table,
    resource: Resource,
    start_unix_nano: u64,
    exporters: Vec<Exporter>,
    stats: Stats,
}

/// One destination and how far it is.
#[derive(Debug)]
struct Exporter {
    destination: Destination,
    /// The destination's headers and our own.
    headers: Vec<(String, String)>,
    delivery: Delivery,
    in_flight: Option<InFlight>,
    faults: RateLimit,
}

#[derive(Clone, Copy, Debug)]
struct InFlight {
    call: Call,
    points: u64,
}

impl Service {
    /// A service as configured, which takes over the queues.
    pub fn new(config: ServiceConfig) -> Result<Self, tributary_host::Status> {
        let queues = [QUEUE_HTTP, QUEUE_TCP].into_iter().map(Queue::register).collect::<Result<_, _>>()?;
        let now = clock::now_unix_nano();
        let instance_id = random::uuid().unwrap_or_else(|_| now.to_string());
        let node =
            |path: &[u8]| Some(String::from_utf8_lossy(&attributes::property(path).ok()?).into_owned());
        let resource = resource::resource(&config.resource, &instance_id, node);
        let exporter = |destination| Exporter::new(destination, now);
        Ok(Self {
            queues,
            intake: Intake::new(Producers::new(random::hasher())),
            table: Table::new(config.series_max, random::hasher()),
            resource,
            start_unix_nano: now,
            exporters: config.destinations.into_iter().map(exporter).collect(),
            stats: Stats::define(),
        })
    }

    /// Takes over what the queues hold, within the bounds of one callback.
    pub fn drain(&mut self) {
        for queue in &self.queues {
            // What may be left is taken on the next notice or tick.
            self.intake.drain(*queue, &mut self.table, self.start_unix_nano, &self.stats);
        }
    }

    /// Takes over everything, says how much there was in all, and sends nothing: the last thing a service does.
    pub fn finish(&mut self) {
        for queue in &self.queues {
            while self.intake.drain(*queue, &mut self.table, self.start_unix_nano, &self.stats) {}
        }
        info!("the service ends: {} requests taken over in all", self.intake.observations());
    }

    /// Takes over what came without a notice and sends what is due.
    pub fn tick(&mut self) {
        self.drain();
        self.stats.series.set(u64::try_from(self.table.series()).unwrap_or(u64::MAX));
        for at in 0..self.exporters.len() {
            self.export(at);
        }
    }

    /// An answer came. `with_headers` is false where it broke off.
    pub fn answered(&mut self, call: Call, with_headers: bool) {
        let of_call =
            |exporter: &Exporter| exporter.in_flight.is_some_and(|in_flight| in_flight.call == call);
        let Some(at) = self.exporters.iter().position(of_call) else { return };
        if let Some(exporter) = self.exporters.get_mut(at) {
            exporter.answered(with_headers, &self.stats);
        }
        // The next slice of the same cycle, if there is one.
        self.export(at);
    }

    /// Sends the slice that is due at one destination.
    fn export(&mut self, at: usize) {
        let Some(exporter) = self.exporters.get_mut(at) else { return };
        let now = clock::now_unix_nano();
        let Some(cursor) = exporter.delivery.due(now) else { return };
        if exporter.in_flight.take().is_some() {
            self.stats.exports_failed.add(1);
            exporter.report(now, "no answer ever came");
        }
        let (rows, next) = self.table.slice(cursor, export::ROWS_MAX);
        // Once in a cycle, with its first slice.
        let first = cursor == Cursor::default();
        let counters = if first { shared_counters(self.intake.counters()) } else { Vec::new() };
        match export::encode(&self.resource, &rows, &counters, self.start_unix_nano, now) {
            Some(export) => exporter.send(now, &export, next, &self.stats),
            None => exporter.delivery.nothing_to_send(now),
        }
    }
}

impl Exporter {
    fn new(destination: Destination, now_unix_nano: u64) -> Self {
        let user_agent = ("user-agent", concat!("tributary/", env!("CARGO_PKG_VERSION")));
        let mut headers = destination.headers.clone();
        for (name, value) in Encoding::OtlpProtobuf.headers().iter().copied().chain([user_agent]) {
            if !headers.iter().any(|(given, _)| given == name) {
                headers.push((name.to_owned(), value.to_owned()));
            }
        }
        let delivery =
            Delivery::new(destination.interval, destination.timeout, destination.backoff, now_unix_nano);
        Self { destination, headers, delivery, in_flight: None, faults: RateLimit::new(LOG_INTERVAL) }
    }

    fn send(&mut self, now_unix_nano: u64, export: &export::Export, next: Option<Cursor>, stats: &Stats) {
        let sent = http_call::post(&Post {
            cluster: &self.destination.cluster,
            path: &self.destination.path,
            authority: &self.destination.authority,
            headers: &self.headers,
            body: &export.body,
            timeout: self.destination.timeout,
        });
        match sent {
            Ok(call) => {
                self.delivery.sent(now_unix_nano, next);
                self.in_flight = Some(InFlight { call, points: export.points });
            }
            Err(status) => {
                self.delivery.unsendable(now_unix_nano, random::number().unwrap_or(0));
                stats.exports_failed.add(1);
                let cluster = &self.destination.cluster;
                let reason = format!(
                    "Envoy refuses the call ({status:?}): is there a cluster {cluster:?} with a host?"
                );
                self.report(now_unix_nano, &reason);
            }
        }
    }

    fn answered(&mut self, with_headers: bool, stats: &Stats) {
        let Some(in_flight) = self.in_flight.take() else { return };
        let header = |name| if with_headers { http_call::answer_header(name) } else { None };
        let (status, content_type, retry_after) =
            (header(":status"), header("content-type"), header("retry-after"));
        let body = if with_headers { http_call::answer_body(answer::BODY_BYTES_MAX) } else { Vec::new() };
        let now = clock::now_unix_nano();
        let verdict = Answer {
            status: status.as_deref(),
            content_type: content_type.as_deref(),
            retry_after: retry_after.as_deref(),
            body: &body,
        }
        .judge(now);
        let Some(outcome) = self.delivery.answered(now, &verdict, random::number().unwrap_or(0)) else {
            return;
        };

        if let Verdict::Taken { rejected, message } = &verdict {
            stats.points_rejected.add(*rejected);
            if *rejected > 0 || !message.is_empty() {
                self.report(now, &format!("the collector rejected {rejected} points: {message:?}"));
            }
            stats.points_exported.add(in_flight.points.saturating_sub(*rejected));
        }
        let shown =
            status.map_or_else(|| "none".to_owned(), |status| String::from_utf8_lossy(&status).into_owned());
        match outcome {
            Outcome::Taken { failures } => {
                stats.exports_succeeded.add(1);
                if failures > 0 {
                    let name = &self.destination.name;
                    info!("destination {name:?} takes again, after {failures} failures");
                }
            }
            Outcome::Again { failures, wait } => {
                stats.exports_failed.add(1);
                let reason = format!("status {shown}, failure {failures} in a row, next try in {wait:?}");
                self.report(now, &reason);
            }
            Outcome::GivenUp { status } => {
                stats.exports_failed.add(1);
                stats.points_dropped.add(in_flight.points);
                self.report(now, &format!("status {status}, which is not to be tried again"));
            }
        }
    }

    /// Says what is wrong, at a bounded rate. No count is lost by it: the sums stay in the table.
    fn report(&mut self, now_unix_nano: u64, reason: &str) {
        if let Some(suppressed) = self.faults.permit(now_unix_nano) {
            let name = &self.destination.name;
            warn!(
                "destination {name:?}: {reason}. The sums stay and go with the next export ({suppressed} more since)"
            );
        }
    }
}

/// The counters in shared data as they stand; what is no counter is left out.
fn shared_counters(keys: &[String]) -> Vec<SharedCounter> {
    let read = |key: &String| {
        let value = counter::read(&mut HostSharedData, &shared_key(key)).ok().flatten()?;
        Some(SharedCounter { key: key.clone(), value })
    };
    keys.iter().filter_map(read).collect()
}

#[cfg(test)]
mod tests;
