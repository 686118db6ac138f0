//! CPU time per request of a real Envoy, by thread, and its memory.
//!
//! All subjects run at once, idle but for the one whose only worker wrk keeps busy, each in turn, round after round. A
//! machine's speed drifts: so a subject is compared with the empty Envoy of its own round.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use tributary_tests::config::EnvoyConfig;
use tributary_tests::envoy::{Envoy, EnvoyOptions};

use super::metric_set::HEADER;
use super::proof;
use super::statistic::real;
use super::subject::Subject;
use crate::debian;
use crate::process;

const WARM_S: u64 = 1;
const MEASURED_S: u64 = 1;
const CONNECTIONS: u32 = 16;
const LIMIT: Duration = Duration::from_secs(60);
/// How Envoy names its workers' threads, as far as Linux keeps names.
const WORKER_THREAD: &str = "wrk:worker";

/// One measurement of one subject.
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

/// Nanoseconds on a CPU so far, of all workers and of the main thread.
pub(super) struct Spent {
    pub(super) worker_ns: u64,
    pub(super) main_ns: u64,
}

/// Makes sure that wrk is here.
pub(crate) fn find_generator() -> Result<()> {
    if which::which("wrk").is_ok() {
        return Ok(());
    }
    debian::ensure(&["wrk"])
        .context("CPU time is measured under load from wrk: install it with `sudo apt-get install wrk`")
}

impl Session {
    /// Starts an Envoy of one worker, and lets its compilers see what is hot.
    pub(crate) async fn start(config: &EnvoyConfig, listener: &str) -> Result<Self> {
        let options =
            EnvoyOptions { arguments: vec!["--log-level".into(), "warn".into()], ..EnvoyOptions::workers(1) };
        let mut envoy = Envoy::start(config, &options).await?;
        let (target, pid) = (envoy.listener(listener)?, envoy.process().id().context("Envoy has ended")?);
        load(target, WARM_S, None).await?;
        Ok(Self { envoy, target, pid })
    }

    /// Where it listens.
    pub(crate) fn target(&self) -> SocketAddr {
        self.target
    }

    /// Fails unless the subject counted everything so far.
    pub(crate) async fn check(&self, subject: &Subject) -> Result<()> {
        proof::check(subject, self.envoy.admin()).await
    }

    /// Measures under a load that saturates the worker.
    pub(crate) async fn measure(&self) -> Result<CpuTime> {
        let before = Spent::read(self.pid)?;
        let requests = load(self.target, MEASURED_S, None).await?;
        let spent = Spent::read(self.pid)?.since(&before);
        let us_per_request = |ns: u64| real(ns) / 1_000.0 / real(requests);
        Ok(CpuTime {
            worker_us: us_per_request(spent.worker_ns),
            main_us: us_per_request(spent.main_ns),
            rss_mib: rss_mib(self.pid)?,
            requests_per_s: real(requests) / real(MEASURED_S),
        })
    }
}

/// Sends as many requests as it can for so long, and says how many were answered. A script of wrk may say which.
pub(super) async fn load(target: SocketAddr, seconds: u64, script: Option<&Path>) -> Result<u64> {
    let mut wrk = Command::new("wrk");
    wrk.arg("--threads=1").arg(format!("--connections={CONNECTIONS}")).arg(format!("--duration={seconds}s"));
    script.map(|script| wrk.arg("--script").arg(script));
    wrk.arg("--header").arg(format!("{}: {}", HEADER.0, HEADER.1)).arg(format!("http://{target}/"));
    let said = tokio::task::spawn_blocking(move || process::quietly(&mut wrk, LIMIT)).await??;
    requests(&said)
}

/// The number of requests in what wrk says.
fn requests(said: &str) -> Result<u64> {
    let failed = said.lines().find(|line| line.contains("Socket errors") || line.contains("Non-2xx"));
    if let Some(line) = failed {
        anyhow::bail!("wrk says: {}", line.trim());
    }
    let line = said.lines().find_map(|line| line.trim().split_once(" requests in "));
    let number = line.and_then(|(number, _)| number.parse().ok());
    number.with_context(|| format!("wrk says no number of requests:\n{said}"))
}

impl Spent {
    /// What was spent since an earlier reading.
    pub(super) fn since(&self, before: &Self) -> Self {
        Self {
            worker_ns: self.worker_ns.saturating_sub(before.worker_ns),
            main_ns: self.main_ns.saturating_sub(before.main_ns),
        }
    }

    pub(super) fn read(pid: u32) -> Result<Self> {
        let mut spent = Self { worker_ns: 0, main_ns: 0 };
        for task in fs::read_dir(format!("/proc/{pid}/task")).context("Envoy has ended")? {
            let folder = task?.path();
            let read = |name: &str| fs::read_to_string(folder.join(name));
            // A thread may end meanwhile.
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

/// Resident memory.
pub(super) fn rss_mib(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("Envoy has ended")?;
    let kib =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
    Ok(real(kib.context("the system says no VmRSS")?) / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "Running 2s test @ http://127.0.0.1:1/\n  1 threads and 16 connections\n  Thread Stats   Avg\n\
        \u{20} 96012 requests in 2.00s, 11.08MB read\nRequests/sec:  48001.10\n";

    #[test]
    fn the_number_of_requests_is_read() {
        assert_eq!(requests(SAID).unwrap(), 96_012);
        assert!(requests("").is_err());
    }

    #[test]
    fn answers_that_are_errors_are_no_measurement() {
        let error = requests(&format!("{SAID}  Non-2xx or 3xx responses: 5\n")).unwrap_err();
        assert!(error.to_string().contains("Non-2xx or 3xx responses: 5"), "{error}");
    }

    #[test]
    fn a_process_has_memory_and_time_on_its_main_thread() {
        let pid = std::process::id();
        assert!(rss_mib(pid).unwrap() > 1.0);
        assert_eq!(Spent::read(pid).unwrap().worker_ns, 0);
    }
}
