//! What the demo shows while it runs, and where: a script may want the standard output for itself.

use std::io::{IsTerminal, stderr};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

/// Without a terminal, a line is printed at each of so many equal parts.
const PLAIN_LINES: u64 = 10;

/// Where the demo's words go.
pub(crate) struct Screen {
    json: bool,
}

/// How far the load is: a bar on a terminal, plain lines elsewhere.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    total: u64,
    lines: u64,
}

impl Screen {
    /// With `json`, everything goes to the standard error.
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Says what is going on.
    pub(crate) fn say(&self, line: &str) {
        eprintln!("{line}");
    }

    /// Says on which port something listens, if it is not the one that the configuration names.
    pub(crate) fn port(&self, what: &str, own: u16, port: u16) {
        if own != port {
            self.say(&format!("port {own} is in use: {what} gets port {port}"));
        }
    }

    /// Shows a result.
    pub(crate) fn show(&self, result: &str) {
        if self.json { eprintln!("{result}") } else { println!("{result}") }
    }

    /// Begins to show the progress of `total` requests.
    pub(crate) fn progress(&self, total: u64) -> Progress {
        let bar = stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(total);
            bar.set_style(style().unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Progress { bar, total, lines: 0 }
    }
}

impl Progress {
    /// So many requests are done.
    pub(crate) fn set(&mut self, done: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            return;
        }
        let lines = (u128::from(done) * u128::from(PLAIN_LINES)).checked_div(u128::from(self.total));
        let lines = lines.and_then(|lines| u64::try_from(lines).ok()).unwrap_or_default();
        if lines > self.lines {
            self.lines = lines;
            eprintln!("{done} of {} requests", self.total);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style() -> Result<ProgressStyle> {
    Ok(ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} requests, {per_sec}, {eta} left")?)
}
