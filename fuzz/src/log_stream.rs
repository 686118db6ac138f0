//! The log stream of Envoy's access logger; clients control headers and paths in it.

use rmpv::Value;
use tributary_host::fake;
use tributary_host::fake::vm::Vm;
use tributary_worker_filter::root::WorkerRoot;

use crate::service_harness::ServiceHarness;

/// Configurations that read different values in different ways.
const CONFIGS: [&str; 4] = [
    r#"{"log_stream": true}"#,
    r#"{"log_stream": true, "limits": {"series": 2}, "histogram": {"kind": "exponential", "max_size": 10}, "exemplars": true,
      "counters": [{"key": "a", "when": "request", "condition": "odd"}], "observed": "request"}"#,
    r#"{"log_stream": true, "preset": "none", "dimensions": [
        {"name": "path", "attribute": "request.path", "paths": {"templates": ["/users/{id}"], "unmatched": "collapse"}},
        {"name": "tenant", "request_header": "x-tenant", "max_values": 2, "max_bytes": 9, "default": "none"},
        {"name": "flags", "attribute": "response.flags"},
        {"name": "tls", "attribute": "connection.mtls", "allow": ["true"]}],
      "metrics": [{"name": "bytes", "kind": "histogram", "value": "request.size", "unit": "By", "bounds": [1, 10, 100]}]}"#,
    r#"{"log_stream": true, "flush": {"max_requests": 1}}"#,
];

/// Passes the input to a connection in pieces. Checks that the module counts each record that an
/// independent decoder finds exactly once, and that the service accepts every batch.
pub fn check(input: &[u8]) {
    let [choice, piece, bytes @ ..] = input else { return };
    fake::reset();
    let service = ServiceHarness::start_any();
    let json = CONFIGS.get(usize::from(*choice) % CONFIGS.len()).copied().unwrap_or_default();
    let Some(vm) = Vm::start(WorkerRoot::boxed, json.as_bytes()) else { return };
    let connection = vm.connection();
    connection.new_connection();
    for piece in bytes.chunks(usize::from(*piece).max(1)) {
        fake::with(|host| host.bytes = piece.to_vec());
        connection.downstream_data(piece.len());
        assert!(fake::with(|host| host.bytes.is_empty()), "the worker consumes all bytes");
    }
    vm.tick();
    connection.log();
    connection.delete();
    vm.delete();
    let observed = service.drain_workers();
    let (records, is_complete) = records(bytes);
    assert!(observed >= records && (observed == records || !is_complete), "{observed} observed of {records}");
}

/// Counts the records in complete messages. Also returns whether the input consists only of complete
/// messages.
fn records(mut bytes: &[u8]) -> (u64, bool) {
    let mut records = 0_u64;
    while !bytes.is_empty() {
        let Some(more) = rmpv::decode::read_value(&mut bytes).ok().and_then(|message| count(&message)) else {
            return (records, false);
        };
        records = records.saturating_add(more);
    }
    (records, true)
}

/// Counts the records of a message; `None` if it is invalid.
fn count(message: &Value) -> Option<u64> {
    let [tag, Value::Array(entries)] = message.as_array()?.as_slice() else { return None };
    let is_record = |entry: &Value| match entry.as_array().map(Vec::as_slice) {
        Some([time, Value::Map(fields)]) => {
            is_known(time) && fields.iter().all(|(key, value)| is_text(key) && is_known(value))
        }
        _ => false,
    };
    (is_text(tag) && entries.iter().all(is_record)).then(|| u64::try_from(entries.len()).ok())?
}

fn is_text(value: &Value) -> bool {
    matches!(value, Value::String(_) | Value::Binary(_))
}

/// Returns whether a value contains no MessagePack extension type: access loggers never write extension
/// types.
fn is_known(value: &Value) -> bool {
    match value {
        Value::Ext(..) => false,
        Value::Array(items) => items.iter().all(is_known),
        Value::Map(fields) => fields.iter().all(|(key, value)| is_known(key) && is_known(value)),
        _ => true,
    }
}
