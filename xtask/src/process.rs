//! Runs other programs, with their output passed on or captured.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read, Seek, Write, stderr, stdout};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How often `capture` checks whether the program has exited.
const POLL: Duration = Duration::from_millis(20);
/// The number of lines at the end of a failed program's output that the error repeats.
const TAIL_LINES: usize = 20;
/// The maximum number of lines about failed tests that the error repeats.
const FAILURE_LINES: usize = 150;

/// Runs a program and passes its output on.
///
/// Without a terminal, the error repeats the tests that failed or the end of the output, so that the last
/// lines of a log say what is wrong.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    command.stdin(Stdio::null());
    if stderr().is_terminal() {
        let status = command.status().with_context(|| cannot_start(command))?;
        return check(command, status, "");
    }
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.with_context(|| cannot_start(command))?;
    let errors = child.stderr.take().context("standard error is not a pipe")?;
    let errors = thread::spawn(move || pass_on(errors, stderr()));
    let output = child.stdout.take().context("standard output is not a pipe")?;
    let output = pass_on(output, stdout());
    let errors = errors.join().unwrap_or_default();
    let status = child.wait()?;
    let failures = failed_tests(&output);
    check(command, status, &if failures.is_empty() { tail(&output, &errors) } else { failures })
}

fn check(command: &Command, status: ExitStatus, output: &str) -> Result<()> {
    if !status.success() {
        bail!("`{}` failed: {status}{output}", line_of(command));
    }
    Ok(())
}

fn cannot_start(command: &Command) -> String {
    format!("cannot start `{}`", line_of(command))
}

/// Writes each line of `from` to `to` at once, and returns all lines at the end.
fn pass_on(from: impl Read, mut to: impl Write) -> String {
    let mut from = BufReader::new(from);
    let mut all = Vec::new();
    loop {
        let start = all.len();
        match from.read_until(b'\n', &mut all) {
            Ok(0) | Err(_) => return String::from_utf8_lossy(&all).into_owned(),
            // If the line cannot be written, it is still part of the error.
            Ok(_) => drop(to.write_all(all.get(start..).unwrap_or_default())),
        }
    }
}

/// Returns the parts of the output of test programs that describe failed tests: from `failures:` to the
/// result, without backtraces.
fn failed_tests(output: &str) -> String {
    let (mut within, mut is_backtrace) = (false, false);
    let failures = output.lines().filter(|line| {
        within = (within || *line == "failures:") && !line.starts_with("test result: ");
        is_backtrace = (is_backtrace || line.eq_ignore_ascii_case("stack backtrace:"))
            && !(line.starts_with("---- ") || *line == "failures:");
        within && !is_backtrace && !line.trim().is_empty()
    });
    failures.take(FAILURE_LINES).flat_map(|line| ["\n    ", line]).collect()
}

/// Runs a program and returns its standard output. If it fails, the error repeats the end of its standard
/// error.
pub(crate) fn capture(command: &mut Command, timeout: Duration) -> Result<String> {
    let line = line_of(command);
    // The output goes to files. A pipe would stay open, and block this program, while a grandchild outlives
    // the killed child.
    let mut stdout = tempfile::tempfile().context("cannot make a temporary file")?;
    let mut stderr = tempfile::tempfile().context("cannot make a temporary file")?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(stdout.try_clone()?)
        .stderr(stderr.try_clone()?)
        // Backtraces are disabled, because the error repeats only the last lines, which would then not
        // contain the reason.
        .env("RUST_BACKTRACE", "0")
        .spawn()
        .with_context(|| format!("cannot start `{line}`"))?;
    let status = wait(&mut child, timeout)?;
    let output = read_back(&mut stdout)?;
    match status {
        Some(status) if status.success() => Ok(output),
        Some(status) => bail!("`{line}` failed: {status}{}", tail(&output, &read_back(&mut stderr)?)),
        None => bail!(
            "`{line}` did not exit within {} s and was killed{}",
            timeout.as_secs(),
            tail(&output, &read_back(&mut stderr)?)
        ),
    }
}

/// Waits until the child exits. After the timeout, kills it and returns `None`.
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

/// Reads the output of a child from the start. Seeks first, because the child's handle and `file` share one
/// position.
fn read_back(file: &mut File) -> Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn tail(stdout: &str, stderr: &str) -> String {
    let output = if stderr.trim().is_empty() { stdout } else { stderr };
    let lines: Vec<&str> = output.lines().filter(|line| !line.trim().is_empty()).collect();
    let skipped = lines.len().saturating_sub(TAIL_LINES);
    lines.into_iter().skip(skipped).flat_map(|line| ["\n    ", line]).collect()
}

/// Returns the command line as text, for messages.
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
    fn captures_standard_output_alone() {
        let output = capture(&mut shell("echo out; echo err >&2"), Duration::from_secs(10)).unwrap();
        assert_eq!(output, "out\n");
    }

    #[test]
    fn an_error_has_the_command_its_status_and_its_output() {
        let error = capture(&mut shell("echo why >&2; exit 3"), Duration::from_secs(10)).unwrap_err();
        let message = error.to_string();
        assert!(message.starts_with("`sh -c echo why >&2; exit 3` failed: exit status: 3"), "{message}");
        assert!(message.ends_with("\n    why"), "{message}");
    }

    #[test]
    fn the_failed_tests_are_repeated() {
        let output = "test a ... FAILED\n\nfailures:\n\n---- a stdout ----\nwrong\nStack backtrace:\n   0: a\n\nfailures:\n    a\n\n\
                      test result: FAILED. 0 passed\nrunning 1 test\ntest b ... ok\n";
        let repeated: Vec<_> = failed_tests(output).lines().map(|line| line.trim().to_owned()).collect();
        assert_eq!(repeated, ["", "failures:", "---- a stdout ----", "wrong", "failures:", "a"]);
        assert_eq!(failed_tests("test b ... ok\ntest result: ok. 1 passed\n"), "");
    }

    #[test]
    fn what_a_program_prints_is_passed_on_and_returned() {
        let mut shown = Vec::new();
        assert_eq!(pass_on(&b"one\ntwo"[..], &mut shown), "one\ntwo");
        assert_eq!(shown, b"one\ntwo");
    }

    #[test]
    fn a_program_that_takes_too_long_is_killed() {
        let started = Instant::now();
        let error = capture(&mut shell("exec sleep 60"), Duration::from_millis(100)).unwrap_err();
        assert!(error.to_string().contains("did not exit within"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_grandchild_that_outlives_the_child_does_not_delay_the_result() {
        let started = Instant::now();
        let output = capture(&mut shell("sleep 20 & echo done"), Duration::from_secs(10)).unwrap();
        assert_eq!(output, "done\n");
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = capture(&mut Command::new("no-such-program"), Duration::from_secs(1)).unwrap_err();
        assert!(error.to_string().contains("cannot start `no-such-program`"), "{error}");
    }

    #[test]
    fn an_error_repeats_only_the_end_of_the_output() {
        let many: String = (0..100).map(|n| format!("line {n}\n")).collect();
        let output = tail("", &many);
        assert_eq!(output.lines().filter(|line| !line.is_empty()).count(), TAIL_LINES);
        assert!(output.ends_with("line 99"), "{output}");
    }
}
