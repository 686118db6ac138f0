//! What is measured side by side: one Envoy with nothing, and ones with each way to count.

use std::fmt;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tributary_tests::config::EnvoyConfig;

use super::attachment::{
    access_log, extension, http_filter, json_access_log, lua, network_filter, structure, text, textbook,
    wasm_access_log, wasm_http_filter, wasm_network_filter, with_service,
};
use super::log_stream::log_stream;
use super::metric_set::{self, MetricSet};
use super::module::Modules;

/// One configuration of Envoy.
#[derive(Clone, Copy)]
pub(crate) struct Subject {
    pub(crate) way: Way,
    /// What is counted, where anything is.
    pub(crate) set: Option<&'static MetricSet>,
}

/// Who an Envoy talks to.
#[derive(Clone, Copy)]
pub(crate) struct Neighbours {
    /// Where ours export to.
    pub(crate) collector: SocketAddr,
    /// Where TCP connections go.
    pub(crate) upstream: SocketAddr,
}

/// A way to count, or not to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Envoy with nothing added: what all others are compared with.
    None,
    /// A Wasm access logger that does nothing.
    EmptyAccessLog,
    /// A Wasm HTTP filter that does nothing.
    EmptyHttpFilter,
    /// A Wasm access logger that reads the set in one CEL list and does nothing with it.
    ListAccessLog,
    /// A Wasm HTTP filter that does.
    ListHttpFilter,
    /// Envoy's file access logger, in JSON to /dev/null.
    Json,
    /// A Lua filter that counts by method, status code and route.
    Lua,
    /// Envoy's StatsAccessLogger.
    Native,
    /// Ours, as an access logger.
    AccessLog,
    /// Ours, told of requests by Envoy's own access logger.
    LogStream,
    /// Ours, as an HTTP filter.
    HttpFilter,
    /// Ours, as a filter of TCP connections.
    TcpFilter,
    /// Ours as an HTTP filter as a textbook has it: single properties, one message and one counter per request.
    Textbook,
}

/// The names of the plugins.
const LISTENER: &str = "ingress";
const BASE: &str = include_str!("base.yaml");
const TCP_BASE: &str = include_str!("tcp.yaml");
/// The cluster of the TCP proxy.
const UPSTREAM: &str = "upstream";

impl Way {
    /// Ways that count one set only, or none.
    const SINGLE: [Self; 5] =
        [Self::None, Self::EmptyAccessLog, Self::EmptyHttpFilter, Self::Json, Self::Lua];
    /// Ways that are measured with every set.
    const BY_SET: [Self; 7] = [
        Self::Native,
        Self::LogStream,
        Self::AccessLog,
        Self::HttpFilter,
        Self::ListAccessLog,
        Self::ListHttpFilter,
        Self::Textbook,
    ];
    /// Ways that are measured with TCP connections.
    const TCP: [Self; 4] = [Self::None, Self::Native, Self::AccessLog, Self::TcpFilter];

    /// Its name on the command line and in results.
    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::EmptyAccessLog => "empty-access-log",
            Self::EmptyHttpFilter => "empty-http-filter",
            Self::ListAccessLog => "list-access-log",
            Self::ListHttpFilter => "list-http-filter",
            Self::Json => "json",
            Self::Lua => "lua",
            Self::Native => "native",
            Self::AccessLog => "access-log",
            Self::LogStream => "log-stream",
            Self::HttpFilter => "http-filter",
            Self::TcpFilter => "filter",
            Self::Textbook => "textbook",
        }
    }

    /// Whether its cost is compared with that of the native logger with the same set.
    pub(crate) fn is_compared(self) -> bool {
        self.is_ours() || matches!(self, Self::ListAccessLog | Self::ListHttpFilter)
    }

    /// Whether it is this project's.
    pub(crate) fn is_ours(self) -> bool {
        matches!(
            self,
            Self::LogStream | Self::AccessLog | Self::HttpFilter | Self::TcpFilter | Self::Textbook
        )
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (Way::BY_SET.contains(&self.way) || self.is_tcp(), self.set) {
            (true, Some(set)) => write!(f, "{}-{}", self.way.name(), set.name),
            _ => f.write_str(self.way.name()),
        }
    }
}

