//! `cargo xtask bench`: what counting costs, ours beside Envoy's own ways, on the modules that are in target/wasm.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, LocalSet};
use tributary_tests::sink::Sink;

use crate::progress::Steps;
use crate::workspace::Workspace;

mod callgrind;
mod metric_set;
mod module;
mod outcome;
mod profile;
mod statistic;
mod subject;

use callgrind::{Callgrind, Instructions};
use module::Modules;
use outcome::Outcome;
use subject::Subject;

/// What `cargo xtask bench` can be told.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Measure only these, and what they are compared with; see --list.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,
    /// Do not count instructions: it needs valgrind.
    #[arg(long)]
    quick: bool,
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

/// What every measurement needs.
struct Bench {
    modules: Modules,
    collector: Sink,
}

pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let subjects = subject::select(&args.only)?;
    if args.list {
        subjects.iter().for_each(|subject| println!("{subject}"));
        return Ok(());
    }
    let modules = Modules::prepare(workspace)?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the threads of the load generator")?;
    runtime.block_on(LocalSet::new().run_until(measure(modules, subjects, args)))
}

async fn measure(modules: Modules, subjects: Vec<Subject>, args: &Args) -> Result<()> {
    let bench = Arc::new(Bench { modules, collector: Sink::start(0).await? });
    let mut outcome = Outcome::new(&bench.modules, &subjects)?;
    if !args.quick {
        outcome.instructions = count_instructions(&bench, &subjects, args.jobs, &mut outcome.faults).await?;
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

/// Instructions per request of each subject that Envoy takes; why it does not take the others goes to `faults`.
async fn count_instructions(
    bench: &Arc<Bench>,
    subjects: &[Subject],
    jobs: u32,
    faults: &mut BTreeMap<String, String>,
) -> Result<BTreeMap<String, Instructions>> {
    let callgrind = Arc::new(Callgrind::find().await?);
    let steps = Steps::start("counting instructions", subjects.len());
    let places = Arc::new(Semaphore::new(jobs.try_into()?));
    let mut running = JoinSet::new();
    for subject in subjects.iter().copied() {
        let (bench, callgrind, places) = (Arc::clone(bench), Arc::clone(&callgrind), Arc::clone(&places));
        running.spawn_local(async move {
            let Ok(_place) = places.acquire().await else { bail!("nothing more is to be measured") };
            let config = subject.config(&bench.modules, bench.collector.address())?;
            Ok((subject.to_string(), callgrind.measure(&config, subject.listener()).await))
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

/// Why a subject could not be measured: of a log only its errors.
fn reason(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    let first = text.lines().next().unwrap_or_default();
    let errors = text.lines().skip(1).filter(|line| line.contains("][error]["));
    [first].into_iter().chain(errors).collect::<Vec<_>>().join("\n  ")
}
