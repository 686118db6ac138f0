//! The service behind the SDK's dispatcher: with withheld capabilities, and attached in the wrong place.

use tributary_host::fake;
use tributary_host::fake::vm::Vm;

use super::*;

const CONFIGURATION: &[u8] = br#"{"destinations": [{"cluster": "collector"}]}"#;

#[test]
fn a_withheld_capability_rejects_the_configuration_and_is_logged() {
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
        let lines = fake::with(|host| host.log.iter().filter(|(_, line)| line.contains(function)).count());
        assert_eq!(lines, 1, "{function}");
    }
}

#[test]
fn streams_pass_a_misattached_service_and_one_line_is_logged() {
    fake::reset();
    let vm = Vm::start(ServiceRoot::boxed, CONFIGURATION).unwrap();
    for stream in [vm.http_stream(), vm.connection()] {
        stream.log();
        stream.delete();
    }
    vm.log();
    let is_logged = |line: &str| line.contains("attached as a filter or an access logger");
    assert_eq!(fake::with(|host| host.log.iter().filter(|(_, line)| is_logged(line)).count()), 1);
}