/// Everything that can be measured.
pub(crate) fn all() -> Vec<Subject> {
    let full = MetricSet::named("full");
    let single = Way::SINGLE.map(|way| Subject { way, set: full.filter(|_| way == Way::Json) });
    let by_set = metric_set::ALL
        .into_iter()
        .flat_map(|set| {
            let ways: &[Way] = if set.is_tcp { &Way::TCP } else { &Way::BY_SET };
            ways.iter().map(|&way| Subject { way, set: Some(set) })
        })
        .filter(|subject| subject.way != Way::Textbook || subject.set.is_some_and(|set| set.has_textbook));
    single.into_iter().chain(by_set).collect()
}

/// The subjects of these names, with those that they are compared with; all of them for no names.
///
/// A name is that of a subject, of a way or of a set: `native` means every `native-…`, and `full` every `…-full`.
pub(crate) fn select(names: &[String]) -> Result<Vec<Subject>> {
    let all = all();
    if names.is_empty() {
        return Ok(all);
    }
    for name in names {
        ensure!(
            all.iter().any(|subject| subject.is_meant(name)),
            "there is no {name:?} to measure; there are {}",
            all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        );
    }
    let asked = |subject: &Subject| names.iter().any(|name| subject.is_meant(name));
    let is_counterpart = |native: &Subject| {
        let of_same_set = |other: &Subject| native.set.is_some_and(|set| other.is(other.way, set.name));
        native.way == Way::Native
            && all.iter().any(|other| other.way.is_compared() && asked(other) && of_same_set(other))
    };
    let is_base = |base: &Subject| {
        base.way == Way::None && all.iter().any(|other| asked(other) && other.is_tcp() == base.is_tcp())
    };
    let wanted = |subject: &&Subject| is_base(subject) || asked(subject) || is_counterpart(subject);
    Ok(all.iter().filter(wanted).copied().collect())
}

impl Subject {
    /// Whether it is of this way, with the set of this name.
    pub(crate) fn is(&self, way: Way, set: &str) -> bool {
        self.way == way && self.set.is_some_and(|own| own.name == set)
    }

    /// Whether its latency is measured: that of an Envoy with nothing and with the full set.
    pub(crate) fn has_latency(&self) -> bool {
        self.way == Way::None || self.set.is_some_and(|set| set.name == "full" && self.way != Way::Json)
    }

    /// Whether it is of TCP connections.
    pub(crate) fn is_tcp(&self) -> bool {
        self.set.is_some_and(|set| set.is_tcp)
    }

    /// Whether this name means it, alone or among others.
    fn is_meant(&self, name: &str) -> bool {
        let own = self.to_string();
        let way = self.way.name();
        own == name || way == name || own == format!("{way}-{name}")
    }

    /// An Envoy with nothing, on free ports.
    fn base(&self, neighbours: Neighbours) -> Result<EnvoyConfig> {
        let base = if self.is_tcp() { TCP_BASE } else { BASE };
        let config = EnvoyConfig::parse("the benchmark's configuration", base)?.free_ports();
        Ok(if self.is_tcp() { config.static_cluster(UPSTREAM, neighbours.upstream) } else { config })
    }

