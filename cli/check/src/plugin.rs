//! A Wasm plugin of ours in a configuration, whatever kind of file it is in.

use tributary_plan::config::WorkerConfig;
use tributary_plan::plan::Streams;
use tributary_proto::config::Problems;
use tributary_service::config::ServiceConfig;

use crate::yaml::place::Place;

/// A plugin that runs one of our modules.
#[derive(Clone, Debug)]
pub struct Plugin<'a> {
    /// The whole plugin: Envoy's `PluginConfig`, or the manifest's part that becomes one.
    pub place: Place<'a>,
    /// What it is called.
    pub name: String,
    /// Which module it runs.
    pub role: Role,
    /// Whether its module only measures, as `worker_filter.wasm` does; not if that cannot be told.
    pub only_measures: bool,
    /// Where it is attached.
    pub attach: Attach,
    /// Under which name its VM shares data and queues.
    pub vm_id: VmId,
    /// What it is told.
    pub configuration: Configuration<'a>,
    /// What becomes of it when it fails.
    pub failure: Failure<'a>,
    /// The requests that pass it; none if that cannot be told.
    pub way: Option<Way>,
    /// Whether Envoy counts the messages of gRPC calls for it, by its filter `grpc_stats`; none if that cannot be told.
    pub counts_grpc_messages: Option<bool>,
    /// Where its code comes from over the network, if it does.
    pub remote_code: Option<Place<'a>>,
    /// What the host lets it do, if that is restricted.
    pub capabilities: Option<Place<'a>>,
}

/// The two modules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `worker_filter.wasm` or `worker_filter_full.wasm`.
    Worker,
    /// `service.wasm`.
    Service,
}

/// Where a plugin is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// `envoy.filters.http.wasm`.
    HttpFilter,
    /// `envoy.filters.network.wasm`.
    NetworkFilter,
    /// `envoy.access_loggers.wasm`.
    AccessLogger {
        /// What is logged where it is attached; none if that cannot be told.
        streams: Option<Streams>,
    },
    /// `envoy.bootstrap.wasm`.
    Bootstrap {
        /// Whether there is one for all workers.
        singleton: bool,
    },
    /// `envoy.stat_sinks.wasm`.
    StatSink,
}

/// The `vm_id` of a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VmId {
    /// As it is written; empty if it is not.
    Written(String),
    /// Envoy Gateway gives each policy its own.
    OfPolicy,
}

/// What a plugin is told.
#[derive(Clone, Debug)]
pub enum Configuration<'a> {
    /// Nothing: it has its defaults.
    None,
    /// A tree of values.
    Struct(Place<'a>),
    /// A text, which holds JSON.
    Text(Place<'a>),
    /// Something that the modules cannot read; the text says what.
    Unreadable(Place<'a>, String),
}

/// What becomes of a plugin when it fails.
#[derive(Clone, Debug)]
pub struct Failure<'a> {
    /// What is done.
    pub policy: Policy,
    /// Where that is said: the plugin itself if it is not.
    pub place: Place<'a>,
    /// How to ask for a new VM in this kind of file, if it can be.
    pub remedy: &'static str,
}

/// What is done when a plugin has failed (Envoy's `FailurePolicy`, and the older `fail_open`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Its requests are answered by 503 until Envoy is started anew; the default.
    Closed,
    /// New requests pass it by.
    Open,
    /// All requests pass it by, the open ones too.
    FailOpen,
    /// It gets a new VM.
    Reload,
    /// Two that exclude each other.
    Both,
}

/// Which requests pass a plugin: those of one connection manager, or of the proxies that a manifest selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// The connection manager, or the manifest's selection.
    pub through: String,
    /// Istio's context (`SIDECAR_INBOUND`, …); none for any.
    pub context: Option<String>,
}

/// What a module makes of its configuration.
#[derive(Clone, Debug)]
pub enum Parsed {
    /// What a worker is to do.
    Worker(Box<WorkerConfig>),
    /// What the service is to do.
    Service(Box<ServiceConfig>),
}

