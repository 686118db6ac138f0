//! What there is of ours in a configuration that Envoy itself reads: a bootstrap, an LDS or CDS file, or a part of one in a
//! manifest.

use std::collections::BTreeSet;

use tributary_plan::plan::Streams;

use crate::plugin::{Attach, Configuration, Failure, Plugin, Policy, Role, VmId, Way};
use crate::yaml::Value;
use crate::yaml::place::Place;

/// What was found so far.
#[derive(Clone, Debug, Default)]
pub struct Found<'a> {
    /// Our plugins.
    pub plugins: Vec<Plugin<'a>>,
    /// Access loggers of which a log stream may come.
    pub logs: Vec<Log<'a>>,
    /// The names of clusters.
    pub clusters: BTreeSet<String>,
    /// Whether further clusters come from elsewhere.
    pub more_clusters: bool,
}

/// An access logger of Envoy's that hands over messages, as a log stream has them.
#[derive(Clone, Debug)]
pub struct Log<'a> {
    /// Its configuration.
    pub place: Place<'a>,
    /// What has Envoy log requests before they have ended, unless a filter may keep these away.
    pub early: Option<Place<'a>>,
}

/// What is around a value.
#[derive(Clone, Debug, Default)]
pub struct Around<'a> {
    /// The extension that it is in: its type's name and its fields.
    extension: Option<(&'a str, Place<'a>)>,
    /// The way of the HTTP requests here.
    http: Option<Way>,
    /// The way of the TCP connections here.
    tcp: Option<Way>,
    /// Whether the messages of gRPC calls are counted on the way of the HTTP requests; none if that cannot be told.
    counts_grpc_messages: Option<bool>,
    /// What access loggers here are told of; none if that cannot be told.
    logged: Option<Streams>,
    /// What has Envoy log requests here before they have ended.
    early: Option<Place<'a>>,
}

/// The fields of a connection manager, or of its `access_log_options`, by which requests are logged more than once.
const EARLY: [&str; 3] = [
    "flush_access_log_on_new_request",
    "access_log_flush_interval",
    "flush_log_on_tunnel_successfully_established",
];

/// What a listener has, and nothing else.
const CHAINS: [&str; 2] = ["filter_chains", "default_filter_chain"];

const RELOAD: &str = "set failure_policy: FAIL_RELOAD, which makes the VM anew";

impl<'a> Found<'a> {
    /// Looks into a value and everything below it.
    pub fn look_into(&mut self, place: &Place<'a>, around: &Around<'a>) {
        let mut around = around.clone();
        if place.get("filter").is_some() {
            around.early = None;
        }
        if let Some((kind, fields)) = typed(place) {
            around.enter(kind, &fields);
            if kind == "envoy.config.cluster.v3.Cluster" {
                self.add_cluster(&fields);
            }
            if kind == "envoy.extensions.access_loggers.fluentd.v3.FluentdAccessLogConfig" {
                self.logs.push(Log { place: fields, early: around.early.clone() });
            }
        }
        if place.get("vm_config").is_some() {
            self.add_plugin(place, &around);
            return;
        }
        if let Some(resources) = place.get("static_resources") {
            let clusters = resources.get("clusters");
            clusters.iter().flat_map(Place::items).for_each(|cluster| self.add_cluster(&cluster));
        }
        if let Some(dynamic) = place.get("dynamic_resources") {
            self.more_clusters |= dynamic.get("cds_config").is_some();
        }
        for (key, value) in place.entries() {
            let mut around = around.clone();
            match key {
                "filters" => _ = around.tcp.get_or_insert_with(|| way(&value)),
                // A listener logs connections, whatever its filters make of them.
                "access_log" if CHAINS.iter().any(|chains| place.get(chains).is_some()) => {
                    around.logged = Some(Streams::Tcp);
                }
                _ => {}
            }
            self.look_into(&value, &around);
        }
        place.items().for_each(|item| self.look_into(&item, &around));
    }

    /// Notes a cluster by its name.
    pub fn add_cluster(&mut self, cluster: &Place<'a>) {
        self.clusters.extend(cluster.text_of("name").map(str::to_owned));
    }

    fn add_plugin(&mut self, place: &Place<'a>, around: &Around<'a>) {
        let attach = around.attach();
        let name = place.text_of("name").unwrap_or_default().to_owned();
        let (code, remote_code) = code(place);
        let Some(role) = Role::of(code, &name, attach) else { return };
        // A plugin of which nobody can say where it is attached is looked at like a filter.
        let attach = attach.unwrap_or(Attach::HttpFilter);
        let way = match attach {
            Attach::HttpFilter | Attach::AccessLogger { .. } => around.http.clone(),
            Attach::NetworkFilter => around.tcp.clone(),
            Attach::Bootstrap { .. } | Attach::StatSink => None,
        };
        let vm_id = place.at(&["vm_config", "vm_id"]).and_then(|vm_id| vm_id.text()).unwrap_or_default();
        self.plugins.push(Plugin {
            name,
            role,
            only_measures: Role::only_measures(code),
            attach,
            vm_id: VmId::Written(vm_id.to_owned()),
            configuration: configuration(place),
            failure: failure(place),
            way,
            remote_code,
            counts_grpc_messages: around.counts_grpc_messages,
            capabilities: place.at(&["capability_restriction_config", "allowed_capabilities"]),
            place: place.clone(),
        });
    }
}

impl<'a> Around<'a> {
    /// What is around a part of a configuration that a manifest puts on the way of those requests and connections.
    pub fn on(http: Way, tcp: Way) -> Self {
        Self { http: Some(http), tcp: Some(tcp), ..Self::default() }
    }

