//! Reports which requests fail and which counts are lost after a module fails, as measured on Envoy 1.40.0.

use crate::finding::{Finding, Rule, Severity};
use crate::plugin::{ConfiguredPlugin, ExtensionPoint, FailureHandling, FailurePolicy, ModuleKind};

/// Judges the failure policy.
pub(super) fn judge(plugin: &ConfiguredPlugin<'_>) -> Option<Finding> {
    let FailureHandling { policy, place, remedy } = &plugin.failure;
    let (severity, effect, remedy) = match (plugin.extension_point, policy) {
        (_, FailurePolicy::Conflict) => {
            let message = "Envoy rejects fail_open together with failure_policy; keep failure_policy";
            return Some(Finding::error(place, Rule::FailurePolicy, message));
        }
        (ExtensionPoint::Bootstrap { .. }, FailurePolicy::Reload) => {
            let message = "Envoy never replaces the VM of a bootstrap extension, so this policy has no \
                           effect; for a service that recovers, attach it as envoy.stat_sinks.wasm with \
                           failure_policy: FAIL_RELOAD";
            return Some(Finding::warning(place, Rule::FailurePolicy, message));
        }
        (ExtensionPoint::Bootstrap { .. }, _) | (_, FailurePolicy::Reload) => return None,
        (ExtensionPoint::HttpFilter, FailurePolicy::Closed) => {
            (Severity::Error, "its worker responds to every request with 503", *remedy)
        }
        (ExtensionPoint::NetworkFilter, FailurePolicy::Closed) => {
            (Severity::Error, "its worker closes every connection", *remedy)
        }
        (ExtensionPoint::HttpFilter | ExtensionPoint::NetworkFilter, FailurePolicy::Open) => {
            (Severity::Warning, "open requests get 503 and its worker counts nothing", *remedy)
        }
        (ExtensionPoint::HttpFilter | ExtensionPoint::NetworkFilter, FailurePolicy::FailOpen) => (
            Severity::Warning,
            "requests continue, but its worker counts nothing",
            "use an access logger with failure_policy: FAIL_RELOAD, which never affects requests and \
             recovers",
        ),
        (ExtensionPoint::AccessLogger { .. } | ExtensionPoint::StatSink, _) => match plugin.module {
            ModuleKind::Service => (Severity::Warning, "requests continue, but nothing is exported", *remedy),
            _ => (Severity::Warning, "requests continue, but nothing is counted by its worker", *remedy),
        },
    };
    let message = format!("after a failure of the module, {effect} until Envoy restarts; {remedy}");
    Some(Finding::new(place, severity, Rule::FailurePolicy, message))
}
