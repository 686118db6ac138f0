//! The sources of Istio's labels in Envoy.

use crate::fallback::{FallbackChain, OWN_WORKLOAD, Predicate, SourceSpec};
use crate::workload::NAMESPACE_PREFIX;

pub(super) static REPORTER: FallbackChain =
    FallbackChain { inbound: &[&AS_DESTINATION], outbound: &[&AS_SOURCE] };

/// The calling workload.
pub(super) static SOURCE: FallbackChain = FallbackChain { inbound: &[&CLIENT_PEER], outbound: &[&OWN] };
pub(super) static SOURCE_NAMESPACE: FallbackChain =
    FallbackChain { inbound: &[&CLIENT_WITH_NAMESPACE, &CLIENT_PEER], outbound: &[&OWN] };
pub(super) static SOURCE_PRINCIPAL: FallbackChain =
    FallbackChain { inbound: &[&CLIENT], outbound: &[&TO_UPSTREAM] };

/// The called workload.
pub(super) static DESTINATION: FallbackChain =
    FallbackChain { inbound: &[&OWN], outbound: &[&UPSTREAM_PEER, &UPSTREAM_CONNECTION_PEER, &ENDPOINT] };
pub(super) static DESTINATION_NAMESPACE: FallbackChain = FallbackChain {
    inbound: &[&OWN],
    outbound: &[&UPSTREAM_WITH_NAMESPACE, &UPSTREAM_PEER, &UPSTREAM_CONNECTION_PEER, &ENDPOINT],
};
pub(super) static DESTINATION_PRINCIPAL: FallbackChain = FallbackChain {
    inbound: &[&TO_CLIENT],
    outbound: &[&UPSTREAM, &UPSTREAM_PEER, &UPSTREAM_CONNECTION_PEER],
};

/// The called service: by the metadata of its cluster, otherwise by the request.
pub(super) static SERVICE_HOST: FallbackChain =
    FallbackChain { inbound: &[&SERVICE, &HOST, &OWN], outbound: &[&SERVICE, &HOST] };
pub(super) static SERVICE_NAME: FallbackChain = FallbackChain {
    inbound: &[&BLOCKED, &ALLOWED, &NO_SERVICE, &SERVICE, &HOST, &OWN],
    outbound: &[&BLOCKED, &ALLOWED, &NO_SERVICE, &SERVICE, &HOST],
};
pub(super) static SERVICE_NAMESPACE: FallbackChain = FallbackChain {
    inbound: &[&OWN],
    outbound: &[&SERVICE, &UPSTREAM_WITH_NAMESPACE, &UPSTREAM_PEER, &UPSTREAM_CONNECTION_PEER, &ENDPOINT],
};

/// Known only to the server side.
pub(super) static SECURITY_POLICY: FallbackChain =
    FallbackChain { inbound: &[&MUTUAL_TLS, &NO_TLS], outbound: &[] };

const ANY: SourceSpec =
    SourceSpec { guard: "", value: "", path: "", accepts: Predicate::NotEmpty, replacement: None };

static AS_DESTINATION: SourceSpec =
    SourceSpec { value: "'destination'", replacement: Some(b"destination"), ..ANY };
static AS_SOURCE: SourceSpec = SourceSpec { value: "'source'", replacement: Some(b"source"), ..ANY };
static NO_TLS: SourceSpec = SourceSpec { value: "'none'", replacement: Some(b"none"), ..ANY };
static OWN: SourceSpec = SourceSpec { value: "true", replacement: Some(OWN_WORKLOAD), ..ANY };

/// The SPIFFE identity in a client's certificate.
static CLIENT: SourceSpec = OF_CLIENT;
const OF_CLIENT: SourceSpec = SourceSpec {
    guard: "has(connection.uri_san_peer_certificate)",
    value: "connection.uri_san_peer_certificate",
    path: "connection\0uri_san_peer_certificate",
    ..ANY
};
/// The same, with a namespace in it.
static CLIENT_WITH_NAMESPACE: SourceSpec = SourceSpec {
    guard: "has(connection.uri_san_peer_certificate) && connection.uri_san_peer_certificate.contains('/ns/')",
    accepts: Predicate::Contains(NAMESPACE_PREFIX),
    ..OF_CLIENT
};
/// Used if the client has a certificate.
static MUTUAL_TLS: SourceSpec =
    SourceSpec { value: "'mutual_tls'", replacement: Some(b"mutual_tls"), ..OF_CLIENT };

/// The SPIFFE identity in the proxy's certificate for clients.
static TO_CLIENT: SourceSpec = SourceSpec {
    guard: "has(connection.uri_san_local_certificate)",
    value: "connection.uri_san_local_certificate",
    path: "connection\0uri_san_local_certificate",
    ..ANY
};

/// The SPIFFE identity in the upstream's certificate.
static UPSTREAM: SourceSpec = OF_UPSTREAM;
const OF_UPSTREAM: SourceSpec = SourceSpec {
    guard: "has(upstream.uri_san_peer_certificate)",
    value: "upstream.uri_san_peer_certificate",
    path: "upstream\0uri_san_peer_certificate",
    ..ANY
};
/// The same, with a namespace in it.
static UPSTREAM_WITH_NAMESPACE: SourceSpec = SourceSpec {
    guard: "has(upstream.uri_san_peer_certificate) && upstream.uri_san_peer_certificate.contains('/ns/')",
    accepts: Predicate::Contains(NAMESPACE_PREFIX),
    ..OF_UPSTREAM
};
/// The SPIFFE identity in the proxy's certificate for upstreams.
static TO_UPSTREAM: SourceSpec = SourceSpec {
    guard: "has(upstream.uri_san_local_certificate)",
    value: "upstream.uri_san_local_certificate",
    path: "upstream\0uri_san_local_certificate",
    ..ANY
};

