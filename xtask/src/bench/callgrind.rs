//! Instructions per request of a real Envoy, counted by callgrind: the same from run to run on a busy machine.
//!
//! Counting begins when Envoy and its compilers are warm. The cost of a request is the slope between a short and a long
//! load, so that what does not belong to a request (connections, start and end of a load) is in no figure. Ticks,
//! hand-overs and the work of the service that fall into the long load are in it.

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
use tributary_tests::tools;

use super::metric_set::HEADER;
use super::profile::{self, Binary, Cost};
use super::proof;
use super::statistic::Spread;
use super::subject::{Subject, Way};
use crate::debian;
use crate::process;

/// Requests before anything is counted: enough for V8 to compile what is hot.
const WARM: u64 = 4_000;
const SHORT: u64 = 200;
const LONG: u64 = 2_200;
/// Pairs of a short and a long load.
const PAIRS: usize = 3;
const READY_LIMIT: Duration = Duration::from_secs(180);
/// More than the interval in which Envoy hands its log over.
const LOG_HELD_BACK: Duration = Duration::from_secs(2);
const LOAD_LIMIT: Duration = Duration::from_secs(300);
const CONTROL_LIMIT: Duration = Duration::from_secs(120);
/// The main thread's number in valgrind.
const MAIN_THREAD: &str = "01";
/// The sections of Envoy's binary that hold tcmalloc.
const ALLOCATOR_SECTIONS: [&str; 2] = ["google_malloc", "malloc_hook"];

/// The program, installed if need be.
pub(crate) struct Callgrind {
    envoy: PathBuf,
    allocator: Range<u64>,
}

/// Instructions per request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Instructions {
    /// Of all threads, without the allocator: the figure to compare.
    pub(crate) total: Spread,
    /// Of it in code that was generated at run time: compiled Wasm and Lua.
    pub(crate) generated: Spread,
    /// Of it on the main thread.
    pub(crate) main: Spread,
    /// In the allocator, which valgrind makes slower than it is.
    pub(crate) allocator: Spread,
}

/// What one load cost, by thread.
type Threads = BTreeMap<String, Cost>;

/// One Envoy under callgrind.
struct Session<'a> {
    callgrind: &'a Callgrind,
    envoy: Envoy,
    subject: Subject,
    folder: TempDir,
    dumps: usize,
}

/// Makes sure that valgrind is here.
pub(crate) fn find_valgrind() -> Result<()> {
    if which::which("valgrind").is_ok() && which::which("vgdb").is_ok() {
        return Ok(());
    }
    debian::ensure(&["valgrind"]).context(
        "instructions are counted by valgrind, which is not here: install it with \
         `sudo apt-get install valgrind`, or leave them out with --quick",
    )
}

impl Callgrind {
    /// Finds valgrind, installs it if need be and may be, and finds the allocator in Envoy's binary.
    pub(crate) async fn find() -> Result<Self> {
        find_valgrind()?;
        let envoy = fs::canonicalize(tools::envoy::binary().await?)?;
        let allocator = allocator_section(&envoy)?;
        Ok(Self { envoy, allocator })
    }

    /// Where this process has the binary.
    fn in_memory(&self, pid: u32) -> Result<Binary<'_>> {
        let maps =
            fs::read_to_string(format!("/proc/{pid}/maps")).context("cannot read Envoy's memory map")?;
        let name = self.envoy.to_str().context("the path of Envoy is not UTF-8")?;
        let mappings = mappings(&maps, name);
        let start = mappings.iter().map(|(_, range)| range.start).min();
        let code = mappings.into_iter().find(|(executable, _)| *executable);
        let (start, (_, code)) =
            start.zip(code).with_context(|| format!("{name} is not in the memory of process {pid}"))?;
        let allocator = start + self.allocator.start..start + self.allocator.end;
        Ok(Binary { name, code, allocator })
    }

    /// Measures one configuration of the subject's.
    pub(crate) async fn measure(&self, config: &EnvoyConfig, subject: &Subject) -> Result<Instructions> {
        let folder = tempfile::tempdir().context("cannot make a folder for callgrind")?;
        let options = EnvoyOptions {
            arguments: vec!["--log-level".into(), "warn".into()],
            launcher: launcher(folder.path()),
            ready_limit: READY_LIMIT,
            ..EnvoyOptions::workers(1)
        };
        let envoy = Envoy::start(config, &options).await?;
        let mut session = Session { callgrind: self, envoy, subject: *subject, folder, dumps: 0 };
        let mut measured = session.run().await;
        if measured.is_ok()
            && let Err(error) = proof::check(subject, session.envoy.admin()).await
        {
            measured = Err(error);
        }
        let ended = session.envoy.process().kill().await;
        let costs = measured?;
        ended?;
        Ok(summary(&costs))
    }
}

