//! How far observations have come on their way into the service, by Envoy's own statistics.

use anyhow::{Result, ensure};

use crate::admin::{Admin, Stats};
use crate::poll::{self, Seen};
use crate::scene::LIMIT;

/// Observations of one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observations {
    /// Streams that ended, as the workers saw them.
    pub observed: u64,
    /// Those of them that went into the queue.
    pub handed_over: u64,
    /// Those of them that the service has added up.
    pub aggregated: u64,
    /// Those of them in batches which never came.
    pub missing: u64,
}

impl Observations {
    /// What these statistics say.
    ///
    /// # Errors
    /// The modules are not there.
    pub fn of(stats: &Stats) -> Result<Self> {
        let part = |name: &str| stats.counter(&format!("wasmcustom.tributary_observations_{name}"));
        Ok(Self {
            observed: part("observed")?,
            handed_over: part("handed_over")?,
            aggregated: part("aggregated")?,
            missing: part("missing")?,
        })
    }

    /// Nothing is pending, nothing in the queue, nothing missing: so many requests are all added up.
    pub fn settled(requests: u64) -> Self {
        Self { observed: requests, handed_over: requests, aggregated: requests, missing: 0 }
    }

    /// Waits until an Envoy has added up exactly so many requests, with nothing on its way and nothing missing, refused or
    /// doubled.
    ///
    /// # Errors
    /// It does not in time, or says that something went wrong on the way.
    pub async fn wait_until_settled(admin: &Admin, requests: u64) -> Result<()> {
        let what = format!("{requests} observations to be added up");
        poll::until(&what, LIMIT, async || {
            let observations = Self::of(&admin.stats().await?)?;
            Ok(Seen::when(observations == Self::settled(requests), observations))
        })
        .await?;
        let stats = admin.stats().await?;
        for fault in ["batches_missing", "batches_refused", "batches_duplicate"] {
            let count = stats.counter(&format!("wasmcustom.tributary_{fault}"))?;
            ensure!(count == 0, "{fault} is {count}");
        }
        let (enqueued, received) = (
            stats.counter("wasmcustom.tributary_batches_enqueued")?,
            stats.counter("wasmcustom.tributary_batches_received")?,
        );
        ensure!(enqueued == received, "{enqueued} batches were put in, {received} came out");
        Ok(())
    }
}
