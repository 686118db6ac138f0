//! Progress of long activities on the standard error: a spinner or bar on a terminal, plain lines elsewhere.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const TICK: Duration = Duration::from_millis(100);
/// Lines that a [`Counter`] prints without a terminal.
const PLAIN_LINES: u64 = 10;

/// A long activity, perhaps of several steps; dropping it ends it and prints its duration.
pub(crate) struct Activity {
    bar: ProgressBar,
    name: String,
    started: Instant,
}

/// An activity whose progress is a number; dropping it ends it.
pub(crate) struct Counter {
    bar: Option<ProgressBar>,
    total: u64,
    unit: &'static str,
    lines: u64,
}

impl Activity {
    /// Announces an activity, such as "installing binaryen".
    pub(crate) fn start(name: impl Into<String>) -> Self {
        let name = name.into();
        let bar = ProgressBar::new_spinner();
        if stderr().is_terminal() {
            bar.set_message(name.clone());
            bar.enable_steady_tick(TICK);
        } else {
            eprintln!("{name} ...");
        }
        Self { bar, name, started: Instant::now() }
    }

    /// Announces an activity of `count` steps, such as "counting instructions".
    pub(crate) fn with_steps(name: &str, count: usize) -> Self {
        let bar = ProgressBar::new(count.try_into().unwrap_or(u64::MAX));
        if stderr().is_terminal() {
            if let Ok(style) = ProgressStyle::with_template("{msg} {bar:40} {pos}/{len} {elapsed}") {
                bar.set_style(style);
            }
            bar.set_message(name.to_owned());
            bar.enable_steady_tick(TICK);
        } else {
            bar.set_draw_target(ProgressDrawTarget::hidden());
            eprintln!("{name}: {count} steps ...");
        }
        Self { bar, name: name.to_owned(), started: Instant::now() }
    }

    /// Completes a step and prints its result.
    pub(crate) fn step_done(&self, result: &str) {
        self.bar.inc(1);
        self.bar.suspend(|| eprintln!("  {result}"));
    }
}

impl Counter {
    /// Starts at 0 of `total` units.
    pub(crate) fn start(total: u64, unit: &'static str) -> Self {
        let bar = stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(total);
            let template =
                format!("{{bar:40}} {{human_pos}}/{{human_len}} {unit}, {{msg}}{{per_sec}}, {{eta}} left");
            let style = ProgressStyle::with_template(&template);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Self { bar, total, unit, lines: 0 }
    }

    /// Shows how many units are done, with a message, which may be empty.
    pub(crate) fn update(&mut self, done: u64, message: &str) {
        let comma = if message.is_empty() { "" } else { ", " };
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{message}{comma}"));
            bar.set_position(done);
            return;
        }
        let lines = (u128::from(done) * u128::from(PLAIN_LINES)).checked_div(u128::from(self.total));
        let lines = lines.and_then(|lines| u64::try_from(lines).ok()).unwrap_or_default();
        if lines > self.lines {
            self.lines = lines;
            eprintln!("{done} of {} {}{comma}{message}", self.total, self.unit);
        }
    }
}

impl Drop for Activity {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        eprintln!("{} ({:.1} s)", self.name, self.started.elapsed().as_secs_f64());
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
