//! Finds plugins and clusters in configurations of Envoy: bootstraps, LDS and CDS files, and parts of them in
//! manifests.

use std::collections::BTreeSet;

use tributary_plan::plan::Streams;

use crate::plugin::{
    AttachPoint, Configuration, FailureHandling, FailurePolicy, ModuleKind, Plugin, TrafficPath, VmId,
};
use crate::yaml::Value;
use crate::yaml::node_ref::NodeRef;

/// The plugins, loggers and clusters that were found.
#[derive(Clone, Debug, Default)]
pub struct Inventory<'a> {
    /// Tributary's plugins.
    pub plugins: Vec<Plugin<'a>>,
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
    /// Its configuration.
    pub place: NodeRef<'a>,
    /// The field that makes Envoy log requests before they end, unless the logger has a filter.
    pub early_logging: Option<NodeRef<'a>>,
}

/// The context of a value in a configuration.
#[derive(Clone, Debug, Default)]
pub struct Scope<'a> {
    /// The type and fields of the enclosing extension.
    extension: Option<(&'a str, NodeRef<'a>)>,
    /// The HTTP requests that pass here.
    http: Option<TrafficPath>,
    /// The TCP connections that pass here.
    tcp: Option<TrafficPath>,
    /// Whether Envoy counts gRPC messages of these requests; `None` if unknown.
    counts_grpc_messages: Option<bool>,
    /// The streams that access loggers here log; `None` if unknown.
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
    /// Scans a value and everything in it.
    pub fn scan(&mut self, place: &NodeRef<'a>, scope: &Scope<'a>) {
        let mut scope = scope.clone();
        if place.get("filter").is_some() {
            scope.early_logging = None;
        }
        if let Some((kind, fields)) = typed(place) {
            scope.enter(kind, &fields);
            if kind == "envoy.config.cluster.v3.Cluster" {
                self.add_cluster(&fields);
            }
            if kind == "envoy.extensions.access_loggers.fluentd.v3.FluentdAccessLogConfig" {
                let early_logging = scope.early_logging.clone();
                self.loggers.push(FluentdLogger { place: fields, early_logging });
            }
        }
        if place.get("vm_config").is_some() {
            self.add_plugin(place, &scope);
            return;
        }
        if let Some(resources) = place.get("static_resources") {
            let clusters = resources.get("clusters");
            clusters.iter().flat_map(NodeRef::items).for_each(|cluster| self.add_cluster(&cluster));
        }
        if let Some(dynamic) = place.get("dynamic_resources") {
            self.more_clusters |= dynamic.get("cds_config").is_some();
        }
        for (key, value) in place.entries() {
            let mut scope = scope.clone();
            match key {
                "filters" => _ = scope.tcp.get_or_insert_with(|| traffic_path(&value)),
                // A listener logs connections, even if its filters are for HTTP.
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

    fn add_plugin(&mut self, place: &NodeRef<'a>, scope: &Scope<'a>) {
        let attach = scope.attach_point();
        let name = place.text_of("name").unwrap_or_default().to_owned();
        let (code, remote_code) = code(place);
        let Some(module) = ModuleKind::identify(code, &name, attach) else { return };
        // A plugin with an unknown attach point is judged like an HTTP filter.
        let attach_point = attach.unwrap_or(AttachPoint::HttpFilter);
        let traffic = match attach_point {
            AttachPoint::HttpFilter | AttachPoint::AccessLogger { .. } => scope.http.clone(),
            AttachPoint::NetworkFilter => scope.tcp.clone(),
            AttachPoint::Bootstrap { .. } | AttachPoint::StatSink => None,
        };
        let vm_id = place.at(&["vm_config", "vm_id"]).and_then(|vm_id| vm_id.text()).unwrap_or_default();
        self.plugins.push(Plugin {
            name,
            module,
            attach_point,
            vm_id: VmId::Configured(vm_id.to_owned()),
            configuration: configuration(place),
            failure: failure(place),
            traffic,
            remote_code,
            counts_grpc_messages: scope.counts_grpc_messages,
            capabilities: place.at(&["capability_restriction_config", "allowed_capabilities"]),
            place: place.clone(),
        });
    }
}

impl<'a> Scope<'a> {
    /// The scope of a part of a configuration that a manifest adds for these requests and connections.
    pub fn for_traffic(http: TrafficPath, tcp: TrafficPath) -> Self {
        Self { http: Some(http), tcp: Some(tcp), ..Self::default() }
    }

    fn enter(&mut self, kind: &'a str, fields: &NodeRef<'a>) {
        match kind.rsplit('.').next() {
            Some("HttpConnectionManager") => {
                self.http.get_or_insert_with(|| traffic_path(fields));
                self.counts_grpc_messages =
                    fields.get("http_filters").as_ref().and_then(counts_grpc_messages);
                self.early_logging = early_logging(fields);
                self.logged = Some(Streams::Http);
            }
            // Its access loggers see the connections of its filter chain.
            Some("TcpProxy") => {
                self.http = self.tcp.clone();
                self.logged = Some(Streams::Tcp);
            }
            _ => {}
        }
        self.extension = Some((kind, fields.clone()));
    }

    /// The attach point of a plugin; `None` if the enclosing extension does not run Wasm.
    fn attach_point(&self) -> Option<AttachPoint> {
        let (kind, fields) = self.extension.as_ref()?;
        match *kind {
            "envoy.extensions.filters.http.wasm.v3.Wasm" => Some(AttachPoint::HttpFilter),
            "envoy.extensions.filters.network.wasm.v3.Wasm" => Some(AttachPoint::NetworkFilter),
            "envoy.extensions.access_loggers.wasm.v3.WasmAccessLog" => {
                Some(AttachPoint::AccessLogger { streams: self.logged })
            }
            "envoy.extensions.stat_sinks.wasm.v3.Wasm" => Some(AttachPoint::StatSink),
            "envoy.extensions.wasm.v3.WasmService" => {
                Some(AttachPoint::Bootstrap { singleton: is_true(fields, "singleton") })
            }
            _ => None,
        }
    }
}

/// The type and fields of a typed message: `@type` beside the fields, or a TypedStruct around them.
fn typed<'a>(place: &NodeRef<'a>) -> Option<(&'a str, NodeRef<'a>)> {
    let name = |url: &'a str| url.rsplit('/').next().unwrap_or(url);
    let kind = name(place.text_of("@type")?);
    if kind == "udpa.type.v1.TypedStruct" || kind == "xds.type.v3.TypedStruct" {
        return Some((name(place.text_of("type_url")?), place.get("value")?));
    }
    Some((kind, place.clone()))
}

/// Whether one of these HTTP filters writes the number of gRPC messages into the filter state; `None` if the
/// type of a filter is not in this file.
fn counts_grpc_messages(filters: &NodeRef<'_>) -> Option<bool> {
    let mut counts = false;
    for filter in filters.items() {
        let config = filter.get("typed_config")?;
        let (kind, fields) = typed(&config)?;
        counts |= kind == "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig"
            && is_true(&fields, "emit_filter_state");
    }
    Some(counts)
}

/// The field that makes a connection manager log requests before they end.
fn early_logging<'a>(manager: &NodeRef<'a>) -> Option<NodeRef<'a>> {
    let places = [manager.get("access_log_options"), Some(manager.clone())];
    let mut fields = places.iter().flatten().flat_map(|place| EARLY_LOGGING.map(|field| place.get(field)));
    fields.find_map(|field| field.filter(|field| field.text() != Some("false")))
}

