//! Failed requests and lost counts after a module fails, as measured on Envoy 1.40.0.

use crate::finding::{Finding, Rule};
use crate::plugin::{AttachPoint, FailurePolicy, ModuleKind, Plugin};

/// Judges the failure policy.
pub(super) fn judge(plugin: &Plugin<'_>) -> Option<Finding> {
    let (place, remedy) = (&plugin.failure.place, plugin.failure.remedy);
    let error = |message: String| Some(Finding::error(place, Rule::FailurePolicy, message));
    let warning = |message: String| Some(Finding::warning(place, Rule::FailurePolicy, message));
    let policy = plugin.failure.policy;
    if policy == FailurePolicy::Conflict {
        return error("Envoy rejects fail_open together with failure_policy; keep failure_policy".to_owned());
    }
    match (plugin.attach_point, policy) {
        (_, FailurePolicy::Conflict) | (AttachPoint::HttpFilter | AttachPoint::NetworkFilter, FailurePolicy::Reload) => None,
        (AttachPoint::HttpFilter, FailurePolicy::Closed) => error(format!(
            "after a failure of the module, its worker answers every request with 503 until Envoy restarts; {remedy}"
        )),
        (AttachPoint::NetworkFilter, FailurePolicy::Closed) => error(format!(
            "after a failure of the module, its worker closes every connection until Envoy restarts; {remedy}"
        )),
        (AttachPoint::HttpFilter | AttachPoint::NetworkFilter, FailurePolicy::Open) => warning(format!(
            "after a failure of the module, open requests get 503 and its worker counts nothing until Envoy restarts; \
             {remedy}"
        )),
        (AttachPoint::HttpFilter | AttachPoint::NetworkFilter, FailurePolicy::FailOpen) => warning(
            "after a failure of the module, requests continue, but its worker counts nothing until Envoy restarts; use an \
             access logger with failure_policy: FAIL_RELOAD, which never affects requests and recovers"
                .to_owned(),
        ),
        (AttachPoint::AccessLogger { .. } | AttachPoint::StatSink, FailurePolicy::Reload) => None,
        (AttachPoint::AccessLogger { .. } | AttachPoint::StatSink, _) => {
            let what = if plugin.module == ModuleKind::Service { "exported" } else { "counted by its worker" };
            warning(format!(
                "after a failure of the module, requests continue, but nothing is {what} until Envoy restarts; {remedy}"
            ))
        }
        (AttachPoint::Bootstrap { .. }, FailurePolicy::Reload) => warning(
            "Envoy never replaces the VM of a bootstrap extension, so this policy has no effect; for a service that \
             recovers, attach it as envoy.stat_sinks.wasm with failure_policy: FAIL_RELOAD"
                .to_owned(),
        ),
        (AttachPoint::Bootstrap { .. }, _) => None,
    }
}
