//! Finds plugins and clusters in configurations of Envoy: bootstraps, LDS and CDS files, and parts of them in
//! manifests.

use std::collections::BTreeSet;

use tributary_plan::plan::Streams;

use crate::plugin::{
    Configuration, ConfiguredPlugin, ExtensionPoint, FailureHandling, FailurePolicy, ModuleKind, TrafficPath,
};
use crate::yaml::node_ref::NodeRef;

/// The plugins, loggers and clusters that were found.
#[derive(Clone, Debug, Default)]
pub struct Inventory<'a> {
    /// Tributary's plugins.
    pub plugins: Vec<ConfiguredPlugin<'a>>,
    /// Access loggers that may feed a log stream.
    pub loggers: Vec<FluentdLogger<'a>>,
    /// The names of clusters.
    pub clusters: BTreeSet<String>,
    /// Whether other sources, such as CDS, may add clusters.
    pub more_clusters: bool,
}

/// Envoy's fluentd access logger, whose messages a log stream reads.
#[derive(Clone, Debug)]
pub struct FluentdLogger<'a> {
    /// The configuration of the logger.
    pub place: NodeRef<'a>,
    /// The field that makes Envoy log requests before they end, unless the logger has a filter.
    pub early_logging: Option<NodeRef<'a>>,
}

/// The context of a value in a configuration.
#[derive(Clone, Debug, Default)]
pub struct Scope<'a> {
    /// The extension point of the enclosing extension; `None` if it does not run Wasm.
    extension_point: Option<ExtensionPoint>,
    /// The HTTP requests that pass this part of the configuration; `None` if unknown.
    http: Option<TrafficPath>,
    /// The TCP connections that pass this part of the configuration; `None` if unknown.
    tcp: Option<TrafficPath>,
    /// Whether Envoy counts gRPC messages of these requests; `None` if unknown.
    counts_grpc_messages: Option<bool>,
    /// Whether access loggers here log HTTP requests or TCP connections; `None` if unknown.
    logged: Option<Streams>,
    /// The field that makes Envoy log requests before they end.
    early_logging: Option<NodeRef<'a>>,
}

/// The fields of a connection manager, or of its `access_log_options`, that make Envoy log requests more than
/// once.
const EARLY_LOGGING: [&str; 3] = [
    "flush_access_log_on_new_request",
    "access_log_flush_interval",
    "flush_log_on_tunnel_successfully_established",
];

/// Fields that only a listener has.
const LISTENER_FIELDS: [&str; 2] = ["filter_chains", "default_filter_chain"];

const RELOAD: &str = "set failure_policy: FAIL_RELOAD, which replaces the VM";

impl<'a> Inventory<'a> {
    /// Adds the plugins, loggers and clusters in a value, at any depth.
    pub fn scan(&mut self, place: &NodeRef<'a>, scope: &Scope<'a>) {
        let mut scope = scope.clone();
        if place.get("filter").is_some() {
            scope.early_logging = None;
        }
        if let Some((kind, fields)) = typed(place) {
            scope.enter(kind, &fields);
            match kind {
                "envoy.config.cluster.v3.Cluster" => self.add_cluster(&fields),
                "envoy.extensions.access_loggers.fluentd.v3.FluentdAccessLogConfig" => {
                    let early_logging = scope.early_logging.clone();
                    self.loggers.push(FluentdLogger { place: fields, early_logging });
                }
                _ => {}
            }
        }
        if place.get("vm_config").is_some() {
            self.plugins.extend(plugin(place, &scope));
            return;
        }
        place.items_of("static_resources.clusters").for_each(|cluster| self.add_cluster(&cluster));
        self.more_clusters |= place.get("dynamic_resources.cds_config").is_some();
        for (key, value) in place.entries() {
            let mut scope = scope.clone();
            match key {
                "filters" => _ = scope.tcp.get_or_insert_with(|| traffic_path(&value)),
                // The access loggers of a listener log connections, even if its filters are for HTTP.
                "access_log" if LISTENER_FIELDS.iter().any(|field| place.get(field).is_some()) => {
                    scope.logged = Some(Streams::Tcp);
                }
                _ => {}
            }
            self.scan(&value, &scope);
        }
        place.items().for_each(|item| self.scan(&item, &scope));
    }

    /// Adds a cluster by its name.
    pub fn add_cluster(&mut self, cluster: &NodeRef<'a>) {
        self.clusters.extend(cluster.text_of("name").map(str::to_owned));
    }
}

impl<'a> Scope<'a> {
    /// Returns the scope of a part of Envoy's configuration that a manifest contributes, for plugins that
    /// these HTTP requests and TCP connections pass.
    pub fn for_traffic(http: TrafficPath, tcp: TrafficPath) -> Self {
        Self { http: Some(http), tcp: Some(tcp), ..Self::default() }
    }