/// The source of a plugin's code: a path or URL, and the node of a remote source.
fn code<'a>(plugin: &NodeRef<'a>) -> (Option<&'a str>, Option<NodeRef<'a>>) {
    let Some(code) = plugin.at(&["vm_config", "code"]) else { return (None, None) };
    if let Some(remote) = code.get("remote") {
        let uri = remote.at(&["http_uri", "uri"]).and_then(|uri| uri.text());
        return (uri, Some(remote));
    }
    (code.at(&["local", "filename"]).and_then(|file| file.text()), None)
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
    let (policy, open) = (plugin.get("failure_policy"), plugin.get("fail_open"));
    let named = policy.as_ref().and_then(NodeRef::text).map(|name| match name {
        "FAIL_OPEN" => FailurePolicy::Open,
        "FAIL_RELOAD" => FailurePolicy::Reload,
        _ => FailurePolicy::Closed,
    });
    let is_open = open.is_some() && is_true(plugin, "fail_open");
    let (policy, place) = match (named, policy, open) {
        (Some(_), _, Some(open)) if is_open => (FailurePolicy::Conflict, open),
        (Some(named), Some(place), _) => (named, place),
        (_, _, Some(open)) if is_open => (FailurePolicy::FailOpen, open),
        _ => (FailurePolicy::Closed, plugin.clone()),
    };
    FailureHandling { policy, place, remedy: RELOAD }
}

/// Whether a field is present and true.
pub fn is_true(place: &NodeRef<'_>, field: &str) -> bool {
    let node = place.get(field).map(|value| value.node.clone());
    node.is_some_and(|node| match node.value {
        Value::Scalar(scalar) => matches!(scalar.text.as_str(), "true" | "True" | "TRUE" | "yes" | "on"),
        _ => false,
    })
}

fn traffic_path(place: &NodeRef<'_>) -> TrafficPath {
    TrafficPath { through: format!("{}:{}", place.document.file, place.path()), context: None }
}
