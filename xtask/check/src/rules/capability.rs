//! Calls that the host forbids: `capability_restriction_config` names all that are allowed, once it names one.

use crate::finding::{Finding, Rule};
use crate::plugin::{Plugin, Role};

/// What the measuring worker filter calls and is called by: the module's imports, and its exports that are callbacks.
pub const NEEDED_BY_WORKER: &[&str] = &[
    "proxy_on_configure",
    "proxy_on_context_create",
    "proxy_on_delete",
    "proxy_on_downstream_connection_close",
    "proxy_on_log",
    "proxy_on_new_connection",
    "proxy_on_tick",
    "proxy_add_header_map_value",
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
    "proxy_replace_header_map_value",
    "proxy_resolve_shared_queue",
    "proxy_set_effective_context",
    "proxy_set_shared_data",
    "proxy_set_tick_period_milliseconds",
    "random_get",
];

/// What `worker_filter_full.wasm` needs besides.
pub const NEEDED_BY_FULL_WORKER: &[&str] = &[
    "proxy_get_header_map_pairs",
    "proxy_on_downstream_data",
    "proxy_on_request_body",
    "proxy_on_request_headers",
    "proxy_on_response_body",
    "proxy_on_response_headers",
    "proxy_on_upstream_data",
    "proxy_remove_header_map_value",
    "proxy_send_local_response",
    "proxy_set_buffer_bytes",
];

/// What the service calls and is called by.
pub const NEEDED_BY_SERVICE: &[&str] = &[
    "proxy_on_configure",
    "proxy_on_context_create",
    "proxy_on_delete",
    "proxy_on_http_call_response",
    "proxy_on_queue_ready",
    "proxy_on_tick",
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
    "proxy_set_shared_data",
    "proxy_set_tick_period_milliseconds",
    "random_get",
];

/// Further names that Envoy 1.40 knows: a name that is in none of the three lists is a slip.
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
    "proxy_close_stream",
    "proxy_continue_request",
    "proxy_continue_response",
    "proxy_continue_stream",
    "proxy_done",
    "proxy_get_buffer_status",
    "proxy_get_configuration",
    "proxy_get_header_map_size",
    "proxy_get_status",
    "proxy_grpc_call",
    "proxy_grpc_cancel",
    "proxy_grpc_close",
    "proxy_grpc_send",
    "proxy_grpc_stream",
    "proxy_on_done",
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
    "proxy_set_buffer_bytes",
    "proxy_set_header_map_pairs",
    "proxy_set_property",
    "proxy_validate_configuration",
];

/// Judges what the host lets the module do.
pub(super) fn judge(plugin: &Plugin<'_>) -> Vec<Finding> {
    // An empty list restricts nothing.
    let Some(allowed) = plugin.capabilities.as_ref().filter(|allowed| allowed.entries().next().is_some())
    else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for (name, place) in allowed.entries() {
        let known =
            [NEEDED_BY_WORKER, NEEDED_BY_FULL_WORKER, NEEDED_BY_SERVICE, OTHERS].concat().contains(&name);
        if !known {
            let message = format!("{name} is no capability that Envoy knows, so this allows nothing");
            findings.push(Finding::error(&place, Rule::Capability, message));
        }
    }
    let needed = match plugin.role {
        Role::Worker if plugin.only_measures => NEEDED_BY_WORKER.to_vec(),
        Role::Worker => [NEEDED_BY_WORKER, NEEDED_BY_FULL_WORKER].concat(),
        Role::Service => NEEDED_BY_SERVICE.to_vec(),
    };
    let missing: Vec<_> =
        needed.iter().filter(|name| !allowed.entries().any(|(key, _)| key == **name)).copied().collect();
    if !missing.is_empty() {
        let message = format!("{} needs these too: {}", plugin.role.module(), missing.join(", "));
        findings.push(Finding::error(allowed, Rule::Capability, message));
    }
    findings
}
