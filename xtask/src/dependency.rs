//! Finds forbidden dependencies, which would couple parts that must stay apart, or make a module that Envoy
//! cannot load.
//!
//! cargo-deny can ban a crate from the whole graph, or allow it below given parents. But these rules are
//! about one package and all packages that it links for Wasm, so they are checked with `cargo tree`.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::compiler::TARGET;
use crate::process;
use crate::workspace::Workspace;

const TIMEOUT: Duration = Duration::from_secs(120);

/// Packages that must not depend on others, directly or transitively.
struct Rule {
    packages: &'static [&'static str],
    forbidden: &'static [&'static str],
    reason: &'static str,
}

/// The packages of the Wasm modules.
const MODULES: [&str; 3] = ["tributary-worker-filter", "tributary-service", "tributary-console"];
const SHARED_CONTRACT: &str = "the modules share only the contract in tributary-proto";

const RULES: [Rule; 6] = [
    Rule {
        packages: &["tributary-proto"],
        forbidden: &["proxy-wasm", "tributary-host"],
        reason: "it has no host, so that collectors and tests can use it",
    },
    Rule {
        packages: &["tributary-host"],
        forbidden: &MODULES,
        reason: "the modules depend on the host, not the other way round",
    },
    Rule {
        packages: &["tributary-plan"],
        forbidden: &["tributary-host"],
        reason: "it validates configurations outside a host, too",
    },
    Rule { packages: &MODULES, forbidden: &MODULES, reason: SHARED_CONTRACT },
    Rule { packages: &["tributary-console"], forbidden: &["tributary-plan"], reason: SHARED_CONTRACT },
    // The crates that need threads or import functions that Envoy does not have.
    Rule {
        packages: &MODULES,
        forbidden: &["js-sys", "tokio", "wasm-bindgen"],
        reason: "Envoy offers neither the imports of a JavaScript engine nor threads",
    },
];

/// Checks every rule. The error has a line for each forbidden dependency.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let mut violations = Vec::new();
    for rule in RULES {
        for package in rule.packages {
            let tree = process::capture(&mut cargo_tree(workspace, package), TIMEOUT)?;
            violations.extend(rule.violations(package, &tree));
        }
    }
    ensure!(violations.is_empty(), "forbidden dependencies:{}", violations.concat());
    Ok(())
}

impl Rule {
    /// Returns one line for each forbidden package in the tree of a package, except for the package itself.
    fn violations(&self, package: &str, tree: &str) -> Vec<String> {
        let found = |name: &&&str| {
            **name != package && tree.lines().any(|line| line.split(' ').next() == Some(**name))
        };
        let reason = self.reason;
        let line = |name: &&str| {
            format!(
                "\n  {package} depends on {name}: {reason}; `cargo tree -p {package} --target {TARGET} -i {name}` shows how"
            )
        };
        self.forbidden.iter().filter(found).map(line).collect()
    }
}

/// Lists the packages that are linked into a package, one per line as `name vVERSION`.
fn cargo_tree(workspace: &Workspace, package: &str) -> Command {
    let mut cargo = workspace.cargo();
    cargo.args(["tree", "--package", package, "--edges", "normal", "--target", TARGET]);
    cargo.args(["--prefix", "none", "--format", "{p}"]);
    cargo
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    const TREE: &str = "tributary-proto v0.1.0 (/src/proto)\nprost v0.14.4\nproxy-wasm v0.2.5\nlog v0.4.29\n";

    #[test]
    fn a_violation_has_the_reason_and_the_command_that_shows_the_path() {
        let lines = RULES[0].violations("tributary-proto", TREE);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("tributary-proto depends on proxy-wasm: it has no host"), "{}", lines[0]);
        assert!(lines[0].contains("-i proxy-wasm"), "{}", lines[0]);
    }

    #[test]
    fn a_longer_name_is_another_crate() {
        let lines =
            RULES[0].violations("tributary-proto", "tributary-proto v0.1.0\nproxy-wasm-types v1.0.0\n");
        assert_eq!(lines, Vec::<String>::new());
    }

    #[test]
    fn a_module_may_be_in_its_own_tree() {
        let lines =
            RULES[3].violations("tributary-service", "tributary-service v0.1.0\ntributary-console v0.1.0\n");
        assert_eq!(lines.len(), 1, "{lines:?}");
    }

    /// Adds the transitive dependencies of each crate.
    fn closed(mut edges: BTreeSet<(String, String)>) -> BTreeSet<(String, String)> {
        loop {
            let further: Vec<_> = edges
                .iter()
                .flat_map(|(from, through)| {
                    edges
                        .iter()
                        .filter(move |(start, _)| start == through)
                        .map(|(_, to)| (from.clone(), to.clone()))
                })
                .collect();
            let before = edges.len();
            edges.extend(further);
            if edges.len() == before {
                return edges;
            }
        }
    }

    /// Returns the edges in the first mermaid block of a document.
    fn drawn(text: &str) -> BTreeSet<(String, String)> {
        let (_, block) = text.split_once("```mermaid\n").unwrap();
        let (block, _) = block.split_once("```").unwrap();
        let edges = block.lines().filter_map(|line| line.trim().split_once(" --> "));
        edges.flat_map(|(from, to)| to.split(" & ").map(move |to| (from.to_owned(), to.to_owned()))).collect()
    }

    #[test]
    fn the_picture_of_the_crates_has_the_dependencies_of_the_workspace() {
        let workspace = Workspace::locate().unwrap();
        let mut cargo = workspace.cargo();
        cargo.args(["metadata", "--no-deps", "--format-version", "1"]);
        let metadata: Value = serde_json::from_str(&process::capture(&mut cargo, TIMEOUT).unwrap()).unwrap();
        let mut edges = BTreeSet::new();
        for package in metadata["packages"].as_array().unwrap() {
            let name = |of: &Value| of["name"].as_str().unwrap().trim_start_matches("tributary-").to_owned();
            for dependency in package["dependencies"].as_array().unwrap() {
                if dependency["path"].is_string() {
                    edges.insert((name(package), name(dependency)));
                }
            }
        }
        let text = std::fs::read_to_string(workspace.root().join("ARCHITECTURE.md")).unwrap();
        let (drawn, edges) = (closed(drawn(&text)), closed(edges));
        let different: Vec<_> = drawn.symmetric_difference(&edges).collect();
        assert!(different.is_empty(), "only drawn or only in the workspace: {different:?}");
        assert!(edges.iter().all(|(from, to)| from != to), "a circle");
    }

    #[test]
    fn the_workspace_keeps_its_rules() {
        check(&Workspace::locate().unwrap()).unwrap();
    }
}
