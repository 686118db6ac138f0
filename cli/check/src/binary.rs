//! Checks whether an Envoy can run the modules: an Envoy logs the list of its extensions when it starts.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::finding::{Finding, Rule, Severity};

/// The oldest minor release of Envoy that the modules are tested with.
const OLDEST: (u32, u32) = (1, 36);
const V8: &str = "envoy.wasm.runtime.v8";
/// The text in Envoy's log before the list of Wasm runtimes.
const RUNTIMES: &str = " envoy.wasm.runtime: ";
/// A configuration that every Envoy rejects, after it has logged its list of extensions.
const INVALID_CONFIG: &str = "{no_such_field: 1}";
/// The time limit of each run: much longer than an Envoy takes to reject [`INVALID_CONFIG`].
const LIMIT: Duration = Duration::from_secs(20);

/// The properties of a build of Envoy.
struct EnvoyBuild {
    /// The version as text, such as `1.40.0`.
    name: String,
    /// The Wasm runtimes, such as `envoy.wasm.runtime.v8`.
    runtimes: Vec<String>,
}

/// Inspects the binary at `path`.
///
/// # Errors
/// The binary does not start, does not exit in time, or is not Envoy.
fn inspect(path: &Path) -> Result<EnvoyBuild> {
    let output = run(path, &["--version"])?;
    let Some((_, build)) = output.split_once("version: ") else {
        bail!("{} is not Envoy: --version prints no version of Envoy", path.display());
    };
    // The format is COMMIT/VERSION/Clean/RELEASE/BoringSSL.
    let name = build.split('/').nth(1).unwrap_or_default().trim().to_owned();
    let log = run(path, &["--disable-hot-restart", "--config-yaml", INVALID_CONFIG])?;
    Ok(EnvoyBuild { name, runtimes: runtimes(&log) })
}

/// Returns the reason why the Envoy at `path` cannot run the modules, or may be unable to; `None` if it can
/// run them.
pub fn judge(path: &Path) -> Option<Finding> {
    let (severity, message) = match inspect(path) {
        Err(error) => (Severity::Error, format!("{error:#}")),
        Ok(envoy) => envoy.fault()?,
    };
    Some(Finding::of_file(path.display().to_string(), severity, Rule::Envoy, message))
}

impl EnvoyBuild {
    /// Returns the reason why this build cannot run the modules (an error), or may be unable to (a
    /// warning); `None` if it can run them.
    fn fault(&self) -> Option<(Severity, String)> {
        let Self { name, runtimes } = self;
        if !runtimes.iter().any(|runtime| runtime == V8) {
            let has = if runtimes.is_empty() { "none".to_owned() } else { runtimes.join(", ") };
            let message = format!(
                "Envoy {name} was built without the Wasm runtime {V8}, so it rejects every module (its \
                 runtimes: {has}); use another build or release of Envoy"
            );
            return Some((Severity::Error, message));
        }
        let is_old = minor_release(name).is_some_and(|release| release < OLDEST);
        let (major, minor) = OLDEST;
        let message = format!(
            "Envoy {name} is older than {major}.{minor}, the oldest release that the modules are tested with"
        );
        is_old.then_some((Severity::Warning, message))
    }
}

/// Returns the major and minor number of a version; `None` if it has another format.
fn minor_release(name: &str) -> Option<(u32, u32)> {
    let mut numbers = name.split(['.', '-']).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn runtimes(log: &str) -> Vec<String> {
    let line = log.lines().find_map(|line| Some(line.split_once(RUNTIMES)?.1));
    let names = line.unwrap_or_default().split(',').map(str::trim);
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Runs a program, and returns its standard output and standard error. Ignores its exit code.
fn run(path: &Path, arguments: &[&str]) -> Result<String> {
    let program = path.display();
    let (mut output, writer) = std::io::pipe()?;
    let mut command = Command::new(path);
    command.args(arguments).stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn().with_context(|| format!("{program} does not start"))?;
    // Closes this process's writing end of the pipe: reading ends when every writing end is closed.
    drop(command);
    let (sender, text) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // Sends what was read before an error.
        let _ = output.read_to_end(&mut bytes);
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    let text = text.recv_timeout(LIMIT).ok();
    // Killing has no effect on a program that has exited.
    child.kill()?;
    child.wait()?;
    text.with_context(|| {
        let (arguments, limit) = (arguments.join(" "), LIMIT.as_secs());
        format!("{program} {arguments}: did not exit within {limit} s: is it Envoy?")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "[source/server/server.cc:467] statically linked extensions:\n\
        [source/server/server.cc:467]   envoy.wasm.runtime: RUNTIMES\n";

    fn envoy(name: &str, runtimes: &str) -> EnvoyBuild {
        let runtimes = super::runtimes(&LOG.replace("RUNTIMES", runtimes));
        EnvoyBuild { name: name.to_owned(), runtimes }
    }

    #[test]
    fn an_envoy_without_v8_is_an_error_and_an_old_one_a_warning() {
        let both = "envoy.wasm.runtime.null, envoy.wasm.runtime.v8";
        for (name, runtimes, expected) in [
            ("1.40.0", both, None),
            ("1.36.0-dev", both, None),
            ("unknown", both, None),
            ("1.38.3", "envoy.wasm.runtime.null", Some(Severity::Error)),
            ("1.38.3", "", Some(Severity::Error)),
            ("1.35.9", both, Some(Severity::Warning)),
            ("0.99.0", both, Some(Severity::Warning)),
        ] {
            let fault = envoy(name, runtimes).fault();
            assert_eq!(fault.as_ref().map(|(severity, _)| *severity), expected, "{name} with {runtimes}");
            assert!(fault.is_none_or(|(_, message)| message.contains(name)), "{name}");
        }
    }

    #[test]
    fn a_program_that_is_not_envoy_is_an_error() {
        for (program, expected) in [("/bin/true", "is not Envoy"), ("/no/such/program", "does not start")] {
            let finding = judge(Path::new(program)).map(|finding| (finding.severity, finding.message));
            assert!(
                finding.as_ref().is_some_and(
                    |(severity, message)| *severity == Severity::Error && message.contains(expected)
                ),
                "{finding:?}"
            );
        }
    }
}
