//! CPU time per request of a real Envoy, by thread, and its memory.
//!
//! The Envoys of all cases run at once. In each round, wrk saturates the one worker of each in turn, while
//! the others are idle. The speed of a machine drifts, so a case is compared with the baseline of the same
//! round.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use tributary_tests::config::EnvoyConfig;
use tributary_tests::envoy::{Envoy, EnvoyOptions};
use tributary_tests::metrics::to_f64;

use super::case::BenchCase;
use super::metric_set::HEADER;
use super::verify;
use crate::debian;
use crate::process;

const WARM_S: u64 = 1;
const MEASURED_S: u64 = 1;
const CONNECTIONS: u32 = 16;
const LIMIT: Duration = Duration::from_secs(60);
/// The start of the names of Envoy's worker threads.
const WORKER_THREAD: &str = "wrk:worker";

/// One measurement of one case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CpuTime {
    /// Microseconds of the worker's thread per request.
    pub(crate) worker_us: f64,
    /// Microseconds of the main thread per request.
    pub(crate) main_us: f64,
    /// Resident memory after the load, in MiB.
    pub(crate) rss_mib: f64,
    pub(crate) requests_per_s: f64,
}

/// One running Envoy.
pub(crate) struct Session {
    envoy: Envoy,
    target: SocketAddr,
    pid: u32,
}

/// CPU time of all workers and of the main thread, in nanoseconds.
pub(super) struct ThreadTimes {
    pub(super) worker_ns: u64,
    pub(super) main_ns: u64,
}

/// Installs wrk unless it is present.
pub(crate) fn ensure_wrk() -> Result<()> {
    if which::which("wrk").is_ok() {
        return Ok(());
    }
    debian::ensure(&["wrk"])
        .context("measuring CPU time needs wrk: install it with `sudo apt-get install wrk`")
}

impl Session {
    /// Starts an Envoy with one worker and warms it up.
    pub(crate) async fn start(config: &EnvoyConfig, listener: &str) -> Result<Self> {
        let options =
            EnvoyOptions { arguments: vec!["--log-level".into(), "warn".into()], ..EnvoyOptions::workers(1) };
        let mut envoy = Envoy::start(config, &options).await?;
        let (target, pid) = (envoy.listener(listener)?, envoy.process().id().context("Envoy has exited")?);
        load(target, WARM_S, None).await?;
        Ok(Self { envoy, target, pid })
    }

    /// The address of its listener.
    pub(crate) fn target(&self) -> SocketAddr {
        self.target
    }

    /// Verifies that the case counted every request so far.
    pub(crate) async fn verify(&self, case: &BenchCase) -> Result<()> {
        verify::verify(case, self.envoy.admin()).await
    }

    /// Measures under a load that saturates the worker.
    pub(crate) async fn measure(&self) -> Result<CpuTime> {
        let before = ThreadTimes::read(self.pid)?;
        let requests = load(self.target, MEASURED_S, None).await?;
        let spent = ThreadTimes::read(self.pid)?.since(&before);
        let us_per_request = |ns: u64| to_f64(ns) / 1_000.0 / to_f64(requests);
        Ok(CpuTime {
            worker_us: us_per_request(spent.worker_ns),
            main_us: us_per_request(spent.main_ns),
            rss_mib: rss_mib(self.pid)?,
            requests_per_s: to_f64(requests) / to_f64(MEASURED_S),
        })
    }
}

/// Saturates a worker and returns the number of responses. A script of wrk may select the requests.
pub(super) async fn load(target: SocketAddr, seconds: u64, script: Option<&Path>) -> Result<u64> {
    let mut wrk = Command::new("wrk");
    wrk.arg("--threads=1").arg(format!("--connections={CONNECTIONS}")).arg(format!("--duration={seconds}s"));
    script.map(|script| wrk.arg("--script").arg(script));
    wrk.arg("--header").arg(format!("{}: {}", HEADER.0, HEADER.1)).arg(format!("http://{target}/"));
    let output = tokio::task::spawn_blocking(move || process::capture(&mut wrk, LIMIT)).await??;
    requests(&output)
}

/// The number of requests in wrk's output; failed requests are an error.
fn requests(output: &str) -> Result<u64> {
    let failed = output.lines().find(|line| line.contains("Socket errors") || line.contains("Non-2xx"));
    if let Some(line) = failed {
        anyhow::bail!("wrk reports: {}", line.trim());
    }
    let line = output.lines().find_map(|line| line.trim().split_once(" requests in "));
    let number = line.and_then(|(number, _)| number.parse().ok());
    number.with_context(|| format!("wrk reports no number of requests:\n{output}"))
}

impl ThreadTimes {
    /// The difference to an earlier reading.
    pub(super) fn since(&self, before: &Self) -> Self {
        Self {
            worker_ns: self.worker_ns.saturating_sub(before.worker_ns),
            main_ns: self.main_ns.saturating_sub(before.main_ns),
        }
    }

    pub(super) fn read(pid: u32) -> Result<Self> {
        let mut spent = Self { worker_ns: 0, main_ns: 0 };
        for task in fs::read_dir(format!("/proc/{pid}/task")).context("Envoy has exited")? {
            let folder = task?.path();
            let read = |name: &str| fs::read_to_string(folder.join(name));
            // The thread may have exited.
            let (Ok(name), Ok(schedstat)) = (read("comm"), read("schedstat")) else { continue };
            let ns = schedstat.split_whitespace().next().and_then(|ns| ns.parse::<u64>().ok());
            let ns = ns.with_context(|| format!("{} has no CPU time", folder.display()))?;
            if name.starts_with(WORKER_THREAD) {
                spent.worker_ns += ns;
            } else if folder.ends_with(pid.to_string()) {
                spent.main_ns += ns;
            }
        }
        Ok(spent)
    }
}

/// Resident memory of a process, in MiB.
pub(super) fn rss_mib(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("Envoy has exited")?;
    let kib =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
    Ok(to_f64(kib.context("/proc has no VmRSS of Envoy")?) / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "Running 2s test @ http://127.0.0.1:1/\n  1 threads and 16 connections\n  Thread Stats   Avg\n\
        \u{20} 96012 requests in 2.00s, 11.08MB read\nRequests/sec:  48001.10\n";

    #[test]
    fn the_number_of_requests_is_parsed() {
        assert_eq!(requests(OUTPUT).unwrap(), 96_012);
        assert!(requests("").is_err());
    }

    #[test]
    fn error_responses_are_an_error() {
        let error = requests(&format!("{OUTPUT}  Non-2xx or 3xx responses: 5\n")).unwrap_err();
        assert!(error.to_string().contains("Non-2xx or 3xx responses: 5"), "{error}");
    }

    #[test]
    fn a_process_has_memory_and_time_on_its_main_thread() {
        let pid = std::process::id();
        assert!(rss_mib(pid).unwrap() > 1.0);
        assert_eq!(ThreadTimes::read(pid).unwrap().worker_ns, 0);
    }
}
