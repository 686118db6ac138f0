//! `cargo xtask bench`: measures the cost of counting with the modules in target/wasm, and compares it with
//! Envoy's own ways to count.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, LocalSet};
use tributary_tests::config::EnvoyConfig;
use tributary_tests::sink::Sink;
use tributary_tests::upstream::Upstream;

use crate::output;
use crate::progress::Activity;
use crate::workspace::Workspace;

mod callgrind;
mod case;
mod cpu;
mod extension;
mod metric_set;
mod module;
mod part;
mod profile;
mod report;
mod scaling;
mod statistic;
mod table;
mod verify;

use callgrind::{Callgrind, Instructions};
use case::{BenchCase, Endpoints};
use report::BenchReport;

/// The arguments of `cargo xtask bench`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Measure only these cases and what they are compared with; see --list.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,
    /// Measure only these figures.
    #[arg(long, value_enum, value_name = "FIGURES", value_delimiter = ',')]
    figures: Vec<Figure>,
    /// Skip the counts of instructions, which need valgrind.
    #[arg(long)]
    quick: bool,
    /// The number of rounds for CPU time and memory; each round measures every case once.
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// The number of Envoys that run under valgrind at once; the counts do not depend on it.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    jobs: u32,
    /// Print the names of all cases, and measure nothing.
    #[arg(long)]
    list: bool,
    /// Print one JSON object on the standard output, and everything else on the standard error.
    #[arg(long)]
    json: bool,
}

/// A kind of measurement.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Figure {
    /// Instructions per request, under callgrind.
    Instructions,
    /// Instructions of single operations, without Envoy.
    Parts,
    /// CPU time per request at saturation, and resident memory.
    Cpu,
    /// CPU time and memory by number of series and workers.
    Scaling,
}

pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let cases = case::select(&args.only)?;
    if args.list {
        cases.iter().for_each(|case| println!("{case}"));
        return Ok(());
    }
    let report = BenchReport { wasm_bytes: module::prepare(workspace)?, cases, ..BenchReport::default() };
    let runtime = tokio::runtime::Runtime::new().context("cannot start the threads of the load generator")?;
    runtime.block_on(LocalSet::new().run_until(measure(workspace, report, args)))
}

async fn measure(workspace: &Workspace, mut report: BenchReport, args: &Args) -> Result<()> {
    let (collector, upstream) = (Sink::start(0).await?, Upstream::start(0).await?);
    let endpoints = Endpoints { collector: collector.address(), upstream: upstream.address() };
    if args.includes(Figure::Instructions) {
        let runs = report.cases.iter().map(|case| (case.to_string(), *case, case.config(endpoints)));
        report.instructions = count_instructions(runs, args.jobs, &mut report.failures).await?;
    }
    if args.includes(Figure::Parts) {
        callgrind::ensure_valgrind()?;
        report.parts = part::count(workspace)?;
    }
    if args.includes(Figure::Scaling) {
        measure_scaling(endpoints, &mut report).await?;
    }
    if args.includes(Figure::Cpu) {
        measure_cpu(endpoints, args, &mut report).await?;
    }
    output::print(&report, args.json.then(|| report.summary()).as_ref())?;
    report.check()
}

impl Args {
    fn includes(&self, figure: Figure) -> bool {
        let selected = self.figures.is_empty() || self.figures.contains(&figure);
        selected && !(self.quick && matches!(figure, Figure::Instructions | Figure::Parts))
    }
}

/// Measures CPU time and memory, with the Envoys of all cases running at once.
async fn measure_cpu(endpoints: Endpoints, args: &Args, report: &mut BenchReport) -> Result<()> {
    cpu::ensure_wrk()?;
    // Cases with one TCP connection per request are left out, because they would use up the ports of the
    // machine.
    let cases: Vec<_> = report.cases.iter().filter(|case| !case.is_tcp()).copied().collect();
    let failures = &mut report.failures;
    let start = async |case: &BenchCase| cpu::Session::start(&case.config(endpoints)?, 1, 1, None).await;
    let sessions = in_rounds("starting", &cases, 1, failures, start).await;
    let session = |case: &BenchCase| {
        sessions.get(&case.to_string()).and_then(|started| started.first()).context("it does not run")
    };
    let measure = async |case: &BenchCase| session(case)?.measure(1).await;
    report.cpu = in_rounds("CPU time", &cases, args.rounds, failures, measure).await;
    let verify = async |case: &BenchCase| session(case)?.verify(case).await;
    in_rounds("verifying the counts", &cases, 1, failures, verify).await;
    Ok(())
}

