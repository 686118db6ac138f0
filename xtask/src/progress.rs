//! Shows that something long and quiet is under way: a spinner on a terminal, plain lines elsewhere.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const TICK: Duration = Duration::from_millis(100);

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
