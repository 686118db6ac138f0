//! The log stream: requests that Envoy's own access logger tells of, many at a time, over connections to the worker filter.
//!
//! Entering the VM and asking the host is most of what a request costs any Wasm module. Here Envoy writes what an access log
//! says into a buffer, natively, and hands it over when the buffer is full or its interval has passed: the module is entered
//! for hundreds of requests at once, and asks for nothing. [`forward`] takes the bytes apart, [`schema`] finds what the plan
//! wants in them.

pub mod forward;
pub mod message_pack;
pub mod schema;

use std::hash::BuildHasher;

use log::{error, warn};
use proxy_wasm::types::BufferType;
use tributary_host::buffer;
use tributary_host::random::Hasher;
use tributary_host::stats::Counter;
use tributary_host::stream::ContextId;
use tributary_plan::log_schema::LogSchema;
use tributary_proto::config::quoted;

use crate::worker::Worker;
use forward::{Listener, Messages};
use message_pack::{Reader, Stop};
use schema::{Schema, Values};

/// Connections whose bytes are read; Envoy has one for each access logger and worker. What comes over more is dropped.
const CONNECTIONS_MAX: usize = 1_024;

/// Bytes that are read from the host at once.
const PIECE_BYTES: usize = 65_536;

/// Bytes of a tag: more names than a plan has sources.
const TAG_BYTES_MAX: usize = 16_384;

/// One worker that is told of requests by the log.
#[derive(Debug)]
pub struct LogStream {
    /// As many as access loggers send to this worker: a few.
    connections: Vec<(ContextId, Connection)>,
    told: Told<Hasher>,
    said_misattached: bool,
}

/// One connection's records.
#[derive(Debug, Default)]
struct Connection {
    messages: Messages,
    /// The tag of the message under way, and what it says of records.
    tag: Vec<u8>,
    schema: Schema,
}

/// What records are told to.
#[derive(Debug)]
struct Told<S> {
    worker: Worker<S>,
    wanted: LogSchema,
    stats: Stats,
    /// Whether it was said what records leave out.
    said_missing: bool,
    /// Whether it was said that Envoy keeps what was read.
    said_refused: bool,
}

#[derive(Debug)]
struct Stats {
    records_incomplete: Counter,
    streams_invalid: Counter,
}

/// A connection whose bytes are being read.
struct Reading<'a, S> {
    tag: &'a mut Vec<u8>,
    schema: &'a mut Schema,
    told: &'a mut Told<S>,
}

impl LogStream {
    /// For this worker, which wants that.
    pub fn new(worker: Worker<Hasher>, wanted: LogSchema) -> Self {
        let stats = Stats {
            records_incomplete: Counter::define("tributary_log_records_incomplete"),
            streams_invalid: Counter::define("tributary_log_streams_invalid"),
        };
        Self {
            connections: Vec::new(),
            said_misattached: false,
            told: Told { worker, wanted, stats, said_missing: false, said_refused: false },
        }
    }

    /// The worker.
    pub fn worker(&mut self) -> &mut Worker<Hasher> {
        &mut self.told.worker
    }

    /// So many bytes came over a connection, from the access logger.
    pub fn data(&mut self, stream: ContextId, size: usize) {
        if let Some(connection) = connection(&mut self.connections, stream) {
            let mut start = 0;
            while start < size {
                let piece = buffer::read(BufferType::DownstreamData, start, PIECE_BYTES);
                if piece.is_empty() {
                    break;
                }
                start = start.saturating_add(piece.len());
                connection.take(&piece, &mut self.told);
            }
        }
        // Nobody behind this filter is to have them.
        if buffer::drain(BufferType::DownstreamData, size).is_err()
            && !std::mem::replace(&mut self.told.said_refused, true)
        {
            error!(
                "log stream: Envoy refuses to take away what was read: does capability_restriction_config allow \
                 proxy_set_buffer_bytes? What is behind this filter gets it (said once)"
            );
        }
    }

    /// Logs that no log stream comes here: the plugin is an HTTP filter or an access logger.
    #[inline(never)]
    pub fn misattached(&mut self) {
        if !std::mem::replace(&mut self.said_misattached, true) {
            error!(
                "log stream: this is no network filter, so no log stream comes and nothing is measured: attach it as \
                 envoy.filters.network.wasm to the listener that the access logger sends to (said once)"
            );
        }
    }

    /// A connection is closed.
    pub fn stream_ended(&mut self, stream: ContextId, is_connection: bool) {
        if !is_connection {
            self.misattached();
        }
        self.connections.retain(|(open, _)| *open != stream);
    }
}

/// The connection of this stream; none if there are too many.
fn connection(connections: &mut Vec<(ContextId, Connection)>, stream: ContextId) -> Option<&mut Connection> {
    let known = connections.iter().position(|(open, _)| *open == stream);
    let at = known.unwrap_or(connections.len());
    if known.is_none() && at < CONNECTIONS_MAX {
        connections.push((stream, Connection::default()));
    }
    connections.get_mut(at).map(|(_, connection)| connection)
}

impl Connection {
    fn take<S: BuildHasher + Clone>(&mut self, bytes: &[u8], told: &mut Told<S>) {
        let Self { messages, tag, schema } = self;
        if messages.take(bytes, &mut Reading { tag, schema, told }).is_err() {
            told.stats.streams_invalid.add(1);
            error!(
                "log stream: found bytes that Envoy's fluentd access logger does not write; the rest of this connection is \
                 ignored"
            );
        }
    }
}

impl<S: BuildHasher + Clone> Listener for Reading<'_, S> {
    fn message(&mut self, tag: &[u8]) {
        let tag = tag.get(..TAG_BYTES_MAX).unwrap_or(tag);
        if self.tag != tag {
            tag.clone_into(self.tag);
            *self.schema = Schema::new(&self.told.wanted, tag);
        }
    }

    fn record(&mut self, pairs: usize, reader: &mut Reader<'_>) -> Result<(), Stop> {
        let before = *reader;
        let mut values = Values::default();
        if !self.schema.read(pairs, reader, &mut values)? {
            self.told.stats.records_incomplete.add(1);
        }
        self.told.worker.recorded(&values.observation());
        if !std::mem::replace(&mut self.told.said_missing, true) {
            self.told.say_missing(self.tag, pairs, before);
        }
        Ok(())
    }
}

impl<S> Told<S> {
    /// Says what a record leaves out that is wanted.
    fn say_missing(&self, tag: &[u8], pairs: usize, mut record: Reader<'_>) {
        let mut keys = Vec::new();
        for _ in 0..pairs {
            let (Ok(key), Ok(_)) = (record.text(), record.value()) else { break };
            keys.push(key);
        }
        let missing = self.wanted.missing(tag, &keys);
        if !missing.is_empty() {
            warn!(
                "log stream: found nothing of {}, which the configuration reads; name it in the access logger's tag, and \
                 its command operator in the record (said once)",
                missing.into_iter().map(quoted).collect::<Vec<_>>().join(", ")
            );
        }
    }
}
