//! Reads and checks the worker's configuration, which is JSON.
//!
//! The preset gives the initial plan. Then the keys of the configuration change the plan, in this order:
//! dropped metrics and dimensions, added dimensions and metrics, and counters; in the full module also
//! headers and the tap. At the end, sources that nothing reads are removed from the plan.

mod counter;
mod dimension;
mod headers;
mod log_stream;
mod metric;
mod tap;

use std::ops::RangeInclusive;
use std::time::Duration;

use tributary_proto::config::{self, Problems, Section, quoted};
use tributary_proto::limits::{
    EXPONENTIAL_SIZE_DEFAULT, FLUSH_INTERVAL_DEFAULT, FLUSH_INTERVALS, SERIES_DEFAULT, SERIES_MAX,
};
use tributary_proto::metric::Kind;

use crate::IS_FULL;
use crate::plan::{MetricGroup, Plan, SOURCES_MAX, Streams, When};
use crate::preset::{NodeLookup, Preset};
use crate::source::Source;

/// The configuration of a worker. Every key has a default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerConfig {
    /// The values to read from each stream, and what is measured.
    pub plan: Plan,
    /// When folds are flushed.
    pub flush: FlushConfig,
    /// The interval between two observations of an open TCP connection.
    pub report_interval: Duration,
    /// The maximum number of series of a fold. Further series are counted in the overflow series.
    pub series_max: usize,
    /// The `vm_id` of the service, or empty if the service has the worker's own `vm_id`.
    pub service_vm_id: String,
    /// Whether the worker measures the records of Envoy's own access logger, instead of the streams that
    /// Envoy calls it for.
    pub log_stream: bool,
}

/// The two conditions under which folds are flushed. Folds are flushed as soon as one of the conditions is
/// met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlushConfig {
    /// The time since the last flush.
    pub interval: Duration,
    /// The number of observations since the last flush.
    pub max_requests: Option<u64>,
}

/// The default interval between two reports of an open TCP connection, which is the same as in Istio. The
/// next constant has the allowed intervals.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);
const REPORT_INTERVALS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);

/// The allowed sizes. At the minimum, any two values fit at scale -4, the coarsest scale in Prometheus.
const EXPONENTIAL_SIZES: RangeInclusive<usize> = 10..=256;

/// The times at which counts can be updated, by their names in a configuration.
const WHEN: [(&str, When); 2] = [("request", When::Request), ("flush", When::Flush)];

/// The maximum number of names in `drop`.
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
            let mut plan = read_plan(root, node);
            let flush = root.section("flush", |flush| FlushConfig {
                interval: flush.duration("interval", FLUSH_INTERVALS).unwrap_or(FLUSH_INTERVAL_DEFAULT),
                max_requests: flush.number("max_requests", 1..=1_000_000_000),
            });
            let report_interval = root.duration("report_interval", REPORT_INTERVALS);
            plan.counters = counter::read(root, &mut plan.main);
            // Only the full module receives callbacks before a stream ends.
            if IS_FULL {
                headers::read(root, &mut plan);
                tap::read(root, &mut plan);
            } else {
                ["headers", "tap"].into_iter().for_each(|key| only_in_full(root, key));
            }
            let log_stream = root.flag("log_stream").unwrap_or(false);
            if log_stream {
                log_stream::fit(root, &mut plan);
            }
            plan.prune();
            if plan.main.sources.len() > SOURCES_MAX {
                let found = format!("{} values to read of each stream", plan.main.sources.len());
                let allowed = format!("at most {SOURCES_MAX}, with all metrics and counters");
                root.note("dimensions", &found, &allowed);
            }
            let series_max = root.section("limits", |limits| limits.size("series", 1..=SERIES_MAX));
            Self {
                plan,
                flush,
                report_interval: report_interval.unwrap_or(REPORT_INTERVAL),
                series_max: series_max.unwrap_or(SERIES_DEFAULT),
                service_vm_id: root.text("service_vm_id", 0..=255).unwrap_or_default(),
                log_stream,
            }
        })
    }
}

