//! `cargo xtask demo`: the main job in one command. Real requests through a real Envoy, counted by Tributary, and a
//! reckoning of four independent counts that must agree.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tributary_tests::admin::Admin;
use tributary_tests::ledger::Ledger;
use tributary_tests::load::{Load, Tally};
use tributary_tests::poll::{self, Seen};

use crate::build;
use crate::toolchain::Toolchain;
use crate::workspace::Workspace;

mod collector;
mod reckoning;
mod routes;
mod screen;
mod stage;
mod traffic;

use collector::Kind;
use reckoning::{Reckoning, Totals};
use screen::Screen;
use stage::Stage;

/// Enough to keep both workers busy while some answers are slow.
const CONNECTIONS: usize = 64;
/// Several export intervals: what has not arrived by then is lost.
const ARRIVAL_LIMIT: Duration = Duration::from_secs(30);
const EXIT_LIMIT: Duration = Duration::from_secs(30);
const COMPLETED: &str = "http.ingress.downstream_rq_completed";

/// What `cargo xtask demo` can be told.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many requests to send.
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    requests: u64,
    /// How many worker threads Envoy has.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    workers: u32,
    /// What receives the sums.
    #[arg(long, value_enum, value_name = "WHICH", default_value = "embedded")]
    collector: Kind,
    /// Leave everything running afterwards, and print the addresses.
    #[arg(long)]
    keep: bool,
    /// Print one JSON object as the last line of the standard output, and all else to the standard error.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    build: build::Options,
}

pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    build_modules(workspace, &args.build)?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the threads of the load generator")?;
    runtime.block_on(show(args))
}

/// The modules that Envoy is about to load, from the sources as they are.
fn build_modules(workspace: &Workspace, options: &build::Options) -> Result<()> {
    let toolchain = Toolchain::find(options.toolchain)?;
    build::modules(workspace, &toolchain, options)?;
    Ok(())
}

async fn show(args: &Args) -> Result<()> {
    let screen = Screen::new(args.json);
    let mut stage = Stage::set(args.workers, args.collector, &screen).await?;
    let started = Instant::now();
    let tally = send(args.requests, &stage, &screen).await?;
    let elapsed = started.elapsed();
    if tally.failed() > 0 {
        let first = tally.first_failure.as_deref().unwrap_or_default();
        let log = stage.envoy.process().log_tail();
        bail!("{} requests failed, the first with {first}; the end of Envoy's log:\n{log}", tally.failed());
    }

    screen.say("waiting for the sums to arrive at the collector");
    let (totals, ledger) = await_totals(tally.sent(), &stage).await?;
    let reckoning = Reckoning {
        workers: args.workers,
        collector: args.collector.name(),
        totals,
        lost: totals.lost(),
        ledger,
        elapsed_s: elapsed.as_secs_f64(),
    };
    let durations = stage.collector.durations().await?;
    screen.show(&format!("\n{}\n {}\n", routes::table(&durations)?, routes::NOTE));
    screen.show(&reckoning.to_string());
    if args.json {
        println!("{}", serde_json::to_string(&reckoning)?);
    }
    if args.keep {
        screen.say(&stage.addresses()?);
        screen.say("press Ctrl-C to end");
        tokio::signal::ctrl_c().await?;
    }
    let status = stage.envoy.terminate(EXIT_LIMIT).await?;
    ensure!(status.success(), "Envoy ended with {status}:\n{}", stage.envoy.process().log_tail());
    reckoning.verdict()
}

/// Sends the requests and shows how far it is.
async fn send(requests: u64, stage: &Stage, screen: &Screen) -> Result<Tally> {
    let load = Load { connections: CONNECTIONS, ..Load::new(stage.ingress()?, requests, traffic::mix()?) };
    let mut progress = screen.progress(requests);
    load.run(|done| progress.set(done)).await
}

/// The four totals and the ledger, as soon as they agree or when the time is up.
async fn await_totals(sent: u64, stage: &Stage) -> Result<(Totals, Ledger)> {
    let agreed = poll::until("the four totals and the ledger to agree", ARRIVAL_LIMIT, async || {
        let (totals, ledger) = read_totals(sent, stage).await?;
        let agree = totals.agree() && ledger.is_settled();
        Ok(Seen::when(agree, (totals, ledger)))
    });
    match agreed.await {
        Ok(totals) => Ok(totals),
        // The reckoning shows what there is; if nothing can be read any more, that is the error.
        Err(_) => read_totals(sent, stage).await,
    }
}

async fn read_totals(sent: u64, stage: &Stage) -> Result<(Totals, Ledger)> {
    let admin: &Admin = stage.envoy.admin();
    let totals = Totals {
        requests_sent: sent,
        requests_envoy: admin.counter(COMPLETED).await?,
        requests_counter: stage.collector.counter().await?,
        requests_exported: stage.collector.exported().await?,
    };
    Ok((totals, Ledger::read(admin).await?))
}
