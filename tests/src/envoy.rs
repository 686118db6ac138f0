//! A real Envoy that runs a configuration.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::admin::Admin;
use crate::config::EnvoyConfig;
use crate::poll::{LIMIT, Seen};
use crate::process::ServerProcess;
use crate::tools;

/// Options of a started Envoy.
#[derive(Debug, Clone)]
pub struct EnvoyOptions {
    /// The number of worker threads.
    pub concurrency: u32,
    /// Additional arguments, such as `--log-level debug`.
    pub arguments: Vec<String>,
    /// The program that starts Envoy, with the program's arguments; empty to start Envoy directly.
    pub launcher: Vec<OsString>,
    /// How long Envoy may take to become ready.
    pub ready_limit: Duration,
    /// Whether [`Envoy::successor`] can hot restart this Envoy.
    pub hot_restart: bool,
}

/// A running Envoy; dropping it kills it. It also has the methods of its process.
#[derive(Debug)]
pub struct Envoy {
    process: ServerProcess,
    config: EnvoyConfig,
    admin: Admin,
    options: EnvoyOptions,
    /// The restart epoch of this Envoy: the number of hot restarts before it started.
    epoch: u32,
}

/// Arguments for a fast drain: a filter chain or Envoy that is replaced asks its clients at once to leave,
/// closes their connections after one second and ends after two seconds.
const FAST_DRAIN: [&str; 6] =
    ["--drain-strategy", "immediate", "--drain-time-s", "1", "--parent-shutdown-time-s", "2"];
/// The file with Envoy's base id, by which its successor finds it for a hot restart.
const BASE_ID_FILE: &str = "base-id";

/// The texts in a log that mark a failed Wasm VM: from a Rust panic, and from Envoy's report of the trap.
const TRAP: [&str; 3] = ["panicked at", "Function: proxy_", "in-VM backtrace"];

impl Default for EnvoyOptions {
    fn default() -> Self {
        Self {
            concurrency: 2,
            arguments: Vec::new(),
            launcher: Vec::new(),
            ready_limit: Duration::from_secs(60),
            hot_restart: false,
        }
    }
}

impl EnvoyOptions {
    /// Returns the default options, but with `concurrency` worker threads.
    pub fn workers(concurrency: u32) -> Self {
        Self { concurrency, ..Self::default() }
    }

    /// Like [`EnvoyOptions::workers`], but Envoy can hot restart and drains within seconds. For tests that
    /// replace listeners or hot restart.
    pub fn fast_drain(concurrency: u32) -> Self {
        Self {
            arguments: FAST_DRAIN.map(str::to_owned).into(),
            hot_restart: true,
            ..Self::workers(concurrency)
        }
    }
}

impl Envoy {
    /// Starts an Envoy in the root of the repository and waits until it is ready. If this version of Envoy
    /// cannot run the modules, the error says so.
    pub async fn start(config: &EnvoyConfig, options: &EnvoyOptions) -> Result<Self> {
        let mut envoy = Self::spawn(config, options).await?;
        envoy.wait_until_ready().await?;
        Ok(envoy)
    }

    /// Starts an Envoy, without waiting until it is ready. For configurations that Envoy must reject.
    pub async fn spawn(config: &EnvoyConfig, options: &EnvoyOptions) -> Result<Self> {
        let directory = directory()?;
        let restarts = if options.hot_restart {
            let file = directory.path().join(BASE_ID_FILE).display().to_string();
            vec!["--use-dynamic-base-id".into(), "--base-id-path".into(), file]
        } else {
            vec!["--disable-hot-restart".to_owned()]
        };
        Self::spawn_in(directory, config, options, 0, &restarts).await
    }

    /// Starts an Envoy that must reject `config`, and returns its log.
    pub async fn rejected(config: &EnvoyConfig) -> Result<String> {
        let mut envoy = Self::spawn(config, &EnvoyOptions::default()).await?;
        ensure!(!envoy.wait_for_exit(LIMIT).await?.success(), "Envoy accepted the configuration");
        envoy.log()
    }

    /// Hot restarts this Envoy: starts a new Envoy with `config`, which takes over the listeners, and waits
    /// until it is ready. This Envoy then drains and ends by itself.
    ///
    /// # Errors
    /// This Envoy was started without [`EnvoyOptions::hot_restart`], or the new Envoy does not start.
    pub async fn successor(&self, config: &EnvoyConfig) -> Result<Self> {
        let file = self.process.directory().join(BASE_ID_FILE);
        let base_id = std::fs::read_to_string(&file).context("this Envoy was started without hot_restart")?;
        let (directory, epoch) = (directory()?, self.epoch + 1);
        std::fs::write(directory.path().join(BASE_ID_FILE), &base_id)?;
        let restarts = ["--base-id".to_owned(), base_id, "--restart-epoch".to_owned(), epoch.to_string()];
        let mut envoy = Self::spawn_in(directory, config, &self.options, epoch, &restarts).await?;
        envoy.wait_until_ready().await?;
        Ok(envoy)
    }