    /// Its Envoy's configuration, on free ports.
    pub(crate) fn config(&self, modules: &Modules, neighbours: Neighbours) -> Result<EnvoyConfig> {
        let config = self.base(neighbours)?;
        let set = || self.set.with_context(|| format!("{self} counts nothing"));
        Ok(match self.way {
            Way::None => config,
            Way::EmptyAccessLog => {
                access_log(config, &wasm_access_log(&modules.empty, &structure(&json!({}))))
            }
            Way::EmptyHttpFilter => {
                http_filter(config, &wasm_http_filter(&modules.empty, &structure(&json!({}))))
            }
            Way::ListAccessLog => access_log(config, &wasm_access_log(&modules.list, &text(&set()?.list()?))),
            Way::ListHttpFilter => {
                http_filter(config, &wasm_http_filter(&modules.list, &text(&set()?.list()?)))
            }
            Way::Json => access_log(config, &json_access_log(&set()?.json_format())),
            Way::Lua => http_filter(config, &lua()),
            Way::Native => access_log(config, &extension("envoy.access_loggers.stats", &set()?.native())),
            Way::AccessLog | Way::HttpFilter | Way::TcpFilter => {
                return self.ours(&set()?.worker(), modules, neighbours);
            }
            Way::LogStream => {
                let (record, module) = (set()?.log_record(), &modules.worker_filter_full);
                let config = with_service(config, modules, neighbours);
                log_stream(config, &record, module, &set()?.worker())?
            }
            Way::Textbook => {
                let filter = wasm_http_filter(&modules.textbook, &structure(&textbook(set()?.worker())));
                with_service(http_filter(config, &filter), modules, neighbours)
            }
        })
    }

    /// An Envoy with ours as an access logger or filter, with this configuration of the worker filter.
    pub(crate) fn ours(
        &self,
        worker: &Value,
        modules: &Modules,
        neighbours: Neighbours,
    ) -> Result<EnvoyConfig> {
        let config = self.base(neighbours)?;
        let worker = &structure(worker);
        let config = match self.way {
            Way::TcpFilter => network_filter(config, &wasm_network_filter(&modules.worker_filter, worker)),
            Way::HttpFilter => http_filter(config, &wasm_http_filter(&modules.worker_filter, worker)),
            _ => access_log(config, &wasm_access_log(&modules.worker_filter, worker)),
        };
        Ok(with_service(config, modules, neighbours))
    }

    /// The listener that answers.
    pub(crate) fn listener(&self) -> &'static str {
        LISTENER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(names: &[&str]) -> Vec<String> {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        select(&names).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn ours_come_with_the_empty_envoy_and_the_native_logger_of_the_same_set() {
        assert_eq!(selected(&["access-log-full"]), ["none", "native-full", "access-log-full"]);
        assert_eq!(selected(&["lua", "json"]), ["none", "json", "lua"]);
    }

    #[test]
    fn a_way_means_all_of_its_sets_and_a_set_all_of_its_ways() {
        assert_eq!(
            selected(&["native"]),
            ["none", "native-preset", "native-small", "native-full", "native-wide", "none-tcp", "native-tcp"]
        );
        let small =
            ["native", "log-stream", "access-log", "http-filter", "list-access-log", "list-http-filter"];
        assert_eq!(selected(&["small"])[1..], small.map(|way| format!("{way}-small")));
        assert_eq!(selected(&["empty-access-log"]), ["none", "empty-access-log"]);
        assert_eq!(selected(&["tcp"]), ["none-tcp", "native-tcp", "access-log-tcp", "filter-tcp"]);
    }

    #[test]
    fn an_unknown_name_is_refused_with_all_that_there_are() {
        let error = select(&["ful".to_owned()]).err().unwrap().to_string();
        assert!(error.contains(r#"no "ful" to measure"#) && error.contains("access-log-full"), "{error}");
    }

    #[test]
    fn every_configuration_can_be_written() {
        let path = || std::path::PathBuf::from("target/x.wasm");
        let (worker_filter, worker_filter_full, service) = (path(), path(), path());
        let modules = Modules {
            worker_filter,
            worker_filter_full,
            service,
            empty: path(),
            list: path(),
            textbook: path(),
        };
        let address = ([127, 0, 0, 1], 4318).into();
        let neighbours = Neighbours { collector: address, upstream: address };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _entered = runtime.enter();
        for subject in all() {
            let yaml = subject.config(&modules, neighbours).and_then(|config| config.to_yaml());
            let yaml = yaml.unwrap_or_else(|error| panic!("{subject}: {error:#}"));
            assert_eq!(yaml.contains("envoy.bootstrap.wasm"), subject.way.is_ours(), "{subject}");
            let last = if subject.is_tcp() {
                "envoy.filters.network.tcp_proxy"
            } else {
                "envoy.filters.http.router"
            };
            assert!(yaml.contains(last), "{subject}");
        }
    }
}
