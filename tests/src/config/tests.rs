use super::*;

fn minimal() -> EnvoyConfig {
    EnvoyConfig::minimal().unwrap()
}

fn plugin(config: &EnvoyConfig, name: &str) -> Value {
    let mut document: Value = serde_yaml_ng::from_str(&config.to_yaml().unwrap()).unwrap();
    let mut found = Value::Null;
    tree::each_plugin(&mut document, name, |plugin| {
        found = plugin.clone();
        Ok(())
    })
    .unwrap();
    found
}

#[test]
fn ports_of_admin_listeners_and_clusters_can_be_replaced() {
    let config = minimal().admin_port(1).listener_port("ingress", 2).cluster_port("app", 3);
    assert_eq!(config.admin_address().unwrap(), localhost(1));
    assert_eq!(config.listener_address("ingress").unwrap(), localhost(2));
    assert_eq!(config.cluster_address("app").unwrap(), localhost(3));
    assert_eq!(config.cluster_address("otlp_collector").unwrap(), localhost(4318));
}

#[tokio::test]
async fn free_ports_are_free_and_differ() {
    let config = minimal().free_ports();
    let admin = config.admin_address().unwrap();
    let ingress = config.listener_address("ingress").unwrap();
    assert_ne!(admin, ingress);
    for address in [admin, ingress] {
        assert!(crate::ports::is_free(address.port()) && address.port() > 1024, "{address}");
    }
}

#[test]
fn plugins_are_configured_whether_they_have_a_configuration_or_not() {
    let config = minimal()
        .worker("flush.max_requests", 1)
        .service("interval", "1s")
        .service("destinations[0].path", "/elsewhere")
        .service("destinations[1]", serde_json::json!({"name": "second", "cluster": "app"}));
    let worker = plugin(&config, WORKER_PLUGIN);
    assert_eq!(path::get(&worker, "configuration.value.flush.max_requests").unwrap(), 1);
    let service = plugin(&config, SERVICE_PLUGIN);
    let value = path::get(&service, "configuration.value").unwrap();
    assert_eq!(path::get(value, "interval").unwrap(), "1s");
    assert_eq!(path::get(value, "destinations[0].path").unwrap(), "/elsewhere");
    assert_eq!(path::get(value, "destinations[0].cluster").unwrap(), "otlp_collector");
    assert_eq!(path::get(value, "destinations[1].name").unwrap(), "second");
    for plugin in [worker, service] {
        let kind = path::get(&plugin, "configuration").unwrap().get("@type").unwrap();
        assert_eq!(kind, "type.googleapis.com/google.protobuf.Struct");
    }
}

#[test]
fn clusters_and_routes_are_added_or_replaced_by_name() {
    let config = minimal()
        .static_cluster("app", localhost(7))
        .static_cluster("other", localhost(8))
        .route(serde_json::json!({"name": "health", "match": {"path": "/up"}, "route": {"cluster": "other"}}))
        .route(
            serde_json::json!({"name": "new", "match": {"prefix": "/new"}, "route": {"cluster": "other"}}),
        );
    assert_eq!(config.cluster_address("app").unwrap(), localhost(7));
    assert_eq!(config.cluster_address("other").unwrap(), localhost(8));
    assert_eq!(tree::names(&config.document, "clusters").len(), 3);
    let yaml = config.to_yaml().unwrap();
    assert!(yaml.contains("/up") && !yaml.contains("direct_response"), "{yaml}");
    assert!(yaml.find("/new") < yaml.find("/users"), "a new route goes before the others: {yaml}");
}

#[test]
fn without_wasm_removes_every_wasm_extension() {
    let config = minimal().without_wasm();
    let yaml = config.to_yaml().unwrap();
    assert!(!yaml.contains("wasm") && yaml.contains("envoy.filters.http.router"), "{yaml}");
}

#[test]
fn edits_that_do_not_fit_are_all_reported() {
    let config = minimal().cluster_port("ap", 1).without_wasm().worker("flush.interval", "1s");
    let error = config.to_yaml().unwrap_err().to_string();
    for part in ["envoy/minimal.yaml", "\"ap\"", "\"app\"", WORKER_PLUGIN] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn the_written_file_reads_back_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let config = minimal().admin_port(5);
    let file = config.write(directory.path()).unwrap();
    assert_eq!(EnvoyConfig::load(&file).unwrap().document, config.document);
}