    async fn spawn_in(
        directory: TempDir,
        config: &EnvoyConfig,
        options: &EnvoyOptions,
        epoch: u32,
        restarts: &[String],
    ) -> Result<Self> {
        let binary = tools::envoy::binary().await?;
        let file = config.write(directory.path())?;
        let concurrency = options.concurrency.to_string();
        let mut arguments: Vec<OsString> = vec!["--config-path".into(), file.into_os_string()];
        arguments.extend(["--concurrency", &concurrency].map(Into::into));
        arguments.extend(restarts.iter().chain(&options.arguments).map(Into::into));
        let mut words = options.launcher.iter().cloned().chain([binary.into_os_string()]).chain(arguments);
        let program = PathBuf::from(words.next().unwrap_or_default());
        let process = ServerProcess::spawn("Envoy", &program, words, directory)?;
        let (admin, options) = (Admin::new(config.admin_address()?), options.clone());
        Ok(Self { process, config: config.clone(), admin, options, epoch })
    }

    /// Waits until Envoy is ready.
    ///
    /// # Errors
    /// Envoy does not become ready in time, or it exits before it is ready.
    pub async fn wait_until_ready(&mut self) -> Result<()> {
        let (admin, epoch) = (&self.admin, self.epoch);
        let ready = self
            .process
            .wait_until_ready(self.options.ready_limit, async || {
                // During a hot restart the previous Envoy may answer.
                let is_ready =
                    admin.is_ready().await && admin.restart_epoch().await.is_ok_and(|now| now == epoch);
                Ok(if is_ready {
                    Seen::Ready(())
                } else {
                    Seen::Pending(format!("no LIVE from {}/ready", admin.address()))
                })
            })
            .await;
        match ready {
            Ok(()) => Ok(()),
            // The error names the only cause that no configuration can fix.
            Err(error) => match tools::envoy::incompatibility(&tools::envoy::binary().await?) {
                Some(fault) => Err(error.context(fault)),
                None => Err(error),
            },
        }
    }

    /// Replaces the listeners of an Envoy whose configuration has its [listeners in a
    /// file](EnvoyConfig::listeners_in_file). Returns before Envoy has read the file.
    pub fn update_listeners(&self, config: &EnvoyConfig) -> Result<()> {
        config.write_listeners(self.process.directory())
    }

    /// Returns the admin interface.
    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    /// Returns the address of the listener `name`.
    pub fn listener(&self, name: &str) -> Result<SocketAddr> {
        self.config.listener_address(name)
    }

    /// Returns the process of this Envoy.
    pub fn process(&mut self) -> &mut ServerProcess {
        &mut self.process
    }

    /// Returns the lines of the log that report the failure of a Wasm VM or the panic that caused it.
    ///
    /// # Errors
    /// The log file cannot be read.
    pub fn traps(&self) -> Result<Vec<String>> {
        let is_trap = |line: &&str| TRAP.iter().any(|text| line.contains(text));
        Ok(self.log()?.lines().filter(is_trap).map(str::to_owned).collect())
    }

    /// Returns how often Envoy has replaced a VM after a failure, or tried to, by plugin and outcome.
    /// Leaves out zeros.
    ///
    /// # Errors
    /// The admin interface does not answer.
    pub async fn reloads(&self) -> Result<BTreeMap<String, u64>> {
        let stats = self.admin.stats().await?;
        let reloads = stats.counters("wasm.").into_iter();
        let reloads = reloads.filter(|(name, count)| name.contains(".vm_reload_") && *count > 0);
        Ok(reloads.map(|(name, count)| (name.to_owned(), count)).collect())
    }
}

impl Deref for Envoy {
    type Target = ServerProcess;

    fn deref(&self) -> &ServerProcess {
        &self.process
    }
}

impl DerefMut for Envoy {
    fn deref_mut(&mut self) -> &mut ServerProcess {
        &mut self.process
    }
}

/// Returns the messages of a plugin in a log of Envoy.
pub fn messages_of<'a>(log: &'a str, plugin: &str) -> impl Iterator<Item = &'a str> {
    let own = format!("wasm log {plugin} ");
    log.lines().filter_map(move |line| Some(line.split_once(&own)?.1))
}

fn directory() -> Result<TempDir> {
    tempfile::tempdir().context("cannot make a directory for Envoy's configuration")
}

#[cfg(test)]
mod tests {
    use super::*;

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
    async fn a_rejected_configuration_is_an_error_that_shows_the_log() {
        let config = EnvoyConfig::minimal().unwrap().without_wasm().free_ports().set("no_such_field", 1);
        let error = Envoy::start(&config, &EnvoyOptions::workers(1)).await.unwrap_err();
        assert!(format!("{error:#}").contains("no_such_field"), "{error:#}");
    }
}
