//! Attaches a plugin to `tests/e2e/config/attached.yaml`, at any attach point: to a listener that is added
//! for it, or as an extension.

use std::net::SocketAddr;

use anyhow::Context;
use serde::Serialize;
use serde_json::{Value, json};

use super::{EnvoyConfig, tree};

/// Where Envoy calls a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttachPoint {
    /// `envoy.filters.http.wasm` of a connection manager.
    HttpFilter,
    /// `envoy.filters.http.wasm` of a cluster.
    UpstreamHttpFilter,
    /// `envoy.filters.network.wasm`.
    NetworkFilter,
    /// `envoy.access_loggers.wasm` of a connection manager.
    HttpLogger,
    /// `envoy.access_loggers.wasm` of a TCP proxy.
    TcpLogger,
    /// `envoy.access_loggers.wasm` of a listener.
    ListenerLogger,
    /// `envoy.bootstrap.wasm`.
    Bootstrap {
        /// Whether there is one VM for all workers, instead of one VM for each worker.
        singleton: bool,
    },
    /// `envoy.stat_sinks.wasm`.
    StatSink,
}

/// The filters and access loggers of a listener; empty by default.
#[derive(Debug, Default)]
struct Listener {
    filters: Vec<Value>,
    proxy_logs: Vec<Value>,
    listener_logs: Vec<Value>,
}

/// A plugin whose VM Envoy replaces after a failure, as Envoy's message `PluginConfig`.
///
/// Each line of the plugin in Envoy's log contains its name.
#[derive(Debug, Clone, Serialize)]
pub struct AttachedPlugin {
    name: String,
    root_id: String,
    failure_policy: &'static str,
    vm_config: Value,
    configuration: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    capability_restriction_config: Option<Value>,
}

impl AttachedPlugin {
    /// Creates a plugin of the module `target/wasm/MODULE.wasm`.
    pub fn new(name: &str, module: &str, configuration: &Value) -> Self {
        let file = format!("target/wasm/{module}.wasm");
        Self {
            name: name.to_owned(),
            root_id: name.to_owned(),
            failure_policy: "FAIL_RELOAD",
            vm_config: json!({
                "vm_id": "tributary",
                "runtime": "envoy.wasm.runtime.v8",
                "code": {"local": {"filename": file}}
            }),
            configuration: json!({"@type": "type.googleapis.com/google.protobuf.Struct", "value": configuration}),
            capability_restriction_config: None,
        }
    }

    /// Sets the `vm_id`, which is `tributary` by default. Plugins with the same `vm_id` share data and
    /// queues.
    #[must_use]
    pub fn vm_id(mut self, vm_id: &str) -> Self {
        merge(&mut self.vm_config, json!({"vm_id": vm_id}));
        self
    }

    /// Sets the VM's configuration. Plugins with different VM configurations do not share a VM.
    #[must_use]
    pub fn vm_configuration(mut self, text: &str) -> Self {
        let text = json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": text});
        merge(&mut self.vm_config, json!({"configuration": text}));
        self
    }

    /// Allows only these capabilities. The plugin should have its own VM, because a VM has the capabilities
    /// of the plugin for which Envoy has created it.
    #[must_use]
    pub fn allow<'a>(mut self, capabilities: impl IntoIterator<Item = &'a str>) -> Self {
        let capabilities = capabilities.into_iter().map(|name| (name.to_owned(), json!({})));
        let allowed = Value::Object(capabilities.collect());
        self.capability_restriction_config = Some(json!({"allowed_capabilities": allowed}));
        self
    }

    /// Loads the module from another file.
    #[must_use]
    pub fn file(mut self, file: &str) -> Self {
        merge(&mut self.vm_config, json!({"code": {"local": {"filename": file}}}));
        self
    }
}

impl EnvoyConfig {
    /// Attaches a plugin. Its streams arrive at the listener `name`. An upstream HTTP filter also gets TCP
    /// connections, tunnelled over HTTP, from the listener `name-tunnel`.
    #[must_use]
    pub fn attach(self, point: AttachPoint, name: &str, plugin: &AttachedPlugin) -> Self {
        let wasm = |kind: &str| vec![extension("tributary", kind, &json!({"config": plugin}))];
        let http_filter = || wasm("filters.http.wasm.v3.Wasm");
        let logger = || wasm("access_loggers.wasm.v3.WasmAccessLog");
        match point {
            AttachPoint::HttpFilter => {
                self.listener(Listener { filters: http_filter(), ..Listener::default() }.http(name, "app"))
            }
            AttachPoint::HttpLogger => {
                self.listener(Listener { proxy_logs: logger(), ..Listener::default() }.http(name, "app"))
            }
            AttachPoint::NetworkFilter => {
                let filters = wasm("filters.network.wasm.v3.Wasm");
                self.listener(
                    Listener { filters, ..Listener::default() }.tcp(name, &json!({"cluster": "echo"})),
                )
            }
            AttachPoint::TcpLogger => {
                let listener = Listener { proxy_logs: logger(), ..Listener::default() };
                self.listener(listener.tcp(name, &json!({"cluster": "echo"})))
            }
            AttachPoint::ListenerLogger => {
                let listener = Listener { listener_logs: logger(), ..Listener::default() };
                self.listener(listener.tcp(name, &json!({"cluster": "echo"})))
            }
            AttachPoint::UpstreamHttpFilter => {
                let (app, tunnel) = (format!("{name}-app"), format!("{name}-tunnel"));
                let proxy = json!({"cluster": tunnel, "tunneling_config": {"hostname": "echo.example:443"}});
                let address = self.cluster_address("app").map(socket_address).unwrap_or_default();
                let end = json!({"envoy_internal_address": {"server_listener_name": "tunnel_end"}});
                self.cluster(cluster(&app, &address, http_filter()))
                    .cluster(cluster(&tunnel, &end, http_filter()))
                    .listener(Listener::default().http(name, &app))
                    .listener(Listener::default().tcp(&tunnel, &proxy))
            }
            AttachPoint::Bootstrap { singleton } => {
                let fields = json!({"singleton": singleton, "config": plugin});
                self.push("bootstrap_extensions", &extension(name, "wasm.v3.WasmService", &fields))
            }
            AttachPoint::StatSink => {
                let fields = json!({"config": plugin});
                self.push(
                    "stats_sinks",
                    &extension("envoy.stat_sinks.wasm", "stat_sinks.wasm.v3.Wasm", &fields),
                )
            }
        }
    }

