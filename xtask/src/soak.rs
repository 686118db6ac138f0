//! `cargo xtask soak`: traffic through a real Envoy for as long as is wanted, to collectors that fail at random, and a ledger
//! that must add up every second and to the unit at the end.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::task::JoinHandle;
use tributary_tests::load::{Load, Mix, Shape, Tally};

use crate::build;
use crate::progress::Count;
use crate::toolchain::Toolchain;
use crate::workspace::Workspace;

mod faults;
mod ledger;
mod outcome;
mod stage;

use faults::{Kind, Weather};
use ledger::Watch;
use outcome::{Memory, Outcome};
use stage::Stage;

/// Enough to keep both workers busy.
const CONNECTIONS: usize = 32;
/// Requests after which is looked whether the time is up.
const REQUESTS_AT_ONCE: u64 = 5_000;
/// From one look at the ledger to the next.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
const EXIT_LIMIT: Duration = Duration::from_secs(30);

/// What `cargo xtask soak` can be told.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// For how long there is traffic; fractions are allowed.
    #[arg(long, value_name = "N", default_value_t = 1.0)]
    minutes: f64,
    /// Which faults come when: the same seed gives the same ones.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How many worker threads Envoy has.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    workers: u32,
    /// Only say which faults there are.
    #[arg(long)]
    list: bool,
    /// Print one JSON object as the last line of the standard output, and all else to the standard error.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    build: build::Options,
}

pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    if args.list {
        println!("{}", Kind::table());
        return Ok(());
    }
    let time = Duration::try_from_secs_f64(args.minutes * 60.0).ok().filter(|time| !time.is_zero());
    let time = time.with_context(|| format!("{} minutes are no time: say a number above 0", args.minutes))?;
    let toolchain = Toolchain::find(args.build.toolchain)?;
    build::modules(workspace, &toolchain, &args.build)?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the threads of the load generator")?;
    let outcome = runtime.block_on(soak(args, time))?;
    if args.json {
        eprintln!("{outcome}");
        println!("{}", serde_json::to_string(&outcome)?);
    } else {
        println!("{outcome}");
    }
    outcome.verdict()
}

async fn soak(args: &Args, time: Duration) -> Result<Outcome> {
    let mut stage = Stage::set(args.workers).await?;
    let started = Instant::now();
    let load = send(&stage, time)?;
    let mut weather = Weather::new(args.seed);
    let mut watch = Watch::default();
    let mut memory = Memory::default();
    let mut count = Count::start(time.as_secs().max(1), "seconds");
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    while !load.is_finished() {
        looks.tick().await;
        weather.change(&stage.collectors);
        let said = watch.look(&stage).await.with_context(|| stage.envoy.process().log_tail())?;
        memory.sample(stage.envoy.resident_bytes()?);
        count.say(started.elapsed().as_secs(), &said);
    }
    drop(count);
    let tally = load.await??;
    let elapsed = started.elapsed();
    stage.collectors.iter().for_each(|collector| collector.sink.heal());
    eprintln!("the faults are over: waiting for everything to arrive");
    let totals = ledger::settled(tally.sent(), &stage).await?;
    memory.sample(stage.envoy.resident_bytes()?);
    let exports = ledger::exports(&stage).await?;
    let status = stage.envoy.terminate(EXIT_LIMIT).await?;
    ensure!(status.success(), "Envoy ended with {status}:\n{}", stage.envoy.process().log_tail());
    Ok(Outcome::new(args.seed, elapsed, &tally, totals, &weather, &watch, &memory, exports))
}

/// Sends requests until the time is up, and tells what became of all of them.
fn send(stage: &Stage, time: Duration) -> Result<JoinHandle<Result<Tally>>> {
    let shapes = [
        Shape::get("read a user", "/users/1").weight(40),
        Shape::new("create a user", "POST", "/users").body(r#"{"name":"x"}"#).status(201).weight(20),
        Shape::get("miss a user", "/users/3").status(404).weight(10),
        Shape::get("list orders", "/orders").body_bytes(2_000).weight(20),
        Shape::new("pay in vain", "POST", "/payments").body("{}").status(502).weight(5),
        Shape::get("health", "/health").weight(20),
        Shape::get("no route", "/favicon.ico").weight(5),
    ];
    let mix = Mix::new(20, shapes)?;
    let target = stage.ingress()?;
    Ok(tokio::spawn(async move {
        let started = Instant::now();
        let mut all = Tally::default();
        while started.elapsed() < time {
            let load = Load { connections: CONNECTIONS, ..Load::new(target, REQUESTS_AT_ONCE, mix.clone()) };
            all.add(load.run(|_| ()).await?);
        }
        Ok(all)
    }))
}
