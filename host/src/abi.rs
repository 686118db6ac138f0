//! The proxy-wasm ABI 0.2.1 as Envoy provides it: the one file with `unsafe`.
//!
//! Statuses cross the boundary as plain numbers, never as an enum: a host may return one that no enum names. Bytes that the
//! host returns lie in memory that it asked the module's `malloc` for, and belong to the module from then on.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc};
use std::ptr::null_mut;
use std::time::Duration;

use crate::headers::Side;
use crate::logging::Level;
use crate::pairs;
use crate::stats::Kind;
use crate::status::Status;
use crate::stream::Bytes;

/// Buffer numbers of the ABI (proxy-wasm 0.2.1, `proxy_buffer_type_t`).
const BUFFER_HTTP_CALL_RESPONSE_BODY: u32 = 4;
const BUFFER_PLUGIN_CONFIGURATION: u32 = 7;
/// Map number of the ABI (`proxy_header_map_type_t`).
const MAP_HTTP_CALL_RESPONSE_HEADERS: u32 = 6;
/// gRPC status of a local response that says nothing about it.
const NO_GRPC_STATUS: i32 = -1;

// One function a line: the block is a list.
#[rustfmt::skip]
#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, data: *const u8, size: usize) -> u32;
    fn proxy_get_log_level(level: *mut u32) -> u32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_get_buffer_bytes(kind: u32, start: usize, max: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_set_buffer_bytes(kind: u32, start: usize, size: usize, data: *const u8, data_size: usize) -> u32;
    fn proxy_get_header_map_value(map: u32, key: *const u8, key_size: usize, data: *mut *mut u8,
        size: *mut usize) -> u32;
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_add_header_map_value(map: u32, key: *const u8, key_size: usize, value: *const u8,
        value_size: usize) -> u32;
    fn proxy_replace_header_map_value(map: u32, key: *const u8, key_size: usize, value: *const u8,
        value_size: usize) -> u32;
    fn proxy_remove_header_map_value(map: u32, key: *const u8, key_size: usize) -> u32;
    fn proxy_send_local_response(status: u32, details: *const u8, details_size: usize, body: *const u8,
        body_size: usize, headers: *const u8, headers_size: usize, grpc_status: i32) -> u32;
    fn proxy_get_property(path: *const u8, path_size: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_call_foreign_function(name: *const u8, name_size: usize, arguments: *const u8, arguments_size: usize,
        data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_register_shared_queue(name: *const u8, name_size: usize, token: *mut u32) -> u32;
    fn proxy_resolve_shared_queue(vm_id: *const u8, vm_id_size: usize, name: *const u8, name_size: usize,
        token: *mut u32) -> u32;
    fn proxy_enqueue_shared_queue(token: u32, data: *const u8, size: usize) -> u32;
    fn proxy_dequeue_shared_queue(token: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_get_shared_data(key: *const u8, key_size: usize, data: *mut *mut u8, size: *mut usize,
        cas: *mut u32) -> u32;
    fn proxy_set_shared_data(key: *const u8, key_size: usize, data: *const u8, size: usize, cas: u32) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, offset: i64) -> u32;
    fn proxy_record_metric(id: u32, value: u64) -> u32;
    fn proxy_get_metric(id: u32, value: *mut u64) -> u32;
    fn proxy_http_call(cluster: *const u8, cluster_size: usize, headers: *const u8, headers_size: usize,
        body: *const u8, body_size: usize, trailers: *const u8, trailers_size: usize, timeout_ms: u32,
        token: *mut u32) -> u32;
    fn proxy_set_effective_context(context: u32) -> u32;
}

// Not part of proxy-wasm, but linked by Envoy for any module, and the only source of randomness there is (Envoy 1.40).
#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn random_get(data: *mut u8, size: usize) -> u32;
}

pub(crate) fn log(level: Level, message: &str) {
    // SAFETY: the host reads the message and keeps nothing. There is nobody to tell of a failure.
    let _ = unsafe { proxy_log(level.number(), message.as_ptr(), message.len()) };
}

pub(crate) fn log_level() -> Result<u32, Status> {
    let mut level = 0;
    // SAFETY: the host writes one number.
    Status::check(unsafe { proxy_get_log_level(&mut level) }).map(|()| level)
}

pub(crate) fn now_unix_nano() -> Result<u64, Status> {
    let mut time = 0;
    // SAFETY: the host writes one number.
    Status::check(unsafe { proxy_get_current_time_nanoseconds(&mut time) }).map(|()| time)
}

pub(crate) fn random(bytes: &mut [u8]) -> Result<(), Status> {
    // SAFETY: the host writes `bytes.len()` bytes.
    Status::check(unsafe { random_get(bytes.as_mut_ptr(), bytes.len()) })
}

pub(crate) fn set_tick_period(period_ms: u32) -> Result<(), Status> {
    // SAFETY: numbers only.
    Status::check(unsafe { proxy_set_tick_period_milliseconds(period_ms) })
}

pub(crate) fn plugin_configuration(bytes_max: usize) -> Result<Vec<u8>, Status> {
    buffer(BUFFER_PLUGIN_CONFIGURATION, 0, bytes_max)
}

pub(crate) fn http_call_body(bytes_max: usize) -> Result<Vec<u8>, Status> {
    buffer(BUFFER_HTTP_CALL_RESPONSE_BODY, 0, bytes_max)
}

pub(crate) fn http_call_header(name: &str) -> Result<Vec<u8>, Status> {
    // SAFETY: the host reads the name and writes a pointer and a size.
    returned(|data, size| unsafe {
        proxy_get_header_map_value(MAP_HTTP_CALL_RESPONSE_HEADERS, name.as_ptr(), name.len(), data, size)
    })
}

pub(crate) fn headers(side: Side) -> Result<Vec<u8>, Status> {
    // SAFETY: the host writes a pointer and a size.
    returned(|data, size| unsafe { proxy_get_header_map_pairs(side.map(), data, size) })
}

pub(crate) fn append_header(side: Side, name: &str, value: &[u8]) -> Result<(), Status> {
    // SAFETY: the host copies name and value.
    Status::check(unsafe {
        proxy_add_header_map_value(side.map(), name.as_ptr(), name.len(), value.as_ptr(), value.len())
    })
}

pub(crate) fn set_header(side: Side, name: &str, value: &[u8]) -> Result<(), Status> {
    // SAFETY: the host copies name and value.
    Status::check(unsafe {
        proxy_replace_header_map_value(side.map(), name.as_ptr(), name.len(), value.as_ptr(), value.len())
    })
}

pub(crate) fn remove_header(side: Side, name: &str) -> Result<(), Status> {
    // SAFETY: the host reads the name.
    Status::check(unsafe { proxy_remove_header_map_value(side.map(), name.as_ptr(), name.len()) })
}

pub(crate) fn respond(
    status: u16,
    headers: &[(&str, &str)],
    body: &[u8],
    details: &str,
) -> Result<(), Status> {
    let headers = pairs::encode(headers);
    // SAFETY: the host copies details, body and headers.
    Status::check(unsafe {
        proxy_send_local_response(
            status.into(),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            NO_GRPC_STATUS,
        )
    })
}

pub(crate) fn bytes_under_way(bytes: Bytes, start: usize, bytes_max: usize) -> Result<Vec<u8>, Status> {
    buffer(bytes.buffer(), start, bytes_max)
}

pub(crate) fn remove_bytes(bytes: Bytes, size: usize) -> Result<(), Status> {
    // SAFETY: the host puts nothing in their place, and reads nothing.
    Status::check(unsafe { proxy_set_buffer_bytes(bytes.buffer(), 0, size, null_mut(), 0) })
}

pub(crate) fn property(path: &[u8]) -> Result<Vec<u8>, Status> {
    // SAFETY: the host reads the path and writes a pointer and a size.
    returned(|data, size| unsafe { proxy_get_property(path.as_ptr(), path.len(), data, size) })
}

pub(crate) fn foreign_function(name: &str, arguments: &[u8]) -> Result<Vec<u8>, Status> {
    // SAFETY: the host reads name and arguments and writes a pointer and a size.
    returned(|data, size| unsafe {
        proxy_call_foreign_function(
            name.as_ptr(),
            name.len(),
            arguments.as_ptr(),
            arguments.len(),
            data,
            size,
        )
    })
}

pub(crate) fn register_queue(name: &str) -> Result<u32, Status> {
    let mut token = 0;
    // SAFETY: the host reads the name and writes one number.
    Status::check(unsafe { proxy_register_shared_queue(name.as_ptr(), name.len(), &mut token) })
        .map(|()| token)
}

pub(crate) fn resolve_queue(vm_id: &str, name: &str) -> Result<u32, Status> {
    let mut token = 0;
    // SAFETY: the host reads both names and writes one number.
    Status::check(unsafe {
        proxy_resolve_shared_queue(vm_id.as_ptr(), vm_id.len(), name.as_ptr(), name.len(), &mut token)
    })
    .map(|()| token)
}

pub(crate) fn enqueue(token: u32, item: &[u8]) -> Result<(), Status> {
    // SAFETY: the host copies the item.
    Status::check(unsafe { proxy_enqueue_shared_queue(token, item.as_ptr(), item.len()) })
}

pub(crate) fn dequeue(token: u32) -> Result<Vec<u8>, Status> {
    // SAFETY: the host writes a pointer and a size.
    returned(|data, size| unsafe { proxy_dequeue_shared_queue(token, data, size) })
}

pub(crate) fn shared_data(key: &str) -> Result<(Vec<u8>, u32), Status> {
    let mut cas = 0;
    // SAFETY: the host reads the key and writes a pointer, a size and one number.
    let value = returned(|data, size| unsafe {
        proxy_get_shared_data(key.as_ptr(), key.len(), data, size, &mut cas)
    })?;
    Ok((value, cas))
}

pub(crate) fn set_shared_data(key: &str, value: &[u8], cas: u32) -> Result<(), Status> {
    // SAFETY: the host copies key and value.
    Status::check(unsafe { proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), cas) })
}

