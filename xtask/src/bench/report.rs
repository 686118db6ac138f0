//! All measurements of a run, and the ratios that follow from them, as one JSON object; `table` prints them
//! for people.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde::Serialize;

use super::callgrind::Instructions;
use super::case::{BenchCase, CountingMethod};
use super::cpu::CpuTime;
use super::module::WasmBytes;
use super::scaling::{self, Scale};
use super::statistic::Spread;

/// The measurements of a run, by the names of the cases.
#[derive(Default)]
pub(crate) struct BenchReport {
    /// The cases, in the order of the tables.
    pub(super) cases: Vec<BenchCase>,
    pub(super) wasm_bytes: WasmBytes,
    pub(super) instructions: BTreeMap<String, Instructions>,
    /// The instructions of single operations.
    pub(super) parts: Vec<(String, f64)>,
    /// CPU time and memory of each case, with one value per round.
    pub(super) cpu: BTreeMap<String, Vec<CpuTime>>,
    /// The costs by number of series, then the costs by number of workers.
    pub(super) scaling: Vec<Scale>,
    /// The reasons why cases could not be measured.
    pub(super) failures: BTreeMap<String, String>,
}

/// The JSON object of `--json`. A ratio is `null` if one of its figures was not measured.
#[derive(Serialize)]
pub(crate) struct Summary {
    /// The ratios that are compared between versions, by name.
    #[serde(flatten)]
    ratios: BTreeMap<&'static str, Option<f64>>,
    wasm_bytes: WasmBytes,
    instructions: BTreeMap<String, InstructionsFigure>,
    part_instructions: BTreeMap<String, f64>,
    cpu: BTreeMap<String, CpuFigure>,
    scaling: Vec<Scale>,
    failed: BTreeMap<String, String>,
}

/// Instructions per request of one case.
#[derive(Serialize)]
pub(super) struct InstructionsFigure {
    pub(super) total: f64,
    pub(super) spread: f64,
    /// The difference to the baseline.
    pub(super) added: Option<f64>,
    /// `added`, divided by that of Envoy's StatsAccessLogger with the same set.
    pub(super) vs_native: Option<f64>,
    pub(super) generated: f64,
    pub(super) main: f64,
    pub(super) allocator: f64,
}

/// CPU time per request and memory of one case. Added values are differences to the baseline in the same
/// round.
#[derive(Serialize)]
pub(super) struct CpuFigure {
    pub(super) worker_us: Spread,
    pub(super) main_us: Spread,
    /// The CPU time of both threads, minus their CPU time in the baseline.
    pub(super) added_us: Spread,
    /// `added_us`, divided by that of Envoy's StatsAccessLogger with the same set.
    pub(super) vs_native: Option<f64>,
    pub(super) rss_mib: Spread,
    pub(super) rss_added_mib: Spread,
    pub(super) requests_per_s: Spread,
}

/// The rounds of a case and of its baseline.
struct Rounds<'a, T> {
    case: &'a [T],
    baseline: &'a [T],
}

impl<T> Rounds<'_, T> {
    fn spread(&self, value: impl Fn(&T) -> f64) -> Spread {
        Spread::of(self.case.iter().map(value).collect())
    }

    /// Returns the spread of the differences to the baseline.
    fn added(&self, value: impl Fn(&T) -> f64) -> Spread {
        let pairs = self.case.iter().zip(self.baseline);
        Spread::of(pairs.map(|(case, baseline)| value(case) - value(baseline)).collect())
    }
}

impl BenchReport {
    /// Fails if a case could not be measured.
    pub(crate) fn check(&self) -> Result<()> {
        let names: Vec<_> = self.failures.keys().map(String::as_str).collect();
        ensure!(names.is_empty(), "{} cases could not be measured: {}", names.len(), names.join(", "));
        Ok(())
    }

    pub(crate) fn summary(&self) -> Summary {
        Summary {
            ratios: self.ratios(),
            wasm_bytes: self.wasm_bytes,
            instructions: self.by_case(|case| self.instructions_figure(case)).collect(),
            part_instructions: self.parts.iter().cloned().collect(),
            cpu: self.by_case(|case| self.cpu_figure(case)).collect(),
            scaling: self.scaling.clone(),
            failed: self.failures.clone(),
        }
    }

