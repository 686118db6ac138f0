//! An HTTP/1.1 load generator that knows exactly what it sent and what became of it.

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

/// A number of requests to send.
#[derive(Debug, Clone)]
pub struct Load {
    /// Where to send them.
    pub target: SocketAddr,
    /// Over how many connections at once; each keeps alive as long as its requests let it.
    pub connections: usize,
    /// How many requests in all.
    pub requests: u64,
    /// Which requests.
    pub mix: Mix,
    /// How long all of it may take.
    pub limit: Duration,
}

impl Load {
    /// `requests` requests of `mix` over 16 connections, for at most a minute and a millisecond for each.
    pub fn new(target: SocketAddr, requests: u64, mix: Mix) -> Self {
        let limit = Duration::from_secs(60) + Duration::from_millis(requests);
        Self { target, connections: 16, requests, mix, limit }
    }

    /// Sends everything and waits for every outcome; `progress` is told now and then how many are done.
    ///
    /// A request that meets an unforeseen end (the connection refused or cut off) is in the tally as failed: it is
    /// not an error here and never sent again.
    ///
    /// # Errors
    /// The load is not through in time.
    pub async fn run(&self, progress: impl FnMut(u64)) -> Result<Tally> {
        self.drive(self.shared(), progress).await
    }

    /// Begins to send, while the caller does something else.
    pub fn start(self) -> Running {
        let shared = self.shared();
        let task = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move { self.drive(shared, |_| ()).await }
        });
        Running { shared, task }
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
                    bail!("only {done} of {} requests were through after {:?}", self.requests, self.limit);
                }
            }
        }
        progress(shared.done.load(Ordering::Relaxed));
        tally.elapsed = start.elapsed();
        Ok(tally)
    }
}

/// A load under way; dropping it lets it go on.
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    task: JoinHandle<Result<Tally>>,
}

impl Running {
    /// Waits until so many more requests are through.
    ///
    /// # Errors
    /// They are not in time.
    pub async fn wait_for_more(&self, requests: u64, limit: Duration) -> Result<()> {
        let done = || self.shared.done.load(Ordering::Relaxed);
        let enough = done().saturating_add(requests);
        poll::until("more requests", limit, async || Ok(Seen::when(done() >= enough, done()))).await?;
        Ok(())
    }

    /// Begins no further request, and waits for those that were begun.
    ///
    /// # Errors
    /// The load was not through in time.
    pub async fn stop(self) -> Result<Tally> {
        self.shared.requests.store(0, Ordering::Relaxed);
        self.task.await?
    }
}

/// What the senders of one load share.
#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    /// How many in all; 0 once it was stopped.
    requests: AtomicU64,
    mix: Mix,
    next: AtomicU64,
    done: AtomicU64,
}

/// Sends over one connection (a new one whenever it ends) until no request is left.
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
