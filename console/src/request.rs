//! The parts of a request that the console reads.

use proxy_wasm::types::MapType;
use tributary_host::headers;
use tributary_proto::attributes::clip;

/// The maximum number of headers to read.
const HEADERS_MAX: usize = 128;
/// The maximum number of bytes to read of a header's value.
const VALUE_BYTES_MAX: usize = 1_024;

/// The default time limit of a flush, in nanoseconds.
const FLUSH_TIMEOUT_NS: u64 = 10_000_000_000;
/// The maximum time limit of a flush, in nanoseconds.
const FLUSH_TIMEOUT_MAX_NS: u64 = 300_000_000_000;

/// A request to the console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConsoleRequest {
    /// The requested resource.
    pub(crate) path: Path,
    /// The method.
    pub(crate) method: String,
    /// The header `accept`.
    pub(crate) accept: String,
    /// Whether a browser sent the request for a page of another site.
    pub(crate) is_cross_site: bool,
    /// The time limit of a flush, in nanoseconds, from `timeout_ms` in the query.
    pub(crate) timeout_ns: u64,
}

/// A resource of the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// The page.
    Page,
    /// The metrics for Prometheus.
    Metrics,
    /// The snapshot for scripts and the page.
    Snapshot,
    /// The health of service and exports.
    Health,
    /// A flush of all observations that were made before the request.
    Flush,
    /// Any other path, which the console does not serve.
    Unknown,
}

impl ConsoleRequest {
    /// Reads the current request.
    pub(crate) fn read() -> Self {
        let headers = headers::all(MapType::HttpRequestHeaders, HEADERS_MAX);
        let header = |wanted: &str| {
            let value = headers.iter().find(|(name, _)| name == wanted.as_bytes()).map(|(_, value)| value);
            let text = value.map(|value| String::from_utf8_lossy(value).into_owned()).unwrap_or_default();
            clip(&text, VALUE_BYTES_MAX).to_owned()
        };
        let whole = header(":path");
        let (path, query) = whole.split_once('?').unwrap_or((&whole, ""));
        let timeout = query.split('&').find_map(|pair| pair.strip_prefix("timeout_ms=")?.parse::<u64>().ok());
        let timeout = timeout.map(|ms| ms.saturating_mul(1_000_000).min(FLUSH_TIMEOUT_MAX_NS));
        let site = header("sec-fetch-site");
        Self {
            path: Path::of(path),
            method: header(":method"),
            accept: header("accept"),
            is_cross_site: !matches!(site.as_str(), "" | "none" | "same-origin"),
            timeout_ns: timeout.unwrap_or(FLUSH_TIMEOUT_NS),
        }
    }

    /// Returns whether the resource allows the method. Unknown resources allow every method.
    pub(crate) fn is_allowed(&self) -> bool {
        self.path == Path::Unknown || self.path.allow().split(", ").any(|method| method == self.method)
    }
}

impl Path {
    fn of(path: &str) -> Self {
        match path {
            "/" => Self::Page,
            "/metrics" => Self::Metrics,
            "/snapshot.json" => Self::Snapshot,
            "/healthz" => Self::Health,
            "/flush" => Self::Flush,
            _ => Self::Unknown,
        }
    }

    /// Returns the allowed methods of the resource, as the value of the header `allow`.
    pub(crate) fn allow(self) -> &'static str {
        if self == Self::Flush { "POST" } else { "GET, HEAD" }
    }
}
