//! The tap: logs some streams with their headers and the first bytes in each direction.

use std::hash::BuildHasher;

use hashbrown::HashMap;
use log::info;
use proxy_wasm::types::{BufferType, MapType, Status};
use tributary_host::attributes::{self, Expression};
use tributary_host::stream::ContextId;
use tributary_host::{buffer, clock, headers};
use tributary_plan::plan::TapConfig;

/// The period of the rate limit: one minute, in nanoseconds.
const WINDOW_NS: u64 = 60_000_000_000;

/// The maximum number of open streams for which the tap keeps its decision. Further streams are not logged.
const STREAMS_MAX: usize = 100_000;

/// The maximum number of headers of one request or response that are logged.
const HEADERS_MAX: usize = 128;

/// The maximum number of bytes of a header's value that are logged.
const VALUE_BYTES_MAX: usize = 1_024;

/// The tap of one worker.
#[derive(Debug)]
pub struct Tap<S> {
    config: TapConfig,
    condition: Expression,
    streams: HashMap<ContextId, Option<Tapped>, S>,
    window_unix_nano: u64,
    in_window: u64,
    suppressed: u64,
    number: u64,
}

/// A stream that is logged.
#[derive(Debug)]
struct Tapped {
    number: u64,
    /// The numbers of bytes that may still be logged: from the client, and from the upstream.
    left: [usize; 2],
}

impl<S: BuildHasher> Tap<S> {
    /// Creates a tap as configured, and compiles its condition in the current root context.
    ///
    /// # Errors
    /// Envoy rejects the condition.
    pub fn new(config: TapConfig, hasher: S) -> Result<Self, Status> {
        Ok(Self {
            condition: attributes::compile(&config.condition)?,
            config,
            streams: HashMap::with_hasher(hasher),
            window_unix_nano: 0,
            in_window: 0,
            suppressed: 0,
            number: 0,
        })
    }

    /// Logs the headers of the current stream's request or response.
    pub fn headers(&mut self, stream: ContextId, map: MapType) {
        let Some(&mut Tapped { number, .. }) = self.tapped(stream) else { return };
        let headers = headers::all(map, HEADERS_MAX).into_iter().map(|(name, value)| {
            let (name, cut) = (escaped(&name), value.get(..VALUE_BYTES_MAX).unwrap_or(&value));
            let value = if self.config.masked.contains(&name) { "***".to_owned() } else { escaped(cut) };
            format!("; {name}: {value}")
        });
        let message = if map == MapType::HttpRequestHeaders { "request" } else { "response" };
        info!("tap {number} {message}{}", headers.collect::<String>());
    }

    /// Logs new bytes of the current stream in `buffer`, up to the configured number of bytes in each
    /// direction.
    pub fn data(&mut self, stream: ContextId, buffer: BufferType) {
        let is_tcp = matches!(buffer, BufferType::DownstreamData | BufferType::UpstreamData);
        let is_new = is_tcp && !self.streams.contains_key(&stream);
        let is_from_client = matches!(buffer, BufferType::HttpRequestBody | BufferType::DownstreamData);
        let Some(Tapped { number, left: [from_client, from_upstream] }) = self.tapped(stream) else { return };
        let (left, from) = if is_from_client { (from_client, "client") } else { (from_upstream, "upstream") };
        if *left == 0 {
            return;
        }
        let read = buffer::read(buffer, 0, *left);
        *left = left.saturating_sub(read.len());
        if is_new {
            info!("tap {number} connection{}", addresses());
        }
        info!("tap {number} from {from}: {}", escaped(&read));
    }

    /// Forgets a stream that has ended.
    pub fn ended(&mut self, stream: ContextId) {
        self.streams.remove(&stream);
    }

    /// Returns the stream if it is logged. The first call for a stream decides whether the stream is logged.
    fn tapped(&mut self, stream: ContextId) -> Option<&mut Tapped> {
        if !self.streams.contains_key(&stream) {
            if self.streams.len() >= STREAMS_MAX {
                return None;
            }
            // An expression that fails counts as false.
            let matches = attributes::evaluate(self.condition).is_ok_and(|value| value == [1]);
            let is_tapped = matches && self.permit(clock::now_unix_nano());
            self.number = self.number.saturating_add(u64::from(is_tapped));
            let tapped = Tapped { number: self.number, left: [self.config.body_bytes; 2] };
            self.streams.insert(stream, is_tapped.then_some(tapped));
        }
        self.streams.get_mut(&stream).and_then(Option::as_mut)
    }