impl Session<'_> {
    /// The costs of short and long loads, in pairs.
    async fn run(&mut self) -> Result<Vec<(Threads, Threads)>> {
        self.load(WARM).await?;
        self.control(&["instrumentation", "on"]).await?;
        // The first counted load translates all code once more, and its dump starts the counts anew.
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
        let pid = self.envoy.process().id().context("Envoy has ended")?;
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
        let all = sum(&threads);
        ensure!(all.allocator > 0, "callgrind saw no allocator: is {} another kind of build?", binary.name);
        Ok(threads)
    }

    async fn load(&self, requests: u64) -> Result<()> {
        let mut shape = Shape::get("bench", "/").header(HEADER.0, HEADER.1);
        if self.subject.is_tcp() {
            // Each request is a connection of its own.
            shape = shape.header("connection", "close");
        }
        let target = self.envoy.listener(self.subject.listener())?;
        let load =
            Load { connections: 1, limit: LOAD_LIMIT, ..Load::new(target, requests, Mix::new(1, [shape])?) };
        let tally = load.run(|_| ()).await?;
        ensure!(tally.failed() == 0, "a request failed: {:?}", tally.first_failure);
        ensure!(tally.answered_in_class(2) == requests, "not every request was answered with 2xx");
        if self.subject.way == Way::LogStream {
            // What the log still holds back belongs to this load.
            tokio::time::sleep(LOG_HELD_BACK).await;
        }
        Ok(())
    }

    async fn control(&mut self, words: &[&str]) -> Result<()> {
        let pid = self.envoy.process().id().context("Envoy has ended")?;
        let mut command = Command::new("vgdb");
        command.arg(format!("--pid={pid}")).args(words);
        tokio::task::spawn_blocking(move || process::quietly(&mut command, CONTROL_LIMIT)).await?.map(drop)
    }
}

fn launcher(folder: &Path) -> Vec<OsString> {
    let mut out = OsString::from("--callgrind-out-file=");
    out.push(folder.join("out"));
    let words = [
        "valgrind",
        "--tool=callgrind",
        // V8 writes code at run time.
        "--smc-check=all-non-file",
        "--instr-atstart=no",
        "--separate-threads=yes",
        "--dump-instr=yes",
        "--dump-line=no",
        "--compress-pos=no",
    ];
    words.into_iter().map(OsString::from).chain([out]).collect()
}

/// The addresses of the allocator's code in Envoy's binary, as the file has them.
fn allocator_section(envoy: &Path) -> Result<Range<u64>> {
    let bytes = fs::read(envoy).with_context(|| format!("cannot read {}", envoy.display()))?;
    let file = object::File::parse(bytes.as_slice()).with_context(|| format!("{}", envoy.display()))?;
    let sections = ALLOCATOR_SECTIONS.iter().filter_map(|name| file.section_by_name(name));
    let ranges: Vec<_> =
        sections.map(|section| section.address()..section.address() + section.size()).collect();
    let start = ranges.iter().map(|range| range.start).min();
    let end = ranges.iter().map(|range| range.end).max();
    let both = start.zip(end).with_context(|| {
        format!(
            "{} has no section {}: which code is its allocator?",
            envoy.display(),
            ALLOCATOR_SECTIONS.join(" or ")
        )
    })?;
    Ok(both.0..both.1)
}

/// The parts of a file that are in a process's memory, by the lines of its map: what is executable or not, and where.
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

/// Instructions for one more request, from those of a short and a long load.
fn per_request(short: u64, long: u64) -> f64 {
    (super::statistic::real(long) - super::statistic::real(short)) / super::statistic::real(LONG - SHORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_costs_the_slope_between_two_loads() {
        let threads = |envoy, main| {
            let cost = |envoy| Cost { envoy, allocator: 7, ..Cost::default() };
            Threads::from([("06".to_owned(), cost(envoy)), (MAIN_THREAD.to_owned(), cost(main))])
        };
        // 5,000 for the connection, 300 for each request on the worker, and 10 on the main thread.
        let pair = (threads(5_000 + 300 * SHORT, 10 * SHORT), threads(5_000 + 300 * LONG, 10 * LONG));
        let instructions = summary(&[pair]);
        assert_eq!(instructions.total.median, 310.0);
        assert_eq!(instructions.main.median, 10.0);
        assert_eq!(instructions.allocator.median, 0.0);
    }
}
