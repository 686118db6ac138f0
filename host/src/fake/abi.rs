//! The functions that the SDK and `raw` import. They work on this thread's [`FakeHost`].
//!
//! Each function returns the same status as Envoy. A function in [`FakeHost::withheld`] does nothing and
//! returns the same status as under `capability_restriction_config`: `InternalFailure`, or 76 for WASI.
#![allow(unsafe_code)]

use std::slice;
use std::time::Duration;

use proxy_wasm::types::{BufferType, LogLevel, MapType, Status};

use super::{FakeHost, FakePost, with};
use tributary_proto::pairs::{self, Pairs};

/// The status that WASI returns for a withheld function (Envoy 1.40).
const WASI_WITHHELD: u32 = 76;
/// The status that the ABI has for a function that the host does not implement.
const UNIMPLEMENTED: u32 = 12;

unsafe extern "C" {
    /// The allocator of the module, from which the host gets memory for results.
    fn proxy_on_memory_allocate(size: usize) -> *mut u8;
}

/// Defines a function of the host. Its body works on the fake host and returns the result.
macro_rules! host_function {
    ($name:ident($($argument:ident: $type:ty),*) |$host:ident| $body:block) => {
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($argument: $type),*) -> u32 {
            number(with(|$host: &mut FakeHost| {
                $host.called(stringify!($name))?;
                $body
            }))
        }
    };
}

/// Defines functions that the SDK links but the modules do not call.
macro_rules! unused {
    ($($name:ident),*) => {
        $(#[unsafe(no_mangle)]
        extern "C" fn $name() -> u32 {
            UNIMPLEMENTED
        })*
    };
}

host_function!(proxy_log(level: u32, data: *const u8, size: usize) |host| {
    let level = match level {
        0 => LogLevel::Trace,
        1 => LogLevel::Debug,
        2 => LogLevel::Info,
        3 => LogLevel::Warn,
        4 => LogLevel::Error,
        5 => LogLevel::Critical,
        _ => return Err(Status::BadArgument),
    };
    // SAFETY: the module passes its own bytes.
    let message = unsafe { text(data, size) };
    host.log.push((level, message));
    Ok(())
});

host_function!(proxy_get_log_level(level: *mut u32) |host| {
    // SAFETY: the module passes a pointer to a number.
    unsafe { level.write(host.log_level) };
    Ok(())
});

host_function!(proxy_get_current_time_nanoseconds(time: *mut u64) |host| {
    let now = host.now_unix_nano;
    host.now_unix_nano = now.saturating_add(host.clock_step_ns);
    // SAFETY: the module passes a pointer to a number.
    unsafe { time.write(now) };
    Ok(())
});

host_function!(proxy_set_tick_period_milliseconds(period: u32) |host| {
    host.tick_period = Some(Duration::from_millis(period.into()));
    Ok(())
});

host_function!(proxy_get_buffer_bytes(kind: u32, start: usize, max: usize, data: *mut *mut u8, size: *mut usize) |host| {
    let bytes = host.buffer(kind)?;
    let part: Vec<u8> = bytes.iter().copied().skip(start).take(max).collect();
    // SAFETY: the module passes pointers to a pointer and a size.
    unsafe { return_bytes(&part, data, size) };
    Ok(())
});

host_function!(proxy_set_buffer_bytes(_kind: u32, start: usize, size: usize, _data: *const u8, data_size: usize) |host| {
    if start != 0 || data_size != 0 {
        return Err(Status::BadArgument);
    }
    drop(host.bytes.drain(..size.min(host.bytes.len())));
    Ok(())
});

host_function!(proxy_get_header_map_value(map: u32, key: *const u8, key_size: usize, data: *mut *mut u8, size: *mut usize)
    |host| {
    // SAFETY: the module passes its own bytes.
    let name = unsafe { text(key, key_size) };
    if map != MapType::HttpCallResponseHeaders as u32 {
        return Err(Status::BadArgument);
    }
    let response = host.response.as_ref().ok_or(Status::BadArgument)?;
    let value = response.headers.get(&name).ok_or(Status::NotFound)?;
    // SAFETY: the module passes pointers to a pointer and a size.
    unsafe { return_bytes(value, data, size) };
    Ok(())
});

host_function!(proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) |host| {
    let wire = host.wire_headers.clone().unwrap_or_else(|| {
        let headers = host.headers.get(&map).map(Vec::as_slice).unwrap_or_default();
        pairs::encode(&headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect::<Vec<_>>())
    });
    // SAFETY: the module passes pointers to a pointer and a size.
    unsafe { return_bytes(&wire, data, size) };
    Ok(())
});

host_function!(proxy_add_header_map_value(map: u32, key: *const u8, key_size: usize, value: *const u8, value_size: usize)
    |host| {
    // SAFETY: the module passes its own bytes.
    let (name, value) = unsafe { (text(key, key_size), text(value, value_size)) };
    host.headers.entry(map).or_default().push((name, value));
    Ok(())
});

