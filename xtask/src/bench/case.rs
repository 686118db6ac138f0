//! The cases of the benchmark: an Envoy that counts nothing, and one for each way to count.

use std::fmt;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tributary_tests::config::EnvoyConfig;

use super::attachment::{
    access_log, extension, http_filter, json_access_log, log_stream, lua, network_filter, structure, text,
    textbook, wasm_access_log, wasm_http_filter, wasm_network_filter, with_service,
};
use super::metric_set::{self, MetricSet};
use super::module::BenchModules;

/// One configuration of Envoy to measure.
#[derive(Clone, Copy)]
pub(crate) struct BenchCase {
    pub(crate) method: CountingMethod,
    /// The metrics; `None` if nothing is counted.
    pub(crate) set: Option<&'static MetricSet>,
}

/// The servers that an Envoy connects to.
#[derive(Clone, Copy)]
pub(crate) struct Endpoints {
    /// The destination of the service's exports.
    pub(crate) collector: SocketAddr,
    /// The upstream of TCP connections.
    pub(crate) upstream: SocketAddr,
}

/// A way to count requests, or a baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CountingMethod {
    /// Envoy alone, the baseline of all others.
    None,
    /// A Wasm access logger that does nothing.
    EmptyAccessLog,
    /// A Wasm HTTP filter that does nothing.
    EmptyHttpFilter,
    /// A Wasm access logger that evaluates the set's CEL list and ignores the result.
    ListAccessLog,
    /// A Wasm HTTP filter that evaluates the set's CEL list and ignores the result.
    ListHttpFilter,
    /// Envoy's file access logger, in JSON to /dev/null.
    Json,
    /// A Lua filter that counts by method, status code and route.
    Lua,
    /// Envoy's StatsAccessLogger.
    Native,
    /// Tributary as an access logger.
    AccessLog,
    /// Tributary as a log stream, with records of Envoy's fluentd access logger.
    LogStream,
    /// Tributary as an HTTP filter.
    HttpFilter,
    /// Tributary as a TCP filter.
    TcpFilter,
    /// Tributary as a simple HTTP filter: one host call per value, one message and one counter update per
    /// request.
    Textbook,
}

/// The listener of every case.
pub(crate) const LISTENER: &str = "ingress";
const BASE: &str = include_str!("base.yaml");
const TCP_BASE: &str = include_str!("tcp.yaml");
/// The cluster of the TCP proxy.
const UPSTREAM: &str = "upstream";
/// Tributary as an access logger, with a configuration of the worker filter that belongs to no set.
pub(crate) const ACCESS_LOG: BenchCase = BenchCase { method: CountingMethod::AccessLog, set: None };

impl CountingMethod {
    /// Methods that count one set or nothing.
    const SINGLE: [Self; 5] =
        [Self::None, Self::EmptyAccessLog, Self::EmptyHttpFilter, Self::Json, Self::Lua];
    /// Methods that are measured with every set.
    const BY_SET: [Self; 7] = [
        Self::Native,
        Self::LogStream,
        Self::AccessLog,
        Self::HttpFilter,
        Self::ListAccessLog,
        Self::ListHttpFilter,
        Self::Textbook,
    ];
    /// Methods that are measured with TCP connections.
    const TCP: [Self; 4] = [Self::None, Self::Native, Self::AccessLog, Self::TcpFilter];

    /// Its name on the command line and in reports.
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

    /// Whether its cost is compared with that of Envoy's StatsAccessLogger for the same set.
    pub(crate) fn is_compared(self) -> bool {
        self.is_ours() || matches!(self, Self::ListAccessLog | Self::ListHttpFilter)
    }

    /// Whether it is Tributary.
    pub(crate) fn is_ours(self) -> bool {
        matches!(
            self,
            Self::LogStream | Self::AccessLog | Self::HttpFilter | Self::TcpFilter | Self::Textbook
        )
    }
}

impl fmt::Display for BenchCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (CountingMethod::BY_SET.contains(&self.method) || self.is_tcp(), self.set) {
            (true, Some(set)) => write!(f, "{}-{}", self.method.name(), set.name),
            _ => f.write_str(self.method.name()),
        }
    }
}

