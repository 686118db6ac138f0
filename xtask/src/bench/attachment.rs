//! How each way to count is written into an Envoy's configuration.

use std::path::Path;

use serde_json::{Value, json};
use tributary_tests::config::EnvoyConfig;

use super::module::Modules;
use super::subject::Neighbours;

/// The names of the plugins.
pub(super) const WORKER_FILTER: &str = "worker_filter";
pub(super) const SERVICE: &str = "service";

const CONNECTION_MANAGER: &str = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config";
const NETWORK_FILTERS: &str = "static_resources.listeners[0].filter_chains[0].filters";
const VM_ID: &str = "tributary";

const LUA: &str = r#"
local counts = {}
function envoy_on_request(handle)
  handle:streamInfo():dynamicMetadata():set("bench", "method", handle:headers():get(":method"))
end
function envoy_on_response(handle)
  local info = handle:streamInfo()
  local method = info:dynamicMetadata():get("bench")["method"]
  local key = method .. "|" .. handle:headers():get(":status") .. "|" .. info:routeName()
  counts[key] = (counts[key] or 0) + 1
end
"#;

/// Each request hands itself over and adds to the counter at once.
pub(super) fn textbook(mut worker: Value) -> Value {
    if let Some(fields) = worker.as_object_mut() {
        fields.insert("flush".to_owned(), json!({"max_requests": 1}));
        fields.insert("counters".to_owned(), json!([{"key": "requests", "when": "request"}]));
    }
    worker
}

pub(super) fn access_log(config: EnvoyConfig, logger: &Value) -> EnvoyConfig {
    config.set(&format!("{CONNECTION_MANAGER}.access_log"), json!([logger]))
}

/// Puts a filter before the router.
pub(super) fn http_filter(config: EnvoyConfig, filter: &Value) -> EnvoyConfig {
    before_first(config, &format!("{CONNECTION_MANAGER}.http_filters"), filter)
}

/// Puts a filter of connections before the proxy.
pub(super) fn network_filter(config: EnvoyConfig, filter: &Value) -> EnvoyConfig {
    before_first(config, NETWORK_FILTERS, filter)
}

/// Puts a filter before the only one of a list.
fn before_first(config: EnvoyConfig, filters: &str, filter: &Value) -> EnvoyConfig {
    match config.get(&format!("{filters}[0]")).cloned() {
        Ok(last) => config.set(filters, (filter, last)),
        Err(error) => config.edit(|_| Err(error)),
    }
}

pub(super) fn with_service(config: EnvoyConfig, modules: &Modules, neighbours: Neighbours) -> EnvoyConfig {
    let service = json!({"destinations": [{"name": "collector", "cluster": "collector"}]});
    let config = config.static_cluster("collector", neighbours.collector);
    config.set(
        "bootstrap_extensions",
        json!([{
            "name": "envoy.bootstrap.wasm",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.wasm.v3.WasmService",
                "singleton": true,
                "config": plugin(SERVICE, &modules.service, &structure(&service)),
            },
        }]),
    )
}

pub(super) fn wasm_access_log(module: &Path, configuration: &Value) -> Value {
    let kind = "type.googleapis.com/envoy.extensions.access_loggers.wasm.v3.WasmAccessLog";
    let config = plugin(WORKER_FILTER, module, configuration);
    extension("envoy.access_loggers.wasm", &json!({"@type": kind, "config": config}))
}

pub(super) fn wasm_http_filter(module: &Path, configuration: &Value) -> Value {
    let kind = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
    let config = plugin(WORKER_FILTER, module, configuration);
    extension("envoy.filters.http.wasm", &json!({"@type": kind, "config": config}))
}

pub(super) fn wasm_network_filter(module: &Path, configuration: &Value) -> Value {
    let kind = "type.googleapis.com/envoy.extensions.filters.network.wasm.v3.Wasm";
    let config = plugin(WORKER_FILTER, module, configuration);
    extension("envoy.filters.network.wasm", &json!({"@type": kind, "config": config}))
}

fn plugin(name: &str, module: &Path, configuration: &Value) -> Value {
    json!({
        "name": name,
        "vm_config": {
            "vm_id": VM_ID,
            "runtime": "envoy.wasm.runtime.v8",
            "code": {"local": {"filename": module}},
        },
        "configuration": configuration,
    })
}

/// A configuration of fields.
pub(super) fn structure(fields: &Value) -> Value {
    json!({"@type": "type.googleapis.com/google.protobuf.Struct", "value": fields})
}

/// A configuration of text.
pub(super) fn text(text: &str) -> Value {
    json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": text})
}

pub(super) fn json_access_log(format: &Value) -> Value {
    let kind = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog";
    let log = json!({"@type": kind, "path": "/dev/null", "log_format": {"json_format": format}});
    extension("envoy.access_loggers.file", &log)
}

pub(super) fn lua() -> Value {
    let kind = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua";
    let code = json!({"inline_string": LUA});
    extension("envoy.filters.http.lua", &json!({"@type": kind, "default_source_code": code}))
}

/// An extension by its name.
pub(super) fn extension(name: &str, typed_config: &Value) -> Value {
    json!({"name": name, "typed_config": typed_config})
}