pub(crate) fn define_metric(kind: Kind, name: &str) -> Result<u32, Status> {
    // `proxy_metric_type_t`.
    let kind = match kind {
        Kind::Counter => 0,
        Kind::Gauge => 1,
    };
    let mut id = 0;
    // SAFETY: the host reads the name and writes one number.
    Status::check(unsafe { proxy_define_metric(kind, name.as_ptr(), name.len(), &mut id) }).map(|()| id)
}

pub(crate) fn increment_metric(id: u32, offset: i64) -> Result<(), Status> {
    // SAFETY: numbers only.
    Status::check(unsafe { proxy_increment_metric(id, offset) })
}

pub(crate) fn record_metric(id: u32, value: u64) -> Result<(), Status> {
    // SAFETY: numbers only.
    Status::check(unsafe { proxy_record_metric(id, value) })
}

pub(crate) fn metric(id: u32) -> Result<u64, Status> {
    let mut value = 0;
    // SAFETY: the host writes one number.
    Status::check(unsafe { proxy_get_metric(id, &mut value) }).map(|()| value)
}

pub(crate) fn http_call(
    cluster: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    timeout: Duration,
) -> Result<u32, Status> {
    let (headers, trailers) = (pairs::encode(headers), pairs::encode(&[]));
    let timeout_ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
    let mut token = 0;
    // SAFETY: the host copies cluster, headers, body and trailers and writes one number.
    Status::check(unsafe {
        proxy_http_call(
            cluster.as_ptr(),
            cluster.len(),
            headers.as_ptr(),
            headers.len(),
            body.as_ptr(),
            body.len(),
            trailers.as_ptr(),
            trailers.len(),
            timeout_ms,
            &mut token,
        )
    })
    .map(|()| token)
}

