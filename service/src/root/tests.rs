//! The service through the SDK's dispatcher, where it may not do what it needs, and where it has nothing to do.

use tributary_host::fake;
use tributary_host::fake::vm::Vm;

use super::*;

const CONFIGURATION: &[u8] = br#"{"destinations": [{"cluster": "collector"}]}"#;

#[test]
fn the_service_is_refused_without_what_it_needs_and_the_log_names_it() {
    for function in [
        "proxy_get_buffer_bytes",
        "proxy_get_current_time_nanoseconds",
        "proxy_register_shared_queue",
        "proxy_set_effective_context",
        "proxy_set_tick_period_milliseconds",
    ] {
        fake::reset();
        fake::with(|host| host.withheld.insert(function));
        assert!(Vm::start(ServiceRoot::boxed, CONFIGURATION).is_none(), "{function}");
        let said = fake::with(|host| host.log.iter().filter(|(_, line)| line.contains(function)).count());
        assert_eq!(said, 1, "{function}");
    }
}

#[test]
fn streams_pass_the_service_and_it_says_once_that_it_is_at_a_wrong_place() {
    fake::reset();
    let vm = Vm::start(ServiceRoot::boxed, CONFIGURATION).unwrap();
    for stream in [vm.http_stream(), vm.connection()] {
        stream.log();
        stream.delete();
    }
    vm.log();
    let is_said = |line: &str| line.contains("attached as a filter or an access logger");
    assert_eq!(fake::with(|host| host.log.iter().filter(|(_, line)| is_said(line)).count()), 1);
}
