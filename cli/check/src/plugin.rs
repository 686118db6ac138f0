//! Describes a Wasm plugin of Tributary in a configuration of any kind.

use tributary_plan::plan::Streams;

use crate::yaml::node_ref::NodeRef;

/// A plugin that runs one of Tributary's modules.
#[derive(Clone, Debug)]
pub struct ConfiguredPlugin<'a> {
    /// Envoy's `PluginConfig`, or the part of a manifest from which a `PluginConfig` is created.
    pub place: NodeRef<'a>,
    /// The module that the plugin runs.
    pub module: ModuleKind,
    /// The extension point that the plugin is attached to.
    pub extension_point: ExtensionPoint,
    /// The `vm_id`, the namespace of the plugin's shared data and queues; `None` if Envoy Gateway
    /// generates it.
    pub vm_id: Option<String>,
    /// The configuration of the plugin.
    pub configuration: Configuration<'a>,
    /// The failure policy of the plugin.
    pub failure: FailureHandling<'a>,
    /// The requests that pass the plugin; `None` if unknown.
    pub traffic: Option<TrafficPath>,
    /// Whether Envoy's filter `grpc_stats` counts the gRPC messages of these requests; `None` if unknown.
    pub counts_grpc_messages: Option<bool>,
}

/// A module of Tributary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModuleKind {
    /// `worker_filter.wasm`.
    Worker,
    /// `worker_filter_full.wasm`, or a worker filter in a file with another name.
    FullWorker,
    /// `service.wasm`.
    Service,
    /// `console.wasm`.
    Console,
}

/// The extension point that a plugin is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtensionPoint {
    /// `envoy.filters.http.wasm`.
    HttpFilter,
    /// `envoy.filters.network.wasm`.
    NetworkFilter,
    /// `envoy.access_loggers.wasm`.
    AccessLogger {
        /// Whether Envoy logs HTTP requests or TCP connections here; `None` if unknown.
        streams: Option<Streams>,
    },
    /// `envoy.bootstrap.wasm`.
    Bootstrap {
        /// Whether one instance runs for the whole process, instead of an instance on each worker.
        singleton: bool,
    },
    /// `envoy.stat_sinks.wasm`.
    StatSink,
}

/// The configuration of a plugin.
#[derive(Clone, Debug)]
pub enum Configuration<'a> {
    /// No configuration: the module uses its defaults.
    None,
    /// A tree of values (`google.protobuf.Struct`).
    Struct(NodeRef<'a>),
    /// A text that contains JSON (`google.protobuf.StringValue`).
    Text(NodeRef<'a>),
    /// A value of another type, which modules cannot read, with a message that names the type.
    Invalid(NodeRef<'a>, String),
}

/// The failure policy of a plugin, and where it is configured.
#[derive(Clone, Debug)]
pub struct FailureHandling<'a> {
    /// The failure policy.
    pub policy: FailurePolicy,
    /// The field that sets the policy, or the plugin if no field does.
    pub place: NodeRef<'a>,
    /// The advice for this kind of file: how to make Envoy replace a failed VM.
    pub remedy: &'static str,
}

/// Envoy's behaviour after a plugin has failed (its `FailurePolicy`, and the older field `fail_open`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailurePolicy {
    /// Requests get the status 503 until Envoy restarts. This is the default.
    Closed,
    /// New requests bypass the plugin.
    Open,
    /// All requests bypass the plugin, including open requests.
    FailOpen,
    /// Envoy replaces the VM.
    Reload,
    /// Both `failure_policy` and `fail_open` are set, which Envoy rejects.
    Conflict,
}

/// The requests that pass a plugin: the requests of one connection manager, or of the proxies that a manifest
/// selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrafficPath {
    /// The connection manager, or the manifest's selection.
    pub through: String,
    /// Istio's context, such as `SIDECAR_INBOUND`; `None` for any context.
    pub context: Option<String>,
}

impl<'a> ConfiguredPlugin<'a> {
    /// Returns whether the plugin is the service, at an extension point where a service works.
    pub fn is_service(&self) -> bool {
        self.module == ModuleKind::Service && self.extension_point.is_for_services()
    }

    /// Returns the configured value at a path such as `flush.interval`, or the closest value
    /// ([`Configuration::nearest`]). Returns the plugin if it has no readable configuration.
    pub fn place_of(&self, path: &str) -> NodeRef<'a> {
        self.configuration.nearest(path).unwrap_or_else(|| self.place.clone())
    }
}

impl ExtensionPoint {
    /// Returns whether a plugin at this extension point runs on the main thread and sees no traffic.
    pub fn is_for_services(self) -> bool {
        matches!(self, Self::Bootstrap { .. } | Self::StatSink)
    }
}

