//! An Envoy configuration file and the edits that tests make to it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_yaml_ng::Value;

use crate::ports::{ReservedPort, localhost};
use crate::repository;

mod attach;
mod attach_point;
mod listeners;
mod path;
mod tree;

pub use attach::ACCESS_LOGGER;
pub use attach_point::{AttachPoint, AttachedPlugin};

/// The name of the filter's plugin in the configurations of this repository.
pub const WORKER_PLUGIN: &str = "tributary_worker_filter";
/// The name of the service's plugin in the configurations of this repository.
pub const SERVICE_PLUGIN: &str = "tributary_service";
const EMPTY_STRUCT: &str = r#"{"@type": type.googleapis.com/google.protobuf.Struct, value: {}}"#;

/// An Envoy configuration that can be edited.
///
/// Edits can be chained. An edit that does not fit the document (an unknown cluster, a path through a
/// number) does not fail at once: [`EnvoyConfig::to_yaml`], and so every start of an Envoy, reports all
/// such edits.
#[derive(Debug, Clone)]
pub struct EnvoyConfig {
    name: String,
    document: Value,
    problems: Vec<String>,
    reserved: Vec<Arc<ReservedPort>>,
    listeners_in_file: bool,
}

impl EnvoyConfig {
    /// Reads a configuration; a relative name is relative to the repository's root.
    pub fn load(file: impl AsRef<Path>) -> Result<Self> {
        let file = repository::root().join(file);
        let text =
            std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        Self::parse(&file.display().to_string(), &text)
    }

    /// Reads `envoy/minimal.yaml`, the configuration that the demo runs.
    pub fn minimal() -> Result<Self> {
        Self::load("envoy/minimal.yaml")
    }