/// All cases.
pub(crate) fn all() -> Vec<BenchCase> {
    let full = MetricSet::named("full");
    let single = CountingMethod::SINGLE
        .map(|method| BenchCase { method, set: full.filter(|_| method == CountingMethod::Json) });
    let by_set = metric_set::ALL
        .into_iter()
        .flat_map(|set| {
            let methods: &[CountingMethod] =
                if set.is_tcp { &CountingMethod::TCP } else { &CountingMethod::BY_SET };
            methods.iter().map(|&method| BenchCase { method, set: Some(set) })
        })
        .filter(|case| {
            case.method != CountingMethod::Textbook || case.set.is_some_and(|set| set.has_textbook)
        });
    single.into_iter().chain(by_set).collect()
}

/// The cases with these names and the cases that they are compared with; all cases if `names` is empty.
///
/// A name is that of a case, a method or a set: `native` selects every `native-…`, and `full` every `…-full`.
pub(crate) fn select(names: &[String]) -> Result<Vec<BenchCase>> {
    let all = all();
    if names.is_empty() {
        return Ok(all);
    }
    for name in names {
        ensure!(
            all.iter().any(|case| case.matches_name(name)),
            "there is no case {name:?}; the cases are {}",
            all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        );
    }
    let asked = |case: &BenchCase| names.iter().any(|name| case.matches_name(name));
    let is_counterpart = |native: &BenchCase| {
        let of_same_set = |other: &BenchCase| native.set.is_some_and(|set| other.is(other.method, set.name));
        native.method == CountingMethod::Native
            && all.iter().any(|other| other.method.is_compared() && asked(other) && of_same_set(other))
    };
    let is_base = |base: &BenchCase| {
        base.method == CountingMethod::None
            && all.iter().any(|other| asked(other) && other.is_tcp() == base.is_tcp())
    };
    let wanted = |case: &&BenchCase| is_base(case) || asked(case) || is_counterpart(case);
    Ok(all.iter().filter(wanted).copied().collect())
}

impl BenchCase {
    /// Whether it has this method and the set with this name.
    pub(crate) fn is(&self, method: CountingMethod, set: &str) -> bool {
        self.method == method && self.set.is_some_and(|own| own.name == set)
    }

    /// Whether its latency is measured: only the baseline and the full set.
    pub(crate) fn has_latency(&self) -> bool {
        self.method == CountingMethod::None
            || self.set.is_some_and(|set| set.name == "full" && self.method != CountingMethod::Json)
    }

    /// Whether it counts TCP connections.
    pub(crate) fn is_tcp(&self) -> bool {
        self.set.is_some_and(|set| set.is_tcp)
    }

    /// Whether a name on the command line selects it.
    fn matches_name(&self, name: &str) -> bool {
        let own = self.to_string();
        let method = self.method.name();
        own == name || method == name || own == format!("{method}-{name}")
    }

    /// The configuration of the baseline, on free ports.
    fn base(&self, endpoints: Endpoints) -> Result<EnvoyConfig> {
        let base = if self.is_tcp() { TCP_BASE } else { BASE };
        let config = EnvoyConfig::parse("the benchmark's configuration", base)?.free_ports();
        Ok(if self.is_tcp() { config.static_cluster(UPSTREAM, endpoints.upstream) } else { config })
    }

