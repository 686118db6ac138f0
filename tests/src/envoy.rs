//! A real Envoy that runs a configuration.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::admin::Admin;
use crate::config::EnvoyConfig;
use crate::poll::Seen;
use crate::process::ServerProcess;
use crate::tools;

/// How to start an Envoy.
#[derive(Debug, Clone)]
pub struct EnvoyOptions {
    /// How many worker threads it has.
    pub concurrency: u32,
    /// Further arguments, such as `--log-level debug`.
    pub arguments: Vec<String>,
    /// A program to run it under, with that program's arguments; none to run it directly.
    pub launcher: Vec<OsString>,
    /// How long it may take until it is ready.
    pub ready_limit: Duration,
}

/// A running Envoy; dropping it kills it.
#[derive(Debug)]
pub struct Envoy {
    process: ServerProcess,
    config: EnvoyConfig,
    admin: Admin,
}

impl Default for EnvoyOptions {
    fn default() -> Self {
        Self {
            concurrency: 2,
            arguments: Vec::new(),
            launcher: Vec::new(),
            ready_limit: Duration::from_secs(60),
        }
    }
}

impl EnvoyOptions {
    /// The defaults with another number of worker threads.
    pub fn workers(concurrency: u32) -> Self {
        Self { concurrency, ..Self::default() }
    }
}

impl Envoy {
    /// Starts an Envoy in the repository's root and waits until it is ready.
    ///
    /// # Errors
    /// There is no Envoy, the configuration has faults, or Envoy refuses it or is not ready in time; the error
    /// then shows the end of its log.
    pub async fn start(config: &EnvoyConfig, options: &EnvoyOptions) -> Result<Self> {
        let mut envoy = Self::spawn(config, options).await?;
        let admin = &envoy.admin;
        envoy
            .process
            .wait_until_ready(options.ready_limit, async || {
                Ok(if admin.is_ready().await {
                    Seen::Ready(())
                } else {
                    Seen::Pending(format!("no LIVE from {}/ready", admin.address()))
                })
            })
            .await?;
        Ok(envoy)
    }

    /// Starts an Envoy and does not wait for it: for configurations that it is to refuse.
    ///
    /// # Errors
    /// There is no Envoy, or the configuration's edits did not fit.
    pub async fn spawn(config: &EnvoyConfig, options: &EnvoyOptions) -> Result<Self> {
        let binary = tools::envoy::binary().await?;
        let directory = tempfile::tempdir().context("cannot make a directory for Envoy's configuration")?;
        let file = config.write(directory.path())?;
        let concurrency = options.concurrency.to_string();
        let mut arguments: Vec<OsString> = vec!["--config-path".into(), file.into_os_string()];
        arguments.extend(["--concurrency", &concurrency, "--disable-hot-restart"].map(Into::into));
        arguments.extend(options.arguments.iter().map(Into::into));
        let mut words = options.launcher.iter().cloned().chain([binary.into_os_string()]).chain(arguments);
        let program = PathBuf::from(words.next().unwrap_or_default());
        let process = ServerProcess::spawn("Envoy", &program, words, directory)?;
        Ok(Self { process, config: config.clone(), admin: Admin::new(config.admin_address()?) })
    }

    /// The admin interface.
    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    /// Where the listener `name` listens.
    ///
    /// # Errors
    /// The configuration has no such listener.
    pub fn listener(&self, name: &str) -> Result<SocketAddr> {
        self.config.listener_address(name)
    }

    /// The process: its log, its signals and its end.
    pub fn process(&mut self) -> &mut ServerProcess {
        &mut self.process
    }

    /// How much of the machine's memory Envoy has now, in bytes.
    ///
    /// # Errors
    /// It has ended.
    pub fn resident_bytes(&self) -> Result<u64> {
        self.process.resident_bytes()
    }

    /// Everything Envoy has logged so far.
    ///
    /// # Errors
    /// The log file cannot be read.
    pub fn log(&self) -> Result<String> {
        self.process.log()
    }

    /// Whether `text` is somewhere in the log.
    ///
    /// # Errors
    /// The log file cannot be read.
    pub fn log_contains(&self, text: &str) -> Result<bool> {
        self.process.log_contains(text)
    }

    /// Waits until a line of the log contains `text`, and gives back that line.
    ///
    /// # Errors
    /// The line did not come in time, or Envoy ended without it.
    pub async fn wait_for_log(&mut self, text: &str, limit: Duration) -> Result<String> {
        self.process.wait_for_log(text, limit).await
    }

    /// Waits until Envoy ends by itself, as it does when it refuses its configuration.
    ///
    /// # Errors
    /// It still runs after `limit`.
    pub async fn wait_for_exit(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.process.wait_for_exit(limit).await
    }

    /// Sends SIGTERM and waits until Envoy has ended; the log stays readable.
    ///
    /// # Errors
    /// It still runs after `limit`.
    pub async fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.process.terminate(limit).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_plain_envoy_starts_answers_and_ends_by_sigterm() {
        let config = EnvoyConfig::minimal().unwrap().without_wasm().free_ports();
        let mut envoy = Envoy::start(&config, &EnvoyOptions::workers(1)).await.unwrap();
        let url = format!("http://{}/health", envoy.listener("ingress").unwrap());
        assert_eq!(reqwest::get(url).await.unwrap().status(), 200);
        assert_eq!(envoy.admin().counter("http.ingress.downstream_rq_completed").await.unwrap(), 1);
        assert_eq!(envoy.admin().stats().await.unwrap().gauge("server.concurrency").unwrap(), 1);
        envoy.wait_for_log("starting main dispatch loop", LIMIT).await.unwrap();
        assert!(envoy.terminate(LIMIT).await.unwrap().success());
        assert!(envoy.log_contains("exiting").unwrap());
    }

    #[tokio::test]
    async fn a_refused_configuration_is_an_error_that_shows_the_log() {
        let config = EnvoyConfig::minimal().unwrap().without_wasm().free_ports().set("no_such_field", 1);
        let error = Envoy::start(&config, &EnvoyOptions::workers(1)).await.unwrap_err();
        assert!(format!("{error:#}").contains("no_such_field"), "{error:#}");
    }
}
