//! The log stream: Envoy's `fluentd` access logger sends records of many requests at a time over
//! connections to the worker filter.
//!
//! In any Wasm module, most of the cost of a request is entering the VM and calling the host. With a log
//! stream, Envoy writes access log entries into a buffer natively, and sends the buffer when it is full or
//! the logger's flush interval has passed. So Envoy enters the VM once for hundreds of requests, and no
//! host call is needed for their values. [`forward`] reads the messages; [`layout`] finds the values that
//! the plan needs in their records.

pub mod forward;
pub mod layout;
pub mod message_pack;

use log::{error, warn};
use proxy_wasm::types::BufferType;
use tributary_host::buffer;
use tributary_host::random::Hasher;
use tributary_host::stats::Counter;
use tributary_host::stream::ContextId;
use tributary_plan::log_schema::LogSchema;
use tributary_proto::config::quoted;

use crate::worker::Worker;
use forward::{MessageHandler, Messages};
use layout::{RecordLayout, Values};
use message_pack::{ReadError, RecordReader};

/// The maximum number of connections that are read. Envoy opens one connection for each access logger and
/// worker. Bytes of further connections are dropped.
const CONNECTIONS_MAX: usize = 1_024;

/// The maximum number of bytes that are read from the host at once.
const CHUNK_BYTES: usize = 65_536;

/// The maximum length of a tag in bytes; the rest of a longer tag is ignored. This is enough for the names
/// of more values than a plan can have sources.
const TAG_BYTES_MAX: usize = 16_384;

/// The receiver of log streams in one worker.
#[derive(Debug)]
pub struct LogStream {
    /// The open connections, one for each access logger that sends to this worker. There are only a few.
    connections: Vec<(ContextId, Connection)>,
    recorder: Recorder,
    logged_misattached: bool,
}

/// The state of one connection.
#[derive(Debug, Default)]
struct Connection {
    messages: Messages,
    /// The tag of the current message; `layout` is the layout of its records.
    tag: Vec<u8>,
    layout: RecordLayout,
}

/// Counts records in the worker.
#[derive(Debug)]
struct Recorder {
    worker: Worker<Hasher>,
    schema: LogSchema,
    records_incomplete: Counter,
    streams_invalid: Counter,
    /// Whether a record was already checked for missing values. Only the first record is checked.
    logged_missing: bool,
    /// Whether an error was logged because Envoy cannot remove the bytes that this filter has read.
    logged_undrained: bool,
}

/// The handler of the messages of one connection.
struct ConnectionReader<'a> {
    tag: &'a mut Vec<u8>,
    layout: &'a mut RecordLayout,
    recorder: &'a mut Recorder,
}

impl LogStream {
    /// Creates a receiver that counts records with this schema in this worker.
    pub fn new(worker: Worker<Hasher>, schema: LogSchema) -> Self {
        let recorder = Recorder {
            worker,
            schema,
            records_incomplete: Counter::define("tributary_log_records_incomplete"),
            streams_invalid: Counter::define("tributary_log_streams_invalid"),
            logged_missing: false,
            logged_undrained: false,
        };
        Self { connections: Vec::new(), recorder, logged_misattached: false }
    }

    /// Returns the worker that counts the records.
    pub fn worker(&mut self) -> &mut Worker<Hasher> {
        &mut self.recorder.worker
    }

    /// Reads the `size` bytes that an access logger sent over a connection, and removes them from Envoy's
    /// buffer.
    pub fn data(&mut self, stream: ContextId, size: usize) {
        if let Some(connection) = connection(&mut self.connections, stream) {
            let mut start = 0;
            while start < size {
                let chunk = buffer::read(BufferType::DownstreamData, start, CHUNK_BYTES);
                if chunk.is_empty() {
                    break;
                }
                start = start.saturating_add(chunk.len());
                self.recorder.read(&chunk, connection);
            }
        }
        // The filters behind this filter must not receive the bytes.
        if buffer::drain(BufferType::DownstreamData, size).is_err()
            && !std::mem::replace(&mut self.recorder.logged_undrained, true)
        {
            error!(
                "log stream: this filter cannot remove the bytes that it has read, so later filters get them: \
                 allow proxy_set_buffer_bytes in capability_restriction_config (logged once)"
            );
        }
    }

    /// Logs that the plugin is an HTTP filter or an access logger, which receives no log stream.
    #[inline(never)]
    pub fn misattached(&mut self) {
        if !std::mem::replace(&mut self.logged_misattached, true) {
            error!(
                "log stream: not attached as a network filter, so nothing is counted: attach it as \
                 envoy.filters.network.wasm to the listener that the access logger sends to (logged once)"
            );
        }
    }

    /// Forgets a connection that was closed. `is_connection` is false for an HTTP stream: then an error is
    /// logged.
    pub fn stream_ended(&mut self, stream: ContextId, is_connection: bool) {
        if !is_connection {
            self.misattached();
        }
        self.connections.retain(|(open, _)| *open != stream);
    }
}

/// Returns the state of this stream's connection, which is created at the first call. Returns `None` for a
/// new connection if [`CONNECTIONS_MAX`] connections are open.
fn connection(connections: &mut Vec<(ContextId, Connection)>, stream: ContextId) -> Option<&mut Connection> {
    let known = connections.iter().position(|(open, _)| *open == stream);
    let at = known.unwrap_or(connections.len());
    if known.is_none() && at < CONNECTIONS_MAX {
        connections.push((stream, Connection::default()));
    }
    connections.get_mut(at).map(|(_, connection)| connection)
}

impl MessageHandler for ConnectionReader<'_> {
    fn message(&mut self, tag: &[u8]) {
        let tag = tag.get(..TAG_BYTES_MAX).unwrap_or(tag);
        if self.tag != tag {
            tag.clone_into(self.tag);
            *self.layout = RecordLayout::new(&self.recorder.schema, tag);
        }
    }

    fn record(&mut self, pairs: usize, reader: &mut RecordReader<'_>) -> Result<(), ReadError> {
        let before = *reader;
        let mut values = Values::default();
        if !self.layout.read(pairs, reader, &mut values)? {
            self.recorder.records_incomplete.add(1);
        }
        self.recorder.worker.recorded(&values.observation());
        if !std::mem::replace(&mut self.recorder.logged_missing, true) {
            self.recorder.log_missing(self.tag, pairs, before);
        }
        Ok(())
    }
}

impl Recorder {
    fn read(&mut self, bytes: &[u8], Connection { messages, tag, layout }: &mut Connection) {
        if messages.read(bytes, &mut ConnectionReader { tag, layout, recorder: self }).is_err() {
            self.streams_invalid.add(1);
            error!(
                "log stream: a connection sent bytes that are not a fluentd message, so the rest of it is not \
                 counted: let only Envoy's fluentd access logger connect to this listener"
            );
        }
    }

    /// Logs which values of the plan a record lacks.
    fn log_missing(&self, tag: &[u8], pairs: usize, mut record: RecordReader<'_>) {
        let mut keys = Vec::new();
        for _ in 0..pairs {
            let (Ok(key), Ok(_)) = (record.text(), record.value()) else { break };
            keys.push(key);
        }
        let missing = self.schema.missing(tag, &keys);
        if !missing.is_empty() {
            warn!(
                "log stream: records lack {}, so these values are absent: add each name to the access logger's tag, \
                 and its command operator to the record (logged once)",
                missing.into_iter().map(quoted).collect::<Vec<_>>().join(", ")
            );
        }
    }
}
