//! Calls that the host forbids: `capability_restriction_config` names all that are allowed, once it names one.

use tributary_service::root as service;
use tributary_worker_filter::root as worker_filter;

use crate::finding::{Finding, Rule};
use crate::plugin::{Plugin, Role};

/// The host functions that `worker_filter.wasm` calls. Its callbacks it declares itself.
const CALLED_BY_WORKER: &[&str] = &[
    "proxy_call_foreign_function",
    "proxy_define_metric",
    "proxy_enqueue_shared_queue",
    "proxy_get_buffer_bytes",
    "proxy_get_current_time_nanoseconds",
    "proxy_get_log_level",
    "proxy_get_metric",
    "proxy_get_property",
    "proxy_get_shared_data",
    "proxy_increment_metric",
    "proxy_log",
    "proxy_resolve_shared_queue",
    "proxy_set_effective_context",
    "proxy_set_shared_data",
    "proxy_set_tick_period_milliseconds",
    "random_get",
];

/// The host functions that `worker_filter_full.wasm` calls besides.
const CALLED_BY_FULL_WORKER: &[&str] = &[
    "proxy_add_header_map_value",
    "proxy_get_header_map_pairs",
    "proxy_remove_header_map_value",
    "proxy_replace_header_map_value",
    "proxy_send_local_response",
    "proxy_set_buffer_bytes",
];

/// The host functions that `service.wasm` calls.
const CALLED_BY_SERVICE: &[&str] = &[
    "proxy_define_metric",
    "proxy_dequeue_shared_queue",
    "proxy_get_buffer_bytes",
    "proxy_get_current_time_nanoseconds",
    "proxy_get_header_map_value",
    "proxy_get_log_level",
    "proxy_get_metric",
    "proxy_get_property",
    "proxy_get_shared_data",
    "proxy_http_call",
    "proxy_increment_metric",
    "proxy_log",
    "proxy_record_metric",
    "proxy_register_shared_queue",
    "proxy_set_effective_context",
    "proxy_set_shared_data",
    "proxy_set_tick_period_milliseconds",
    "random_get",
];

/// Host functions that every module imports and none calls: the default methods of the SDK's traits have a place in the vtables of
/// its contexts, whether they are called or not. They need not be allowed.
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

/// Further names that Envoy 1.40 knows: a name that no module needs and that is not here is a slip.
const OTHERS: &[&str] = &[
    "args_get",
    "args_sizes_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_close",
    "fd_fdstat_get",
    "fd_prestat_dir_name",
    "fd_prestat_get",
    "fd_read",
    "fd_seek",
    "fd_write",
    "path_open",
    "proc_exit",
    "proxy_clear_route_cache",
    "proxy_continue_request",
    "proxy_continue_response",
    "proxy_get_buffer_status",
    "proxy_get_configuration",
    "proxy_get_header_map_size",
    "proxy_on_done",
    "proxy_on_downstream_connection_close",
    "proxy_on_foreign_function",
    "proxy_on_grpc_close",
    "proxy_on_grpc_receive",
    "proxy_on_grpc_receive_initial_metadata",
    "proxy_on_grpc_receive_trailing_metadata",
    "proxy_on_request_metadata",
    "proxy_on_request_trailers",
    "proxy_on_response_metadata",
    "proxy_on_response_trailers",
    "proxy_on_upstream_connection_close",
    "proxy_on_vm_start",
    "proxy_validate_configuration",
];

/// Everything that a module needs: its callbacks and the host functions that it calls, sorted.
pub fn needed(role: Role, only_measures: bool) -> Vec<&'static str> {
    let groups: &[&[&str]] = match role {
        Role::Worker if only_measures => {
            &[worker_filter::CALLBACKS[0], worker_filter::CALLBACKS[1], CALLED_BY_WORKER]
        }
        Role::Worker => &[
            worker_filter::CALLBACKS[0],
            worker_filter::CALLBACKS[1],
            worker_filter::CALLBACKS_FULL,
            CALLED_BY_WORKER,
            CALLED_BY_FULL_WORKER,
        ],
        Role::Service => &[service::CALLBACKS[0], service::CALLBACKS[1], CALLED_BY_SERVICE],
    };
    let mut needed: Vec<_> = groups.iter().flat_map(|group| group.iter().copied()).collect();
    needed.sort_unstable();
    needed
}

/// Judges what the host lets the module do.
pub(super) fn judge(plugin: &Plugin<'_>) -> Vec<Finding> {
    // An empty list restricts nothing.
    let Some(allowed) = plugin.capabilities.as_ref().filter(|allowed| allowed.entries().next().is_some())
    else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    let all =
        [needed(Role::Worker, false), needed(Role::Service, false), LINKED_BY_SDK.to_vec(), OTHERS.to_vec()]
            .concat();
    for (name, place) in allowed.entries() {
        if !all.contains(&name) {
            let message = format!("{name} is no capability that Envoy knows, so this allows nothing");
            findings.push(Finding::error(&place, Rule::Capability, message));
        }
    }
    let mut missing = needed(plugin.role, plugin.only_measures);
    missing.retain(|name| !allowed.entries().any(|(key, _)| key == *name));
    if !missing.is_empty() {
        let message = format!("{} needs these too: {}", plugin.role.module(), missing.join(", "));
        findings.push(Finding::error(allowed, Rule::Capability, message));
    }
    findings
}