    /// Returns whether another stream may be logged in this minute.
    fn permit(&mut self, now_unix_nano: u64) -> bool {
        let since = now_unix_nano.checked_sub(self.window_unix_nano);
        // A new minute also starts if the clock went backwards.
        if since.is_none_or(|since| since >= WINDOW_NS) {
            if self.suppressed > 0 {
                info!(
                    "tap: {} further streams were not logged, because per_minute was reached",
                    self.suppressed
                );
            }
            (self.window_unix_nano, self.in_window, self.suppressed) = (now_unix_nano, 0, 0);
        }
        let is_permitted = self.in_window < self.config.per_minute;
        let count = if is_permitted { &mut self.in_window } else { &mut self.suppressed };
        *count = count.saturating_add(1);
        is_permitted
    }
}

/// Formats the addresses of the current connection; leaves out unknown addresses.
fn addresses() -> String {
    let of = |side: &str| {
        let address = attributes::property(format!("{side}\0address").as_bytes()).ok()?;
        Some(format!("; {side} {}", escaped(&address)))
    };
    ["source", "destination", "upstream"].into_iter().filter_map(of).collect()
}

/// Escapes bytes as printable ASCII, so that they cannot forge a log line.
fn escaped(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasherDefault, DefaultHasher};

    use proxy_wasm::types::LogLevel;
    use tributary_host::fake;
    use tributary_host::logging;

    use super::*;

    fn tap(per_minute: u64) -> Tap<BuildHasherDefault<DefaultHasher>> {
        fake::reset();
        logging::install();
        let (condition, masked) = ("is_tapped".to_owned(), vec!["cookie".to_owned()]);
        Tap::new(TapConfig { condition, per_minute, body_bytes: 6, masked }, BuildHasherDefault::default())
            .unwrap()
    }

    fn stream(is_tapped: u8) {
        fake::with(|host| {
            host.streams.begin([("is_tapped", vec![is_tapped]), ("source.address", b"1.2.3.4:5".to_vec())])
        });
    }

    fn lines() -> Vec<String> {
        let text = |line: &str| line.trim_start_matches("tributary: ").to_owned();
        fake::with(|host| host.logged(LogLevel::Info).into_iter().map(text).collect())
    }

    #[test]
    fn a_stream_is_logged_with_secrets_masked_and_bytes_escaped() {
        let mut tap = tap(9);
        let headers =
            [(":path", "/a"), ("cookie", "secret")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        fake::with(|host| {
            host.set_headers(MapType::HttpRequestHeaders, headers.into());
            host.bytes = b"a\nb\xffcdefg".to_vec();
        });
        stream(1);
        tap.headers(ContextId::new(1), MapType::HttpRequestHeaders);
        tap.data(ContextId::new(1), BufferType::HttpRequestBody);
        tap.data(ContextId::new(1), BufferType::HttpRequestBody);
        stream(0);
        tap.headers(ContextId::new(2), MapType::HttpRequestHeaders);
        tap.data(ContextId::new(2), BufferType::HttpRequestBody);
        assert_eq!(lines(), ["tap 1 request; :path: /a; cookie: ***", r"tap 1 from client: a\nb\xffcd"]);
    }

    #[test]
    fn a_connection_is_logged_with_its_addresses() {
        let mut tap = tap(9);
        fake::with(|host| host.bytes = b"hello".to_vec());
        stream(1);
        tap.data(ContextId::new(1), BufferType::DownstreamData);
        tap.data(ContextId::new(1), BufferType::UpstreamData);
        assert_eq!(
            lines(),
            ["tap 1 connection; source 1.2.3.4:5", "tap 1 from client: hello", "tap 1 from upstream: hello"]
        );
    }

    #[test]
    fn the_number_of_logged_streams_in_a_minute_is_limited() {
        let mut tap = tap(2);
        stream(1);
        for number in 0..5 {
            tap.headers(ContextId::new(number), MapType::HttpRequestHeaders);
            tap.ended(ContextId::new(number));
        }
        fake::with(|host| host.now_unix_nano = WINDOW_NS);
        tap.headers(ContextId::new(9), MapType::HttpRequestHeaders);
        assert_eq!(
            lines(),
            [
                "tap 1 request",
                "tap 2 request",
                "tap: 3 further streams were not logged, because per_minute was reached",
                "tap 3 request"
            ]
        );
        assert_eq!(tap.streams.len(), 1, "ended streams are forgotten");
    }
}
