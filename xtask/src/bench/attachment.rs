//! Adds each way to count to an Envoy's configuration.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};
use tributary_tests::config::EnvoyConfig;

use super::case::Endpoints;
use super::metric_set::LogRecord;
use super::module::BenchModules;

/// The names of the plugins.
pub(super) const WORKER_FILTER: &str = "worker_filter";
pub(super) const SERVICE: &str = "service";

const CONNECTION_MANAGER: &str = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config";
const NETWORK_FILTERS: &str = "static_resources.listeners[0].filter_chains[0].filters";
const VM_ID: &str = "tributary";

/// The internal listener, its cluster, and the stat prefix of the log.
const LOG: &str = "tributary_log";
/// The interval in which Envoy flushes the log.
const LOG_FLUSH_INTERVAL: &str = "1s";
/// More than Envoy logs in that interval.
const LOG_BUFFER_BYTES: u32 = 4 << 20;

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

/// Makes the worker filter flush each request and update its counter at once.
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

/// Adds a filter before the router.
pub(super) fn http_filter(config: EnvoyConfig, filter: &Value) -> EnvoyConfig {
    before_first(config, &format!("{CONNECTION_MANAGER}.http_filters"), filter)
}

/// Adds a network filter before the proxy.
pub(super) fn network_filter(config: EnvoyConfig, filter: &Value) -> EnvoyConfig {
    before_first(config, NETWORK_FILTERS, filter)
}

/// Adds a filter before the only one of a list.
fn before_first(config: EnvoyConfig, filters: &str, filter: &Value) -> EnvoyConfig {
    match config.get(&format!("{filters}[0]")).cloned() {
        Ok(last) => config.set(filters, (filter, last)),
        Err(error) => config.edit(|_| Err(error)),
    }
}

/// Makes Envoy log each request to the worker filter, as in `envoy/log_stream.yaml`.
pub(super) fn log_stream(
    config: EnvoyConfig,
    record: &LogRecord,
    module: &Path,
    worker: &Value,
) -> Result<EnvoyConfig> {
    let mut worker = worker.clone();
    if let Some(fields) = worker.as_object_mut() {
        fields.insert("log_stream".to_owned(), json!(true));
    }
    let kind = "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo";
    let echo = extension("envoy.filters.network.echo", &json!({"@type": kind}));
    let filter = wasm_network_filter(module, &structure(&worker));
    let listener = json!({
        "name": LOG,
        "internal_listener": {},
        "filter_chains": [{"filters": [filter, echo]}],
    });
    let address = json!({"envoy_internal_address": {"server_listener_name": LOG}});
    let cluster = json!({
        "name": LOG,
        "load_assignment": {
            "cluster_name": LOG,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    });
    let kind = "type.googleapis.com/envoy.extensions.access_loggers.fluentd.v3.FluentdAccessLogConfig";
    let logger = extension(
        "envoy.access_loggers.fluentd",
        &json!({
            "@type": kind,
            "cluster": LOG,
            "stat_prefix": LOG,
            "buffer_flush_interval": LOG_FLUSH_INTERVAL,
            "buffer_size_bytes": LOG_BUFFER_BYTES,
            "tag": record.tag,
            "record": record.fields,
        }),
    );
    let kind = "type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener";
    let internal = extension("envoy.bootstrap.internal_listener", &json!({"@type": kind}));
    let config = access_log(config, &logger).cluster(cluster);
    let (ingress, service) = (
        config.get("static_resources.listeners[0]")?.clone(),
        config.get("bootstrap_extensions[0]")?.clone(),
    );
    Ok(config
        .set("static_resources.listeners", (ingress, listener))
        .set("bootstrap_extensions", (internal, service)))
}

pub(super) fn with_service(config: EnvoyConfig, modules: &BenchModules, endpoints: Endpoints) -> EnvoyConfig {
    let service = json!({"destinations": [{"name": "collector", "cluster": "collector"}]});
    let config = config.static_cluster("collector", endpoints.collector);
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

/// A plugin configuration as a Struct.
pub(super) fn structure(fields: &Value) -> Value {
    json!({"@type": "type.googleapis.com/google.protobuf.Struct", "value": fields})
}

/// A plugin configuration as a StringValue.
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

/// An extension with its name.
pub(super) fn extension(name: &str, typed_config: &Value) -> Value {
    json!({"name": name, "typed_config": typed_config})
}
