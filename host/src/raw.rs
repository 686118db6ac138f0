//! Calls to Envoy for which the SDK has no function, or a function that could trap. Only this file of the
//! modules has `unsafe` code.
//!
//! The SDK's functions panic on a status that they do not expect, and a panic in a module is an outage. Each
//! function here returns the status instead. The reason for each:
//!
//! | function | why not the SDK's |
//! |---|---|
//! | all | `unexpected status`: a function withheld by `capability_restriction_config` is `InternalFailure` |
//! | header maps | values that are not UTF-8, a map that the callback does not have (`BadArgument`) |
//! | buffers | a buffer that the callback does not have |
//! | `proxy_get_log_level` | level `off` is 6, and `LogLevel` has no such variant: undefined behaviour |
//! | `proxy_get_current_time_nanoseconds` | it returns `SystemTime` instead of a number, after an `unwrap` |
//! | `proxy_dequeue_shared_queue` | an empty item looks like an empty queue |
//! | `proxy_get_property` | an absent value looks like an empty one, and each read allocates the path |
//! | `proxy_call_foreign_function` | CEL returns any status, as do the functions of statistics |
//! | `random_get` | WASI: the only source of randomness in Envoy |
//!
//! Three callbacks of TCP pass through here to the SDK's dispatcher ([`crate::kind`]): the build exports
//! `tributary_on_NAME` in place of `proxy_on_NAME`.
//!
//! The modules use these parts of the SDK: its dispatcher, traits, types and allocator, and
//! `dispatch_http_call`, which handles every status that Envoy returns.
#![allow(unsafe_code)]

use std::ptr::null_mut;

use proxy_wasm::types::{Action, BufferType, LogLevel, MapType, MetricType, Status};
use tributary_proto::pairs;

use crate::stream::ContextId;
use crate::{kind, status};

/// The gRPC status of a local response that has no gRPC status.
const NO_GRPC_STATUS: i32 = -1;

// One function per line, as in a list.
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
    fn proxy_set_effective_context(context: u32) -> u32;
}

// This function is not part of proxy-wasm. Envoy links it for every module, and it is the only source of
// randomness (1.40).
#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn random_get(data: *mut u8, size: usize) -> u32;
}

