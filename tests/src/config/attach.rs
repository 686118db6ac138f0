//! Edits that attach the worker filter elsewhere, and the configuration of each plugin.

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use serde_yaml_ng::Value;

use super::{EnvoyConfig, WORKER_PLUGIN, path, tree};

/// The type URL of the Wasm access logger.
pub const ACCESS_LOGGER: &str = "type.googleapis.com/envoy.extensions.access_loggers.wasm.v3.WasmAccessLog";

const FULL: &str = "target/wasm/worker_filter_full.wasm";
/// The name of both the cluster and the listener that connect the access logger with the worker filter in
/// `envoy/log_stream.yaml`.
const LOG: &str = "tributary_log";
const CONNECTION_MANAGER: &str = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config";

impl EnvoyConfig {
    /// Moves the worker filter from the HTTP filters to the access loggers of its connection manager.
    #[must_use]
    pub fn as_access_logger(self) -> Self {
        self.move_filters("http_filters", |connection_manager, logger| {
            path::set(connection_manager, "access_log", Value::Sequence(vec![logger]))
        })
    }

    /// Removes the worker filter from the HTTP filters, and sends Envoy's access log to it instead, as in
    /// `envoy/log_stream.yaml`. The plugin keeps its configuration.
    #[must_use]
    pub fn as_log_stream(self) -> Self {
        self.edit(|document| {
            let mut filters = Vec::new();
            tree::visit(document, &mut |node| {
                filters.extend(tree::remove_wasm_extension(node, "http_filters"));
            });
            let [filter] = &filters[..] else {
                bail!("{} connection managers have a Wasm filter, not one", filters.len())
            };
            add_log_stream(document, path::get(filter, "typed_config.config")?)
        })
    }

    /// Adds `plugin` as another worker filter, which gets Envoy's access log.
    #[must_use]
    pub fn with_log_stream(self, plugin: impl Serialize) -> Self {
        self.edit(|document| add_log_stream(document, &serde_yaml_ng::to_value(plugin)?))
    }

    /// Loads the worker filter from `worker_filter_full.wasm`, which can also change requests and responses.
    #[must_use]
    pub fn full(self) -> Self {
        self.full_plugin(WORKER_PLUGIN)
    }

    /// Like [`EnvoyConfig::full`], but for the plugin called `name`.
    #[must_use]
    pub fn full_plugin(self, name: &str) -> Self {
        self.module(name, FULL)
    }

    /// Loads the module of the plugin called `name` from `file`.
    #[must_use]
    pub fn module(self, name: &str, file: &str) -> Self {
        self.edit_plugin(name, |plugin| path::set(plugin, "vm_config.code.local.filename", file.into()))
    }

    /// Sets the `failure_policy` of the plugin called `name`.
    #[must_use]
    pub fn failure_policy(self, name: &str, policy: &str) -> Self {
        self.edit_plugin(name, |plugin| path::set(plugin, "failure_policy", policy.into()))
    }

    /// Moves the worker filter from the network filters to the access loggers of the TCP proxy behind it.
    #[must_use]
    pub fn as_tcp_proxy_logger(self) -> Self {
        self.move_filters("filters", |chain, logger| {
            let proxy = chain.get_mut("filters").and_then(|filters| filters.get_mut(0));
            let proxy = proxy.and_then(|proxy| proxy.get_mut("typed_config")).context("no filter is left")?;
            path::set(proxy, "access_log", Value::Sequence(vec![logger]))
        })
    }

    /// Moves the worker filter from the network filters to the access loggers of the listener.
    #[must_use]
    pub fn as_listener_logger(self) -> Self {
        let mut loggers = Vec::new();
        let moved = self.move_filters("filters", |_, logger| {
            loggers.push(logger);
            Ok(())
        });
        moved.edit(|document| {
            for (listener, logger) in tree::sequence(document, "listeners")?.iter_mut().zip(loggers) {
                path::set(listener, "access_log", Value::Sequence(vec![logger]))?;
            }
            Ok(())
        })
    }

    /// Removes the Wasm filter from every list of filters that has a Wasm filter. Passes the filter to
    /// `attach` as an access logger, together with the node that has the list.
    fn move_filters(self, list: &str, mut attach: impl FnMut(&mut Value, Value) -> Result<()>) -> Self {
        self.edit(|document| {
            let mut result = Ok(0);
            tree::visit(document, &mut |node| {
                let filter = tree::remove_wasm_extension(node, list);
                if let (Some(mut filter), Ok(moved)) = (filter, &result) {
                    result = path::set(&mut filter, "typed_config.@type", ACCESS_LOGGER.into())
                        .and_then(|()| attach(node, filter))
                        .map(|()| moved + 1);
                }
            });
            ensure!(result? > 0, "no {list} have a Wasm filter");
            Ok(())
        })
    }

    /// Returns the configuration of every Wasm plugin called `name` as JSON text. The text is empty for a
    /// plugin without a configuration.
    pub fn plugin_configurations(&self, name: &str) -> Result<Vec<String>> {
        let mut document = self.document.clone();
        let mut found = Vec::new();
        tree::each_plugin(&mut document, name, |plugin| {
            found.push(
                match plugin.get("configuration").and_then(|configuration| configuration.get("value")) {
                    Some(Value::String(text)) => text.clone(),
                    Some(value) => serde_json::to_string(value)?,
                    None => String::new(),
                },
            );
            Ok(())
        })?;
        Ok(found)
    }
}

/// Adds the parts of `envoy/log_stream.yaml` that send the access log to a worker filter, and makes
/// `plugin` this filter.
fn add_log_stream(document: &mut Value, plugin: &Value) -> Result<()> {
    let mut example = EnvoyConfig::load("envoy/log_stream.yaml")?.document;
    let mut plugin = plugin.clone();
    path::set(&mut plugin, "configuration.value.log_stream", true.into())?;
    tree::each_plugin(&mut example, WORKER_PLUGIN, |own| {
        *own = plugin.clone();
        Ok(())
    })?;
    let logger = path::get(&example, &format!("{CONNECTION_MANAGER}.access_log[0]"))?.clone();
    let loggers = match path::get(document, &format!("{CONNECTION_MANAGER}.access_log")) {
        Ok(Value::Sequence(loggers)) => loggers.iter().cloned().chain([logger]).collect(),
        _ => vec![logger],
    };
    path::set(document, &format!("{CONNECTION_MANAGER}.access_log"), Value::Sequence(loggers))?;
    for kind in ["listeners", "clusters"] {
        let added = tree::named(&mut example, kind, LOG)?.clone();
        tree::sequence(document, kind)?.push(added);
    }
    let internal = path::get(&example, "bootstrap_extensions[0]")?.clone();
    let extensions = document.get_mut("bootstrap_extensions").and_then(Value::as_sequence_mut);
    extensions.context("the configuration has no bootstrap_extensions")?.push(internal);
    Ok(())
}