    /// Adds a listener.
    fn listener(self, listener: Value) -> Self {
        self.edit(|document| {
            tree::sequence(document, "listeners")?.push(serde_yaml_ng::to_value(listener)?);
            Ok(())
        })
    }

    /// Adds an item to a top-level list of the document. Creates the list if it does not exist.
    fn push(self, list: &str, item: &Value) -> Self {
        self.edit(|document| {
            let document = document.as_mapping_mut().context("the document is no mapping")?;
            let list =
                document.entry(list.into()).or_insert_with(|| serde_yaml_ng::Value::Sequence(Vec::new()));
            list.as_sequence_mut().context("no list")?.push(serde_yaml_ng::to_value(item)?);
            Ok(())
        })
    }
}

impl Listener {
    /// Makes an HTTP listener: Envoy itself responds to `/health`, and `cluster` to `/users`, `/orders` and
    /// `/payments`.
    fn http(mut self, name: &str, cluster: &str) -> Value {
        let route = |prefix: &str| json!({"name": prefix, "match": {"prefix": format!("/{prefix}")}, "route": {"cluster": cluster}});
        self.filters.push(extension("router", "filters.http.router.v3.Router", &json!({})));
        let manager = json!({
            "stat_prefix": name,
            "access_log": self.proxy_logs,
            "http_filters": self.filters,
            "route_config": {"virtual_hosts": [{
                "name": "shop",
                "domains": ["*"],
                "routes": [
                    route("users"), route("orders"), route("payments"),
                    {"name": "health", "match": {"path": "/health"}, "direct_response": {"status": 200}}
                ]
            }]}
        });
        let kind = "filters.network.http_connection_manager.v3.HttpConnectionManager";
        self.filters = vec![extension("http", kind, &manager)];
        self.finish(name)
    }

    /// Makes a TCP listener. `proxy` has the fields of its TCP proxy, such as the cluster.
    fn tcp(mut self, name: &str, proxy: &Value) -> Value {
        let mut proxy = proxy.clone();
        merge(&mut proxy, json!({"stat_prefix": name, "access_log": self.proxy_logs}));
        self.filters.push(extension("tcp", "filters.network.tcp_proxy.v3.TcpProxy", &proxy));
        self.finish(name)
    }

    fn finish(self, name: &str) -> Value {
        json!({
            "name": name,
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
            "access_log": self.listener_logs,
            "filter_chains": [{"filters": self.filters}]
        })
    }
}

/// Makes a cluster with upstream HTTP filters.
fn cluster(name: &str, address: &Value, mut filters: Vec<Value>) -> Value {
    const OPTIONS: &str = "upstreams.http.v3.HttpProtocolOptions";
    filters.push(extension("codec", "filters.http.upstream_codec.v3.UpstreamCodec", &json!({})));
    let options = extension(
        "",
        OPTIONS,
        &json!({
            "explicit_http_config": {"http_protocol_options": {}},
            "http_filters": filters
        }),
    );
    json!({
        "name": name,
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
        },
        "typed_extension_protocol_options": {
            (format!("envoy.extensions.{OPTIONS}")): options.get("typed_config")
        }
    })
}

fn socket_address(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}

/// Makes the configuration of an Envoy extension. `kind` is the name of its type without
/// `envoy.extensions.`.
fn extension(name: &str, kind: &str, fields: &Value) -> Value {
    let mut config = json!({"@type": format!("type.googleapis.com/envoy.extensions.{kind}")});
    merge(&mut config, fields.clone());
    json!({"name": name, "typed_config": config})
}

/// Adds fields to an object; replaces fields of the same name.
fn merge(object: &mut Value, fields: Value) {
    if let (Value::Object(object), Value::Object(fields)) = (object, fields) {
        object.extend(fields);
    }
}
