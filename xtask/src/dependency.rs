//! The dependencies that must not be: edges whose absence keeps the parts apart and the modules small.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::compiler::TARGET;
use crate::process;
use crate::workspace::Workspace;

const TIMEOUT: Duration = Duration::from_secs(120);

/// Packages that must not depend on others, not even by way of a third.
struct Rule {
    packages: &'static [&'static str],
    forbidden: &'static [&'static str],
    why: &'static str,
}

const RULES: [Rule; 5] = [
    Rule {
        packages: &["tributary-proto"],
        forbidden: &["proxy-wasm", "tributary-host"],
        why: "the contract is pure: it knows no host, so that collectors and tests can use it",
    },
    Rule {
        packages: &["tributary-host"],
        forbidden: &["tributary-worker-filter", "tributary-service"],
        why: "the host is below the modules",
    },
    Rule {
        packages: &["tributary-plan"],
        forbidden: &["tributary-host"],
        why: "a configuration is checked anywhere, not only in a host",
    },
    Rule {
        packages: &["tributary-worker-filter"],
        forbidden: &["tributary-service"],
        why: "the VMs share nothing but the contract in tributary-proto",
    },
    Rule {
        packages: &["tributary-service"],
        forbidden: &["tributary-worker-filter"],
        why: "the VMs share nothing but the contract in tributary-proto",
    },
];

/// Crates that make a module that Envoy cannot load, or that has nothing to run on.
const NOT_IN_A_MODULE: Rule = Rule {
    packages: &["tributary-worker-filter", "tributary-service"],
    forbidden: &["js-sys", "tokio", "wasm-bindgen"],
    why: "Envoy offers neither a JavaScript engine's imports nor threads",
};

/// Fails with one line for each dependency that must not be.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let mut faults = Vec::new();
    for rule in RULES.iter().chain([&NOT_IN_A_MODULE]) {
        for package in rule.packages {
            let tree = process::quietly(&mut cargo_tree(workspace, package), TIMEOUT)?;
            faults.extend(rule.violations(package, &tree));
        }
    }
    if !faults.is_empty() {
        bail!("dependencies that must not be:{}", faults.concat());
    }
    Ok(())
}

impl Rule {
    /// What is in the tree of a package and must not be there.
    fn violations(&self, package: &str, tree: &str) -> Vec<String> {
        let found = |name: &&&str| tree.lines().any(|line| line.split(' ').next() == Some(**name));
        let line = |name: &&str| {
            format!(
                "\n  {package} depends on {name}: {}; `cargo tree -p {package} --target {TARGET} -i {name}` shows how",
                self.why
            )
        };
        self.forbidden.iter().filter(found).map(line).collect()
    }
}

/// Lists what is linked into a package, one `name vVERSION` a line.
fn cargo_tree(workspace: &Workspace, package: &str) -> Command {
    let mut cargo = workspace.cargo();
    cargo.args(["tree", "--package", package, "--edges", "normal", "--target", TARGET]);
    cargo.args(["--prefix", "none", "--format", "{p}"]);
    cargo
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "tributary-proto v0.1.0 (/src/proto)\nprost v0.14.4\nproxy-wasm v0.2.5\nlog v0.4.29\n";

    #[test]
    fn a_forbidden_dependency_is_named_with_the_reason_and_the_way_to_see_it() {
        let lines = RULES[0].violations("tributary-proto", TREE);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines[0].contains("tributary-proto depends on proxy-wasm: the contract is pure"),
            "{}",
            lines[0]
        );
        assert!(lines[0].contains("-i proxy-wasm"), "{}", lines[0]);
    }

    #[test]
    fn a_name_that_only_begins_alike_is_another_crate() {
        let lines =
            RULES[0].violations("tributary-proto", "tributary-proto v0.1.0\nproxy-wasm-types v1.0.0\n");
        assert_eq!(lines, Vec::<String>::new());
    }

    #[test]
    fn the_workspace_keeps_its_rules() {
        check(&Workspace::locate().unwrap()).unwrap();
    }
}
