//! Shows that something long and quiet is under way: a spinner on a terminal, plain lines elsewhere.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;

const TICK: Duration = Duration::from_millis(100);

/// One long activity; it is over when this is dropped.
pub(crate) struct Progress {
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

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        eprintln!("{} ({:.1} s)", self.message, self.started.elapsed().as_secs_f64());
    }
}
