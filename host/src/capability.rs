//! Functions of the host that `capability_restriction_config` withholds: found when a plugin is configured, not when it needs them.

use log::error;
use proxy_wasm::types::Status;

/// A function of the host, what it answered when it was tried, and what there is not without it.
pub type Probe<'a> = (&'a str, Result<(), Status>, &'a str);

/// Whether the host lets a plugin call all of these. Logs each one that it withholds.
///
/// Any other answer than that of a withheld function is a good one here: it depends on the context.
pub fn are_allowed(probes: &[Probe<'_>]) -> bool {
    let withheld = probes.iter().filter(|(_, answer, _)| *answer == Err(Status::InternalFailure));
    withheld.map(|(function, _, lack)| log_withheld(function, lack)).count() == 0
}

/// Logs that the host withholds a function, and what there is not without it.
pub fn log_withheld(function: &str, lack: &str) {
    error!("the host withholds {function}, without which {lack}: allow it in capability_restriction_config");
}
