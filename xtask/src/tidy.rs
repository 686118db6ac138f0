//! Rules of this repository that no compiler knows: they are checked on the files that git knows.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};
use pulldown_cmark::{Event, Parser, Tag};

use crate::process;
use crate::workspace::Workspace;

const TIMEOUT: Duration = Duration::from_secs(60);
/// What a reader can still take in; generated files have no reader.
const MAX_LINES: usize = 400;
/// The files that cross the boundary to the host: the calls of modules, and the in-memory Envoy's side of them.
const UNSAFE_FILES: [&str; 3] = ["host/src/raw.rs", "host/src/fake/abi.rs", "host/src/fake/vm.rs"];
const END_TO_END: &str = "tests/e2e";
/// Waiting for a time instead of a state: slow where it is right, wrong where the machine is slow.
const SLEEPS: [&str; 3] = ["sleep", "sleep_ms", "sleep_until"];

/// Fails with one line for each place that breaks a rule.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let mut faults = Vec::new();
    for file in files(workspace.root())? {
        let path = workspace.root().join(&file);
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("rs") => faults.extend(rust_faults(&file, &read(&path)?)?),
            Some("md") => faults.extend(markdown_faults(&file, &read(&path)?, |link| {
                let base = if link.is_absolute() { workspace.root() } else { path.parent().unwrap_or(&path) };
                base.join(link.strip_prefix("/").unwrap_or(link)).exists()
            })),
            _ => {}
        }
    }
    if !faults.is_empty() {
        let lines: String = faults.iter().flat_map(|fault| ["\n  ", fault]).collect();
        bail!("{} places break a rule of this repository:{lines}", faults.len());
    }
    Ok(())
}

/// The files of the repository, relative to its root: those that git tracks and those that it would add.
fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut git = Command::new("git");
    git.current_dir(root).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let said = process::quietly(&mut git, TIMEOUT).context("the files to check come from git")?;
    let mut files: Vec<_> = said.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from).collect();
    // A file that was deleted stays in the index until the next commit; one in conflict is in it three times.
    files.retain(|file| root.join(file).is_file());
    files.sort();
    files.dedup();
    Ok(files)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn rust_faults(file: &Path, text: &str) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    let name = file.display();
    let generated = file.components().any(|part| part.as_os_str() == "generated");
    let lines = text.lines().count();
    if lines > MAX_LINES && !generated {
        faults.push(format!("{name}: {lines} lines, at most {MAX_LINES}: split it by what it speaks of"));
    }
    if file.file_name().is_some_and(|file| file == "mod.rs") {
        faults.push(format!("{name}: name it after its module, beside the module's folder"));
    }
    let tokens = TokenStream::from_str(text).map_err(|error| anyhow!("{name} is not Rust: {error}"))?;
    if !UNSAFE_FILES.iter().any(|allowed| file == Path::new(allowed)) {
        let allowed = format!("only {} may be unsafe", UNSAFE_FILES.join(", "));
        visit(&tokens, &mut |ident| report(&mut faults, file, ident, &["unsafe", "unsafe_code"], &allowed));
    }
    if file.starts_with(END_TO_END) {
        let instead = "a test waits for a state, with the poll and the deadline of tributary-tests";
        visit(&tokens, &mut |ident| report(&mut faults, file, ident, &SLEEPS, instead));
    }
    for body in bodies_of("on_done", &tokens) {
        visit(&body, &mut |ident| {
            if ident.to_string().contains("http_call") {
                let line = ident.span().start().line;
                faults.push(format!(
                    "{name}:{line}: {ident} in on_done: Envoy 1.40 crashes on a call at shutdown"
                ));
            }
        });
    }
    Ok(faults)
}

fn report(faults: &mut Vec<String>, file: &Path, ident: &Ident, forbidden: &[&str], why: &str) {
    if forbidden.iter().any(|word| ident == word) {
        faults.push(format!("{}:{}: `{ident}`: {why}", file.display(), ident.span().start().line));
    }
}

