//! The configuration: bytes that come from whoever writes Envoy's configuration, by hand or by xDS.

use tributary_host::fake;
use tributary_host::logging::Level;
use tributary_host::stream::{Bytes, StreamId};
use tributary_host::vm::Vm;
use tributary_proto::limits::{QUEUE_HTTP, QUEUE_TCP};
use tributary_service::root::ServicePlugin;
use tributary_worker_filter::role::RolePlugin;

use crate::main_thread::{MainThread, ONE_ENCODING, stat};
use crate::seeds;

/// The root context of a VM's only plugin, and one of its streams.
const ROOT: u32 = 1;
const STREAM: u32 = 2;

/// Configures both modules with the input. Each takes it, or says at least one thing that is wrong with it. One that takes it
/// works: what its worker hands over is no batch that a service refuses.
pub fn check(input: &[u8]) {
    service(input);
    worker(input);
}

fn service(input: &[u8]) {
    fake::reset();
    let Some(mut vm) = configured::<ServicePlugin>(input) else { return };
    fake::with(|host| host.now_unix_nano = 5_000_000_000);
    if let Some(plugin) = vm.plugin_of(ROOT) {
        use tributary_host::plugin::Plugin;
        plugin.tick();
        plugin.tick();
    }
    vm.deleted(ROOT);
}

fn worker(input: &[u8]) {
    fake::reset();
    let mut main_thread = MainThread::begin(ONE_ENCODING);
    let Some(mut vm) = configured::<RolePlugin>(input) else { return };
    for round in 0..2 {
        stream(&mut vm);
        fake::with(|host| {
            host.now_unix_nano = host.now_unix_nano.saturating_add(6_000_000_000);
            host.streams.begin(seeds::request(if round == 0 { "a" } else { "b" }));
        });
        // As an access logger.
        vm.logged(ROOT);
    }
    vm.deleted(ROOT);
    main_thread.drain();
    assert_eq!((stat("batches_refused"), waiting()), (0, 0), "what a worker hands over is taken");
    assert_eq!(stat("observations_aggregated"), stat("observations_observed"));
    main_thread.export();
    main_thread.end();
}

/// Everything that a stream of a filter goes through.
fn stream(vm: &mut Vm<RolePlugin>) {
    use tributary_host::plugin::Plugin;
    fake::with(|host| {
        host.streams.begin(seeds::request("a"));
        host.streams.open.insert(STREAM, host.streams.attributes.clone());
    });
    vm.context_created(STREAM, ROOT);
    let id = StreamId::new(STREAM);
    if let Some(plugin) = vm.plugin_of(STREAM) {
        plugin.request_headers(id);
        plugin.bytes(id, Bytes::RequestBody, 5);
        plugin.connection_opened(id);
        plugin.response_headers(id);
    }
    fake::with(|host| host.now_unix_nano = host.now_unix_nano.saturating_add(6_000_000_000));
    if let Some(plugin) = vm.plugin_of(ROOT) {
        plugin.tick();
    }
    vm.logged(STREAM);
    vm.deleted(STREAM);
}

/// A VM whose plugin took the input; none if it was refused, which the log then says why.
fn configured<P: tributary_host::plugin::Plugin>(input: &[u8]) -> Option<Vm<P>> {
    fake::with(|host| host.configuration = input.to_vec());
    let mut vm = Vm::default();
    vm.context_created(ROOT, 0);
    let is_taken = vm.configured(ROOT);
    let errors = fake::with(|host| host.logged(Level::Error).len());
    assert_eq!(errors == 0, is_taken, "{errors} lines say what is wrong");
    is_taken.then_some(vm)
}

fn waiting() -> usize {
    fake::with(|host| host.queues.len(QUEUE_HTTP).saturating_add(host.queues.len(QUEUE_TCP)))
}
