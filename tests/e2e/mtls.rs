//! Exports to a collector over mutual TLS.

use std::path::Path;

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use serde_json::json;
use tempfile::TempDir;
use tributary_tests::config::EnvoyConfig;
use tributary_tests::envoy::{Envoy, EnvoyOptions};
use tributary_tests::load::Shape;
use tributary_tests::scene::Scene;
use tributary_tests::sink::Sink;

const REQUESTS: u64 = 1_000;
const COLLECTOR: &str = "collector.example.com";

/// Writes a directory with the certificate of an authority, and a key and certificate for each side.
fn certificates() -> Result<TempDir> {
    let directory = tempfile::tempdir()?;
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.distinguished_name.push(DnType::CommonName, "the authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    write(&directory, "ca.pem", &authority.pem())?;
    for (name, host, usage) in [
        ("client", "edge.example.com", ExtendedKeyUsagePurpose::ClientAuth),
        ("server", COLLECTOR, ExtendedKeyUsagePurpose::ServerAuth),
    ] {
        let mut params = CertificateParams::new([host.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, host);
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate()?;
        write(&directory, &format!("{name}.pem"), &params.signed_by(&key, &authority)?.pem())?;
        write(&directory, &format!("{name}.key"), &key.serialize_pem())?;
    }
    Ok(directory)
}

fn write(directory: &TempDir, name: &str, text: &str) -> Result<()> {
    Ok(std::fs::write(directory.path().join(name), text)?)
}

/// Starts an Envoy in front of the collector that requires TLS with a client certificate of the authority.
async fn tls_proxy(certificates: &Path, collector: &Sink) -> Result<Envoy> {
    let file = |name: &str| json!({"filename": certificates.join(name).display().to_string()});
    let config = json!({
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "static_resources": {
            "listeners": [{
                "name": "tls",
                "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
                "filter_chains": [{
                    "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                        "require_client_certificate": true,
                        "common_tls_context": {
                            "tls_certificates": [
                                {"certificate_chain": file("server.pem"), "private_key": file("server.key")}
                            ],
                            "validation_context": {"trusted_ca": file("ca.pem")}
                        }
                    }},
                    "filters": [{"name": "envoy.filters.network.tcp_proxy", "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                        "stat_prefix": "tls",
                        "cluster": "collector"
                    }}]
                }]
            }],
            "clusters": []
        }
    });
    let config = EnvoyConfig::parse("the TLS proxy", &config.to_string())?
        .static_cluster("collector", collector.address())
        .free_ports();
    Envoy::start(&config, &EnvoyOptions::workers(1)).await
}

/// Configures the certificates in `folder` and the port of the TLS proxy for the collector's cluster.
fn with_tls(config: EnvoyConfig, folder: &Path, port: u16) -> EnvoyConfig {
    let file = |name: &str| folder.join(name).display().to_string();
    let context = "static_resources.clusters[1].transport_socket.typed_config.common_tls_context";
    config
        .cluster_port("otlp_collector", port)
        .set(&format!("{context}.tls_certificates[0].certificate_chain.filename"), file("client.pem"))
        .set(&format!("{context}.tls_certificates[0].private_key.filename"), file("client.key"))
        .set(&format!("{context}.validation_context.trusted_ca.filename"), file("ca.pem"))
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_reach_a_collector_that_requires_a_client_certificate() -> Result<()> {
    let (certificates, sink) = (certificates()?, Sink::start(0).await?);
    let proxy = tls_proxy(certificates.path(), &sink).await?;
    let port = proxy.listener("tls")?.port();
    let edit = |config| with_tls(config, certificates.path(), port);
    let mut scene = Scene::of("envoy/mtls.yaml", "otlp_collector", 2, edit).await?;
    scene.sink = sink;
    scene.load(REQUESTS, [Shape::get("users", "/users/1")]).await?;
    scene.wait_for_export(REQUESTS).await?;
    assert!(scene.stats().await?.counter("cluster.otlp_collector.ssl.handshake")? > 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_authority_is_rejected() -> Result<()> {
    let (known, unknown, sink) = (certificates()?, certificates()?, Sink::start(0).await?);
    let proxy = tls_proxy(known.path(), &sink).await?;
    let port = proxy.listener("tls")?.port();
    let edit = |config| with_tls(config, unknown.path(), port);
    let scene = Scene::of("envoy/mtls.yaml", "otlp_collector", 1, edit).await?;
    let tally = scene.load(100, [Shape::get("users", "/users/1")]).await?;
    assert_eq!(tally.answered_in_class(2), 100);
    scene.envoy.admin().wait_for_counter("wasmcustom.tributary_exports_failed", 1).await?;
    assert_eq!(sink.received().len(), 0);
    Ok(())
}
