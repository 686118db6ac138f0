//! The cases of the benchmark: an Envoy that counts nothing, and an Envoy for each way to count.

use std::fmt;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tributary_tests::config::EnvoyConfig;

use super::extension::{attach, configure};
use super::metric_set::{self, MetricSet};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CountingMethod {
    /// Envoy alone, the baseline of all other methods.
    None,
    /// A Wasm access logger that does nothing.
    EmptyAccessLog,
    /// A Wasm HTTP filter that does nothing.
    EmptyHttpFilter,
    /// A Wasm access logger that evaluates the set's CEL list and ignores the result.
    ListAccessLog,
    /// A Wasm HTTP filter that evaluates the set's CEL list and ignores the result.
    ListHttpFilter,
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
    #[serde(rename = "filter")]
    TcpFilter,
    /// Tributary as a simple HTTP filter: one host call per value, one message and one counter update per
    /// request.
    Textbook,
}

/// The listener of every case.
pub(crate) const LISTENER: &str = "ingress";
/// Tributary as an access logger, with a configuration of the worker filter that belongs to no set.
pub(crate) const ACCESS_LOG: BenchCase = BenchCase { method: CountingMethod::AccessLog, set: None };
/// The path of the configuration of the only access logger for HTTP.
const LOGGER: &str =
    "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.access_log[0].typed_config";

impl CountingMethod {
    /// Returns whether the cost of this method is compared with the cost of Envoy's StatsAccessLogger for
    /// the same set.
    pub(crate) fn is_compared(self) -> bool {
        self.is_ours() || matches!(self, Self::ListAccessLog | Self::ListHttpFilter)
    }

    /// Returns whether Tributary counts with this method.
    pub(crate) fn is_ours(self) -> bool {
        matches!(
            self,
            Self::LogStream | Self::AccessLog | Self::HttpFilter | Self::TcpFilter | Self::Textbook
        )
    }
}

/// Writes the name of the method on the command line and in reports.
impl fmt::Display for CountingMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl fmt::Display for BenchCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.set {
            Some(set) => write!(f, "{}-{}", self.method, set.name),
            None => self.method.fmt(f),
        }
    }
}

/// Returns all cases: first the cases that count one set or nothing, then each set with its methods.
pub(crate) fn all() -> Result<Vec<BenchCase>> {
    use CountingMethod::{EmptyAccessLog, EmptyHttpFilter, Lua, None};
    let sets = metric_set::all()?;
    let single = [None, EmptyAccessLog, EmptyHttpFilter, Lua];
    let single = single.map(|method| BenchCase { method, set: Option::None });
    let of_set =
        |set: &'static MetricSet| set.methods.iter().map(|&method| BenchCase { method, set: Some(set) });
    Ok(single.into_iter().chain(sets.iter().flat_map(of_set)).collect())
}

/// Returns the cases with these names and the cases that they are compared with; all cases if `names` is
/// empty.
///
/// A name is the name of a case, a method or a set: `native` selects every `native-…`, and `full` selects
/// every `…-full`.
pub(crate) fn select(names: &[String]) -> Result<Vec<BenchCase>> {
    let all = all()?;
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
    let asked: Vec<_> =
        all.iter().filter(|case| names.iter().any(|name| case.matches_name(name))).copied().collect();
    let is_wanted = |case: &BenchCase| {
        asked.iter().any(|other| match case.method {
            _ if case.to_string() == other.to_string() => true,
            CountingMethod::None => other.is_tcp() == case.is_tcp(),
            CountingMethod::Native => {
                other.method.is_compared() && case.set.is_some_and(|set| other.is(other.method, &set.name))
            }
            _ => false,
        })
    };
    Ok(all.into_iter().filter(is_wanted).collect())
}

impl BenchCase {
    /// Returns whether the case has this method and the set with this name.
    pub(crate) fn is(&self, method: CountingMethod, set: &str) -> bool {
        self.method == method && self.set.is_some_and(|own| own.name == set)
    }

