//! The configuration of the service: parses and checks its JSON.

mod values;

use std::time::Duration;

use tributary_proto::config::{self, Problems, Section, quoted};
use tributary_proto::limits::{ATTRIBUTE_VALUE_BYTES_MAX, ATTRIBUTES_MAX, SERIES_DEFAULT, SERIES_MAX};
use tributary_proto::value::is_header_value;

use crate::aggregate::DESTINATIONS_CAPACITY;
use crate::export::destination::AmbiguousAction;
use crate::export::{Backoff, Compression, DestinationConfig, Encoding, Temporality};
use crate::stats::statistic_name;
use crate::values::ValueConfig;

/// The maximum number of destinations.
pub const DESTINATIONS_MAX: usize = 16;

const _: () =
    assert!(DESTINATIONS_MAX <= DESTINATIONS_CAPACITY, "the table must have room for each destination");

/// The configuration of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceConfig {
    /// The destinations of exports.
    pub destinations: Vec<DestinationConfig>,
    /// The values that the service fetches and shares with all workers.
    pub values: Vec<ValueConfig>,
    /// Attributes of the resource; they take precedence over the attributes of Envoy's node.
    pub resource: Vec<(String, String)>,
    /// The maximum number of series of a metric; further series are counted in its overflow series.
    pub series_max: usize,
    /// The time without an update after which a series ends, once every destination has confirmed its
    /// last value; `None` means never.
    pub idle: Option<Duration>,
    /// Whether metrics about the service are exported.
    pub self_metrics: bool,
}

const INTERVAL: Duration = Duration::from_secs(10);
const INTERVAL_MIN: Duration = Duration::from_millis(100);
const INTERVAL_MAX: Duration = Duration::from_secs(3600);
/// The default timeout: the default of OTLP exporters (OpenTelemetry specification,
/// `protocol/exporter.md`).
const TIMEOUT: Duration = Duration::from_secs(10);
const TIMEOUT_MIN: Duration = Duration::from_millis(10);
const TIMEOUT_MAX: Duration = Duration::from_secs(300);

const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LONGEST: Duration = Duration::from_secs(60);
const RETRY_MIN: Duration = Duration::from_millis(10);
const RETRY_MAX: Duration = Duration::from_secs(3600);

/// The default `idle`: long enough for routes with a request every 15 minutes, but short enough for labels
/// that are used only for a short time.
const IDLE: Duration = Duration::from_secs(900);
const IDLE_MAX: Duration = Duration::from_secs(30 * 86_400);

/// The default `max_bytes`: a request of this size is encoded within milliseconds, and is below the limits
/// of all known collectors.
const MAX_BYTES: usize = 1024 * 1024;
const MAX_BYTES_RANGE: std::ops::RangeInclusive<u64> = 16 * 1024..=64 * 1024 * 1024;

/// Headers that Envoy sets itself or that HTTP/2 forbids.
const HEADERS_RESERVED: [&str; 4] = ["content-length", "host", "connection", "transfer-encoding"];

/// Headers that the service sets in exports.
const HEADERS_OF_EXPORT: [&str; 2] = ["content-type", "content-encoding"];

impl ServiceConfig {
    /// Parses a configuration.
    ///
    /// # Errors
    /// All problems at once.
    pub fn parse(json: &[u8]) -> Result<Self, Problems> {
        config::read(json, |root| {
            let interval = root.duration("interval", INTERVAL_MIN..=INTERVAL_MAX).unwrap_or(INTERVAL);
            let mut names = Vec::new();
            // `destinations` is required unless there are `values`. A service that is only scraped has an
            // explicit empty list.
            if !root.has("values") {
                root.required();
            }
            let destinations = root
                .sections("destinations", 0..=DESTINATIONS_MAX, |section| {
                    read_destination(section, interval, &mut names)
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

fn read_destination(
    section: &mut Section<'_>,
    interval: Duration,
    names: &mut Vec<String>,
) -> Option<DestinationConfig> {
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
    let on_ambiguous = match section.word("on_ambiguous", &["retry", "drop"]) {
        Some("drop") => AmbiguousAction::Drop,
        _ => AmbiguousAction::Retry,
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
            section.note("temporality", "delta", "cumulative, the only temporality of remote write");
        }
        if compression != Compression::None {
            section.note("compression", "gzip", "none: remote write always uses Snappy");
        }
    }
    if on_ambiguous == AmbiguousAction::Drop && temporality == Temporality::Cumulative {
        section.note("on_ambiguous", "drop", "retry: cumulative points are the same after a duplicate");
    }
    let (name, cluster) = (name?, cluster?);
    if names.contains(&name) {
        section.note(
            "name",
            &format!("{} again", quoted(&name)),
            "unique names (the default is the name of the cluster)",
        );
    } else if let Some(other) = names.iter().find(|other| statistic_name(other) == statistic_name(&name)) {
        section.note(
            "name",
            &format!("{} beside {}", quoted(&name), quoted(other)),
            "names that differ in a letter, a digit, '_' or '-': in statistics, all other characters are '_'",
        );
    }
    names.push(name.clone());
    let authority = authority.unwrap_or_else(|| cluster.clone());
    let path = path.unwrap_or_else(|| encoding.default_path().to_owned());
    Some(DestinationConfig {
        name,
        cluster,
        encoding,
        compression,
        temporality,
        on_ambiguous,
        max_bytes,
        path,
        authority,
        headers,
        interval,
        timeout,
        backoff,
    })
}

/// Reports headers that no request may have; `own` are the headers that the service sets itself.
fn check_headers(section: &mut Section<'_>, headers: &[(String, String)], own: &[&str]) {
    for (header, value) in headers {
        let name = header.as_str();
        // Envoy's router obeys `x-envoy-` headers; some of them make it send a request several times.
        let is_reserved = HEADERS_RESERVED.contains(&name) || name.starts_with("x-envoy-");
        if !is_header_name(name) || is_reserved || own.contains(&name) {
            let allowed = "lower-case header names, without x-envoy- and those that the service sets itself";
            section.note("headers", &quoted(header), allowed);
        }
        // The value may be a secret, so the reported problem does not contain it.
        if !is_header_value(value.as_bytes()) {
            let found = format!("a control character in the value of {}", quoted(header));
            section.note("headers", &found, "printable text");
        }
    }
}

/// Returns whether this is a header name of HTTP/2: a token (RFC 9110) in lower case.
fn is_header_name(name: &str) -> bool {
    let token =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(token)
}

#[cfg(test)]
mod tests;
