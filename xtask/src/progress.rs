//! Shows that something long and quiet is under way: a spinner on a terminal, plain lines elsewhere.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const TICK: Duration = Duration::from_millis(100);

/// Without a terminal, a line is printed at each of so many equal parts.
const PLAIN_LINES: u64 = 10;

/// One long activity; it is over when this is dropped.
pub(crate) struct Progress {
    bar: ProgressBar,
    message: String,
    started: Instant,
}

/// Several activities of one kind, each reported when it is done; they are over when this is dropped.
pub(crate) struct Steps {
    bar: ProgressBar,
    message: String,
    started: Instant,
}

/// How far something is that can be counted: a bar on a terminal, plain lines elsewhere.
pub(crate) struct Count {
    bar: Option<ProgressBar>,
    total: u64,
    unit: &'static str,
    lines: u64,
}

impl Progress {
    /// Announces an activity, as in "installing binaryen".
    pub(crate) fn start(message: impl Into<String>) -> Self {
        let message = message.into();
        let bar = ProgressBar::new_spinner();
        if stderr().is_terminal() {
            bar.set_message(message.clone());
            bar.enable_steady_tick(TICK);
        } else {
            eprintln!("{message} ...");
        }
        Self { bar, message, started: Instant::now() }
    }
}

impl Steps {
    /// Announces so many activities, as in "counting instructions".
    pub(crate) fn start(message: &str, count: usize) -> Self {
        let bar = ProgressBar::new(count.try_into().unwrap_or(u64::MAX));
        if stderr().is_terminal() {
            if let Ok(style) = ProgressStyle::with_template("{msg} {bar:40} {pos}/{len} {elapsed}") {
                bar.set_style(style);
            }
            bar.set_message(message.to_owned());
            bar.enable_steady_tick(TICK);
        } else {
            bar.set_draw_target(ProgressDrawTarget::hidden());
            eprintln!("{message}: {count} to go ...");
        }
        Self { bar, message: message.to_owned(), started: Instant::now() }
    }

    /// One of them is done; `line` says with what result.
    pub(crate) fn done(&self, line: &str) {
        self.bar.inc(1);
        self.bar.suspend(|| eprintln!("  {line}"));
    }
}

impl Count {
    /// Begins to show how many of `total` are done.
    pub(crate) fn start(total: u64, unit: &'static str) -> Self {
        let bar = stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(total);
            let template =
                format!("{{bar:40}} {{human_pos}}/{{human_len}} {unit}, {{msg}}{{per_sec}}, {{eta}} left");
            bar.set_style(
                ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            bar
        });
        Self { bar, total, unit, lines: 0 }
    }

    /// So many are done.
    pub(crate) fn set(&mut self, done: u64) {
        self.say(done, "");
    }

    /// So many are done, and how it goes.
    pub(crate) fn say(&mut self, done: u64, message: &str) {
        let gap = if message.is_empty() { "" } else { ", " };
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{message}{gap}"));
            bar.set_position(done);
            return;
        }
        let lines = (u128::from(done) * u128::from(PLAIN_LINES)).checked_div(u128::from(self.total));
        let lines = lines.and_then(|lines| u64::try_from(lines).ok()).unwrap_or_default();
        if lines > self.lines {
            self.lines = lines;
            eprintln!("{done} of {} {}{gap}{message}", self.total, self.unit);
        }
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        eprintln!("{} ({:.1} s)", self.message, self.started.elapsed().as_secs_f64());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        eprintln!("{} ({:.1} s)", self.message, self.started.elapsed().as_secs_f64());
    }
}