    /// Returns whether the case counts TCP connections.
    pub(crate) fn is_tcp(&self) -> bool {
        self.set.is_some_and(MetricSet::is_tcp)
    }

    /// Returns whether a name on the command line selects the case.
    fn matches_name(&self, name: &str) -> bool {
        let (own, method) = (self.to_string(), self.method.to_string());
        own == name || method == name || own == format!("{method}-{name}")
    }

    /// Returns the configuration of the Envoy of this case, on free ports.
    pub(crate) fn config(&self, endpoints: Endpoints) -> Result<EnvoyConfig> {
        let set = || self.set.with_context(|| format!("{self} has no metric set"));
        Ok(match self.method {
            CountingMethod::None => self.base(endpoints)?,
            CountingMethod::EmptyAccessLog | CountingMethod::EmptyHttpFilter | CountingMethod::Lua => {
                self.attached(endpoints)?
            }
            CountingMethod::ListAccessLog | CountingMethod::ListHttpFilter => {
                configure(self.attached(endpoints)?, &set()?.list()?)
            }
            CountingMethod::Native => {
                let metrics = set()?.native().into_iter();
                metrics.fold(self.attached(endpoints)?, |config, (kind, metrics)| {
                    config.set(&format!("{LOGGER}.{kind}"), metrics)
                })
            }
            CountingMethod::AccessLog | CountingMethod::HttpFilter | CountingMethod::TcpFilter => {
                self.ours(&set()?.worker(), endpoints)?
            }
            CountingMethod::Textbook => self
                .ours(&set()?.worker(), endpoints)?
                .worker("flush.max_requests", 1)
                .worker("counters", json!([{"key": "requests", "when": "request"}])),
            CountingMethod::LogStream => {
                let record = set()?.log_record();
                self.ours(&set()?.worker(), endpoints)?
                    .as_log_stream()
                    .set(&format!("{LOGGER}.tag"), record.tag)
                    .set(&format!("{LOGGER}.record"), record.fields)
                    .set(&format!("{LOGGER}.buffer_flush_interval"), "1s")
                    // The buffer is larger than all log entries of one such interval.
                    .set(&format!("{LOGGER}.buffer_size_bytes"), 4 << 20)
            }
        })
    }

    /// Returns the configuration of an Envoy with Tributary, with this configuration of the worker filter.
    pub(crate) fn ours(&self, worker: &Value, endpoints: Endpoints) -> Result<EnvoyConfig> {
        let config = attach(self.attached(endpoints)?, "service")?;
        Ok(configure(config, worker).static_cluster("collector", endpoints.collector))
    }

    /// Returns the configuration of the baseline, with the extension of the method of this case.
    fn attached(&self, endpoints: Endpoints) -> Result<EnvoyConfig> {
        attach(self.base(endpoints)?, &self.method.to_string())
    }

    /// Returns the configuration of the baseline, on free ports.
    fn base(&self, endpoints: Endpoints) -> Result<EnvoyConfig> {
        let parse =
            |base| anyhow::Ok(EnvoyConfig::parse("the benchmark's configuration", base)?.free_ports());
        Ok(if self.is_tcp() {
            parse(include_str!("tcp.yaml"))?.static_cluster("upstream", endpoints.upstream)
        } else {
            parse(include_str!("base.yaml"))?
        })
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
        assert_eq!(selected(&["lua"]), ["none", "lua"]);
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
        let address = ([127, 0, 0, 1], 4318).into();
        let endpoints = Endpoints { collector: address, upstream: address };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _entered = runtime.enter();
        for case in all().unwrap() {
            let yaml = case.config(endpoints).and_then(|config| config.to_yaml());
            let yaml = yaml.unwrap_or_else(|error| panic!("{case}: {error:#}"));
            assert_eq!(yaml.contains("envoy.bootstrap.wasm"), case.method.is_ours(), "{case}");
            let last =
                if case.is_tcp() { "envoy.filters.network.tcp_proxy" } else { "envoy.filters.http.router" };
            assert!(yaml.contains(last), "{case}");
        }
    }
}
