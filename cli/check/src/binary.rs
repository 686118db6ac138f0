//! Checks whether an Envoy can run the modules: its log lists at the start what it was built with.

use std::fmt;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::finding::{Finding, Rule, Severity};
use crate::yaml::Position;

/// The oldest Envoy that the modules are tested with.
pub const OLDEST: EnvoyVersion = EnvoyVersion { major: 1, minor: 36 };
const V8: &str = "envoy.wasm.runtime.v8";
/// The text in Envoy's log before the list of Wasm runtimes.
const RUNTIMES: &str = " envoy.wasm.runtime: ";
/// Every Envoy rejects it, after it has logged what it was built with.
const INVALID_CONFIG: &str = "{no_such_field: 1}";
/// Many times what an Envoy takes to reject it.
const LIMIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(10);

/// The properties of a build of Envoy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvoyBuild {
    /// The version as text, such as `1.40.0`.
    pub name: String,
    /// The version; `None` if the text has another format.
    pub version: Option<EnvoyVersion>,
    /// The Wasm runtimes, such as `envoy.wasm.runtime.v8`.
    pub runtimes: Vec<String>,
}

/// A minor release of Envoy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EnvoyVersion {
    major: u32,
    minor: u32,
}

/// Inspects the binary at `path`.
///
/// # Errors
/// It does not start, does not exit, or is not Envoy.
fn inspect(path: &Path) -> Result<EnvoyBuild> {
    let output = run(path, &["--version"])?;
    let Some((_, build)) = output.split_once("version: ") else {
        bail!("{} is not Envoy: --version prints no version of Envoy", path.display());
    };
    // COMMIT/VERSION/Clean/RELEASE/BoringSSL
    let name = build.split('/').nth(1).unwrap_or_default().trim().to_owned();
    let log = run(path, &["--disable-hot-restart", "--config-yaml", INVALID_CONFIG])?;
    let version = EnvoyVersion::parse(&name);
    Ok(EnvoyBuild { name, version, runtimes: runtimes(&log) })
}

/// The reason why the Envoy at `path` cannot run the modules, if any.
pub fn judge(path: &Path) -> Option<Finding> {
    let (severity, message) = match inspect(path) {
        Err(error) => (Severity::Error, format!("{error:#}")),
        Ok(envoy) => envoy.fault()?,
    };
    let (file, at) = (path.display().to_string(), Position::default());
    Some(Finding { file, at, severity, rule: Rule::Envoy, message, path: String::new() })
}

impl EnvoyBuild {
    /// The reason why it cannot run the modules, or may not.
    fn fault(&self) -> Option<(Severity, String)> {
        let Self { name, version, runtimes } = self;
        if !runtimes.iter().any(|runtime| runtime == V8) {
            let has = if runtimes.is_empty() { "none".to_owned() } else { runtimes.join(", ") };
            let message = format!(
                "Envoy {name} was built without the Wasm runtime {V8}, so it rejects every module (its \
                 runtimes: {has}); use another build or release of Envoy"
            );
            return Some((Severity::Error, message));
        }
        let is_old = version.is_some_and(|version| version < OLDEST);
        let message = || {
            format!(
                "Envoy {name} is older than {OLDEST}, the oldest release that the modules are tested with"
            )
        };
        is_old.then(|| (Severity::Warning, message()))
    }
}

impl EnvoyVersion {
    fn parse(name: &str) -> Option<Self> {
        let mut numbers = name.split(['.', '-']);
        Some(Self { major: numbers.next()?.parse().ok()?, minor: numbers.next()?.parse().ok()? })
    }
}

impl fmt::Display for EnvoyVersion {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.major, self.minor)
    }
}

fn runtimes(log: &str) -> Vec<String> {
    let line = log.lines().find_map(|line| Some(line.split_once(RUNTIMES)?.1));
    let names = line.unwrap_or_default().split(',').map(str::trim);
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The standard output and error of a program; ignores its exit code.
fn run(path: &Path, arguments: &[&str]) -> Result<String> {
    let program = path.display();
    let mut child = Command::new(path)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{program} does not start"))?;
    let outputs = [
        child.stdout.take().map(|output| Box::new(output) as Box<dyn Read + Send>),
        child.stderr.take().map(|output| Box::new(output) as Box<dyn Read + Send>),
    ];
    let readers = outputs.into_iter().flatten().map(|mut output| {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            // Returns what was read before an error.
            let _ = output.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        })
    });
    let readers: Vec<_> = readers.collect();
    wait(&mut child).with_context(|| format!("{program} {}", arguments.join(" ")))?;
    Ok(readers.into_iter().filter_map(|reader| reader.join().ok()).collect())
}

fn wait(child: &mut Child) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    while child.try_wait()?.is_none() {
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            bail!("did not exit within {} s: is it Envoy?", LIMIT.as_secs());
        }
        thread::sleep(POLL);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "[source/server/server.cc:467] statically linked extensions:\n\
        [source/server/server.cc:467]   envoy.wasm.runtime: RUNTIMES\n";

    fn envoy(name: &str, runtimes: &str) -> EnvoyBuild {
        let (log, version) = (LOG.replace("RUNTIMES", runtimes), EnvoyVersion::parse(name));
        EnvoyBuild { name: name.to_owned(), version, runtimes: super::runtimes(&log) }
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