    fn enter(&mut self, kind: &str, fields: &NodeRef<'a>) {
        match kind.rsplit('.').next() {
            Some("HttpConnectionManager") => {
                self.http.get_or_insert_with(|| traffic_path(fields));
                self.counts_grpc_messages =
                    fields.get("http_filters").as_ref().and_then(counts_grpc_messages);
                self.early_logging = early_logging(fields);
                self.logged = Some(Streams::Http);
            }
            // The access loggers of a TcpProxy see the connections of its filter chain.
            Some("TcpProxy") => {
                self.http = self.tcp.clone();
                self.logged = Some(Streams::Tcp);
            }
            _ => {}
        }
        self.extension_point = match kind {
            "envoy.extensions.filters.http.wasm.v3.Wasm" => Some(ExtensionPoint::HttpFilter),
            "envoy.extensions.filters.network.wasm.v3.Wasm" => Some(ExtensionPoint::NetworkFilter),
            "envoy.extensions.access_loggers.wasm.v3.WasmAccessLog" => {
                Some(ExtensionPoint::AccessLogger { streams: self.logged })
            }
            "envoy.extensions.stat_sinks.wasm.v3.Wasm" => Some(ExtensionPoint::StatSink),
            "envoy.extensions.wasm.v3.WasmService" => {
                Some(ExtensionPoint::Bootstrap { singleton: fields.is_true("singleton") })
            }
            _ => None,
        };
    }
}

/// Returns the plugin of a `PluginConfig`; `None` if the plugin is not Tributary's.
fn plugin<'a>(place: &NodeRef<'a>, scope: &Scope<'a>) -> Option<ConfiguredPlugin<'a>> {
    let code = ["vm_config.code.remote.http_uri.uri", "vm_config.code.local.filename"];
    let code = code.iter().find_map(|path| place.text_of(path));
    let name = place.text_of("name").unwrap_or_default();
    let module = ModuleKind::identify(code, name, scope.extension_point)?;
    // A plugin with an unknown extension point is judged like an HTTP filter.
    let extension_point = scope.extension_point.unwrap_or(ExtensionPoint::HttpFilter);
    let traffic = match extension_point {
        ExtensionPoint::HttpFilter | ExtensionPoint::AccessLogger { .. } => scope.http.clone(),
        ExtensionPoint::NetworkFilter => scope.tcp.clone(),
        ExtensionPoint::Bootstrap { .. } | ExtensionPoint::StatSink => None,
    };
    Some(ConfiguredPlugin {
        module,
        extension_point,
        vm_id: Some(place.text_of("vm_config.vm_id").unwrap_or_default().to_owned()),
        configuration: configuration(place),
        failure: failure(place),
        traffic,
        counts_grpc_messages: scope.counts_grpc_messages,
        place: place.clone(),
    })
}

/// Returns the type and the fields of a message that contains its type: in `@type` next to the fields, or
/// in a TypedStruct that contains the fields. Returns `None` for other values.
fn typed<'a>(place: &NodeRef<'a>) -> Option<(&'a str, NodeRef<'a>)> {
    let name = |url: &'a str| url.rsplit('/').next().unwrap_or(url);
    let kind = name(place.text_of("@type")?);
    if kind == "udpa.type.v1.TypedStruct" || kind == "xds.type.v3.TypedStruct" {
        return Some((name(place.text_of("type_url")?), place.get("value")?));
    }
    Some((kind, place.clone()))
}

/// Returns whether one of these HTTP filters writes the number of gRPC messages into the filter state;
/// `None` if the type of a filter is not in this file.
fn counts_grpc_messages(filters: &NodeRef<'_>) -> Option<bool> {
    let mut counts = false;
    for filter in filters.items() {
        let (kind, fields) = typed(&filter.get("typed_config")?)?;
        counts |= kind == "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig"
            && fields.is_true("emit_filter_state");
    }
    Some(counts)
}

/// Returns the field that makes a connection manager log requests before they end.
fn early_logging<'a>(manager: &NodeRef<'a>) -> Option<NodeRef<'a>> {
    let places = [manager.get("access_log_options"), Some(manager.clone())];
    let mut fields = places.iter().flatten().flat_map(|place| EARLY_LOGGING.map(|field| place.get(field)));
    fields.find_map(|field| field.filter(|field| field.text() != Some("false")))
}

fn configuration<'a>(plugin: &NodeRef<'a>) -> Configuration<'a> {
    let Some(any) = plugin.get("configuration") else { return Configuration::None };
    let kind = any.text_of("@type").unwrap_or_default().rsplit('/').next().unwrap_or_default();
    match (kind, any.get("value")) {
        ("google.protobuf.Struct" | "google.protobuf.StringValue", None) => Configuration::None,
        ("google.protobuf.Struct", Some(value)) => Configuration::Struct(value),
        ("google.protobuf.StringValue", Some(value)) => Configuration::Text(value),
        (other, _) => Configuration::Invalid(any.clone(), format!("found a configuration of type {other:?}")),
    }
}

fn failure<'a>(plugin: &NodeRef<'a>) -> FailureHandling<'a> {
    let open = plugin.get("fail_open").filter(|_| plugin.is_true("fail_open"));
    let (policy, place) = match (plugin.get("failure_policy"), open) {
        (Some(_), Some(open)) => (FailurePolicy::Conflict, open),
        (Some(place), None) => (FailurePolicy::named(place.text()), place),
        (None, Some(open)) => (FailurePolicy::FailOpen, open),
        (None, None) => (FailurePolicy::Closed, plugin.clone()),
    };
    FailureHandling { policy, place, remedy: RELOAD }
}

fn traffic_path(place: &NodeRef<'_>) -> TrafficPath {
    TrafficPath { through: format!("{}:{}", place.document.file, place.path()), context: None }
}