impl FailurePolicy {
    /// Returns the policy with this name in Envoy's or Istio's configuration; [`Self::Closed`] for `None`
    /// and unknown names.
    pub fn named(name: Option<&str>) -> Self {
        match name {
            Some("FAIL_OPEN") => Self::Open,
            Some("FAIL_RELOAD") => Self::Reload,
            _ => Self::Closed,
        }
    }
}

impl<'a> Configuration<'a> {
    /// Returns the value at a path such as `flush.interval`. If there is no such value, returns the last
    /// value on the path that exists, or the text that contains the configuration. Returns `None` if there
    /// is no readable configuration.
    pub fn nearest(&self, path: &str) -> Option<NodeRef<'a>> {
        match self {
            Self::Struct(value) => Some(value.nearest(path)),
            Self::Text(text) => Some(text.clone()),
            Self::None | Self::Invalid(..) => None,
        }
    }
}

impl ModuleKind {
    /// Returns the name of the module's file.
    pub fn file(self) -> &'static str {
        match self {
            Self::Worker => "worker_filter.wasm",
            Self::FullWorker => "worker_filter_full.wasm",
            Self::Service => "service.wasm",
            Self::Console => "console.wasm",
        }
    }

    /// Returns whether the module is a worker filter.
    pub fn is_worker(self) -> bool {
        matches!(self, Self::Worker | Self::FullWorker)
    }

    /// Returns the module of a plugin, derived from the source of its code, its name and its extension
    /// point. Returns `None` if the plugin is not Tributary's.
    pub fn identify(code: Option<&str>, name: &str, point: Option<ExtensionPoint>) -> Option<Self> {
        let is_ours = code.is_some_and(|code| code.contains("tributary"));
        match file_of(code).as_str() {
            file if file.starts_with("worker_filter_full") => Some(Self::FullWorker),
            file if file.starts_with("worker_filter") => Some(Self::Worker),
            file if file.starts_with("tributary_worker_filter") => Some(Self::FullWorker),
            "service.wasm" | "tributary_service" | "tributary_service.wasm" => Some(Self::Service),
            "console.wasm" | "tributary_console" | "tributary_console.wasm" => Some(Self::Console),
            "service" if is_ours => Some(Self::Service),
            "console" if is_ours => Some(Self::Console),
            _ if !is_ours && !name.contains("tributary") => None,
            _ if point?.is_for_services() => Some(Self::Service),
            _ => Some(Self::FullWorker),
        }
    }
}

/// Returns the last part of a path or URL, without version or query; hyphens become underscores.
fn file_of(code: Option<&str>) -> String {
    let file = code.unwrap_or_default().rsplit('/').next().unwrap_or_default();
    file.split(['@', ':', '?']).next().unwrap_or_default().replace('-', "_")
}

impl TrafficPath {
    /// Returns whether the same request can be on both traffic paths.
    pub fn overlaps(&self, other: &Self) -> bool {
        let contexts_meet = match (&self.context, &other.context) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        };
        self.through == other.through && contexts_meet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_is_recognised_by_its_module_or_its_name() {
        let bootstrap = Some(ExtensionPoint::Bootstrap { singleton: true });
        for (code, name, point, module) in [
            (Some("/etc/envoy/worker_filter.wasm"), "x", None, Some(ModuleKind::Worker)),
            (Some("target/wasm/worker_filter_full.wasm"), "x", None, Some(ModuleKind::FullWorker)),
            (
                Some("oci://host:5000/a/tributary-worker-filter:0.1.0"),
                "x",
                None,
                Some(ModuleKind::FullWorker),
            ),
            (Some("target/wasm/console.wasm"), "x", None, Some(ModuleKind::Console)),
            (Some("oci://host/tributary/console:1"), "x", None, Some(ModuleKind::Console)),
            (Some("oci://host/shop/console:1"), "x", Some(ExtensionPoint::HttpFilter), None),
            (Some("oci://host/tributary-service@sha256:00"), "x", None, Some(ModuleKind::Service)),
            (
                Some("oci://host/tributary/service:1"),
                "x",
                Some(ExtensionPoint::HttpFilter),
                Some(ModuleKind::Service),
            ),
            (Some("oci://host/shop/service:1"), "x", Some(ExtensionPoint::HttpFilter), None),
            (Some("https://host/service.wasm?v=1"), "x", None, Some(ModuleKind::Service)),
            (
                Some("/plugin.wasm"),
                "tributary_worker",
                Some(ExtensionPoint::HttpFilter),
                Some(ModuleKind::FullWorker),
            ),
            (None, "my-tributary", bootstrap, Some(ModuleKind::Service)),
            (
                Some("/opt/tributary/plugin.wasm"),
                "x",
                Some(ExtensionPoint::StatSink),
                Some(ModuleKind::Service),
            ),
            (Some("/coraza.wasm"), "waf", Some(ExtensionPoint::HttpFilter), None),
            (Some("/another_service.wasm"), "x", bootstrap, None),
        ] {
            assert_eq!(ModuleKind::identify(code, name, point), module, "{code:?} {name}");
        }
    }
}
