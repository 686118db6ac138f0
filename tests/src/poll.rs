//! Waiting: polls until a condition is true. If this takes too long, the error contains the last observed
//! state.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The pause between the first two probes. Each further pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
/// The longest pause between two probes.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// How long one step of a test may take.
pub const LIMIT: Duration = Duration::from_secs(60);

/// The result of one probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen<T> {
    /// The awaited state was reached, with this value.
    Ready(T),
    /// The awaited state was not reached; the text describes the current state.
    Pending(String),
}

impl<T> Seen<T> {
    /// Returns `Ready(value)` if `holds` is true, otherwise `Pending` with the value in its `Debug` form.
    pub fn when(holds: bool, value: T) -> Self
    where
        T: std::fmt::Debug,
    {
        if holds { Self::Ready(value) } else { Self::Pending(format!("{value:?}")) }
    }
}

/// Calls `probe` until it returns `Ready`, for at most `limit`; `what` names the awaited state in the error.
///
/// The probe runs at least once. An error of the probe ends the wait; if the state may still change, the
/// probe must return `Pending` instead.
///
/// # Errors
/// The probe's own error, or an error that contains `what`, the time waited and the state that the last
/// probe returned.
pub async fn until<T>(
    what: &str,
    limit: Duration,
    mut probe: impl AsyncFnMut() -> Result<Seen<T>>,
) -> Result<T> {
    let start = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let seen = match probe().await? {
            Seen::Ready(value) => return Ok(value),
            Seen::Pending(seen) => seen,
        };
        let waited = start.elapsed();
        if waited >= limit {
            bail!("waited {:.1} s for {what}; last seen: {seen}", waited.as_secs_f64());
        }
        tokio::time::sleep(pause.min(limit.saturating_sub(waited))).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Awaits `future` for at most `limit`; `what` names the awaited event in the error.
pub(crate) async fn within<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(limit, future).await.with_context(|| format!("waited {limit:?} for {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn gives_back_the_value_of_the_first_ready_probe() {
        let mut probes = 0;
        let value = until("the third probe", Duration::from_secs(5), async || {
            probes += 1;
            Ok(Seen::when(probes == 3, probes))
        });
        assert_eq!(value.await.unwrap(), 3);
    }

    #[tokio::test]
    async fn an_expired_wait_reports_the_awaited_and_the_last_state() {
        let never = until("a second moon", Duration::from_millis(10), async || Ok(Seen::when(false, 1)));
        let error = never.await.unwrap_err().to_string();
        assert!(error.contains("a second moon") && error.contains("last seen: 1"), "{error}");
    }

    #[tokio::test]
    async fn an_error_of_the_probe_ends_the_wait_at_once() {
        let start = Instant::now();
        let broken =
            until::<()>("anything", Duration::from_secs(60), async || bail!("the process has exited"));
        assert_eq!(broken.await.unwrap_err().to_string(), "the process has exited");
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}