    fn ratios(&self) -> BTreeMap<&'static str, Option<f64>> {
        use CountingMethod::{AccessLog, HttpFilter, LogStream, TcpFilter, Textbook};
        let case = |method, set| self.cases.iter().find(|case| case.is(method, set));
        let instructions = |method, set| self.instructions_figure(case(method, set)?)?.vs_native;
        let cpu = |method| self.cpu_figure(case(method, "full")?);
        let cpu_ratio = |method| cpu(method)?.vs_native;
        let added_us = |method| Some(cpu(method)?.added_us.median);
        let scale = self.scaling.iter().find(|scale| scale.series == scaling::SERIES_OF_WORKERS);
        BTreeMap::from([
            ("access_log_vs_native", instructions(AccessLog, "full")),
            ("http_filter_vs_native", instructions(HttpFilter, "full")),
            ("log_stream_vs_native", instructions(LogStream, "full")),
            ("log_stream_small_vs_native", instructions(LogStream, "small")),
            ("log_stream_wide_vs_native", instructions(LogStream, "wide")),
            ("wide_vs_native", instructions(AccessLog, "wide")),
            ("small_vs_native", instructions(AccessLog, "small")),
            ("tcp_access_log_vs_native", instructions(AccessLog, "tcp")),
            ("tcp_filter_vs_native", instructions(TcpFilter, "tcp")),
            ("access_log_cpu_vs_native", cpu_ratio(AccessLog)),
            ("http_filter_cpu_vs_native", cpu_ratio(HttpFilter)),
            ("log_stream_cpu_vs_native", cpu_ratio(LogStream)),
            ("textbook_vs_ours", added_us(Textbook).zip(added_us(HttpFilter)).map(|(a, b)| a / b)),
            ("main_thread_share", scale.map(|scale| scale.main_thread_share)),
            ("rss_added_mib", cpu(HttpFilter).map(|figure| figure.rss_added_mib.median)),
        ])
    }

    /// Returns a figure for each case that was measured, in the order of the tables.
    pub(super) fn by_case<T>(
        &self,
        figure: impl Fn(&BenchCase) -> Option<T>,
    ) -> impl Iterator<Item = (String, T)> {
        self.cases.iter().filter_map(move |case| Some((case.to_string(), figure(case)?)))
    }

    pub(super) fn instructions_figure(&self, case: &BenchCase) -> Option<InstructionsFigure> {
        let found = |case: &BenchCase| self.instructions.get(&case.to_string());
        let added =
            |case: &BenchCase| Some(found(case)?.total.median - found(self.baseline(case)?)?.total.median);
        let Instructions { total, generated, main, allocator } = found(case)?;
        Some(InstructionsFigure {
            total: total.median,
            spread: total.half_width(),
            added: added(case),
            vs_native: self.vs_native(case, added),
            generated: generated.median,
            main: main.median,
            allocator: allocator.median,
        })
    }

    pub(super) fn cpu_figure(&self, case: &BenchCase) -> Option<CpuFigure> {
        let both = |time: &CpuTime| time.worker_us + time.main_us;
        let rounds = self.rounds(&self.cpu, case)?;
        Some(CpuFigure {
            worker_us: rounds.spread(|time| time.worker_us),
            main_us: rounds.spread(|time| time.main_us),
            added_us: rounds.added(both),
            vs_native: self.vs_native(case, |case| Some(self.rounds(&self.cpu, case)?.added(both).median)),
            rss_mib: rounds.spread(|time| time.rss_mib),
            rss_added_mib: rounds.added(|time| time.rss_mib),
            requests_per_s: rounds.spread(|time| time.requests_per_s),
        })
    }

    /// Returns a cost divided by the cost of Envoy's StatsAccessLogger with the same set. Returns `None` if
    /// the case is not compared, or if one of the costs was not measured.
    fn vs_native(&self, case: &BenchCase, cost: impl Fn(&BenchCase) -> Option<f64>) -> Option<f64> {
        let set = case.set.filter(|_| case.method.is_compared())?;
        let native = self.cases.iter().find(|other| other.is(CountingMethod::Native, &set.name))?;
        Some(cost(case)? / cost(native)?)
    }

    fn rounds<'a, T>(&self, all: &'a BTreeMap<String, Vec<T>>, case: &BenchCase) -> Option<Rounds<'a, T>> {
        let baseline = all.get(&self.baseline(case)?.to_string())?;
        Some(Rounds { case: all.get(&case.to_string())?, baseline })
    }

    /// Returns the case without counting with which a case is compared.
    fn baseline(&self, case: &BenchCase) -> Option<&BenchCase> {
        let is_baseline = |other: &&BenchCase| other.method == CountingMethod::None;
        self.cases.iter().filter(is_baseline).find(|other| other.is_tcp() == case.is_tcp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::case::select;

    #[test]
    fn a_cost_is_compared_with_the_native_logger_of_the_same_set() {
        let cases = select(&["access-log-full".to_owned()]).unwrap();
        let mut report = BenchReport { cases, ..BenchReport::default() };
        for (name, total) in [("none", 100.0), ("native-full", 110.0), ("access-log-full", 115.0)] {
            let spread = |median| Spread { median, low: median, high: median };
            let (total, generated, main, allocator) = (spread(total), spread(1.0), spread(2.0), spread(3.0));
            report.instructions.insert(name.to_owned(), Instructions { total, generated, main, allocator });
        }
        let summary = report.summary();
        let figure = &summary.instructions["access-log-full"];
        assert_eq!((figure.added, figure.vs_native), (Some(15.0), Some(1.5)));
        assert_eq!(summary.instructions["native-full"].vs_native, None);
        assert!(summary.cpu.is_empty());
        let json = serde_json::to_value(&summary).unwrap();
        assert_eq!((&json["access_log_vs_native"], &json["rss_added_mib"]), (&1.5.into(), &().into()));
    }
}
