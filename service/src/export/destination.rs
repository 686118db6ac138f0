//! A destination: a collector, and what it gets.

use std::time::Duration;

use super::backoff::Backoff;
use super::compress::Compression;
use super::encode::Encoding;
use super::points::Temporality;

/// The configuration of a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationConfig {
    /// The name in logs, statistics and metrics.
    pub name: String,
    /// Envoy's cluster.
    pub cluster: String,
    /// The encoding of requests.
    pub encoding: Encoding,
    /// The compression of requests; remote write ignores it.
    pub compression: Compression,
    /// The temporality of points.
    pub temporality: Temporality,
    /// Bytes of a request before compression; the last point may exceed them.
    pub max_bytes: usize,
    /// The path of requests.
    pub path: String,
    /// The authority of requests.
    pub authority: String,
    /// Further headers of requests.
    pub headers: Vec<(String, String)>,
    /// The time from the start of one export to the next.
    pub interval: Duration,
    /// The time that a response may take.
    pub timeout: Duration,
    /// The waits before retries.
    pub backoff: Backoff,
}

/// Returns a name as a part of a statistic's name: characters that separate parts, in Envoy or where
/// statistics are sent, become `_`.
pub fn statistic_name(name: &str) -> String {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
    name.chars().map(|character| if is_plain(character) { character } else { '_' }).collect()
}
