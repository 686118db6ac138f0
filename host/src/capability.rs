//! Finds functions that `capability_restriction_config` withholds when a plugin is configured, before it
//! needs them.

use log::error;
use proxy_wasm::types::Status;

/// A function of Envoy, the result of a test call, and what is impossible without it.
pub type Probe<'a> = (&'a str, Result<(), Status>, &'a str);

/// Returns whether Envoy allows all functions. Logs the functions that it withholds.
///
/// Ignores other errors of the test calls, which depend on the context.
pub fn are_allowed(probes: &[Probe<'_>]) -> bool {
    let withheld = probes.iter().filter(|(_, answer, _)| *answer == Err(Status::InternalFailure));
    withheld.map(|(function, _, lack)| log_withheld(function, lack)).count() == 0
}

/// Logs that Envoy withholds a function, and what is impossible without it.
pub fn log_withheld(function: &str, lack: &str) {
    error!("Envoy withholds {function}, without which {lack}: allow it in capability_restriction_config");
}
