//! How long Envoy takes from its start to the first connection that it accepts.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::net::TcpStream;
use tributary_tests::config::EnvoyConfig;
use tributary_tests::envoy::{Envoy, EnvoyOptions};

const LIMIT: Duration = Duration::from_secs(60);
/// The resolution of the figure.
const PAUSE: Duration = Duration::from_millis(1);

/// Milliseconds from the start of the process to the first connection.
pub(crate) async fn measure(config: &EnvoyConfig, listener: &str) -> Result<f64> {
    let options = EnvoyOptions::workers(1);
    let started = Instant::now();
    let mut envoy = Envoy::spawn(config, &options).await?;
    let target = envoy.listener(listener)?;
    while TcpStream::connect(target).await.is_err() {
        if started.elapsed() > LIMIT || envoy.process().id().is_none() {
            bail!("Envoy accepts no connection; the end of its log:\n{}", envoy.process().log_tail());
        }
        tokio::time::sleep(PAUSE).await;
    }
    let elapsed = started.elapsed();
    envoy.process().kill().await?;
    Ok(elapsed.as_secs_f64() * 1000.0)
}
