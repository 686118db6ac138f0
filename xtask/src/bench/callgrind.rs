//! Instructions per request of a real Envoy, counted by callgrind: reproducible even on a busy machine.
//!
//! Counting starts when Envoy and its compilers are warm. The cost of a request is the slope between a
//! short and a long load. This excludes the cost of connections and of the start and end of a load. It
//! includes the ticks, flushes and work of the service during the long load.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use object::{Object, ObjectSection};
use tempfile::TempDir;
use tributary_tests::config::EnvoyConfig;
use tributary_tests::envoy::{Envoy, EnvoyOptions};
use tributary_tests::load::{Load, Mix, Shape};
use tributary_tests::metrics::to_f64;
use tributary_tests::tools;

use super::case::{self, BenchCase, CountingMethod};
use super::metric_set::HEADER;
use super::profile::{self, Binary, Cost};
use super::statistic::Spread;
use super::verify;
use crate::debian;
use crate::process;

/// The number of requests before counting starts: enough for V8 to compile the hot code.
const WARM: u64 = 4_000;
const SHORT: u64 = 200;
const LONG: u64 = 2_200;
/// The number of pairs of a short and a long load.
const PAIRS: usize = 3;
const READY_LIMIT: Duration = Duration::from_secs(180);
/// A duration longer than the interval in which Envoy flushes its access log.
const LOG_FLUSH: Duration = Duration::from_secs(2);
const LOAD_LIMIT: Duration = Duration::from_secs(300);
const CONTROL_LIMIT: Duration = Duration::from_secs(120);
/// The main thread's number in valgrind.
const MAIN_THREAD: &str = "01";
/// The sections of Envoy's binary that hold tcmalloc.
const ALLOCATOR_SECTIONS: [&str; 2] = ["google_malloc", "malloc_hook"];

/// Valgrind's callgrind, and the Envoy that it runs.
pub(crate) struct Callgrind {
    envoy: PathBuf,
    allocator: Range<u64>,
}

/// Instructions per request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Instructions {
    /// The instructions of all threads, without the allocator: the figure that is compared.
    pub(crate) total: Spread,
    /// The part of `total` in code generated at run time: compiled Wasm and Lua.
    pub(crate) generated: Spread,
    /// The part of `total` on the main thread.
    pub(crate) main: Spread,
    /// The instructions of the allocator, which is slower under valgrind.
    pub(crate) allocator: Spread,
}

/// The cost of one load by thread.
type Threads = BTreeMap<String, Cost>;

/// One Envoy under callgrind.
struct Session<'a> {
    callgrind: &'a Callgrind,
    envoy: Envoy,
    case: BenchCase,
    folder: TempDir,
    dumps: usize,
}

/// Installs valgrind if it is not installed.
pub(crate) fn ensure_valgrind() -> Result<()> {
    debian::ensure_programs(&["valgrind", "vgdb"], "valgrind").context(
        "counting instructions needs valgrind: install it with `sudo apt-get install valgrind`, or use --quick",
    )
}

impl Callgrind {
    /// Finds or installs valgrind, and finds the allocator in Envoy's binary.
    pub(crate) async fn find() -> Result<Self> {
        ensure_valgrind()?;
        let envoy = fs::canonicalize(tools::envoy::binary().await?)?;
        let allocator = allocator_section(&envoy)?;
        Ok(Self { envoy, allocator })
    }

    /// Returns the addresses of the binary in a process.
    fn in_memory(&self, pid: u32) -> Result<Binary> {
        let maps =
            fs::read_to_string(format!("/proc/{pid}/maps")).context("cannot read Envoy's memory map")?;
        let name = self.envoy.to_str().context("the path of Envoy is not UTF-8")?;
        let mappings = mappings(&maps, name);
        let start = mappings.iter().map(|(_, range)| range.start).min();
        let code = mappings.into_iter().find(|(executable, _)| *executable);
        let (start, (_, code)) =
            start.zip(code).with_context(|| format!("{name} is not in the memory of process {pid}"))?;
        Ok(Binary { code, allocator: start + self.allocator.start..start + self.allocator.end })
    }

    /// Measures one configuration, and verifies its counts.
    pub(crate) async fn measure(&self, config: &EnvoyConfig, case: &BenchCase) -> Result<Instructions> {
        let folder = tempfile::tempdir().context("cannot create a folder for callgrind")?;
        let options = EnvoyOptions {
            arguments: vec!["--log-level".into(), "warn".into()],
            launcher: launcher(folder.path()),
            ready_limit: READY_LIMIT,
            ..EnvoyOptions::workers(1)
        };
        let envoy = Envoy::start(config, &options).await?;
        let mut session = Session { callgrind: self, envoy, case: *case, folder, dumps: 0 };
        let costs = session.run().await?;
        verify::verify(case, session.envoy.admin()).await?;
        session.envoy.kill().await?;
        Ok(summary(&costs))
    }
}

