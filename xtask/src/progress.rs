//! Progress of long activities on the standard error: a spinner or bar on a terminal, plain lines elsewhere.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

const TICK: Duration = Duration::from_millis(100);
/// The number of lines that a [`ProgressCounter`] prints without a terminal.
const PLAIN_LINES: u64 = 10;

/// A long activity, which may have several steps. Dropping this value ends the activity and prints its
/// duration.
pub(crate) struct Activity {
    bar: ProgressBar,
    name: String,
    started: Instant,
}

/// An activity whose progress is a number. Dropping this value ends the activity.
pub(crate) struct ProgressCounter {
    bar: ProgressBar,
    total: u64,
    unit: &'static str,
    lines: u64,
}

impl Activity {
    /// Announces an activity, such as "installing binaryen".
    pub(crate) fn start(name: impl Into<String>) -> Self {
        Self::announce(ProgressBar::new_spinner(), name.into(), "")
    }

    /// Announces an activity of `count` steps, such as "counting instructions".
    pub(crate) fn with_steps(name: &str, count: usize) -> Self {
        let style = style("{msg} {bar:40} {pos}/{len} {elapsed}");
        let bar = ProgressBar::new(count.try_into().unwrap_or(u64::MAX)).with_style(style);
        Self::announce(bar, name.to_owned(), &format!(": {count} steps"))
    }

    fn announce(bar: ProgressBar, name: String, steps: &str) -> Self {
        if bar.is_hidden() {
            eprintln!("{name}{steps} ...");
        } else {
            bar.set_message(name.clone());
            bar.enable_steady_tick(TICK);
        }
        Self { bar, name, started: Instant::now() }
    }

    /// Completes a step and prints its result.
    pub(crate) fn step_done(&self, result: &str) {
        self.bar.inc(1);
        self.bar.suspend(|| eprintln!("  {result}"));
    }
}

impl ProgressCounter {
    /// Starts an activity at 0 of `total` units.
    pub(crate) fn start(total: u64, unit: &'static str) -> Self {
        let template = "{bar:40} {human_pos}/{human_len} UNIT, {msg}{per_sec}, {eta} left";
        let bar = ProgressBar::new(total).with_style(style(&template.replace("UNIT", unit)));
        Self { bar, total, unit, lines: 0 }
    }

    /// Shows how many units are done, with a message, which may be empty.
    pub(crate) fn update(&mut self, done: u64, message: &str) {
        let comma = if message.is_empty() { "" } else { ", " };
        self.bar.set_message(format!("{message}{comma}"));
        self.bar.set_position(done);
        let lines = done.saturating_mul(PLAIN_LINES) / self.total.max(1);
        if self.bar.is_hidden() && lines > self.lines {
            self.lines = lines;
            eprintln!("{done} of {} {}{comma}{message}", self.total, self.unit);
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Drop for Activity {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        eprintln!("{} ({:.1} s)", self.name, self.started.elapsed().as_secs_f64());
    }
}

impl Drop for ProgressCounter {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
