//! The worker's configuration: reads and checks JSON.

mod counter;
mod dimension;
#[cfg(feature = "full")]
mod headers;
#[cfg(feature = "full")]
mod log_stream;
mod metric;
#[cfg(feature = "full")]
mod tap;

use std::time::Duration;

use tributary_proto::config::{self, Problems, Section, quoted};
use tributary_proto::limits::{EXPONENTIAL_SIZE_DEFAULT, SERIES_DEFAULT, SERIES_MAX};
use tributary_proto::metric::Kind;

use crate::plan::{Plan, SOURCES_MAX, Streams, When};
use crate::preset::{NodeLookup, Options, Preset};
use crate::source::Source;

/// The configuration of a worker. Every key has a default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerConfig {
    /// What is read and counted.
    pub plan: Plan,
    /// When folds are flushed.
    pub flush: FlushConfig,
    /// How often an open TCP connection is observed.
    pub report_interval: Duration,
    /// The most series of a fold; further ones are counted in the overflow series.
    pub series_max: usize,
    /// The `vm_id` of the service; empty if it is the worker's own.
    pub service_vm_id: String,
    /// What the plugin is.
    #[cfg(feature = "full")]
    pub role: Role,
}

/// What a plugin of `worker_filter_full.wasm` is.
#[cfg(feature = "full")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It measures, as all else in the configuration says.
    Filter,
    /// The same, of requests that Envoy's own access logger tells of.
    LogStream,
    /// It shows what was measured. Of the configuration it takes the interval at which workers hand over.
    Console,
}

/// When folds are flushed: at the first of two conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlushConfig {
    /// The time since the last flush.
    pub interval: Duration,
    /// The number of observations.
    pub max_requests: Option<u64>,
}

const FLUSH_INTERVAL: Duration = Duration::from_secs(1);
const FLUSH_INTERVAL_MIN: Duration = Duration::from_millis(10);
const FLUSH_INTERVAL_MAX: Duration = Duration::from_secs(300);

/// The interval at which Istio reports open TCP connections, and the limits of ours.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);
const REPORT_INTERVAL_MIN: Duration = Duration::from_millis(100);
const REPORT_INTERVAL_MAX: Duration = Duration::from_secs(3600);

/// At least as many buckets as any two values need at scale -4, the coarsest in Prometheus.
const EXPONENTIAL_SIZES: std::ops::RangeInclusive<u64> = 10..=256;

/// The most names in `drop`.
const DROPS_MAX: usize = 64;

impl WorkerConfig {
    /// Reads a configuration for an Envoy without node metadata.
    ///
    /// # Errors
    /// All problems, each with its path.
    pub fn parse(json: &[u8]) -> Result<Self, Problems> {
        Self::parse_for(json, &|_| None)
    }

    /// Reads a configuration for an Envoy with node metadata.
    ///
    /// # Errors
    /// All problems, each with its path.
    #[inline(never)]
    pub fn parse_for(json: &[u8], node: &NodeLookup<'_>) -> Result<Self, Problems> {
        config::read(json, |root| {
            let word = root.word("role", &["filter", "log_stream", "console"]);
            #[cfg(feature = "full")]
            let role = match word {
                Some("console") => return Self::console(root),
                Some("log_stream") => Role::LogStream,
                _ => Role::Filter,
            };
            #[cfg(not(feature = "full"))]
            if word.is_some_and(|word| word != "filter") {
                only_in_full(root, "role");
            }
            let mut plan = read_plan(root, node);
            let flush = root.section("flush", FlushConfig::read);
            let report_interval = root.duration("report_interval", REPORT_INTERVAL_MIN..=REPORT_INTERVAL_MAX);
            plan.counters = counter::read(root, &mut plan.main);
            read_streams_in_progress(root, &mut plan);
            #[cfg(feature = "full")]
            if role == Role::LogStream {
                log_stream::fit(root, &mut plan);
            }
            plan.prune();
            if plan.main.sources.len() > SOURCES_MAX {
                let found = format!("{} values to read of each stream", plan.main.sources.len());
                root.note(
                    "dimensions",
                    &found,
                    &format!("at most {SOURCES_MAX}, with all metrics and counters"),
                );
            }
            let series_max = root.section("limits", |limits| {
                let most = u64::try_from(SERIES_MAX).unwrap_or(u64::MAX);
                let series = limits.number("series", 1..=most);
                series.and_then(|series| usize::try_from(series).ok()).unwrap_or(SERIES_DEFAULT)
            });
            let service_vm_id = root.text("service_vm_id", 0..=255).unwrap_or_default();
            Self {
                plan,
                flush,
                report_interval: report_interval.unwrap_or(REPORT_INTERVAL),
                series_max,
                service_vm_id,
                #[cfg(feature = "full")]
                role,
            }
        })
    }