// The callbacks that the SDK exports.
unsafe extern "C" {
    safe fn proxy_on_context_create(context: u32, root: u32);
    safe fn proxy_on_delete(context: u32);
    safe fn proxy_on_new_connection(context: u32) -> Action;
    safe fn proxy_on_downstream_data(context: u32, size: usize, end_of_stream: bool) -> Action;
    safe fn proxy_on_upstream_data(context: u32, size: usize, end_of_stream: bool) -> Action;
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn tributary_on_new_connection(context: u32) -> Action {
    kind::connection_opened(ContextId::new(context));
    proxy_on_new_connection(context)
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn tributary_on_downstream_data(context: u32, size: usize, is_end: bool) -> Action {
    if !kind::has_connections() {
        return Action::Continue;
    }
    proxy_on_downstream_data(context, size, is_end)
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn tributary_on_upstream_data(context: u32, size: usize, is_end: bool) -> Action {
    if !kind::has_connections() {
        return Action::Continue;
    }
    proxy_on_upstream_data(context, size, is_end)
}

/// Makes the SDK replace the context of a stream.
pub(crate) fn create_context_again(stream: ContextId, root: ContextId) {
    proxy_on_delete(stream.number());
    proxy_on_context_create(stream.number(), root.number());
}

pub(crate) fn log(level: LogLevel, message: &str) {
    // SAFETY: the host reads the message and does not keep it. A failure cannot be logged.
    let _ = unsafe { proxy_log(level as u32, message.as_ptr(), message.len()) };
}

pub(crate) fn log_level() -> Result<u32, Status> {
    // SAFETY: the host writes one number.
    number(|level| unsafe { proxy_get_log_level(level) })
}

pub(crate) fn now_unix_nano() -> Result<u64, Status> {
    // SAFETY: the host writes one number.
    number(|time| unsafe { proxy_get_current_time_nanoseconds(time) })
}

pub(crate) fn random<const N: usize>() -> Result<[u8; N], Status> {
    let mut bytes = [0; N];
    // SAFETY: the host writes `N` bytes.
    status::check(unsafe { random_get(bytes.as_mut_ptr(), N) }).map(|()| bytes)
}

pub(crate) fn set_tick_period(period_ms: u32) -> Result<(), Status> {
    // SAFETY: the arguments are only numbers.
    status::check(unsafe { proxy_set_tick_period_milliseconds(period_ms) })
}

pub(crate) fn buffer(buffer: BufferType, start: usize, bytes_max: usize) -> Result<Vec<u8>, Status> {
    // SAFETY: the host writes a pointer and a size.
    returned(|data, size| unsafe { proxy_get_buffer_bytes(buffer as u32, start, bytes_max, data, size) })
}

pub(crate) fn http_call_header(name: &str) -> Result<Vec<u8>, Status> {
    let map = MapType::HttpCallResponseHeaders as u32;
    // SAFETY: the host reads the name and writes a pointer and a size.
    returned(|data, size| unsafe { proxy_get_header_map_value(map, name.as_ptr(), name.len(), data, size) })
}

pub(crate) fn headers(map: MapType) -> Result<Vec<u8>, Status> {
    // SAFETY: the host writes a pointer and a size.
    returned(|data, size| unsafe { proxy_get_header_map_pairs(map as u32, data, size) })
}

/// Adds a header and keeps existing headers of the same name.
pub fn append_header(map: MapType, name: &str, value: &[u8]) -> Result<(), Status> {
    // SAFETY: the host copies name and value.
    status::check(unsafe {
        proxy_add_header_map_value(map as u32, name.as_ptr(), name.len(), value.as_ptr(), value.len())
    })
}

/// Replaces all headers of a name.
pub fn set_header(map: MapType, name: &str, value: &[u8]) -> Result<(), Status> {
    // SAFETY: the host copies name and value.
    status::check(unsafe {
        proxy_replace_header_map_value(map as u32, name.as_ptr(), name.len(), value.as_ptr(), value.len())
    })
}

/// Removes all headers of a name.
pub fn remove_header(map: MapType, name: &str) -> Result<(), Status> {
    // SAFETY: the host reads the name.
    status::check(unsafe { proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) })
}

/// Responds to the request in place of the upstream. In Envoy's access log, `%RESPONSE_CODE_DETAILS%` is
/// `details`.
pub fn respond(status: u16, headers: &[(&str, &str)], body: &[u8], details: &str) -> Result<(), Status> {
    let headers = pairs::encode(headers);
    // SAFETY: the host copies details, body and headers.
    status::check(unsafe {
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

/// Removes the first `size` bytes of a buffer, so that later filters do not receive them.
pub fn drain_buffer(buffer: BufferType, size: usize) -> Result<(), Status> {
    // SAFETY: the host reads no data, because its size is 0.
    status::check(unsafe { proxy_set_buffer_bytes(buffer as u32, 0, size, null_mut(), 0) })
}

/// Reads the attribute at `path`, whose segments are separated by NUL (`request\0method`), in Envoy's wire
/// format: text unchanged; integers, durations and times as 8 bytes little-endian.
///
/// Costs about 6,000 instructions in Envoy 1.40, because Envoy calls the VM to allocate memory for the value.
pub fn property(path: &[u8]) -> Result<Vec<u8>, Status> {
    // SAFETY: the host reads the path and writes a pointer and a size.
    returned(|data, size| unsafe { proxy_get_property(path.as_ptr(), path.len(), data, size) })
}

pub(crate) fn foreign_function(name: &str, arguments: &[u8]) -> Result<Vec<u8>, Status> {
    let (bytes, length) = (arguments.as_ptr(), arguments.len());
    // SAFETY: the host reads name and arguments and writes a pointer and a size.
    returned(|data, size| unsafe {
        proxy_call_foreign_function(name.as_ptr(), name.len(), bytes, length, data, size)
    })
}

pub(crate) fn register_queue(name: &str) -> Result<u32, Status> {
    // SAFETY: the host reads the name and writes one number.
    number(|token| unsafe { proxy_register_shared_queue(name.as_ptr(), name.len(), token) })
}

pub(crate) fn resolve_queue(vm_id: &str, name: &str) -> Result<u32, Status> {
    // SAFETY: the host reads both names and writes one number.
    number(|token| unsafe {
        proxy_resolve_shared_queue(vm_id.as_ptr(), vm_id.len(), name.as_ptr(), name.len(), token)
    })
}

pub(crate) fn enqueue(token: u32, item: &[u8]) -> Result<(), Status> {
    // SAFETY: the host copies the item.
    status::check(unsafe { proxy_enqueue_shared_queue(token, item.as_ptr(), item.len()) })
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
    status::check(unsafe { proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), cas) })
}

pub(crate) fn define_metric(kind: MetricType, name: &str) -> Result<u32, Status> {
    // SAFETY: the host reads the name and writes one number.
    number(|id| unsafe { proxy_define_metric(kind as u32, name.as_ptr(), name.len(), id) })
}

pub(crate) fn increment_metric(id: u32, offset: i64) -> Result<(), Status> {
    // SAFETY: the arguments are only numbers.
    status::check(unsafe { proxy_increment_metric(id, offset) })
}

pub(crate) fn record_metric(id: u32, value: u64) -> Result<(), Status> {
    // SAFETY: the arguments are only numbers.
    status::check(unsafe { proxy_record_metric(id, value) })
}

pub(crate) fn metric(id: u32) -> Result<u64, Status> {
    // SAFETY: the host writes one number.
    number(|value| unsafe { proxy_get_metric(id, value) })
}

pub(crate) fn set_effective_context(context: u32) -> Result<(), Status> {
    // SAFETY: the arguments are only numbers.
    status::check(unsafe { proxy_set_effective_context(context) })
}

/// Returns the number that a call writes.
fn number<T: Default>(call: impl FnOnce(*mut T) -> u32) -> Result<T, Status> {
    let mut number = T::default();
    status::check(call(&mut number)).map(|()| number)
}

/// Returns the bytes that a call returns through a pointer and a size.
fn returned(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Vec<u8>, Status> {
    let (mut data, mut size) = (null_mut::<u8>(), 0_usize);
    status::check(call(&mut data, &mut size))?;
    if data.is_null() || size == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: the host got this memory from the SDK's allocator, which created it as a boxed slice of `size`
    // bytes. The host filled it and never frees it.
    Ok(unsafe { Vec::from_raw_parts(data, size, size) })
}

/// Marks a module as unfinished ([`main!`](crate::main)).
#[doc(hidden)]
#[macro_export]
macro_rules! unfinished {
    () => {
        #[allow(unsafe_code)]
        mod unfinished {
            #[link(wasm_import_module = "tributary")]
            unsafe extern "C" {
                fn this_module_must_be_finished_by_cargo_xtask_build();
            }

            #[unsafe(no_mangle)]
            extern "C" fn tributary_unfinished() {
                // SAFETY: no host has the function, so no host runs this.
                unsafe { this_module_must_be_finished_by_cargo_xtask_build() }
            }
        }
    };
}
