//! Everything that was measured, and the ratios that follow from it, as one JSON object for scripts; `table` has them for people.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::callgrind::Instructions;
use super::cpu::CpuTime;
use super::item::Item;
use super::latency::Latency;
use super::module::Modules;
use super::scaling::{self, Scale};
use super::statistic::Spread;
use super::subject::{Subject, Way};

/// What a run found out.
pub(crate) struct Outcome {
    /// In the order of the tables.
    pub(super) subjects: Vec<Subject>,
    pub(super) wasm_bytes: WasmBytes,
    /// By the subjects' names.
    pub(crate) instructions: BTreeMap<String, Instructions>,
    /// What each item of the worker filter's list adds to the instructions of a request.
    pub(crate) items: Vec<(Item, f64)>,
    /// Instructions of single parts.
    pub(crate) parts: Vec<(&'static str, f64)>,
    /// One for each round.
    pub(crate) cpu: BTreeMap<String, Vec<CpuTime>>,
    /// One for each round.
    pub(crate) latency: BTreeMap<String, Vec<Latency>>,
    /// By series, then by workers.
    pub(crate) scaling: Vec<Scale>,
    /// By how many dimensions there are.
    pub(crate) dimensions: BTreeMap<String, Instructions>,
    /// One for each round, in milliseconds.
    pub(crate) start_up_ms: BTreeMap<String, Vec<f64>>,
    /// Why a subject has no figures.
    pub(crate) faults: BTreeMap<String, String>,
}

/// The sizes of the modules.
#[derive(Clone, Copy, Serialize)]
pub(super) struct WasmBytes {
    pub(super) worker_filter: u64,
    pub(super) service: u64,
}

/// What `--json` prints. Ratios are of what is added to an Envoy without any of it; none where a part was not measured.
#[derive(Serialize)]
pub(crate) struct Summary {
    access_log_vs_native: Option<f64>,
    http_filter_vs_native: Option<f64>,
    log_stream_vs_native: Option<f64>,
    log_stream_small_vs_native: Option<f64>,
    log_stream_wide_vs_native: Option<f64>,
    wide_vs_native: Option<f64>,
    small_vs_native: Option<f64>,
    access_log_cpu_vs_native: Option<f64>,
    http_filter_cpu_vs_native: Option<f64>,
    log_stream_cpu_vs_native: Option<f64>,
    tcp_access_log_vs_native: Option<f64>,
    tcp_filter_vs_native: Option<f64>,
    textbook_vs_ours: Option<f64>,
    /// Of the main thread's CPU time to the worker's, at saturation with a hundred series.
    main_thread_share: Option<f64>,
    rss_added_mib: Option<f64>,
    wasm_bytes: WasmBytes,
    instructions: BTreeMap<String, InstructionsFigure>,
    item_instructions: BTreeMap<String, f64>,
    part_instructions: BTreeMap<&'static str, f64>,
    cpu: BTreeMap<String, CpuFigure>,
    latency: BTreeMap<String, LatencyFigure>,
    scaling: Vec<Scale>,
    instructions_by_dimensions: BTreeMap<String, f64>,
    start_up_ms: BTreeMap<String, Spread>,
    failed: BTreeMap<String, String>,
}

/// Instructions per request of one subject.
#[derive(Serialize)]
struct InstructionsFigure {
    total: f64,
    spread: f64,
    /// To an Envoy with nothing.
    added: Option<f64>,
    /// Added by ours, for each one that the native logger adds with the same set.
    vs_native: Option<f64>,
    generated: f64,
    main: f64,
    allocator: f64,
}

/// CPU time per request and memory of one subject.
#[derive(Serialize)]
pub(super) struct CpuFigure {
    pub(super) worker_us: Spread,
    pub(super) main_us: Spread,
    /// Of both threads, to an Envoy with nothing in the same round.
    pub(super) added_us: Spread,
    pub(super) vs_native: Option<f64>,
    pub(super) rss_mib: Spread,
    pub(super) rss_added_mib: Spread,
    pub(super) requests_per_s: Spread,
}

/// Latency of one subject at a fixed rate.
#[derive(Serialize)]
pub(super) struct LatencyFigure {
    pub(super) p50_us: Spread,
    pub(super) p99_us: Spread,
    /// To an Envoy with nothing in the same round.
    pub(super) added_p50_us: Spread,
    pub(super) added_p99_us: Spread,
}

impl Outcome {
    /// Nothing measured yet, but the modules' sizes.
    pub(crate) fn new(modules: &Modules, subjects: &[Subject]) -> Result<Self> {
        let bytes = |path: &std::path::Path| {
            let metadata = fs::metadata(path).with_context(|| path.display().to_string())?;
            anyhow::Ok(metadata.len())
        };
        Ok(Self {
            subjects: subjects.to_vec(),
            wasm_bytes: WasmBytes {
                worker_filter: bytes(&modules.worker_filter)?,
                service: bytes(&modules.service)?,
            },
            instructions: BTreeMap::new(),
            items: Vec::new(),
            parts: Vec::new(),
            cpu: BTreeMap::new(),
            latency: BTreeMap::new(),
            scaling: Vec::new(),
            dimensions: BTreeMap::new(),
            start_up_ms: BTreeMap::new(),
            faults: BTreeMap::new(),
        })
    }

