//! Latency at a fixed rate below saturation, corrected for coordinated omission.
//!
//! Each connection has a schedule. The latency of a request starts when it was due, not when it was sent: a
//! late response delays the requests after it, whose clients wait too.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::metric_set::HEADER;

/// Requests per second of all connections together: at most a tenth of the capacity of one worker.
pub(crate) const RATE: u32 = 2_000;
const CONNECTIONS: u32 = 4;
const MEASURED: Duration = Duration::from_secs(3);
/// The time before a request is due that is spent spinning, since sleeping is less exact.
const SPIN: Duration = Duration::from_micros(200);
const TIMEOUT: Duration = Duration::from_secs(10);
const READ_BYTES: usize = 4096;

/// Percentiles of one measurement, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

/// Measures at [`RATE`].
pub(crate) async fn measure(target: SocketAddr) -> Result<Latency> {
    let start = Instant::now() + Duration::from_millis(10);
    let connections: Vec<_> = (0..CONNECTIONS)
        .map(|number| tokio::task::spawn_blocking(move || send(target, start, number)))
        .collect();
    let mut all = Vec::new();
    for connection in connections {
        all.extend(connection.await??);
    }
    all.sort_unstable();
    Ok(Latency { p50_us: percentile(&all, 50)?, p99_us: percentile(&all, 99)? })
}

/// Sends the requests of one connection by its schedule, and returns their latencies.
fn send(target: SocketAddr, start: Instant, number: u32) -> Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(target)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let request = format!("GET / HTTP/1.1\r\nhost: bench\r\n{}: {}\r\n\r\n", HEADER.0, HEADER.1);
    let mut buffer = [0; READ_BYTES];
    let mut latencies = Vec::new();
    for round in 0.. {
        let due = Duration::from_secs(1) * (round * CONNECTIONS + number) / RATE;
        if due > MEASURED {
            break;
        }
        wait_until(start + due);
        stream.write_all(request.as_bytes())?;
        let mut length = 0;
        while !is_complete(buffer.get(..length).unwrap_or_default()) {
            let space = buffer.get_mut(length..).filter(|space| !space.is_empty());
            let read = stream.read(space.context("a response is longer than expected")?)?;
            ensure!(read > 0, "Envoy closed the connection");
            length += read;
        }
        latencies.push(Instant::now().saturating_duration_since(start + due));
    }
    Ok(latencies)
}

/// Whether this is a complete response of the benchmark's Envoy.
fn is_complete(response: &[u8]) -> bool {
    response.ends_with(b"\r\n\r\nok")
}

fn wait_until(due: Instant) {
    if let Some(sleep) = due.saturating_duration_since(Instant::now()).checked_sub(SPIN) {
        std::thread::sleep(sleep);
    }
    while Instant::now() < due {
        std::hint::spin_loop();
    }
}

/// A percentile of sorted latencies, in microseconds.
fn percentile(sorted: &[Duration], percent: usize) -> Result<f64> {
    let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    Ok(sorted.get(at).context("no request was sent")?.as_secs_f64() * 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_smallest_value_that_this_share_does_not_exceed() {
        let sorted: Vec<_> = (1..=200).map(Duration::from_micros).collect();
        assert_eq!(percentile(&sorted, 50).unwrap().round(), 100.0);
        assert_eq!(percentile(&sorted, 99).unwrap().round(), 198.0);
        assert!(percentile(&[], 50).is_err());
    }

    #[test]
    fn a_response_is_complete_with_its_body() {
        assert!(is_complete(b"HTTP/1.1 200 OK\r\n\r\nok"));
        assert!(!is_complete(b"HTTP/1.1 200 OK\r\n\r\no"));
    }
}
