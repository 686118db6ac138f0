//! The same functions as `abi` has, on this thread's [`FakeHost`](super::FakeHost).

use std::time::Duration;

use super::{FakePost, with};
use crate::headers::Side;
use crate::logging::Level;
use crate::pairs;
use crate::stats::Kind;
use crate::status::Status;
use crate::stream::Bytes;

pub(crate) fn log(level: Level, message: &str) {
    with(|host| host.log.push((level, message.to_owned())));
}

pub(crate) fn log_level() -> Result<u32, Status> {
    Ok(Level::Trace.number())
}

pub(crate) fn now_unix_nano() -> Result<u64, Status> {
    Ok(with(|host| {
        let now = host.now_unix_nano;
        host.now_unix_nano = now.saturating_add(host.clock_step_ns);
        now
    }))
}

/// Not random: each call gives other bytes, and each process the same ones in turn.
pub(crate) fn random(bytes: &mut [u8]) -> Result<(), Status> {
    with(|host| {
        for byte in bytes {
            // Knuth's linear congruential generator; its upper bits are good enough for names and seeds in tests.
            host.randomness = host
                .randomness
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *byte = host.randomness.to_be_bytes().first().copied().unwrap_or(0);
        }
    });
    Ok(())
}

pub(crate) fn set_tick_period(period_ms: u32) -> Result<(), Status> {
    with(|host| host.tick_period = Some(Duration::from_millis(period_ms.into())));
    Ok(())
}

pub(crate) fn plugin_configuration(bytes_max: usize) -> Result<Vec<u8>, Status> {
    with(|host| Ok(host.configuration.iter().copied().take(bytes_max).collect()))
}

pub(crate) fn http_call_body(bytes_max: usize) -> Result<Vec<u8>, Status> {
    with(|host| {
        let answer = host.answer.as_ref().ok_or(Status::BadArgument)?;
        Ok(answer.body.iter().copied().take(bytes_max).collect())
    })
}

pub(crate) fn http_call_header(name: &str) -> Result<Vec<u8>, Status> {
    with(|host| {
        let answer = host.answer.as_ref().ok_or(Status::BadArgument)?;
        answer.headers.get(name).cloned().ok_or(Status::NotFound)
    })
}

pub(crate) fn headers(side: Side) -> Result<Vec<u8>, Status> {
    with(|host| {
        if let Some(wire) = &host.wire_headers {
            return Ok(wire.clone());
        }
        let headers = host.headers.entry(side).or_default();
        let pairs: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        Ok(pairs::encode(&pairs))
    })
}

pub(crate) fn append_header(side: Side, name: &str, value: &[u8]) -> Result<(), Status> {
    let value = String::from_utf8_lossy(value).into_owned();
    with(|host| host.headers.entry(side).or_default().push((name.to_owned(), value)));
    Ok(())
}

pub(crate) fn set_header(side: Side, name: &str, value: &[u8]) -> Result<(), Status> {
    remove_header(side, name)?;
    append_header(side, name, value)
}

pub(crate) fn remove_header(side: Side, name: &str) -> Result<(), Status> {
    with(|host| host.headers.entry(side).or_default().retain(|(other, _)| other != name));
    Ok(())
}

pub(crate) fn respond(
    status: u16,
    headers: &[(&str, &str)],
    body: &[u8],
    _details: &str,
) -> Result<(), Status> {
    with(|host| {
        host.responses.push((status, String::from_utf8_lossy(body).into_owned()));
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        host.response_headers = headers.iter().map(pair).collect();
    });
    Ok(())
}

pub(crate) fn bytes_under_way(_bytes: Bytes, start: usize, bytes_max: usize) -> Result<Vec<u8>, Status> {
    with(|host| Ok(host.bytes.iter().copied().skip(start).take(bytes_max).collect()))
}

pub(crate) fn remove_bytes(_bytes: Bytes, size: usize) -> Result<(), Status> {
    with(|host| drop(host.bytes.drain(..size.min(host.bytes.len()))));
    Ok(())
}

pub(crate) fn property(path: &[u8]) -> Result<Vec<u8>, Status> {
    with(|host| host.streams.property(path))
}

pub(crate) fn foreign_function(name: &str, arguments: &[u8]) -> Result<Vec<u8>, Status> {
    with(|host| host.streams.foreign_function(name, arguments))
}

pub(crate) fn register_queue(name: &str) -> Result<u32, Status> {
    with(|host| Ok(host.queues.register(name, &host.vm)))
}

/// All VMs of the fake have one `vm_id`.
pub(crate) fn resolve_queue(_vm_id: &str, name: &str) -> Result<u32, Status> {
    with(|host| host.queues.resolve(name))
}

pub(crate) fn enqueue(token: u32, item: &[u8]) -> Result<(), Status> {
    with(|host| host.queues.enqueue(token, item))
}

pub(crate) fn dequeue(token: u32) -> Result<Vec<u8>, Status> {
    with(|host| host.queues.dequeue(token))
}

pub(crate) fn shared_data(key: &str) -> Result<(Vec<u8>, u32), Status> {
    with(|host| host.store.get(key))
}

pub(crate) fn set_shared_data(key: &str, value: &[u8], version: u32) -> Result<(), Status> {
    with(|host| host.store.set(key, value, version))
}

/// Each definition gives another number for the same statistic.
pub(crate) fn define_metric(_kind: Kind, name: &str) -> Result<u32, Status> {
    with(|host| {
        host.stat_names.push(name.to_owned());
        u32::try_from(host.stat_names.len()).map_err(|_| Status::BadArgument)
    })
}

pub(crate) fn increment_metric(id: u32, offset: i64) -> Result<(), Status> {
    let more = u64::try_from(offset).ok().filter(|more| *more > 0).ok_or(Status::BadArgument)?;
    change_metric(id, |value| value.saturating_add(more))
}

pub(crate) fn record_metric(id: u32, value: u64) -> Result<(), Status> {
    change_metric(id, |_| value)
}

pub(crate) fn metric(id: u32) -> Result<u64, Status> {
    with(|host| {
        let index = usize::try_from(id).ok().and_then(|id| id.checked_sub(1));
        let name = index.and_then(|index| host.stat_names.get(index)).ok_or(Status::BadArgument)?;
        Ok(host.stat(name))
    })
}

pub(crate) fn http_call(
    cluster: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    timeout: Duration,
) -> Result<u32, Status> {
    with(|host| {
        if let Some(status) = host.refuse_calls {
            return Err(status);
        }
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        host.posts.push(FakePost { cluster: cluster.to_owned(), headers, body: body.to_vec(), timeout });
        u32::try_from(host.posts.len()).map_err(|_| Status::InternalFailure)
    })
}

/// From now on the attributes are those of another stream that the host knows.
pub(crate) fn set_effective_context(context: u32) -> Result<(), Status> {
    with(|host| host.streams.enter(context))
}

fn change_metric(id: u32, change: impl FnOnce(u64) -> u64) -> Result<(), Status> {
    with(|host| {
        let index = usize::try_from(id).ok().and_then(|id| id.checked_sub(1));
        let name = index.and_then(|index| host.stat_names.get(index)).ok_or(Status::BadArgument)?;
        let value = host.stats.entry(name.clone()).or_default();
        *value = change(*value);
        Ok(())
    })
}
