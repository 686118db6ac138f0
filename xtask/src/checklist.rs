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
    /// The error.
    Failed(String),
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
                let error = format!("{error:#}");
                println!("error: {error}");
                (Status::Failed(error), None)
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

    /// Prints the errors, then one line for each check; the error names those that failed.
    pub(crate) fn finish(self) -> Result<()> {
        print!("\n{}", self.summary());
        let failed: Vec<_> = self.failed().map(|(name, _)| name).collect();
        if !failed.is_empty() {
            bail!("{} of {} failed: {}", failed.len(), self.checks.len(), failed.join(", "));
        }
        Ok(())
    }

    /// The names of the checks that failed, with their errors.
    fn failed(&self) -> impl Iterator<Item = (&str, &str)> {
        self.checks.iter().filter_map(|check| match &check.status {
            Status::Failed(error) => Some((check.name.as_str(), error.as_str())),
            Status::Passed | Status::Skipped(_) => None,
        })
    }

    fn summary(&self) -> String {
        let errors: String = self.failed().map(|(name, error)| format!("{name}: {error}\n\n")).collect();
        let lines: String = self.checks.iter().map(|check| check.line() + "\n").collect();
        format!("{errors}{lines}{:<8}{:>7.1} s\n", "total", self.started.elapsed().as_secs_f64())
    }
}

impl Check {
    fn line(&self) -> String {
        let time = format!("{:>7.1} s", self.elapsed.as_secs_f64());
        match &self.status {
            Status::Passed => format!("ok      {time}  {}", self.name),
            Status::Failed(_) => format!("FAILED  {time}  {}", self.name),
            Status::Skipped(reason) => format!("skipped {time}  {} ({reason})", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_runs_and_the_summary_repeats_what_failed() {
        let mut checklist = Checklist::new();
        assert!(checklist.run::<()>("first", || bail!("broken")).is_none());
        assert_eq!(checklist.run("second", || Ok(7)), Some(7));
        assert!(checklist.run::<()>("third", || bail!("broken too")).is_none());
        let summary = checklist.summary();
        let lines: Vec<_> = summary.lines().collect();
        assert_eq!(lines.len(), 8, "{lines:?}");
        assert_eq!(lines[..4], ["first: broken", "", "third: broken too", ""]);
        assert!(lines[4].starts_with("FAILED") && lines[4].ends_with("first"), "{}", lines[4]);
        assert!(lines[5].starts_with("ok") && lines[5].ends_with("second"), "{}", lines[5]);
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