/// Reads the preset, and then the parts of the configuration that remove metrics and dimensions from the
/// preset or add to it.
fn read_plan(root: &mut Section<'_>, node: &NodeLookup<'_>) -> Plan {
    let preset = root.choice("preset", &Preset::ALL).unwrap_or(Preset::Otel);
    let grpc_messages = root.flag("grpc_messages").unwrap_or(false);
    let mut plan = preset.plan(grpc_messages, node);
    if grpc_messages && !plan.counts_grpc_messages() {
        root.note("grpc_messages", "true", "only with preset \"otel\" or \"istio\"");
    }
    let streams = root.choice("streams", &[("http", Streams::Http), ("tcp", Streams::Tcp)]);
    if preset == Preset::None {
        plan.streams = streams.unwrap_or(Streams::Http);
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
    if let Some(max_size) = root.section("histogram", read_exponential) {
        let calls = plan.calls.iter_mut().flat_map(|calls| &mut calls.group.measures);
        for measure in plan.main.measures.iter_mut().chain(calls) {
            if matches!(measure.metric.kind, Kind::Histogram { .. }) {
                measure.metric.kind = Kind::Exponential { max_size };
            }
        }
    }
    if root.flag("exemplars").unwrap_or(false) {
        plan.main.trace = Some(plan.main.source(Source::header("request", "traceparent")));
        if plan.streams == Streams::Tcp || plan.main.traced().is_none() {
            root.note("exemplars", "true", "false without a histogram of HTTP requests");
        }
    }
    plan.observed = root.choice("observed", &WHEN).unwrap_or(When::Flush);
    plan.in_flight = root.flag("in_flight").unwrap_or(false);
    if plan.in_flight && plan.streams == Streams::Tcp {
        root.note("in_flight", "true", "false for TCP connections: subtract closed from opened ones instead");
    }
    plan
}

/// Rejects a key that only `worker_filter_full.wasm` supports, and names that module in the problem.
fn only_in_full(section: &mut Section<'_>, key: &'static str) {
    if section.known(key) {
        section.note(key, "a key of worker_filter_full.wasm", "only in that module");
    }
}

/// Reads the size of exponential histograms. Returns `None` for histograms with explicit bounds.
fn read_exponential(section: &mut Section<'_>) -> Option<usize> {
    let is_exponential = section.choice("kind", &[("explicit", false), ("exponential", true)]) == Some(true);
    let max_size = section.size("max_size", EXPONENTIAL_SIZES);
    if !is_exponential && max_size.is_some() {
        section.note("max_size", "a size of explicit histograms", "only with kind \"exponential\"");
    }
    is_exponential.then(|| max_size.unwrap_or(EXPONENTIAL_SIZE_DEFAULT))
}

/// Reads a list of named objects with `read` and adds them to the `list` of the main group. They replace
/// items of the preset with the same name.
fn read_named<T>(
    root: &mut Section<'_>,
    (key, max): (&'static str, usize),
    main: &mut MetricGroup,
    list: fn(&mut MetricGroup) -> &mut Vec<T>,
    name: fn(&T) -> &str,
    read: impl Fn(&mut Section<'_>, &mut MetricGroup) -> Option<T>,
) {
    let mut added: Vec<T> = Vec::new();
    root.sections(key, 0..=max, |section| {
        let one = read(section, main)?;
        if added.iter().any(|other| name(other) == name(&one)) {
            section.note("name", &format!("{} again", quoted(name(&one))), "each name once");
        }
        added.push(one);
        Some(())
    });
    let list = list(main);
    for one in added {
        list.retain(|other| name(other) != name(&one));
        list.push(one);
    }
    if list.len() > max {
        root.note(key, &format!("{} with the preset's", list.len()), &format!("at most {max}"));
    }
}

#[cfg(test)]
mod tests;
