//! Finds functions that `capability_restriction_config` withholds. This happens when a plugin is configured,
//! before it needs the functions.

use log::error;
use proxy_wasm::types::Status;

/// Returns whether Envoy allows all functions. Logs the functions that it withholds.
///
/// Each probe has three parts: the name of a function of Envoy, the result of a test call, and a description
/// of what is impossible without the function. Ignores other errors of the test calls, because they depend on
/// the context.
pub fn are_allowed(probes: &[(&str, Result<(), Status>, &str)]) -> bool {
    let withheld = probes.iter().filter(|(_, result, _)| *result == Err(Status::InternalFailure));
    withheld.map(|(function, _, lack)| log_withheld(function, lack)).count() == 0
}

/// Logs that Envoy withholds a function, and what is impossible without it.
pub fn log_withheld(function: &str, lack: &str) {
    error!("configuration rejected: {lack} without {function}; allow it in capability_restriction_config");
}