/// Shows every identifier in the tokens, however deep; comments and literals have none.
fn visit(tokens: &TokenStream, see: &mut impl FnMut(&Ident)) {
    for token in tokens.clone() {
        match token {
            TokenTree::Ident(ident) => see(&ident),
            TokenTree::Group(group) => visit(&group.stream(), see),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// The bodies of all functions of that name.
fn bodies_of(function: &str, tokens: &TokenStream) -> Vec<TokenStream> {
    let mut bodies = Vec::new();
    let mut tokens = tokens.clone().into_iter().peekable();
    let mut inside = false;
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Ident(word) if word == "fn" => {
                inside = matches!(tokens.peek(), Some(TokenTree::Ident(name)) if name == function);
            }
            TokenTree::Group(group) if inside && group.delimiter() == Delimiter::Brace => {
                bodies.push(group.stream());
                inside = false;
            }
            TokenTree::Group(group) => bodies.extend(bodies_of(function, &group.stream())),
            // A declaration without a body ends here.
            TokenTree::Punct(mark) if mark.as_char() == ';' => inside = false,
            _ => {}
        }
    }
    bodies
}

/// The links of a document that lead to no file.
fn markdown_faults(file: &Path, text: &str, exists: impl Fn(&Path) -> bool) -> Vec<String> {
    let mut faults = Vec::new();
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
        faults.push(format!("{}:{line}: the link to {dest_url} leads to no file", file.display()));
    }
    faults
}

/// Whether a link begins with a scheme as in `https:` or `mailto:`.
fn has_scheme(link: &str) -> bool {
    link.split_once(':').is_some_and(|(scheme, _)| scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(file: &str, text: &str) -> Vec<String> {
        rust_faults(Path::new(file), text).unwrap()
    }

    #[test]
    fn a_file_may_have_400_lines_and_a_generated_one_more() {
        assert!(faults("host/src/queue.rs", &"\n".repeat(400)).is_empty());
        assert!(faults("proto/src/generated/otlp.rs", &"\n".repeat(401)).is_empty());
        let found = faults("host/src/queue.rs", &"\n".repeat(401));
        assert_eq!(found, ["host/src/queue.rs: 401 lines, at most 400: split it by what it speaks of"]);
    }

    #[test]
    fn a_file_named_mod_is_refused() {
        assert_eq!(faults("host/src/fake/mod.rs", "").len(), 1);
        assert!(faults("host/src/fake.rs", "").is_empty());
    }

    #[test]
    fn unsafe_code_is_for_one_file_alone() {
        let code = "fn f() {\n    unsafe { g() }\n}";
        let found = faults("host/src/queue.rs", code);
        assert_eq!(
            found,
            [
                "host/src/queue.rs:2: `unsafe`: only host/src/raw.rs, host/src/fake/abi.rs, host/src/fake/vm.rs may be unsafe"
            ]
        );
        assert!(faults("host/src/raw.rs", code).is_empty());
        assert_eq!(faults("service/src/lib.rs", "#![allow(unsafe_code)]").len(), 1);
    }

    #[test]
    fn words_in_comments_and_strings_are_not_code() {
        let code = "// unsafe\n/* unsafe { } */ const A: &str = \"unsafe\"; const B: &str = r#\"sleep\"#;";
        assert!(faults("tests/e2e/basic.rs", code).is_empty());
    }

    #[test]
    fn end_to_end_tests_do_not_sleep() {
        for code in ["use std::thread::sleep;", "async fn f() { tokio::time::sleep(d).await }"] {
            assert_eq!(faults("tests/e2e/basic.rs", code).len(), 1, "{code}");
            assert!(faults("tests/src/poll.rs", code).is_empty(), "{code}");
        }
    }

    #[test]
    fn on_done_makes_no_http_call() {
        let code = "impl Context for Service {
            fn on_done(&mut self) -> bool { if x { self.host.dispatch_http_call(1) } true }
            fn on_tick(&mut self) { self.host.dispatch_http_call(1) }
        }";
        let found = faults("service/src/lib.rs", code);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("service/src/lib.rs:2: dispatch_http_call in on_done"), "{found:?}");
    }

    #[test]
    fn a_declared_on_done_has_no_body() {
        assert!(
            faults("host/src/queue.rs", "trait T { fn on_done(&self); fn f() { http_call() } }").is_empty()
        );
    }

    #[test]
    fn relative_links_must_lead_somewhere() {
        let text = "# A\n\n[a](docs/a.md#x) [b](https://a.test) [c](#here) [d]\n\n![e](e.svg)\n\n[d]: docs/d.md\n\n\
            ```\n[f](f.md)\n```\n";
        let found = markdown_faults(Path::new("README.md"), text, |link| link == Path::new("docs/a.md"));
        assert_eq!(
            found,
            [
                "README.md:3: the link to docs/d.md leads to no file",
                "README.md:5: the link to e.svg leads to no file"
            ]
        );
    }
}
