//! Adds the extension for one way to count to an Envoy's configuration.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_yaml_ng::Value;
use tributary_tests::config::{EnvoyConfig, WORKER_PLUGIN};

/// The file with all extensions.
#[derive(Deserialize)]
struct Extensions {
    extensions: BTreeMap<String, Extension>,
}

/// An extension of Envoy.
#[derive(Deserialize)]
struct Extension {
    /// The path of the list to which the extension belongs.
    list: String,
    #[serde(flatten)]
    message: Value,
}

/// Adds the extension of `extensions.yaml` with this name as the first item of its list.
pub(super) fn attach(config: EnvoyConfig, name: &str) -> Result<EnvoyConfig> {
    let mut file: Extensions =
        serde_yaml_ng::from_str(include_str!("extensions.yaml")).context("extensions.yaml")?;
    let Extension { list, message } =
        file.extensions.remove(name).with_context(|| format!("extensions.yaml has no {name}"))?;
    let others = config.get(&list).ok().and_then(Value::as_sequence).cloned().unwrap_or_default();
    Ok(config.set(&list, [vec![message], others].concat()))
}

/// Replaces the configuration of the worker filter: an object, or the text of a StringValue.
pub(super) fn configure(config: EnvoyConfig, value: &impl Serialize) -> EnvoyConfig {
    config.edit_plugin(WORKER_PLUGIN, |plugin| {
        let own = plugin.get_mut("configuration").and_then(|own| own.get_mut("value"));
        *own.context("the worker filter has no configuration")? = serde_yaml_ng::to_value(value)?;
        Ok(())
    })
}
