//! Values to read from a stream, either as items of a CEL list or one by one.

use crate::fallback::FallbackChain;

/// One value to read from a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The list item without a guard. It is cheap, but the whole list fails if the value is absent.
    pub item: String,
    /// The list item with a guard. It never fails, but costs more.
    pub guarded: String,
    /// The result of the guarded item for an absent value.
    pub guard: Guard,
    /// How the value is read without a list.
    pub fallback: FallbackRead,
}

/// The result of a guarded item for an absent value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// The result is [`ABSENT`].
    Marks {
        /// Whether ordinary streams often lack the value. If so, the value has a guard initially.
        often_absent: bool,
    },
    /// The result is not [`ABSENT`], or the item has no guard.
    Silent,
}

/// The byte of the CEL value `false`, which marks an absent value: no text contains it.
pub const ABSENT: &[u8] = &[0];

/// How a value is read without a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FallbackRead {
    /// The value is read as a property. The path has NUL between its segments.
    Property(Vec<u8>),
    /// The value is read with its own expression.
    Expression(String),
    /// Several properties are read in order, until one has a value.
    Chain(&'static FallbackChain),
}

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Text, which need not be UTF-8.
    Text,
    /// An integer, 8 bytes little-endian.
    Integer,
    /// A duration in nanoseconds, as an integer.
    Duration,
    /// A boolean: one byte, 1 for true.
    Boolean,
}

/// The roots of Envoy's attributes (`source/extensions/filters/common/expr/context.h`, Envoy 1.40).
pub const ROOTS: [&str; 10] = [
    "request",
    "response",
    "connection",
    "source",
    "destination",
    "upstream",
    "xds",
    "metadata",
    "filter_state",
    "upstream_filter_state",
];

/// The prefixes of the paths of attributes that ordinary streams may lack, because a stream may have no
/// upstream, no TLS or no such header.
const OFTEN_ABSENT: [&str; 6] =
    ["upstream.", "xds.cluster_", "connection.", "request.useragent", "request.referer", "request.id"];

/// The types of the attributes that are not text (Envoy 1.40, documentation "Attributes", and by
/// observation).
const TYPES: [(&str, Type); 24] = [
    ("request.size", Type::Integer),
    ("request.total_size", Type::Integer),
    ("request.headers_bytes", Type::Integer),
    ("request.time", Type::Integer),
    ("request.attempt_count", Type::Integer),
    ("request.duration", Type::Duration),
    ("response.code", Type::Integer),
    ("response.flags", Type::Integer),
    ("response.grpc_status", Type::Integer),
    ("response.size", Type::Integer),
    ("response.total_size", Type::Integer),
    ("response.headers_bytes", Type::Integer),
    ("response.backend_latency", Type::Duration),
    ("connection.id", Type::Integer),
    ("connection.tls_version_number", Type::Integer),
    ("connection.mtls", Type::Boolean),
    ("connection.peer_certificate_valid", Type::Boolean),
    ("source.port", Type::Integer),
    ("destination.port", Type::Integer),
    ("upstream.port", Type::Integer),
    ("upstream.request_attempt_count", Type::Integer),
    ("upstream.num_endpoints", Type::Integer),
    ("upstream.cx_pool_ready_duration", Type::Duration),
    ("xds.listener_direction", Type::Integer),
];

/// Parts of the paths of attributes whose values a client chooses: its request, its addresses, and the server
/// name that it requests. Certificates are not included, because their issuer chooses their values.
const CLIENT_CHOSEN: [&[u8]; 5] =
    [b"request.", b"source.", b"destination.", b"requested_server_name", b"downstream_peer"];

/// The maximum number of bytes of an attribute's path.
pub const PATH_BYTES_MAX: usize = 256;

impl Source {
    /// Creates the source of an attribute from its dotted path, such as `request.method` ([`is_path`]).
    pub fn attribute(path: &str) -> Self {
        // A boolean has no mark for an absent value, because the mark `false` would look like the boolean's
        // value.
        let often_absent = OFTEN_ABSENT.iter().any(|start| path.starts_with(start));
        let (absent, guard) = match type_of(path) {
            Type::Boolean => ("''", Guard::Silent),
            _ => ("false", Guard::Marks { often_absent }),
        };
        let guarded = format!("has({path}) ? {path} : {absent}");
        let item = if guard == Guard::Silent { guarded.clone() } else { path.to_owned() };
        Self { item, guarded, guard, fallback: FallbackRead::Property(path.replace('.', "\0").into_bytes()) }
    }

    /// Creates the source of a header of the `request` or `response`, by its name in lower case
    /// ([`is_header`]).
    pub fn header(side: &str, name: &str) -> Self {
        Self::member(&format!("{side}.headers"), name)
    }

    /// Creates the source of an expression. A line break after the expression ends a comment at its end.
    pub fn expression(text: &str) -> Self {
        let (item, fallback) = (format!("({text}\n)"), FallbackRead::Expression(text.to_owned()));
        Self { guarded: item.clone(), item, guard: Guard::Silent, fallback }
    }

