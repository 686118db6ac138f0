//! CPU time per request of a real Envoy, by thread, and its memory.
//!
//! The Envoys of all cases run at once. In each round, wrk saturates the one worker of each Envoy in turn,
//! while the other Envoys are idle. The speed of a machine drifts, so a case is compared with the
//! baseline of the same round.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tributary_tests::config::EnvoyConfig;
use tributary_tests::envoy::{Envoy, EnvoyOptions};
use tributary_tests::metrics::to_f64;

use super::case::{self, BenchCase};
use super::metric_set::HEADER;
use super::verify;
use crate::debian;
use crate::process;

const MIB: f64 = 1024.0 * 1024.0;
const CONNECTIONS: u32 = 16;
const LIMIT: Duration = Duration::from_secs(60);
/// The prefix of the names of Envoy's worker threads.
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
    pub(crate) envoy: Envoy,
    pub(crate) target: SocketAddr,
    /// A script of wrk that selects the requests.
    script: Option<PathBuf>,
}

/// Installs wrk if it is not installed.
pub(crate) fn ensure_wrk() -> Result<()> {
    debian::ensure_programs(&["wrk"], "wrk")
        .context("measuring CPU time needs wrk: install it with `sudo apt-get install wrk`")
}

impl Session {
    /// Starts an Envoy and warms it up for some seconds.
    pub(crate) async fn start(
        config: &EnvoyConfig,
        workers: u32,
        warm_s: u64,
        script: Option<PathBuf>,
    ) -> Result<Self> {
        let arguments = vec!["--log-level".into(), "warn".into()];
        let options = EnvoyOptions { arguments, ..EnvoyOptions::workers(workers) };
        let envoy = Envoy::start(config, &options).await?;
        let target = envoy.listener(case::LISTENER)?;
        let session = Self { envoy, target, script };
        session.load(warm_s).await?;
        Ok(session)
    }

    /// Verifies that the case counted every request so far.
    pub(crate) async fn verify(&self, case: &BenchCase) -> Result<()> {
        verify::verify(case, self.envoy.admin()).await
    }

    /// Measures for some seconds under a load that saturates the worker.
    pub(crate) async fn measure(&self, seconds: u64) -> Result<CpuTime> {
        let pid = self.envoy.id().context("Envoy has exited")?;
        let before = thread_ns(pid)?;
        let requests = self.load(seconds).await?;
        let after = thread_ns(pid)?;
        let us = |after: u64, before| to_f64(after.saturating_sub(before)) / 1_000.0 / to_f64(requests);
        Ok(CpuTime {
            worker_us: us(after.0, before.0),
            main_us: us(after.1, before.1),
            rss_mib: to_f64(self.envoy.resident_bytes()?) / MIB,
            requests_per_s: to_f64(requests) / to_f64(seconds),
        })
    }

    /// Saturates a worker and returns the number of responses.
    async fn load(&self, seconds: u64) -> Result<u64> {
        let mut wrk = Command::new("wrk");
        wrk.args(["--threads=1", &format!("--connections={CONNECTIONS}"), &format!("--duration={seconds}s")]);
        if let Some(script) = &self.script {
            wrk.arg("--script").arg(script);
        }
        wrk.args(["--header", &format!("{}: {}", HEADER.0, HEADER.1), &format!("http://{}/", self.target)]);
        let output = tokio::task::spawn_blocking(move || process::capture(&mut wrk, LIMIT)).await??;
        requests(&output)
    }
}

/// Returns the number of requests in wrk's output. Failed requests are an error.
fn requests(output: &str) -> Result<u64> {
    let failed = output.lines().find(|line| line.contains("Socket errors") || line.contains("Non-2xx"));
    ensure!(failed.is_none(), "wrk reports: {}", failed.unwrap_or_default().trim());
    let line = output.lines().find_map(|line| line.trim().split_once(" requests in "));
    let number = line.and_then(|(number, _)| number.parse().ok());
    number.with_context(|| format!("wrk reports no number of requests:\n{output}"))
}

/// Returns the CPU time of all workers, and that of the main thread, in nanoseconds.
fn thread_ns(pid: u32) -> Result<(u64, u64)> {
    let (mut workers, mut main) = (0, 0);
    for task in fs::read_dir(format!("/proc/{pid}/task")).context("Envoy has exited")? {
        let folder = task?.path();
        let read = |name: &str| fs::read_to_string(folder.join(name));
        // Reading fails if the thread has exited.
        let (Ok(name), Ok(schedstat)) = (read("comm"), read("schedstat")) else { continue };
        let ns = schedstat.split_whitespace().next().and_then(|ns| ns.parse::<u64>().ok());
        let ns = ns.with_context(|| format!("{} has no CPU time", folder.display()))?;
        if name.starts_with(WORKER_THREAD) {
            workers += ns;
        } else if folder.ends_with(pid.to_string()) {
            main += ns;
        }
    }
    Ok((workers, main))
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
    fn a_process_without_workers_has_no_time_of_workers() {
        assert_eq!(thread_ns(std::process::id()).unwrap().0, 0);
    }
}
