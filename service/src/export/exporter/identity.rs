//! The headers of requests, and the attributes of a destination in metrics about it.

use tributary_proto::attributes::text;
use tributary_proto::otlp::KeyValue;

use crate::export::compress::Compression;
use crate::export::destination::DestinationConfig;

/// Returns the headers of the destination, and of its encoding unless the destination has the same.
pub(super) fn headers(destination: &DestinationConfig, compression: Compression) -> Vec<(String, String)> {
    let encoding = destination.encoding;
    let own = [
        ("content-type", Some(encoding.content_type())),
        ("content-encoding", compression.content_encoding()),
        ("user-agent", Some(concat!("tributary/", env!("CARGO_PKG_VERSION")))),
    ];
    let own = own.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let mut headers = destination.headers.clone();
    for (name, value) in own.chain(encoding.headers().iter().copied()) {
        if !headers.iter().any(|(given, _)| given == name) {
            headers.push((name.to_owned(), value.to_owned()));
        }
    }
    headers
}

/// Returns the attributes `otel.component.*` (OpenTelemetry semantic conventions), and `server.address` if it
/// is known.
pub(super) fn component(destination: &DestinationConfig) -> Vec<KeyValue> {
    let DestinationConfig { name, encoding, cluster, authority, .. } = destination;
    let mut attributes =
        vec![text("otel.component.name", name), text("otel.component.type", encoding.component_type())];
    // Envoy does not expose the address of a cluster; an authority other than the cluster's name is an
    // address.
    if authority != cluster {
        let address = authority.rsplit_once(':').map_or(authority.as_str(), |(address, _)| address);
        attributes.push(text("server.address", address));
    }
    attributes
}
