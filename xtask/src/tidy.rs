//! Checks rules of this repository that no compiler, formatter or lint checks, on the files that git knows.
//!
//! Clippy and rustc check other rules: file names of modules (`mod_module_files`), panics, casts, `unsafe`,
//! and calls that do not work in a Wasm module (`.ci/wasm-lints/clippy.toml`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use pulldown_cmark::{Event, Parser, Tag};

use crate::process;
use crate::workspace::Workspace;

const TIMEOUT: Duration = Duration::from_secs(60);
const LINES_MAX: usize = 400;
/// The maximum width of a comment: `max_width` in rustfmt.toml. The `comment_width` of rustfmt would need a
/// nightly compiler.
const COMMENT_COLUMNS_MAX: usize = 110;
/// The files that may contain unsafe code, because they cross the boundary to the host: the host calls of
/// modules, and the in-memory Envoy that answers these calls.
const UNSAFE_FILES: [&str; 3] = ["host/src/raw.rs", "host/src/fake/abi.rs", "host/src/fake/vm.rs"];
/// The name of the lint, in two parts so that this file does not break its own rule.
const UNSAFE_LINT: &str = concat!("unsafe", "_code");
const END_TO_END: &str = "tests/e2e";
const SLEEPS: [&str; 3] = ["sleep", "sleep_ms", "sleep_until"];
const WORDS: &str = include_str!("tidy/words.txt");

/// Checks every file of the repository. The error has a line for each violation.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let mut violations = Vec::new();
    for file in files(workspace.root())? {
        let path = workspace.root().join(&file);
        let Some(extension) = file.extension().and_then(|extension| extension.to_str()) else { continue };
        if !["md", "rs", "toml", "yaml"].contains(&extension) {
            continue;
        }
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let found = match extension {
            "rs" => {
                [file_length(&file, &text), unsafe_overrides(&file, &text), sleeps(&file, &text)].concat()
            }
            "md" => broken_links(&text, |link| {
                let base = if link.is_absolute() { workspace.root() } else { path.parent().unwrap_or(&path) };
                base.join(link.strip_prefix("/").unwrap_or(link)).exists()
            }),
            "toml" => inherited_lints(&file, &text),
            _ => Vec::new(),
        };
        let name = file.display().to_string();
        let found = found.into_iter().chain(language(extension, &text));
        violations.extend(found.map(|(line, text)| format!("{name}:{line}: {text}")));
    }
    let count = violations.len();
    ensure!(count == 0, "{count} lines break a rule of this repository:\n  {}", violations.join("\n  "));
    Ok(())
}

/// The number of a line, from 1, and what is wrong with the line.
type Violation = (usize, String);

/// Returns the files of the repository, relative to its root: files that git tracks, and files that git
/// would add.
fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut git = Command::new("git");
    git.current_dir(root).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let output = process::capture(&mut git, TIMEOUT).context("cannot list the files to check")?;
    let mut files: Vec<_> = output.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from).collect();
    // Git's index contains a deleted file until the next commit, and a file with a conflict three times.
    files.retain(|file| root.join(file).is_file());
    files.sort();
    files.dedup();
    Ok(files)
}

/// Keeps files short enough to read in one sitting. Generated files are exempt.
fn file_length(file: &Path, text: &str) -> Vec<Violation> {
    let is_generated = file.components().any(|part| part.as_os_str() == "generated");
    let lines = text.lines().count();
    let message = || format!("the file has {lines} lines, at most {LINES_MAX}: split it by topic");
    (lines > LINES_MAX && !is_generated).then(|| (lines, message())).into_iter().collect()
}

/// Keeps unsafe code in three reviewed files: rustc denies it unless a file overrides the lint.
fn unsafe_overrides(file: &Path, text: &str) -> Vec<Violation> {
    if UNSAFE_FILES.iter().any(|allowed| file == Path::new(allowed)) {
        return Vec::new();
    }
    lines_with(&[UNSAFE_LINT], text, &format!("unsafe code is allowed only in {}", UNSAFE_FILES.join(", ")))
}