    /// Fails if a subject could not be measured.
    pub(crate) fn verdict(&self) -> Result<()> {
        if self.faults.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = self.faults.keys().map(String::as_str).collect();
        bail!("{} could not be measured: {}", names.len(), names.join(", "));
    }

    pub(crate) fn summary(&self) -> Summary {
        let ratio = |way, set| self.find(way, set).and_then(|subject| self.instructions_vs_native(&subject));
        let cpu_ratio = |way| self.find(way, "full").and_then(|subject| self.cpu_vs_native(&subject));
        Summary {
            access_log_vs_native: ratio(Way::AccessLog, "full"),
            http_filter_vs_native: ratio(Way::HttpFilter, "full"),
            log_stream_vs_native: ratio(Way::LogStream, "full"),
            log_stream_small_vs_native: ratio(Way::LogStream, "small"),
            log_stream_wide_vs_native: ratio(Way::LogStream, "wide"),
            wide_vs_native: ratio(Way::AccessLog, "wide"),
            small_vs_native: ratio(Way::AccessLog, "small"),
            access_log_cpu_vs_native: cpu_ratio(Way::AccessLog),
            http_filter_cpu_vs_native: cpu_ratio(Way::HttpFilter),
            log_stream_cpu_vs_native: cpu_ratio(Way::LogStream),
            tcp_access_log_vs_native: ratio(Way::AccessLog, "tcp"),
            tcp_filter_vs_native: ratio(Way::TcpFilter, "tcp"),
            textbook_vs_ours: self
                .added_us(Way::Textbook)
                .zip(self.added_us(Way::HttpFilter))
                .map(|(a, b)| a / b),
            main_thread_share: self
                .scaling
                .iter()
                .find(|scale| scale.series == scaling::SERIES_OF_WORKERS)
                .map(|scale| scale.main_thread_share),
            rss_added_mib: self
                .find(Way::HttpFilter, "full")
                .and_then(|subject| Some(self.cpu_figure(&subject)?.rss_added_mib.median)),
            wasm_bytes: self.wasm_bytes,
            cpu: self
                .subjects
                .iter()
                .filter_map(|subject| Some((subject.to_string(), self.cpu_figure(subject)?)))
                .collect(),
            latency: self
                .subjects
                .iter()
                .filter_map(|subject| Some((subject.to_string(), self.latency_figure(subject)?)))
                .collect(),
            scaling: self.scaling.clone(),
            instructions_by_dimensions: self
                .dimensions
                .iter()
                .map(|(name, found)| (name.trim().to_owned(), found.total.median))
                .collect(),
            start_up_ms: self
                .start_up_ms
                .iter()
                .map(|(name, values)| (name.clone(), Spread::of(values.clone())))
                .collect(),
            instructions: self
                .subjects
                .iter()
                .filter_map(|subject| Some((subject.to_string(), self.instructions_figure(subject)?)))
                .collect(),
            item_instructions: self.items.iter().map(|(item, added)| (item.name.clone(), *added)).collect(),
            part_instructions: self.parts.iter().copied().collect(),
            failed: self.faults.clone(),
        }
    }

