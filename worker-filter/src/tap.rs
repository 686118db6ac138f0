//! The tap: some streams, written to the log with their headers and the first bytes that pass through them.

use std::hash::BuildHasher;

use hashbrown::HashMap;
use log::info;
use proxy_wasm::types::{BufferType, MapType, Status};
use tributary_host::attributes::{self, Expression};
use tributary_host::stream::ContextId;
use tributary_host::{buffer, clock, headers};
use tributary_plan::plan;

/// A minute.
const WINDOW_NS: u64 = 60_000_000_000;

/// Streams whose decision is remembered: more than one worker has open at a time in all but the strangest setups. The ones
/// past it are not tapped.
const STREAMS_MAX: usize = 100_000;

/// Headers of one message that are written.
const HEADERS_MAX: usize = 128;

/// Bytes of a header's value that are written.
const VALUE_BYTES_MAX: usize = 1_024;

/// A tap of one worker.
#[derive(Debug)]
pub struct Tap<S> {
    condition: Expression,
    per_minute: u64,
    body_bytes: usize,
    masked: Vec<String>,
    streams: HashMap<ContextId, Option<Tapped>, S>,
    window_unix_nano: u64,
    in_window: u64,
    suppressed: u64,
    number: u64,
}

/// A stream that is written to the log.
#[derive(Debug)]
struct Tapped {
    number: u64,
    /// Bytes that are still written, of each direction.
    left: [usize; 2],
}

impl<S: BuildHasher> Tap<S> {
    /// A tap as configured. The condition belongs to the current root context.
    ///
    /// # Errors
    /// The host does not compile it.
    pub fn new(tap: plan::Tap, hasher: S) -> Result<Self, Status> {
        Ok(Self {
            condition: attributes::compile(&tap.condition)?,
            per_minute: tap.per_minute,
            body_bytes: tap.body_bytes,
            masked: tap.masked,
            streams: HashMap::with_hasher(hasher),
            window_unix_nano: 0,
            in_window: 0,
            suppressed: 0,
            number: 0,
        })
    }

    /// The headers of the current stream's request or response came.
    pub fn headers(&mut self, stream: ContextId, map: MapType) {
        let Some(Tapped { number, .. }) = self.tapped(stream) else { return };
        let number = *number;
        let mut line = String::new();
        for (name, value) in headers::all(map, HEADERS_MAX) {
            let name = escaped(&name);
            let masked = self.masked.contains(&name);
            let cut = value.get(..VALUE_BYTES_MAX).unwrap_or(&value);
            let value = if masked { "***".to_owned() } else { escaped(cut) };
            line.push_str("; ");
            line.push_str(&name);
            line.push_str(": ");
            line.push_str(&value);
        }
        let message = if map == MapType::HttpRequestHeaders { "request" } else { "response" };
        info!("tap {number} {message}{line}");
    }

    /// Bytes of the current stream came.
    pub fn data(&mut self, stream: ContextId, buffer: BufferType) {
        let is_tcp = matches!(buffer, BufferType::DownstreamData | BufferType::UpstreamData);
        let is_new = is_tcp && !self.streams.contains_key(&stream);
        let is_from_client = matches!(buffer, BufferType::HttpRequestBody | BufferType::DownstreamData);
        let at = usize::from(!is_from_client);
        let Some(Tapped { number, left }) = self.tapped(stream) else { return };
        let Some(left) = left.get_mut(at).filter(|left| **left > 0) else { return };
        let read = buffer::read(buffer, 0, *left);
        *left = left.saturating_sub(read.len());
        let number = *number;
        if is_new {
            info!("tap {number} connection{}", addresses());
        }
        let from = if is_from_client { "from client" } else { "from upstream" };
        info!("tap {number} {from}: {}", escaped(&read));
    }

    /// The stream has ended.
    pub fn ended(&mut self, stream: ContextId) {
        self.streams.remove(&stream);
    }

    /// The stream, if it is written to the log; decides that when it is asked for the first time.
    fn tapped(&mut self, stream: ContextId) -> Option<&mut Tapped> {
        if !self.streams.contains_key(&stream) {
            if self.streams.len() >= STREAMS_MAX {
                return None;
            }
            // An expression that fails is not true.
            let matches = attributes::evaluate(self.condition).is_ok_and(|value| value == [1]);
            let tapped = if matches && self.permit(clock::now_unix_nano()) {
                self.number = self.number.saturating_add(1);
                Some(Tapped { number: self.number, left: [self.body_bytes; 2] })
            } else {
                None
            };
            self.streams.insert(stream, tapped);
        }
        self.streams.get_mut(&stream).and_then(Option::as_mut)
    }

    /// Whether one more stream may be written within its minute.
    fn permit(&mut self, now_unix_nano: u64) -> bool {
        let since = now_unix_nano.checked_sub(self.window_unix_nano);
        // A clock that went backwards begins a new minute.
        if since.is_none_or(|since| since >= WINDOW_NS) {
            if self.suppressed > 0 {
                info!("tap: {} further streams were not written", self.suppressed);
            }
            (self.window_unix_nano, self.in_window, self.suppressed) = (now_unix_nano, 0, 0);
        }
        let permitted = self.in_window < self.per_minute;
        if permitted {
            self.in_window = self.in_window.saturating_add(1);
        } else {
            self.suppressed = self.suppressed.saturating_add(1);
        }
        permitted
    }
}

/// Who talks to whom, as far as it is known.
fn addresses() -> String {
    let mut line = String::new();
    for (name, path) in [
        ("source", &b"source\0address"[..]),
        ("destination", b"destination\0address"),
        ("upstream", b"upstream\0address"),
    ] {
        if let Ok(address) = attributes::property(path) {
            line.push_str("; ");
            line.push_str(name);
            line.push(' ');
            line.push_str(&escaped(&address));
        }
    }
    line
}

/// Bytes as printable ASCII, so that nothing in them can pass for a line of the log.
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
        let (condition, masked) = ("wanted".to_owned(), vec!["cookie".to_owned()]);
        Tap::new(plan::Tap { condition, per_minute, body_bytes: 6, masked }, BuildHasherDefault::default())
            .unwrap()
    }

    fn stream(wanted: u8) {
        fake::with(|host| {
            host.streams.begin([("wanted", vec![wanted]), ("source.address", b"1.2.3.4:5".to_vec())])
        });
    }

    fn lines() -> Vec<String> {
        let text = |line: &str| line.trim_start_matches("tributary: ").to_owned();
        fake::with(|host| host.logged(LogLevel::Info).into_iter().map(text).collect())
    }

    #[test]
    fn a_wanted_stream_is_written_with_secrets_masked_and_bytes_escaped() {
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
    fn a_connection_is_written_with_its_addresses() {
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
    fn no_more_streams_are_written_than_may_be_in_a_minute() {
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
            ["tap 1 request", "tap 2 request", "tap: 3 further streams were not written", "tap 3 request"]
        );
        assert_eq!(tap.streams.len(), 1, "ended streams are forgotten");
    }
}
