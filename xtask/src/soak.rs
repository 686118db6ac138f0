//! `cargo xtask soak`: sends traffic through a real Envoy while its collectors fail at random. The ledger
//! must add up every second, and exactly at the end.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::task::JoinHandle;
use tributary_tests::load::{Load, Mix, Shape, Tally};

use crate::build;
use crate::output;
use crate::progress::ProgressCounter;
use crate::toolchain::Toolchain;
use crate::workspace::Workspace;

mod environment;
mod faults;
mod ledger;
mod report;

use environment::SoakEnvironment;
use faults::FaultSchedule;
use ledger::LedgerMonitor;
use report::SoakReport;

/// The number of connections: enough to keep both workers busy.
const CONNECTIONS: usize = 32;
/// The number of requests in one run of the load generator. The time is checked after each run.
const REQUESTS_PER_RUN: u64 = 5_000;
/// The interval between checks of the ledger.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
const EXIT_LIMIT: Duration = Duration::from_secs(30);

/// The arguments of `cargo xtask soak`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The duration of the traffic; fractions are allowed.
    #[arg(long, value_name = "N", default_value_t = 1.0)]
    minutes: f64,
    /// The seed of the faults: the same seed gives the same faults.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// The number of Envoy's worker threads.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    workers: u32,
    /// Print the fault modes with their probabilities, and run nothing.
    #[arg(long)]
    list: bool,
    /// Print one JSON object on the standard output, and everything else on the standard error.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    build: build::Options,
}

pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    if args.list {
        println!("{}", faults::table());
        return Ok(());
    }
    let time = Duration::try_from_secs_f64(args.minutes * 60.0).ok().filter(|time| !time.is_zero());
    let time =
        time.with_context(|| format!("--minutes {} is out of range: use a number above 0", args.minutes))?;
    build::modules(workspace, &Toolchain::find(args.build.toolchain)?, &args.build)?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the threads of the load generator")?;
    let report = runtime.block_on(soak(args, time))?;
    output::print(&report, args.json.then_some(&report))?;
    report.check()
}

async fn soak(args: &Args, time: Duration) -> Result<SoakReport> {
    let mut environment = SoakEnvironment::start(args.workers).await?;
    let started = Instant::now();
    let load = send(&environment, time)?;
    let mut schedule = FaultSchedule::new(args.seed);
    let mut monitor = LedgerMonitor::default();
    let mut memory = Vec::new();
    let mut counter = ProgressCounter::start(time.as_secs().max(1), "seconds");
    let mut checks = tokio::time::interval(CHECK_INTERVAL);
    while !load.is_finished() {
        checks.tick().await;
        schedule.advance(&environment.collectors);
        let status =
            monitor.check(&environment).await.with_context(|| environment.envoy.process().log_tail())?;
        memory.push(environment.envoy.resident_bytes()?);
        counter.update(started.elapsed().as_secs(), &status);
    }
    drop(counter);
    let tally = load.await??;
    let elapsed = started.elapsed();
    environment.collectors.iter().for_each(|collector| collector.sink.heal());
    eprintln!("no more faults: waiting for every count to arrive");
    let counts = ledger::await_counts(tally.sent(), &environment).await?;
    memory.push(environment.envoy.resident_bytes()?);
    let exports = ledger::exports(&environment).await?;
    let status = environment.envoy.terminate(EXIT_LIMIT).await?;
    ensure!(status.success(), "Envoy exited with {status}:\n{}", environment.envoy.process().log_tail());
    Ok(SoakReport {
        seed: args.seed,
        seconds: elapsed.as_secs_f64(),
        requests: tally.sent(),
        failed: tally.failed(),
        first_failure: tally.first_failure.clone(),
        lost: counts.lost(tally.sent()),
        totals: counts,
        ledger_checks: monitor.checks,
        ledger_gap_max: monitor.gap_max,
        faults: schedule.drawn,
        exports,
        resident_mib: report::resident_mib(&memory),
    })
}

/// Sends requests until the time is up, and returns the results of all requests.
fn send(environment: &SoakEnvironment, time: Duration) -> Result<JoinHandle<Result<Tally>>> {
    let shapes = [
        Shape::get("read a user", "/users/1").weight(40),
        Shape::new("create a user", "POST", "/users").body(r#"{"name":"x"}"#).status(201).weight(20),
        Shape::get("user not found", "/users/3").status(404).weight(10),
        Shape::get("list orders", "/orders").body_bytes(2_000).weight(20),
        Shape::new("failed payment", "POST", "/payments").body("{}").status(502).weight(5),
        Shape::get("health", "/health").weight(20),
        Shape::get("no route", "/favicon.ico").weight(5),
    ];
    let mix = Mix::new(20, shapes)?;
    let target = environment.ingress()?;
    Ok(tokio::spawn(async move {
        let started = Instant::now();
        let mut all = Tally::default();
        while started.elapsed() < time {
            let load = Load { connections: CONNECTIONS, ..Load::new(target, REQUESTS_PER_RUN, mix.clone()) };
            all.add(load.run(|_| ()).await?);
        }
        Ok(all)
    }))
}
