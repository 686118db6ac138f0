//! The service's configuration: JSON in, checked values out.

mod values;

use std::time::Duration;

use tributary_proto::config::{self, Problems, Section, quoted};
use tributary_proto::limits::{ATTRIBUTE_VALUE_BYTES_MAX, ATTRIBUTES_MAX, SERIES_DEFAULT, SERIES_MAX};
use tributary_proto::value::is_header_value;

use crate::backoff::Backoff;
use crate::compress::Compression;
use crate::encode::Encoding;
use crate::ledger::in_statistic;
use crate::points::Temporality;
use crate::values::ValueConfig;

/// The most destinations side by side.
pub const DESTINATIONS_MAX: usize = 16;

/// What the service is told to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceConfig {
    /// Where the sums go.
    pub destinations: Vec<Destination>,
    /// What is fetched once and shared with all workers.
    pub values: Vec<ValueConfig>,
    /// Attributes of the resource; they win over what Envoy says of itself.
    pub resource: Vec<(String, String)>,
    /// Series of one metric before further ones are counted in its overflow series.
    pub series_max: usize,
    /// A series of which nothing came for so long ends, once its last value is everywhere; none for never.
    pub idle: Option<Duration>,
    /// Whether metrics about the service itself are exported too.
    pub self_metrics: bool,
}

/// A collector, and how it wants what it gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// What logs call it.
    pub name: String,
    /// Envoy's cluster.
    pub cluster: String,
    /// How points are written.
    pub encoding: Encoding,
    /// How a request is compressed; remote write has its own way.
    pub compression: Compression,
    /// Since when points count.
    pub temporality: Temporality,
    /// Bytes of a request before compression; it ends with the first point that goes past them.
    pub max_bytes: usize,
    /// The path of the request.
    pub path: String,
    /// The authority of the request.
    pub authority: String,
    /// Further headers of the request.
    pub headers: Vec<(String, String)>,
    /// From one export's beginning to the next one's.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How long to wait before trying again.
    pub backoff: Backoff,
}

const INTERVAL: Duration = Duration::from_secs(10);
const INTERVAL_MIN: Duration = Duration::from_millis(100);
const INTERVAL_MAX: Duration = Duration::from_secs(3600);
/// The OTLP exporters' default (OpenTelemetry specification, `protocol/exporter.md`).
const TIMEOUT: Duration = Duration::from_secs(10);
const TIMEOUT_MIN: Duration = Duration::from_millis(10);
const TIMEOUT_MAX: Duration = Duration::from_secs(300);

const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LONGEST: Duration = Duration::from_secs(60);
const RETRY_MIN: Duration = Duration::from_millis(10);
const RETRY_MAX: Duration = Duration::from_secs(3600);

/// Long enough for a route that is asked once in a quarter of an hour, short enough for labels that come and go.
const IDLE: Duration = Duration::from_secs(900);
const IDLE_MAX: Duration = Duration::from_secs(30 * 86_400);

/// Small enough to be encoded in milliseconds, and under every collector's limit that is known.
const MAX_BYTES: usize = 1024 * 1024;
const MAX_BYTES_RANGE: std::ops::RangeInclusive<u64> = 16 * 1024..=64 * 1024 * 1024;

/// Headers that Envoy sets itself or that HTTP/2 forbids.
const HEADERS_RESERVED: [&str; 4] = ["content-length", "host", "connection", "transfer-encoding"];

/// Those that say what an export is, besides.
const HEADERS_OF_EXPORT: [&str; 2] = ["content-type", "content-encoding"];

impl ServiceConfig {
    /// Reads a configuration, or says everything that is wrong with it.
    pub fn parse(json: &[u8]) -> Result<Self, Problems> {
        config::read(json, |root| {
            let interval = root.duration("interval", INTERVAL_MIN..=INTERVAL_MAX).unwrap_or(INTERVAL);
            let mut names = Vec::new();
            // A service may be there for its values alone; one that is only scraped says so by an empty list.
            if !root.has("values") {
                root.required();
            }
            let destinations = root
                .sections("destinations", 0..=DESTINATIONS_MAX, |section| {
                    Destination::read(section, interval, &mut names)
                })
                .unwrap_or_default();
            let values = values::read(root);
            let resource = root.texts("resource", ATTRIBUTES_MAX, ATTRIBUTE_VALUE_BYTES_MAX);
            let (series_max, idle) = root.section("limits", |limits| {
                let series = limits.number("series", 1..=u64::try_from(SERIES_MAX).unwrap_or(u64::MAX));
                let series = series.and_then(|series| usize::try_from(series).ok()).unwrap_or(SERIES_DEFAULT);
                (series, limits.duration("idle", Duration::ZERO..=IDLE_MAX).unwrap_or(IDLE))
            });
            let idle = Some(idle).filter(|idle| !idle.is_zero());
            let self_metrics = root.flag("self_metrics").unwrap_or(true);
            let destinations = destinations.into_iter().flatten().collect();
            Self { destinations, resource, values, series_max, idle, self_metrics }
        })
    }
}