pub(crate) fn set_effective_context(context: u32) -> Result<(), Status> {
    // SAFETY: numbers only.
    Status::check(unsafe { proxy_set_effective_context(context) })
}

fn buffer(kind: u32, start: usize, bytes_max: usize) -> Result<Vec<u8>, Status> {
    // SAFETY: the host writes a pointer and a size.
    returned(|data, size| unsafe { proxy_get_buffer_bytes(kind, start, bytes_max, data, size) })
}

/// The bytes that a call returns through a pointer and a size.
fn returned(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Vec<u8>, Status> {
    let (mut data, mut size) = (null_mut::<u8>(), 0_usize);
    Status::check(call(&mut data, &mut size))?;
    if data.is_null() || size == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: the host got this memory from `malloc`, which made it as a boxed slice of `size` bytes, filled it, and
    // never frees it.
    Ok(unsafe { Vec::from_raw_parts(data, size, size) })
}

/// The host's way to memory for what it returns: owned by the module from then on.
#[unsafe(no_mangle)]
extern "C" fn malloc(size: usize) -> *mut u8 {
    match Layout::array::<u8>(size) {
        // SAFETY: the size is not zero.
        Ok(layout) if size > 0 => unsafe { alloc(layout) },
        // The host takes null for a failure, and asks for nothing at times (an empty header value).
        _ => std::ptr::dangling_mut(),
    }
}

/// Says which ABI this is.
#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

/// Makes a module of a [`Plugin`](crate::plugin::Plugin): defines every callback of the ABI that a module here may have.
/// The build takes away those that a module's list does not name.
#[macro_export]
macro_rules! export_plugin {
    ($plugin:ty) => {
        mod exports {
            use std::cell::RefCell;

            use $crate::http_call::Call;
            use $crate::plugin::Plugin;
            use $crate::stream::{Bytes, ClosedBy, StreamId, Verdict};
            use $crate::vm::Vm;

            thread_local! {
                static VM: RefCell<Vm<$plugin>> = RefCell::default();
            }

            /// The host enters a VM again only for memory, so the VM is never in use already.
            fn vm<T: Default>(act: impl FnOnce(&mut Vm<$plugin>) -> T) -> T {
                VM.with(|vm| vm.try_borrow_mut().map_or_else(|_| T::default(), |mut vm| act(&mut vm)))
            }

            fn plugin(context: u32, act: impl FnOnce(&mut $plugin)) {
                vm(|vm| vm.plugin_of(context).map(act)).unwrap_or_default();
            }

            fn bytes(stream: u32, bytes: Bytes, size: u32) -> u32 {
                plugin(stream, |plugin| plugin.bytes(StreamId::new(stream), bytes, size));
                Verdict::Continue.number()
            }

            $crate::callback!(proxy_on_context_create(context, parent) vm(|vm| vm.context_created(context, parent)));
            $crate::callback!(proxy_on_configure(root, _size) -> u32 { u32::from(vm(|vm| vm.configured(root))) });
            $crate::callback!(proxy_on_tick(root) plugin(root, Plugin::tick));
            $crate::callback!(proxy_on_queue_ready(root, _queue) plugin(root, Plugin::queue_ready));
            $crate::callback!(proxy_on_http_call_response(root, token, headers, _body_size, _trailers)
                plugin(root, |plugin| plugin.answered(Call::from_token(token), headers > 0)));
            $crate::callback!(proxy_on_log(context) vm(|vm| vm.logged(context)));
            $crate::callback!(proxy_on_delete(context) vm(|vm| vm.deleted(context)));
            $crate::callback!(proxy_on_new_connection(stream) -> u32 {
                plugin(stream, |plugin| plugin.connection_opened(StreamId::new(stream)));
                Verdict::Continue.number()
            });
            $crate::callback!(proxy_on_request_headers(stream, _headers, _end) -> u32 {
                let mut verdict = Verdict::Continue;
                plugin(stream, |plugin| verdict = plugin.request_headers(StreamId::new(stream)));
                verdict.number()
            });
            $crate::callback!(proxy_on_response_headers(stream, _headers, _end) -> u32 {
                plugin(stream, |plugin| plugin.response_headers(StreamId::new(stream)));
                Verdict::Continue.number()
            });
            $crate::callback!(proxy_on_request_body(stream, size, _end) -> u32 { bytes(stream, Bytes::RequestBody, size) });
            $crate::callback!(proxy_on_response_body(stream, size, _end) -> u32 { bytes(stream, Bytes::ResponseBody, size) });
            $crate::callback!(proxy_on_downstream_data(stream, size, _end) -> u32 { bytes(stream, Bytes::FromClient, size) });
            $crate::callback!(proxy_on_upstream_data(stream, size, _end) -> u32 { bytes(stream, Bytes::FromUpstream, size) });
            $crate::callback!(proxy_on_downstream_connection_close(stream, peer)
                plugin(stream, |plugin| plugin.connection_closed(StreamId::new(stream), ClosedBy::from_number(peer))));
        }
    };
}

/// One callback of a module; its arguments are numbers.
#[doc(hidden)]
#[macro_export]
macro_rules! callback {
    ($name:ident($($argument:ident),*) $body:expr) => {
        #[unsafe(no_mangle)]
        extern "C" fn $name($($argument: u32),*) {
            $body;
        }
    };
    ($name:ident($($argument:ident),*) -> u32 $body:block) => {
        #[unsafe(no_mangle)]
        extern "C" fn $name($($argument: u32),*) -> u32 $body
    };
}
