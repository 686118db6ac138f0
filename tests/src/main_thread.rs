//! How long Envoy's main thread is busy at a stretch: from an event to its being ready for the next.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use crate::admin::{Admin, Buckets};
use crate::config::EnvoyConfig;
use crate::poll::{self, Seen};

/// Envoy's name for the time from an event of the main thread to its waiting for the next, in microseconds.
const HISTOGRAM: &str = "server.dispatcher.loop_duration_us";
/// Bounds of its buckets, in microseconds: how exactly [`Stretches`] tell.
const BOUNDS_US: [u32; 25] = [
    100,
    250,
    500,
    750,
    1_000,
    1_250,
    1_500,
    1_750,
    2_000,
    2_500,
    3_000,
    4_000,
    5_000,
    6_000,
    8_000,
    10_000,
    12_000,
    16_000,
    24_000,
    32_000,
    64_000,
    128_000,
    256_000,
    512_000,
    1_000_000_000,
];
/// Envoy's histograms are as of its last flush of statistics.
const FLUSH_INTERVAL: &str = "0.5s";
const LIMIT: Duration = Duration::from_secs(10);

/// What the main thread did up to a moment.
#[derive(Debug, Clone)]
pub struct MainThread {
    admin: Admin,
    before: Buckets,
}

/// For how long the main thread was busy at a stretch, over a while.
#[derive(Debug, Clone, PartialEq)]
pub struct Stretches {
    /// How many there were up to each bound, in microseconds.
    buckets: Buckets,
}

impl MainThread {
    /// Has Envoy measure its main thread.
    #[must_use]
    pub fn measured(config: EnvoyConfig) -> EnvoyConfig {
        let setting = json!({"match": {"exact": HISTOGRAM}, "buckets": BOUNDS_US});
        config
            .set("enable_dispatcher_stats", true)
            .set("stats_flush_interval", FLUSH_INTERVAL)
            .set("stats_config", json!({"histogram_bucket_settings": [setting]}))
    }

    /// Measures from now on, in an Envoy whose configuration is [`measured`](Self::measured).
    ///
    /// # Errors
    /// It is not, or the admin interface does not answer.
    pub async fn from_now(admin: &Admin) -> Result<Self> {
        let before = flushed(admin).await?;
        Ok(Self { admin: admin.clone(), before })
    }

    /// What it did since.
    ///
    /// # Errors
    /// The admin interface does not answer.
    pub async fn stretches(&self) -> Result<Stretches> {
        let after = flushed(&self.admin).await?;
        let since = after.iter().zip(&self.before).map(|((bound, now), (_, then))| (*bound, now - then));
        Ok(Stretches { buckets: since.collect() })
    }
}

impl Stretches {
    /// How many stretches there were.
    pub fn count(&self) -> u64 {
        self.buckets.last().map_or(0, |(_, count)| *count)
    }

    /// How many were longer than the greatest bound that is not above this.
    pub fn longer_than(&self, bound: Duration) -> u64 {
        let up_to = self.buckets.iter().rev().find(|(us, _)| *us <= bound.as_secs_f64() * 1e6);
        self.count() - up_to.map_or(0, |(_, count)| *count)
    }

    /// The longest, rounded up to a bound.
    pub fn longest(&self) -> Duration {
        let longest = self.buckets.iter().find(|(_, count)| *count == self.count());
        Duration::from_secs_f64(longest.map_or(0.0, |(us, _)| us / 1e6))
    }
}

impl fmt::Display for Stretches {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} stretches, the longest {:?}", self.count(), self.longest())?;
        for ms in [1, 2, 5, 10] {
            write!(out, ", {} over {ms} ms", self.longer_than(Duration::from_millis(ms)))?;
        }
        Ok(())
    }
}

/// The histogram with everything until now: asking for it is an event too, so it grows with the next flush.
async fn flushed(admin: &Admin) -> Result<Buckets> {
    let before = read(admin).await?;
    let count = |buckets: &Buckets| buckets.last().map_or(0, |(_, count)| *count);
    poll::until("Envoy to flush its statistics", LIMIT, async || {
        let now = read(admin).await?;
        Ok(if count(&now) > count(&before) {
            Seen::Ready(now)
        } else {
            Seen::Pending(format!("{} stretches", count(&now)))
        })
    })
    .await
}

async fn read(admin: &Admin) -> Result<Buckets> {
    admin.buckets(HISTOGRAM).await?.with_context(|| format!("Envoy has no {HISTOGRAM}: is it measured?"))
}
