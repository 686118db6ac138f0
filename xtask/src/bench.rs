//! `cargo xtask bench`: what counting costs, ours beside Envoy's own ways, on the modules that are in target/wasm.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, LocalSet};
use tributary_tests::config::EnvoyConfig;
use tributary_tests::sink::Sink;
use tributary_tests::upstream::Upstream;

use crate::progress::Steps;
use crate::workspace::Workspace;

mod attachment;
mod callgrind;
mod cpu;
mod item;
mod latency;
mod log_stream;
mod metric_set;
mod module;
mod outcome;
mod part;
mod profile;
mod proof;
mod scaling;
mod start_up;
mod statistic;
mod subject;
mod table;

use callgrind::{Callgrind, Instructions};
use item::Item;
use module::Modules;
use outcome::Outcome;
use subject::{Neighbours, Subject, Way};

/// What `cargo xtask bench` can be told.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Measure only these, and what they are compared with; see --list.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,
    /// Measure only these figures.
    #[arg(long, value_enum, value_name = "FIGURES", value_delimiter = ',')]
    figures: Vec<Figure>,
    /// Measure what these items of the worker filter's CEL list cost, instead of the kinds that it writes by itself.
    #[arg(long = "item", value_name = "CEL")]
    items: Vec<String>,
    /// Do not count instructions: it needs valgrind.
    #[arg(long)]
    quick: bool,
    /// How often CPU time, memory and start-up time are measured, all subjects in turn.
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// How many Envoys to count instructions of at once; the counts do not depend on it.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    jobs: u32,
    /// Print the names of everything that can be measured, and nothing else.
    #[arg(long)]
    list: bool,
    /// Print one JSON object as the last line of the standard output, and all else to the standard error.
    #[arg(long)]
    json: bool,
}

/// What can be measured of each subject.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Figure {
    /// Instructions per request, under callgrind.
    Instructions,
    /// Instructions per request for each item of the worker filter's CEL list.
    Items,
    /// Instructions of single parts, away from Envoy.
    Parts,
    /// CPU time per request at saturation, and resident memory.
    Cpu,
    /// Latency at a fixed rate, beside CPU time and on the same Envoys.
    Latency,
    /// CPU time and memory by series and workers, instructions by dimensions.
    Scaling,
    /// The time from the start to the first connection.
    StartUp,
}

/// What every measurement needs.
struct Bench {
    modules: Modules,
    collector: Sink,
    /// What TCP connections are proxied to.
    upstream: Upstream,
}

pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let subjects = subject::select(&args.only)?;
    if args.list {
        subjects.iter().for_each(|subject| println!("{subject}"));
        return Ok(());
    }
    let modules = Modules::prepare(workspace)?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the threads of the load generator")?;
    runtime.block_on(LocalSet::new().run_until(measure(workspace, modules, subjects, args)))
}

async fn measure(workspace: &Workspace, modules: Modules, subjects: Vec<Subject>, args: &Args) -> Result<()> {
    let bench =
        Arc::new(Bench { modules, collector: Sink::start(0).await?, upstream: Upstream::start(0).await? });
    let mut outcome = Outcome::new(&bench.modules, &subjects)?;
    if args.wants(Figure::Instructions) {
        let runs: Result<Vec<_>> = subjects
            .iter()
            .map(|subject| {
                let config = bench.config(subject)?;
                let config = if subject.way.is_ours() { at_leisure(config) } else { config };
                Ok(Run { name: subject.to_string(), subject: *subject, config })
            })
            .collect();
        outcome.instructions = count_instructions(runs?, args.jobs, &mut outcome.faults).await?;
    }
    if args.wants(Figure::Items) {
        outcome.items = count_items(&bench, args, &mut outcome.faults).await?;
    }
    if args.wants(Figure::Parts) {
        callgrind::find_valgrind()?;
        outcome.parts = part::count(workspace)?;
    }
    if args.wants(Figure::Scaling) {
        measure_scaling(&bench, args, &mut outcome).await?;
    }
    if args.wants(Figure::Cpu) || args.wants(Figure::Latency) {
        // A connection for each request would use up the machine's ports.
        let http: Vec<_> = subjects.iter().filter(|subject| !subject.is_tcp()).copied().collect();
        measure_cpu(&bench, &http, args, &mut outcome).await?;
    }
    if args.wants(Figure::StartUp) {
        let measure =
            async |subject: &Subject| start_up::measure(&bench.config(subject)?, subject.listener()).await;
        outcome.start_up_ms =
            in_rounds("start-up time", &subjects, args.rounds, &mut outcome.faults, measure).await;
    }
    let text = outcome.to_string();
    if args.json {
        eprintln!("{text}");
        println!("{}", serde_json::to_string(&outcome.summary())?);
    } else {
        println!("{text}");
    }
    outcome.verdict()
}

