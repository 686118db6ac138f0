//! Configurations of all modules, as Envoy passes them on from a file or from xDS.

use std::time::Duration;

use proxy_wasm::types::{LogLevel, NewRootContext};
use tributary_console::root::ConsoleRoot;
use tributary_host::fake;
use tributary_host::fake::main_thread;
use tributary_host::fake::vm::{Stream, Vm};
use tributary_service::root::ServiceRoot;
use tributary_worker_filter::root::WorkerRoot;

use crate::seeds;
use crate::service_harness::ServiceHarness;

/// Longer than every interval in the configurations of the seeds.
const LONG: Duration = Duration::from_secs(6);

/// Configures each module with the input. Checks that each module accepts the input or logs at least one
/// error, and that the service accepts every batch of a configured worker.
pub fn check(input: &[u8]) {
    service(input);
    worker(input);
    console(input);
}

fn service(input: &[u8]) {
    fake::reset();
    let Some(vm) = configured(ServiceRoot::boxed, input) else { return };
    vm.tick_at(5_000_000_000);
    vm.tick();
    vm.delete();
}

fn worker(input: &[u8]) {
    fake::reset();
    let service = ServiceHarness::start_any();
    let Some(vm) = configured(WorkerRoot::boxed, input) else { return };
    for round in 0..2 {
        fake::with(|host| host.streams.begin(seeds::request("a")));
        let connection = vm.connection();
        connection.new_connection();
        connection.downstream_data(5);
        finish(&vm, connection);
        let stream = vm.http_stream();
        stream.request_headers();
        stream.request_body(5);
        stream.response_headers();
        finish(&vm, stream);
        main_thread::advance(LONG);
        fake::with(|host| host.streams.begin(seeds::request(if round == 0 { "a" } else { "b" })));
        vm.log();
    }
    vm.delete();
    service.drain_workers();
    service.export();
    service.end();
}

fn console(input: &[u8]) {
    fake::reset();
    let Some(vm) = configured(ConsoleRoot::boxed, input) else { return };
    // Removes the response that the configuration tries to send.
    fake::with(|host| host.responses.clear());
    vm.tick();
    let stream = vm.http_stream();
    stream.request_headers();
    finish(&vm, stream);
    assert_eq!(fake::with(|host| host.responses.len()), 1, "each request gets a response");
    vm.delete();
}

/// Runs a tick while the stream is open, and ends the stream.
fn finish(vm: &Vm, stream: Stream) {
    main_thread::advance(LONG);
    vm.tick();
    stream.log();
    stream.delete();
}

/// Starts a VM with the input as configuration. Returns `None` if the module rejects the configuration;
/// checks that it then logs an error.
fn configured(new_root: NewRootContext, input: &[u8]) -> Option<Vm> {
    let vm = Vm::start(new_root, input);
    let errors = fake::with(|host| host.logged(LogLevel::Error).len());
    assert_eq!(errors == 0, vm.is_some(), "{errors} errors were logged");
    vm
}
