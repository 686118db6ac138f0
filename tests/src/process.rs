//! A server program as a child process, with its log in a file.

use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::poll::{self, Seen};
use crate::repository;

/// The number of bytes at the end of the log that an error message shows.
const LOG_TAIL_BYTES: usize = 4096;

/// A running server program; dropping it kills it.
#[derive(Debug)]
pub struct ServerProcess {
    name: String,
    child: Child,
    directory: TempDir,
}

impl ServerProcess {
    /// Starts `program` in the root of the repository, with both of its outputs redirected to the file `log`
    /// in `directory`.
    ///
    /// The directory belongs to this process and is removed when this value is dropped. The configuration
    /// and data of the program can be in it, too.
    pub fn spawn<A: AsRef<OsStr>>(
        name: &str,
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
        directory: TempDir,
    ) -> Result<Self> {
        let log = File::create(directory.path().join("log"))?;
        let child = Command::new(program)
            .args(arguments)
            .current_dir(repository::root())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {name}, {}", program.display()))?;
        Ok(Self { name: name.to_owned(), child, directory })
    }

    /// Returns the process id; `None` once the process has ended.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Returns the directory of this process.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Reads everything that the program has written so far.
    pub fn log(&self) -> Result<String> {
        let bytes = std::fs::read(self.directory.path().join("log")).context("cannot read a server's log")?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Reads the end of the log, at most 4 KiB, to show in an error.
    pub fn log_tail(&self) -> String {
        let log = self.log().unwrap_or_else(|error| format!("({error:#})"));
        let mut start = log.len().saturating_sub(LOG_TAIL_BYTES);
        while !log.is_char_boundary(start) {
            start += 1;
        }
        log.get(start..).unwrap_or_default().to_owned()
    }

    /// Returns whether the log contains `text`.
    pub fn log_contains(&self, text: &str) -> Result<bool> {
        Ok(self.log()?.contains(text))
    }

    /// Waits until a line of the log contains `text`, and returns this line. Fails if the process ends
    /// before that.
    pub async fn wait_for_log(&mut self, text: &str, limit: Duration) -> Result<String> {
        let what = format!("a line with {text:?} in the log of {}", self.name);
        poll::until(&what, limit, async || {
            // Checks whether the process has ended before it reads the log: then the log of an ended
            // process is complete.
            let ended = self.child.try_wait()?;
            if let Some(line) = self.log()?.lines().find(|line| line.contains(text)) {
                return Ok(Seen::Ready(line.to_owned()));
            }
            match ended {
                Some(status) => bail!("{}", self.ended_early(status)),
                None => Ok(Seen::Pending(format!("the log's end:\n{}", self.log_tail()))),
            }
        })
        .await
    }

    /// Waits until `probe` is ready. Fails if the process ends before that.
    pub async fn wait_until_ready<T>(
        &mut self,
        limit: Duration,
        mut probe: impl AsyncFnMut() -> Result<Seen<T>>,
    ) -> Result<T> {
        let what = format!("{} to be ready", self.name);
        let ready = poll::until(&what, limit, async || match self.child.try_wait()? {
            Some(status) => bail!("{}", self.ended_early(status)),
            None => probe().await,
        })
        .await;
        match ready {
            Err(error) if self.child.id().is_some() => {
                let tail = self.log_tail();
                Err(error.context(format!("{} did not start; the end of its log:\n{tail}", self.name)))
            }
            other => other,
        }
    }

    /// Waits until the process ends by itself.
    pub async fn wait_for_exit(&mut self, limit: Duration) -> Result<ExitStatus> {
        match tokio::time::timeout(limit, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => bail!(
                "{} still runs after {:.1} s; the end of its log:\n{}",
                self.name,
                limit.as_secs_f64(),
                self.log_tail()
            ),
        }
    }

    /// Returns the resident memory of the process in bytes, on Linux.
    pub fn resident_bytes(&self) -> Result<u64> {
        let id = self.child.id().with_context(|| format!("{} has ended", self.name))?;
        let file = format!("/proc/{id}/status");
        let status = std::fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        Ok(kib.with_context(|| format!("{file} has no VmRSS"))? * 1024)
    }

    /// Sends SIGTERM and waits until the process has ended.
    pub async fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(rustix::process::Signal::TERM)?;
        self.wait_for_exit(limit).await
    }

    /// Stops the process for a time with SIGSTOP, and continues it.
    pub async fn suspend(&self, time: Duration) -> Result<()> {
        self.signal(rustix::process::Signal::STOP)?;
        tokio::time::sleep(time).await;
        self.signal(rustix::process::Signal::CONT)
    }

    /// Sends SIGKILL and waits until the process is gone.
    pub async fn kill(&mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    fn signal(&self, signal: rustix::process::Signal) -> Result<()> {
        // A process without an id has already ended. This is no error, because the purpose of the signal is
        // to end it.
        let Some(id) = self.child.id() else { return Ok(()) };
        let pid = rustix::process::Pid::from_raw(id.try_into()?);
        let pid = pid.with_context(|| format!("{} has no process id", self.name))?;
        Ok(rustix::process::kill_process(pid, signal)?)
    }

    fn ended_early(&self, status: ExitStatus) -> String {
        format!("{} ended early ({status}); the end of its log:\n{}", self.name, self.log_tail())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> ServerProcess {
        ServerProcess::spawn("a shell", Path::new("/bin/sh"), ["-c", script], tempfile::tempdir().unwrap())
            .unwrap()
    }

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn an_early_end_is_an_error_with_the_end_of_the_log() {
        let mut process = shell("echo 'port is taken' >&2; exit 3");
        let ready = process.wait_until_ready::<()>(LIMIT, async || Ok(Seen::Pending("no answer".into())));
        let error = format!("{:#}", ready.await.unwrap_err());
        assert!(error.contains("exit status: 3") && error.contains("port is taken"), "{error}");
    }

    #[tokio::test]
    async fn a_process_that_is_never_ready_shows_its_log() {
        let mut process = shell("echo starting; exec tail -f /dev/null");
        process.wait_for_log("starting", LIMIT).await.unwrap();
        let limit = Duration::from_millis(20);
        let ready = process.wait_until_ready::<()>(limit, async || Ok(Seen::Pending("no answer".into())));
        let error = format!("{:#}", ready.await.unwrap_err());
        assert!(error.contains("starting") && error.contains("no answer"), "{error}");
    }

    #[tokio::test]
    async fn terminate_gives_back_the_exit_status() {
        let script = "tail -f /dev/null & trap \"kill $!; echo bye; exit 7\" TERM; echo up; wait";
        let mut process = shell(script);
        process.wait_for_log("up", LIMIT).await.unwrap();
        let status = process.terminate(LIMIT).await.unwrap();
        assert_eq!(status.code(), Some(7));
        assert!(process.log_contains("bye").unwrap());
    }

    #[tokio::test]
    async fn waiting_for_a_line_ends_with_the_process() {
        let mut process = shell("echo one");
        let error = process.wait_for_log("two", LIMIT).await.unwrap_err().to_string();
        assert!(error.contains("ended early") && error.contains("one"), "{error}");
    }
}