    /// That of a console: what only a filter could do is none of its keys.
    #[cfg(feature = "full")]
    fn console(root: &mut Section<'_>) -> Self {
        Self {
            plan: Preset::None.plan(Options { grpc_messages: false }, &|_| None),
            flush: FlushConfig { max_requests: None, interval: root.section("flush", read_flush_interval) },
            report_interval: REPORT_INTERVAL,
            series_max: SERIES_DEFAULT,
            service_vm_id: String::new(),
            role: Role::Console,
        }
    }
}

/// Reads the preset, and everything that the configuration removes from it and adds to it.
fn read_plan(root: &mut Section<'_>, node: &NodeLookup<'_>) -> Plan {
    let names = Preset::ALL.map(|(name, _)| name);
    let word = root.word("preset", &names);
    let preset = Preset::ALL.iter().find(|(name, _)| Some(*name) == word).map_or(Preset::Otel, |(_, it)| *it);
    let grpc_messages = root.flag("grpc_messages").unwrap_or(false);
    let mut plan = preset.plan(Options { grpc_messages }, node);
    if grpc_messages && !plan.counts_grpc_messages() {
        root.note("grpc_messages", "true", "only with preset \"otel\" or \"istio\"");
    }
    let streams = root.word("streams", &["http", "tcp"]);
    if preset == Preset::None {
        plan.streams = if streams == Some("tcp") { Streams::Tcp } else { Streams::Http };
    } else if streams.is_some() {
        root.note("streams", "a value", "only with preset \"none\"");
    }
    for name in root.list("drop", DROPS_MAX, 1..=255).unwrap_or_default() {
        if !plan.drop(&name) {
            root.note("drop", &quoted(&name), "dimensions and metrics of the preset");
        }
    }
    dimension::read(root, &mut plan);
    metric::read(root, &mut plan);
    let exponential = root.section("histogram", read_exponential);
    if let Some(max_size) = exponential {
        let calls = plan.calls.iter_mut().flat_map(|calls| &mut calls.group.measures);
        for measure in plan.main.measures.iter_mut().chain(calls) {
            if matches!(measure.metric.kind, Kind::Histogram { .. }) {
                measure.metric.kind = Kind::Exponential { max_size };
            }
        }
    }
    if root.flag("exemplars").unwrap_or(false) {
        plan.main.trace = Some(plan.main.source(Source::request_header("traceparent")));
        if plan.streams == Streams::Tcp || plan.main.traced().is_none() {
            root.note("exemplars", "true", "false without a histogram of HTTP requests");
        }
    }
    if root.word("observed", &["request", "flush"]) == Some("request") {
        plan.observed = When::Request;
    }
    plan.in_flight = root.flag("in_flight").unwrap_or(false);
    if plan.in_flight && plan.streams == Streams::Tcp {
        root.note("in_flight", "true", "false for TCP connections: subtract closed from opened ones instead");
    }
    plan
}

/// Reads what happens to streams before they end.
#[cfg(feature = "full")]
fn read_streams_in_progress(root: &mut Section<'_>, plan: &mut Plan) {
    headers::read(root, plan);
    tap::read(root, plan);
}

#[cfg(not(feature = "full"))]
fn read_streams_in_progress(root: &mut Section<'_>, _: &mut Plan) {
    only_in_full(root, "headers");
    only_in_full(root, "tap");
}

/// Rejects a key that only the full module has.
fn only_in_full(section: &mut Section<'_>, key: &'static str) {
    if section.known(key) {
        section.note(key, "a key of worker_filter_full.wasm", "only in that module");
    }
}

impl FlushConfig {
    fn read(section: &mut Section<'_>) -> Self {
        let interval = read_flush_interval(section);
        let max_requests = section.number("max_requests", 1..=1_000_000_000);
        Self { interval, max_requests }
    }
}

fn read_flush_interval(section: &mut Section<'_>) -> Duration {
    section.duration("interval", FLUSH_INTERVAL_MIN..=FLUSH_INTERVAL_MAX).unwrap_or(FLUSH_INTERVAL)
}

/// Reads the size of exponential histograms. `None` stands for explicit bounds.
fn read_exponential(section: &mut Section<'_>) -> Option<usize> {
    let kind = section.word("kind", &["explicit", "exponential"]);
    let max_size = section.number("max_size", EXPONENTIAL_SIZES);
    if kind != Some("exponential") {
        if max_size.is_some() {
            section.note("max_size", "a size of explicit histograms", "only with kind \"exponential\"");
        }
        return None;
    }
    Some(max_size.and_then(|size| usize::try_from(size).ok()).unwrap_or(EXPONENTIAL_SIZE_DEFAULT))
}

#[cfg(test)]
mod tests;