    /// Creates the source of a value that has several sources.
    pub fn fallback_chain(chain: &'static FallbackChain) -> Self {
        let item = format!("({})", chain.expression());
        Self { guarded: item.clone(), item, guard: Guard::Silent, fallback: FallbackRead::Chain(chain) }
    }

    /// Creates the source of the response's status code or, if the status code is absent, of the negated
    /// response flags. One value serves for both.
    pub fn status() -> Self {
        let guarded = "has(response.code) ? response.code : -response.flags".to_owned();
        let (item, guard) = ("response.code".to_owned(), Guard::Silent);
        Self { item, fallback: FallbackRead::Expression(guarded.clone()), guarded, guard }
    }

    /// Creates the source of the numbers of messages of a gRPC call, to the upstream and back. Envoy's
    /// `grpc_stats` filter writes them into the filter state as text: `3,500` (1.36.4, 1.40.0).
    pub fn grpc_messages() -> Self {
        Self::member("filter_state", "envoy.filters.http.grpc_stats")
    }

    /// Returns whether a client can choose the value. An expression that reads an attribute that clients
    /// choose counts, even if its result does not depend on the attribute.
    pub fn is_client_chosen(&self) -> bool {
        let is_in = |read: &&[u8]| self.guarded.as_bytes().windows(read.len()).any(|part| part == *read);
        CLIENT_CHOSEN.iter().any(is_in)
    }

    /// Returns the text of the source as it was configured: an expression without the parentheses that a list
    /// needs.
    pub fn written(&self) -> &str {
        match &self.fallback {
            FallbackRead::Property(_) | FallbackRead::Chain(_) => &self.item,
            FallbackRead::Expression(text) => text,
        }
    }

    /// Creates the source of a member of a map. Ordinary streams lack the member.
    fn member(map: &str, name: &str) -> Self {
        let item = format!("{map}['{name}']");
        let guarded = format!("'{name}' in {map} ? {item} : false");
        let property = format!("{}\0{name}", map.replace('.', "\0")).into_bytes();
        let guard = Guard::Marks { often_absent: true };
        Self { item, guarded, guard, fallback: FallbackRead::Property(property) }
    }
}

/// Returns the type of an attribute.
pub fn type_of(path: &str) -> Type {
    TYPES.iter().find(|(known, _)| *known == path).map_or(Type::Text, |(_, kind)| *kind)
}

/// Returns whether text is the dotted path of an attribute under one of Envoy's [`ROOTS`].
pub fn is_path(text: &str) -> bool {
    let mut segments = text.split('.');
    let is_name = |segment: &str| {
        segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && segment.bytes().next().is_some_and(|first| !first.is_ascii_digit())
    };
    text.len() <= PATH_BYTES_MAX
        && segments.next().is_some_and(|root| ROOTS.contains(&root))
        && text.contains('.')
        && segments.all(is_name)
}

/// Returns whether text is a header's name in lower case that needs no quoting in an expression.
pub fn is_header(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_written_with_and_without_a_guard() {
        for (source, item, guarded, guard) in [
            (
                Source::attribute("request.method"),
                "request.method",
                "has(request.method) ? request.method : false",
                Guard::Marks { often_absent: false },
            ),
            (
                Source::attribute("xds.cluster_name"),
                "xds.cluster_name",
                "has(xds.cluster_name) ? xds.cluster_name : false",
                Guard::Marks { often_absent: true },
            ),
            (
                Source::attribute("connection.mtls"),
                "has(connection.mtls) ? connection.mtls : ''",
                "has(connection.mtls) ? connection.mtls : ''",
                Guard::Silent,
            ),
            (
                Source::header("request", "x-a"),
                "request.headers['x-a']",
                "'x-a' in request.headers ? request.headers['x-a'] : false",
                Guard::Marks { often_absent: true },
            ),
            (Source::expression("1 + 1"), "(1 + 1\n)", "(1 + 1\n)", Guard::Silent),
            (
                Source::status(),
                "response.code",
                "has(response.code) ? response.code : -response.flags",
                Guard::Silent,
            ),
        ] {
            assert_eq!((source.item.as_str(), source.guarded.as_str(), source.guard), (item, guarded, guard));
        }
        assert_eq!(Source::attribute("a.b").fallback, FallbackRead::Property(b"a\0b".to_vec()));
    }

    #[test]
    fn a_path_has_a_root_of_envoy_and_valid_segments() {
        for (text, expected) in [
            ("request.method", true),
            ("xds.route_name", true),
            ("metadata.a.b_2", true),
            ("request", false),
            ("request.", false),
            ("request.headers['a']", false),
            ("request.2", false),
            ("route.name", false),
            ("", false),
        ] {
            assert_eq!(is_path(text), expected, "{text}");
        }
    }

    #[test]
    fn a_header_name_cannot_break_out_of_its_quotes() {
        for (text, expected) in [("x-tenant", true), ("X-Tenant", false), ("a'b", false), ("", false)] {
            assert_eq!(is_header(text), expected, "{text}");
        }
    }
}