    /// Parses a configuration. Errors contain `name`.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let document = serde_yaml_ng::from_str(text).with_context(|| format!("{name} is not YAML"))?;
        Ok(Self {
            name: name.to_owned(),
            document,
            problems: Vec::new(),
            reserved: Vec::new(),
            listeners_in_file: false,
        })
    }

    /// Sets the value at a path of the whole document, such as `stats_flush_interval`.
    #[must_use]
    pub fn set(self, path: &str, value: impl Serialize) -> Self {
        self.edit(|document| path::set(document, path, serde_yaml_ng::to_value(value)?))
    }

    /// Sets the port of the admin interface.
    #[must_use]
    pub fn admin_port(self, port: u16) -> Self {
        self.set("admin.address.socket_address.port_value", port)
    }

    /// Sets the port of the listener `name`.
    #[must_use]
    pub fn listener_port(self, name: &str, port: u16) -> Self {
        self.edit(|document| {
            let listener = tree::named(document, "listeners", name)?;
            path::set(listener, "address.socket_address.port_value", port.into())
        })
    }

    /// Sets the port of every endpoint of the cluster `name`.
    #[must_use]
    pub fn cluster_port(self, name: &str, port: u16) -> Self {
        self.edit(|document| {
            let cluster = tree::named(document, "clusters", name)?;
            let mut endpoints = 0_u32;
            tree::visit(cluster, &mut |node| {
                if let Some(port_value) = node.get_mut("port_value") {
                    *port_value = port.into();
                    endpoints += 1;
                }
            });
            if endpoints == 0 {
                bail!("cluster {name:?} has no endpoint with a port");
            }
            Ok(())
        })
    }

    /// Sets the ports of the admin interface and of every listener with a socket to free ports. These ports
    /// stay reserved until the last clone of this configuration and the last Envoy that was started with it
    /// are dropped.
    #[must_use]
    pub fn free_ports(mut self) -> Self {
        let mut names = tree::names(&self.document, "listeners");
        names.retain(|name| self.listener_address(name).is_ok());
        let free_port = |config: &mut Self| match ReservedPort::new() {
            Ok(reserved) => {
                let port = reserved.port();
                config.reserved.push(Arc::new(reserved));
                port
            }
            Err(error) => {
                config.problems.push(format!("{error:#}"));
                0
            }
        };
        let admin_port = free_port(&mut self);
        self = self.admin_port(admin_port);
        for name in names {
            let port = free_port(&mut self);
            self = self.listener_port(&name, port);
        }
        self
    }

    /// Sets the value at a path of the worker filter's configuration, such as `flush.max_requests`.
    #[must_use]
    pub fn worker(self, path: &str, value: impl Serialize) -> Self {
        self.plugin(WORKER_PLUGIN, path, value)
    }

    /// Sets the value at a path of the service's configuration, such as `destinations[0].path`.
    #[must_use]
    pub fn service(self, path: &str, value: impl Serialize) -> Self {
        self.plugin(SERVICE_PLUGIN, path, value)
    }

    /// Sets the value at a path of the configuration of every Wasm plugin called `name`.
    #[must_use]
    pub fn plugin(self, name: &str, path: &str, value: impl Serialize) -> Self {
        self.edit(|document| {
            let value = serde_yaml_ng::to_value(value)?;
            tree::each_plugin(document, name, |plugin| {
                if plugin.get("configuration").is_none() {
                    path::set(plugin, "configuration", serde_yaml_ng::from_str(EMPTY_STRUCT)?)?;
                }
                path::set(plugin, &format!("configuration.value.{path}"), value.clone())
            })
        })
    }

    /// Applies `edit` to the `PluginConfig` message, which contains `vm_config`, of every Wasm plugin
    /// called `name`.
    #[must_use]
    pub fn edit_plugin(self, name: &str, edit: impl FnMut(&mut Value) -> Result<()>) -> Self {
        self.edit(|document| tree::each_plugin(document, name, edit))
    }

    /// Adds a cluster, or replaces the cluster of the same name.
    #[must_use]
    pub fn cluster(self, cluster: impl Serialize) -> Self {
        self.edit(|document| {
            let clusters = tree::sequence(document, "clusters")?;
            tree::put_named(clusters, serde_yaml_ng::to_value(cluster)?)
        })
    }

    /// Removes the cluster `name`, even if something refers to it.
    #[must_use]
    pub fn without_cluster(self, name: &str) -> Self {
        self.edit(|document| {
            tree::named(document, "clusters", name)?;
            tree::sequence(document, "clusters")?.retain(|cluster| !tree::is_named(cluster, name));
            Ok(())
        })
    }

    /// Adds a static cluster with one endpoint, or replaces the cluster of the same name.
    #[must_use]
    pub fn static_cluster(self, name: &str, endpoint: SocketAddr) -> Self {
        let address = serde_json::json!({
            "socket_address": {"address": endpoint.ip().to_string(), "port_value": endpoint.port()}
        });
        self.cluster(serde_json::json!({
            "name": name,
            "load_assignment": {
                "cluster_name": name,
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
            }
        }))
    }

    /// Adds a route as the first of every virtual host, or replaces the route of the same name.
    #[must_use]
    pub fn route(self, route: impl Serialize) -> Self {
        self.edit(|document| {
            let route = serde_yaml_ng::to_value(route)?;
            let mut result = Err(anyhow::anyhow!("the configuration has no routes"));
            tree::visit(document, &mut |node| {
                if node.get("domains").is_some()
                    && let Some(Value::Sequence(routes)) = node.get_mut("routes")
                {
                    result = tree::put_named(routes, route.clone());
                }
            });
            result
        })
    }

    /// Removes all Wasm extensions, which leaves an Envoy without Tributary.
    #[must_use]
    pub fn without_wasm(self) -> Self {
        self.edit(|document| {
            tree::visit(document, &mut |node| {
                if let Value::Sequence(sequence) = node {
                    sequence.retain(|item| !tree::is_wasm_extension(item));
                }
            });
            Ok(())
        })
    }

    /// Applies any other edit to the whole document.
    #[must_use]
    pub fn edit(mut self, edit: impl FnOnce(&mut Value) -> Result<()>) -> Self {
        if let Err(error) = edit(&mut self.document) {
            self.problems.push(format!("{error:#}"));
        }
        self
    }

    /// Returns the value at a path of the whole document.
    pub fn get(&self, path: &str) -> Result<&Value> {
        path::get(&self.document, path).with_context(|| self.name.clone())
    }

    /// Returns the address of the admin interface.
    pub fn admin_address(&self) -> Result<SocketAddr> {
        self.socket_address(self.get("admin")?).context("admin")
    }

    /// Returns the address of the listener `name`.
    pub fn listener_address(&self, name: &str) -> Result<SocketAddr> {
        let listener = tree::find_named(&self.document, "listeners", name)?;
        self.socket_address(listener).with_context(|| format!("listener {name:?}"))
    }

    /// Returns the address of the first endpoint of the cluster `name`.
    pub fn cluster_address(&self, name: &str) -> Result<SocketAddr> {
        let cluster = tree::find_named(&self.document, "clusters", name)?;
        let endpoint = path::get(cluster, "load_assignment.endpoints[0].lb_endpoints[0].endpoint")?;
        self.socket_address(endpoint).with_context(|| format!("cluster {name:?}"))
    }

    /// Formats the edited configuration as YAML.
    ///
    /// # Errors
    /// Some edits did not fit; the error lists all of them.
    pub fn to_yaml(&self) -> Result<String> {
        if !self.problems.is_empty() {
            bail!("{} cannot be edited as asked: {}", self.name, self.problems.join("; "));
        }
        Ok(serde_yaml_ng::to_string(&self.document)?)
    }

    /// Writes the edited configuration to `envoy.yaml` in `directory` and returns the path of the file.
    pub fn write(&self, directory: &Path) -> Result<PathBuf> {
        let file = directory.join("envoy.yaml");
        let text = if self.listeners_in_file {
            self.write_listeners(directory)?;
            self.without_listeners(directory)?
        } else {
            self.to_yaml()?
        };
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(file)
    }

    fn socket_address(&self, holder: &Value) -> Result<SocketAddr> {
        let address = path::get(holder, "address.socket_address")?;
        let port = path::get(address, "port_value")?.as_u64().context("port_value is not a number")?;
        let port = u16::try_from(port).context("port_value is out of range")?;
        let host = path::get(address, "address")?.as_str().unwrap_or_default();
        Ok(if host == "0.0.0.0" { localhost(port) } else { SocketAddr::new(host.parse()?, port) })
    }
}

#[cfg(test)]
mod tests;
