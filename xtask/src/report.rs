//! A run of several parts: each is announced and timed, none keeps the next from running, the end says what failed.

use std::fmt::Write;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// The parts that ran so far.
pub(crate) struct Report {
    parts: Vec<Part>,
    started: Instant,
}

struct Part {
    name: String,
    outcome: Outcome,
    elapsed: Duration,
}

enum Outcome {
    Passed,
    Failed,
    /// Why it did not run.
    Skipped(String),
}

impl Report {
    pub(crate) fn new() -> Self {
        Self { parts: Vec::new(), started: Instant::now() }
    }

    /// Runs a part and gives what it made, or nothing if it failed; the failure is printed at once.
    pub(crate) fn run<T>(&mut self, name: &str, part: impl FnOnce() -> Result<T>) -> Option<T> {
        println!("\n==> {name}");
        let started = Instant::now();
        let result = part();
        let elapsed = started.elapsed();
        let (outcome, value) = match result {
            Ok(value) => (Outcome::Passed, Some(value)),
            Err(error) => {
                println!("error: {error:#}");
                (Outcome::Failed, None)
            }
        };
        let part = Part { name: name.to_owned(), outcome, elapsed };
        println!("<== {}", part.line());
        self.parts.push(part);
        value
    }

    /// Says that a part cannot run, which is no failure of its own.
    pub(crate) fn skip(&mut self, name: &str, why: &str) {
        let outcome = Outcome::Skipped(why.to_owned());
        self.parts.push(Part { name: name.to_owned(), outcome, elapsed: Duration::ZERO });
    }

    /// Prints one line for each part; an error names those that failed.
    pub(crate) fn finish(self) -> Result<()> {
        print!("\n{}", self.summary());
        let failed: Vec<_> = self
            .parts
            .iter()
            .filter(|part| matches!(part.outcome, Outcome::Failed))
            .map(|part| part.name.as_str())
            .collect();
        if !failed.is_empty() {
            bail!("{} of {} failed: {}", failed.len(), self.parts.len(), failed.join(", "));
        }
        Ok(())
    }

    fn summary(&self) -> String {
        let mut text = String::new();
        for part in &self.parts {
            text.push_str(&part.line());
            text.push('\n');
        }
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:<8}{:>7.1} s", "total", self.started.elapsed().as_secs_f64());
        text
    }
}

impl Part {
    fn line(&self) -> String {
        let time = format!("{:>7.1} s", self.elapsed.as_secs_f64());
        match &self.outcome {
            Outcome::Passed => format!("ok      {time}  {}", self.name),
            Outcome::Failed => format!("FAILED  {time}  {}", self.name),
            Outcome::Skipped(why) => format!("skipped {time}  {} ({why})", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_runs_and_the_error_names_those_that_failed() {
        let mut report = Report::new();
        assert!(report.run::<()>("first", || bail!("broken")).is_none());
        assert_eq!(report.run("second", || Ok(7)), Some(7));
        assert!(report.run::<()>("third", || bail!("broken too")).is_none());
        let summary = report.summary();
        let lines: Vec<_> = summary.lines().collect();
        assert_eq!(lines.len(), 4, "{lines:?}");
        assert!(lines[0].starts_with("FAILED") && lines[0].ends_with("first"), "{}", lines[0]);
        assert!(lines[1].starts_with("ok") && lines[1].ends_with("second"), "{}", lines[1]);
        assert_eq!(report.finish().unwrap_err().to_string(), "2 of 3 failed: first, third");
    }

    #[test]
    fn a_skipped_part_says_why_and_fails_nothing() {
        let mut report = Report::new();
        report.skip("clippy for Wasm", "no clippy here");
        assert!(report.summary().contains("clippy for Wasm (no clippy here)"));
        assert!(report.finish().is_ok());
    }
}
