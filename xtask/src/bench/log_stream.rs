//! How requests that Envoy's own access logger tells of come to the worker filter: `envoy/log_stream.yaml`, for a metric set.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};
use tributary_tests::config::EnvoyConfig;

use super::attachment::{access_log, extension, structure, wasm_network_filter};
use super::metric_set::LogRecord;

/// The internal listener and the cluster that leads to it; also what Envoy counts the log's entries under.
pub(super) const LOG: &str = "tributary_log";

/// How often Envoy hands over what it has; the interval in production is about as many requests.
const FLUSH_INTERVAL: &str = "1s";
/// More than comes in that time.
const BUFFER_BYTES: u32 = 4 << 20;

/// Has Envoy log each request to the worker filter.
pub(super) fn log_stream(
    config: EnvoyConfig,
    record: &LogRecord,
    module: &Path,
    worker: &Value,
) -> Result<EnvoyConfig> {
    let mut worker = worker.clone();
    if let Some(fields) = worker.as_object_mut() {
        fields.insert("role".to_owned(), json!("log_stream"));
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
            "buffer_flush_interval": FLUSH_INTERVAL,
            "buffer_size_bytes": BUFFER_BYTES,
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
