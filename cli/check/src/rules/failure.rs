//! What becomes of requests, and of the counting, when a module fails. As measured on Envoy 1.40.0.

use crate::finding::{Finding, Rule};
use crate::plugin::{Attach, Plugin, Policy, Role};

/// Judges the failure policy.
pub(super) fn judge(plugin: &Plugin<'_>) -> Option<Finding> {
    let (place, remedy) = (&plugin.failure.place, plugin.failure.remedy);
    let error = |message: String| Some(Finding::error(place, Rule::FailurePolicy, message));
    let warning = |message: String| Some(Finding::warning(place, Rule::FailurePolicy, message));
    let policy = plugin.failure.policy;
    if policy == Policy::Both {
        return error(
            "fail_open and failure_policy exclude each other: Envoy refuses both; keep failure_policy"
                .to_owned(),
        );
    }
    match (plugin.attach, policy) {
        (_, Policy::Both) | (Attach::HttpFilter | Attach::NetworkFilter, Policy::Reload) => None,
        (Attach::HttpFilter, Policy::Closed) => error(format!(
            "if the module ever fails, its worker answers every request with 503 until Envoy is started anew; {remedy}"
        )),
        (Attach::NetworkFilter, Policy::Closed) => error(format!(
            "if the module ever fails, its worker closes every connection until Envoy is started anew; {remedy}"
        )),
        (Attach::HttpFilter | Attach::NetworkFilter, Policy::Open) => warning(format!(
            "if the module ever fails, the requests that are open then get 503 all the same, and its worker counts nothing \
             any more; {remedy}"
        )),
        (Attach::HttpFilter | Attach::NetworkFilter, Policy::FailOpen) => warning(
            "if the module ever fails, requests go on, but its worker counts nothing until Envoy is started anew; an access \
             logger with failure_policy: FAIL_RELOAD never touches requests and comes back"
                .to_owned(),
        ),
        (Attach::AccessLogger { .. } | Attach::StatSink, Policy::Reload) => None,
        (Attach::AccessLogger { .. } | Attach::StatSink, _) => {
            let what = if plugin.role == Role::Service { "exported" } else { "counted by its worker" };
            warning(format!(
                "if the module ever fails, requests go on, but nothing is {what} until Envoy is started anew; {remedy}"
            ))
        }
        (Attach::Bootstrap { .. }, Policy::Reload) => warning(
            "Envoy never makes the VM of a bootstrap extension anew, whatever its policy; for a service that comes back, \
             attach it as envoy.stat_sinks.wasm with failure_policy: FAIL_RELOAD"
                .to_owned(),
        ),
        (Attach::Bootstrap { .. }, _) => None,
    }
}