    fn enter(&mut self, kind: &'a str, fields: &Place<'a>) {
        match kind.rsplit('.').next() {
            Some("HttpConnectionManager") => {
                self.http.get_or_insert_with(|| way(fields));
                self.counts_grpc_messages =
                    fields.get("http_filters").as_ref().and_then(counts_grpc_messages);
                self.early = early(fields);
                self.logged = Some(Streams::Http);
            }
            // What it logs are the connections that its filter chain has seen.
            Some("TcpProxy") => {
                self.http = self.tcp.clone();
                self.logged = Some(Streams::Tcp);
            }
            _ => {}
        }
        self.extension = Some((kind, fields.clone()));
    }

    /// Where a plugin is attached; none if the extension around it is not one of Wasm.
    fn attach(&self) -> Option<Attach> {
        let (kind, fields) = self.extension.as_ref()?;
        match *kind {
            "envoy.extensions.filters.http.wasm.v3.Wasm" => Some(Attach::HttpFilter),
            "envoy.extensions.filters.network.wasm.v3.Wasm" => Some(Attach::NetworkFilter),
            "envoy.extensions.access_loggers.wasm.v3.WasmAccessLog" => {
                Some(Attach::AccessLogger { streams: self.logged })
            }
            "envoy.extensions.stat_sinks.wasm.v3.Wasm" => Some(Attach::StatSink),
            "envoy.extensions.wasm.v3.WasmService" => {
                Some(Attach::Bootstrap { singleton: is_true(fields, "singleton") })
            }
            _ => None,
        }
    }
}

/// The type of a message that says it, and its fields: `@type` beside the fields, or a TypedStruct around them.
fn typed<'a>(place: &Place<'a>) -> Option<(&'a str, Place<'a>)> {
    let name = |url: &'a str| url.rsplit('/').next().unwrap_or(url);
    let kind = name(place.text_of("@type")?);
    if kind == "udpa.type.v1.TypedStruct" || kind == "xds.type.v3.TypedStruct" {
        return Some((name(place.text_of("type_url")?), place.get("value")?));
    }
    Some((kind, place.clone()))
}

/// Whether one of these HTTP filters leaves the number of a gRPC call's messages in the filter state; none if some filter's
/// type is not in this file.
fn counts_grpc_messages(filters: &Place<'_>) -> Option<bool> {
    let mut counts = false;
    for filter in filters.items() {
        let config = filter.get("typed_config")?;
        let (kind, fields) = typed(&config)?;
        counts |= kind == "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig"
            && is_true(&fields, "emit_filter_state");
    }
    Some(counts)
}

/// What has a connection manager log requests before they have ended.
fn early<'a>(manager: &Place<'a>) -> Option<Place<'a>> {
    let places = [manager.get("access_log_options"), Some(manager.clone())];
    let mut fields = places.iter().flatten().flat_map(|place| EARLY.map(|field| place.get(field)));
    fields.find_map(|field| field.filter(|field| field.text() != Some("false")))
}

/// Where the code comes from: the file or address, and the place that says so if it is an address.
fn code<'a>(plugin: &Place<'a>) -> (Option<&'a str>, Option<Place<'a>>) {
    let Some(code) = plugin.at(&["vm_config", "code"]) else { return (None, None) };
    if let Some(remote) = code.get("remote") {
        let uri = remote.at(&["http_uri", "uri"]).and_then(|uri| uri.text());
        return (uri, Some(remote));
    }
    (code.at(&["local", "filename"]).and_then(|file| file.text()), None)
}

fn configuration<'a>(plugin: &Place<'a>) -> Configuration<'a> {
    let Some(any) = plugin.get("configuration") else { return Configuration::None };
    let kind = any.text_of("@type").unwrap_or_default().rsplit('/').next().unwrap_or_default();
    match (kind, any.get("value")) {
        ("google.protobuf.Struct" | "google.protobuf.StringValue", None) => Configuration::None,
        ("google.protobuf.Struct", Some(value)) => Configuration::Struct(value),
        ("google.protobuf.StringValue", Some(value)) => Configuration::Text(value),
        (other, _) => {
            Configuration::Unreadable(any.clone(), format!("found a configuration of type {other:?}"))
        }
    }
}

fn failure<'a>(plugin: &Place<'a>) -> Failure<'a> {
    let (policy, open) = (plugin.get("failure_policy"), plugin.get("fail_open"));
    let named = policy.as_ref().and_then(Place::text).map(|name| match name {
        "FAIL_OPEN" => Policy::Open,
        "FAIL_RELOAD" => Policy::Reload,
        _ => Policy::Closed,
    });
    let is_open = open.is_some() && is_true(plugin, "fail_open");
    let (policy, place) = match (named, policy, open) {
        (Some(_), _, Some(open)) if is_open => (Policy::Both, open),
        (Some(named), Some(place), _) => (named, place),
        (_, _, Some(open)) if is_open => (Policy::FailOpen, open),
        _ => (Policy::Closed, plugin.clone()),
    };
    Failure { policy, place, remedy: RELOAD }
}

/// Whether a field is there and true.
pub fn is_true(place: &Place<'_>, field: &str) -> bool {
    let node = place.get(field).map(|value| value.node.clone());
    node.is_some_and(|node| match node.value {
        Value::Scalar(scalar) => matches!(scalar.text.as_str(), "true" | "True" | "TRUE" | "yes" | "on"),
        _ => false,
    })
}

fn way(place: &Place<'_>) -> Way {
    Way { through: format!("{}:{}", place.document.file, place.path()), context: None }
}