impl Session<'_> {
    /// Runs pairs of a short and a long load, and returns the costs of each pair.
    async fn run(&mut self) -> Result<Vec<(Threads, Threads)>> {
        self.load(WARM).await?;
        self.control(&["instrumentation", "on"]).await?;
        // The first counted load is discarded, because valgrind translates all code again during this load.
        // Its dump resets the counts.
        self.cost_of(SHORT).await?;
        let mut pairs = Vec::new();
        for _ in 0..PAIRS {
            pairs.push((self.cost_of(SHORT).await?, self.cost_of(LONG).await?));
        }
        Ok(pairs)
    }

    async fn cost_of(&mut self, requests: u64) -> Result<Threads> {
        self.load(requests).await?;
        self.control(&["dump"]).await?;
        self.dumps += 1;
        let prefix = format!("out.{}-", self.dumps);
        let pid = self.envoy.id().context("Envoy has exited")?;
        let binary = self.callgrind.in_memory(pid)?;
        let mut threads = Threads::new();
        for entry in fs::read_dir(self.folder.path())? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(thread) = name.strip_prefix(&prefix) else { continue };
            let text = String::from_utf8_lossy(&fs::read(entry.path())?).into_owned();
            let cost = profile::read(&text, &binary).with_context(|| format!("callgrind's file {name}"))?;
            threads.insert(thread.to_owned(), cost);
        }
        ensure!(
            sum(&threads).allocator > 0,
            "callgrind found no allocator: {} is a different build of Envoy",
            self.callgrind.envoy.display()
        );
        Ok(threads)
    }

    async fn load(&self, requests: u64) -> Result<()> {
        let mut shape = Shape::get("bench", "/").header(HEADER.0, HEADER.1);
        if self.case.is_tcp() {
            // The client opens one connection per request.
            shape = shape.header("connection", "close");
        }
        let target = self.envoy.listener(case::LISTENER)?;
        let load =
            Load { connections: 1, limit: LOAD_LIMIT, ..Load::new(target, requests, Mix::new(1, [shape])?) };
        let tally = load.run(|_| ()).await?;
        ensure!(
            tally.failed() == 0,
            "a request failed: {}",
            tally.first_failure.as_deref().unwrap_or_default()
        );
        ensure!(tally.answered_in_class(2) == requests, "not every request was answered with 2xx");
        if self.case.method == CountingMethod::LogStream {
            // Waits for a flush of the access log, because the records in its buffer belong to this load.
            tokio::time::sleep(LOG_FLUSH).await;
        }
        Ok(())
    }

    async fn control(&self, words: &[&str]) -> Result<()> {
        let pid = self.envoy.id().context("Envoy has exited")?;
        let mut command = Command::new("vgdb");
        command.arg(format!("--pid={pid}")).args(words);
        tokio::task::spawn_blocking(move || process::capture(&mut command, CONTROL_LIMIT)).await?.map(drop)
    }
}

fn launcher(folder: &Path) -> Vec<OsString> {
    let out = format!("--callgrind-out-file={}", folder.join("out").display());
    // V8 writes code at run time, so valgrind has to notice changed code.
    let words = "valgrind --tool=callgrind --smc-check=all-non-file --instr-atstart=no --separate-threads=yes \
                 --dump-instr=yes --dump-line=no --compress-pos=no";
    words.split(' ').chain([out.as_str()]).map(OsString::from).collect()
}

/// Returns the addresses of the allocator's code in Envoy's binary, relative to the file.
fn allocator_section(envoy: &Path) -> Result<Range<u64>> {
    let bytes = fs::read(envoy).with_context(|| format!("cannot read {}", envoy.display()))?;
    let file = object::File::parse(bytes.as_slice()).with_context(|| format!("{}", envoy.display()))?;
    let sections = ALLOCATOR_SECTIONS.iter().filter_map(|name| file.section_by_name(name));
    let range = |section: object::Section<'_, '_>| section.address()..section.address() + section.size();
    let both = sections.map(range).reduce(|a, b| a.start.min(b.start)..a.end.max(b.end));
    let names = ALLOCATOR_SECTIONS.join(" or ");
    both.with_context(|| format!("cannot find the allocator: {} has no section {names}", envoy.display()))
}

/// Returns the mappings of a file in a process's memory map: for each, whether it is executable, and its
/// addresses.
fn mappings<'a>(maps: &'a str, file: &str) -> Vec<(bool, Range<u64>)> {
    let parse = |line: &'a str| {
        let mut words = line.split_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let executable = words.next()?.contains('x');
        Some((executable, u64::from_str_radix(start, 16).ok()?..u64::from_str_radix(end, 16).ok()?))
    };
    maps.lines().filter(|line| line.ends_with(file)).filter_map(parse).collect()
}

fn sum(threads: &Threads) -> Cost {
    threads.values().fold(Cost::default(), |sum, cost| sum.plus(cost))
}

fn summary(pairs: &[(Threads, Threads)]) -> Instructions {
    let slope = |of: &dyn Fn(&Threads) -> u64| {
        let slopes = pairs.iter().map(|(short, long)| per_request(of(short), of(long)));
        Spread::of(slopes.collect())
    };
    Instructions {
        total: slope(&|threads| sum(threads).without_allocator()),
        generated: slope(&|threads| sum(threads).generated),
        main: slope(&|threads| threads.get(MAIN_THREAD).map_or(0, Cost::without_allocator)),
        allocator: slope(&|threads| sum(threads).allocator),
    }
}

/// Returns the instructions of one additional request, given the costs of a short and a long load.
fn per_request(short: u64, long: u64) -> f64 {
    (to_f64(long) - to_f64(short)) / to_f64(LONG - SHORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_of_a_request_is_the_slope_between_two_loads() {
        let threads = |worker, main| {
            let cost = |other| Cost { other, allocator: 7, ..Cost::default() };
            Threads::from([("06".to_owned(), cost(worker)), (MAIN_THREAD.to_owned(), cost(main))])
        };
        // 5,000 for the connection, 300 for each request on the worker, and 10 on the main thread.
        let pair = (threads(5_000 + 300 * SHORT, 10 * SHORT), threads(5_000 + 300 * LONG, 10 * LONG));
        let instructions = summary(&[pair]);
        assert_eq!(instructions.total.median, 310.0);
        assert_eq!(instructions.main.median, 10.0);
        assert_eq!(instructions.allocator.median, 0.0);
    }
}
