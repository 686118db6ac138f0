//! Finds host functions and callbacks that a module needs and the host forbids. If a
//! `capability_restriction_config` is not empty, only the capabilities that it lists are allowed.

use std::collections::BTreeSet;

use tributary_console::root as console;
use tributary_service::root as service;
use tributary_worker_filter::root as worker_filter;

use crate::finding::{Finding, Rule};
use crate::plugin::{ConfiguredPlugin, ModuleKind};

/// The host functions that every module calls. Callbacks are not listed here, because each module declares
/// its own callbacks.
const CALLED_BY_ALL: &[&str] = &[
    "proxy_define_metric",
    "proxy_get_buffer_bytes",
    "proxy_get_current_time_nanoseconds",
    "proxy_get_log_level",
    "proxy_get_metric",
    "proxy_get_shared_data",
    "proxy_log",
    "proxy_set_effective_context",
    "proxy_set_shared_data",
    "proxy_set_tick_period_milliseconds",
];

/// The host functions that `worker_filter.wasm` calls, besides [`CALLED_BY_ALL`].
const CALLED_BY_WORKER: &[&str] = &[
    "proxy_call_foreign_function",
    "proxy_enqueue_shared_queue",
    "proxy_get_property",
    "proxy_increment_metric",
    "proxy_resolve_shared_queue",
    "proxy_set_buffer_bytes",
    "random_get",
];

/// The host functions that only `worker_filter_full.wasm` calls.
const CALLED_BY_FULL_WORKER: &[&str] = &[
    "proxy_add_header_map_value",
    "proxy_get_header_map_pairs",
    "proxy_remove_header_map_value",
    "proxy_replace_header_map_value",
    "proxy_send_local_response",
];

/// The host functions that `service.wasm` calls, besides [`CALLED_BY_ALL`].
const CALLED_BY_SERVICE: &[&str] = &[
    "proxy_dequeue_shared_queue",
    "proxy_get_header_map_value",
    "proxy_get_property",
    "proxy_http_call",
    "proxy_increment_metric",
    "proxy_record_metric",
    "proxy_register_shared_queue",
    "random_get",
];

/// The host functions that `console.wasm` calls, besides [`CALLED_BY_ALL`].
const CALLED_BY_CONSOLE: &[&str] = &["proxy_get_header_map_pairs", "proxy_send_local_response"];

/// Host functions that modules import but do not call: the vtables of the SDK's contexts refer to the default
/// methods of its traits. A configuration need not allow these functions.
pub const LINKED_BY_SDK: &[&str] = &[
    "proxy_close_stream",
    "proxy_continue_stream",
    "proxy_done",
    "proxy_get_status",
    "proxy_grpc_call",
    "proxy_grpc_cancel",
    "proxy_grpc_close",
    "proxy_grpc_send",
    "proxy_grpc_stream",
    "proxy_set_header_map_pairs",
    "proxy_set_property",
];

/// All other capabilities of Envoy 1.40, separated by spaces. A name that is in none of these lists is a
/// typo.
const OTHERS: &str = "args_get args_sizes_get clock_time_get environ_get environ_sizes_get fd_close \
                      fd_fdstat_get fd_prestat_dir_name fd_prestat_get fd_read fd_seek fd_write path_open \
                      proc_exit proxy_clear_route_cache proxy_continue_request proxy_continue_response \
                      proxy_get_buffer_status proxy_get_configuration proxy_get_header_map_size \
                      proxy_on_done proxy_on_downstream_connection_close proxy_on_foreign_function \
                      proxy_on_grpc_close proxy_on_grpc_receive proxy_on_grpc_receive_initial_metadata \
                      proxy_on_grpc_receive_trailing_metadata proxy_on_request_metadata \
                      proxy_on_request_trailers proxy_on_response_metadata proxy_on_response_trailers \
                      proxy_on_upstream_connection_close proxy_on_vm_start proxy_validate_configuration";

/// Returns the callbacks of a module and the host functions that it calls, sorted.
pub fn needed(module: ModuleKind) -> Vec<&'static str> {
    let (callbacks, more): (_, &[&[&str]]) = match module {
        ModuleKind::Worker => (&worker_filter::CALLBACKS, &[CALLED_BY_WORKER]),
        ModuleKind::FullWorker => (
            &worker_filter::CALLBACKS,
            &[worker_filter::CALLBACKS_FULL, CALLED_BY_WORKER, CALLED_BY_FULL_WORKER],
        ),
        ModuleKind::Service => (&service::CALLBACKS, &[CALLED_BY_SERVICE]),
        ModuleKind::Console => (&console::CALLBACKS, &[CALLED_BY_CONSOLE]),
    };
    let mut needed = [&callbacks[..], more, &[CALLED_BY_ALL]].concat().concat();
    needed.sort_unstable();
    needed
}

/// Returns the callbacks of all modules and the host functions that they call.
pub fn needed_by_all() -> BTreeSet<&'static str> {
    let modules = [ModuleKind::Worker, ModuleKind::FullWorker, ModuleKind::Service, ModuleKind::Console];
    modules.into_iter().flat_map(needed).collect()
}

/// Judges whether the host allows what the module needs.
pub(super) fn judge(plugin: &ConfiguredPlugin<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(allowed) = plugin.place.get("capability_restriction_config.allowed_capabilities") else {
        return findings;
    };
    let known = needed_by_all();
    let is_known = |name: &str| {
        known.contains(name) || LINKED_BY_SDK.contains(&name) || OTHERS.split(' ').any(|other| other == name)
    };
    let mut missing = needed(plugin.module);
    for (name, place) in allowed.entries() {
        missing.retain(|needed| *needed != name);
        if !is_known(name) {
            let message = format!(
                "Envoy has no capability {name}, so this entry has no effect; fix the name or remove it"
            );
            findings.push(Finding::error(&place, Rule::Capability, message));
        }
    }
    // An empty list restricts nothing.
    if !missing.is_empty() && !allowed.node.entries().is_empty() {
        let message = format!("{} also needs {}; add them", plugin.module.file(), missing.join(", "));
        findings.push(Finding::error(&allowed, Rule::Capability, message));
    }
    findings
}