impl Args {
    fn wants(&self, figure: Figure) -> bool {
        let asked = self.figures.is_empty() || self.figures.contains(&figure);
        asked && !(self.quick && matches!(figure, Figure::Instructions | Figure::Items | Figure::Parts))
    }
}

impl Bench {
    fn neighbours(&self) -> Neighbours {
        Neighbours { collector: self.collector.address(), upstream: self.upstream.address() }
    }

    fn config(&self, subject: &Subject) -> Result<EnvoyConfig> {
        subject.config(&self.modules, self.neighbours())
    }
}

/// CPU time and memory, with all Envoys running at once.
async fn measure_cpu(bench: &Bench, subjects: &[Subject], args: &Args, outcome: &mut Outcome) -> Result<()> {
    cpu::find_generator()?;
    let mut sessions = BTreeMap::new();
    let start =
        async |subject: &Subject| cpu::Session::start(&bench.config(subject)?, subject.listener()).await;
    for (name, mut started) in in_rounds("starting", subjects, 1, &mut outcome.faults, start).await {
        sessions.extend(started.pop().map(|session| (name, session)));
    }
    let session = |subject: &Subject| sessions.get(&subject.to_string()).context("it does not run");
    if args.wants(Figure::Cpu) {
        let measure = async |subject: &Subject| session(subject)?.measure().await;
        outcome.cpu = in_rounds("CPU time", subjects, args.rounds, &mut outcome.faults, measure).await;
    }
    if args.wants(Figure::Latency) {
        let measure = async |subject: &Subject| latency::measure(session(subject)?.target()).await;
        let compared: Vec<_> = subjects.iter().filter(|subject| subject.has_latency()).copied().collect();
        outcome.latency = in_rounds("latency", &compared, args.rounds, &mut outcome.faults, measure).await;
    }
    let check = async |subject: &Subject| session(subject)?.check(subject).await;
    in_rounds("checking what was counted", subjects, 1, &mut outcome.faults, check).await;
    Ok(())
}

/// Cost by series and by workers, and instructions by dimensions unless there is no valgrind.
async fn measure_scaling(bench: &Bench, args: &Args, outcome: &mut Outcome) -> Result<()> {
    cpu::find_generator()?;
    let subject = Subject { way: Way::AccessLog, set: None };
    let ours = |worker: &serde_json::Value| subject.ours(worker, &bench.modules, bench.neighbours());
    let series = scaling::SERIES.map(|series| (series, 1));
    let workers = scaling::WORKERS.map(|workers| (scaling::SERIES_OF_WORKERS, workers));
    let steps = Steps::start("scaling", series.len() + workers.len());
    for (series, workers) in series.into_iter().chain(workers) {
        let config = ours(&scaling::worker_by_path())?;
        let scale = scaling::measure(config, subject.listener(), series, workers).await;
        let scale = scale.with_context(|| format!("{series} series, {workers} workers"))?;
        steps.done(&format!("{series} series, {workers} workers: {:.2} us per request", scale.worker_us));
        outcome.scaling.push(scale);
    }
    drop(steps);
    if args.quick {
        return Ok(());
    }
    let run = |dimensions: usize| {
        let config = at_leisure(ours(&scaling::worker_by_dimensions(dimensions))?);
        anyhow::Ok(Run { name: format!("{dimensions:2} dimensions"), subject, config })
    };
    let runs: Result<Vec<_>> = scaling::DIMENSIONS.into_iter().map(run).collect();
    outcome.dimensions = count_instructions(runs?, args.jobs, &mut outcome.faults).await?;
    Ok(())
}

