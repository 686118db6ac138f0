//! A front proxy: an Envoy that accepts HTTP/1.1 requests and forwards them to the Envoy under test in
//! another version of HTTP.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::admin::Admin;
use crate::config::EnvoyConfig;
use crate::envoy::{Envoy, EnvoyOptions};

/// A version of HTTP in which requests reach the Envoy under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.1, straight from the load generator.
    Http1,
    /// HTTP/2 in plain text.
    Http2,
    /// HTTP/3, which runs over QUIC and therefore requires TLS.
    Http3,
}

/// The TLS identity of the Envoy under test: a certificate for `localhost` and its key, in PEM.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The self-signed certificate.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

/// A running front proxy.
#[derive(Debug)]
pub struct FrontProxy(Envoy);

impl FrontProxy {
    /// Starts a front proxy that forwards to `target` in `version`.
    pub async fn start(target: SocketAddr, version: HttpVersion, identity: &Identity) -> Result<Self> {
        let config = EnvoyConfig::load("tests/e2e/config/front.yaml")?.edit(|document| {
            // Edited without a path, because the key contains dots, which a path cannot express.
            let clusters = document.get_mut("static_resources").and_then(|it| it.get_mut("clusters"));
            let options = clusters.and_then(|it| {
                let options = it.get_mut(0)?.get_mut("typed_extension_protocol_options")?;
                options.get_mut(HTTP_OPTIONS)?.get_mut("explicit_http_config")
            });
            *options.context("the cluster has no HTTP options")? =
                serde_yaml_ng::to_value(version.options())?;
            Ok(())
        });
        let mut config = config.free_ports().cluster_port("under_test", target.port());
        if version == HttpVersion::Http3 {
            config = config.set(
                "static_resources.clusters[0].transport_socket",
                json!({"name": "envoy.transport_sockets.quic", "typed_config": {
                    "@type": type_url("transport_sockets.quic.v3.QuicUpstreamTransport"),
                    "upstream_tls_context": {
                        "sni": "localhost",
                        "common_tls_context": {
                            "validation_context": {"trusted_ca": {"inline_string": identity.certificate}}
                        }
                    }
                }}),
            );
        }
        Ok(Self(Envoy::start(&config, &EnvoyOptions::workers(1)).await?))
    }

    /// Returns the address that accepts HTTP/1.1.
    pub fn address(&self) -> Result<SocketAddr> {
        self.0.listener("front")
    }

    /// Returns the admin interface of the front proxy.
    pub fn admin(&self) -> &Admin {
        self.0.admin()
    }
}

const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

impl HttpVersion {
    /// All versions.
    pub const ALL: [Self; 3] = [Self::Http1, Self::Http2, Self::Http3];

    /// Makes the first listener of a configuration accept only this version of HTTP.
    #[must_use]
    pub fn taken_by(self, config: EnvoyConfig, identity: &Identity) -> EnvoyConfig {
        let listener = "static_resources.listeners[0]";
        let manager = format!("{listener}.filter_chains[0].filters[0].typed_config");
        match self {
            Self::Http1 => config,
            Self::Http2 => config.set(&format!("{manager}.codec_type"), "HTTP2"),
            Self::Http3 => config
                .set(&format!("{manager}.codec_type"), "HTTP3")
                .set(&format!("{manager}.http3_protocol_options"), json!({}))
                .set(&format!("{listener}.address.socket_address.protocol"), "UDP")
                .set(&format!("{listener}.udp_listener_config"), json!({"quic_options": {}}))
                .set(
                    &format!("{listener}.filter_chains[0].transport_socket"),
                    json!({"name": "envoy.transport_sockets.quic", "typed_config": {
                        "@type": type_url("transport_sockets.quic.v3.QuicDownstreamTransport"),
                        "downstream_tls_context": {"common_tls_context": {"tls_certificates": [{
                            "certificate_chain": {"inline_string": identity.certificate},
                            "private_key": {"inline_string": identity.key}
                        }]}}
                    }}),
                ),
        }
    }

    /// Returns the `explicit_http_config` of a cluster for this version.
    fn options(self) -> Value {
        match self {
            Self::Http1 => json!({"http_protocol_options": {}}),
            Self::Http2 => json!({"http2_protocol_options": {}}),
            Self::Http3 => json!({"http3_protocol_options": {}}),
        }
    }
}

fn type_url(extension: &str) -> String {
    format!("type.googleapis.com/envoy.extensions.{extension}")
}
