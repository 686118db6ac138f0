//! The console through the SDK's dispatcher, at each attach point.

use proxy_wasm::types::MapType;
use tributary_host::fake;
use tributary_host::fake::vm::{Stream, Vm};

use super::*;

fn start() -> Vm {
    fake::reset();
    fake::with(|host| host.now_unix_nano = 1);
    let vm = Vm::start(ConsoleRoot::boxed, b"{}").unwrap();
    // The response that `on_configure` tries to send.
    fake::with(|host| host.responses.clear());
    vm
}

/// How many lines report a wrong attach point.
fn reported() -> usize {
    fake::with(|host| {
        host.log.iter().filter(|(_, line)| line.contains("not attached as an HTTP filter")).count()
    })
}

/// Requests the page, and returns the status of the response.
fn request_page(stream: Stream) -> Option<u16> {
    let headers =
        [(":method", "GET"), (":path", "/")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    fake::with(|host| host.set_headers(MapType::HttpRequestHeaders, headers.into()));
    assert_eq!(stream.request_headers(), Action::Pause);
    stream.log();
    stream.delete();
    fake::with(|host| host.responses.pop()).map(|(status, _)| status)
}

fn pass_connection(stream: Stream) {
    assert_eq!(stream.new_connection(), Action::Continue);
    stream.log();
    stream.delete();
}

#[test]
fn requests_get_a_response_and_connections_pass_with_one_line_in_the_log() {
    for is_http_first in [true, false] {
        let vm = start();
        for is_http in [is_http_first, !is_http_first, is_http_first, !is_http_first] {
            if is_http {
                assert_eq!(request_page(vm.http_stream()), Some(200));
            } else {
                pass_connection(vm.connection());
            }
        }
        assert_eq!(reported(), 1);
    }
    let vm = start();
    assert_eq!(request_page(vm.http_stream()), Some(200));
    assert_eq!(reported(), 0);
}

#[test]
fn the_first_callback_decides_the_kind_where_attributes_mislead() {
    let vm = start();
    for _ in 0..2 {
        assert_eq!(request_page(vm.tunnel()), Some(200));
        pass_connection(vm.quic_connection());
    }
}

#[test]
fn an_access_logger_logs_once_that_it_is_no_http_filter() {
    let vm = start();
    vm.log();
    vm.log();
    assert_eq!(reported(), 1);
}

#[test]
fn a_console_is_rejected_without_what_it_needs_and_the_log_names_it() {
    for function in [
        "proxy_get_buffer_bytes",
        "proxy_get_current_time_nanoseconds",
        "proxy_get_header_map_pairs",
        "proxy_send_local_response",
        "proxy_set_effective_context",
        "proxy_set_tick_period_milliseconds",
    ] {
        fake::reset();
        fake::with(|host| host.withheld.insert(function));
        assert!(Vm::start(ConsoleRoot::boxed, b"").is_none(), "{function}");
        let lines = fake::with(|host| host.log.iter().filter(|(_, line)| line.contains(function)).count());
        assert_eq!(lines, 1, "{function}");
    }
}
