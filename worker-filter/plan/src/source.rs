//! What is asked of the host about a stream: as an item of a CEL list, and alone.

use crate::choice::Choice;

/// One value that the host is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// As an item that fails the whole list where the value is absent.
    pub item: String,
    /// As an item that fails nothing, at a higher cost.
    pub guarded: String,
    /// What the guarded item tells.
    pub guard: Guard,
    /// Asked for alone.
    pub alone: Alone,
}

/// What a guarded item tells of an absent value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// That it is absent, by [`ABSENT`]; whether ordinary streams have it is a guess to begin with.
    Marks {
        /// The guess.
        often_absent: bool,
    },
    /// Nothing: it is another value then, or there is no guard.
    Silent,
}

/// The byte of the CEL value `false`, which no text has: what a marking guard gives for an absent value.
pub const ABSENT: &[u8] = &[0];

/// How a value is asked for alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alone {
    /// As a property: a path with NUL between its segments.
    Property(Vec<u8>),
    /// As an expression of its own.
    Expression(String),
    /// As properties, of which the first that is there counts.
    Choice(&'static Choice),
}

/// What the bytes of a value are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Text, or bytes that may be none.
    Text,
    /// A whole number, 8 bytes little-endian.
    Integer,
    /// A length of time in nanoseconds, as an integer.
    Duration,
    /// One byte.
    Boolean,
}

/// Roots of the attributes that Envoy knows (`source/extensions/filters/common/expr/context.h`, Envoy 1.40).
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

/// Attributes that ordinary streams do not have: without an upstream, without TLS, without a cookie.
const OFTEN_ABSENT: [&str; 6] =
    ["upstream.", "xds.cluster_", "connection.", "request.useragent", "request.referer", "request.id"];

/// Attributes that are no text (Envoy 1.40, documentation "Attributes", and as seen).
const INTEGERS: [&str; 19] = [
    "request.size",
    "request.total_size",
    "request.headers_bytes",
    "request.time",
    "response.code",
    "response.flags",
    "response.grpc_status",
    "response.size",
    "response.total_size",
    "response.headers_bytes",
    "connection.id",
    "source.port",
    "destination.port",
    "upstream.port",
    "upstream.request_attempt_count",
    "upstream.num_endpoints",
    "xds.listener_direction",
    "connection.tls_version_number",
    "request.attempt_count",
];
const DURATIONS: [&str; 3] =
    ["request.duration", "response.backend_latency", "upstream.cx_pool_ready_duration"];
const BOOLEANS: [&str; 2] = ["connection.mtls", "connection.peer_certificate_valid"];

/// Bytes of an attribute's path.
pub const PATH_BYTES_MAX: usize = 256;

impl Source {
    /// An attribute by its dotted path, such as `request.method` ([`is_path`]).
    pub fn attribute(path: &str) -> Self {
        // A truth value is one byte, too.
        let (absent, guard) = match type_of(path) {
            Type::Boolean => ("''", Guard::Silent),
            _ => {
                let often_absent = OFTEN_ABSENT.iter().any(|start| path.starts_with(start));
                ("false", Guard::Marks { often_absent })
            }
        };
        let guarded = format!("has({path}) ? {path} : {absent}");
        let item = if guard == Guard::Silent { guarded.clone() } else { path.to_owned() };
        Self { item, guarded, guard, alone: Alone::Property(path.replace('.', "\0").into_bytes()) }
    }

    /// A header of the request, by its name in lower case ([`is_header`]).
    pub fn request_header(name: &str) -> Self {
        Self::header("request", name)
    }

    /// A header of the response, by its name in lower case.
    pub fn response_header(name: &str) -> Self {
        Self::header("response", name)
    }

    /// Whatever an expression gives. It may end in a comment, which the line ends.
    pub fn expression(text: &str) -> Self {
        let item = format!("({text}\n)");
        let guard = Guard::Silent;
        Self { guarded: item.clone(), item, guard, alone: Alone::Expression(text.to_owned()) }
    }

    /// Whatever is at the first of several places.
    pub fn choice(choice: &'static Choice) -> Self {
        let item = format!("({})", choice.expression());
        Self { guarded: item.clone(), item, guard: Guard::Silent, alone: Alone::Choice(choice) }
    }

    /// The response's status code or, where there is none, the response flags below zero: one value tells both.
    pub fn status() -> Self {
        let guarded = "has(response.code) ? response.code : -response.flags".to_owned();
        let (item, guard) = ("response.code".to_owned(), Guard::Silent);
        Self { item, alone: Alone::Expression(guarded.clone()), guarded, guard }
    }

    /// How many messages a gRPC call has had, to the upstream and back, as Envoy's `grpc_stats` filter leaves them in the filter
    /// state: `3,500` (1.36.4, 1.40.0).
    pub fn grpc_messages() -> Self {
        let name = "envoy.filters.http.grpc_stats";
        let item = format!("filter_state['{name}']");
        let guarded = format!("'{name}' in filter_state ? {item} : false");
        let property = format!("filter_state\0{name}").into_bytes();
        Self { item, guarded, guard: Guard::Marks { often_absent: true }, alone: Alone::Property(property) }
    }

    /// What a configuration says to have it: an expression without the brackets that a list needs around it.
    pub fn written(&self) -> &str {
        match &self.alone {
            Alone::Property(_) | Alone::Choice(_) => &self.item,
            Alone::Expression(text) => text,
        }
    }

    fn header(side: &str, name: &str) -> Self {
        let item = format!("{side}.headers['{name}']");
        let guarded = format!("'{name}' in {side}.headers ? {item} : false");
        let property = format!("{side}\0headers\0{name}").into_bytes();
        Self { item, guarded, guard: Guard::Marks { often_absent: true }, alone: Alone::Property(property) }
    }
}

/// What the values of an attribute are.
pub fn type_of(path: &str) -> Type {
    match path {
        _ if INTEGERS.contains(&path) => Type::Integer,
        _ if DURATIONS.contains(&path) => Type::Duration,
        _ if BOOLEANS.contains(&path) => Type::Boolean,
        _ => Type::Text,
    }
}

/// Whether text is the dotted path of an attribute below one of Envoy's [`ROOTS`].
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

/// Whether text is a header's name in lower case, without what would need quoting in an expression.
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
                Source::request_header("x-a"),
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
        assert_eq!(Source::attribute("a.b").alone, Alone::Property(b"a\0b".to_vec()));
    }

    #[test]
    fn a_path_has_a_root_that_envoy_knows_and_names_for_segments() {
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
