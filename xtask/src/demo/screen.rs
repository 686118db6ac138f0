//! What the demo shows while it runs, and where: a script may want the standard output for itself.

use crate::progress::Count;

/// Where the demo's words go.
pub(crate) struct Screen {
    json: bool,
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
    pub(crate) fn progress(&self, total: u64) -> Count {
        Count::start(total, "requests")
    }
}
