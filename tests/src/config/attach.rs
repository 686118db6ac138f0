//! Other attach points for the worker filter than the one in the file, and what the file says to each plugin.

use anyhow::{Context, Result, ensure};
use serde_yaml_ng::Value;

use super::{EnvoyConfig, WORKER_PLUGIN, path, tree};

/// The type of an access logger that is a Wasm plugin.
pub const ACCESS_LOGGER: &str = "type.googleapis.com/envoy.extensions.access_loggers.wasm.v3.WasmAccessLog";

const FULL: &str = "target/wasm/worker_filter_full.wasm";
/// What leads to the worker filter in `envoy/log_stream.yaml`: a cluster and a listener.
const LOG: &str = "tributary_log";
const CONNECTION_MANAGER: &str = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config";

impl EnvoyConfig {
    /// Moves the worker filter from the HTTP filters to the access loggers of its connection manager.
    #[must_use]
    pub fn as_access_logger(self) -> Self {
        self.edit(|document| {
            let mut result = Ok(0);
            tree::visit(document, &mut |node| {
                let filters = node.get_mut("http_filters").and_then(Value::as_sequence_mut);
                let filter = filters.and_then(|filters| {
                    let at = filters.iter().position(tree::is_wasm_extension)?;
                    Some(filters.remove(at))
                });
                if let (Some(filter), Ok(moved)) = (filter, &result) {
                    result = attach_as_access_logger(node, filter).map(|()| moved + 1);
                }
            });
            ensure!(result? > 0, "no connection manager has a Wasm filter");
            Ok(())
        })
    }

    /// Has Envoy's own access logger tell the worker filter of requests, as `envoy/log_stream.yaml` does; the filter keeps its
    /// configuration.
    #[must_use]
    pub fn as_log_stream(self) -> Self {
        self.edit(|document| {
            let mut example = Self::load("envoy/log_stream.yaml")?.document;
            let mut moved = Vec::new();
            let logger = path::get(&example, &format!("{CONNECTION_MANAGER}.access_log"))?.clone();
            tree::visit(document, &mut |node| {
                let filters = node.get_mut("http_filters").and_then(Value::as_sequence_mut);
                if let Some(filters) = filters
                    && let Some(at) = filters.iter().position(tree::is_wasm_extension)
                {
                    moved.push((filters.remove(at), path::set(node, "access_log", logger.clone())));
                }
            });
            ensure!(moved.len() == 1, "{} connection managers have a Wasm filter, not one", moved.len());
            for (filter, logged) in moved {
                logged?;
                let plugin = path::get(&filter, "typed_config.config")?;
                let mut plugin = plugin.clone();
                path::set(&mut plugin, "configuration.value.role", "log_stream".into())?;
                path::set(&mut plugin, "vm_config.code.local.filename", FULL.into())?;
                tree::each_plugin(&mut example, WORKER_PLUGIN, |own| {
                    *own = plugin.clone();
                    Ok(())
                })?;
            }
            for kind in ["listeners", "clusters"] {
                let added = tree::named(&mut example, kind, LOG)?.clone();
                tree::sequence(document, kind)?.push(added);
            }
            let internal = path::get(&example, "bootstrap_extensions[0]")?.clone();
            let extensions = document.get_mut("bootstrap_extensions").and_then(Value::as_sequence_mut);
            extensions.context("the configuration has no bootstrap_extensions")?.push(internal);
            Ok(())
        })
    }

    /// Takes the worker filter from `worker_filter_full.wasm`, which can also change what passes through it.
    #[must_use]
    pub fn full(self) -> Self {
        self.full_plugin(WORKER_PLUGIN)
    }

    /// The same for the plugin called `name`.
    #[must_use]
    pub fn full_plugin(self, name: &str) -> Self {
        self.module(name, FULL)
    }

    /// Takes the module of the plugin called `name` from this file.
    #[must_use]
    pub fn module(self, name: &str, file: &str) -> Self {
        self.edit_plugin(name, |plugin| path::set(plugin, "vm_config.code.local.filename", file.into()))
    }

    /// Says what Envoy does when the plugin called `name` fails.
    #[must_use]
    pub fn failure_policy(self, name: &str, policy: &str) -> Self {
        self.edit_plugin(name, |plugin| path::set(plugin, "failure_policy", policy.into()))
    }

    /// Moves the worker filter from the network filters to the access loggers of the TCP proxy behind it.
    #[must_use]
    pub fn as_tcp_proxy_logger(self) -> Self {
        self.move_network_filters(|chain, logger| {
            let proxy = chain.get_mut("filters").and_then(|filters| filters.get_mut(0));
            let proxy = proxy.and_then(|proxy| proxy.get_mut("typed_config")).context("no filter is left")?;
            path::set(proxy, "access_log", Value::Sequence(vec![logger]))
        })
    }

    /// Moves the worker filter from the network filters to the access loggers of the listener.
    #[must_use]
    pub fn as_listener_logger(self) -> Self {
        let mut loggers = Vec::new();
        let moved = self.move_network_filters(|_, logger| {
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

    /// Takes the Wasm filter out of every filter chain that has one, and hands it over as an access logger.
    fn move_network_filters(self, mut attach: impl FnMut(&mut Value, Value) -> Result<()>) -> Self {
        self.edit(|document| {
            let mut result = Ok(0);
            tree::visit(document, &mut |node| {
                let filters = node.get_mut("filters").and_then(Value::as_sequence_mut);
                let filter = filters.and_then(|filters| {
                    let at = filters.iter().position(tree::is_wasm_extension)?;
                    Some(filters.remove(at))
                });
                if let (Some(mut filter), Ok(moved)) = (filter, &result) {
                    result = path::set(&mut filter, "typed_config.@type", ACCESS_LOGGER.into())
                        .and_then(|()| attach(node, filter))
                        .map(|()| moved + 1);
                }
            });
            ensure!(result? > 0, "no filter chain has a Wasm filter");
            Ok(())
        })
    }

    /// The configuration of every Wasm plugin called `name`, as JSON text; empty for one that has none.
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

fn attach_as_access_logger(connection_manager: &mut Value, mut filter: Value) -> Result<()> {
    path::set(&mut filter, "typed_config.@type", ACCESS_LOGGER.into())?;
    path::set(connection_manager, "access_log", Value::Sequence(vec![filter]))
}