impl Plugin<'_> {
    /// Whether it is the service, where a service can work.
    pub fn is_service(&self) -> bool {
        self.role == Role::Service && matches!(self.attach, Attach::Bootstrap { .. } | Attach::StatSink)
    }
}

impl Role {
    /// The module's file.
    pub fn module(self) -> &'static str {
        match self {
            Self::Worker => "worker_filter.wasm",
            Self::Service => "service.wasm",
        }
    }

    /// The module's own verdict on its configuration.
    ///
    /// # Errors
    /// It refuses it; the problems are those that Envoy's log would show.
    pub fn parse(self, json: &[u8]) -> Result<Parsed, Problems> {
        match self {
            Self::Worker => WorkerConfig::parse(json).map(|config| Parsed::Worker(Box::new(config))),
            Self::Service => ServiceConfig::parse(json).map(|config| Parsed::Service(Box::new(config))),
        }
    }

    /// Whether a worker's code is the module that only measures.
    pub fn only_measures(code: Option<&str>) -> bool {
        let file = file_of(code);
        file.starts_with("worker_filter") && !file.starts_with("worker_filter_full")
    }

    /// Which of our modules a plugin runs, by where its code comes from, what it is called and where it is attached; none
    /// if it is not ours.
    pub fn of(code: Option<&str>, name: &str, attach: Option<Attach>) -> Option<Self> {
        let file = file_of(code);
        if file.starts_with("worker_filter") || file.starts_with("tributary_worker_filter") {
            return Some(Self::Worker);
        }
        if matches!(file.as_str(), "service.wasm" | "tributary_service" | "tributary_service.wasm") {
            return Some(Self::Service);
        }
        let from_us = code.is_some_and(|code| code.contains("tributary"));
        if !name.contains("tributary") && !from_us {
            return None;
        }
        if from_us && file == "service" {
            return Some(Self::Service);
        }
        match attach? {
            Attach::Bootstrap { .. } | Attach::StatSink => Some(Self::Service),
            Attach::HttpFilter | Attach::NetworkFilter | Attach::AccessLogger { .. } => Some(Self::Worker),
        }
    }
}

/// The last part of a path or an address, without version or query, with underscores.
fn file_of(code: Option<&str>) -> String {
    let file = code.unwrap_or_default().rsplit('/').next().unwrap_or_default();
    file.split(['@', ':', '?']).next().unwrap_or_default().replace('-', "_")
}

impl Way {
    /// Whether some request passes both.
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
    fn our_plugins_are_known_by_their_module_or_their_name() {
        let bootstrap = Some(Attach::Bootstrap { singleton: true });
        for (code, name, attach, role) in [
            (Some("/etc/envoy/worker_filter.wasm"), "x", None, Some(Role::Worker)),
            (Some("target/wasm/worker_filter_full.wasm"), "x", None, Some(Role::Worker)),
            (Some("oci://host:5000/a/tributary-worker-filter:0.1.0"), "x", None, Some(Role::Worker)),
            (Some("oci://host/tributary-service@sha256:00"), "x", None, Some(Role::Service)),
            (Some("oci://host/tributary/service:1"), "x", Some(Attach::HttpFilter), Some(Role::Service)),
            (Some("oci://host/shop/service:1"), "x", Some(Attach::HttpFilter), None),
            (Some("https://host/service.wasm?v=1"), "x", None, Some(Role::Service)),
            (Some("/plugin.wasm"), "tributary_worker", Some(Attach::HttpFilter), Some(Role::Worker)),
            (None, "my-tributary", bootstrap, Some(Role::Service)),
            (Some("/opt/tributary/plugin.wasm"), "x", Some(Attach::StatSink), Some(Role::Service)),
            (Some("/coraza.wasm"), "waf", Some(Attach::HttpFilter), None),
            (Some("/another_service.wasm"), "x", bootstrap, None),
        ] {
            assert_eq!(Role::of(code, name, attach), role, "{code:?} {name}");
        }
    }
}