    fn instructions_figure(&self, subject: &Subject) -> Option<InstructionsFigure> {
        let found = self.instructions.get(&subject.to_string())?;
        Some(InstructionsFigure {
            total: found.total.median,
            spread: found.total.half_width(),
            added: self.added_instructions(subject),
            vs_native: self.instructions_vs_native(subject),
            generated: found.generated.median,
            main: found.main.median,
            allocator: found.allocator.median,
        })
    }

    /// What it adds, for each instruction that the native logger adds with the same set.
    pub(super) fn instructions_vs_native(&self, subject: &Subject) -> Option<f64> {
        if !subject.way.is_compared() {
            return None;
        }
        let native = self.find(Way::Native, subject.set?.name)?;
        Some(self.added_instructions(subject)? / self.added_instructions(&native)?)
    }

    pub(super) fn added_instructions(&self, subject: &Subject) -> Option<f64> {
        let none = self.none(subject)?;
        let of = |subject: &Subject| Some(self.instructions.get(&subject.to_string())?.total.median);
        Some(of(subject)? - of(none)?)
    }

    pub(super) fn cpu_figure(&self, subject: &Subject) -> Option<CpuFigure> {
        let none = self.cpu.get(&self.none(subject)?.to_string())?;
        let own = self.cpu.get(&subject.to_string())?;
        let of = |value: fn(&CpuTime) -> f64| Spread::of(own.iter().map(value).collect());
        let added = |value: fn(&CpuTime) -> f64| {
            Spread::of(own.iter().zip(none).map(|(own, none)| value(own) - value(none)).collect())
        };
        Some(CpuFigure {
            worker_us: of(|time| time.worker_us),
            main_us: of(|time| time.main_us),
            added_us: added(|time| time.worker_us + time.main_us),
            vs_native: self.cpu_vs_native(subject),
            rss_mib: of(|time| time.rss_mib),
            rss_added_mib: added(|time| time.rss_mib),
            requests_per_s: of(|time| time.requests_per_s),
        })
    }

    pub(super) fn latency_figure(&self, subject: &Subject) -> Option<LatencyFigure> {
        let none = self.latency.get(&self.none(subject)?.to_string())?;
        let own = self.latency.get(&subject.to_string())?;
        let of = |value: fn(&Latency) -> f64| Spread::of(own.iter().map(value).collect());
        let added = |value: fn(&Latency) -> f64| {
            Spread::of(own.iter().zip(none).map(|(own, none)| value(own) - value(none)).collect())
        };
        Some(LatencyFigure {
            p50_us: of(|latency| latency.p50_us),
            p99_us: of(|latency| latency.p99_us),
            added_p50_us: added(|latency| latency.p50_us),
            added_p99_us: added(|latency| latency.p99_us),
        })
    }

    /// The median of the CPU time that a subject adds, in microseconds.
    fn added_cpu_us(&self, subject: &Subject) -> Option<f64> {
        let none = self.cpu.get(&self.none(subject)?.to_string())?;
        let own = self.cpu.get(&subject.to_string())?;
        let both = |time: &CpuTime| time.worker_us + time.main_us;
        let added = own.iter().zip(none).map(|(own, none)| both(own) - both(none));
        Some(Spread::of(added.collect()).median)
    }

    fn added_us(&self, way: Way) -> Option<f64> {
        self.added_cpu_us(&self.find(way, "full")?)
    }

    /// CPU time that it adds, for each microsecond that the native logger adds with the same set.
    fn cpu_vs_native(&self, subject: &Subject) -> Option<f64> {
        if !subject.way.is_compared() {
            return None;
        }
        let native = self.find(Way::Native, subject.set?.name)?;
        Some(self.added_cpu_us(subject)? / self.added_cpu_us(&native)?)
    }

    /// The Envoy with nothing that a subject is compared with.
    fn none(&self, subject: &Subject) -> Option<&Subject> {
        self.subjects.iter().find(|other| other.way == Way::None && other.is_tcp() == subject.is_tcp())
    }

    fn find(&self, way: Way, set: &str) -> Option<Subject> {
        self.subjects.iter().find(|subject| subject.is(way, set)).copied()
    }
}