host_function!(proxy_replace_header_map_value(map: u32, key: *const u8, key_size: usize, value: *const u8,
    value_size: usize) |host| {
    // SAFETY: the module passes its own bytes.
    let (name, value) = unsafe { (text(key, key_size), text(value, value_size)) };
    let headers = host.headers.entry(map).or_default();
    headers.retain(|(other, _)| *other != name);
    headers.push((name, value));
    Ok(())
});

host_function!(proxy_remove_header_map_value(map: u32, key: *const u8, key_size: usize) |host| {
    // SAFETY: the module passes its own bytes.
    let name = unsafe { text(key, key_size) };
    host.headers.entry(map).or_default().retain(|(other, _)| *other != name);
    Ok(())
});

host_function!(proxy_send_local_response(status: u32, _details: *const u8, _details_size: usize, body: *const u8,
    body_size: usize, headers: *const u8, headers_size: usize, _grpc_status: i32) |host| {
    // SAFETY: the module passes its own bytes.
    let (body, headers) = unsafe { (text(body, body_size), bytes(headers, headers_size)) };
    host.responses.push((u16::try_from(status).map_err(|_| Status::BadArgument)?, body));
    host.response_headers = texts(headers);
    Ok(())
});

host_function!(proxy_get_property(path: *const u8, path_size: usize, data: *mut *mut u8, size: *mut usize) |host| {
    // SAFETY: the module passes its own bytes.
    let path = unsafe { bytes(path, path_size) };
    let vm_id = (path == b"plugin_vm_id").then(|| host.vm_id.as_bytes().to_vec());
    let value = vm_id.map_or_else(|| host.streams.property(path), Ok)?;
    // SAFETY: the module passes pointers to a pointer and a size.
    unsafe { return_bytes(&value, data, size) };
    Ok(())
});

host_function!(proxy_call_foreign_function(name: *const u8, name_size: usize, arguments: *const u8, arguments_size: usize,
    data: *mut *mut u8, size: *mut usize) |host| {
    // SAFETY: the module passes its own bytes.
    let (name, arguments) = unsafe { (text(name, name_size), bytes(arguments, arguments_size)) };
    let result = host.streams.foreign_function(&name, arguments)?;
    // SAFETY: the module passes pointers to a pointer and a size.
    unsafe { return_bytes(&result, data, size) };
    Ok(())
});

host_function!(proxy_register_shared_queue(name: *const u8, name_size: usize, token: *mut u32) |host| {
    // SAFETY: the module passes its own bytes and a pointer to a number.
    unsafe { token.write(host.queues.register(&host.scoped(text(name, name_size)), &host.vm)) };
    Ok(())
});

// A queue of another `vm_id` is not found: tests enqueue as a worker with the `vm_id` of the service.
host_function!(proxy_resolve_shared_queue(_vm_id: *const u8, _vm_id_size: usize, name: *const u8, name_size: usize,
    token: *mut u32) |host| {
    // SAFETY: the module passes its own bytes and a pointer to a number.
    unsafe { token.write(host.queues.resolve(&host.scoped(text(name, name_size)))?) };
    Ok(())
});

host_function!(proxy_enqueue_shared_queue(token: u32, data: *const u8, size: usize) |host| {
    // SAFETY: the module passes its own bytes.
    host.queues.enqueue(token, unsafe { bytes(data, size) })
});

host_function!(proxy_dequeue_shared_queue(token: u32, data: *mut *mut u8, size: *mut usize) |host| {
    let item = host.queues.dequeue(token)?;
    // SAFETY: the module passes pointers to a pointer and a size.
    unsafe { return_bytes(&item, data, size) };
    Ok(())
});

host_function!(proxy_get_shared_data(key: *const u8, key_size: usize, data: *mut *mut u8, size: *mut usize, cas: *mut u32)
    |host| {
    // SAFETY: the module passes its own bytes.
    let (value, version) = host.store.get(&host.scoped(unsafe { text(key, key_size) }))?;
    // SAFETY: the module passes pointers to a pointer, a size and a number.
    unsafe {
        return_bytes(&value, data, size);
        cas.write(version);
    }
    Ok(())
});

host_function!(proxy_set_shared_data(key: *const u8, key_size: usize, data: *const u8, size: usize, cas: u32) |host| {
    // SAFETY: the module passes its own bytes.
    let (key, value) = unsafe { (text(key, key_size), bytes(data, size)) };
    host.store.set(&host.scoped(key), value, cas)
});

host_function!(proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32) |host| {
    // SAFETY: the module passes its own bytes and a pointer to a number.
    unsafe { id.write(host.stats.define(kind, text(name, name_size))?) };
    Ok(())
});

