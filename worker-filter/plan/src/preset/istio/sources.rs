//! The places in Envoy from which Istio's labels are read.

use crate::fallback::{FallbackChain, OWN_WORKLOAD, Predicate, SourceSpec};
use crate::workload::NAMESPACE_PREFIX;

pub(super) static REPORTER: FallbackChain = chain(&[&AS_DESTINATION], &[&AS_SOURCE]);

/// The workload that sends the requests.
pub(super) static SOURCE: FallbackChain = chain(&[&CLIENT_PEER], &[&OWN]);
pub(super) static SOURCE_NAMESPACE: FallbackChain = chain(&[&CLIENT_WITH_NAMESPACE, &CLIENT_PEER], &[&OWN]);
pub(super) static SOURCE_PRINCIPAL: FallbackChain = chain(&[&CLIENT], &[&TO_UPSTREAM]);

/// The workload that receives the requests.
pub(super) static DESTINATION: FallbackChain =
    chain(&[&OWN], &[&UPSTREAM_PEER, &UPSTREAM_CONNECTION_PEER, &ENDPOINT]);
pub(super) static DESTINATION_NAMESPACE: FallbackChain =
    chain(&[&OWN], &[&UPSTREAM_WITH_NAMESPACE, &UPSTREAM_PEER, &UPSTREAM_CONNECTION_PEER, &ENDPOINT]);
pub(super) static DESTINATION_PRINCIPAL: FallbackChain =
    chain(&[&TO_CLIENT], &[&UPSTREAM, &UPSTREAM_PEER, &UPSTREAM_CONNECTION_PEER]);

/// The service that receives the requests, from the metadata of its cluster, otherwise from the request.
pub(super) static SERVICE_HOST: FallbackChain = chain(&[&SERVICE, &HOST, &OWN], &[&SERVICE, &HOST]);
pub(super) static SERVICE_NAME: FallbackChain = chain(
    &[&BLOCKED, &ALLOWED, &NO_SERVICE, &SERVICE, &HOST, &OWN],
    &[&BLOCKED, &ALLOWED, &NO_SERVICE, &SERVICE, &HOST],
);
pub(super) static SERVICE_NAMESPACE: FallbackChain = chain(
    &[&OWN],
    &[&SERVICE, &UPSTREAM_WITH_NAMESPACE, &UPSTREAM_PEER, &UPSTREAM_CONNECTION_PEER, &ENDPOINT],
);

/// The security policy of the connection, which only the server side knows.
pub(super) static SECURITY_POLICY: FallbackChain = chain(&[&MUTUAL_TLS, &NO_TLS], &[]);

const fn chain(
    inbound: &'static [&'static SourceSpec],
    outbound: &'static [&'static SourceSpec],
) -> FallbackChain {
    FallbackChain { inbound, outbound }
}

const ANY: SourceSpec =
    SourceSpec { guard: "", value: "", path: "", accepts: Predicate::NotEmpty, replacement: None };

/// Defines the source of an attribute that a stream may lack.
macro_rules! attribute {
    ($root:literal, $name:literal $(, $condition:literal)?) => {
        SourceSpec {
            guard: concat!("has(", $root, ".", $name, ")" $(, " && ", $root, ".", $name, $condition)?),
            value: concat!($root, ".", $name),
            path: concat!($root, "\0", $name),
            ..ANY
        }
    };
}

/// Defines the source of a member of a map, such as the filter state.
macro_rules! member {
    ($map:literal, $name:literal $(, $condition:literal)?) => {
        SourceSpec {
            guard: concat!($($condition, " && ",)? "'", $name, "' in ", $map),
            value: concat!($map, "['", $name, "']"),
            path: concat!($map, "\0", $name),
            ..ANY
        }
    };
}

/// Defines a source that has a text in place of the value of another source.
macro_rules! replaced {
    ($text:literal, $source:expr) => {
        SourceSpec { value: concat!("'", $text, "'"), replacement: Some($text.as_bytes()), ..$source }
    };
}

static AS_DESTINATION: SourceSpec = replaced!("destination", ANY);
static AS_SOURCE: SourceSpec = replaced!("source", ANY);
static NO_TLS: SourceSpec = replaced!("none", ANY);
static OWN: SourceSpec = SourceSpec { value: "true", replacement: Some(OWN_WORKLOAD), ..ANY };