    /// The configuration of its Envoy, on free ports.
    pub(crate) fn config(&self, modules: &BenchModules, endpoints: Endpoints) -> Result<EnvoyConfig> {
        let config = self.base(endpoints)?;
        let set = || self.set.with_context(|| format!("{self} has no metric set"));
        Ok(match self.method {
            CountingMethod::None => config,
            CountingMethod::EmptyAccessLog => {
                access_log(config, &wasm_access_log(&modules.empty, &structure(&json!({}))))
            }
            CountingMethod::EmptyHttpFilter => {
                http_filter(config, &wasm_http_filter(&modules.empty, &structure(&json!({}))))
            }
            CountingMethod::ListAccessLog => {
                access_log(config, &wasm_access_log(&modules.list, &text(&set()?.list()?)))
            }
            CountingMethod::ListHttpFilter => {
                http_filter(config, &wasm_http_filter(&modules.list, &text(&set()?.list()?)))
            }
            CountingMethod::Json => access_log(config, &json_access_log(&set()?.json_format())),
            CountingMethod::Lua => http_filter(config, &lua()),
            CountingMethod::Native => {
                access_log(config, &extension("envoy.access_loggers.stats", &set()?.native()))
            }
            CountingMethod::AccessLog | CountingMethod::HttpFilter | CountingMethod::TcpFilter => {
                return self.ours(&set()?.worker(), modules, endpoints);
            }
            CountingMethod::LogStream => {
                let (record, module) = (set()?.log_record(), &modules.worker_filter);
                let config = with_service(config, modules, endpoints);
                log_stream(config, &record, module, &set()?.worker())?
            }
            CountingMethod::Textbook => {
                let filter = wasm_http_filter(&modules.textbook, &structure(&textbook(set()?.worker())));
                with_service(http_filter(config, &filter), modules, endpoints)
            }
        })
    }

    /// An Envoy with Tributary as an access logger or filter, with this configuration of the worker filter.
    pub(crate) fn ours(
        &self,
        worker: &Value,
        modules: &BenchModules,
        endpoints: Endpoints,
    ) -> Result<EnvoyConfig> {
        let config = self.base(endpoints)?;
        let worker = &structure(worker);
        let config = match self.method {
            CountingMethod::TcpFilter => {
                network_filter(config, &wasm_network_filter(&modules.worker_filter, worker))
            }
            CountingMethod::HttpFilter => {
                http_filter(config, &wasm_http_filter(&modules.worker_filter, worker))
            }
            _ => access_log(config, &wasm_access_log(&modules.worker_filter, worker)),
        };
        Ok(with_service(config, modules, endpoints))
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
    fn a_case_comes_with_its_baseline_and_the_native_logger_of_its_set() {
        assert_eq!(selected(&["access-log-full"]), ["none", "native-full", "access-log-full"]);
        assert_eq!(selected(&["lua", "json"]), ["none", "json", "lua"]);
    }

    #[test]
    fn a_method_selects_all_of_its_sets_and_a_set_all_of_its_methods() {
        assert_eq!(
            selected(&["native"]),
            ["none", "native-preset", "native-small", "native-full", "native-wide", "none-tcp", "native-tcp"]
        );
        let small =
            ["native", "log-stream", "access-log", "http-filter", "list-access-log", "list-http-filter"];
        assert_eq!(selected(&["small"])[1..], small.map(|method| format!("{method}-small")));
        assert_eq!(selected(&["empty-access-log"]), ["none", "empty-access-log"]);
        assert_eq!(selected(&["tcp"]), ["none-tcp", "native-tcp", "access-log-tcp", "filter-tcp"]);
    }

    #[test]
    fn an_unknown_name_is_an_error_that_lists_all_cases() {
        let error = select(&["ful".to_owned()]).err().unwrap().to_string();
        assert!(error.contains(r#"no case "ful""#) && error.contains("access-log-full"), "{error}");
    }

    #[test]
    fn every_configuration_is_complete() {
        let path = || std::path::PathBuf::from("target/x.wasm");
        let modules = BenchModules {
            worker_filter: path(),
            service: path(),
            empty: path(),
            list: path(),
            textbook: path(),
        };
        let address = ([127, 0, 0, 1], 4318).into();
        let endpoints = Endpoints { collector: address, upstream: address };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _entered = runtime.enter();
        for case in all() {
            let yaml = case.config(&modules, endpoints).and_then(|config| config.to_yaml());
            let yaml = yaml.unwrap_or_else(|error| panic!("{case}: {error:#}"));
            assert_eq!(yaml.contains("envoy.bootstrap.wasm"), case.method.is_ours(), "{case}");
            let last =
                if case.is_tcp() { "envoy.filters.network.tcp_proxy" } else { "envoy.filters.http.router" };
            assert!(yaml.contains(last), "{case}");
        }
    }
}
