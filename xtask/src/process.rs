//! Runs other programs: aloud with their output passed on, or quietly with it kept, and never for ever.

use std::fs::File;
use std::io::{Read, Seek};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How often a quiet program is asked whether it has ended.
const POLL: Duration = Duration::from_millis(20);
/// How much of a failed program's output an error repeats.
const TAIL_LINES: usize = 20;

/// Runs a program with its output passed on; an error names the command and how it ended.
pub(crate) fn aloud(command: &mut Command) -> Result<()> {
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot start `{}`", line_of(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", line_of(command));
    }
    Ok(())
}

/// Runs a program quietly and gives back its standard output; an error repeats the end of its other output.
pub(crate) fn quietly(command: &mut Command, timeout: Duration) -> Result<String> {
    let line = line_of(command);
    // Files, not pipes: a grandchild that outlives a killed child would keep a pipe, and us, waiting.
    let mut stdout = tempfile::tempfile().context("cannot make a temporary file")?;
    let mut stderr = tempfile::tempfile().context("cannot make a temporary file")?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(stdout.try_clone()?)
        .stderr(stderr.try_clone()?)
        // The end of the output is repeated to a person: a program's own backtrace would push the reason out of it.
        .env("RUST_BACKTRACE", "0")
        .spawn()
        .with_context(|| format!("cannot start `{line}`"))?;
    let status = wait(&mut child, timeout)?;
    let output = read_back(&mut stdout)?;
    match status {
        Some(status) if status.success() => Ok(output),
        Some(status) => bail!("`{line}` failed: {status}{}", tail(&output, &read_back(&mut stderr)?)),
        None => bail!(
            "`{line}` was ended after {} s without a result{}",
            timeout.as_secs(),
            tail(&output, &read_back(&mut stderr)?)
        ),
    }
}

/// Waits until the child has ended; kills it and gives `None` when the time is over.
fn wait(child: &mut Child, timeout: Duration) -> Result<Option<ExitStatus>> {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(POLL);
    }
}

/// Reads what a child wrote, from the start: the handles share one position.
fn read_back(file: &mut File) -> Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn tail(stdout: &str, stderr: &str) -> String {
    let said = if stderr.trim().is_empty() { stdout } else { stderr };
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    let skipped = lines.len().saturating_sub(TAIL_LINES);
    lines.into_iter().skip(skipped).flat_map(|line| ["\n    ", line]).collect()
}

/// The command as a person would type it, for messages.
fn line_of(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn gives_back_standard_output_alone() {
        let output = quietly(&mut shell("echo out; echo err >&2"), Duration::from_secs(10)).unwrap();
        assert_eq!(output, "out\n");
    }

    #[test]
    fn failure_names_the_command_its_status_and_what_it_said() {
        let error = quietly(&mut shell("echo why >&2; exit 3"), Duration::from_secs(10)).unwrap_err();
        let message = error.to_string();
        assert!(message.starts_with("`sh -c echo why >&2; exit 3` failed: exit status: 3"), "{message}");
        assert!(message.ends_with("\n    why"), "{message}");
    }

    #[test]
    fn ends_a_program_that_takes_too_long() {
        let started = Instant::now();
        let error = quietly(&mut shell("exec sleep 60"), Duration::from_millis(100)).unwrap_err();
        assert!(error.to_string().contains("was ended after"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_grandchild_that_stays_does_not_hold_up_the_answer() {
        let started = Instant::now();
        let output = quietly(&mut shell("sleep 20 & echo done"), Duration::from_secs(10)).unwrap();
        assert_eq!(output, "done\n");
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = quietly(&mut Command::new("no-such-program"), Duration::from_secs(1)).unwrap_err();
        assert!(error.to_string().contains("cannot start `no-such-program`"), "{error}");
    }

    #[test]
    fn an_error_repeats_only_the_end_of_the_output() {
        let many: String = (0..100).map(|n| format!("line {n}\n")).collect();
        let said = tail("", &many);
        assert_eq!(said.lines().filter(|line| !line.is_empty()).count(), TAIL_LINES);
        assert!(said.ends_with("line 99"), "{said}");
    }
}
