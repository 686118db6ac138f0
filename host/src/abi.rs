//! The proxy-wasm ABI 0.2.1 as Envoy provides it: the one file with `unsafe`.
//!
//! Statuses cross the boundary as plain numbers, never as an enum: a host may return one that no enum names. Bytes that the
//! host returns lie in memory that it asked the module's `malloc` for, and belong to the module from then on.
#![allow(unsafe_code)]

use std::ptr::null_mut;
use std::time::Duration;

use crate::logging::Level;
use crate::stats::Kind;
use crate::status::Status;

/// Buffer numbers of the ABI (proxy-wasm 0.2.1, `proxy_buffer_type_t`).
const BUFFER_HTTP_CALL_RESPONSE_BODY: u32 = 4;
const BUFFER_PLUGIN_CONFIGURATION: u32 = 7;
/// Map number of the ABI (`proxy_header_map_type_t`).
const MAP_HTTP_CALL_RESPONSE_HEADERS: u32 = 6;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, data: *const u8, size: usize) -> u32;
    fn proxy_get_log_level(level: *mut u32) -> u32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_get_buffer_bytes(
        kind: u32,
        start: usize,
        max: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_get_header_map_value(
        map: u32,
        key: *const u8,
        key_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_get_property(path: *const u8, path_size: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_call_foreign_function(
        name: *const u8,
        name_size: usize,
        arguments: *const u8,
        arguments_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_register_shared_queue(name: *const u8, name_size: usize, token: *mut u32) -> u32;
    fn proxy_resolve_shared_queue(
        vm_id: *const u8,
        vm_id_size: usize,
        name: *const u8,
        name_size: usize,
        token: *mut u32,
    ) -> u32;
    fn proxy_enqueue_shared_queue(token: u32, data: *const u8, size: usize) -> u32;
    fn proxy_dequeue_shared_queue(token: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_get_shared_data(
        key: *const u8,
        key_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
        cas: *mut u32,
    ) -> u32;
    fn proxy_set_shared_data(key: *const u8, key_size: usize, data: *const u8, size: usize, cas: u32) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, offset: i64) -> u32;
    fn proxy_record_metric(id: u32, value: u64) -> u32;
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
    buffer(BUFFER_PLUGIN_CONFIGURATION, bytes_max)
}

pub(crate) fn http_call_body(bytes_max: usize) -> Result<Vec<u8>, Status> {
    buffer(BUFFER_HTTP_CALL_RESPONSE_BODY, bytes_max)
}

pub(crate) fn http_call_header(name: &str) -> Result<Vec<u8>, Status> {
    // SAFETY: the host reads the name and writes a pointer and a size.
    returned(|data, size| unsafe {
        proxy_get_header_map_value(MAP_HTTP_CALL_RESPONSE_HEADERS, name.as_ptr(), name.len(), data, size)
    })
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

/// Through the SDK, because its dispatcher routes an answer by a table that only its own call fills, and panics on an
/// answer that is not in it (proxy-wasm 0.2.5, `dispatcher.rs`).
pub(crate) fn http_call(
    cluster: &str,
    headers: Vec<(&str, &str)>,
    body: &[u8],
    timeout: Duration,
) -> Result<u32, Status> {
    let sent = proxy_wasm::hostcalls::dispatch_http_call(cluster, headers, Some(body), Vec::new(), timeout);
    sent.map_err(|status| match status {
        proxy_wasm::types::Status::BadArgument => Status::BadArgument,
        _ => Status::InternalFailure,
    })
}

fn buffer(kind: u32, bytes_max: usize) -> Result<Vec<u8>, Status> {
    // SAFETY: the host writes a pointer and a size.
    returned(|data, size| unsafe { proxy_get_buffer_bytes(kind, 0, bytes_max, data, size) })
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