/// One measurement of each subject in each round; a subject that cannot be measured is left out of further rounds.
async fn in_rounds<T>(
    what: &str,
    subjects: &[Subject],
    rounds: u32,
    faults: &mut BTreeMap<String, String>,
    measure: impl AsyncFn(&Subject) -> Result<T>,
) -> BTreeMap<String, Vec<T>> {
    let steps = Steps::start(what, rounds.try_into().unwrap_or(usize::MAX));
    let mut found: BTreeMap<String, Vec<T>> = BTreeMap::new();
    for round in 1..=rounds {
        for subject in subjects {
            let name = subject.to_string();
            if faults.contains_key(&name) {
                continue;
            }
            match measure(subject).await {
                Ok(value) => found.entry(name).or_default().push(value),
                Err(error) => {
                    found.remove(&name);
                    faults.insert(name, reason(&error));
                }
            }
        }
        steps.done(&format!("round {round} of {rounds}"));
    }
    found
}

/// The same with less frequent hand-overs and exports. Valgrind slows requests down some fifty times and the clock not at all:
/// with the usual intervals, so many times more of them would fall on a request than on a machine at work.
fn at_leisure(config: EnvoyConfig) -> EnvoyConfig {
    config.plugin(attachment::WORKER_FILTER, "flush.interval", "5s").plugin(
        attachment::SERVICE,
        "interval",
        "50s",
    )
}

/// What one Envoy is to run, under valgrind.
struct Run {
    name: String,
    subject: Subject,
    config: EnvoyConfig,
}

/// Instructions per request of everything that Envoy takes; why it does not take the others goes to `faults`.
async fn count_instructions(
    runs: Vec<Run>,
    jobs: u32,
    faults: &mut BTreeMap<String, String>,
) -> Result<BTreeMap<String, Instructions>> {
    let callgrind = Arc::new(Callgrind::find().await?);
    let steps = Steps::start("counting instructions", runs.len());
    let places = Arc::new(Semaphore::new(jobs.try_into()?));
    let mut running = JoinSet::new();
    for Run { name, subject, config } in runs {
        let (callgrind, places) = (Arc::clone(&callgrind), Arc::clone(&places));
        running.spawn_local(async move {
            let Ok(_place) = places.acquire().await else { bail!("nothing more is to be measured") };
            Ok((name, callgrind.measure(&config, &subject).await))
        });
    }
    let mut found = BTreeMap::new();
    while let Some(ended) = running.join_next().await {
        let (name, measured) = ended??;
        match measured {
            Ok(instructions) => {
                steps.done(&format!("{name}: {:.0} instructions per request", instructions.total.median));
                found.insert(name, instructions);
            }
            Err(error) => {
                steps.done(&format!("{name}: failed"));
                faults.insert(name, reason(&error));
            }
        }
    }
    Ok(found)
}

/// Instructions that each item adds to a list without it.
async fn count_items(
    bench: &Bench,
    args: &Args,
    faults: &mut BTreeMap<String, String>,
) -> Result<Vec<(Item, f64)>> {
    let asked: Vec<_> = args.items.iter().map(|cel| Item::asked(cel)).collect();
    let items = if asked.is_empty() { Item::known() } else { asked };
    let subject = Subject { way: Way::AccessLog, set: None };
    let run = |item: Option<&Item>| {
        let config = subject.ours(&item::worker(item), &bench.modules, bench.neighbours())?;
        let name = item.map_or("no item", |item| &item.name).to_owned();
        anyhow::Ok(Run { name, subject, config: at_leisure(config) })
    };
    let runs: Result<Vec<_>> = [None].into_iter().chain(items.iter().map(Some)).map(run).collect();
    let found = count_instructions(runs?, args.jobs, faults).await?;
    let total = |name: &str| found.get(name).map(|instructions| instructions.total.median);
    let added = |item: Item| Some((total(&item.name)? - total("no item")?, item));
    Ok(items.into_iter().filter_map(added).map(|(added, item)| (item, added)).collect())
}

/// Why a subject could not be measured: of Envoy's log only its errors, and of those what a plugin said.
fn reason(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    let first = text.lines().next().unwrap_or_default();
    let errors = text.lines().skip(1).filter(|line| line.contains("][error]["));
    let said = errors.map(|line| line.split_once("wasm log ").map_or(line, |(_, said)| said));
    [first].into_iter().chain(said).collect::<Vec<_>>().join("\n  ")
}