/// The client, from peer discovery.
static CLIENT_PEER: SourceSpec = SourceSpec {
    guard: "'downstream_peer' in filter_state",
    value: "filter_state['downstream_peer']",
    path: "filter_state\0downstream_peer",
    ..ANY
};
/// The upstream, from peer discovery.
static UPSTREAM_PEER: SourceSpec = SourceSpec {
    guard: "'upstream_peer' in filter_state",
    value: "filter_state['upstream_peer']",
    path: "filter_state\0upstream_peer",
    ..ANY
};
/// The same for TCP: in the filter state of the upstream connection, which exists only with the connection.
static UPSTREAM_CONNECTION_PEER: SourceSpec = SourceSpec {
    guard: "has(upstream.local_address) && 'upstream_peer' in upstream_filter_state",
    value: "upstream_filter_state['upstream_peer']",
    path: "upstream_filter_state\0upstream_peer",
    ..ANY
};
/// The metadata of the endpoint from the control plane. It is a null message if there is no metadata.
static ENDPOINT: SourceSpec = SourceSpec {
    guard: "has(xds.upstream_host_metadata) && xds.upstream_host_metadata != null \
            && 'istio' in xds.upstream_host_metadata.filter_metadata \
            && 'workload' in xds.upstream_host_metadata.filter_metadata['istio']",
    value: "xds.upstream_host_metadata.filter_metadata['istio']['workload']",
    path: "xds\0upstream_host_metadata\0filter_metadata\0istio\0workload",
    ..ANY
};

/// The first service in the metadata of the cluster from the control plane, a map.
static SERVICE: SourceSpec = SourceSpec {
    guard: "has(xds.cluster_metadata) && 'istio' in xds.cluster_metadata.filter_metadata \
            && 'services' in xds.cluster_metadata.filter_metadata['istio'] \
            && size(xds.cluster_metadata.filter_metadata['istio']['services']) > 0",
    value: "xds.cluster_metadata.filter_metadata['istio']['services'][0]",
    path: "xds\0cluster_metadata\0filter_metadata\0istio\0services\x000",
    ..ANY
};
/// The host in the request.
pub(super) const HOST: SourceSpec =
    SourceSpec { guard: "has(request.host)", value: "request.host", path: "request\0host", ..ANY };

/// Istio's routes for destinations that are not in its registry.
static BLOCKED: SourceSpec = SourceSpec {
    guard: "has(xds.route_name) && xds.route_name == 'block_all'",
    value: "'BlackHoleCluster'",
    path: "xds\0route_name",
    accepts: Predicate::OneOf(&["block_all"]),
    replacement: Some(b"BlackHoleCluster"),
};
static ALLOWED: SourceSpec = SourceSpec {
    guard: "has(xds.route_name) && xds.route_name == 'allow_any'",
    value: "'PassthroughCluster'",
    path: "xds\0route_name",
    accepts: Predicate::OneOf(&["allow_any"]),
    replacement: Some(b"PassthroughCluster"),
};
/// Istio's clusters that are not services.
static NO_SERVICE: SourceSpec = SourceSpec {
    guard: "has(xds.cluster_name) && xds.cluster_name in ['BlackHoleCluster', 'PassthroughCluster', \
            'InboundPassthroughCluster', 'InboundPassthroughClusterIpv4', 'InboundPassthroughClusterIpv6']",
    value: "xds.cluster_name",
    path: "xds\0cluster_name",
    accepts: Predicate::OneOf(&[
        "BlackHoleCluster",
        "PassthroughCluster",
        "InboundPassthroughCluster",
        "InboundPassthroughClusterIpv4",
        "InboundPassthroughClusterIpv6",
    ]),
    ..ANY
};

#[cfg(test)]
mod tests {
    use super::*;

    /// All sources with a property.
    static ALL: [&SourceSpec; 16] = [
        &CLIENT,
        &CLIENT_WITH_NAMESPACE,
        &MUTUAL_TLS,
        &TO_CLIENT,
        &UPSTREAM,
        &UPSTREAM_WITH_NAMESPACE,
        &TO_UPSTREAM,
        &CLIENT_PEER,
        &UPSTREAM_PEER,
        &UPSTREAM_CONNECTION_PEER,
        &ENDPOINT,
        &SERVICE,
        &HOST,
        &BLOCKED,
        &ALLOWED,
        &NO_SERVICE,
    ];

    #[test]
    fn the_expression_and_the_property_of_a_source_agree() {
        for source in ALL {
            let dotted = source.value.replace("['", ".").replace("']", "").replace('[', ".").replace(']', "");
            match source.replacement {
                None => assert_eq!(dotted.replace('.', "\0"), source.path),
                Some(text) => {
                    assert_eq!(source.value, format!("'{}'", str::from_utf8(text).unwrap()));
                    let attribute = source.path.replace('\0', ".");
                    assert!(source.guard.contains(&format!("has({attribute})")), "{source:?}");
                }
            }
            let attribute = source.path.replace('\0', ".");
            match source.accepts {
                Predicate::NotEmpty => {}
                Predicate::Contains(part) => {
                    assert!(source.guard.ends_with(&format!("{attribute}.contains('{part}')")), "{source:?}");
                }
                Predicate::OneOf([one]) => {
                    assert!(source.guard.ends_with(&format!("{attribute} == '{one}'")), "{source:?}");
                }
                Predicate::OneOf(texts) => {
                    let list = format!("{attribute} in ['{}']", texts.join("', '"));
                    assert!(source.guard.ends_with(&list), "{source:?}");
                }
            }
        }
    }
}
