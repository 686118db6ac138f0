//! Where Envoy has what Istio's labels say.

use crate::choice::{Choice, ITSELF, Place, Test};
use crate::workload::NAMESPACE_PREFIX;

pub(super) static REPORTER: Choice = Choice { inbound: &[&AS_DESTINATION], outbound: &[&AS_SOURCE] };

/// Whom the caller is.
pub(super) static SOURCE: Choice = Choice { inbound: &[&CLIENT_PEER], outbound: &[&OWN] };
pub(super) static SOURCE_NAMESPACE: Choice =
    Choice { inbound: &[&CLIENT_WITH_NAMESPACE, &CLIENT_PEER], outbound: &[&OWN] };
pub(super) static SOURCE_PRINCIPAL: Choice = Choice { inbound: &[&CLIENT], outbound: &[&TO_UPSTREAM] };

/// Who answers.
pub(super) static DESTINATION: Choice =
    Choice { inbound: &[&OWN], outbound: &[&UPSTREAM_PEER, &UPSTREAM_CONNECTION_PEER, &ENDPOINT] };
pub(super) static DESTINATION_NAMESPACE: Choice = Choice {
    inbound: &[&OWN],
    outbound: &[&UPSTREAM_WITH_NAMESPACE, &UPSTREAM_PEER, &UPSTREAM_CONNECTION_PEER, &ENDPOINT],
};
pub(super) static DESTINATION_PRINCIPAL: Choice =
    Choice { inbound: &[&TO_CLIENT], outbound: &[&UPSTREAM, &UPSTREAM_PEER, &UPSTREAM_CONNECTION_PEER] };

/// The service that is called, as its cluster says it, else as the caller does.
pub(super) static SERVICE_HOST: Choice =
    Choice { inbound: &[&SERVICE, &HOST, &OWN], outbound: &[&SERVICE, &HOST] };
pub(super) static SERVICE_NAME: Choice = Choice {
    inbound: &[&BLOCKED, &ALLOWED, &NO_SERVICE, &SERVICE, &HOST, &OWN],
    outbound: &[&BLOCKED, &ALLOWED, &NO_SERVICE, &SERVICE, &HOST],
};
pub(super) static SERVICE_NAMESPACE: Choice = Choice {
    inbound: &[&OWN],
    outbound: &[&SERVICE, &UPSTREAM_WITH_NAMESPACE, &UPSTREAM_PEER, &UPSTREAM_CONNECTION_PEER, &ENDPOINT],
};

/// Known on the side that takes the connection.
pub(super) static SECURITY_POLICY: Choice = Choice { inbound: &[&MUTUAL_TLS, &NO_TLS], outbound: &[] };

const AT: Place = Place { guard: "", value: "", path: "", test: Test::Any, gives: None };

static AS_DESTINATION: Place = Place { value: "'destination'", gives: Some(b"destination"), ..AT };
static AS_SOURCE: Place = Place { value: "'source'", gives: Some(b"source"), ..AT };
static NO_TLS: Place = Place { value: "'none'", gives: Some(b"none"), ..AT };
static OWN: Place = Place { value: "true", gives: Some(ITSELF), ..AT };

/// Whose certificate a client shows, as a SPIFFE identity.
static CLIENT: Place = OF_CLIENT;
const OF_CLIENT: Place = Place {
    guard: "has(connection.uri_san_peer_certificate)",
    value: "connection.uri_san_peer_certificate",
    path: "connection\0uri_san_peer_certificate",
    ..AT
};
/// The same, with a namespace in it.
static CLIENT_WITH_NAMESPACE: Place = Place {
    guard: "has(connection.uri_san_peer_certificate) && connection.uri_san_peer_certificate.contains('/ns/')",
    test: Test::Containing(NAMESPACE_PREFIX),
    ..OF_CLIENT
};
/// That a client shows a certificate.
static MUTUAL_TLS: Place = Place { value: "'mutual_tls'", gives: Some(b"mutual_tls"), ..OF_CLIENT };

/// The certificate that is shown to clients.
static TO_CLIENT: Place = Place {
    guard: "has(connection.uri_san_local_certificate)",
    value: "connection.uri_san_local_certificate",
    path: "connection\0uri_san_local_certificate",
    ..AT
};

/// Whose certificate the upstream shows.
static UPSTREAM: Place = OF_UPSTREAM;
const OF_UPSTREAM: Place = Place {
    guard: "has(upstream.uri_san_peer_certificate)",
    value: "upstream.uri_san_peer_certificate",
    path: "upstream\0uri_san_peer_certificate",
    ..AT
};
/// The same, with a namespace in it.
static UPSTREAM_WITH_NAMESPACE: Place = Place {
    guard: "has(upstream.uri_san_peer_certificate) && upstream.uri_san_peer_certificate.contains('/ns/')",
    test: Test::Containing(NAMESPACE_PREFIX),
    ..OF_UPSTREAM
};
/// The certificate that is shown to upstreams.
static TO_UPSTREAM: Place = Place {
    guard: "has(upstream.uri_san_local_certificate)",
    value: "upstream.uri_san_local_certificate",
    path: "upstream\0uri_san_local_certificate",
    ..AT
};