/// Makes sure that each crate is checked by the lints of the workspace.
fn inherited_lints(file: &Path, text: &str) -> Vec<Violation> {
    let is_crate = file.ends_with("Cargo.toml") && text.contains("[package]");
    let message = "add `[lints]` with `workspace = true`: without it, no lint of the workspace applies";
    let violation = is_crate && !text.contains("[lints]\nworkspace = true");
    violation.then(|| (1, message.to_owned())).into_iter().collect()
}

/// Keeps end-to-end tests fast and reliable: a fixed pause is too long on a fast machine and too short on a
/// slow machine.
fn sleeps(file: &Path, text: &str) -> Vec<Violation> {
    if !file.starts_with(END_TO_END) {
        return Vec::new();
    }
    lines_with(&SLEEPS, text, "wait for a state with `tributary_tests::poll`, which has a deadline")
}

/// Finds links in a document to files that do not exist. URLs are not checked, so that the result does not
/// depend on the network.
fn broken_links(text: &str, exists: impl Fn(&Path) -> bool) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (event, range) in Parser::new(text).into_offset_iter() {
        let (Event::Start(Tag::Link { dest_url, .. }) | Event::Start(Tag::Image { dest_url, .. })) = event
        else {
            continue;
        };
        let path = dest_url.split(['#', '?']).next().unwrap_or_default();
        if path.is_empty() || has_scheme(path) || exists(Path::new(path)) {
            continue;
        }
        let line = text.get(..range.start).map_or(0, |before| before.matches('\n').count()) + 1;
        violations.push((line, format!("the link {dest_url} leads to no file")));
    }
    violations
}

/// Keeps the language plain: no word of `tidy/words.txt`, and no comment in Rust wider than the code.
fn language(extension: &str, text: &str) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let columns = line.chars().count();
        if extension == "rs" && line.trim_start().starts_with("//") && columns > COMMENT_COLUMNS_MAX {
            let message =
                format!("the comment has {columns} columns, at most {COMMENT_COLUMNS_MAX}: wrap it");
            violations.push((index + 1, message));
        }
        for (word, instead) in words().filter(|(word, _)| has_word(line, word)) {
            violations.push((index + 1, format!("do not write {word:?}; write {instead}, or what fits")));
        }
    }
    violations
}

/// Returns the entries of `tidy/words.txt`: each is a word in lower case, and the words to write instead.
fn words() -> impl Iterator<Item = (&'static str, &'static str)> {
    WORDS.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(": "))
}

/// Returns whether a word, or its plural, is in a line of prose or in an identifier such as `FaultMode` or
/// `fault_mode`.
fn has_word(line: &str, word: &str) -> bool {
    line.to_ascii_lowercase().match_indices(word).any(|(start, _)| {
        let (before, rest) = line.split_at(start);
        let after = rest.get(word.len()..).unwrap_or_default();
        let after = after.strip_prefix('s').unwrap_or(after);
        let begins = rest.starts_with(|first: char| first.is_ascii_uppercase())
            || !before.ends_with(|last: char| last.is_ascii_alphabetic());
        begins && !after.starts_with(|next: char| next.is_ascii_lowercase())
    })
}

/// Returns the lines of a Rust file that contain one of these identifiers, not counting the comment at the
/// end of a line.
fn lines_with(identifiers: &[&str], text: &str, message: &str) -> Vec<Violation> {
    let is_found = |line: &str| {
        let code = line.split("//").next().unwrap_or_default();
        let mut words = code.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        words.any(|word| identifiers.contains(&word))
    };
    let lines = text.lines().enumerate().filter(|(_, line)| is_found(line));
    lines.map(|(index, _)| (index + 1, message.to_owned())).collect()
}

