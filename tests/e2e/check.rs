//! `tributary-check` reports what a real Envoy rejects.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use serde_json::json;
use tributary_check::command;
use tributary_check::finding::Rule;
use tributary_check::plugin::ModuleKind;
use tributary_check::rules::{LINKED_BY_SDK, needed, needed_by_all};
use tributary_tests::config::EnvoyConfig;
use tributary_tests::envoy::Envoy;
use tributary_tests::repository;
use walrus::Module;

/// Sets an unknown key whose value is JSON as deep as the modules accept; no other problem must be
/// reported.
fn deepest(config: EnvoyConfig, plugin: &str) -> EnvoyConfig {
    text(config, plugin, &format!("{{\"a\": {}{}}}", "[".repeat(126), "]".repeat(126)))
}

fn text(config: EnvoyConfig, plugin: &str, text: &str) -> EnvoyConfig {
    let kind = "type.googleapis.com/google.protobuf.StringValue";
    config.set(&format!("{plugin}.typed_config.config.configuration"), json!({"@type": kind, "value": text}))
}

/// The findings of the check about the configuration of each plugin.
fn reported_by_check(config: &EnvoyConfig) -> Result<BTreeSet<String>> {
    let report = command::check(&[("envoy.yaml".to_owned(), config.to_yaml()?)]);
    let findings = report.findings.into_iter().filter(|finding| finding.rule == Rule::Configuration);
    Ok(findings.map(|finding| finding.message).collect())
}

/// The problems in Envoy's log, without the prefix "configuration of the …: ".
async fn logged_by_envoy(config: &EnvoyConfig) -> Result<BTreeSet<String>> {
    let log = Envoy::rejected(config).await?;
    let lines = log
        .lines()
        .filter_map(|line| line.split_once("tributary: configuration of the ")?.1.split_once(": "));
    Ok(lines.map(|(_, problem)| problem.to_owned()).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_check_reports_the_same_problems_as_envoy() -> Result<()> {
    type Edit = fn(EnvoyConfig) -> EnvoyConfig;
    let edits: [Edit; 13] = [
        // JSON of an accepted depth must not exhaust the stack of a VM.
        |config| deepest(config, "bootstrap_extensions[0]"),
        |config| {
            deepest(
                config,
                "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.http_filters[0]",
            )
        },
        |config| text(config, "bootstrap_extensions[0]", r#"{"interval": "1s", "interval": "2s"}"#),
        |config| text(config, "bootstrap_extensions[0]", r#"{"limits": {"series": 1e309}}"#),
        |config| {
            let unknown: Vec<_> = (0..1_100).map(|number| format!(r#""k{number}": 1"#)).collect();
            text(config, "bootstrap_extensions[0]", &format!("{{{}}}", unknown.join(", ")))
        },
        |config| config.worker("a", (0..15).fold(json!(1), |inner, _| json!({"a": [inner]}))),
        |config| config.worker("headers", json!([{"name": "x-a", "value": "b"}])),
        |config| {
            let metric =
                json!({"name": "size", "kind": "histogram", "value": "request.size", "bounds": [1.5, 4]});
            config
                .worker("metrics", [metric])
                .worker("preset", "none")
                .worker("dimensions", json!([{"name": "x"}]))
        },
        |config| config.worker("flush", json!({"interval": 5, "max_requests": 0})).worker("flsh", 1),
        // Envoy's YAML reader converts fractions and numbers above 32 bits to text.
        |config| config.worker("limits", json!({"series": 2.5})).worker("flush.max_requests", 0.5),
        |config| config.service("limits", json!({"series": 3_000_000_000_u64})),
        |config| {
            config
                .service("destinations[0].path", "v1")
                .service("interval", true)
                .service("resource", json!([1]))
        },
        |config| {
            config.service(
                "destinations[1]",
                json!({"cluster": "app", "headers": {"Host": "x"}, "timeout": "1 s"}),
            )
        },
    ];
    for edit in edits {
        let config = edit(EnvoyConfig::minimal()?.free_ports());
        let reported = reported_by_check(&config)?;
        assert!(!reported.is_empty());
        assert_eq!(reported, logged_by_envoy(&config).await?);
    }
    Ok(())
}

#[test]
fn the_capabilities_that_a_module_needs_are_those_that_it_uses() -> Result<()> {
    let modules = [ModuleKind::Worker, ModuleKind::FullWorker, ModuleKind::Service, ModuleKind::Console];
    for (file, needed) in modules.map(|module| (module.file(), needed(module))) {
        let module = Module::from_file(repository::root().join("target/wasm").join(file))?;
        let imports = module.imports.iter().map(|import| import.name.clone());
        let imports = imports.filter(|name| !is_only_linked(name, &needed));
        let callbacks = module.exports.iter().map(|export| export.name.clone());
        let used: BTreeSet<String> =
            imports.chain(callbacks.filter(|name| name.starts_with("proxy_on_"))).collect();
        let needed: BTreeSet<String> = needed.into_iter().map(str::to_owned).collect();
        assert_eq!(used, needed, "{file}: update the host functions in cli/check/src/rules/capability.rs");
    }
    Ok(())
}

/// Whether a function is imported only because the vtables of the SDK's traits refer to it.
fn is_only_linked(name: &str, needed: &[&str]) -> bool {
    !needed.contains(&name) && (needed_by_all().contains(name) || LINKED_BY_SDK.contains(&name))
}

#[test]
fn every_configuration_of_the_repository_passes_the_check() -> Result<()> {
    for folder in ["envoy", "envoy/compose"] {
        for entry in std::fs::read_dir(repository::root().join(folder))? {
            let path = entry?.path();
            let name = path.display().to_string();
            // In the compose directory, only Envoy's file is a configuration of Envoy.
            if !path.is_file() || (folder.ends_with("compose") && !name.ends_with("envoy.yaml")) {
                continue;
            }
            let report = command::check(&[(name, std::fs::read_to_string(&path)?)]);
            assert!(report.findings.is_empty() && report.plugins >= 2, "{}", report.lines());
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_capability_is_rejected() -> Result<()> {
    let allowed =
        "bootstrap_extensions[0].typed_config.config.capability_restriction_config.allowed_capabilities";
    let config = EnvoyConfig::load("envoy/least_privilege.yaml")?.free_ports().edit(|document| {
        let mapping = ["bootstrap_extensions"].iter().try_fold(document, |node, key| node.get_mut(*key));
        let extension = mapping.and_then(|list| list.get_mut(0)).context("an extension")?;
        let keys = ["typed_config", "config", "capability_restriction_config", "allowed_capabilities"];
        let allowed = keys.iter().try_fold(extension, |node, key| node.get_mut(*key)).context(allowed)?;
        allowed.as_mapping_mut().context("a mapping")?.remove("proxy_register_shared_queue");
        Ok(())
    });
    let report = command::check(&[("envoy.yaml".to_owned(), config.to_yaml()?)]);
    assert!(report.findings.iter().any(|finding| finding.rule == Rule::Capability), "{}", report.lines());
    Envoy::rejected(&config).await.map(drop)
}