/// What peer discovery leaves of a client.
static CLIENT_PEER: Place = Place {
    guard: "'downstream_peer' in filter_state",
    value: "filter_state['downstream_peer']",
    path: "filter_state\0downstream_peer",
    ..AT
};
/// What it leaves of an upstream.
static UPSTREAM_PEER: Place = Place {
    guard: "'upstream_peer' in filter_state",
    value: "filter_state['upstream_peer']",
    path: "filter_state\0upstream_peer",
    ..AT
};
/// The same as it is with TCP, in the state of the connection to the upstream, which is there when that is.
static UPSTREAM_CONNECTION_PEER: Place = Place {
    guard: "has(upstream.local_address) && 'upstream_peer' in upstream_filter_state",
    value: "upstream_filter_state['upstream_peer']",
    path: "upstream_filter_state\0upstream_peer",
    ..AT
};
/// What the control plane says of the endpoint. Without metadata it is a null message.
static ENDPOINT: Place = Place {
    guard: "has(xds.upstream_host_metadata) && xds.upstream_host_metadata != null \
            && 'istio' in xds.upstream_host_metadata.filter_metadata \
            && 'workload' in xds.upstream_host_metadata.filter_metadata['istio']",
    value: "xds.upstream_host_metadata.filter_metadata['istio']['workload']",
    path: "xds\0upstream_host_metadata\0filter_metadata\0istio\0workload",
    ..AT
};

/// What the control plane says of the first service of the cluster, a map.
static SERVICE: Place = Place {
    guard: "has(xds.cluster_metadata) && 'istio' in xds.cluster_metadata.filter_metadata \
            && 'services' in xds.cluster_metadata.filter_metadata['istio'] \
            && size(xds.cluster_metadata.filter_metadata['istio']['services']) > 0",
    value: "xds.cluster_metadata.filter_metadata['istio']['services'][0]",
    path: "xds\0cluster_metadata\0filter_metadata\0istio\0services\x000",
    ..AT
};
/// What a request calls the service.
pub(super) const HOST: Place =
    Place { guard: "has(request.host)", value: "request.host", path: "request\0host", ..AT };

/// Istio's routes to where it knows of no service.
static BLOCKED: Place = Place {
    guard: "has(xds.route_name) && xds.route_name == 'block_all'",
    value: "'BlackHoleCluster'",
    path: "xds\0route_name",
    test: Test::OneOf(&["block_all"]),
    gives: Some(b"BlackHoleCluster"),
};
static ALLOWED: Place = Place {
    guard: "has(xds.route_name) && xds.route_name == 'allow_any'",
    value: "'PassthroughCluster'",
    path: "xds\0route_name",
    test: Test::OneOf(&["allow_any"]),
    gives: Some(b"PassthroughCluster"),
};
/// Istio's clusters that are no service.
static NO_SERVICE: Place = Place {
    guard: "has(xds.cluster_name) && xds.cluster_name in ['BlackHoleCluster', 'PassthroughCluster', \
            'InboundPassthroughCluster', 'InboundPassthroughClusterIpv4', 'InboundPassthroughClusterIpv6']",
    value: "xds.cluster_name",
    path: "xds\0cluster_name",
    test: Test::OneOf(&[
        "BlackHoleCluster",
        "PassthroughCluster",
        "InboundPassthroughCluster",
        "InboundPassthroughClusterIpv4",
        "InboundPassthroughClusterIpv6",
    ]),
    ..AT
};

#[cfg(test)]
mod tests {
    use super::*;

    /// Every place with a property.
    static ALL: [&Place; 16] = [
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
    fn a_place_is_the_same_as_expression_and_as_property() {
        for place in ALL {
            let dotted = place.value.replace("['", ".").replace("']", "").replace('[', ".").replace(']', "");
            match place.gives {
                None => assert_eq!(dotted.replace('.', "\0"), place.path),
                Some(text) => {
                    assert_eq!(place.value, format!("'{}'", str::from_utf8(text).unwrap()));
                    let attribute = place.path.replace('\0', ".");
                    assert!(place.guard.contains(&format!("has({attribute})")), "{place:?}");
                }
            }
            let attribute = place.path.replace('\0', ".");
            match place.test {
                Test::Any => {}
                Test::Containing(part) => {
                    assert!(place.guard.ends_with(&format!("{attribute}.contains('{part}')")), "{place:?}");
                }
                Test::OneOf([one]) => {
                    assert!(place.guard.ends_with(&format!("{attribute} == '{one}'")), "{place:?}");
                }
                Test::OneOf(texts) => {
                    let list = format!("{attribute} in ['{}']", texts.join("', '"));
                    assert!(place.guard.ends_with(&list), "{place:?}");
                }
            }
        }
    }
}
