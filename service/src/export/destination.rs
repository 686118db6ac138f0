//! A destination: the configuration of exports to one collector.

use std::time::Duration;

use tributary_proto::attributes::text;
use tributary_proto::otlp::KeyValue;

use super::backoff::Backoff;
use super::compress::Compression;
use super::encode::Encoding;
use super::points::Temporality;

/// The configuration of a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationConfig {
    /// The name in logs, statistics and metrics.
    pub name: String,
    /// The name of the Envoy cluster to which requests are sent.
    pub cluster: String,
    /// The encoding of requests.
    pub encoding: Encoding,
    /// The compression of requests; remote write ignores it.
    pub compression: Compression,
    /// The temporality of points.
    pub temporality: Temporality,
    /// Whether deltas are sent again if it is unknown whether the collector has them.
    pub on_ambiguous: AmbiguousAction,
    /// The maximum number of bytes of a request before compression; its last point may exceed it.
    pub max_bytes: usize,
    /// The path of requests.
    pub path: String,
    /// The authority of requests.
    pub authority: String,
    /// Further headers of requests.
    pub headers: Vec<(String, String)>,
    /// The time from the start of one export cycle to the start of the next.
    pub interval: Duration,
    /// The time that a response may take.
    pub timeout: Duration,
    /// The waits before retries.
    pub backoff: Backoff,
}

/// What happens to deltas if it is unknown whether the collector has them. Cumulative points are always sent
/// again, because a duplicate does not change them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AmbiguousAction {
    /// Deltas are sent again, so they are delivered at least once.
    Retry,
    /// Deltas are dropped, so they are delivered at most once.
    Drop,
}

impl DestinationConfig {
    /// Returns the headers of requests: the configured headers, and the headers for the encoding and the
    /// compression. A configured header replaces such a header of the same name.
    pub fn request_headers(&self) -> Vec<(String, String)> {
        let own = [
            ("content-type", Some(self.encoding.content_type())),
            ("content-encoding", self.compression.content_encoding()),
            ("user-agent", Some(concat!("tributary/", env!("CARGO_PKG_VERSION")))),
            ("x-prometheus-remote-write-version", self.encoding.protocol_version()),
        ];
        let mut headers = self.headers.clone();
        for (name, value) in own.into_iter().filter_map(|(name, value)| Some((name, value?))) {
            if !headers.iter().any(|(given, _)| given == name) {
                headers.push((name.to_owned(), value.to_owned()));
            }
        }
        headers
    }

    /// Returns the attributes of metrics about the exporter: `otel.component.*` (OpenTelemetry semantic
    /// conventions), and `server.address` if it is known.
    pub fn component(&self) -> Vec<KeyValue> {
        let Self { name, encoding, cluster, authority, .. } = self;
        let mut attributes =
            vec![text("otel.component.name", name), text("otel.component.type", encoding.component_type())];
        // Envoy does not expose the address of a cluster. An authority that is not the cluster's name is
        // used as the address.
        if authority != cluster {
            let address = authority.rsplit_once(':').map_or(authority.as_str(), |(address, _)| address);
            attributes.push(text("server.address", address));
        }
        attributes
    }
}
