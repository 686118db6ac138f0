//! An HTTP/1.1 load generator, which counts exactly how many requests it sent and how each request ended.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::task::{JoinHandle, JoinSet};

use crate::poll::{self, Seen};

mod client;
mod mix;
mod tally;

pub use mix::{Ending, Mix, Shape};
pub use tally::{ShapeTally, Tally};

use client::Client;

/// How often the progress of a load is reported.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// A number of requests to one server.
#[derive(Debug, Clone)]
pub struct Load {
    /// The address of the server.
    pub target: SocketAddr,
    /// The number of concurrent connections. Each connection is kept alive as long as its requests allow.
    pub connections: usize,
    /// The total number of requests.
    pub requests: u64,
    /// The kinds of requests.
    pub mix: Mix,
    /// The time limit for the whole load.
    pub limit: Duration,
}

impl Load {
    /// Creates a load of `requests` requests of `mix` over 16 connections. Its time limit is one minute
    /// plus one millisecond per request.
    pub fn new(target: SocketAddr, requests: u64, mix: Mix) -> Self {
        let limit = Duration::from_secs(60) + Duration::from_millis(requests);
        Self { target, connections: 16, requests, mix, limit }
    }

    /// Sends all requests and waits for every outcome. Calls `progress` ten times a second with the number
    /// of finished requests.
    ///
    /// A request with an unexpected end (connection refused or closed) is tallied as failed. It is not an
    /// error and is not sent again. Fails if the load does not finish within its time limit.
    pub async fn run(&self, progress: impl FnMut(u64)) -> Result<Tally> {
        self.drive(self.shared(), progress).await
    }

    /// Starts sending in the background.
    pub fn start(self) -> RunningLoad {
        let shared = self.shared();
        let task = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move { self.drive(shared, |_| ()).await }
        });
        RunningLoad { shared, task }
    }

    fn shared(&self) -> Arc<Shared> {
        Arc::new(Shared {
            target: self.target,
            requests: AtomicU64::new(self.requests),
            mix: self.mix.clone(),
            next: AtomicU64::new(0),
            done: AtomicU64::new(0),
        })
    }

    async fn drive(&self, shared: Arc<Shared>, mut progress: impl FnMut(u64)) -> Result<Tally> {
        let start = Instant::now();
        let deadline = tokio::time::Instant::now() + self.limit;
        let mut senders = JoinSet::new();
        for _ in 0..self.connections {
            senders.spawn(send(Arc::clone(&shared)));
        }
        let mut ticks = tokio::time::interval(PROGRESS_INTERVAL);
        let mut tally = Tally::default();
        loop {
            tokio::select! {
                ended = senders.join_next() => match ended {
                    Some(part) => tally.merge(part?),
                    None => break,
                },
                _ = ticks.tick() => progress(shared.done.load(Ordering::Relaxed)),
                () = tokio::time::sleep_until(deadline) => {
                    let done = shared.done.load(Ordering::Relaxed);
                    bail!("only {done} of {} requests finished in {:?}", self.requests, self.limit);
                }
            }
        }
        progress(shared.done.load(Ordering::Relaxed));
        tally.elapsed = start.elapsed();
        Ok(tally)
    }
}

/// A load in progress; dropping it does not stop the load.
#[derive(Debug)]
pub struct RunningLoad {
    shared: Arc<Shared>,
    task: JoinHandle<Result<Tally>>,
}

impl RunningLoad {
    /// Waits until `requests` more requests have finished.
    pub async fn wait_for_more(&self, requests: u64, limit: Duration) -> Result<()> {
        let done = || self.shared.done.load(Ordering::Relaxed);
        let enough = done().saturating_add(requests);
        poll::until("more requests", limit, async || Ok(Seen::when(done() >= enough, done()))).await?;
        Ok(())
    }

    /// Stops sending new requests, and waits for the requests in progress.
    pub async fn stop(self) -> Result<Tally> {
        self.shared.requests.store(0, Ordering::Relaxed);
        self.task.await?
    }
}

/// State shared by the connections of one load.
#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    /// The total number of requests; 0 after a stop.
    requests: AtomicU64,
    mix: Mix,
    next: AtomicU64,
    done: AtomicU64,
}

/// Sends requests over one connection until no request is left. Opens a new connection whenever the
/// connection ends.
async fn send(shared: Arc<Shared>) -> Tally {
    let mut client = Client::new(shared.target);
    let mut counts = vec![ShapeTally::default(); shared.mix.shapes().len()];
    let mut first_failure = None;
    loop {
        let index = shared.next.fetch_add(1, Ordering::Relaxed);
        if index >= shared.requests.load(Ordering::Relaxed) {
            break;
        }
        let (position, shape) = shared.mix.pick(index);
        let outcome = client.send(shape, index).await;
        if let Some(count) = counts.get_mut(position) {
            if let Err(error) = &outcome {
                first_failure.get_or_insert_with(|| format!("{}: {error:#}", shape.name()));
            }
            count.add(outcome.ok());
        }
        shared.done.fetch_add(1, Ordering::Relaxed);
    }
    let names = shared.mix.shapes().iter().map(|shape| shape.name().to_owned());
    let shapes = names.zip(counts).collect();
    Tally { shapes, connections: client.connections(), first_failure, elapsed: Duration::ZERO }
}

#[cfg(test)]
mod tests;
