//! The Wasm modules that are shipped: what each is made from, may export and import, and may weigh.
//!
//! This is the one place to change when a module needs one more callback or host function. Each is a decision: every
//! exported callback costs each request an entry into the VM, and every import must exist in every Envoy supported.

use std::collections::BTreeSet;

/// One module in target/wasm.
pub(crate) struct Artefact {
    /// The file's name without `.wasm`.
    pub(crate) name: &'static str,
    /// The package that it is linked from.
    pub(crate) package: &'static str,
    /// The package's features that it has.
    pub(crate) features: &'static [&'static str],
    /// Groups of exports: all of these, and no others.
    exports: &'static [&'static [&'static str]],
    /// The most that the file may weigh.
    pub(crate) budget_bytes: usize,
}

impl Artefact {
    /// The names that the module exports.
    pub(crate) fn exports(&self) -> impl Iterator<Item = &'static str> + Clone {
        self.exports.iter().flat_map(|group| group.iter().copied())
    }

    /// The file in target/wasm.
    pub(crate) fn file(&self) -> String {
        format!("{}.wasm", self.name)
    }
}

/// Everything that `cargo xtask build` makes.
///
/// A budget is what the module weighs and room for small changes: the first and the last are loaded by everyone. The full worker
/// filter is for those who change headers, tap, look at the console or have a log stream, and has 80 KiB more for them: the console's
/// page and formats take about 40 of these, the log stream 20, and it is compiled once for each worker, off the request path.
pub(crate) const ALL: [Artefact; 3] = [
    Artefact {
        name: "worker_filter",
        package: "tributary-worker-filter",
        features: &[],
        exports: &[BASE, STREAM],
        budget_bytes: 245 * 1024,
    },
    Artefact {
        name: "worker_filter_full",
        package: "tributary-worker-filter",
        features: &["full"],
        exports: &[BASE, STREAM, UNDER_WAY],
        budget_bytes: 345 * 1024,
    },
    Artefact {
        name: "service",
        package: "tributary-service",
        features: &[],
        exports: &[BASE, &["proxy_on_queue_ready", "proxy_on_http_call_response"]],
        budget_bytes: 310 * 1024,
    },
];

/// The file that cargo links a package to.
pub(crate) fn linked_file(package: &str) -> String {
    format!("{}.wasm", package.replace('-', "_"))
}

/// The packages that the artefacts are linked from.
pub(crate) fn packages() -> BTreeSet<&'static str> {
    ALL.iter().map(|artefact| artefact.package).collect()
}

/// What every plugin needs: names of the Proxy-Wasm ABI 0.2.1, and the allocator by which Envoy hands over bytes.
const BASE: &[&str] = &[
    "memory",
    "malloc",
    "proxy_abi_version_0_2_1",
    "proxy_on_configure",
    "proxy_on_context_create",
    "proxy_on_tick",
    "proxy_on_delete",
];

/// What the end of a stream comes by, and the callbacks that only a TCP filter enters.
const STREAM: &[&str] = &["proxy_on_log", "proxy_on_new_connection", "proxy_on_downstream_connection_close"];

/// What a stream comes by while it is under way: of one that is only measured nothing is needed here.
const UNDER_WAY: &[&str] = &[
    "proxy_on_request_headers",
    "proxy_on_request_body",
    "proxy_on_response_headers",
    "proxy_on_response_body",
    "proxy_on_downstream_data",
    "proxy_on_upstream_data",
];

/// The host functions that a module may import: module, then names.
pub(crate) const IMPORTS: [(&str, &[&str]); 2] = [("env", PROXY), ("wasi_snapshot_preview1", WASI)];

/// Those of the Proxy-Wasm ABI 0.2.1 that `host/src/abi.rs` calls: Envoy 1.36 to 1.40 has each of them.
const PROXY: &[&str] = &[
    "proxy_add_header_map_value",
    "proxy_call_foreign_function",
    "proxy_define_metric",
    "proxy_dequeue_shared_queue",
    "proxy_enqueue_shared_queue",
    "proxy_get_buffer_bytes",
    "proxy_get_current_time_nanoseconds",
    "proxy_get_header_map_pairs",
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
    "proxy_remove_header_map_value",
    "proxy_replace_header_map_value",
    "proxy_resolve_shared_queue",
    "proxy_send_local_response",
    "proxy_set_buffer_bytes",
    "proxy_set_effective_context",
    "proxy_set_shared_data",
    "proxy_set_tick_period_milliseconds",
];

/// What the ABI has no function for: a seed.
const WASI: &[&str] = &["random_get"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_small_worker_has_no_callback_that_a_running_request_would_enter() {
        let [small, _, _] = &ALL;
        let entered =
            |name: &str| ["request", "response", "data", "done"].iter().any(|part| name.contains(part));
        assert!(small.exports().all(|name| !entered(name)));
    }

    #[test]
    fn no_name_is_listed_twice() {
        for artefact in &ALL {
            let names: Vec<_> = artefact.exports().collect();
            let distinct: BTreeSet<_> = names.iter().collect();
            assert_eq!(names.len(), distinct.len(), "{}", artefact.name);
        }
    }

    #[test]
    fn cargo_links_a_package_to_a_file_with_underscores() {
        assert_eq!(linked_file(ALL[0].package), "tributary_worker_filter.wasm");
    }
}
