//! Durations of the event loop of Envoy's main thread: how long it blocks before it is ready for the next
//! event.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use crate::admin::{Admin, CumulativeBuckets};
use crate::config::EnvoyConfig;
use crate::poll::{self, Seen};

/// Envoy's histogram of the duration of each iteration of the main thread's event loop, in microseconds.
const HISTOGRAM: &str = "server.dispatcher.loop_duration_us";
/// The bounds of the histogram's buckets, in microseconds: the resolution of [`LoopDurations`].
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
    u32::MAX,
];
/// The interval at which Envoy flushes its statistics. Its histograms show the state of the last flush.
const FLUSH_INTERVAL: &str = "0.5s";
const LIMIT: Duration = Duration::from_secs(10);

/// A measurement of the main thread's event loop: the histogram at its start.
#[derive(Debug, Clone)]
pub struct EventLoopMonitor {
    admin: Admin,
    before: CumulativeBuckets,
}

/// The durations of the iterations of the main thread's event loop in a period of time.
#[derive(Debug, Clone, PartialEq)]
pub struct LoopDurations {
    buckets: CumulativeBuckets,
}

impl EventLoopMonitor {
    /// Enables Envoy's statistics of its event loop.
    #[must_use]
    pub fn measured(config: EnvoyConfig) -> EnvoyConfig {
        let setting = json!({"match": {"exact": HISTOGRAM}, "buckets": BOUNDS_US});
        config
            .set("enable_dispatcher_stats", true)
            .set("stats_flush_interval", FLUSH_INTERVAL)
            .set("stats_config", json!({"histogram_bucket_settings": [setting]}))
    }

    /// Starts a measurement, in an Envoy whose configuration is [`measured`](Self::measured).
    pub async fn from_now(admin: &Admin) -> Result<Self> {
        let before = flushed(admin).await?;
        Ok(Self { admin: admin.clone(), before })
    }

    /// Reads the durations since the start of the measurement.
    pub async fn durations(&self) -> Result<LoopDurations> {
        let after = flushed(&self.admin).await?;
        let since = after.iter().zip(&self.before).map(|((bound, now), (_, then))| (*bound, now - then));
        Ok(LoopDurations { buckets: since.collect() })
    }
}

impl LoopDurations {
    /// Returns the number of iterations.
    pub fn count(&self) -> u64 {
        self.buckets.last().map_or(0, |(_, count)| *count)
    }

    /// Returns the number of iterations longer than `bound`, which is rounded down to a bound of the
    /// buckets.
    pub fn longer_than(&self, bound: Duration) -> u64 {
        let up_to = self.buckets.iter().rev().find(|(us, _)| *us <= bound.as_secs_f64() * 1e6);
        self.count() - up_to.map_or(0, |(_, count)| *count)
    }

    /// Returns the longest iteration, rounded up to a bound of the buckets.
    pub fn longest(&self) -> Duration {
        let longest = self.buckets.iter().find(|(_, count)| *count == self.count());
        Duration::from_secs_f64(longest.map_or(0.0, |(us, _)| us / 1e6))
    }
}

impl fmt::Display for LoopDurations {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} iterations, the longest {:?}", self.count(), self.longest())?;
        for ms in [1, 2, 5, 10] {
            write!(out, ", {} over {ms} ms", self.longer_than(Duration::from_millis(ms)))?;
        }
        Ok(())
    }
}

/// Reads the histogram after the next flush of statistics. The flush has happened when the count has grown,
/// because each read is an event, too.
async fn flushed(admin: &Admin) -> Result<CumulativeBuckets> {
    let before = read(admin).await?;
    let count = |buckets: &CumulativeBuckets| buckets.last().map_or(0, |(_, count)| *count);
    poll::until("Envoy to flush its statistics", LIMIT, async || {
        let now = read(admin).await?;
        Ok(if count(&now) > count(&before) {
            Seen::Ready(now)
        } else {
            Seen::Pending(format!("{} iterations", count(&now)))
        })
    })
    .await
}

async fn read(admin: &Admin) -> Result<CumulativeBuckets> {
    admin.buckets(HISTOGRAM).await?.with_context(|| format!("Envoy has no {HISTOGRAM}: is it measured?"))
}