/// Returns whether a link begins with a scheme such as `https:` or `mailto:`.
fn has_scheme(link: &str) -> bool {
    link.split_once(':').is_some_and(|(scheme, _)| scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_keeps_its_rules() {
        check(&Workspace::locate().unwrap()).unwrap();
    }

    #[test]
    fn a_file_has_at_most_400_lines_unless_it_is_generated() {
        let lines = |file: &str, count: usize| file_length(Path::new(file), &"\n".repeat(count));
        assert!(lines("host/src/queue.rs", 400).is_empty());
        assert!(lines("proto/src/generated/otlp.rs", 401).is_empty());
        let message = "the file has 401 lines, at most 400: split it by topic";
        assert_eq!(lines("host/src/queue.rs", 401), [(401, message.to_owned())]);
    }

    #[test]
    fn only_files_of_the_host_boundary_allow_unsafe_code() {
        let code = format!("//! Calls.\n#![allow({UNSAFE_LINT})]\n");
        let found = unsafe_overrides(Path::new("host/src/queue.rs"), &code);
        assert!(matches!(&found[..], [(2, message)] if message.contains("host/src/raw.rs")), "{found:?}");
        assert!(unsafe_overrides(Path::new("host/src/raw.rs"), &code).is_empty());
        assert!(unsafe_overrides(Path::new("host/src/queue.rs"), &format!("// {UNSAFE_LINT}")).is_empty());
    }

    #[test]
    fn every_crate_inherits_the_lints() {
        let crate_with = |lints: &str| {
            inherited_lints(Path::new("host/Cargo.toml"), &format!("[package]\nname = \"host\"\n{lints}"))
        };
        assert!(crate_with("\n[lints]\nworkspace = true\n").is_empty());
        assert_eq!(crate_with("").len(), 1);
        assert!(inherited_lints(Path::new("Cargo.toml"), "[workspace]\n").is_empty());
    }

    #[test]
    fn end_to_end_tests_do_not_sleep() {
        for code in ["use std::thread::sleep;", "async fn f() { tokio::time::sleep(d).await }"] {
            assert_eq!(sleeps(Path::new("tests/e2e/basic.rs"), code).len(), 1, "{code}");
            assert!(sleeps(Path::new("tests/src/poll.rs"), code).is_empty(), "{code}");
        }
        assert!(sleeps(Path::new("tests/e2e/basic.rs"), "// sleep\nfn sleeper() {}").is_empty());
    }

    #[test]
    fn relative_links_lead_to_files() {
        let text = "# A\n\n[a](docs/a.md#x) [b](https://a.test) [c](#here) [d]\n\n![e](e.svg)\n\n[d]: docs/d.md\n\n\
            ```\n[f](f.md)\n```\n";
        let found = broken_links(text, |link| link == Path::new("docs/a.md"));
        let message = |link: &str| format!("the link {link} leads to no file");
        assert_eq!(found, [(3, message("docs/d.md")), (5, message("e.svg"))]);
    }

    #[test]
    fn a_wide_comment_is_found_and_wide_code_is_left_to_rustfmt() {
        let wide = |start: &str| language("rs", &format!("{start}{}", "x".repeat(111 - start.len())));
        assert_eq!(wide("    /// ").len(), 1);
        assert!(wide("let text = ").is_empty());
    }

    #[test]
    fn each_word_of_the_list_is_found_in_prose_and_in_names() {
        for (word, _) in words() {
            assert_eq!(language("md", &format!("The {word}s.")).len(), 1, "{word}");
        }
        let (word, _) = words().find(|(word, _)| word.starts_with("moo")).unwrap();
        let capitalised = format!("M{}", word.split_at(1).1);
        for line in [format!("enum {capitalised}Kind"), format!("fn {word}_of()"), format!("a.next_{word}()")]
        {
            assert_eq!(language("rs", &line).len(), 1, "{line}");
        }
        assert!(language("rs", &format!("s{word}y")).is_empty());
    }
}
