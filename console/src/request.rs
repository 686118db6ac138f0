//! A request to the console, as far as it matters.

use proxy_wasm::types::MapType;
use tributary_host::headers;
use tributary_proto::attributes::clip;

/// Headers that are looked at.
const HEADERS_MAX: usize = 128;
/// Bytes of a header's value that are looked at.
const VALUE_BYTES_MAX: usize = 1_024;

/// How long a flush may take where the request does not say.
const FLUSH_TIMEOUT_NS: u64 = 10_000_000_000;
/// The longest that it can say.
const FLUSH_TIMEOUT_MAX_NS: u64 = 300_000_000_000;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// For what.
    pub path: Path,
    /// How.
    pub method: String,
    /// In which form.
    pub accept: String,
    /// Whether a page of another site asks.
    pub is_foreign: bool,
    /// How long a flush may take: `timeout_ms` of the query.
    pub timeout_ns: u64,
}

/// What there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// The page.
    Page,
    /// For Prometheus.
    Metrics,
    /// For scripts and the page.
    Snapshot,
    /// Whether all is well.
    Health,
    /// To be told of everything.
    Flush,
    /// Anything else.
    Unknown,
}

impl Request {
    /// The current request.
    pub fn read() -> Self {
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
            is_foreign: !matches!(site.as_str(), "" | "none" | "same-origin"),
            timeout_ns: timeout.unwrap_or(FLUSH_TIMEOUT_NS),
        }
    }

    /// Whether this path can be asked for in this way.
    pub fn is_allowed(&self) -> bool {
        match self.path {
            Path::Unknown => true,
            Path::Flush => self.method == "POST",
            _ => self.method == "GET" || self.method == "HEAD",
        }
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

    /// The methods that it takes, as a header says it.
    pub fn allow(self) -> &'static str {
        if self == Self::Flush { "POST" } else { "GET, HEAD" }
    }
}
