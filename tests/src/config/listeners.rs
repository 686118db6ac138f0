//! Listeners in a separate file, which Envoy reads again whenever the file is replaced (LDS from the file
//! system).

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;
use serde_yaml_ng::Value;

use super::{EnvoyConfig, path, tree};

const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
const FILE: &str = "listeners.yaml";

impl EnvoyConfig {
    /// Writes the listeners into a separate file, so that [`crate::envoy::Envoy::update_listeners`] can
    /// replace them.
    #[must_use]
    pub fn listeners_in_file(self) -> Self {
        Self { listeners_in_file: true, ..self }
    }

    /// Writes the file with the listeners into `directory`. Writes it elsewhere first and then moves it,
    /// because Envoy watches only for moves.
    pub(crate) fn write_listeners(&self, directory: &Path) -> Result<()> {
        let mut document: Value = serde_yaml_ng::from_str(&self.to_yaml()?)?;
        let mut listeners = tree::sequence(&mut document, "listeners")?.clone();
        for listener in &mut listeners {
            path::set(listener, "@type", LISTENER.into())?;
        }
        let unfinished = directory.join(format!("unfinished-{FILE}"));
        std::fs::write(&unfinished, serde_yaml_ng::to_string(&json!({"resources": listeners}))?)?;
        std::fs::rename(&unfinished, directory.join(FILE)).context("cannot replace the listeners")
    }

    /// Formats the configuration as YAML, without the listeners: Envoy then reads them from the file in
    /// `directory`.
    pub(super) fn without_listeners(&self, directory: &Path) -> Result<String> {
        let mut document: Value = serde_yaml_ng::from_str(&self.to_yaml()?)?;
        tree::sequence(&mut document, "listeners")?.clear();
        let file = directory.join(FILE).display().to_string();
        let source = json!({"path_config_source": {"path": file}});
        path::set(&mut document, "dynamic_resources.lds_config", serde_yaml_ng::to_value(source)?)?;
        // Envoy requires a node id and cluster for every dynamic resource.
        for key in ["node.id", "node.cluster"] {
            path::set(&mut document, key, "tests".into())?;
        }
        Ok(serde_yaml_ng::to_string(&document)?)
    }
}
