//! Attributes of streams as the host returns them; clients and upstreams control parts of these attributes.

use std::time::Duration;

use tributary_host::fake;
use tributary_host::fake::main_thread;
use tributary_host::fake::vm::Vm;
use tributary_plan::config::WorkerConfig;
use tributary_plan::plan::Streams;
use tributary_worker_filter::root::WorkerRoot;

use crate::frames;
use crate::service_harness::ServiceHarness;

/// The maximum number of pieces in one input.
const PIECES_MAX: usize = 64;

/// Configurations that read attributes in different ways.
pub const CONFIGS: [&str; 8] = [
    "",
    r#"{"preset": "istio", "limits": {"series": 2}}"#,
    r#"{"preset": "tcp"}"#,
    r#"{"histogram": {"kind": "exponential", "max_size": 10}, "exemplars": true, "grpc_messages": true}"#,
    r#"{"preset": "none", "dimensions": [
        {"name": "path", "attribute": "request.path", "paths": {"templates": ["/users/{id}", "/static/**"], "unmatched": "collapse"}},
        {"name": "tenant", "request_header": "x-tenant", "max_values": 2, "max_bytes": 9, "default": "none"},
        {"name": "size", "attribute": "request.size"},
        {"name": "tls", "cel": "connection.mtls", "type": "boolean", "allow": ["true"]}],
      "metrics": [{"name": "bytes", "kind": "histogram", "value": "request.total_size", "unit": "By", "bounds": [1, 10, 100]},
        {"name": "count", "kind": "counter"}]}"#,
    r#"{"counters": [{"key": "a", "when": "request", "condition": "b"}, {"key": "shown", "response_header": "x-count"}],
      "headers": [{"name": "x-a", "value": "{attribute:request.path}{counter:a}{{}}"}, {"on": "response", "name": "x-b", "action": "remove"}]}"#,
    r#"{"tap": {"condition": "c", "body_bytes": 4096, "mask": ["cookie"]}, "in_flight": true}"#,
    r#"{"preset": "istio_tcp", "tap": {"condition": "c"}}"#,
];

/// What the fake host returns for reads of attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ResultMode {
    /// The pieces are the results of all reads.
    Raw,
    /// The pieces are the items of well-formed lists.
    Lists,
    /// The host rejects CEL expressions; each piece is the value of one property.
    Properties,
}

/// Passes streams through a worker whose host returns the input. Checks that each stream is counted once
/// and that the service accepts every batch.
pub fn check(input: &[u8]) {
    let [choice, mode, rest @ ..] = input else { return };
    let Some((json, config)) = config(*choice) else { return };
    let mode = match mode % 3 {
        0 => ResultMode::Raw,
        1 => ResultMode::Lists,
        _ => ResultMode::Properties,
    };
    fake::reset();
    let service = ServiceHarness::start_any();
    fake::with(|host| host.streams.without_expressions = mode == ResultMode::Properties);
    let (items, calls) = (
        config.plan.main.sources.len(),
        config.plan.calls.as_ref().map_or(0, |calls| calls.group.sources.len()),
    );
    let is_tcp = config.plan.streams == Streams::Tcp;
    let Some(vm) = Vm::start(WorkerRoot::boxed, json.as_bytes()) else { return };
    let mut pieces = frames::split(rest, PIECES_MAX).peekable();
    let mut streams = 0_u64;
    while pieces.peek().is_some() {
        let mut list = |count| wire_list(&pieces.by_ref().take(count).collect::<Vec<_>>(), count);
        let results: Vec<Vec<u8>> = match mode {
            ResultMode::Raw | ResultMode::Properties => {
                pieces.by_ref().take(items.saturating_add(1)).map(<[u8]>::to_vec).collect()
            }
            ResultMode::Lists => vec![list(items), list(calls)],
        };
        fake::with(|host| {
            host.wire_headers = results.first().cloned();
            host.bytes = results.last().cloned().unwrap_or_default();
            host.streams.results = results.into();
        });
        if streams.is_multiple_of(2) {
            // Every eighth stream is of the other type: an HTTP stream for a TCP configuration, or the
            // reverse.
            let is_connection = is_tcp != streams.is_multiple_of(8);
            let stream = if is_connection { vm.connection() } else { vm.http_stream() };
            if is_connection {
                stream.new_connection();
                stream.downstream_data(9);
            } else {
                stream.request_headers();
                stream.response_body(9);
                stream.response_headers();
            }
            if streams.is_multiple_of(4) {
                stream.log();
            }
            stream.delete();
        } else {
            vm.log();
        }
        streams = streams.saturating_add(1);
        main_thread::advance(Duration::from_secs(3));
        if streams.is_multiple_of(3) {
            vm.tick();
        }
    }
    vm.delete();
    assert_eq!(service.drain_workers(), streams);
}

/// Encodes the result of a list of `count` items; missing items are empty.
fn wire_list(items: &[&[u8]], count: usize) -> Vec<u8> {
    let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    let item = |at: usize| items.get(at).copied().unwrap_or_default();
    let mut wire = number(count).to_vec();
    (0..count).for_each(|at| wire.extend([number(item(at).len()), number(0)].concat()));
    (0..count).for_each(|at| wire.extend([item(at), b"\0\0"].concat()));
    wire
}

fn config(choice: u8) -> Option<(&'static str, WorkerConfig)> {
    thread_local! {
        static PARSED: [Option<WorkerConfig>; CONFIGS.len()] =
            CONFIGS.map(|json| WorkerConfig::parse(json.as_bytes()).ok());
    }
    let at = usize::from(choice) % CONFIGS.len();
    CONFIGS.get(at).copied().zip(PARSED.with(|parsed| parsed.get(at).cloned().flatten()))
}
