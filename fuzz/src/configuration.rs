//! The configuration: bytes that come from whoever writes Envoy's configuration, by hand or by xDS.

use proxy_wasm::types::{LogLevel, NewRootContext};
use tributary_host::fake;
use tributary_host::fake::vm::{Stream, Vm};
use tributary_proto::limits::{QUEUE_HTTP, QUEUE_TCP};
use tributary_service::root::ServiceRoot;
use tributary_worker_filter::root::WorkerRoot;

use crate::seeds;
use crate::service_harness::{ONE_ENCODING, ServiceHarness, stat};

/// Configures both modules with the input. Each takes it, or logs at least one thing that is wrong with it. One that takes it
/// works: what its worker hands over is no batch that a service refuses.
pub fn check(input: &[u8]) {
    service(input);
    worker(input);
}

fn service(input: &[u8]) {
    fake::reset();
    let Some(vm) = configured(ServiceRoot::boxed, input) else { return };
    fake::with(|host| host.now_unix_nano = 5_000_000_000);
    vm.tick();
    vm.tick();
    vm.delete();
}

fn worker(input: &[u8]) {
    fake::reset();
    let service = ServiceHarness::begin(ONE_ENCODING);
    assert!(service.is_some(), "the service begins");
    let Some(mut service) = service else { return };
    let Some(vm) = configured(WorkerRoot::boxed, input) else { return };
    for round in 0..2 {
        fake::with(|host| host.streams.begin(seeds::request("a")));
        let connection = vm.connection();
        connection.new_connection();
        connection.downstream_data(5);
        pass(&vm, connection);
        let stream = vm.http_stream();
        stream.request_headers();
        stream.request_body(5);
        stream.response_headers();
        pass(&vm, stream);
        fake::with(|host| {
            host.now_unix_nano = host.now_unix_nano.saturating_add(6_000_000_000);
            host.streams.begin(seeds::request(if round == 0 { "a" } else { "b" }));
        });
        vm.log();
    }
    vm.delete();
    service.drain();
    assert_eq!((stat("batches_refused"), waiting()), (0, 0), "what a worker hands over is taken");
    assert_eq!(stat("observations_aggregated"), stat("observations_observed"));
    service.export();
    service.end();
}

/// Lets a tick pass while the stream is open, and ends it.
fn pass(vm: &Vm, stream: Stream) {
    fake::with(|host| host.now_unix_nano = host.now_unix_nano.saturating_add(6_000_000_000));
    vm.tick();
    stream.log();
    stream.delete();
}

/// A VM whose plugin took the input; none if it was refused, and then the log has why.
fn configured(new_root: NewRootContext, input: &[u8]) -> Option<Vm> {
    let vm = Vm::start(new_root, input);
    let errors = fake::with(|host| host.logged(LogLevel::Error).len());
    assert_eq!(errors == 0, vm.is_some(), "{errors} lines say what is wrong");
    vm
}

fn waiting() -> usize {
    fake::with(|host| host.queues.len(QUEUE_HTTP).saturating_add(host.queues.len(QUEUE_TCP)))
}