impl Destination {
    fn read(section: &mut Section<'_>, interval: Duration, names: &mut Vec<String>) -> Option<Self> {
        let cluster = section.required().text("cluster", 1..=255);
        let name = section.text("name", 1..=64).or_else(|| cluster.clone());
        let encoding = match section.word("encoding", &["otlp_protobuf", "otlp_json", "remote_write"]) {
            Some("otlp_json") => Encoding::OtlpJson,
            Some("remote_write") => Encoding::RemoteWrite,
            _ => Encoding::OtlpProtobuf,
        };
        let compression = match section.word("compression", &["none", "gzip"]) {
            Some("gzip") => Compression::Gzip,
            _ => Compression::None,
        };
        let temporality = match section.word("temporality", &["cumulative", "delta"]) {
            Some("delta") => Temporality::Delta,
            _ => Temporality::Cumulative,
        };
        let max_bytes = section.number("max_bytes", MAX_BYTES_RANGE);
        let max_bytes = max_bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(MAX_BYTES);
        let path = section.text("path", 1..=1024);
        let authority = section.text("authority", 1..=255);
        let headers = section.texts("headers", 32, 8192);
        let interval = section.duration("interval", INTERVAL_MIN..=INTERVAL_MAX).unwrap_or(interval);
        let timeout = section.duration("timeout", TIMEOUT_MIN..=TIMEOUT_MAX).unwrap_or(TIMEOUT);
        let backoff = section.section("retry", |retry| {
            let first = retry.duration("initial_interval", RETRY_MIN..=RETRY_MAX).unwrap_or(RETRY_FIRST);
            let longest = retry.duration("max_interval", RETRY_MIN..=RETRY_MAX).unwrap_or(RETRY_LONGEST);
            Backoff::new(first, longest)
        });

        check_headers(section, &headers, &HEADERS_OF_EXPORT);
        if let Some(path) = &path
            && (!path.starts_with('/') || path.bytes().any(|byte| byte <= b' '))
        {
            section.note("path", &quoted(path), "a path that begins with '/' and has no blanks");
        }
        if encoding == Encoding::RemoteWrite {
            if temporality == Temporality::Delta {
                section.note("temporality", "delta", "cumulative, which is all that remote write has");
            }
            if compression != Compression::None {
                section.note("compression", "gzip", "none: remote write is compressed in its own way");
            }
        }
        let (name, cluster) = (name?, cluster?);
        if names.contains(&name) {
            section.note(
                "name",
                &format!("{} again", quoted(&name)),
                "each name once (a destination without one is called as its cluster)",
            );
        } else if let Some(other) = names.iter().find(|other| in_statistic(other) == in_statistic(&name)) {
            section.note(
                "name",
                &format!("{} beside {}", quoted(&name), quoted(other)),
                "names that differ in a letter, a digit, '_' or '-': statistics have '_' for all else",
            );
        }
        names.push(name.clone());
        let authority = authority.unwrap_or_else(|| cluster.clone());
        let path = path.unwrap_or_else(|| encoding.default_path().to_owned());
        Some(Self {
            name,
            cluster,
            encoding,
            compression,
            temporality,
            max_bytes,
            path,
            authority,
            headers,
            interval,
            timeout,
            backoff,
        })
    }
}

/// Notes the headers that no request may have, or not this one: `own` are those that the service sets.
fn check_headers(section: &mut Section<'_>, headers: &[(String, String)], own: &[&str]) {
    for (header, value) in headers {
        let name = header.as_str();
        if !is_header_name(name) || HEADERS_RESERVED.contains(&name) || own.contains(&name) {
            let allowed = "lower-case header names, none that the service sets itself";
            section.note("headers", &quoted(header), allowed);
        }
        // The value may be a secret, so it is not repeated.
        if !is_header_value(value.as_bytes()) {
            let found = format!("a control character in the value of {}", quoted(header));
            section.note("headers", &found, "printable text");
        }
    }
}

/// Whether this is a header name as HTTP/2 sends it: a token (RFC 9110) in lower case.
fn is_header_name(name: &str) -> bool {
    let token =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(token)
}

#[cfg(test)]
mod tests;
