//! Runs the plugin through the SDK's dispatcher, at every attach point and with every configuration.

use tributary_host::fake;
use tributary_host::fake::vm::{Stream, Vm};

use super::*;

const CONFIGURATIONS: [&str; 5] = [
    "{}",
    r#"{"preset": "istio"}"#,
    r#"{"preset": "tcp"}"#,
    r#"{"preset": "istio_tcp"}"#,
    r#"{"log_stream": true}"#,
];

fn start(configuration: &str) -> Vm {
    fake::reset();
    fake::with(|host| host.now_unix_nano = 1);
    Vm::start(WorkerRoot::boxed, configuration.as_bytes()).unwrap()
}

/// The log lines about a wrong attach point.
fn misattached() -> Vec<String> {
    let is_one =
        |line: &&String| ["streams here are", "not attached as"].iter().any(|text| line.contains(text));
    fake::with(|host| host.log.iter().map(|(_, line)| line).filter(is_one).cloned().collect())
}

fn pass_http(stream: Stream) {
    if IS_FULL {
        stream.request_headers();
        stream.request_body(1);
        stream.response_headers();
        stream.response_body(1);
    }
    stream.log();
    stream.delete();
}

fn pass_tcp(stream: Stream) {
    stream.new_connection();
    stream.downstream_data(1);
    if IS_FULL {
        stream.upstream_data(1);
    }
    stream.log();
    stream.delete();
}

#[test]
fn streams_of_both_kinds_are_safe_and_the_wrong_kind_is_logged_once() {
    for configuration in CONFIGURATIONS {
        let is_tcp = configuration.contains("tcp") || configuration.contains("log_stream");
        for http_first in [true, false] {
            let vm = start(configuration);
            for is_http in [http_first, !http_first, http_first, !http_first] {
                if is_http { pass_http(vm.http_stream()) } else { pass_tcp(vm.connection()) }
            }
            assert_eq!(misattached().len(), 1, "{configuration}: {:?}", misattached());
        }
        let vm = start(configuration);
        if is_tcp {
            pass_tcp(vm.connection())
        } else {
            pass_http(vm.http_stream())
        }
        assert_eq!(misattached().len(), 0, "{configuration}: {:?}", misattached());
    }
}

#[test]
fn the_first_callback_decides_the_kind_if_attributes_are_misleading() {
    for configuration in CONFIGURATIONS {
        let vm = start(configuration);
        for _ in 0..2 {
            pass_http(vm.tunnel());
            pass_tcp(vm.quic_connection());
        }
        let (open, request) = (vm.quic_connection(), vm.http_stream());
        pass_http(request);
        // This connection never opens: Envoy would have opened it before it created another stream.
        open.delete();
    }
}

#[test]
fn a_connection_that_never_opens_is_ignored() {
    let vm = start(r#"{"preset": "tcp"}"#);
    let connection = vm.connection();
    assert_eq!(connection.downstream_data(1), Action::Continue);
    if IS_FULL {
        assert_eq!(connection.upstream_data(1), Action::Continue);
    }
    connection.log();
    connection.delete();
}

#[test]
fn a_connection_is_counted_once() {
    let vm = start(r#"{"preset": "tcp"}"#);
    let token = fake::with(|host| host.queues.register("tcp", "service"));
    pass_tcp(vm.quic_connection());
    vm.tick();
    let bytes = fake::with(|host| host.queues.dequeue(token)).unwrap();
    assert_eq!(tributary_proto::batch::Batch::decode(bytes).unwrap().observations(), 1);
}

#[test]
fn an_access_logger_logs_streams_of_the_wrong_kind_once() {
    for configuration in CONFIGURATIONS {
        for (protocol, is_right) in [
            (Some(b"HTTP/2".to_vec()), !configuration.contains("tcp")),
            (None, configuration.contains("tcp")),
        ] {
            let vm = start(configuration);
            let protocol = protocol.map(|protocol| ("request.protocol", protocol));
            fake::with(|host| host.streams.begin(protocol));
            vm.log();
            vm.log();
            let lines = usize::from(!is_right || configuration.contains("log_stream"));
            assert_eq!(misattached().len(), lines, "{configuration}: {:?}", misattached());
        }
    }
}

#[test]
fn an_access_logger_that_cannot_read_the_kind_of_streams_logs_nothing() {
    let vm = start("{}");
    fake::with(|host| host.withheld.insert("proxy_get_property"));
    vm.log();
    assert_eq!(misattached(), Vec::<String>::new());
}

#[test]
fn a_configuration_without_a_needed_function_is_rejected_and_the_log_names_it() {
    for function in [
        "proxy_get_current_time_nanoseconds",
        "proxy_set_tick_period_milliseconds",
        "proxy_get_buffer_bytes",
        "proxy_call_foreign_function",
    ] {
        fake::reset();
        fake::with(|host| host.withheld.insert(function));
        assert!(Vm::start(WorkerRoot::boxed, b"{}").is_none(), "{function}");
        let lines = fake::with(|host| host.log.iter().filter(|(_, line)| line.contains(function)).count());
        assert_eq!(lines, 1, "{function}");
    }
}
