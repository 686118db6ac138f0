//! The section `values`: the values that the service fetches and shares with all workers.

use std::time::Duration;

use tributary_proto::config::{Section, quoted};
use tributary_proto::value::{VALUE_BYTES_MAX, VALUES_MAX, is_name};

use super::{RETRY_FIRST, RETRY_LONGEST, TIMEOUT_MAX, TIMEOUT_MIN, check_headers};
use crate::export::Backoff;
use crate::values::{Expiry, FetchPolicy, ValueConfig, ValueSource};

const EVERY: Duration = Duration::from_secs(60);
const EVERY_MIN: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

/// The default timeout. It is better to ask a token endpoint again than to wait longer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The default `refresh_before`: long enough for one or two attempts, and short enough for tokens that are
/// valid for a minute.
const REFRESH_BEFORE: Duration = Duration::from_secs(10);

const KEEP_ON_FAILURE: Duration = Duration::from_secs(600);
const KEEP_MAX: Duration = Duration::from_secs(30 * 86_400);

/// The default `max_bytes`: the maximum size of a header in the default configuration of servers, without
/// the header's name.
const MAX_BYTES: u64 = 8_000;

pub(super) fn read(root: &mut Section<'_>) -> Vec<ValueConfig> {
    let mut names = Vec::new();
    let values = root.sections("values", 0..=VALUES_MAX, |section| {
        let value = read_one(section)?;
        if names.contains(&value.name) {
            section.note("name", &format!("{} again", quoted(&value.name)), "each name once");
        }
        names.push(value.name.clone());
        Some(value)
    });
    values.into_iter().flatten().flatten().collect()
}

fn read_one(section: &mut Section<'_>) -> Option<ValueConfig> {
    let name = section.required().text("name", 1..=128);
    let cluster = section.required().text("cluster", 1..=255);
    let path = section.required().text("path", 1..=1024);
    let method = section.word("method", &["GET", "POST", "PUT"]).unwrap_or("GET");
    let authority = section.text("authority", 1..=255);
    let headers = section.texts("headers", 32, 8192);
    // Only the configuration knows the type of the body, so it may set `content-type`.
    check_headers(section, &headers, &[]);
    let body = section.text("body", 0..=VALUE_BYTES_MAX).unwrap_or_default();
    let from = section.text("from", 1..=1024);
    let from = from.as_deref().unwrap_or("body");
    let source = ValueSource::parse(from).unwrap_or_else(|| {
        section.note("from", &quoted(from), "body, header:NAME in lower case, or json:/POINTER");
        ValueSource::Body
    });
    let expiry = match section.word("expires_by", &["nothing", "jwt", "max_age"]) {
        Some("jwt") => Expiry::Jwt,
        Some("max_age") => Expiry::MaxAge,
        _ => Expiry::Never,
    };
    let policy = FetchPolicy {
        every: section.duration("every", EVERY_MIN..=DAY).unwrap_or(EVERY),
        timeout: section.duration("timeout", TIMEOUT_MIN..=TIMEOUT_MAX).unwrap_or(TIMEOUT),
        refresh_before: section.duration("refresh_before", Duration::ZERO..=DAY).unwrap_or(REFRESH_BEFORE),
        keep_on_failure: section
            .duration("keep_on_failure", Duration::ZERO..=KEEP_MAX)
            .unwrap_or(KEEP_ON_FAILURE),
        backoff: Backoff::new(RETRY_FIRST, RETRY_LONGEST),
    };
    let most = u64::try_from(VALUE_BYTES_MAX).unwrap_or(u64::MAX);
    let max_bytes = section.number("max_bytes", 1..=most).unwrap_or(MAX_BYTES);
    let (name, cluster, path) = (name?, cluster?, path?);
    if !is_name(&name) {
        section.note("name", &quoted(&name), "letters, digits, '_', '.' and '-'");
    }
    if !path.starts_with('/') || path.contains(|letter: char| letter.is_ascii_control() || letter == ' ') {
        section.note("path", &quoted(&path), "a path that begins with '/' and has no blanks");
    }
    Some(ValueConfig {
        name,
        authority: authority.unwrap_or_else(|| cluster.clone()),
        cluster,
        method,
        path,
        headers,
        body,
        source,
        expiry,
        max_bytes: usize::try_from(max_bytes).unwrap_or(VALUE_BYTES_MAX),
        policy,
    })
}
