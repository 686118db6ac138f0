//! Who a request is to and from: its headers, and what the destination is called in metrics about it.

use tributary_proto::attributes::text;
use tributary_proto::otlp::KeyValue;

use crate::compress::Compression;
use crate::config::Destination;

/// The destination's headers and our own.
pub(super) fn headers(destination: &Destination, compression: Compression) -> Vec<(String, String)> {
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

/// The attributes `otel.component.*` (OpenTelemetry semantic conventions), and where it is.
pub(super) fn component(destination: &Destination) -> Vec<KeyValue> {
    let Destination { name, encoding, cluster, authority, .. } = destination;
    let mut attributes =
        vec![text("otel.component.name", name), text("otel.component.type", encoding.component_type())];
    // Envoy does not tell what is behind a cluster; an authority that is not just its name is an address.
    if authority != cluster {
        let address = authority.rsplit_once(':').map_or(authority.as_str(), |(address, _)| address);
        attributes.push(text("server.address", address));
    }
    attributes
}