host_function!(proxy_increment_metric(id: u32, offset: i64) |host| {
    let more = u64::try_from(offset).ok().filter(|more| *more > 0).ok_or(Status::BadArgument)?;
    host.stats.increment(id, more)
});

host_function!(proxy_record_metric(id: u32, value: u64) |host| { host.stats.record(id, value) });

host_function!(proxy_get_metric(id: u32, value: *mut u64) |host| {
    // SAFETY: the module passes a pointer to a number.
    unsafe { value.write(host.stats.read(id)?) };
    Ok(())
});

host_function!(proxy_http_call(cluster: *const u8, cluster_size: usize, headers: *const u8, headers_size: usize,
    body: *const u8, body_size: usize, _trailers: *const u8, _trailers_size: usize, timeout_ms: u32, token: *mut u32) |host| {
    if let Some(status) = host.reject_calls {
        return Err(status);
    }
    // SAFETY: the module passes its own bytes.
    let (cluster, headers, body) =
        unsafe { (text(cluster, cluster_size), bytes(headers, headers_size), bytes(body, body_size).to_vec()) };
    let timeout = Duration::from_millis(timeout_ms.into());
    let number = super::next_call_token();
    host.calls_in_flight.insert(number);
    host.posts.push(FakePost { token: number, cluster, headers: texts(headers), body, timeout });
    // SAFETY: the module passes a pointer to a number.
    unsafe { token.write(number) };
    Ok(())
});

host_function!(proxy_set_effective_context(context: u32) |host| { host.streams.enter(context) });

unused!(
    proxy_close_stream,
    proxy_continue_stream,
    proxy_done,
    proxy_get_status,
    proxy_grpc_call,
    proxy_grpc_cancel,
    proxy_grpc_close,
    proxy_grpc_send,
    proxy_grpc_stream,
    proxy_set_header_map_pairs,
    proxy_set_property
);

/// Writes different bytes in each call, the same sequence in each process.
#[unsafe(no_mangle)]
unsafe extern "C" fn random_get(data: *mut u8, size: usize) -> u32 {
    // SAFETY: the module passes a pointer to `size` bytes.
    let bytes = unsafe { slice::from_raw_parts_mut(data, size) };
    with(|host| {
        if host.called("random_get").is_err() {
            return WASI_WITHHELD;
        }
        for byte in bytes {
            // Knuth's linear congruential generator: its upper bits suffice for names and seeds in tests.
            host.randomness = host
                .randomness
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let [first, ..] = host.randomness.to_be_bytes();
            *byte = first;
        }
        0
    })
}

fn number(result: Result<(), Status>) -> u32 {
    result.map_or_else(|status| status as u32, |()| Status::Ok as u32)
}

/// # Safety
/// `data` points to `size` bytes.
unsafe fn bytes<'a>(data: *const u8, size: usize) -> &'a [u8] {
    // SAFETY: the caller guarantees this, as required above.
    if size == 0 { &[] } else { unsafe { slice::from_raw_parts(data, size) } }
}

/// # Safety
/// The caller must guarantee the same as for [`bytes`].
unsafe fn text(data: *const u8, size: usize) -> String {
    // SAFETY: the caller guarantees this, as required above.
    String::from_utf8_lossy(unsafe { bytes(data, size) }).into_owned()
}

/// Returns the names and values of a header map in the wire format.
fn texts(wire: &[u8]) -> Vec<(String, String)> {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Pairs::read(wire).into_iter().flatten().map(|(name, value)| (text(name), text(value))).collect()
}

/// Returns bytes to the module in memory from its allocator. Like Envoy, it allocates no memory for an empty
/// value.
///
/// # Safety
/// `data` and `size` are valid pointers.
unsafe fn return_bytes(value: &[u8], data: *mut *mut u8, size: *mut usize) {
    // SAFETY: the allocator returns memory of the requested size.
    unsafe {
        let pointer = if value.is_empty() {
            std::ptr::null_mut()
        } else {
            let pointer = proxy_on_memory_allocate(value.len());
            pointer.copy_from_nonoverlapping(value.as_ptr(), value.len());
            pointer
        };
        data.write(pointer);
        size.write(value.len());
    }
}

impl FakeHost {
    /// Records a call. Fails if the function is withheld.
    fn called(&mut self, function: &'static str) -> Result<(), Status> {
        if self.is_cut_off || self.withheld.contains(function) {
            Err(Status::InternalFailure)
        } else {
            Ok(())
        }
    }

    fn buffer(&self, kind: u32) -> Result<&[u8], Status> {
        match kind {
            kind if kind == BufferType::PluginConfiguration as u32 => Ok(&self.configuration),
            kind if kind == BufferType::HttpCallResponseBody as u32 => {
                Ok(&self.response.as_ref().ok_or(Status::NotFound)?.body)
            }
            _ => Ok(&self.bytes),
        }
    }
}
