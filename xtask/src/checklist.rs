//! A sequence of independent checks: each is announced and timed, and all run even if one fails.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// The checks that ran so far.
pub(crate) struct Checklist {
    checks: Vec<Check>,
    started: Instant,
}

struct Check {
    name: String,
    status: Status,
    elapsed: Duration,
}

enum Status {
    Passed,
    Failed,
    /// The reason why it did not run.
    Skipped(String),
}

impl Checklist {
    pub(crate) fn new() -> Self {
        Self { checks: Vec::new(), started: Instant::now() }
    }

    /// Runs a check and returns its value, or `None` after printing its error.
    pub(crate) fn run<T>(&mut self, name: &str, check: impl FnOnce() -> Result<T>) -> Option<T> {
        println!("\n==> {name}");
        let started = Instant::now();
        let result = check();
        let elapsed = started.elapsed();
        let (status, value) = match result {
            Ok(value) => (Status::Passed, Some(value)),
            Err(error) => {
                println!("error: {error:#}");
                (Status::Failed, None)
            }
        };
        let check = Check { name: name.to_owned(), status, elapsed };
        println!("<== {}", check.line());
        self.checks.push(check);
        value
    }

    /// Records a check that cannot run, which does not count as failed.
    pub(crate) fn skip(&mut self, name: &str, reason: &str) {
        let status = Status::Skipped(reason.to_owned());
        self.checks.push(Check { name: name.to_owned(), status, elapsed: Duration::ZERO });
    }

    /// Prints one line for each check; the error names those that failed.
    pub(crate) fn finish(self) -> Result<()> {
        print!("\n{}", self.summary());
        let failed = self.checks.iter().filter(|check| matches!(check.status, Status::Failed));
        let failed: Vec<_> = failed.map(|check| check.name.as_str()).collect();
        if !failed.is_empty() {
            bail!("{} of {} failed: {}", failed.len(), self.checks.len(), failed.join(", "));
        }
        Ok(())
    }

    fn summary(&self) -> String {
        let lines: String = self.checks.iter().map(|check| check.line() + "\n").collect();
        format!("{lines}{:<8}{:>7.1} s\n", "total", self.started.elapsed().as_secs_f64())
    }
}

impl Check {
    fn line(&self) -> String {
        let time = format!("{:>7.1} s", self.elapsed.as_secs_f64());
        match &self.status {
            Status::Passed => format!("ok      {time}  {}", self.name),
            Status::Failed => format!("FAILED  {time}  {}", self.name),
            Status::Skipped(reason) => format!("skipped {time}  {} ({reason})", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_runs_and_the_error_names_those_that_failed() {
        let mut checklist = Checklist::new();
        assert!(checklist.run::<()>("first", || bail!("broken")).is_none());
        assert_eq!(checklist.run("second", || Ok(7)), Some(7));
        assert!(checklist.run::<()>("third", || bail!("broken too")).is_none());
        let summary = checklist.summary();
        let lines: Vec<_> = summary.lines().collect();
        assert_eq!(lines.len(), 4, "{lines:?}");
        assert!(lines[0].starts_with("FAILED") && lines[0].ends_with("first"), "{}", lines[0]);
        assert!(lines[1].starts_with("ok") && lines[1].ends_with("second"), "{}", lines[1]);
        assert_eq!(checklist.finish().unwrap_err().to_string(), "2 of 3 failed: first, third");
    }

    #[test]
    fn a_skipped_check_has_a_reason_and_does_not_fail() {
        let mut checklist = Checklist::new();
        checklist.skip("clippy for Wasm", "no clippy here");
        assert!(checklist.summary().contains("clippy for Wasm (no clippy here)"));
        assert!(checklist.finish().is_ok());
    }
}