/// Measures the cost by number of series and of workers.
async fn measure_scaling(endpoints: Endpoints, report: &mut BenchReport) -> Result<()> {
    cpu::ensure_wrk()?;
    let worker = scaling::worker()?;
    let series = scaling::SERIES.map(|series| (series, 1));
    let workers = scaling::WORKERS.map(|workers| (scaling::SERIES_OF_WORKERS, workers));
    let activity = Activity::with_steps("scaling", series.len() + workers.len());
    for (series, workers) in series.into_iter().chain(workers) {
        let name = format!("{series} series, {workers} workers");
        let config = case::ACCESS_LOG.ours(&worker, endpoints)?;
        let scale = scaling::measure(config, series, workers).await.with_context(|| name.clone())?;
        activity.step_done(&format!("{name}: {:.2} us per request", scale.worker_us));
        report.scaling.push(scale);
    }
    Ok(())
}

/// Measures each case once in each round. A case that fails is left out of further rounds.
async fn in_rounds<T>(
    name: &str,
    cases: &[BenchCase],
    rounds: u32,
    failures: &mut BTreeMap<String, String>,
    measure: impl AsyncFn(&BenchCase) -> Result<T>,
) -> BTreeMap<String, Vec<T>> {
    let activity = Activity::with_steps(name, rounds.try_into().unwrap_or(usize::MAX));
    let mut found: BTreeMap<String, Vec<T>> = BTreeMap::new();
    for round in 1..=rounds {
        for case in cases {
            let name = case.to_string();
            if failures.contains_key(&name) {
                continue;
            }
            match measure(case).await {
                Ok(value) => found.entry(name).or_default().push(value),
                Err(error) => {
                    found.remove(&name);
                    failures.insert(name, reason(&error));
                }
            }
        }
        activity.step_done(&format!("round {round} of {rounds}"));
    }
    found
}

/// Counts the instructions per request of each run, and returns them by name. Adds the reason of a failed
/// run to `failures`.
async fn count_instructions(
    runs: impl ExactSizeIterator<Item = (String, BenchCase, Result<EnvoyConfig>)>,
    jobs: u32,
    failures: &mut BTreeMap<String, String>,
) -> Result<BTreeMap<String, Instructions>> {
    let callgrind = Arc::new(Callgrind::find().await?);
    let activity = Activity::with_steps("counting instructions", runs.len());
    let permits = Arc::new(Semaphore::new(jobs.try_into()?));
    let mut running = JoinSet::new();
    for (name, case, config) in runs {
        let mut config = config?;
        if case.method.is_ours() {
            // Makes flushes and exports rarer. Valgrind slows requests down about fifty times, but the
            // clock keeps its speed. So with the usual intervals, the cost of a request would include fifty
            // times as many flushes and exports.
            config = config.worker("flush.interval", "5s").service("interval", "50s");
        }
        let (callgrind, permits) = (Arc::clone(&callgrind), Arc::clone(&permits));
        running.spawn_local(async move {
            let Ok(_permit) = permits.acquire().await else { bail!("the measurements were cancelled") };
            Ok((name, callgrind.measure(&config, &case).await))
        });
    }
    let mut found = BTreeMap::new();
    while let Some(ended) = running.join_next().await {
        let (name, measured) = ended??;
        match measured {
            Ok(instructions) => {
                let total = instructions.total.median;
                activity.step_done(&format!("{name}: {total:.0} instructions per request"));
                found.insert(name, instructions);
            }
            Err(error) => {
                activity.step_done(&format!("{name}: failed"));
                failures.insert(name, reason(&error));
            }
        }
    }
    Ok(found)
}

/// Returns the reason why a case failed: the first line of the error, and the error lines of Envoy's log,
/// without prefixes.
fn reason(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    let first = text.lines().next().unwrap_or_default();
    let errors = text.lines().skip(1).filter(|line| line.contains("][error]["));
    let messages = errors.map(|line| line.split_once("wasm log ").map_or(line, |(_, message)| message));
    [first].into_iter().chain(messages).collect::<Vec<_>>().join("\n  ")
}
