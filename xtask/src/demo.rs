//! `cargo xtask demo`: sends real requests through a real Envoy with Tributary, and compares four independent
//! counts.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tributary_tests::ledger::EnvoyLedger;
use tributary_tests::load::{Load, Mix, Shape, Tally};
use tributary_tests::poll::{self, Seen};
use tributary_tests::upstream::UpstreamFault;

use crate::build;
use crate::output;
use crate::progress::ProgressCounter;
use crate::toolchain::Toolchain;
use crate::workspace::Workspace;

mod collector;
mod environment;
mod report;
mod routes;

use collector::CollectorKind;
use environment::DemoEnvironment;
use report::{DemoReport, RequestCounts};

/// The number of connections: enough to keep both workers busy while some responses are slow.
const CONNECTIONS: usize = 64;
/// The time limit for counts to reach the collector: several export intervals. A request that has not arrived
/// by then is lost.
const ARRIVAL_LIMIT: Duration = Duration::from_secs(30);
const EXIT_LIMIT: Duration = Duration::from_secs(30);
const COMPLETED: &str = "http.ingress.downstream_rq_completed";
/// The seed of the requests: fixed, so that every run sends the same requests.
const SEED: u64 = 2;
const SLOW_MS: u64 = 20;
const SLOWEST_MS: u64 = 120;

/// The arguments of `cargo xtask demo`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The number of requests to send.
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    requests: u64,
    /// The number of Envoy's worker threads.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    workers: u32,
    /// The collector that receives the metrics.
    #[arg(long, value_enum, value_name = "COLLECTOR", default_value = "embedded")]
    collector: CollectorKind,
    /// Leave everything running afterwards, and print the addresses.
    #[arg(long)]
    keep: bool,
    /// Print one JSON object on the standard output, and everything else on the standard error.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    build: build::Options,
}

pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    build::modules(workspace, &Toolchain::find(args.build.toolchain)?, &args.build)?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the threads of the load generator")?;
    runtime.block_on(demo(args))
}

async fn demo(args: &Args) -> Result<()> {
    let mut environment = DemoEnvironment::start(args.workers, args.collector).await?;
    let started = Instant::now();
    let tally = send(args.requests, &environment).await?;
    let elapsed_s = started.elapsed().as_secs_f64();
    if tally.failed() > 0 {
        let first = tally.first_failure.as_deref().unwrap_or_default();
        let log = environment.envoy.process().log_tail();
        bail!("{} requests failed, the first with {first}; the end of Envoy's log:\n{log}", tally.failed());
    }

    eprintln!("waiting for the metrics to arrive at the collector");
    let (counts, ledger) = await_counts(tally.sent(), &environment).await?;
    let (workers, collector, lost) = (args.workers, args.collector.name(), counts.lost());
    let report = DemoReport { workers, collector, counts, lost, ledger, elapsed_s };
    let durations = environment.collector.durations().await?;
    let text = format!("\n{}\n {}\n\n{report}", routes::table(&durations)?, routes::NOTE);
    output::print(&text, args.json.then_some(&report))?;
    if args.keep {
        eprintln!("{}\npress Ctrl-C to end", environment.addresses()?);
        tokio::signal::ctrl_c().await?;
    }
    let status = environment.envoy.terminate(EXIT_LIMIT).await?;
    ensure!(status.success(), "Envoy exited with {status}:\n{}", environment.envoy.process().log_tail());
    report.check()
}

/// Sends the requests and shows the progress.
async fn send(requests: u64, environment: &DemoEnvironment) -> Result<Tally> {
    let load = Load { connections: CONNECTIONS, ..Load::new(environment.ingress()?, requests, mix()?) };
    let mut counter = ProgressCounter::start(requests, "requests");
    load.run(|done| counter.update(done, "")).await
}

/// Returns the requests of a small shop: several routes, methods and status codes, and a failing upstream.
///
/// Each request gets a complete response, so that all four counts are equal.
fn mix() -> Result<Mix> {
    let shapes = [
        Shape::get("read a user", "/users/1").weight(300),
        Shape::new("create a user", "POST", "/users").body(r#"{"name":"x"}"#).status(201).weight(100),
        Shape::new("delete a user", "DELETE", "/users/2").status(204).weight(30),
        Shape::get("user not found", "/users/3").status(404).weight(40),
        Shape::get("list orders", "/orders").body_bytes(2000).weight(180),
        Shape::new("look at an order", "HEAD", "/orders/1").weight(30),
        Shape::new("change an order", "PUT", "/orders/1").body("{}").weight(50),
        Shape::new("conflicting order", "PUT", "/orders/2").body("{}").status(409).weight(20),
        Shape::get("search orders", "/orders?q=x").delay_ms(SLOW_MS).weight(20),
        Shape::new("pay", "POST", "/payments").body("{}").weight(80),
        Shape::new("pay slowly", "POST", "/payments").body("{}").delay_ms(SLOWEST_MS).weight(3),
        Shape::new("failed payment", "POST", "/payments").body("{}").status(502).weight(7),
        Shape::get("failing upstream", "/payments/1").fault(UpstreamFault::Reset).weight(20),
        Shape::get("health", "/health").weight(100),
        Shape::get("no route", "/favicon.ico").weight(20),
    ];
    Mix::new(SEED, shapes)
}

/// Waits until the four counts agree or the time limit has passed, and returns the counts and the ledger.
async fn await_counts(sent: u64, environment: &DemoEnvironment) -> Result<(RequestCounts, EnvoyLedger)> {
    let agreed = poll::until("the four counts and the ledger to agree", ARRIVAL_LIMIT, async || {
        let (counts, ledger) = read_counts(sent, environment).await?;
        let agree = counts.agree() && ledger.is_settled();
        Ok(Seen::when(agree, (counts, ledger)))
    });
    match agreed.await {
        Ok(counts) => Ok(counts),
        // After the time limit, the report shows the differences.
        Err(_) => read_counts(sent, environment).await,
    }
}

async fn read_counts(sent: u64, environment: &DemoEnvironment) -> Result<(RequestCounts, EnvoyLedger)> {
    let admin = environment.envoy.admin();
    let durations = environment.collector.durations().await?;
    let counts = RequestCounts {
        requests_sent: sent,
        requests_envoy: admin.counter(COMPLETED).await?,
        requests_counter: environment.collector.counter().await?,
        requests_exported: durations.iter().map(|point| point.histogram.count).sum(),
    };
    Ok((counts, EnvoyLedger::read(admin).await?))
}
