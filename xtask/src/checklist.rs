//! A sequence of independent checks. Each check is announced and timed. All checks run, even if one fails.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

/// The checks that ran so far.
pub(crate) struct Checklist {
    /// The outcome of each check, as printed.
    lines: Vec<String>,
    /// The names of the checks that failed, with their errors.
    failed: Vec<(String, String)>,
    started: Instant,
}

impl Checklist {
    pub(crate) fn new() -> Self {
        Self { lines: Vec::new(), failed: Vec::new(), started: Instant::now() }
    }

    /// Runs a check and returns its value, or `None` after printing its error.
    pub(crate) fn run<T>(&mut self, name: &str, check: impl FnOnce() -> Result<T>) -> Option<T> {
        println!("\n==> {name}");
        let started = Instant::now();
        let result = check();
        let elapsed = started.elapsed();
        let (outcome, value) = match result {
            Ok(value) => ("ok", Some(value)),
            Err(error) => {
                println!("error: {error:#}");
                self.failed.push((name.to_owned(), format!("{error:#}")));
                ("FAILED", None)
            }
        };
        let line = line(outcome, elapsed, name);
        println!("<== {line}");
        self.lines.push(line);
        value
    }

    /// Records a check that cannot run, which does not count as failed.
    pub(crate) fn skip(&mut self, name: &str, reason: &str) {
        self.lines.push(line("skipped", Duration::ZERO, &format!("{name} ({reason})")));
    }

    /// Prints the errors, then one line for each check. If a check failed, returns an error that names
    /// all failed checks.
    pub(crate) fn finish(self) -> Result<()> {
        print!("\n{}", self.summary());
        let failed: Vec<_> = self.failed.iter().map(|(name, _)| name.as_str()).collect();
        let count = failed.len();
        ensure!(count == 0, "{count} of {} failed: {}", self.lines.len(), failed.join(", "));
        Ok(())
    }

    fn summary(&self) -> String {
        let errors: String = self.failed.iter().map(|(name, error)| format!("{name}: {error}\n\n")).collect();
        let lines: String = self.lines.iter().map(|line| format!("{line}\n")).collect();
        format!("{errors}{lines}{}\n", line("total", self.started.elapsed(), "").trim_end())
    }
}

fn line(outcome: &str, elapsed: Duration, name: &str) -> String {
    format!("{outcome:<8}{:>7.1} s  {name}", elapsed.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

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