/// The SPIFFE identity in a client's certificate.
static CLIENT: SourceSpec = attribute!("connection", "uri_san_peer_certificate");
/// The SPIFFE identity in a client's certificate, if the identity contains a namespace.
static CLIENT_WITH_NAMESPACE: SourceSpec = SourceSpec {
    accepts: Predicate::Contains(NAMESPACE_PREFIX),
    ..attribute!("connection", "uri_san_peer_certificate", ".contains('/ns/')")
};
/// The security policy if the client has a certificate.
static MUTUAL_TLS: SourceSpec = replaced!("mutual_tls", attribute!("connection", "uri_san_peer_certificate"));
/// The SPIFFE identity in the certificate that the proxy presents to clients.
static TO_CLIENT: SourceSpec = attribute!("connection", "uri_san_local_certificate");

/// The SPIFFE identity in the upstream's certificate.
static UPSTREAM: SourceSpec = attribute!("upstream", "uri_san_peer_certificate");
/// The SPIFFE identity in the upstream's certificate, if the identity contains a namespace.
static UPSTREAM_WITH_NAMESPACE: SourceSpec = SourceSpec {
    accepts: Predicate::Contains(NAMESPACE_PREFIX),
    ..attribute!("upstream", "uri_san_peer_certificate", ".contains('/ns/')")
};
/// The SPIFFE identity in the certificate that the proxy presents to upstreams.
static TO_UPSTREAM: SourceSpec = attribute!("upstream", "uri_san_local_certificate");

/// The client's workload, from peer discovery.
static CLIENT_PEER: SourceSpec = member!("filter_state", "downstream_peer");
/// The upstream's workload, from peer discovery.
static UPSTREAM_PEER: SourceSpec = member!("filter_state", "upstream_peer");
/// The upstream's workload for TCP, from the filter state of the upstream connection. It exists only if there
/// is such a connection.
static UPSTREAM_CONNECTION_PEER: SourceSpec =
    member!("upstream_filter_state", "upstream_peer", "has(upstream.local_address)");
/// The metadata of the endpoint, from the control plane. If there is no metadata, it is a null message.
static ENDPOINT: SourceSpec = SourceSpec {
    guard: "has(xds.upstream_host_metadata) && xds.upstream_host_metadata != null \
            && 'istio' in xds.upstream_host_metadata.filter_metadata \
            && 'workload' in xds.upstream_host_metadata.filter_metadata['istio']",
    value: "xds.upstream_host_metadata.filter_metadata['istio']['workload']",
    path: "xds\0upstream_host_metadata\0filter_metadata\0istio\0workload",
    ..ANY
};

/// The first service in the metadata of the cluster, from the control plane. The value is a map.
static SERVICE: SourceSpec = SourceSpec {
    guard: "has(xds.cluster_metadata) && 'istio' in xds.cluster_metadata.filter_metadata \
            && 'services' in xds.cluster_metadata.filter_metadata['istio'] \
            && size(xds.cluster_metadata.filter_metadata['istio']['services']) > 0",
    value: "xds.cluster_metadata.filter_metadata['istio']['services'][0]",
    path: "xds\0cluster_metadata\0filter_metadata\0istio\0services\x000",
    ..ANY
};
/// The host in the request.
static HOST: SourceSpec = attribute!("request", "host");

/// The names of Istio's routes for destinations that are not in its registry.
static BLOCKED: SourceSpec = SourceSpec {
    accepts: Predicate::OneOf(&["block_all"]),
    ..replaced!("BlackHoleCluster", attribute!("xds", "route_name", " == 'block_all'"))
};
static ALLOWED: SourceSpec = SourceSpec {
    accepts: Predicate::OneOf(&["allow_any"]),
    ..replaced!("PassthroughCluster", attribute!("xds", "route_name", " == 'allow_any'"))
};
/// The names of Istio's clusters that are not services.
static NO_SERVICE: SourceSpec = SourceSpec {
    accepts: Predicate::OneOf(&[
        "BlackHoleCluster",
        "PassthroughCluster",
        "InboundPassthroughCluster",
        "InboundPassthroughClusterIpv4",
        "InboundPassthroughClusterIpv6",
    ]),
    ..attribute!(
        "xds",
        "cluster_name",
        " in ['BlackHoleCluster', 'PassthroughCluster', 'InboundPassthroughCluster', \
         'InboundPassthroughClusterIpv4', 'InboundPassthroughClusterIpv6']"
    )
};
