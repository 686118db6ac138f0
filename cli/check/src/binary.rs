//! Whether an Envoy can run the modules at all: asked of the binary itself, which says at its start what it was built with.

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
pub const OLDEST: Version = Version { major: 1, minor: 36 };
const V8: &str = "envoy.wasm.runtime.v8";
/// In the log, before the names of what an Envoy was built with.
const RUNTIMES: &str = " envoy.wasm.runtime: ";
/// Refused by every Envoy, but only after it has said what it was built with.
const NO_CONFIGURATION: &str = "{no_such_field: 1}";
/// Many times what an Envoy takes for it.
const LIMIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(10);

/// What an Envoy was built with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envoy {
    /// As it calls itself, such as `1.40.0`.
    pub name: String,
    /// None if that says none.
    pub version: Option<Version>,
    /// The Wasm runtimes, such as `envoy.wasm.runtime.v8`.
    pub runtimes: Vec<String>,
}

/// A release of Envoy, without its patches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    major: u32,
    minor: u32,
}

/// Asks the binary at `path`.
///
/// # Errors
/// It cannot be run, does not end, or is no Envoy.
pub fn inspect(path: &Path) -> Result<Envoy> {
    let said = run(path, &["--version"])?;
    let Some((_, build)) = said.split_once("version: ") else {
        bail!("{} is no Envoy: --version does not tell one", path.display());
    };
    // COMMIT/VERSION/Clean/RELEASE/BoringSSL
    let name = build.split('/').nth(1).unwrap_or_default().trim().to_owned();
    let log = run(path, &["--disable-hot-restart", "--config-yaml", NO_CONFIGURATION])?;
    let version = Version::of(&name);
    Ok(Envoy { name, version, runtimes: runtimes(&log) })
}

/// What keeps the Envoy at `path` from running the modules, if something does.
pub fn judge(path: &Path) -> Option<Finding> {
    let (severity, message) = match inspect(path) {
        Err(error) => (Severity::Error, format!("{error:#}")),
        Ok(envoy) => envoy.fault()?,
    };
    let (file, at) = (path.display().to_string(), Position::default());
    Some(Finding { file, at, severity, rule: Rule::Envoy, message, path: String::new() })
}

impl Envoy {
    /// Why it cannot run the modules, or may not.
    fn fault(&self) -> Option<(Severity, String)> {
        let Self { name, version, runtimes } = self;
        if !runtimes.iter().any(|runtime| runtime == V8) {
            let has = if runtimes.is_empty() { "none".to_owned() } else { runtimes.join(", ") };
            let message = format!(
                "Envoy {name} was built without the Wasm runtime V8, so it refuses every module; it has {has}, and needs \
                 {V8}: take another build or release of Envoy"
            );
            return Some((Severity::Error, message));
        }
        let is_old = version.is_some_and(|version| version < OLDEST);
        let message =
            || format!("Envoy {name} is older than {OLDEST}, the oldest that the modules are tested with");
        is_old.then(|| (Severity::Warning, message()))
    }
}

impl Version {
    fn of(name: &str) -> Option<Self> {
        let mut numbers = name.split(['.', '-']);
        Some(Self { major: numbers.next()?.parse().ok()?, minor: numbers.next()?.parse().ok()? })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.major, self.minor)
    }
}

fn runtimes(log: &str) -> Vec<String> {
    let line = log.lines().find_map(|line| Some(line.split_once(RUNTIMES)?.1));
    let names = line.unwrap_or_default().split(',').map(str::trim);
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Everything that a program prints, whatever its end.
fn run(path: &Path, arguments: &[&str]) -> Result<String> {
    let program = path.display();
    let mut child = Command::new(path)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{program} cannot be run"))?;
    let outputs = [
        child.stdout.take().map(|output| Box::new(output) as Box<dyn Read + Send>),
        child.stderr.take().map(|output| Box::new(output) as Box<dyn Read + Send>),
    ];
    let readers = outputs.into_iter().flatten().map(|mut output| {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            // What comes before an error is what there is.
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
            bail!("did not end within {} s: is it an Envoy?", LIMIT.as_secs());
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

    fn envoy(name: &str, runtimes: &str) -> Envoy {
        let (log, version) = (LOG.replace("RUNTIMES", runtimes), Version::of(name));
        Envoy { name: name.to_owned(), version, runtimes: super::runtimes(&log) }
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
    fn what_is_no_envoy_is_said_to_be_none() {
        for (program, said) in [("/bin/true", "is no Envoy"), ("/no/such/program", "cannot be run")] {
            let finding = judge(Path::new(program)).map(|finding| (finding.severity, finding.message));
            assert!(
                finding.as_ref().is_some_and(|(severity, message)| *severity == Severity::Error
                    && message.contains(said)),
                "{finding:?}"
            );
        }
    }
}
